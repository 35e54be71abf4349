"""Every sentence that the core says to people, against a committed text.

An operator reads these at 3 a.m., so a changed word is a decision that shows in a diff. Run
`python tests/unit/edge_agent/guardian/interlocks/test_words.py` to write the file anew, then read the diff.
"""

import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from edge_agent.config import (
    Contact,
    CoolingProof,
    Effect,
    HighLimits,
    LowLimits,
    Mains,
    MainsStage,
    PointRef,
    PowerCap,
    SensorRole,
    Timing,
    Zone,
    ZoneLimits,
    ZoneSensor,
)
from edge_agent.guardian.interlocks import caps, findings, mains, zone_findings
from edge_agent.guardian.interlocks.bypass import Asked, Bypass, News
from edge_agent.guardian.interlocks.caps import CapInput, CapState
from edge_agent.guardian.interlocks.contacts import ContactTrack
from edge_agent.guardian.interlocks.inputs import Finding, MinerInput
from edge_agent.guardian.interlocks.levels import Level, Standing
from edge_agent.guardian.interlocks.mains import MainsInput, MainsState
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.guardian.interlocks.probes import Group, Limit, fed
from edge_agent.guardian.interlocks.proof import Proof
from edge_agent.guardian.interlocks.quantities import QUANTITIES
from edge_agent.guardian.interlocks.stale import Sight
from edge_agent.guardian.interlocks.state import (
    BOARD,
    CHIP,
    DAMAGED,
    ZONE_BLIND,
    ZONE_COOLING,
    ZONE_HOT,
    Trip,
)
from edge_agent.guardian.interlocks.stuck import STUCK_AFTER_S, Still
from edge_agent.guardian.interlocks.voting import Strength
from edge_agent.ipc import Mode, ZoneStatus
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState
from support.guardian import make_site

GOLDEN = Path(__file__).parent / "golden" / "words.txt"
HALL, M1 = ZoneId("hall-1"), DeviceId("m-1")
HIGH = HighLimits(release=33, warn=35, shed=40, trip=45, on_delay_s=4, off_delay_s=10)
LOW = LowLimits(release=18, warn=16, shed=12, trip=8, on_delay_s=4, off_delay_s=10)


def contact(name: str, effect: Effect, on_unknown: Effect, point: str) -> Contact:
    return Contact(
        name=name, device="contacts-1", point=point, effect=effect, on_unknown=on_unknown, on_delay_s=0.0
    )


ZONE = Zone(
    id=HALL,
    cooling="hydro",
    limits=ZoneLimits(
        chip_temp_c=HIGH,
        board_temp_c=HIGH,
        inlet_air_c=HIGH,
        water_c=HIGH,
        water_min_c=LOW,
        flow_m3h=LOW,
        pressure_pa=LOW,
        dew_margin_c=LOW,
    ),
    cooling_proof=CoolingProof(
        device="wall-1",
        point="speed_pct",
        lost_below=20,
        proven_above=40,
        lost_after_s=4,
        proven_for_s=10,
        others=(PointRef(device="wall-2", point="speed_pct"),),
    ),
    sensors=tuple(
        ZoneSensor(role=role, device=f"{role}-{number}", point="air_temp_c")
        for role in SensorRole
        for number in (1, 2)
    ),
    contacts=(
        contact("estop", Effect.TRIP, Effect.TRIP, "estop_pressed"),
        contact("door", Effect.INHIBIT, Effect.ALARM, "door_open"),
        contact("gate", Effect.TRIP, Effect.INHIBIT, "door_open"),
        contact("leak", Effect.ALARM, Effect.ALARM, "water_leak"),
    ),
)


def trip(interlock: str, device: DeviceId | None = None) -> Trip:
    return Trip(id=f"{interlock}-1", interlock=interlock, at_ms=1, first_out="what came first", device=device)


# ---------------------------------------------------------------- trips, miners, modes


