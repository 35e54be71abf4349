"""Behaviours of the contracts on a whole guardian: real core, arbiter, executor, journal, files.

Each test carries the number of what it proves. Behaviours that need real processes stand in
`tests/integration/guardian/`.
"""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.agents.peers import Peer
from edge_agent.guardian.cycle import InterlockThread
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.storage import journal
from edge_agent.ipc import Assign, Mode, Propose, Tripped, Unassign
from edge_agent.ipc import Order as OrderFrame
from shared.alarms import EventKind, Severity
from shared.artifacts.signing import Role
from shared.commands import (
    ActionOutcome,
    DoActions,
    ModelRef,
    Proposal,
    ResetTripOrder,
    SafeStopOrder,
    SetPoint,
    SetPreset,
    StartMining,
    WriteResult,
)
from shared.errors import Busy, StoreError, Unreachable
from shared.ids import CommandId
from shared.telemetry import MinerState
from support.guardian import PDU, WALL, ZONE, FakePdu, GuardianBench, make_site, miner_id, signed_order

PEER = Peer(pid=1, uid=0, gid=0)


def propose(
    bench: GuardianBench, preset: str, *, number: int = 1, command: str = "p-1", ttl_s: float = 30.0
) -> None:
    action = SetPreset(device=miner_id(number), preset=preset)
    proposal = Proposal(id=CommandId(command), policy="test", actions=(action,), reason="try", ttl_s=ttl_s)
    bench.guardian.handle(Propose(proposal=proposal), PEER)


async def lose_cooling(bench: GuardianBench) -> None:
    bench.wall.broken = True
    await bench.run(7.0)
    assert bench.mode is Mode.TRIPPED


async def reset(bench: GuardianBench) -> Granted | Denied:
    asked = asyncio.ensure_future(bench.guardian.persons.reset(ZONE, by="ada", reason="repaired"))
    await bench.settle()
    return await asked


# ---------------------------------------------------------------- S01, S02, S03


