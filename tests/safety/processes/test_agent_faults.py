"""The agent killed, frozen with its socket open, or mad: the guardian goes on alone (S10, S14, S22)."""

from contextlib import AsyncExitStack

import pytest

from edge_agent import ipc
from edge_agent.guardian.agents.pace import BURST
from shared.commands import CommandState, SetPreset
from support.guardian import miner_id
from support.processes import Open, ProcessSite, Undisturbed, fill_journal
from support.processes_agent import Answers, Flood, TestAgent
from support.processes_site import SHORT_LEASE, TIMING
from support.processes_table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SAFE = "1850"
RAISED = SetPreset(device=miner_id(1), preset="2970")
GAP_S = TIMING["stale_after_s"]
"""No reading may get old: so late may a healthy miner be where others use the machine (0.5 s when calm)."""
SLOWEST_ANSWER_S = 3.0
"""An operator's question; a guardian that waited for the agent would never answer (0.1 s when calm)."""
FRAMES_PER_S = 10_000
FLOOD_MEMORY_MB = 60.0
"""By how much the guardian may grow under a flood."""


async def _hold_then_safe(site: ProcessSite, since_s: float) -> dict[str, float]:
    """Wait for T1 and T2 after the agent's last word; when the lease ended and when all ran safe, in s."""
    over_s = await site.until(lambda: not site.leased, what="the lease is over")
    held_s = over_s + SHORT_LEASE["lease_hold_s"]
    await site.until(lambda: site.clock.monotonic() > held_s, what="T1")
    async with TestAgent(site.site, lease=False) as agent:
        result = await agent.order(RAISED, command="o-1", clock=site.clock, counter=1)
    assert result.command_state is CommandState.REFUSED, result
    assert any("no lease" in violation for violation in result.violations), result
    safe_s = await site.until(lambda: set(site.presets().values()) == {SAFE}, what="all on safe presets")
    return {"lease_over": over_s - since_s, "all_on_safe_presets": safe_s - since_s}


async def test_killed(opened: Open, table: FaultTable, undisturbed: Undisturbed) -> None:
    site = await opened(timing=SHORT_LEASE).start(agent=True)
    assert set(site.presets().values()) == {"2700"}
    waits = await _hold_then_safe(site, site.kill_agent())

    site.start_agent()
    await site.until_status(lambda s: s.mode is ipc.Mode.LOCAL_AUTO)
    assert site.leased, "a restarted agent takes its lease again"

    site.kill_agent()
    stopped = await site.until_stopped(site.lose_cooling())
    assert undisturbed.held(stopped)
    assert site.unharmed()
    table.add(
        "agent killed (kill -9), and again at the loss of cooling",
        "raises refused for want of a lease, then safe presets; the restarted agent is heard again; "
        "the trip needs no agent",
        stopped,
        **waits,
    )


async def test_frozen(opened: Open, table: FaultTable, undisturbed: Undisturbed) -> None:
    """SIGSTOP: its socket stays open and its buffers fill; nobody reads what the guardian writes."""
    site = await opened(timing=SHORT_LEASE).start(agent=True)
    frozen_s = site.freeze_agent()
    site.watch_anew()
    waits = await _hold_then_safe(site, frozen_s)
    with Answers(site) as answers:
        stopped = await site.until_stopped(site.lose_cooling())
    assert undisturbed.held(stopped)
    assert site.unharmed()
    assert answers.slowest_s < SLOWEST_ANSWER_S
    assert site.longest_gaps(site.miners) < GAP_S
    table.add(
        "agent frozen (SIGSTOP), its socket open and unread",
        "nothing waits for it; raises refused, then safe presets; the trip comes as ever",
        stopped,
        **waits,
        slowest_answer_to_an_operator=answers.slowest_s,
    )


async def test_mad(opened: Open, table: FaultTable, undisturbed: Undisturbed) -> None:
    """10⁴ proposals a second, garbage, a frame that announces 100 MB, a reader that does not read."""
    site = opened()
    fill_journal(site, 4_000)  # so that every question has a long answer
    await site.start()
    before_mb = site.memory_mb()
    kinds = (f"--rate={FRAMES_PER_S}", "--garbage", "--huge", "--stall")
    async with AsyncExitStack() as stack:
        floods = [await stack.enter_async_context(Flood(site, kind)) for kind in kinds]
        site.watch_anew()
        with Answers(site) as answers:
            await site.until(lambda: floods[0].frames > 1.2 * BURST, what="past the free burst")
            stopped = await site.until_stopped(site.lose_cooling())
            gap_s = site.longest_gaps(site.miners)
        grown_mb = site.memory_mb() - before_mb
        frames_per_s = floods[0].rate
        await site.until(lambda: all(flood.disconnected for flood in floods[1:]), what="all thrown out")
    assert undisturbed.held(stopped)
    assert site.unharmed()
    assert gap_s < GAP_S
    assert answers.slowest_s < SLOWEST_ANSWER_S
    assert grown_mb < FLOOD_MEMORY_MB
    table.add(
        "mad agent: flood of proposals, garbage, a 100 MB frame, a reader that does not read",
        "garbage and giants are disconnected, proposals are read at a pace and refused one by one; the trip "
        "comes as ever",
        stopped,
        frames_taken=f"{frames_per_s:.0f}/s of {FRAMES_PER_S}/s offered",
        longest_gap_between_two_polls=gap_s,
        slowest_answer_to_an_operator=answers.slowest_s,
        memory_grew_by=f"{grown_mb:.0f} MB",
    )