def trips() -> Iterable[Finding]:
    names = [ZONE_COOLING, ZONE_HOT, ZONE_BLIND, DAMAGED, "contact/estop", "cap/feeder", *QUANTITIES]
    yield from (findings.tripped(HALL, trip(name)) for name in names)
    yield from (findings.tripped(HALL, trip(name, M1)) for name in (CHIP, BOARD, "cap/pdu-1"))
    yield findings.cleared(HALL, trip(ZONE_HOT), "ada", "filters changed")
    yield findings.cleared(HALL, trip(CHIP, M1), "ada", "fan changed")


def heat() -> Iterable[Finding]:
    for level, value_c in ((Level.WARN, 79.25), (Level.SHED, None), (Level.NORMAL, 70.0)):
        told = findings.heat(HALL, M1, CHIP, level, value_c, 78.0)
        assert told is not None
        yield told
    assert findings.heat(HALL, M1, CHIP, Level.TRIP, 90.0, 88.0) is None, "a trip speaks for itself"


def sight() -> Iterable[Finding]:
    yield from (findings.unseen(HALL, M1, sight) for sight in (Sight.BLIND, Sight.STALE, Sight.LOST))
    yield findings.seen(HALL, M1)
    yield findings.silent_zone(HALL)
    yield findings.heard_zone(HALL)


def modes() -> Iterable[Finding]:
    yield findings.mode(HALL, Mode.SAFE, Mode.LOCAL_AUTO, Cause.STABLE)
    yield findings.mode(HALL, Mode.LOCAL_AUTO, Mode.MANUAL, Cause.OPERATOR_MANUAL, "ada: to work on a fan")
    yield findings.batch_confirmed(HALL, 12, 30)
    yield findings.will_not_start(HALL, M1, 3)
    calm = ZoneStatus(mode=Mode.LOCAL_AUTO, cooling_proven=True, trips=(), inhibited={}, restarting=False)
    yield findings.zone_status(HALL, calm)
    latches = (trip(CHIP, M1).info(HALL), trip(ZONE_HOT).info(HALL), trip(ZONE_BLIND).info(HALL))
    bad = ZoneStatus(
        mode=Mode.TRIPPED, cooling_proven=False, trips=latches, inhibited={M1: "why"}, restarting=True
    )
    yield findings.zone_status(HALL, bad)


# ---------------------------------------------------------------- probes, feedbacks, contacts, bypasses


def group(role: SensorRole, level: Level = Level.NORMAL, **fields: object) -> Group:
    limits = {name: Limit(Standing(level), 36.5) for name in fed(role, ZONE)}
    return Group(limits=limits, **{"stills": (Still(), Still()), "strength": Strength(2, 2), **fields})


def probes() -> Iterable[Finding]:
    def told(before: Group, after: Group, role: SensorRole = SensorRole.INLET_AIR) -> list[Finding]:
        return zone_findings.of_probes(ZONE, {role: before}, {role: after})

    for role in SensorRole:
        for level in (Level.WARN, Level.SHED):
            yield from told(group(role), group(role, level), role)
        yield from told(group(role, Level.TRIP), group(role), role)
    air = SensorRole.INLET_AIR
    assert not told(group(air, Level.SHED), group(air, Level.TRIP)), "a trip speaks for itself"
    assert not told(group(air, Level.SHED), group(air, Level.WARN)), "on the way down only normal is told"
    short = {good: group(air, strength=Strength(good, 3, 30.0, good)) for good in (0, 1, 2)}
    for after in short.values():
        yield from told(group(air), after)
    yield from told(short[0], group(air))
    stuck = Still(25.0, STUCK_AFTER_S, (), contradicted=True)
    yield from told(group(air), group(air, stills=(Still(), stuck)))
    yield from told(group(air, stills=(Still(), stuck)), group(air))


def feedbacks() -> Iterable[Finding]:
    good = Proof(stuck=(False, False), strength=Strength(2, 2))
    bad = Proof(stuck=(False, True), strength=Strength(1, 2, 30.0, 1))
    yield from zone_findings.of_proof(ZONE, Proof(), bad)
    yield from zone_findings.of_proof(ZONE, bad, good)
    alone = Proof(stuck=(False, False), strength=Strength(0, 1, 30.0, 0))
    assert not zone_findings.of_proof(ZONE, good, alone), "one of one is the proof itself: cooling lost"


