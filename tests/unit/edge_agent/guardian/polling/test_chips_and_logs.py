"""What the rare loop reads for people: every chip, and the log of a machine that got into trouble."""

import logging

import msgspec
import pytest

from edge_agent.config import Cadence, SiteFile
from edge_agent.guardian.polling import chip_map
from edge_agent.guardian.polling.logs import TAIL_BYTES, Logs, tail
from edge_agent.guardian.polling.rare import PLAIN
from firmware_adapters.capabilities import Observation
from shared.capabilities import Ability, Capability
from shared.details import Chip, Fault, LogTail
from shared.errors import MalformedReply, Unreachable, Unsupported
from shared.ids import DeviceId
from shared.telemetry import MinerState
from support.guardian import miner_id
from support.polling import POLL_S, Rig, ToldMiner

MANY = tuple(
    Chip(
        board=board,
        index=index,
        hashrate_ths=0.5 + 0.001 * (index * 37 % 97),
        frequency_mhz=490.0 + 5 * (index % 3),
        voltage_v=None if index % 50 == 7 else 0.31,
        temp_c=60.0 + index * 13 % 21,
        errors=float(index * 29 % 211),
        grade="orange" if index % 40 == 3 else "green",
    )
    for board in range(3)
    for index in range(132)
)


@pytest.fixture
def rig(site: SiteFile) -> Rig:
    return Rig(site, fake=ToldMiner)


def told(rig: Rig, number: int = 1) -> ToldMiner:
    fake = rig.fakes[miner_id(number)]
    assert isinstance(fake, ToldMiner)
    return fake


def log_of(rig: Rig, number: int = 1) -> LogTail | None:
    return rig.samples.logs.of(miner_id(number))


class TestChipMap:
    @pytest.mark.parametrize(
        "chips",
        [
            (),
            (Chip(board=0, index=0),),
            (Chip(board=0, index=0, hashrate_ths=0.0), Chip(board=0, index=1)),
            (Chip(board=2, index=5, temp_c=-1.5, grade='odd "word" ä'), Chip(board=2, index=6, errors=1e12)),
            MANY,
        ],
    )
    def test_nothing_is_rounded_and_unknown_stays_unknown(self, chips: tuple[Chip, ...]) -> None:
        assert chip_map.unpack(chip_map.pack(chips)) == chips

    def test_four_hundred_chips_take_four_kilobytes_at_most(self) -> None:
        """5,000 such machines: 20 MB of the 60 that the guardian has left."""
        assert len(MANY) == 396
        assert len(chip_map.pack(MANY)) < 4096

    def test_what_no_machine_has_is_no_answer(self) -> None:
        with pytest.raises(MalformedReply, match="no machine has more than"):
            chip_map.pack(MANY * 4)
        with pytest.raises(MalformedReply, match="longer than"):
            chip_map.pack((Chip(board=0, index=0, grade="x" * 65),))


