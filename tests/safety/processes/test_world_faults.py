"""A clock that jumps, half a network that swallows everything, machines that lie (S04, S13, S19)."""

from itertools import pairwise

import pytest

from edge_agent import ipc
from shared.alarms import EventKind
from shared.clock import ManualClock
from shared.commands import ActionOutcome, CommandState, SetPreset
from shared.telemetry import MinerState
from support.guardian import miner_id
from support.processes import Open, ProcessSite, Undisturbed
from support.processes_agent import TestAgent
from support.processes_site import TIMING
from support.processes_table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.alone]
DAY_MS = 24 * 3600 * 1000
LOWER = SetPreset(device=miner_id(1), preset="1850")


# ---------------------------------------------------------------- the wall clock


async def _order_at(site: ProcessSite, agent: TestAgent, ahead_ms: int) -> ipc.Result:
    """An order that the cloud signs by a clock which is so far ahead of this machine's."""
    signed_by = ManualClock(utc_ms=site.clock.utc_ms() + ahead_ms)
    counter = site.next_counter()
    return await agent.order(LOWER, command=f"o-{counter}", clock=signed_by, counter=counter)


async def test_wall_clock_stepped_by_a_day(opened: Open, table: FaultTable, undisturbed: Undisturbed) -> None:
    site = await opened().start()
    async with TestAgent(site.site) as agent:
        site.step_clock(DAY_MS)
        late = await _order_at(site, agent, 0)
        assert late.command_state is CommandState.EXPIRED, late
        site.step_clock(-DAY_MS)
        early = await _order_at(site, agent, 0)
        assert early.command_state is CommandState.REFUSED, early
        assert "in the future" in early.detail
        fitting = await _order_at(site, agent, -DAY_MS)
        assert fitting.outcome is ActionOutcome.APPLIED, fitting
    status = await site.until_status(lambda s: True)
    assert (status.mode, status.trips) == (ipc.Mode.LOCAL_AUTO, ())

    lost_s = site.lose_cooling()
    site.step_clock(DAY_MS)  # the wall coasts, the delay of the trip runs
    await site.until_status(lambda s: s.mode is ipc.Mode.TRIPPED)
    site.step_clock(-DAY_MS)
    stopped = await site.until_stopped(lost_s)
    assert undisturbed.held(stopped)
    assert site.unharmed()

    entries = site.journal()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert all(a.at_s <= b.at_s for a, b in pairwise(entries)), "monotonic time"
    days = {round((entry.at_ms - site.clock.utc_ms()) / DAY_MS) for entry in entries}
    assert days == {-1, 0, 1}, "what the wall clock said at the time is kept as it was"
    code, said = site.guardian_command("verify-journal")
    assert code == 0, said
    table.add(
        "wall clock stepped by +1 day and -1 day, twice while cooling was lost",
        "no trip by it and none missed; orders signed a day off are expired or from the future, one signed "
        "in the guardian's time is obeyed; records go on, in order of the monotonic clock",
        stopped,
    )


# ---------------------------------------------------------------- the network


MINERS = 150
"""Half of them are more than the guardian reads at once: the others must not queue behind them."""
NETWORK_POLL_S = 2.0
NETWORK = {"poll_s": NETWORK_POLL_S, "stale_after_s": 8.0, "lost_after_s": 12.0}


async def test_half_the_network_swallows_everything(
    opened: Open, table: FaultTable, undisturbed: Undisturbed
) -> None:
    site = await opened(miners=MINERS, timing=NETWORK).start()
    gone, there = site.miners[::2], site.miners[1::2]
    site.watch_anew()
    calm_s = await site.until_all_polled(there, 2)
    site.manners(gone, black_hole=True)
    site.watch_anew()
    gap_s = await site.until_all_polled(there, 4)
    stop_s = site.safe_stop()
    stopped = await site.until_stopped(stop_s, miners=there)
    assert gap_s < max(calm_s, NETWORK_POLL_S) + 2 * NETWORK_POLL_S
    assert stopped.stopped_s < undisturbed.stop.stopped_s + undisturbed.SLACK_S
    site.manners(gone)
    back_s = site.clock.monotonic()
    rest = await site.until_stopped(stop_s)
    table.add(
        f"{len(gone)} of {MINERS} miners black-holed (accept, never answer), polled every "
        f"{NETWORK_POLL_S:g} s; emergency stop",
        "the other half is polled at cadence and stopped as fast as ever; the silent half is told again "
        "until it answers",
        stopped,
        longest_gap_between_two_polls=gap_s,
        the_same_before=calm_s,
        all_answering_again_to_off=stop_s + rest.stopped_s - back_s,
    )


