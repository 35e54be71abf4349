"""A VNish machine was away for ten minutes: what it remembers of them arrives in the cloud, once.

The whole way with real parts: emulated machine → adapter → link → poller → guardian's socket → agent →
store → outbox → cloud. Only time is played: the poller's clock stands still but for the test.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edge_agent import ipc
from edge_agent.guardian.agents.peers import AgentUids, Peer
from edge_agent.guardian.agents.server import AgentServer
from edge_agent.guardian.polling.backfill import STEP_S, Histories
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import ManualClock, SystemClock
from shared.errors import DeviceError, Unreachable
from shared.ids import DeviceId
from support.agent import SITE, make_site
from support.agent_world import FakeCloud, World, world
from support.miners import Machine
from support.vnish import emulator_of, in_memory

MINER = DeviceId("m01")
AWAY_S = 600.0


class Guardian:
    """What the agent's socket needs of a guardian that polls one machine."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.machine = Machine()
        self.emulator = emulator_of(self.machine, self.clock)
        self.cable = True
        entry = next(device for device in make_site(folder).devices if device.id == MINER)
        plain = in_memory(self.emulator)

        async def answer(request: HttpRequest) -> HttpReply | DeviceError:
            if not self.cable:
                return Unreachable("no cable")
            return await plain._answer(request)

        adapter = VnishAdapter(
            MemoryHttp(answer), Credential(user=None, secret="admin"), timeout_s=1.0, clock=self.clock
        )
        self.samples = Samples("boot-1", Board(), Ring())
        self.link = DeviceLink(entry, adapter, self.samples, self.clock, timeout_s=1.0)
        self.histories = Histories("boot-1", lambda frame: self.server.broadcast(frame))
        self.server = AgentServer(
            folder / "guardian.sock",
            SITE,
            "boot-1",
            "",
            self.samples.ring,
            self,
            AgentUids(),
            SystemClock(),
        )

    def greet(self) -> list[ipc.FromGuardian]:
        return list(self.histories.frames)

    def journal_page(self, cursor: int) -> ipc.FromGuardian:
        return ipc.JournalPage(entries=(), head=cursor)

    def handle(self, message: ipc.FromAgent, peer: Peer) -> None:
        """Leases and the like: this guardian does not act."""

    async def live(self, seconds: float) -> None:
        """Poll, while the machine keeps looking at itself."""
        poller = Poller(
            {MINER: self.link},
            self.clock,
            periods_s={MINER: 2.0},
            urgent=frozenset(),
            on_facts=lambda _device: None,
            on_history=self.histories.take,
        )
        task = asyncio.ensure_future(poller.run())
        for _ in range(round(seconds)):
            for _ in range(20):
                await asyncio.sleep(0)
            self.clock.advance(1.0)
            self.emulator.diary.look(self.machine.view())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Guardian, World]]:
    async with world(folder) as w:
        await w.guardian.stop()  # the fake one
        guardian = Guardian(folder)
        await guardian.server.start()
        try:
            yield guardian, w
        finally:
            await guardian.server.close()


def whole(cloud: FakeCloud, away: tuple[int, int]) -> None:
    """Every minute of the gap is there, once."""
    moments = [row.at_ms for row in cloud.history if row.mark is None]
    assert len(moments) == len(set(moments))
    inside = [at_ms for at_ms in moments if away[0] <= at_ms <= away[1]]
    assert len(inside) >= AWAY_S / STEP_S - 1
    assert all(row.power_w for row in cloud.history if row.mark is None)


async def test_what_a_machine_remembers_of_a_gap_arrives_once(tmp_path: Path) -> None:
    async with site(tmp_path) as (guardian, w):
        async with w.running():
            await guardian.live(30)
            guardian.cable, from_ms = False, guardian.clock.utc_ms()
            await guardian.live(AWAY_S)
            guardian.cable, to_ms = True, guardian.clock.utc_ms()
            await guardian.live(60)
            assert len(guardian.histories.frames) == 1
            await w.until(lambda: bool(w.cloud.history))
            whole(w.cloud, (from_ms, to_ms))
            rows = len(w.cloud.history)
            filled = [event for event in w.cloud.events if event.key == "history-filled"]
            assert [event.device for event in filled] == [MINER]
        async with w.running() as agent:  # the guardian sends all that it holds once more
            await w.until(lambda: agent.view.guardian_connected)
            await agent.pipeline.flush()
            await w.until(lambda: not agent.records.store.waiting())
            assert len(w.cloud.history) == rows


async def test_an_agent_that_was_away_gets_what_the_guardian_held(tmp_path: Path) -> None:
    async with site(tmp_path) as (guardian, w):
        await guardian.live(30)
        guardian.cable, from_ms = False, guardian.clock.utc_ms()
        await guardian.live(AWAY_S)
        guardian.cable, to_ms = True, guardian.clock.utc_ms()
        await guardian.live(60)
        async with w.running():
            await w.until(lambda: bool(w.cloud.history))
            whole(w.cloud, (from_ms, to_ms))
