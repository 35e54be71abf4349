"""A whole agent in the test's process: fake guardian on a real socket, memory broker, cloud that commits."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from cloud.ingest.decoding import Refused, decode
from edge_agent.agent.app import Agent
from edge_agent.agent.uplink.memory import MemoryBroker
from edge_agent.agent.uplink.transport import Message
from edge_agent.config import SiteFile
from shared.alarms import Event
from shared.artifacts.signing import Signed
from shared.clock import SystemClock
from shared.frames import Frame
from shared.telemetry import HistoryRow, RollupRow, ScoreRow
from shared.wire import codec, topics
from shared.wire.envelope import CHUNK_BYTES, Ack, Batch, Chunk, ChunkRequest, Tombstone
from shared.wire.intervals import IntervalSet
from support.agent import KEYS, SITE, FakeGuardian, make_site, sweep


class FakeCloud:
    """Commits what it gets, exactly once, and acknowledges after that; serves model chunks.

    What the real cloud's decoder would not take fails the test.
    """

    def __init__(self) -> None:
        self.ledger: dict[tuple[str, str], IntervalSet] = {}
        self.rollups: list[RollupRow] = []
        self.scores: list[ScoreRow] = []
        self.history: list[HistoryRow] = []
        self.raw: list[Frame] = []
        self.events: list[Event] = []
        self.tombstones: list[Tombstone] = []
        self.duplicates = 0
        self.blobs: dict[str, bytes] = {}

    def take(self, message: Message) -> list[Message]:
        """What the cloud answers to one message."""
        rest = topics.parse(message.topic).rest
        if rest == ("get",):
            return self._chunks(codec.decode(message.payload, ChunkRequest))
        if rest[0] not in ("t", "ev"):
            return []
        batch = codec.decode(message.payload, Batch | Tombstone)  # type: ignore[arg-type]  # a union is fine
        judged = decode(message.topic, message.payload, now_ms=batch.to_ms)
        assert not isinstance(judged, Refused), judged.reason
        key = (batch.epoch, batch.stream)
        ledger = self.ledger.get(key, IntervalSet())
        if batch.seq in ledger:
            self.duplicates += 1
        elif isinstance(batch, Tombstone):
            self.tombstones.append(batch)
            of = (batch.of_epoch or batch.epoch, batch.stream)
            filled = self.ledger.get(of, IntervalSet()).add(batch.first_seq, batch.last_seq)
            self.ledger[of] = filled
            ledger = self.ledger.get(key, IntervalSet()).add(batch.seq)
        else:
            self._store(batch)
            ledger = ledger.add(batch.seq)
        self.ledger[key] = ledger
        above = tuple(r for r in ledger.ranges if r[0] > ledger.upto + 1)[:32]
        ack = Ack(epoch=batch.epoch, stream=batch.stream, upto=ledger.upto, ranges=above)
        return [Message(topic=topics.ack(SITE), payload=codec.encode(ack))]

    def _store(self, batch: Batch) -> None:
        if batch.stream == topics.TELEMETRY_STREAM:
            self.rollups += msgspec.msgpack.decode(batch.rows, type=list[RollupRow])
        elif batch.stream == topics.SCORE_STREAM:
            self.scores += msgspec.msgpack.decode(batch.rows, type=list[ScoreRow])
        elif batch.stream == topics.HISTORY_STREAM:
            self.history += msgspec.msgpack.decode(batch.rows, type=list[HistoryRow])
        elif batch.stream == topics.RAW_STREAM:
            self.raw += msgspec.msgpack.decode(batch.rows, type=list[Frame])
        else:
            self.events += msgspec.msgpack.decode(batch.rows, type=list[Event])

    def _chunks(self, request: ChunkRequest) -> list[Message]:
        data = self.blobs.get(request.sha256)
        if data is None:
            return []
        total = -(-len(data) // CHUNK_BYTES)
        return [
            Message(
                topic=topics.chunk(SITE, request.sha256, n),
                payload=codec.encode(
                    Chunk(
                        sha256=request.sha256,
                        number=n,
                        total=total,
                        chunk_sha256=hashlib.sha256(part).hexdigest(),
                        data=part,
                    )
                ),
            )
            for n in request.chunks
            if (part := data[n * CHUNK_BYTES : (n + 1) * CHUNK_BYTES])
        ]

    def model_states(self) -> list[str]:
        """States of model events, in order of time."""
        return [str(event.data["state"]) for event in self.events if event.kind == "model"]


class World:
    """Everything around one agent, and the agent."""

    def __init__(
        self, site: SiteFile, guardian: FakeGuardian, broker: MemoryBroker, cloud: FakeCloud
    ) -> None:
        self.site = site
        self.guardian = guardian
        self.broker = broker
        self.cloud = cloud
        self.agent: Agent | None = None
        self.clock = SystemClock()
        # Ahead of the wall clock, so that only samples end a step and no test waits for real seconds.
        self._next_ms = self.clock.utc_ms() + 60_000
        self._next_ms -= self._next_ms % 5_000
        self._served = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        """One life of the agent, ended cleanly."""
        agent = self.agent = Agent(self.site, clock=self.clock, transport=self.broker, keyring=KEYS.ring)
        await agent.open()
        stop = asyncio.Event()
        task = asyncio.create_task(agent.run(stop))
        try:
            yield agent
        finally:
            stop.set()
            await task

    async def poll(self, times: int, *, rpm: dict[str, float] | None = None) -> None:
        """Sweeps 2.5 s apart, two per step, ahead of the wall clock where need be."""
        for _ in range(times):
            samples = sweep(self.guardian.next_seq, self._next_ms, rpm=rpm)
            self._next_ms += 2_500
            await self.guardian.poll(samples)

    def assign(self, signed: Signed) -> None:
        """The cloud's retained assignment."""
        self.broker.deliver(topics.model(SITE), codec.encode(signed), retain=True)

    async def until(self, what: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
        """Serve the cloud's side until something is true."""
        async with asyncio.timeout(timeout_s):
            while not what():
                self.serve()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self.broker.arrival()

    def serve(self) -> None:
        """Let the cloud answer everything that was published since."""
        fresh, self._served = self.broker.published[self._served :], len(self.broker.published)
        for message in fresh:
            for answer in self.cloud.take(message):
                self.broker.deliver(answer.topic, answer.payload)


@asynccontextmanager
async def world(folder: Path, **changes: object) -> AsyncIterator[World]:
    """A site with a fake guardian and a memory broker; no agent yet."""
    site = make_site(folder, **changes)
    guardian = FakeGuardian(Path(site.paths.guardian_socket), site.devices)
    await guardian.start()
    try:
        yield World(site, guardian, MemoryBroker(), FakeCloud())
    finally:
        await guardian.stop()
