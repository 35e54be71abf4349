"""Writes that meet on one device: who gives way to whom, and that each of them ends in a record."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.guardian import app
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.interlocks.inputs import Commanded
from edge_agent.guardian.requests import Refusal, Request, Source
from edge_agent.ipc import Mode
from firmware_adapters.capabilities import Observation
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.commands import (
    ActionOutcome,
    AnyAction,
    DoActions,
    Priority,
    SetPoint,
    SetPreset,
    StopMining,
    WriteResult,
)
from shared.ids import CommandId, DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import MinerState, Reading
from support.guardian import WALL, FakeWall, GuardianBench, make_site, miner_id, signed_order

FIRST, SECOND = "speed_setpoint_pct", "speed_setpoint_pct.2"
_SECOND_POINT = """\
[[zones.cooling_actuators]]
device = "wall-1"
point = "speed_setpoint_pct.2"
fail_safe = 100.0
low = 0.0
high = 100.0
"""
LOWER = SetPreset(device=miner_id(1), preset="2300")
STOP = StopMining(device=miner_id(1))


def permit(bench: GuardianBench, action: AnyAction, priority: Priority, source: Source) -> Permit:
    request = Request(id=CommandId("x"), action=action, priority=priority, source=source, why="a test")
    decision = bench.guardian.desk.decide(request)
    assert isinstance(decision, Permit), decision
    return decision


async def test_a_write_that_gives_way_before_its_first_step_has_a_record_too(bench: GuardianBench) -> None:
    """Cancelled before it began it had none, and its order waited for a result for ever."""
    desk = bench.guardian.desk
    order = desk.launch(permit(bench, LOWER, Priority.ORDER, Source.ORDER))
    trip = desk.launch(permit(bench, STOP, Priority.TRIP, Source.INTERLOCK))
    await bench.run(3.0)
    record = order.result()
    assert (record.result, record.detail) == (WriteResult.UNCONFIRMED, "gave way to stop")
    assert trip.result().result is WriteResult.APPLIED
    assert bench.miner(1).writes == ["stop"]


async def test_a_safe_stop_waits_for_no_shed(tmp_path: Path) -> None:
    """A shed has the priority of a trip, and a write may take minutes to be given up."""

    def slow(text: str) -> str:
        return text.replace("write_confirm_s = 40.0", "write_confirm_s = 300.0")

    bench = await GuardianBench(make_site(tmp_path, edit=slow)).start()
    miner = bench.miner(1)
    miner.ignores, miner.chip_c = True, 84.5
    await bench.run(8.0)
    assert miner.writes == ["2300"]
    bench.guardian.persons.safe_stop(None, by="ada", reason="a person in the aisle")
    await bench.run(1.0)
    assert miner.writes == ["2300", "stop"]
    await bench.run(8.0)
    assert miner.writes == ["2300", "stop"]  # the shed that still stands does not take the stop's place
    await bench.close()


async def test_a_shed_that_ends_in_a_stop_is_told_to_the_core(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else knows that this stop was no trip and no person's: the miner is to come back."""
    told: list[tuple[DeviceId, Commanded]] = []
    monkeypatch.setattr(bench.guardian.cycle, "commanded", lambda device, told_: told.append((device, told_)))
    lowest, higher = bench.miner(1), bench.miner(2)
    lowest.preset, lowest.power_w = "2000", 2000.0
    lowest.chip_c = higher.chip_c = 85.0
    await bench.run(8.0)
    assert lowest.state is MinerState.STOPPED
    first = {device: command.shed_stop for device, command in reversed(told)}
    assert first == {miner_id(1): True, miner_id(2): False}  # the other one had steps below


# ---------------------------------------------------------------- two set-points behind one address


class TwoFans(FakeWall):
    """A controller that drives two fans; where `stuck`, the first one keeps its speed."""

    def __init__(self, entry: DeviceEntry) -> None:
        super().__init__(entry)
        self.points = {FIRST: 80.0, SECOND: 50.0}
        self.stuck = False

    async def read(self) -> Observation:
        speed = 0.0 if self.broken else self.points[FIRST]
        told = {point: Reading(value) for point, value in self.points.items()}
        return Observation(readings={"speed_pct": Reading(speed), **told})

    async def facts(self) -> DeviceFacts:
        setpoint = Capability(ability=Ability.SETPOINT, points=(FIRST, SECOND), low=0.0, high=100.0)
        return DeviceFacts(model="plc", capabilities=(Capability(ability=Ability.TELEMETRY), setpoint))

    async def write_point(self, point: str, value: float) -> None:
        self.writes.append((point, value))
        if point == SECOND or not self.stuck:
            self.points[point] = value


@pytest.fixture
async def fans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[GuardianBench, TwoFans]]:
    def two(text: str) -> str:
        return text.replace("[[zones.sensors]]", _SECOND_POINT + "\n[[zones.sensors]]", 1)

    monkeypatch.setattr(app, "check_points", lambda *_: None)  # the profile of the bench has one fan
    bench = GuardianBench(make_site(tmp_path, edit=two))
    link = bench.guardian.links[WALL]
    fake = TwoFans(link.entry)
    link.adapter = bench.fakes[WALL] = fake
    await bench.start()
    yield bench, fake
    await bench.close()


async def test_a_fan_that_does_not_follow_holds_up_no_other_fan_of_its_device(
    fans: tuple[GuardianBench, TwoFans],
) -> None:
    """It held the device for as long as a write may take, over and over: the other never moved."""
    bench, fake = fans
    fake.stuck = fake.broken = True
    await bench.run(12.0)
    assert bench.mode is Mode.TRIPPED
    assert fake.points == {FIRST: 80.0, SECOND: 100.0}
    assert (FIRST, 100.0) in fake.writes


async def test_an_order_for_two_fans_of_one_device_moves_both(fans: tuple[GuardianBench, TwoFans]) -> None:
    """The second preempted the first, whose task ended without a record: the order had no result at all."""
    bench, fake = fans
    actions = tuple(SetPoint(device=WALL, point=point, value=100.0) for point in (FIRST, SECOND))
    bench.guardian.intake.order(signed_order(DoActions(actions=actions), bench.clock))
    for _ in range(4):
        await bench.drain()
        await bench.run(5.0)
    assert [result.outcome for result in bench.results("c-1")] == [ActionOutcome.APPLIED]
    assert fake.points == {FIRST: 100.0, SECOND: 100.0}


async def test_one_fan_in_flight_is_no_reason_to_refuse_another(fans: tuple[GuardianBench, TwoFans]) -> None:
    bench, fake = fans
    fake.stuck = True
    first, second = (SetPoint(device=WALL, point=point, value=100.0) for point in (FIRST, SECOND))
    bench.guardian.desk.launch(permit(bench, first, Priority.SAFE, Source.INTERLOCK))
    permit(bench, second, Priority.ORDER, Source.ORDER)
    request = Request(id=CommandId("y"), action=first, priority=Priority.ORDER, source=Source.ORDER, why="y")
    refused = bench.guardian.desk.decide(request)
    assert isinstance(refused, Refusal)
    assert "in flight" in refused.violations[0]
