"""The guardian killed with -9 in the middle of a write: latches stay, what was begun is told (S07, S21)."""

import pytest

from edge_agent import ipc
from edge_agent.guardian.storage.durable import unseal
from shared.commands import ActionOutcome, CommandState, SetPreset
from support.guardian import miner_id
from support.processes import Open, ProcessSite, Undisturbed
from support.processes_agent import TestAgent
from support.processes_table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.alone]
LOWER = SetPreset(device=miner_id(1), preset="1850")


def _in_the_book(site: ProcessSite, command: str) -> bool:
    """Whether the order was begun: it stands in the book of orders, and no result beside it."""
    path = site.state / "orders.json"
    if not path.exists():
        return False
    known = unseal(path.read_bytes(), dict[str, object])["seen"]
    assert isinstance(known, dict)
    return command in known and known[command].get("result") is None


def _latches_hold(site: ProcessSite) -> bool:
    """Whether the file of latches is whole."""
    return bool(unseal((site.state / "latches.json").read_bytes(), dict[str, object]))


async def test_killed_while_it_writes_a_preset(opened: Open, table: FaultTable) -> None:
    site = await opened().start()
    site.manners(["m-1"], traps={"slow_s": 0.6})  # the write takes seconds, so that it can be cut
    async with TestAgent(site.site) as agent:
        agent.order_nowait(LOWER, command="o-1", clock=site.clock, counter=1)
        await site.until(lambda: _in_the_book(site, "o-1"), what="the order is begun")
        killed_s = site.kill_guardian()
    assert _in_the_book(site, "o-1"), "and it was not finished"
    site.repair()
    site.start_guardian()
    await site.ready()
    back_s = site.clock.monotonic() - killed_s

    async with TestAgent(site.site) as agent:
        again = await agent.repeat("o-1")
        assert again.outcome is ActionOutcome.UNCONFIRMED
        assert "look at the devices" in again.detail
        replay = await agent.order(LOWER, command="o-2", clock=site.clock, counter=1)
        assert replay.command_state is CommandState.REFUSED
        assert "counter 1 was used before" in replay.detail
        anew = await agent.order(LOWER, command="o-3", clock=site.clock, counter=2)
        assert anew.outcome in (ActionOutcome.APPLIED, ActionOutcome.REJECTED), anew
    await site.until(lambda: site.presets()["m-1"] == LOWER.preset, what="the preset that was ordered")
    code, said = site.guardian_command("verify-journal")
    assert (code, "0 do not" in said) == (0, True), said
    table.add(
        "guardian killed (kill -9) while it wrote a preset",
        "restarted; the order that was cut is told as unconfirmed and not carried out twice, its counter "
        "stays used, a new one is obeyed; the journal's chain holds",
        zone_in_charge_again=back_s,
    )


async def test_killed_while_it_stops_a_zone(
    opened: Open, table: FaultTable, undisturbed: Undisturbed
) -> None:
    site = await opened().start()
    late = site.miners[4:]
    site.manners(late, traps={"slow_s": 0.6})
    lost_s = site.lose_cooling()
    await site.until(
        lambda: any(mark.stop_told_at_s for mark in site.marks().values()), what="a stop has arrived"
    )
    killed_s = site.kill_guardian()
    untold = [name for name, mark in site.marks().items() if mark.stop_told_at_s is None]
    assert untold, "it was killed in the middle"
    site.start_guardian()
    stopped = await site.until_stopped(lost_s)
    off_s = lost_s + stopped.stopped_s - killed_s
    assert stopped.stopped_s < undisturbed.cooling.stopped_s + 2 * undisturbed.SLACK_S
    assert site.unharmed()

    status = await site.until_status(lambda s: s.mode is ipc.Mode.TRIPPED)
    assert [trip.interlock for trip in status.trips] == ["cooling-lost"]
    site.kill_guardian()
    site.repair()
    site.start_guardian()
    status = await site.until_status(lambda s: True)
    assert status.mode is ipc.Mode.TRIPPED, "latched, although its cause is gone"
    assert _latches_hold(site)
    code, said = site.guardian_command("verify-journal")
    assert (code, "0 do not" in said) == (0, True), said
    table.add(
        "guardian killed (kill -9) while it stopped a zone",
        f"{len(untold)} of {len(site.miners)} miners had not been told; the restarted guardian stopped them; "
        "tripped and latched through a second kill; the journal's chain holds",
        stopped,
        kill_to_last_miner_off=off_s,
    )
