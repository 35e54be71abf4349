"""What is asked rarely: boards, pools, and the past after a gap."""

import asyncio
import logging

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.polling.backfill import AGAIN_S, GAP_S, MOST_S, STEP_S, Backfill
from edge_agent.guardian.polling.details import NOTHING, Details, Packed
from firmware_adapters.capabilities import Observation
from shared.details import Board, Fault, History, Pool
from shared.errors import MalformedReply, Unreachable, Unsupported
from support.guardian import miner_id
from support.polling import POLL_S, Rig, ToldMiner


@pytest.fixture
def rig(site: SiteFile) -> Rig:
    return Rig(site, fake=ToldMiner)


def told(rig: Rig, number: int = 1) -> ToldMiner:
    fake = rig.fakes[miner_id(number)]
    assert isinstance(fake, ToldMiner)
    return fake


def outage(rig: Rig, begin_s: float, seconds: float) -> dict[float, object]:
    """Miner 1 cannot be reached for so long."""

    def cut() -> None:
        told(rig).fail = Unreachable("x")

    def mend() -> None:
        told(rig).fail = None

    return {begin_s: cut, begin_s + seconds: mend}


class TestDetails:
    async def test_boards_and_pools_are_kept_beside_the_facts(self, rig: Rig) -> None:
        link = rig.links[miner_id(1)]
        assert link.details == NOTHING
        assert await link.read_details()
        assert link.details == Details(
            at_ms=rig.clock.utc_ms(),
            boards=(Board(index=0, working=True, hashrate_ths=60.0),),
            pools=(Pool(index=0, url="stratum+tcp://pool:3333"),),
        )

    async def test_what_is_not_told_is_unknown_and_not_empty(self, rig: Rig) -> None:
        told(rig).refuses = {"boards": MalformedReply("x")}
        link = rig.links[miner_id(1)]
        assert await link.read_details()
        assert (link.details.boards, link.details.pools is not None) == (None, True)

    async def test_nothing_told_keeps_the_last_word_with_its_time(self, rig: Rig) -> None:
        link = rig.links[miner_id(1)]
        await link.read_details()
        before = link.details
        told(rig).refuses = {"boards": Unreachable("x"), "pools": Unreachable("x")}
        rig.clock.advance(300.0)
        assert not await link.read_details()
        assert link.details == before

    async def test_what_a_machine_does_not_have_is_no_failure(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        told(rig).refuses = {"pools": Unsupported("no such page")}
        for _ in range(3):
            assert await rig.links[miner_id(1)].read_details()
        told(rig).refuses = {"pools": MalformedReply("nonsense")}
        for _ in range(3):
            assert await rig.links[miner_id(1)].read_details()
        assert [record.getMessage() for record in caplog.records] == ["m-1: pools not read: nonsense"]

    async def test_a_bug_in_an_adapter_costs_that_read_only(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken() -> tuple[Board, ...]:
            raise ZeroDivisionError

        told(rig).boards = broken  # type: ignore[method-assign] # a bug, injected
        assert await rig.links[miner_id(1)].read_details()
        assert "unforeseen" in caplog.text

    async def test_the_newest_faults_that_a_read_told(self, rig: Rig) -> None:
        link, fake = rig.links[miner_id(1)], told(rig)
        plain = fake.read
        faults: list[tuple[Fault, ...] | None] = [(Fault(code="7"),), None, ()]

        async def read() -> Observation:
            seen = await plain()
            return Observation(readings=seen.readings, state=seen.state, faults=faults.pop(0))

        fake.read = read  # type: ignore[method-assign] # tells more
        seen = []
        for _ in range(3):
            await link.read()
            seen.append(link.details.faults)
        assert seen == [(Fault(code="7"),), (Fault(code="7"),), ()]

    async def test_asked_at_the_slow_cadence_and_each_at_a_moment_of_its_own(self, rig: Rig) -> None:
        await rig.poll(1200.0)
        for number in (1, 2, 3):
            assert 3 <= told(rig, number).asked.count("boards") <= 6
        firsts = {rig.links[miner_id(number)].details.at_ms for number in (1, 2, 3)}
        assert len(firsts) == 3

    async def test_a_device_that_fails_is_not_asked_for_more(self, rig: Rig) -> None:
        told(rig).fail = Unreachable("x")
        await rig.poll(900.0)
        assert told(rig).asked == []

    @pytest.mark.parametrize("what", ["facts", "boards", "pools", "chips", "history"])
    async def test_pages_that_hang_keep_no_read_waiting(self, rig: Rig, what: str) -> None:
        """What control needs does not wait for what people like to know."""
        link, fake = rig.links[miner_id(1)], told(rig)

        async def hang(*_: object) -> None:
            await asyncio.Event().wait()

        setattr(fake, what, hang)
        asks = {
            "facts": link.read_facts,
            "chips": link.read_chips,
            "history": lambda: link.read_history(60.0, 60.0),
        }
        asking = asyncio.ensure_future(asks.get(what, link.read_details)())
        for _ in range(5):
            await asyncio.sleep(0)
        assert (await link.read()).failure is None
        assert not asking.done()
        asking.cancel()

    async def test_miners_without_such_things_are_not_asked(self, site: SiteFile) -> None:
        rig = Rig(site)
        assert not rig.links[miner_id(1)].has_details
        assert not await rig.links[miner_id(1)].read_details()
        assert await rig.links[miner_id(1)].read_history(60.0, 60.0) is None

    def test_packed_takes_little_room(self) -> None:
        packed = Packed()
        boards = tuple(
            Board(index=n, hashrate_ths=60.0 + n, chips=77, chip_temp_max_c=65.0) for n in range(3)
        )
        packed.put(Details(at_ms=1, boards=boards))
        assert packed.look().boards == boards
        assert packed._packed is not None
        assert len(packed._packed) < 1000


class TestBackfill:
    async def test_a_gap_is_asked_for_once_and_handed_on(self, rig: Rig) -> None:
        filled: list[Backfill] = []
        began_ms = rig.clock.utc_ms()
        at = outage(rig, 100.0, 600.0)
        await rig.poll(1000.0, on_history=filled.append, at=at)  # type: ignore[arg-type] # plain callables
        asked = [words for words in told(rig).asked if words.startswith("history")]
        assert len(asked) == len(filled) == 1
        gap = filled[0]
        assert gap.device == miner_id(1)
        span_s = (gap.to_ms - gap.from_ms) / 1000
        assert 600.0 <= span_s <= 640.0
        assert began_ms + 95_000 <= gap.from_ms <= began_ms + 100_000
        assert asked == [f"history {span_s + STEP_S:.0f} {STEP_S:.0f}"]
        assert len(gap.history.points) == 1

    async def test_a_short_gap_is_not(self, rig: Rig) -> None:
        filled: list[Backfill] = []
        at = outage(rig, 100.0, GAP_S - 60.0)
        await rig.poll(600.0, on_history=filled.append, at=at)  # type: ignore[arg-type] # plain callables
        assert filled == []

    async def test_nobody_wants_it_nobody_asks(self, rig: Rig) -> None:
        at = outage(rig, 100.0, 600.0)
        await rig.poll(1000.0, at=at)  # type: ignore[arg-type] # plain callables
        assert not any(words.startswith("history") for words in told(rig).asked)

    async def test_a_history_that_does_not_come_is_asked_again_at_a_later_read(self, rig: Rig) -> None:
        """A machine that has just booted has its hands full, and remembers for days."""
        filled: list[Backfill] = []
        calls: list[float] = []
        plain = told(rig).history

        async def busy(span_s: float, step_s: float) -> History:
            calls.append(span_s)
            if len(calls) == 1:
                raise MalformedReply("x")
            return await plain(span_s, step_s)

        told(rig).history = busy  # type: ignore[method-assign] # a failure, injected
        at = outage(rig, 100.0, 600.0)
        await rig.poll(1000.0, on_history=filled.append, at=at)  # type: ignore[arg-type] # plain callables
        assert (len(calls), len(filled)) == (2, 1)
        assert AGAIN_S[0] <= calls[1] - calls[0] <= AGAIN_S[0] + 2 * POLL_S
        assert 600_000 <= filled[0].to_ms - filled[0].from_ms <= 640_000

    async def test_never_more_than_a_device_can_remember(self, rig: Rig) -> None:
        link = rig.links[miner_id(1)]
        await link.read()
        told(rig).fail = Unreachable("x")
        await link.read()
        rig.clock.advance(2 * MOST_S)
        told(rig).fail = None
        filled: list[Backfill] = []
        await rig.poll(30.0, on_history=filled.append)
        assert f"history {MOST_S:.0f} {STEP_S:.0f}" in told(rig).asked
        assert len(filled) == 1

    async def test_after_an_outage_of_all_the_present_goes_on_while_the_past_comes(self, rig: Rig) -> None:
        """One after the other: a whole site's past at once would keep its present waiting."""
        filled: list[Backfill] = []
        running = most = 0

        def slow(fake: ToldMiner) -> None:
            plain = fake.history

            async def history(span_s: float, step_s: float) -> object:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await rig.clock.sleep(5.0)
                running -= 1
                return await plain(span_s, step_s)

            fake.history = history  # type: ignore[assignment,method-assign] # takes its time

        for number in range(1, len(rig.fakes) + 1):
            slow(told(rig, number))

        def cut() -> None:
            for fake in rig.fakes.values():
                fake.fail = Unreachable("x")

        def mend() -> None:
            for fake in rig.fakes.values():
                fake.fail = None

        await rig.poll(1200.0, on_history=filled.append, at={100.0: cut, 700.0: mend})
        assert most == 1
        assert {gap.device for gap in filled} == set(rig.fakes)
