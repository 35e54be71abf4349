"""What a person on site asks over operator.sock, and what the answer says (S07, S16)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.guardian.agents.peers import Peer
from edge_agent.guardian.operators import words
from edge_agent.ipc import (
    CapStatus,
    CloseBypass,
    ConfirmBypass,
    Done,
    Explain,
    FromOperator,
    Lines,
    Mode,
    OpenBypass,
    PlanPreview,
    PlanStep,
    Refused,
    ResetTrip,
    SafeStop,
    SetMode,
    StandingOrder,
    StandingState,
    Status,
    StatusRequest,
    ToOperator,
    ZoneStatus,
)
from shared.commands import SetPreset, StopMining
from shared.ids import CommandId, DeviceId, ZoneId
from support.guardian import ZONE, GuardianBench, make_site

ADA, BOB = Peer(pid=1, uid=60_001, gid=0), Peer(pid=2, uid=60_002, gid=0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[GuardianBench]:
    bench = GuardianBench(make_site(tmp_path))
    await bench.start()
    yield bench
    await bench.close()


async def ask(bench: GuardianBench, request: FromOperator, peer: Peer = ADA) -> ToOperator:
    asked = asyncio.ensure_future(bench.guardian.operator._answer(request, peer))
    for _ in range(400):
        if asked.done():
            break
        await bench.settle()
        await asyncio.to_thread(lambda: None)
    return await asked


# ---------------------------------------------------------------- trips


async def test_one_trip_is_reset_by_its_id(bench: GuardianBench) -> None:
    for number in (1, 2):
        bench.miner(number).chip_c = 89.0
    await bench.run(3.0)
    status = await ask(bench, StatusRequest())
    assert isinstance(status, Status)
    listed = "\n".join(words.trips(status))
    assert "cause is still present" in listed
    for number in (1, 2):
        bench.miner(number).chip_c = 60.0
    await bench.run(30.0)
    first = next(trip for trip in bench.guardian.cycle.statuses[ZONE].trips if trip.device == "m-1")
    answer = await ask(bench, ResetTrip(trip=first.id, reason="fan swapped", operator="ada"))
    assert isinstance(answer, Done), answer
    assert "1 trips reset" in answer.detail
    left = {trip.id for trip in bench.guardian.cycle.statuses[ZONE].trips} - {first.id}
    assert left


async def test_a_trip_that_is_not_there(bench: GuardianBench) -> None:
    answer = await ask(bench, ResetTrip(trip="chip-temp-m-9-1", reason="r", operator="ada"))
    assert isinstance(answer, Refused)
    assert "'minewarden guardian trips' lists what is" in answer.why
    assert bench.guardian.operator.refused == {}, "counted where frames are read, not here"


async def test_no_trip_at_all(bench: GuardianBench) -> None:
    status = await ask(bench, StatusRequest())
    assert isinstance(status, Status)
    assert words.trips(status) == ["no trip is latched"]


async def test_a_zone_that_is_not_there(bench: GuardianBench) -> None:
    answer = await ask(bench, ResetTrip(zone=ZoneId("hall-9"), reason="r", operator="ada"))
    assert isinstance(answer, Refused)
    assert "no zone 'hall-9' on this site; it has hall-1" in answer.why


async def test_explain_what_nobody_knows(bench: GuardianBench) -> None:
    answer = await ask(bench, Explain(event="x"))
    assert isinstance(answer, Refused)


async def test_explain_an_event(bench: GuardianBench) -> None:
    answer = await ask(bench, Explain(event=bench.events()[0].id))
    assert isinstance(answer, Lines)
    assert answer.lines[0] == "Zone hall-1 is safe"


# ---------------------------------------------------------------- why it stands, and what next


async def told(bench: GuardianBench) -> str:
    """What 'status' prints."""
    status = await ask(bench, StatusRequest())
    assert isinstance(status, Status)
    return "\n".join(words.status(status))


def mode(mode: Mode, reason: str = "r") -> SetMode:
    return SetMode(zone=ZONE, mode=mode, operator="ada", reason=reason)


BACK = "minewarden guardian mode local-auto --zone hall-1 --reason ..."


async def test_after_a_safe_stop_status_says_who_why_and_what_next(bench: GuardianBench) -> None:
    answer = await ask(bench, SafeStop(zone=ZONE, reason="smoke seen"))
    assert isinstance(answer, Done)
    assert BACK in answer.detail
    await bench.run(2.0)
    said = await told(bench)
    assert "60001 stopped zone hall-1: smoke seen; stopped by a safe-stop" in said
    assert BACK in said
    bench.wall.broken = True
    back = await ask(bench, mode(Mode.LOCAL_AUTO))
    assert isinstance(back, Done)
    assert back.detail == "handed back; waits for proven cooling and then goes on by itself; mode safe"
    await bench.run(1.0)
    assert "goes on by itself once cooling is proven" in await told(bench)
    again = await ask(bench, mode(Mode.LOCAL_AUTO))
    assert isinstance(again, Refused)
    assert "it goes on by itself once cooling is proven" in again.why


async def test_a_zone_in_manual_says_how_to_hand_it_back(bench: GuardianBench) -> None:
    running = await ask(bench, mode(Mode.LOCAL_AUTO))
    assert isinstance(running, Refused)
    assert "nothing to hand back" in running.why
    taken = await ask(bench, mode(Mode.MANUAL))
    assert isinstance(taken, Done)
    assert BACK in taken.detail
    await bench.run(1.0)
    assert BACK in await told(bench)
    again = await ask(bench, mode(Mode.MANUAL))
    assert isinstance(again, Refused)
    assert BACK in again.why


async def test_a_reset_that_leaves_one_names_it_and_its_cause(bench: GuardianBench) -> None:
    bench.wall.broken = True
    bench.miner(1).chip_c = 89.0
    bench.miner(1).ignores = True
    await bench.run(8.0)
    refused = await ask(bench, mode(Mode.MANUAL))
    assert isinstance(refused, Refused)
    assert "reset its trips first: minewarden guardian trips" in refused.why
    assert "what to do about trips: minewarden guardian trips" in await told(bench)
    bench.wall.broken = False
    await bench.run(15.0)
    answer = await ask(bench, ResetTrip(zone=ZONE, reason="fan swapped", operator="ada"))
    assert isinstance(answer, Done), answer
    assert "1 trips reset; " in answer.detail
    assert "chip-temp (m-1): chip-temp 89 °C, trip limit 88 °C, cause still present" in answer.detail
    assert "mode safe; waits for proven cooling" in answer.detail


@pytest.mark.parametrize("request_", [SafeStop(reason=" "), mode(Mode.MANUAL, reason="")])
async def test_a_reason_of_nothing_is_none(bench: GuardianBench, request_: FromOperator) -> None:
    answer = await ask(bench, request_)
    assert isinstance(answer, Refused)
    assert "needs a reason; give one with --reason" in answer.why
    await bench.run(1.0)
    assert bench.mode is Mode.LOCAL_AUTO


async def test_a_safe_stop_of_nowhere_lists_the_zones(bench: GuardianBench) -> None:
    answer = await ask(bench, SafeStop(zone=ZoneId("nowhere"), reason="r"))
    assert isinstance(answer, Refused)
    assert "NOTHING is stopped; it has hall-1; without --zone everything stops" in answer.why


# ---------------------------------------------------------------- bypass


def opening(seconds: float = 600.0, interlock: str = "inlet_air_c") -> OpenBypass:
    return OpenBypass(
        zone=ZONE, interlock=interlock, seconds=seconds, reason="probe is being swapped", operator="ada"
    )


async def test_without_a_key_switch_another_account_confirms(bench: GuardianBench) -> None:
    answer = await ask(bench, opening())
    assert isinstance(answer, Done)
    assert bench.guardian.cycle.look(ZONE).bypasses.open == ()
    await bench.run(1.0)
    waiting = f"bypass of inlet_air_c waits, asked by {ADA.name}: another person has to confirm it"
    assert any(waiting in line for line in words.status(bench.guardian.status()))
    same = await ask(bench, ConfirmBypass(zone=ZONE, interlock="inlet_air_c", operator="bob"), ADA)
    assert isinstance(same, Refused), "a name that somebody types is no second person"
    other = await ask(bench, ConfirmBypass(zone=ZONE, interlock="inlet_air_c", operator="bob"), BOB)
    assert isinstance(other, Done)
    await bench.run(1.0)
    status = bench.guardian.cycle.statuses[ZONE]
    assert status.bypassed == {"inlet_air_c": 599}
    assert any("BYPASSED inlet_air_c" in line for line in words.status(bench.guardian.status()))
    closed = await ask(bench, CloseBypass(zone=ZONE, interlock="inlet_air_c", operator="ada"))
    assert isinstance(closed, Done)
    await bench.run(1.0)
    assert bench.guardian.cycle.statuses[ZONE].bypassed == {}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (opening(seconds=1e9), "at most 3600 s here"),
        (opening(interlock="chip-temp"), "cannot be bypassed; what can: inlet_air_c"),
        (opening(interlock="cooling-lost"), "cannot be bypassed"),
    ],
)
async def test_what_cannot_be_bypassed(bench: GuardianBench, request_: OpenBypass, why: str) -> None:
    answer = await ask(bench, request_)
    assert isinstance(answer, Refused)
    assert why in answer.why


# ---------------------------------------------------------------- words


def test_status_in_words() -> None:
    status = Status(
        zones={
            ZONE: ZoneStatus(
                mode=Mode.SAFE,
                cooling_proven=False,
                inhibited={DeviceId(f"m-{n}"): "no data (lost)" for n in range(9)},
                levels={"inlet_air_c": "warn"},
                bypass_asked={"flow_m3h": "asked by ada: turn the key switch"},
                why="stands",
            )
        },
        lease_left_s=None,
        journal_head=7,
        caps={
            "feeder": CapStatus(value=None, level="normal", limit=950.0, unit="kW"),
            "phase": CapStatus(value=12.5, level="warn", limit=12.0),
        },
        on_battery=True,
        battery_left_s=610.0,
        refused={"agent frames": 2},
        orders=(
            StandingOrder(
                id=CommandId("c-1"),
                state=StandingState.HOLDING,
                words="down to 100 kW",
                actor="desk",
                target_w=100_000.0,
                meter_w=99_000.0,
                confirmed_ms=0,
            ),
            StandingOrder(id=CommandId("c-0"), state=StandingState.ENDED, words="old", actor="desk"),
            StandingOrder(id=CommandId("c-9"), state=StandingState.CANCELLED, words="no", actor="desk"),
        ),
    )
    assert words.status(status) == [
        "lease never held, model none, journal 7",
        "mains: ON BATTERY, 10 min left by the UPS's own word",
        "hall-1: safe, cooling NOT proven",
        "  stands",
        "  inlet_air_c: warn",
        "  bypass of flow_m3h waits, asked by ada: turn the key switch",
        "  inhibited (no data (lost)): m-0, m-1, m-2, m-3 and 5 more",
        "cap feeder: unknown, nothing is raised beyond 950 kW (normal)",
        "cap phase: 12.5, nothing is raised beyond 12 (warn)",
        "order c-1: holding, down to 100 kW (by desk), target 100.0 kW, meter 99.0 kW, "
        "confirmed by the meter 1970-01-01 00:00:00 UTC",
        "refused since the start: 2 agent frames",
    ]
    assert len(words.orders(status.orders)) == 3, "'orders' lists those that ended too"


def test_a_plan_in_words() -> None:
    m1, m2 = DeviceId("m-1"), DeviceId("m-2")
    plan = PlanPreview(
        id=CommandId("p"),
        steps=(
            PlanStep(action=StopMining(device=m1), saves_w=3000.0),
            PlanStep(action=SetPreset(device=m2, preset="2300"), saves_w=700.0),
        ),
        now_w=10_000.0,
        expected_w=6_300.0,
        reaches_target=False,
        takes_s=30.0,
    )
    assert words.plan(plan) == [
        "now 10.0 kW, then 6.3 kW in about 30 s: does NOT reach the target; 2 steps, nothing was done",
        "  m-1: stop (-3.00 kW)",
        "  m-2: preset 2300 (-0.70 kW)",
    ]