def contacts() -> Iterable[Finding]:
    names = [contact.name for contact in ZONE.contacts]
    rest = {name: ContactTrack(False, heard=True) for name in names}
    acting = {name: ContactTrack(True, 1.0, acting=True, heard=True) for name in names}
    missed = {name: ContactTrack(None, missed=True, heard=True) for name in names}
    for before, after in ((rest, acting), (acting, rest), (rest, missed), (missed, rest)):
        yield from zone_findings.of_contacts(ZONE, before, after)


def bypasses() -> Iterable[Finding]:
    asked = Asked(interlock="inlet_air_c", by="ada", reason="change the probe", seconds=900.0)
    by_key = Bypass(interlock="inlet_air_c", by="ada", reason="change the probe", left_s=899.6)
    by_two = Bypass(interlock="contact/leak", by="ada", reason="mopping", left_s=60.0, second="bob")
    yield from (zone_findings.bypass_asked(HALL, asked, has_key=key) for key in (True, False))
    yield from zone_findings.of_bypasses(
        HALL, News(opened=(by_key, by_two), ended=((by_key, "why"),), lapsed=(asked,), reminded=(by_two,))
    )
    yield zone_findings.bypass_refused(HALL, asked, "closed by bob")


# ---------------------------------------------------------------- power


def power_caps() -> Iterable[Finding]:
    limits = HighLimits(release=80, warn=90, shed=95, trip=100, on_delay_s=0, off_delay_s=1)
    cap = PowerCap(
        id="feeder",
        points=(
            PointRef(device="meter-1", point="power_w.1"),
            PointRef(device="meter-2", point="power_w.1"),
        ),
        limits=limits,
        w_per_unit=1.0,
        ramp_w_per_min=10.0,
        zones=(HALL,),
    )
    state = CapState()
    values = (91.0, 96.0, 101.0, 79.0, *(None,) * 4, 50.0)
    miner = MinerInput(device=M1, age_s=1.0, state=MinerState.MINING, power_w=50.0, hashrate_ths=2.0)
    for value in values:
        state, _, told = caps.step(state, CapInput(value=value), cap, {HALL: (miner,)}, timing(), 10.0)
        yield from told


def mains_lost() -> Iterable[Finding]:
    ups = Mains(
        device="ups-1",
        on_battery_point="on_battery",
        runtime_point="runtime_s",
        on_delay_s=5.0,
        restore_after_s=60.0,
        stages=(
            MainsStage(runtime_below_s=600.0, stop=False),
            MainsStage(runtime_below_s=300.0, stop=True),
        ),
    )
    for stays_away in (False, True):
        state = MainsState()
        heard = [(False, None), (True, 900.4), (True, 500.0), (True, 200.0)]
        silent: list[tuple[bool | None, float | None]] = [(None, None)] * 4
        for on_battery, runtime_s in [*heard, *silent] if stays_away else [*silent, *heard, *heard[:1] * 6]:
            given = MainsInput(on_battery=on_battery, runtime_s=runtime_s)
            state, _, told = mains.step(state, given, ups, 10.0)
            yield from told
    state, _, told = mains.step(MainsState(), MainsInput(on_battery=True), ups, 10.0)
    yield from told


SCENES = (
    trips,
    heat,
    sight,
    modes,
    probes,
    feedbacks,
    contacts,
    bypasses,
    power_caps,
    mains_lost,
)


def text_of(finding: Finding) -> str:
    data = "".join(f"\n    {name} = {value!r}" for name, value in finding.data.items())
    where = "".join(f"  {word}" for word in (finding.zone, finding.device) if word)
    advice = f"\n    > {finding.advice}" if finding.advice else ""
    head = f"{finding.kind.upper()} {finding.severity}  {finding.key}{where}"
    return f"{head}\n    {finding.title}{advice}{data}\n"


@cache
def timing() -> Timing:
    with tempfile.TemporaryDirectory() as folder:
        return make_site(Path(folder)).timing


def everything() -> str:
    return "\n".join(
        f"# {scene.__name__.replace('_', ' ')}\n\n" + "\n".join(text_of(finding) for finding in scene())
        for scene in SCENES
    )


def test_every_sentence_is_the_committed_one() -> None:
    assert everything() == GOLDEN.read_text()


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(everything())
