"""One miner inside a zone's step: what is remembered of it, from one step to the next."""

import msgspec
import pytest

from edge_agent.config import Timing, ZoneLimits
from edge_agent.guardian.interlocks import asks, findings, miners
from edge_agent.guardian.interlocks.inputs import Commanded, MinerInput
from edge_agent.guardian.interlocks.levels import Level, Standing
from edge_agent.guardian.interlocks.miners import CALM, FORGET_TRIP_S
from edge_agent.guardian.interlocks.stale import Sight, Watch
from edge_agent.guardian.interlocks.state import MinerTrack, ZoneState
from shared.telemetry import MinerState
from support.guardian import ZONE, ZoneBench, miner_id

WELL = MinerInput(device=miner_id(1), age_s=0.5, state=MinerState.MINING, chip_c=65.0, board_c=50.0)
STANDS = MinerInput(device=miner_id(1), age_s=0.5, state=MinerState.STOPPED)
HOT = Standing(Level.SHED, 9.0, 9.0)


@pytest.fixture
def limits(zone: ZoneBench) -> ZoneLimits:
    return zone.zone.limits


@pytest.fixture
def timing(zone: ZoneBench) -> Timing:
    """Stale above 6 s, lost above 12 s, settling for 20 s."""
    return zone.site.timing


def seen(told: MinerInput, **fields: object) -> MinerInput:
    return msgspec.structs.replace(told, **fields)


def before(**fields: object) -> MinerTrack:
    return msgspec.structs.replace(CALM, **fields)


class TestCalm:
    def test_a_miner_about_which_there_is_nothing_to_say_costs_nothing(
        self, limits: ZoneLimits, timing: Timing
    ) -> None:
        for state in (MinerState.MINING, MinerState.AUTO_TUNING):
            assert miners.step(CALM, seen(WELL, state=state), limits, timing, 0.5) is CALM

    def test_without_a_board_temperature_too(self, limits: ZoneLimits, timing: Timing) -> None:
        assert miners.step(CALM, seen(WELL, board_c=None), limits, timing, 0.5) is CALM
        assert miners.step(CALM, seen(WELL, chip_c=None), limits, timing, 0.5) is CALM

    def test_one_that_stops_is_seen_though_it_is_cool(self, limits: ZoneLimits, timing: Timing) -> None:
        assert miners.step(CALM, seen(WELL, state=MinerState.STOPPED), limits, timing, 0.5).stopped

    def test_one_that_became_calm_is_the_same_calm(self, limits: ZoneLimits, timing: Timing) -> None:
        assert miners.step(before(settle_left_s=0.5), WELL, limits, timing, 0.5) is CALM

    def test_a_sample_of_the_very_age_is_known(self, limits: ZoneLimits, timing: Timing) -> None:
        assert miners.step(CALM, seen(WELL, age_s=6.0), limits, timing, 0.5) is CALM
        assert miners.step(CALM, seen(WELL, age_s=6.1), limits, timing, 0.5).watch.sight is Sight.STALE

    @pytest.mark.parametrize(
        ("fields", "chip", "board"),
        [
            ({"chip_c": 78.0}, 0.5, 0.0),
            ({"board_c": 65.0}, 0.0, 0.5),
            ({"chip_c": None, "board_c": 65.0}, 0.0, 0.5),
            ({"chip_c": 78.0, "board_c": None}, 0.5, 0.0),
        ],
    )
    def test_on_its_warn_limit_time_counts(
        self, limits: ZoneLimits, timing: Timing, fields: dict[str, object], chip: float, board: float
    ) -> None:
        after = miners.step(CALM, seen(WELL, **fields), limits, timing, 0.5)
        assert (after.chip.above_warn_s, after.board.above_warn_s) == (chip, board)


