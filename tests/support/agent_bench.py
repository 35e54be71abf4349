"""The agent's inner parts without network: pipeline, keeper, cycle over a real store; time stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from edge_agent import ipc
from edge_agent.agent.cycle import Cycle
from edge_agent.agent.inference.engine import Engine
from edge_agent.agent.inference.keeper import Keeper
from edge_agent.agent.inference.slots import Slots
from edge_agent.agent.pipeline import Pipeline
from edge_agent.agent.policies.anomaly import AnomalyPolicy, Rule
from edge_agent.agent.records import Records
from edge_agent.agent.store.database import Connect, Store, connect
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from shared.alarms import Event
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock
from shared.commands import CommandStatus
from shared.telemetry import DeviceKind, RollupRow, Sample, ScoreRow
from shared.wire import codec
from shared.wire.envelope import Batch, ChunkRequest
from support.agent import KEYS, LADDER, STEP_S, ZONE, make_site, sweep


class AgentBench:
    """One life of the inner agent. `sent` is what the guardian was told, `asked` what the cloud was."""

    def __init__(
        self,
        folder: Path,
        *,
        before: "AgentBench | None" = None,
        connect: Connect = connect,
        miners: int = 4,
    ) -> None:
        self.miners = miners
        self.clock = before.clock if before is not None else ManualClock()
        self.ring: list[Sample] = before.ring if before is not None else []
        self.site = make_site(folder, miners=miners)
        self.view = SiteView(self.site)
        self.writer = Writer()
        self.store = Store(folder / "agent.sqlite", self.clock, outbox_bytes=2**30, connect=connect)
        self.raw = RawStore(folder / "raw", keep_bytes=2**30)
        self.records = Records(self.store, self.raw, self.writer, self.view)
        self.sent: list[ipc.FromAgent] = []
        self.asked: list[ChunkRequest] = []
        self.told: list[CommandStatus] = []
        self.slots = Slots(folder / "models")
        self.keeper = Keeper(
            self.clock,
            self.site,
            slots=self.slots,
            keyring=KEYS.ring,
            records=self.records,
            engine=Engine(self.clock, deadline_s=5.0),
            tell_guardian=self.send,
            ask_cloud=self.asked.append,
        )
        self.pipeline = Pipeline(self.clock, self.view, self.records, self.keeper, tell=self.told.append)
        policy = AnomalyPolicy(Rule(dwell_s=30, ttl_s=15))
        self.cycle = Cycle(self.clock, self.view, self.records, self.keeper, [policy], send=self.send)
        now_ms = self.clock.utc_ms()
        self.next_seq = before.next_seq if before is not None else 1
        self.next_ms = before.next_ms if before is not None else now_ms - now_ms % (STEP_S * 1000)

    async def send(self, message: ipc.FromAgent) -> bool:
        self.sent.append(message)
        return True

    async def open(self, *, mode: ipc.Mode = ipc.Mode.ML_SHADOW) -> None:
        """Cursors, alarms, models; and a guardian that has said hello."""
        await self.pipeline.open()
        await self.cycle.open()
        await self.keeper.open()
        self.pipeline.link = self  # type: ignore[assignment]  # it only sends
        self.view.guardian_connected = True
        self.set_mode(mode)
        facts = {
            device.id: DeviceFacts(model="S19k Pro", presets=LADDER)
            for device in self.site.devices
            if device.kind is DeviceKind.MINER
        }
        boot, seq = self.pipeline._recorder.seen
        replay = tuple(s for s in self.ring if s.boot != boot or s.seq > seq)
        await self.pipeline.handle(ipc.Samples(boot="boot-1", samples=replay))
        self.view.take_inventory(ipc.Inventory(devices=self.site.devices, facts=facts))

    def set_mode(self, mode: ipc.Mode) -> None:
        zone = ipc.ZoneStatus(mode=mode, cooling_proven=True)
        self.view.status = ipc.Status(zones={ZONE: zone}, lease_left_s=None, journal_head=0)

    async def steps(self, count: int, *, rpm: dict[str, float] | None = None, cycle: bool = True) -> None:
        """Whole steps of two polls each, then a flush and a policy cycle."""
        for _ in range(count):
            for _poll in range(2):
                samples = tuple(sweep(self.next_seq, self.next_ms, miners=self.miners, rpm=rpm))
                self.ring += samples
                self.next_seq += len(samples)
                self.next_ms += STEP_S * 500
                self.clock.advance(STEP_S / 2)
                await self.pipeline.handle(ipc.Samples(boot="boot-1", samples=samples))
            await self.pipeline.flush()
            if cycle:
                await self.cycle.once()

    def said(self, kind: type) -> list[ipc.FromAgent]:
        return [message for message in self.sent if isinstance(message, kind)]

    def batches(self, stream: str) -> list[Batch]:
        rows = self.store.fetch(self.store.waiting())
        return [codec.decode(row.body, Batch) for row in rows if row.stream == stream]

    def events(self) -> list[Event]:
        return [e for b in self.batches("ev") for e in msgspec.msgpack.decode(b.rows, type=list[Event])]

    def rollups(self) -> list[RollupRow]:
        return [
            r for b in self.batches("rollup") for r in msgspec.msgpack.decode(b.rows, type=list[RollupRow])
        ]

    def scores(self) -> list[ScoreRow]:
        return [r for b in self.batches("score") for r in msgspec.msgpack.decode(b.rows, type=list[ScoreRow])]

    def model_states(self) -> list[str]:
        return [str(event.data["state"]) for event in self.events() if event.kind == "model"]

    def close(self) -> None:
        self.keeper.close()
        self.writer.close()
        self.store.close()


@asynccontextmanager
async def agent_bench(
    folder: Path,
    *,
    before: AgentBench | None = None,
    mode: ipc.Mode = ipc.Mode.ML_SHADOW,
    connect: Connect = connect,
) -> AsyncIterator[AgentBench]:
    """One life; with `before` the next one of the same site, whose guardian still has its ring."""
    bench = AgentBench(folder, before=before, connect=connect)
    await bench.open(mode=mode)
    try:
        yield bench
    finally:
        bench.close()
