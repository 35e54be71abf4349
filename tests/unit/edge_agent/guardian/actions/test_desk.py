"""Writes that meet on one device: who gives way to whom, and that each of them ends in a record."""

from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.requests import Request, Source
from shared.commands import AnyAction, Priority, SetPreset, StopMining, WriteResult
from shared.ids import CommandId
from support.guardian import GuardianBench, miner_id

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