class TestChips:
    async def test_all_chips_are_kept_with_the_time_of_their_reading(self, rig: Rig) -> None:
        link = rig.links[miner_id(1)]
        assert link.chips is None
        assert await link.read_chips()
        assert link.chips is not None
        assert link.chips.at_ms == rig.clock.utc_ms()
        assert [chip.hashrate_ths for chip in link.chips.chips] == [0.3, 0.0]

    async def test_a_failure_keeps_the_last_word_with_its_time(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        link = rig.links[miner_id(1)]
        await link.read_chips()
        before = link.chips
        rig.clock.advance(600.0)
        told(rig).refuses = {"chips": MalformedReply("nonsense")}
        for _ in range(3):
            assert not await link.read_chips()
        assert link.chips == before
        assert [one.getMessage() for one in caplog.records] == ["m-1: chips not read: nonsense"]

    async def test_asked_at_the_rare_cadence_and_each_at_a_moment_of_its_own(self, rig: Rig) -> None:
        await rig.poll(2 * PLAIN.rare_s)
        asked = [told(rig, number).asked.count("chips") for number in (1, 2, 3)]
        assert all(1 <= count <= 3 for count in asked), asked
        moments = {link.chips.at_ms for link in rig.links.values() if link.chips is not None}
        assert len(moments) == len(rig.links)

    async def test_a_firmware_that_says_it_has_none_is_not_asked(self, rig: Rig) -> None:
        told(rig).also = ()
        await rig.poll(2 * PLAIN.rare_s)
        assert "chips" not in told(rig).asked
        assert "chips" in told(rig, 2).asked

    async def test_an_adapter_without_them_is_not_asked(self, site: SiteFile) -> None:
        rig = Rig(site)
        link = rig.links[miner_id(1)]
        assert not link.has_chips
        assert not link.has_logs
        assert not await link.read_chips()
        assert not await link.read_log()

    async def test_the_fast_loop_asks_no_oftener_for_it(self, site: SiteFile) -> None:
        plain, rich = Rig(site), Rig(site, fake=ToldMiner)
        await plain.poll(120.0)
        await rich.poll(120.0)
        assert rich.fakes[miner_id(1)].reads == pytest.approx(plain.fakes[miner_id(1)].reads, abs=1)


class TestGroups:
    async def test_each_group_is_asked_at_its_own_slow_and_rare_cadence(self, rig: Rig) -> None:
        often = Cadence(name="often", slow_s=20.0, rare_s=60.0)
        seldom = Cadence(name="seldom", slow_s=40_000.0, rare_s=80_000.0)
        await rig.poll(600.0, groups={miner_id(1): often, miner_id(2): seldom})
        asked = {number: told(rig, number).asked for number in (1, 2, 3)}
        assert 20 <= asked[1].count("boards") <= 42, "600 s at 20 s, a quarter sooner or later, behind a read"
        assert 7 <= asked[1].count("chips") <= 14
        assert asked[2].count("boards") + asked[2].count("chips") <= 1
        assert asked[3].count("boards") in (1, 2, 3)


class TestLogs:
    async def silent(self, rig: Rig, reads: int) -> None:
        """So many reads fail; then one that does not."""
        link, fake = rig.links[miner_id(1)], told(rig)
        fake.fail = Unreachable("x")
        for _ in range(reads):
            await link.read()
        fake.fail = None
        await link.read()

    async def test_a_machine_that_runs_well_is_never_asked(self, rig: Rig) -> None:
        await rig.poll(2 * PLAIN.rare_s)
        assert not [what for what in told(rig).asked if what.startswith("log")]
        assert len(rig.samples.logs) == 0

    async def test_one_that_was_silent_tells_its_log_when_it_answers_again(self, rig: Rig) -> None:
        link = rig.links[miner_id(1)]
        await link.read_facts()
        await self.silent(rig, 2)
        assert link.wants_log
        assert await link.read_log()
        assert log_of(rig) == LogTail(
            name="kernel",
            at_ms=rig.clock.utc_ms(),
            why="answers again after unreachable",
            text="chain 1 lost\n",
        )
        assert not link.wants_log, "once is enough"

    async def test_one_lost_reply_is_no_trouble(self, rig: Rig) -> None:
        await rig.links[miner_id(1)].read_facts()
        await self.silent(rig, 1)
        assert not rig.links[miner_id(1)].wants_log

    async def test_a_fault_that_is_new_and_a_state_of_failure_are_trouble(self, rig: Rig) -> None:
        link, fake = rig.links[miner_id(1)], told(rig)
        plain = fake.read
        faults: tuple[Fault, ...] | None = None

        async def read() -> Observation:
            return msgspec.structs.replace(await plain(), faults=faults)

        fake.read = read  # type: ignore[method-assign] # tells more
        await link.read_facts()
        wants = []
        for now, state in (
            (None, MinerState.MINING),
            ((), MinerState.MINING),
            ((Fault(code="7", words="fan lost"),), MinerState.MINING),
            ((Fault(code="7", words="fan lost"),), MinerState.MINING),
            ((), MinerState.MINING),
            ((), MinerState.FAILURE),
            ((), MinerState.FAILURE),
        ):
            faults, fake.state = now, state
            await link.read()
            wants.append(link.wants_log)
            await link.read_log()
        assert wants == [False, False, True, False, False, True, False]
        kept = log_of(rig)
        assert kept is not None
        assert kept.why == "state failure"

    async def test_what_its_firmware_can_tell_has_to_be_known_first(self, rig: Rig) -> None:
        link = rig.links[miner_id(1)]
        await self.silent(rig, 2)
        assert not link.wants_log
        await link.read_facts()
        assert link.wants_log
        told(rig).also = (Capability(ability=Ability.CHIPS),)
        await link.read_facts()
        assert not link.wants_log
        assert not await link.read_log()

    @pytest.mark.parametrize("failure", [Unreachable("x"), Unsupported("x")])
    async def test_a_log_that_was_not_told_is_still_wanted(
        self, rig: Rig, failure: Unreachable | Unsupported
    ) -> None:
        link = rig.links[miner_id(1)]
        await link.read_facts()
        await self.silent(rig, 2)
        told(rig).refuses = {"log kernel": failure}
        assert not await link.read_log()
        assert log_of(rig) is None
        assert link.wants_log

    async def test_the_rare_loop_asks_and_one_that_flaps_is_asked_once_per_slow_cadence(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.ERROR)
        fake = told(rig)
        cut, seconds = [20.0 + 60.0 * n for n in range(20)], 20.0

        def fail() -> None:
            fake.fail = Unreachable("x")

        def mend() -> None:
            fake.fail = None

        assert seconds > 2 * POLL_S, "each cut is seen"
        events = dict.fromkeys(cut, fail) | {at + seconds: mend for at in cut}
        await rig.poll(1200.0, at=events)
        asked = fake.asked.count("log kernel")
        assert 2 <= asked <= 1200.0 / (0.75 * PLAIN.slow_s) + 1
        assert log_of(rig) is not None


class TestRoom:
    def test_the_last_whole_lines_are_kept(self) -> None:
        text = "".join(f"{number:04d} something went by\n" for number in range(2000))
        end = tail(text)
        assert text.endswith(end)
        assert TAIL_BYTES - 40 < len(end) <= TAIL_BYTES
        assert end[:4].isdigit(), "begins with a whole line"
        assert tail("short\n") == "short\n"

    def test_a_line_that_never_ends_is_cut_and_bytes_that_are_no_text_do_no_harm(self) -> None:
        assert len(tail("x" * 100_000)) == TAIL_BYTES
        assert len(tail("ä" * 100_000).encode()) <= TAIL_BYTES
        assert tail("\udcff") == "?"

    def test_each_device_has_one_and_the_oldest_goes_where_there_is_no_room(self) -> None:
        logs = Logs(most_bytes=2000)
        for number in range(50):
            text = "".join(f"{number} {n * n * 7919 % 10007}\n" for n in range(60))
            logs.keep(DeviceId(f"m-{number}"), LogTail(name="kernel", at_ms=number, why="x", text=text))
        assert 1 <= len(logs) < 10
        assert logs._size <= 2000
        assert logs.of(DeviceId("m-0")) is None
        newest = logs.of(DeviceId("m-49"))
        assert newest is not None
        assert newest.at_ms == 49
        for at_ms in range(5):
            logs.keep(DeviceId("m-49"), LogTail(name="kernel", at_ms=at_ms, why="x", text="again"))
        assert logs._size == sum(len(packed) for packed in logs._kept.values())
