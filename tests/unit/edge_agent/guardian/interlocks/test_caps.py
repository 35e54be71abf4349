"""Power caps: what is lowered when, and what is never claimed (S18)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import HighLimits, PointRef, PowerCap, SiteFile
from edge_agent.guardian.interlocks import caps
from edge_agent.guardian.interlocks.caps import CALM, CapInput, CapState
from edge_agent.guardian.interlocks.inputs import Commanded, FeederClaim, Finding, MinerInput
from edge_agent.guardian.interlocks.levels import Level
from shared.alarms import EventKind, Severity
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState

ZONE = ZoneId("hall-1")
CAP = PowerCap(
    id="feeder",
    points=(PointRef(device="meter-1", point="power_w"),),
    limits=HighLimits(release=9_000, warn=10_000, shed=11_000, trip=13_000, on_delay_s=2.0, off_delay_s=5.0),
    w_per_unit=1.0,
    ramp_w_per_min=10_000.0,
    zones=(ZONE,),
)


def miner(number: int, *, j_per_th: float | None = 30.0, **fields: object) -> MinerInput:
    """A miner of 3 kW that says how efficient it is."""
    return msgspec.structs.replace(
        MinerInput(
            device=DeviceId(f"m-{number}"),
            age_s=1.0,
            state=MinerState.MINING,
            power_w=3000.0,
            hashrate_ths=None if j_per_th is None else 3000.0 / j_per_th,
        ),
        **fields,
    )


class Bench:
    """One cap under test."""

    def __init__(self, site: SiteFile, *miners: MinerInput, cap: PowerCap = CAP) -> None:
        self.timing, self.cap = site.timing, cap
        self.miners = {entry.device: entry for entry in miners}
        self.state: CapState = CALM
        self.claim: FeederClaim | None = None
        self.found: list[Finding] = []
        self.saves_w: dict[DeviceId, float] = {}
        self.asked: list[DeviceId] = []

    def run(self, value: float | None, seconds: float, dt: float = 0.5) -> "Bench":
        for _ in range(round(seconds / dt)):
            behind = {ZONE: tuple(self.miners.values())}
            given = CapInput(value=value, saves_w=self.saves_w)
            self.state, claims, found = caps.step(self.state, given, self.cap, behind, self.timing, dt)
            self.claim = claims[ZONE]
            self.asked = list(self.claim.lower)
            self.found += found
            for device, entry in self.miners.items():
                self.miners[device] = msgspec.structs.replace(entry, commanded=())
        return self

    def put(self, number: int, **fields: object) -> "Bench":
        device = DeviceId(f"m-{number}")
        self.miners[device] = msgspec.structs.replace(self.miners[device], **fields)
        return self

    def kinds(self) -> list[EventKind]:
        return [finding.kind for finding in self.found]


@pytest.fixture
def six(site: SiteFile) -> Bench:
    return Bench(site, *(miner(n, j_per_th=20.0 + n) for n in range(1, 7)))


def test_below_warn_nothing_is_claimed(six: Bench) -> None:
    claim = six.run(9_999.0, 60).claim
    assert claim is not None
    assert (claim.inhibit, claim.lower, claim.trip, claim.cause) == (None, (), None, False)
    assert six.found == []


def test_warn_inhibits_after_its_delay_and_releases_with_hysteresis(six: Bench) -> None:
    assert six.run(10_000.0, 1.5).claim.inhibit is None
    assert six.run(10_000.0, 0.5).claim.inhibit == "power cap feeder (warn)"
    assert six.run(9_500.0, 60).claim.inhibit is not None  # below warn, above release
    assert six.run(9_000.0, 4.5).claim.inhibit is not None
    assert six.run(9_000.0, 0.5).claim.inhibit is None
    assert six.kinds() == [EventKind.ALARM, EventKind.ALARM_CLEARED]


def test_shed_asks_as_many_as_the_excess_needs_worst_first(six: Bench) -> None:
    six.saves_w = dict.fromkeys(six.miners, 500.0)
    six.run(11_200.0, 2.0)  # 1200 W above warn: three steps of 500 W
    assert six.asked == ["m-6", "m-5", "m-4"]
    assert six.kinds()[-1] is EventKind.SHED
    assert six.found[-1].severity is Severity.HIGH


def test_an_unknown_efficiency_counts_as_the_worst(site: SiteFile) -> None:
    bench = Bench(site, miner(1, j_per_th=90.0), miner(2, j_per_th=None), miner(3, hashrate_ths=0.0))
    bench.saves_w = dict.fromkeys(bench.miners, 10000.0)
    assert bench.run(11_500.0, 2.0).asked == ["m-2"]


def test_without_a_ladder_a_step_counts_for_little(six: Bench) -> None:
    six.run(11_300.0, 2.0)  # 1300 W / (7 % of 3 kW) = 6.2
    assert len(six.asked) == 6


def test_what_is_in_flight_counts_until_the_miner_shows_it(six: Bench) -> None:
    six.saves_w = dict.fromkeys(six.miners, 1500.0)
    assert six.run(11_400.0, 2.0).asked == ["m-6"]
    six.put(6, commanded=(Commanded(settle_s=20.0),))
    assert six.run(11_400.0, 15.0).asked == []  # its 1500 W are on their way
    six.put(6, power_w=1_500.0)
    assert six.run(11_400.0, 5.5).asked == ["m-5"]  # it obeyed, but the meter says: not enough


def test_a_miner_that_ignores_its_command_is_replaced(six: Bench) -> None:
    six.saves_w = dict.fromkeys(six.miners, 1500.0)
    six.run(11_400.0, 2.0).put(6, commanded=(Commanded(settle_s=5.0),))
    six.run(11_400.0, 5.5)
    assert set(six.asked) == {"m-6", "m-5"}  # asked on, and not counted


def test_a_miner_that_gets_no_command_is_replaced(six: Bench) -> None:
    six.saves_w = dict.fromkeys(six.miners, 1500.0)
    assert six.run(11_400.0, 2.0).asked == ["m-6"]
    assert six.run(11_400.0, 9.0).asked == ["m-6"]
    assert set(six.run(11_400.0, 2.0).asked) == {"m-6", "m-5"}


@pytest.mark.parametrize("fields", [{"age_s": 100.0}, {"state": MinerState.STOPPED}])
def test_who_is_silent_or_stopped_is_not_asked(six: Bench, fields: dict[str, object]) -> None:
    six.saves_w = dict.fromkeys(six.miners, 500.0)
    six.put(6, **fields)
    assert six.run(11_200.0, 2.0).asked == ["m-5", "m-4", "m-3"]


def test_a_miner_that_stopped_is_not_counted_on_any_more(six: Bench) -> None:
    six.saves_w = dict.fromkeys(six.miners, 1500.0)
    assert six.run(11_400.0, 2.0).asked == ["m-6"]
    six.put(6, state=MinerState.STOPPED)
    assert six.run(11_400.0, 0.5).asked == ["m-5"]
    assert set(six.state.asks) == {"m-5"}


@pytest.mark.parametrize(("before", "after"), [(None, 1_500.0), (3_000.0, None)])
def test_a_step_that_nobody_measured_did_not_show(
    six: Bench, before: float | None, after: float | None
) -> None:
    six.saves_w = dict.fromkeys(six.miners, 1500.0)
    six.put(6, power_w=before).run(11_400.0, 2.0).put(6, commanded=(Commanded(settle_s=5.0),), power_w=after)
    assert six.run(11_400.0, 4.5).asked == [], "in flight it counts all the same"
    assert set(six.run(11_400.0, 1.0).asked) == {"m-6", "m-5"}


def test_between_release_and_shed_nothing_more_is_lowered(six: Bench) -> None:
    six.run(11_200.0, 2.0)
    assert six.run(10_900.0, 0.5).asked == []
    assert six.claim.inhibit == "power cap feeder (shed)"


def test_trip_counts_after_its_delay_and_its_cause_stays_until_released(six: Bench) -> None:
    assert six.run(13_000.0, 1.5).claim.trip is None
    six.run(13_000.0, 0.5)
    assert six.claim.trip == "feeder 13000 W, trip limit 13000 W"
    assert six.run(12_000.0, 1.0).claim.trip is None
    assert six.claim.cause
    assert six.run(9_000.0, 4.5).claim.cause
    assert not six.run(9_000.0, 0.5).claim.cause


def test_a_peak_shorter_than_the_delay_trips_nothing(six: Bench) -> None:
    for _ in range(20):
        six.run(13_500.0, 1.5)
        assert six.claim.trip is None
        six.run(8_000.0, 0.5)


def test_an_unknown_meter_inhibits_at_once_alarms_after_30_s_and_never_trips(six: Bench) -> None:
    six.run(None, 0.5)
    assert six.claim.inhibit == "power cap feeder: its meter is not known"
    assert six.claim.cause
    six.run(None, 29.5)
    assert six.found == []
    six.run(None, 600.0)
    assert six.kinds() == [EventKind.ALARM]
    assert six.claim.trip is None
    assert six.asked == []
    six.run(8_000.0, 1.0)
    assert six.kinds()[-1] is EventKind.ALARM_CLEARED
    assert six.claim.inhibit is None


def test_going_blind_above_trip_does_not_trip_later(six: Bench) -> None:
    six.run(13_500.0, 1.5).run(None, 60.0)
    assert six.claim.trip is None


def test_a_pdu_claims_its_miners_only(site: SiteFile) -> None:
    cap = msgspec.structs.replace(CAP, pdu="pdu-1", zones=())
    bench = Bench(site, miner(1), miner(2), cap=cap).run(13_500.0, 3.0)
    assert bench.claim.miners == {"m-1", "m-2"}
    assert bench.claim.trip is not None


def test_amperes_become_watts_of_a_miner(site: SiteFile) -> None:
    limits = HighLimits(release=40, warn=45, shed=50, trip=60, on_delay_s=2.0, off_delay_s=5.0)
    points = (PointRef(device="meter-1", point="current_a"),)
    cap = msgspec.structs.replace(CAP, points=points, limits=limits, w_per_unit=230.0)
    bench = Bench(site, *(miner(n) for n in range(1, 7)), cap=cap)
    bench.saves_w = dict.fromkeys(bench.miners, 500.0)
    bench.run(50.0, 2.0)  # 5 A above warn are 1150 W
    assert len(bench.asked) == 3
    assert caps.view(cap, 40.0, frozenset()).room_w == 5 * 230.0


def test_room_for_raises_ends_at_warn_and_is_unknown_without_a_meter() -> None:
    fed = frozenset({DeviceId("m-1")})
    assert caps.view(CAP, 9_400.0, fed).room_w == 600.0
    assert caps.view(CAP, 10_500.0, fed).room_w == 0.0
    assert caps.view(CAP, None, fed).room_w is None


def test_people_see_level_and_limit(six: Bench) -> None:
    six.run(11_500.0, 2.0)
    shown = caps.status(CAP, six.state, 11_500.0)
    assert (shown.value, shown.level, shown.limit) == (11_500.0, "shed", 10_000)
    assert caps.status(CAP, six.state, None).level == "unknown"


@given(values=st.lists(st.none() | st.floats(0, 20_000), max_size=80))
def test_claims_follow_the_level_whatever_the_meter_does(values: list[float | None]) -> None:
    """Nothing is lowered below `shed`, nothing trips below `trip`, everything is inhibited while unknown."""
    timing = _Timing()
    state, behind = CALM, {ZONE: tuple(miner(n) for n in range(4))}
    for value in values:
        state, claims, _ = caps.step(state, CapInput(value=value), CAP, behind, timing, 0.5)
        claim = claims[ZONE]
        assert not claim.lower or (value is not None and value >= CAP.limits.shed)
        assert claim.trip is None or (value is not None and value >= CAP.limits.trip)
        assert claim.inhibit is not None or (value is not None and state.standing.level is Level.NORMAL)


class _Timing:
    stale_after_s = 6.0