# ---------------------------------------------------------------- lies


async def test_machines_that_lie(opened: Open, table: FaultTable, undisturbed: Undisturbed) -> None:
    """One is deaf to a stop and has an outlet, one is deaf without, one says that it stopped and mines on."""
    site = await opened().start()
    honest, says_stopped, deaf, with_outlet = site.miners[:5], site.miners[5], site.miners[6], site.miners[7]
    site.manners(["m-1"], traps={"settings_ignored": True})
    async with TestAgent(site.site) as agent:
        agent.order_nowait(LOWER, command="o-1", clock=site.clock, counter=site.next_counter())
        site.manners([deaf, with_outlet], deaf_to_stop=True)
        site.manners([says_stopped], deaf_to_stop=True, claims_stopped=True)
        lost_s = site.lose_cooling()
        stopped = await site.until_stopped(lost_s, miners=honest)
        ignored = await agent.result("o-1")
    assert undisturbed.held(stopped)
    assert ignored.outcome is ActionOutcome.UNCONFIRMED, "200 is no proof"
    assert site.presets()["m-1"] == "2700"
    cut = await site.until_stopped(lost_s, miners=[with_outlet])
    assert cut.stopped_s < stopped.stopped_s + TIMING["stop_confirm_s"] + undisturbed.SLACK_S
    unstopped = {says_stopped, deaf, with_outlet}
    await site.until(lambda: _alarmed(site) >= unstopped, what="an alarm for each that did not stop")
    assert _alarmed(site) == unstopped, "and for no other"
    truth = site.truth()["miners"]
    assert not truth[with_outlet]["powered"]
    assert all(truth[name]["power_w"] > 1000 for name in (says_stopped, deaf)), "only a hand at the breaker"

    site.manners([deaf, says_stopped])  # they come to their senses
    senses_s = site.clock.monotonic()
    rest = await site.until_stopped(lost_s)
    obeyed_s = lost_s + rest.stopped_s - senses_s

    boot_s = site.reboot("m-1")
    await site.until(lambda: _draws(site, "m-1"), what="it mines again after its reboot")
    awake_s = site.clock.monotonic()
    again = await site.until_stopped(boot_s, miners=["m-1"])
    asleep_s = boot_s + again.stopped_s - awake_s
    assert asleep_s < undisturbed.stop.stopped_s + undisturbed.SLACK_S
    table.add(
        "machines that lie: deaf to a stop, says that it stopped and mines on, ignores a preset, mines again "
        "after a reboot; at the loss of cooling",
        "the honest ones stop as ever; the deaf one with a PDU outlet is cut off; the deaf one and the one "
        "that says stopped are not believed, raise alarms and are told again until they obey; the preset "
        "is never told as applied; the rebooted one is stopped again",
        stopped,
        deaf_one_cut_at_its_outlet=cut.stopped_s,
        listening_again_to_off=obeyed_s,
        mining_again_to_off=asleep_s,
    )


def _alarmed(site: ProcessSite) -> set[str]:
    """Miners whose stop was not confirmed, by the journal's alarms."""
    return {
        str(entry.event.device)
        for entry in site.journal()
        if entry.event.kind is EventKind.ALARM and "stop" in entry.event.key
    }


def _draws(site: ProcessSite, miner: str) -> bool:
    state = MinerState(site.truth()["miners"][miner]["state"])
    return state in (MinerState.INITIALIZING, MinerState.STARTING, MinerState.MINING)