def test_s01_the_guardian_imports_no_ml_no_mqtt_no_numpy() -> None:
    code = (
        "import sys, edge_agent.guardian.cli, firmware_adapters.registry as r; "
        "heavy = {'numpy', 'onnxruntime', 'aiomqtt', 'paho', 'torch', 'sqlalchemy', 'cloud'}; "
        "print(sorted(set(sys.modules) & heavy))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_s01_only_a_living_loop_feeds_the_watchdog(bench: GuardianBench) -> None:
    fed: list[float] = []
    thread = InterlockThread(
        bench.guardian.cycle,
        bench.clock,
        hand_over=lambda _: None,
        feed_watchdog=lambda: fed.append(bench.clock.monotonic()),
    )
    thread.once()
    assert len(fed) == 1
    bench.clock.advance(11.0)
    thread.once()
    assert len(fed) == 1, "an event loop that does not answer starves the watchdog"


async def test_s01_who_cannot_act_on_the_interlocks_does_not_feed_the_watchdog(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desk that breaks on every demand is as good as none: systemd has to start it anew."""
    heard_s = bench.guardian.cycle.heard_s

    def broken(_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(bench.guardian.desk, "apply", broken)
    bench.clock.advance(5.0)
    with pytest.raises(KeyError):
        bench.guardian._news(bench.guardian.cycle.turn())
    assert bench.guardian.cycle.heard_s == heard_s


async def test_s21_a_disk_that_hangs_holds_up_no_turn(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, three_turns = threading.Event(), threading.Event()
    fed: list[float] = []

    def feed() -> None:
        fed.append(bench.clock.monotonic())
        if len(fed) == 3:
            three_turns.set()

    cycle = bench.guardian.cycle
    monkeypatch.setattr(cycle._latches, "save", lambda _: let_go.wait(20.0))
    bench.guardian.persons.safe_stop(None, by="ada", reason="smoke")
    thread = InterlockThread(cycle, bench.clock, hand_over=lambda _: None, feed_watchdog=feed)
    thread.start()
    turned = await asyncio.to_thread(three_turns.wait, 5.0)
    bench.clock.advance(2.0)
    raises_wait = not cycle.latches_ok
    let_go.set()
    await asyncio.to_thread(thread.stop)
    assert turned
    assert raises_wait
    assert cycle.latches_ok


async def test_s03_unknown_device_is_refused_and_journalled(bench: GuardianBench) -> None:
    propose(bench, "2300", number=99)
    await bench.settle()
    [result] = bench.results("p-1")
    assert result.outcome is ActionOutcome.REJECTED
    assert "unknown device" in result.violations[0]
    assert len(bench.events(EventKind.REFUSED)) == 1


# ---------------------------------------------------------------- S04


async def test_s04_a_silent_miner_is_inhibited_and_not_tripped(bench: GuardianBench) -> None:
    bench.miner(2).fail = Unreachable("cable out")
    await bench.run(40.0)
    assert bench.mode is Mode.LOCAL_AUTO
    status = bench.guardian.cycle.statuses[ZONE]
    assert status.inhibited == {miner_id(2): "no data (lost)"}
    assert [e.key for e in bench.events(EventKind.ALARM)] == ["no-data/m-2"]
    assert bench.miner(2).writes == []


async def test_s04_nan_and_impossible_values_never_reach_an_interlock(bench: GuardianBench) -> None:
    bench.miner(1).chip_c = 255.0
    bench.miner(2).chip_c = float("nan")
    await bench.run(3.0)
    assert bench.mode is Mode.LOCAL_AUTO
    assert not bench.guardian.cycle.statuses[ZONE].trips
    assert set(bench.guardian.cycle.statuses[ZONE].inhibited) == {miner_id(1), miner_id(2)}


# ---------------------------------------------------------------- S07


async def test_s04_a_miner_that_says_stopped_and_draws_power_is_not_believed(bench: GuardianBench) -> None:
    """Firmware's word against its own meter: unknown, so running and hot (miners.md §7)."""
    await bench.start()
    liar = bench.miner(2)
    liar.state, liar.off_power_w = MinerState.STOPPED, 2_400.0
    for miner in bench.miners:
        if miner is not liar:
            miner.state = MinerState.STOPPED
    await bench.run(4.0)
    await lose_cooling(bench)
    assert "stop" in liar.writes
    assert all("stop" not in miner.writes for miner in bench.miners if miner is not liar)


async def test_s07_a_trip_survives_kill_9_and_is_reset_only_when_its_cause_is_gone(
    bench: GuardianBench,
) -> None:
    await lose_cooling(bench)
    again = await bench.crash()
    assert again.mode is Mode.TRIPPED
    await again.run(4.0)
    assert isinstance(await reset(again), Denied)
    again.wall.broken = False
    await again.run(4.0)
    assert isinstance(await reset(again), Granted)
    once_more = await again.crash()
    assert once_more.mode is Mode.SAFE
    await once_more.run(20.0)
    assert once_more.mode is Mode.LOCAL_AUTO
    await once_more.close()


async def test_s07_a_damaged_latch_file_trips_every_zone(bench: GuardianBench, site: SiteFile) -> None:
    await lose_cooling(bench)
    await bench.close()
    file = Path(site.paths.guardian_state) / "latches.json"
    file.write_bytes(file.read_bytes().replace(b"cooling", b"heating"))
    again = GuardianBench(site)
    assert again.mode is Mode.TRIPPED
    assert again.guardian.cycle.statuses[ZONE].trips[0].interlock == "latch-file"
    await again.close()


@pytest.mark.parametrize("role", [Role.COMMAND, Role.OPERATOR])
async def test_s07_the_cloud_cannot_reset_and_an_operator_key_only_where_the_site_allows(
    tmp_path: Path, role: Role
) -> None:
    bench = await GuardianBench(make_site(tmp_path)).start()
    await lose_cooling(bench)
    bench.wall.broken = False
    await bench.run(3.0)
    order = signed_order(ResetTripOrder(zone=ZONE, reason="please"), bench.clock, role=role)
    await order_and_wait(bench, order)
    [result] = bench.results("c-1")
    assert result.outcome is ActionOutcome.REJECTED
    assert ("operator's key only" if role is Role.COMMAND else "remote_reset is false") in result.detail
    assert bench.mode is Mode.TRIPPED
    await bench.close()


async def test_s07_an_operator_key_resets_where_the_site_allows(tmp_path: Path) -> None:
    site = make_site(tmp_path, edit=lambda text: text.replace("remote_reset = false", "remote_reset = true"))
    bench = await GuardianBench(site).start()
    await lose_cooling(bench)
    bench.wall.broken = False
    await bench.run(3.0)
    order = signed_order(ResetTripOrder(zone=ZONE, reason="seen on camera"), bench.clock, role=Role.OPERATOR)
    await order_and_wait(bench, order)
    assert bench.results("c-1")[0].outcome is ActionOutcome.APPLIED
    assert bench.mode is not Mode.TRIPPED
    await bench.close()


async def order_and_wait(bench: GuardianBench, signed: object) -> None:
    """Orders touch the disk in a thread of their own; wait until the guardian has nothing left to do."""
    bench.guardian.handle(OrderFrame(signed=signed), PEER)  # type: ignore[arg-type] # what signed_order made
    while tasks := set(bench.guardian.desk._background):
        await asyncio.wait(tasks, timeout=0.01)
        await bench.run(0.25)


# ---------------------------------------------------------------- S08, S12


async def test_s08_s12_restart_proves_cooling_first_and_goes_in_batches(bench: GuardianBench) -> None:
    await lose_cooling(bench)
    bench.wall.broken = False
    await bench.run(3.0)
    assert isinstance(await reset(bench), Granted)
    starts: list[int] = []
    for _ in range(120):
        await bench.run(1.0)
        starts.append(sum(miner.writes.count("start") for miner in bench.miners))
    assert starts[5] == 0, "cooling is not proven for its time yet"
    first = next(i for i, count in enumerate(starts) if count)
    assert starts[first] == 2, "50 % of 12 kW: two machines of 3 kW"
    assert starts[first + 25] == 2
    assert starts[first + 35] == 4
    confirmed = [e for e in bench.events(EventKind.SYSTEM) if "restart batch confirmed" in e.title]
    assert [e.data["confirmed"] for e in confirmed] == [2, 2]
    assert bench.mode is Mode.LOCAL_AUTO


async def test_s12_fans_go_to_fail_safe_after_the_load_was_told_to_stop(bench: GuardianBench) -> None:
    await lose_cooling(bench)
    assert ("speed_setpoint_pct", 100.0) in bench.wall.writes
    assert all(miner.state is MinerState.STOPPED for miner in bench.miners)


# ---------------------------------------------------------------- S10


async def test_s10_without_a_lease_first_hold_then_safe_set_points(bench: GuardianBench) -> None:
    await bench.run(60.0 + 31.0, lease=False)
    propose(bench, "3000")
    await bench.settle()
    assert "no lease" in bench.results("p-1")[0].detail
    await bench.run(100.0, lease=False)
    assert bench.mode is Mode.SAFE
    assert [miner.preset for miner in bench.miners] == ["2300"] * 4
    assert bench.wall.setpoint == 100.0
    await bench.run(15.0)
    assert bench.mode is Mode.LOCAL_AUTO


# ---------------------------------------------------------------- S13


async def test_s13_an_http_200_that_changes_nothing_is_not_applied(bench: GuardianBench) -> None:
    bench.miner(1).ignores = True
    propose(bench, "2300")
    await bench.run(45.0)
    [result] = bench.results("p-1")
    assert result.outcome is ActionOutcome.UNCONFIRMED
    assert bench.miner(1).writes == ["2300", "2300"], "one retry"
    assert result.writes[0].result is WriteResult.UNCONFIRMED


async def test_s13_a_500_for_already_stopped_is_settled_by_reading(bench: GuardianBench) -> None:
    await lose_cooling(bench)
    bench.wall.broken = False
    await bench.run(3.0)
    for miner in bench.miners:
        miner.fail_write = Busy("failed-to-activate-pause-mode")
    bench.guardian.persons.safe_stop(None, by="ada", reason="test")
    await bench.run(5.0)
    assert not [e for e in bench.events(EventKind.ALARM) if e.key.startswith("stop/")]


async def test_s13_an_unconfirmed_stop_is_sent_again_and_escalates_to_the_outlet(
    bench: GuardianBench,
) -> None:
    last = bench.miner(4)
    last.ignores = True
    await lose_cooling(bench)
    await bench.run(8.0)
    assert last.writes == ["stop"]
    await bench.run(6.0)
    assert last.writes == ["stop", "stop"], "sent once more after 10 s"
    await bench.run(25.0)
    alarms = [e for e in bench.events(EventKind.ALARM) if e.key == "stop/m-4"]
    assert alarms
    assert alarms[0].severity is Severity.URGENT
    pdu = bench.fakes[PDU]
    assert isinstance(pdu, FakePdu)
    assert pdu.on == {1: False, 2: True}


# ---------------------------------------------------------------- S14


async def test_s13_a_safe_stop_that_a_trip_takes_over_raises_no_false_alarm(bench: GuardianBench) -> None:
    miner = bench.miner(1)
    miner.gate = asyncio.Event()
    bench.guardian.persons.safe_stop(None, by="ada", reason="smoke")
    await bench.run(1.0)
    bench.wall.broken = True
    await bench.run(7.0)
    assert bench.mode is Mode.TRIPPED
    assert miner.writes == ["stop", "stop"], "the trip's stop takes over from the safe-stop's"
    miner.gate.set()
    await bench.run(5.0)
    assert miner.state is MinerState.STOPPED
    assert not [e for e in bench.events(EventKind.ALARM) if "did not confirm its stop" in e.title]


async def test_s13_a_stop_at_the_bottom_of_the_ladder_escalates_as_well(bench: GuardianBench) -> None:
    """Shed ends in a stop; one that is ignored is no better for having been asked for by shed."""
    last = bench.miner(len(bench.miners))
    last.preset, last.ignores, last.chip_c = "2000", True, 85.0
    await bench.run(45.0)
    assert "stop" in last.writes
    pdu = bench.fakes[PDU]
    assert isinstance(pdu, FakePdu)
    assert pdu.on[1] is False


async def test_s14_an_order_repeated_while_its_result_is_stored_is_not_called_interrupted(
    bench: GuardianBench,
) -> None:
    miner, intake = bench.miner(1), bench.guardian.intake
    miner.gate = asyncio.Event()
    order = signed_order(DoActions(actions=(SetPreset(device=miner_id(1), preset="2300"),)), bench.clock)
    bench.guardian.handle(OrderFrame(signed=order), PEER)
    while not miner.writes:
        await asyncio.wait(set(bench.guardian.desk._background), timeout=0.01)
    await intake._order_lock.acquire()
    bench.guardian.handle(OrderFrame(signed=order), PEER)
    await bench.settle()
    miner.gate.set()
    await bench.run(2.0)
    intake._order_lock.release()
    while tasks := set(bench.guardian.desk._background):
        await asyncio.wait(tasks)
    assert {result.outcome for result in bench.results("c-1")} == {ActionOutcome.APPLIED}


async def test_s14_assignments_take_effect_in_the_order_they_were_told(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's disk is slow; the second must not overtake it, nor an Unassign both."""
    told: list[str] = []
    first_may_end = threading.Event()

    def accept(_: object, *, swapped: bool) -> str:
        if swapped:
            first_may_end.wait(5.0)
        told.append("first" if swapped else "second")
        return "ok"

    def drop() -> str:
        told.append("drop")
        return "dropped"

    monkeypatch.setattr(bench.guardian.assignments, "accept", accept)
    monkeypatch.setattr(bench.guardian.assignments, "drop", drop)
    signed = signed_order(SafeStopOrder(), bench.clock)
    bench.guardian.handle(Assign(signed=signed, swapped=True), PEER)
    bench.guardian.handle(Assign(signed=signed, swapped=False), PEER)
    bench.guardian.handle(Unassign(reason="mistrust"), PEER)
    await asyncio.wait(set(bench.guardian.desk._background), timeout=0.2)
    first_may_end.set()
    while tasks := set(bench.guardian.desk._background):
        await asyncio.wait(tasks)
    assert told == ["drop", "first", "second", "drop"]


async def test_s14_a_model_that_is_not_assigned_has_no_say(bench: GuardianBench) -> None:
    action = SetPreset(device=miner_id(1), preset="2300")
    model = ModelRef(name="anomaly", version=1, sha256="x")
    proposal = Proposal(
        id=CommandId("p-m"), policy="p", actions=(action,), reason="r", ttl_s=9.0, model=model
    )
    bench.guardian.handle(Propose(proposal=proposal), PEER)
    await bench.settle()
    [result] = bench.results("p-m")
    assert result.outcome is ActionOutcome.REJECTED
    assert any("not the assigned one" in violation for violation in result.violations)
    assert bench.miner(1).writes == []


async def test_s14_an_assignment_that_nobody_signed_is_refused(bench: GuardianBench) -> None:
    signed = signed_order(SafeStopOrder(), bench.clock)
    bench.guardian.handle(Assign(signed=signed, swapped=True), PEER)
    while tasks := set(bench.guardian.desk._background):
        await asyncio.wait(tasks)
    assert bench.guardian.assignments.active is None
    assert "assignment refused" in bench.events(EventKind.REFUSED)[0].title


@pytest.mark.parametrize("ttl_s", [0.0, -5.0, float("nan"), float("inf"), 601.0])
async def test_s14_a_proposal_with_an_unreasonable_life_is_refused(
    bench: GuardianBench, ttl_s: float
) -> None:
    propose(bench, "2300", ttl_s=ttl_s)
    await bench.settle()
    assert "no longer fresh" in bench.results("p-1")[0].detail


async def test_s14_flooded_proposals_are_answered_and_journalled_once(bench: GuardianBench) -> None:
    before = bench.guardian.journal.head
    for number in range(500):
        propose(bench, "9999", command=f"flood-{number}")
    await bench.settle()
    assert sum(bool(bench.results(f"flood-{n}")) for n in range(500)) == 500
    assert bench.guardian.journal.head - before <= 3


# ---------------------------------------------------------------- S17


async def test_s17_a_trip_takes_over_a_write_in_flight(bench: GuardianBench) -> None:
    miner = bench.miner(1)
    miner.gate = asyncio.Event()
    propose(bench, "2300")
    await bench.settle()
    assert miner.writes == ["2300"]
    bench.wall.broken = True
    await bench.run(7.0)
    assert miner.writes == ["2300", "stop"]
    miner.gate.set()
    await bench.run(2.0)
    assert miner.state is MinerState.STOPPED
    [result] = bench.results("p-1")
    assert "gave way to stop" in result.writes[0].detail


async def test_s17_a_start_under_way_is_called_back_by_a_trip(bench: GuardianBench) -> None:
    miner = bench.miner(1)
    miner.state = MinerState.STOPPED
    await bench.run(20.0)
    miner.gate = asyncio.Event()
    order = signed_order(DoActions(actions=(StartMining(device=miner_id(1)),)), bench.clock)
    bench.guardian.handle(OrderFrame(signed=order), PEER)
    while not miner.writes:
        await asyncio.wait(set(bench.guardian.desk._background), timeout=0.01)
        await bench.run(0.25)
    assert miner.writes == ["start"]
    bench.wall.broken = True
    await bench.run(7.0)
    assert miner.writes == ["start", "stop"], "it was seen stopped, and still it is stopped again"
    miner.gate.set()
    await bench.run(60.0)
    assert miner.writes[1:] == ["stop"], "and the start is not sent again"
    assert miner.state is MinerState.STOPPED


async def test_s21_a_raise_that_waited_for_the_disk_is_looked_at_again(bench: GuardianBench) -> None:
    bench.flushing = False
    propose(bench, "3000")
    await bench.run(1.0)
    bench.guardian.persons.safe_stop(None, by="ada", reason="smoke")
    bench.miner(1).ignores = True
    await bench.turn()
    bench.flushing = True
    await bench.run(2.0)
    assert "3000" not in bench.miner(1).writes


async def test_s17_orders_do_not_reach_into_a_tripped_zone(bench: GuardianBench) -> None:
    await lose_cooling(bench)
    await bench.run(20.0)
    order = DoActions(
        actions=(StartMining(device=miner_id(1)), SetPoint(device=WALL, point="speed_setpoint_pct", value=20))
    )
    await order_and_wait(bench, signed_order(order, bench.clock))
    [result] = bench.results("c-1")
    assert result.outcome is ActionOutcome.REJECTED
    assert len(result.writes) == 2
    assert bench.miner(1).state is MinerState.STOPPED
    assert bench.wall.setpoint == 100.0


# ---------------------------------------------------------------- S19


@pytest.mark.parametrize("jump_ms", [86_400_000, -86_400_000])
async def test_s19_a_wall_clock_jump_neither_causes_nor_prevents_a_trip(
    bench: GuardianBench, jump_ms: int
) -> None:
    bench.clock.step_wall(jump_ms)
    await bench.run(5.0)
    assert bench.mode is Mode.LOCAL_AUTO
    await lose_cooling(bench)


async def test_s19_a_suspended_machine_wakes_without_a_trip(bench: GuardianBench) -> None:
    """All ages jump at once; the timers of the interlocks count one turn only, and polls come first."""
    bench.clock.advance(600.0)
    await bench.run(6.0)
    assert bench.mode is Mode.LOCAL_AUTO


# ---------------------------------------------------------------- S21, S22


async def test_s21_every_decision_is_in_a_chain_that_holds(bench: GuardianBench, site: SiteFile) -> None:
    propose(bench, "2300")
    await bench.run(5.0)
    await lose_cooling(bench)
    good, broken = journal.verify(Path(site.paths.guardian_state) / "journal")
    bench.guardian.journal.flush()
    assert broken == []
    assert good > 5
    kinds = {event.kind for event in bench.events()}
    assert {EventKind.ACTION, EventKind.TRIPPED, EventKind.MODE, EventKind.SYSTEM} <= kinds
    assert all(e.advice for e in bench.events(EventKind.TRIPPED, EventKind.ALARM, EventKind.SHED))


async def test_s21_a_raise_waits_for_its_durable_entry_and_a_stop_does_not(bench: GuardianBench) -> None:
    bench.miner(1).preset = "2300"
    await bench.run(2.0)
    bench.flushing = False
    propose(bench, "2500")
    await bench.run(2.0)
    assert bench.miner(1).writes == [], "the disk has not confirmed"
    bench.flushing = True
    await bench.run(1.0)
    assert bench.miner(1).writes == ["2500"]
    bench.flushing = False
    bench.wall.broken = True
    await bench.run(8.0)
    assert all(miner.state is MinerState.STOPPED for miner in bench.miners)
    bench.flushing = True


async def test_s22_a_disk_that_refuses_stops_raises_but_never_stops(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.guardian.journal, "_write", full)
    monkeypatch.setattr("edge_agent.guardian.storage.latches.durable.replace", _refuse_store)
    bench.miner(1).preset = "2300"
    propose(bench, "2300", number=2)
    await bench.run(2.0)
    propose(bench, "2500", command="up")
    await bench.run(2.0)
    assert bench.miner(2).preset == "2300", "lowering goes on"
    assert bench.miner(1).writes == []
    assert "journal" in bench.results("up")[0].detail
    bench.wall.broken = True
    await bench.run(8.0)
    assert bench.mode is Mode.TRIPPED
    assert all(miner.state is MinerState.STOPPED for miner in bench.miners)


def _refuse_store(*_: object, **__: object) -> None:
    raise StoreError("disk full")


# ---------------------------------------------------------------- a trip is one cycle, for everybody at once


async def test_48_stops_are_on_their_way_within_one_turn_while_every_web_server_hangs(tmp_path: Path) -> None:
    bench = await GuardianBench(make_site(tmp_path, 48)).start()
    gate = asyncio.Event()
    for miner in bench.miners:
        miner.gate = gate
    bench.wall.broken = True
    while bench.mode is not Mode.TRIPPED:
        await bench.turn()
        bench.clock.advance(0.25)
    assert sum(miner.writes == ["stop"] for miner in bench.miners) == 48
    assert not any(miner.state is MinerState.STOPPED for miner in bench.miners), "none has answered yet"
    gate.set()
    await bench.run(3.0)
    assert all(miner.state is MinerState.STOPPED for miner in bench.miners)
    assert [m.trip.interlock for m in bench.sent if isinstance(m, Tripped)] == ["cooling-lost"]
    await bench.close()


async def test_f21_fans_that_fell_back_by_themselves_are_told_again(bench: GuardianBench) -> None:
    await bench.run(200.0, lease=False)
    assert (bench.mode, bench.wall.setpoint) == (Mode.SAFE, 100.0)
    bench.wall.setpoint = 35.0  # the drive restarted with its own idea
    await bench.run(15.0, lease=False)
    assert bench.wall.setpoint == 100.0


async def test_a_miner_that_mines_again_by_itself_is_stopped_again(bench: GuardianBench) -> None:
    await lose_cooling(bench)
    bench.miner(3).state = MinerState.MINING
    await bench.run(15.0)
    assert bench.miner(3).state is MinerState.STOPPED
    assert bench.miner(3).writes.count("stop") == 2


async def test_shed_lowers_one_step_at_a_time_and_stops_at_the_bottom(bench: GuardianBench) -> None:
    miner = bench.miner(1)
    miner.chip_c = 84.0
    for _ in range(120):
        await bench.run(1.0)
        if miner.state is MinerState.STOPPED:
            break
    assert miner.writes == ["2300", "2000", "stop"]
    assert bench.mode is Mode.LOCAL_AUTO
    miner.chip_c = 60.0
    await bench.run(60.0)
    assert miner.writes[3:] == ["start"], "shed ends by itself once the heat is gone"
    assert miner.state is MinerState.MINING


async def test_a_refusal_that_differs_in_its_numbers_only_is_journalled_once_a_minute(
    bench: GuardianBench,
) -> None:
    propose(bench, "2300")
    await bench.run(25.0)
    for number in range(20):
        propose(bench, "2000", command=f"again-{number}")
        await bench.run(1.0)
    assert all("dwell" in bench.results(f"again-{n}")[0].detail for n in range(20))
    assert len(bench.events(EventKind.REFUSED)) == 1
