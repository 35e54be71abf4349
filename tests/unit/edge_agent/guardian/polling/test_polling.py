"""Reading devices: typed failures, marks of time, back-off, and dead devices that slow nobody down."""

import asyncio
import contextlib
import itertools
import logging
import random

import msgspec
import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.polling import rare
from edge_agent.guardian.polling.backoff import pause_s
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import Turns
from firmware_adapters.capabilities import Observation
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock
from shared.errors import AuthFailed, MalformedReply, Unreachable
from shared.ids import DeviceId
from shared.telemetry import DeviceKind, MinerState, Quality, Reading, Sample
from support.guardian import LADDER, FakeMiner, FakeWall, miner_id
from support.polling import POLL_S, Rig


def sample(seq: int, *, at_s: float = 0.0, failure: str | None = None, **fields: object) -> Sample:
    base = {"kind": DeviceKind.MINER, "at_ms": 0, "boot": "b", **fields}
    return Sample(device=miner_id(1), at_s=at_s, seq=seq, failure=failure, **base)  # type: ignore[arg-type] # built by hand


class TestBoard:
    def test_a_failure_leaves_the_last_good_word_standing(self) -> None:
        board = Board()
        board.put(sample(1, preset="2500"))
        last = board.put(sample(2, failure="timeout"))
        assert last.good is not None
        assert (last.good.seq, last.failure, last.failed_in_a_row) == (1, "timeout", 1)
        assert board.put(sample(3)).failed_in_a_row == 0

    def test_the_running_preset_is_kept_between_reads_that_tell_it(self) -> None:
        board = Board()
        board.put(sample(1, at_s=10.0, preset="2500"))
        last = board.put(sample(2, at_s=12.0))
        assert (last.preset, last.preset_at_s) == ("2500", 10.0)

    def test_the_hottest_usable_of_all_indexes(self) -> None:
        readings = {
            "chip_temp_max_c": Reading(60.0),
            "chip_temp_max_c.1": Reading(71.0, Quality.ESTIMATED),
            "chip_temp_max_c.2": Reading(99.0, Quality.STUCK),
            "chip_temp_max_change": Reading(200.0),
            "board_temp_max_c.0": Reading(None, Quality.MISSING),
            "power_w": Reading(3000.0),
        }
        last = Board().put(sample(1, readings=readings))
        assert (last.chip_c, last.board_c) == (71.0, None)

    def test_stopped_since_the_first_stopped_sample(self) -> None:
        board = Board()
        board.put(sample(1, at_s=1.0, state=MinerState.MINING))
        board.put(sample(2, at_s=2.0, state=MinerState.STOPPED))
        assert board.put(sample(3, at_s=3.0, state=MinerState.STOPPED)).stopped_since_s == 2.0
        assert board.put(sample(4, at_s=4.0, state=MinerState.STARTING)).stopped_since_s is None


class TestBackOff:
    def test_doubles_up_to_the_cap_with_jitter(self) -> None:
        jitter = random.Random(1)
        pauses = [pause_s(2.0, n, cap_s=30.0, jitter=jitter) for n in range(1, 9)]
        assert pause_s(2.0, 0, cap_s=30.0, jitter=jitter) == 2.0
        for pause, plain in zip(pauses, [2, 4, 8, 16, 30, 30, 30, 30], strict=True):
            assert 0.8 * plain <= pause <= 1.2 * plain
        assert len(set(pauses[-4:])) == 4, "no two devices line up"

    def test_a_slow_cadence_is_not_shortened_by_the_cap(self) -> None:
        assert pause_s(60.0, 3, cap_s=30.0, jitter=random.Random(1)) >= 48.0


@pytest.fixture
def rig(site: SiteFile) -> Rig:
    return Rig(site)