class TestStopped:
    def test_a_start_on_its_way_doubts_it(self, limits: ZoneLimits, timing: Timing) -> None:
        told = seen(STANDS, commanded=(Commanded(settle_s=20.0, start=True),))
        after = miners.step(before(stopped=True), told, limits, timing, 0.5)
        assert (after.stopped, after.starts, after.shed_wait_s, after.settle_left_s) == (False, 1, 20.0, 20.0)

    def test_starts_are_forgotten_when_it_is_seen_running_and_not_before(
        self, limits: ZoneLimits, timing: Timing
    ) -> None:
        tried = before(starts=2)
        assert miners.step(tried, seen(STANDS), limits, timing, 0.5).starts == 2
        assert miners.step(tried, seen(WELL, age_s=7.0), limits, timing, 0.5).starts == 2
        assert miners.step(tried, WELL, limits, timing, 0.5).starts == 0

    def test_it_cools_without_a_temperature_only_while_it_is_seen_stopped(
        self, limits: ZoneLimits, timing: Timing
    ) -> None:
        hot = before(stopped=True, chip=HOT, board=HOT)
        after = miners.step(hot, STANDS, limits, timing, 0.5)
        assert (after.chip.below_s, after.board.below_s) == (0.5, 0.5)
        lost = miners.step(hot, seen(STANDS, age_s=7.0), limits, timing, 0.5)
        assert (lost.chip, lost.board, lost.stopped) == (HOT, HOT, True)

    def test_what_it_still_reads_is_believed(self, limits: ZoneLimits, timing: Timing) -> None:
        after = miners.step(before(stopped=True, chip=HOT), seen(STANDS, chip_c=80.0), limits, timing, 0.5)
        assert after.chip.below_s == 0.0

    def test_a_running_one_without_a_temperature_cools_nothing(
        self, limits: ZoneLimits, timing: Timing
    ) -> None:
        after = miners.step(before(chip=HOT), seen(WELL, chip_c=None), limits, timing, 0.5)
        assert after.chip == HOT


class TestSettling:
    def test_the_window_is_open_to_its_last_half_second(self, limits: ZoneLimits, timing: Timing) -> None:
        blind = seen(WELL, chip_c=None, board_c=None)
        after = miners.step(before(settle_left_s=1.0), blind, limits, timing, 0.5)
        assert (after.settle_left_s, after.watch.sight) == (0.5, Sight.SETTLING)
        after = miners.step(after, blind, limits, timing, 0.5)
        assert (after.settle_left_s, after.watch.sight) == (0.0, Sight.BLIND)

    @pytest.mark.parametrize(
        ("fields", "left_s"),
        [
            ({"chip_c": 77.9}, 19.5),
            ({"chip_c": 78.0}, 0.0),
            ({"board_c": 64.9}, 19.5),
            ({"board_c": 65.0}, 0.0),
            ({"chip_c": None, "board_c": 65.0}, 0.0),
        ],
    )
    def test_hot_evidence_closes_it(
        self, limits: ZoneLimits, timing: Timing, fields: dict[str, object], left_s: float
    ) -> None:
        after = miners.step(before(settle_left_s=20.0), seen(WELL, **fields), limits, timing, 0.5)
        assert after.settle_left_s == left_s

    @pytest.mark.parametrize(("age_s", "left_s"), [(6.0, 20.0), (6.1, 0.0)])
    def test_a_firmware_that_restarts_opens_one_where_it_is_heard(
        self, limits: ZoneLimits, timing: Timing, age_s: float, left_s: float
    ) -> None:
        told = seen(WELL, state=MinerState.INITIALIZING, chip_c=None, board_c=None, age_s=age_s)
        after = miners.step(CALM, told, limits, timing, 0.5)
        assert (after.settle_left_s, after.firmware_settling) == (left_s, left_s > 0)


class TestItsOwnTrip:
    def test_counts_from_nought_and_once(self, limits: ZoneLimits, timing: Timing) -> None:
        once = miners.step(CALM, seen(WELL, chip_c=89.0), limits, timing, 0.5)
        assert (once.chip.level, once.over_trip_s) == (Level.TRIP, 0.0)
        twice = miners.step(once, seen(WELL, chip_c=89.0, board_c=76.0), limits, timing, 0.5)
        assert twice.over_trip_s == 0.5, "the board adds nothing to a miner that tripped"

    @pytest.mark.parametrize(
        ("over_s", "after_s"),
        [
            (-1.0, -1.0),
            (0.0, 0.5),
            (0.5, 1.0),
            (FORGET_TRIP_S - 0.5, FORGET_TRIP_S),
            (FORGET_TRIP_S, -1.0),
        ],
    )
    def test_is_forgotten_after_ten_minutes(
        self, limits: ZoneLimits, timing: Timing, over_s: float, after_s: float
    ) -> None:
        track = before(over_trip_s=over_s, chip=HOT)
        assert miners.step(track, seen(WELL, chip_c=79.0), limits, timing, 0.5).over_trip_s == after_s


class TestWords:
    @pytest.mark.parametrize(
        ("track", "latched", "why"),
        [
            (CALM, False, None),
            (CALM, True, "latched trip"),
            (before(watch=Watch(Sight.SETTLING)), False, "settling after a change"),
            (before(watch=Watch(Sight.BLIND)), False, "no usable temperature"),
            (before(watch=Watch(Sight.STALE)), False, "no data (stale)"),
            (before(watch=Watch(Sight.LOST)), True, "latched trip"),
            (before(chip=HOT), False, "chip temperature (shed)"),
            (before(board=Standing(Level.WARN)), False, "board temperature (warn)"),
        ],
    )
    def test_why_nothing_may_be_raised(self, track: MinerTrack, latched: bool, why: str | None) -> None:
        assert miners.inhibit(track, latched=latched) == why


