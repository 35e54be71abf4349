"""Probes, contacts, feedbacks and bypasses on a whole guardian: polled devices, core, arbiter, writes.

Each test carries the number of the behaviour it shows; the scenes of the pure core stand in
`tests/unit/edge_agent/guardian/interlocks/`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.interlocks.asks import Answer, Denied, Granted
from edge_agent.ipc import Mode
from firmware_adapters.capabilities import Observation
from shared.alarms import EventKind
from shared.commands import Proposal, SetPoint, SetPreset
from shared.errors import Unreachable
from shared.ids import CommandId, DeviceId
from shared.telemetry import Reading
from support import zones
from support.guardian import PROBE, WALL, ZONE, GuardianBench, make_site, miner_id
from support.zones import CONTACTS

QUIET = {"estop_pressed": 0.0, "smoke": 0.0, "water_leak": 0.0, "door_open": 0.0, "bypass_key": 0.0}
PROBES = tuple(DeviceId(f"probe-{n}") for n in (1, 2, 3))


async def began(folder: Path, edit: zones.Edit) -> GuardianBench:
    bench = GuardianBench(make_site(folder, edit=edit))
    if CONTACTS in bench.fakes:
        bench.probe(CONTACTS).points = dict(QUIET)
    for probe in PROBES:
        if probe in bench.fakes:
            bench.probe(probe).points = {"air_temp_c": 24.0}
    return await bench.start()


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[GuardianBench]:
    """Three probes of inlet air, emergency stop, smoke, leak, door, a key switch."""
    bench = await began(tmp_path, zones.edits(zones.probes(3), zones.CONTACTED, zones.KEY))
    yield bench
    await bench.close()


def inlet(bench: GuardianBench, *values_c: float | None) -> None:
    for probe, value_c in zip(PROBES, values_c, strict=True):
        fake = bench.probe(probe)
        fake.fail = Unreachable("no answer") if value_c is None else None
        fake.points = {} if value_c is None else {"air_temp_c": value_c}


def contact(bench: GuardianBench, **points: float) -> None:
    bench.probe(CONTACTS).points.update(points)


def stopped(bench: GuardianBench) -> bool:
    return all(not miner.state.draws_power for miner in bench.miners)


async def asked(bench: GuardianBench, answer: Awaitable[Answer]) -> Answer:
    """What the guardian answers a person, once the journal is on the disk."""
    waiting = asyncio.ensure_future(answer)
    await bench.drain()
    return await waiting


# ---------------------------------------------------------------- S05


async def test_s05_one_lying_probe_of_three_moves_nothing(hall: GuardianBench) -> None:
    inlet(hall, 24.0, 99.0, 24.1)
    await hall.run(60.0)
    assert hall.mode is Mode.LOCAL_AUTO
    assert all(not miner.writes for miner in hall.miners)


async def test_s05_two_hot_probes_of_three_trip_and_every_miner_stops(hall: GuardianBench) -> None:
    inlet(hall, 46.0, 46.0, 24.0)
    await hall.run(8.0)
    assert hall.mode is Mode.TRIPPED
    assert stopped(hall)
    [told] = hall.events(EventKind.TRIPPED)
    assert told.data["interlock"] == "inlet_air_c"
    assert hall.wall.setpoint == 100.0


async def test_s05_one_probe_left_alarms_and_forbids_every_raise(hall: GuardianBench) -> None:
    inlet(hall, None, None, 24.0)
    await hall.run(45.0)
    assert hall.mode is Mode.LOCAL_AUTO
    status = hall.guardian.cycle.statuses[ZONE]
    assert set(status.inhibited) == {*(m.entry.id for m in hall.miners), WALL}
    assert any("1 of 3 probes" in event.title for event in hall.events(EventKind.ALARM))


async def test_s05_no_probe_left_trips(hall: GuardianBench) -> None:
    inlet(hall, None, None, None)
    await hall.run(25.0)
    assert hall.mode is Mode.TRIPPED
    assert stopped(hall)


async def test_s05_probes_that_never_answered_keep_the_zone_safe(tmp_path: Path) -> None:
    bench = GuardianBench(make_site(tmp_path, edit=zones.probes(3)))
    for probe in PROBES:
        bench.probe(probe).fail = Unreachable("no answer")
    for link in bench.guardian.links.values():
        await link.read_facts()
    await bench.run(90.0)
    assert bench.mode is Mode.SAFE
    assert not bench.guardian.cycle.look(ZONE).trips
    await bench.close()


# ---------------------------------------------------------------- S06


async def test_s06_warm_intake_sheds_step_by_step_before_it_trips(hall: GuardianBench) -> None:
    inlet(hall, 41.0, 41.0, 41.0)
    await hall.run(8.0)
    assert hall.mode is Mode.LOCAL_AUTO
    assert {miner.preset for miner in hall.miners} == {"2300"}, "every miner one step down"
    inlet(hall, 30.0, 30.0, 30.0)
    await hall.run(40.0)
    assert {miner.preset for miner in hall.miners} == {"2300"}
    assert not hall.guardian.cycle.statuses[ZONE].inhibited


# ---------------------------------------------------------------- contacts: S07, S11, S12


async def test_s07_an_emergency_stop_latches_and_is_reset_only_once_released(hall: GuardianBench) -> None:
    contact(hall, estop_pressed=1.0)
    await hall.run(4.0)
    assert hall.mode is Mode.TRIPPED
    assert stopped(hall)
    assert hall.wall.writes == [], "fans = leave: nobody's hand is near a fan that changes its speed"
    again = await hall.crash()
    await again.run(3.0)
    assert again.mode is Mode.TRIPPED
    denied = await asked(again, again.guardian.persons.reset(ZONE, by="ada", reason="looked"))
    assert isinstance(denied, Denied)
    contact(again, estop_pressed=0.0)
    await again.run(4.0)
    granted = await asked(again, again.guardian.persons.reset(ZONE, by="ada", reason="looked"))
    assert isinstance(granted, Granted)
    await again.close()


async def test_s12_in_smoke_the_load_stops_first_and_then_the_fans(hall: GuardianBench) -> None:
    contact(hall, smoke=1.0)
    await hall.run(6.0)
    assert stopped(hall)
    assert hall.wall.setpoint == 0.0, "below `low`, which is there for heat"
    contact(hall, smoke=0.0)
    await hall.run(4.0)
    assert hall.wall.setpoint == 0.0, "until a person has looked"
    granted = await asked(hall, hall.guardian.persons.reset(ZONE, by="ada", reason="false alarm"))
    assert isinstance(granted, Granted)
    await hall.run(4.0)
    assert hall.wall.setpoint == 100.0


async def test_s11_an_open_door_forbids_raises_and_less_cooling(hall: GuardianBench) -> None:
    contact(hall, door_open=1.0)
    await hall.run(4.0)
    raised = SetPreset(device=miner_id(1), preset="3000")
    slower = SetPoint(device=WALL, point="speed_setpoint_pct", value=50.0)
    for number, action in enumerate((raised, slower)):
        proposal = Proposal(
            id=CommandId(f"p-{number}"), policy="test", actions=(action,), reason="try", ttl_s=30.0
        )
        hall.guardian.intake.propose(proposal)
        await hall.run(2.0)
        [result] = hall.results(f"p-{number}")
        assert any("contact door is active" in line for line in result.violations)
    assert hall.miner(1).writes == []
    assert hall.wall.writes == []


# ---------------------------------------------------------------- S04


async def test_s04_a_dead_fan_whose_feedback_stands_still_is_lost_cooling(hall: GuardianBench) -> None:
    """The drive repeats its last good speed for ever; its set-point is moved and nothing answers."""

    read = hall.wall.read

    async def repeated() -> Observation:
        seen = await read()
        return msgspec.structs.replace(seen, readings={**seen.readings, "speed_pct": Reading(80.0)})

    hall.wall.read = repeated
    await hall.run(10.0)
    hall.wall.setpoint = 55.0
    await hall.run(22.0)
    assert any("has not moved" in event.title for event in hall.events(EventKind.ALARM))
    await hall.run(8.0)
    assert hall.mode is Mode.TRIPPED
    assert "set-point was moved" in str(hall.events(EventKind.TRIPPED)[0].data["first_out"])


# ---------------------------------------------------------------- S16


async def test_s16_a_bypass_needs_the_key_and_a_reason_is_logged_and_ends_with_the_key(
    hall: GuardianBench,
) -> None:
    persons = hall.guardian.persons
    refused = await asked(
        hall, persons.open_bypass(ZONE, interlock="inlet_air_c", seconds=900.0, by="ada", reason="")
    )
    assert isinstance(refused, Denied)
    granted = await asked(
        hall, persons.open_bypass(ZONE, interlock="inlet_air_c", seconds=900.0, by="ada", reason="probe swap")
    )
    assert isinstance(granted, Granted)
    await hall.run(10.0)
    assert not hall.guardian.cycle.statuses[ZONE].bypassed
    contact(hall, bypass_key=1.0)
    await hall.run(4.0)
    assert set(hall.guardian.cycle.statuses[ZONE].bypassed) == {"inlet_air_c"}
    inlet(hall, 50.0, 50.0, 50.0)
    await hall.run(30.0)
    assert hall.mode is Mode.LOCAL_AUTO
    contact(hall, bypass_key=0.0)
    await hall.run(4.0)
    assert hall.mode is Mode.TRIPPED
    titles = [event.title for event in hall.events()]
    assert any("ada asks to bypass inlet_air_c" in title for title in titles)
    assert any("is BYPASSED" in title for title in titles)
    assert any("acts again: the key was turned back" in title for title in titles)


async def test_s16_kill_9_ends_a_bypass(hall: GuardianBench) -> None:
    contact(hall, bypass_key=1.0)
    await hall.run(4.0)
    persons = hall.guardian.persons
    opened = await asked(
        hall, persons.open_bypass(ZONE, interlock="inlet_air_c", seconds=900.0, by="ada", reason="probe swap")
    )
    assert isinstance(opened, Granted)
    again = await hall.crash()
    await again.run(2.0)
    assert not again.guardian.cycle.statuses[ZONE].bypassed
    await again.close()


def test_the_probe_of_the_small_site_is_the_first_of_three() -> None:
    assert PROBES[0] == PROBE