class TestLink:
    async def test_a_good_read(self, rig: Rig) -> None:
        taken = await rig.links[miner_id(1)].read()
        assert (taken.seq, taken.boot, taken.failure, taken.preset) == (1, "boot", None, "2500")
        assert taken.usable("chip_temp_max_c") == 65.0

    async def test_miners_that_tell_the_same_ladder_share_it(self, rig: Rig) -> None:
        """A thousand copies of fifteen rungs would be a twentieth of what the guardian may take."""
        for number in (1, 2, 3):
            rig.fakes[miner_id(number)].presets = tuple(msgspec.structs.replace(p) for p in LADDER[:number])
        rig.fakes[miner_id(3)].presets = tuple(msgspec.structs.replace(p) for p in LADDER[:2])
        for number in (1, 2, 3):
            assert await rig.links[miner_id(number)].read_facts()
        one, two, three = (rig.links[miner_id(number)].facts for number in (1, 2, 3))
        assert one is not None
        assert two is not None
        assert three is not None
        assert one.presets == LADDER[:1]
        assert two.presets is three.presets

    async def test_a_failure_is_a_sample_and_a_counter(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].fail = MalformedReply("lies")
        taken = await rig.links[miner_id(1)].read()
        assert (taken.failure, taken.readings) == ("malformed", {})
        assert rig.samples.failures == {"malformed": 1}

    async def test_a_bug_in_an_adapter_stops_no_loop(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken() -> Observation:
            raise ZeroDivisionError

        rig.fakes[miner_id(1)].read = broken  # type: ignore[method-assign] # a bug, injected
        assert (await rig.links[miner_id(1)].read()).failure == "malformed"
        assert "unforeseen" in caplog.text

    async def test_a_hanging_device_meets_its_deadline(self, site: SiteFile) -> None:
        rig = Rig(site, timeout_s=0.01)

        async def hang() -> Observation:
            await asyncio.Event().wait()
            raise AssertionError

        rig.fakes[miner_id(1)].read = hang  # type: ignore[method-assign] # a hang, injected
        assert (await rig.links[miner_id(1)].read()).failure == "timeout"

    async def test_a_cancellation_that_an_adapter_swallows_is_not_lost(self, rig: Rig) -> None:
        """A guardian that was told to end would wait for its poller for ever."""
        link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
        plain, began = fake.read, asyncio.Event()

        async def swallows() -> Observation:
            began.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return await plain()

        fake.read = swallows  # type: ignore[method-assign] # as pymodbus does under Python 3.11
        task = asyncio.ensure_future(link.read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert link.last_good is not None, "what the device said is not thrown away"

    async def test_many_read_backs_take_turns_and_no_deadline_runs_before_its_turn(
        self, site: SiteFile
    ) -> None:
        """A read that waits behind slow devices is not late; one that waits for nobody goes at once."""
        clock, samples, turns = ManualClock(), Samples("boot", Board(), Ring()), Turns(healthy=1)
        slow, quick = (FakeMiner(entry) for entry in site.miners[:2])
        links = [
            DeviceLink(entry, fake, samples, clock, timeout_s=0.01, turns=turns)
            for entry, fake in zip(site.miners, (slow, quick), strict=False)
        ]
        urgent = DeviceLink(site.miners[2], FakeMiner(site.miners[2]), samples, clock, timeout_s=0.01)

        async def hang() -> Observation:
            await asyncio.Event().wait()
            raise AssertionError

        slow.read = hang  # type: ignore[method-assign] # a hang, injected
        first, second = (asyncio.ensure_future(link.read()) for link in links)
        assert (await urgent.read()).failure is None
        assert not first.done()
        assert quick.reads == 0
        assert (await first).failure == "timeout"
        assert (await second).failure is None

    async def test_facts_that_do_not_come_are_logged_once(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
        fake.fail = AuthFailed("wrong password", retry_after_s=60.0)
        for _ in range(3):
            assert not await link.read_facts()
        fake.fail = None
        assert await link.read_facts()
        fake.fail = Unreachable("cable")
        assert not await link.read_facts()
        assert [r.getMessage() for r in caplog.records] == [
            "m-1: facts not read: wrong password",
            "m-1: facts not read: cable",
        ]

    async def test_transitions_are_logged_once(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
        fake.fail = Unreachable("cable")
        for _ in range(5):
            await link.read()
        fake.fail = None
        for _ in range(5):
            await link.read()
        assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]

    async def test_a_reading_out_of_range_is_flagged_before_anybody_sees_it(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].chip_c = 255.0
        assert (await rig.links[miner_id(1)].read()).usable("chip_temp_max_c") is None


class TestPoller:
    async def test_every_device_at_its_cadence_and_facts_once(self, rig: Rig) -> None:
        told = await rig.poll(60.0)
        assert sorted(told) == sorted(rig.fakes)
        for fake in rig.fakes.values():
            assert 25 <= fake.reads <= 31

    async def test_a_dead_device_backs_off_and_the_others_do_not(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].fail = Unreachable("x")
        await rig.poll(60.0)
        assert rig.fakes[miner_id(1)].reads <= 8
        assert rig.fakes[miner_id(2)].reads >= 25

    async def test_what_decides_trips_is_read_faster_and_never_backs_off(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].fail = Unreachable("x")
        await rig.poll(60.0, frozenset({"m-1"}))
        assert rig.fakes[miner_id(1)].reads >= 90
        assert 25 <= rig.fakes[miner_id(2)].reads <= 31

    async def test_a_device_that_comes_back_is_read_at_its_cadence_again(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].fail = Unreachable("x")
        await rig.poll(40.0)
        rig.fakes[miner_id(1)].fail = None
        before = rig.fakes[miner_id(1)].reads
        await rig.poll(40.0)
        assert rig.fakes[miner_id(1)].reads - before >= 16

    async def test_a_device_that_asks_to_be_left_alone_is_left_alone(self, rig: Rig) -> None:
        """More tries would only lengthen its lock-out."""
        rig.fakes[miner_id(1)].fail = AuthFailed("locked", retry_after_s=300.0)
        await rig.poll(200.0)
        assert rig.fakes[miner_id(1)].reads == 1

    async def test_unless_it_decides_trips(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].fail = AuthFailed("locked", retry_after_s=300.0)
        await rig.poll(60.0, frozenset({"m-1"}))
        assert rig.fakes[miner_id(1)].reads >= 90

    async def test_nothing_is_left_alone_for_ever(self, rig: Rig) -> None:
        rig.fakes[miner_id(1)].fail = AuthFailed("locked", retry_after_s=1e9)
        await rig.poll(1500.0)
        assert rig.fakes[miner_id(1)].reads == 3

    async def test_a_site_that_starts_is_first_seen_and_then_asked_what_it_is(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Slow facts of a few keep no device from its next read."""
        monkeypatch.setattr(rare, "RARE_READS", 1)
        running = most = 0

        def slow(fake: FakeMiner) -> None:
            plain = fake.facts

            async def facts() -> DeviceFacts:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await rig.clock.sleep(5.0)
                running -= 1
                return await plain()

            fake.facts = facts  # type: ignore[method-assign] # takes its time

        for fake in rig.fakes.values():
            slow(fake)
        told = await rig.poll(60.0)
        assert most == 1
        assert sorted(told) == sorted(rig.fakes)
        assert all(fake.reads >= 20 for fake in rig.fakes.values())

    async def test_facts_come_in_the_order_in_which_they_were_due(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who finds all places taken keeps its place in the queue: none of thousands waits for luck."""
        monkeypatch.setattr(rare, "RARE_READS", 1)
        asked: list[DeviceId] = []

        def slow(device: DeviceId, fake: FakeMiner) -> None:
            plain = fake.facts

            async def facts() -> DeviceFacts:
                asked.append(device)
                await rig.clock.sleep(0.75 * POLL_S)
                return await plain()

            fake.facts = facts  # type: ignore[method-assign] # takes its time

        for device, fake in rig.fakes.items():
            slow(device, fake)
        await rig.poll((len(rig.fakes) + 1) * POLL_S)
        assert asked == list(rig.fakes)

    async def test_one_that_fell_silent_in_the_queue_keeps_nobody_waiting(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rare, "RARE_READS", 1)
        first, silent, last = list(rig.fakes)[:3]
        gate = asyncio.Event()
        plain = rig.fakes[first].facts

        async def held() -> DeviceFacts:
            await gate.wait()
            return await plain()

        rig.fakes[first].facts = held  # type: ignore[method-assign] # holds the only place
        asked = False

        async def noted() -> DeviceFacts:
            nonlocal asked
            asked = True
            raise Unreachable("cable")

        rig.fakes[silent].facts = noted  # type: ignore[method-assign] # is not to be asked

        def cut() -> None:
            rig.fakes[silent].fail = Unreachable("cable")

        told = await rig.poll(5 * POLL_S, at={2 * POLL_S: cut, 4 * POLL_S: gate.set})
        assert not asked
        assert last in told

    async def test_facts_that_did_not_change_are_no_news(self, rig: Rig) -> None:
        """Five thousand tell theirs every ten minutes; each would send the whole inventory to agents."""
        fake = rig.fakes[miner_id(1)]

        def change() -> None:
            fake.default_password = True

        seen = await rig.poll(2500.0, at={1500.0: change})
        assert seen.count(miner_id(1)) == 2
        assert seen.count(miner_id(2)) == 1

    async def test_facts_of_all_devices_do_not_come_in_one_sweep_for_ever(self, rig: Rig) -> None:
        seen: list[float] = []
        fake = rig.fakes[miner_id(1)]
        plain = fake.facts

        async def noted() -> DeviceFacts:
            seen.append(rig.clock.monotonic())
            return await plain()

        fake.facts = noted  # type: ignore[method-assign] # counts on the way
        await rig.poll(2500.0)
        pauses = [after - before for before, after in itertools.pairwise(seen)]
        assert len(pauses) >= 3
        assert all(440 <= pause <= 760 for pause in pauses)
        assert max(pauses) - min(pauses) > 5


async def test_fakes_are_what_the_protocols_ask_for(site: SiteFile) -> None:
    wall = FakeWall(site.devices[0])
    assert (await wall.read()).readings["speed_pct"] == Reading(80.0)