class TestShed:
    @pytest.mark.parametrize(
        ("wait_s", "stopped", "over"), [(0.0, False, 2.0), (0.5, False, None), (0.0, True, None)]
    )
    def test_one_step_at_a_time_and_none_of_who_stands(
        self, limits: ZoneLimits, timing: Timing, wait_s: float, stopped: bool, over: float | None
    ) -> None:
        track = before(chip=HOT, board=HOT, shed_wait_s=wait_s, stopped=stopped)
        assert miners.excess(seen(WELL, chip_c=84.0, board_c=72.0), limits, track, timing) == over

    def test_what_is_not_known_is_not_over(self, limits: ZoneLimits, timing: Timing) -> None:
        track = before(chip=HOT, board=HOT)
        assert miners.excess(seen(WELL, chip_c=None, board_c=72.0), limits, track, timing) == 2.0
        assert miners.excess(seen(WELL, chip_c=82.9, board_c=69.9), limits, track, timing) is None
        assert miners.excess(seen(WELL, chip_c=84.0, age_s=6.1), limits, track, timing) is None


class TestTold:
    def test_chip_and_board_each_for_itself_and_trips_not_here(self, limits: ZoneLimits) -> None:
        hot = before(chip=Standing(Level.WARN), board=Standing(Level.SHED))
        found = miners.told(ZONE, seen(WELL, chip_c=79.0, board_c=71.0), CALM, hot, limits)
        assert found == [
            findings.heat(ZONE, miner_id(1), "chip-temp", Level.WARN, 79.0, 78.0),
            findings.heat(ZONE, miner_id(1), "board-temp", Level.SHED, 71.0, 70.0),
        ]
        tripped = before(chip=Standing(Level.TRIP))
        assert miners.told(ZONE, seen(WELL, chip_c=89.0), CALM, tripped, limits) == []

    @pytest.mark.parametrize("level", [Level.WARN, Level.SHED, Level.TRIP])
    def test_back_to_normal_from_wherever_it_stood(self, limits: ZoneLimits, level: Level) -> None:
        found = miners.told(ZONE, seen(WELL, chip_c=73.0), before(chip=Standing(level)), CALM, limits)
        assert found == [findings.heat(ZONE, miner_id(1), "chip-temp", Level.NORMAL, 73.0, 74.0)]

    def test_unseen_and_seen_again(self, limits: ZoneLimits) -> None:
        blind = before(watch=Watch(Sight.BLIND, 30.0, alarmed=True))
        assert miners.told(ZONE, WELL, CALM, blind, limits) == [
            findings.unseen(ZONE, miner_id(1), Sight.BLIND)
        ]
        assert miners.told(ZONE, WELL, blind, CALM, limits) == [findings.seen(ZONE, miner_id(1))]


class TestShedStop:
    def test_is_remembered_until_it_must_have_shown(self, limits: ZoneLimits, timing: Timing) -> None:
        told = seen(WELL, commanded=(Commanded(settle_s=20.0, shed_stop=True),))
        after = miners.step(before(left=True), told, limits, timing, 0.5)
        assert (after.shed_stop_s, after.left) == (42.0, True)
        assert miners.step(after, WELL, limits, timing, 0.5).shed_stop_s == 41.5

    def test_who_takes_a_miner_over_ends_it(self) -> None:
        state = ZoneState(miners={miner_id(1): before(shed_stop_s=5.0)})
        assert asks.take_over(state, [miner_id(1)]).miners[miner_id(1)].shed_stop_s == 0.0

    @pytest.mark.parametrize(
        ("track", "hot"), [(CALM, False), (before(chip=HOT), True), (before(board=HOT), True)]
    )
    def test_at_shed_a_miner_is_hot(self, track: MinerTrack, hot: bool) -> None:
        assert miners.is_hot(track) is hot
        assert not miners.is_hot(msgspec.structs.replace(track, watch=Watch(Sight.LOST)))


class TestDoubtAndReset:
    def test_only_who_was_told_to_start_is_doubted(self) -> None:
        assert miners.doubted(before(stopped=True, starts=1)) == before(stopped=False, starts=0)
        stands = before(stopped=True)
        assert miners.doubted(stands) is stands

    def test_a_reset_forgets_the_trip_and_the_starts_and_nothing_else(self) -> None:
        assert miners.reset(before(over_trip_s=5.0, starts=4, chip=HOT)) == before(chip=HOT)
