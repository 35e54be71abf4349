"""A gateway whose outbox was thinned, and the cloud's own tables: no minute is taken for a row of it.

The cloud knows a row by site, device and time, and keeps the first that comes; what it acknowledges is gone.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.quota import Pressure
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Batch, Tombstone
from support.agent import rollup_row
from support.cloud import NOW_MS, Bench, said

MINUTE_MS = 60_000
START = (NOW_MS // MINUTE_MS - 90) * MINUTE_MS
STEPS_PER_MINUTE = 12
DEVICES = 4


class Gateway:
    """A store that records steps of 5 s, and what of it was sent and acknowledged."""

    def __init__(self, folder: Path, bench: Bench, *, limit: int) -> None:
        self._folder, self._bench, self._limit = folder, bench, limit
        self.recorded: set[tuple[str, int]] = set()
        self.sent_rows = 0
        self.stones: list[Tombstone] = []
        self.store = self._open()

    def _open(self) -> Store:
        return Store(self._folder / FILE_NAME, ManualClock(), outbox_bytes=self._limit)

    def restart(self) -> None:
        self.store.close()
        self.store = self._open()

    def record(self, step: int) -> None:
        at_ms = START + step * 5_000
        rows = [rollup_row(f"m-{n}", at_ms, power_w=float(step * 37 % 997 + n)) for n in range(DEVICES)]
        self.recorded |= {(row.device, row.at_ms) for row in rows}
        self.store.commit(Commit(rollups=tuple(rows)))

    async def send(self, ids: Sequence[int]) -> None:
        """These batches, and the acks for them."""
        rows = self.store.fetch([i for i in ids if i not in self._events()])
        self.store.mark_published(rows)
        for row in rows:
            message: Batch | Tombstone = codec.decode(row.body, Batch | Tombstone)  # type: ignore[arg-type]  # msgspec takes unions
            if isinstance(message, Batch):
                self.sent_rows += len(msgspec.msgpack.decode(message.rows, type=list[RollupRow]))
            else:
                self.stones.append(message)
        done = await self._bench.commit(*(said(row.body) for row in rows))
        assert not self.store.apply_acks([ack for _, ack in done.acks]).refused

    def _events(self) -> set[int]:
        found = self.store._db.execute("SELECT id FROM outbox WHERE stream = 'ev'")
        return {row_id for (row_id,) in found}

    async def drain(self) -> None:
        while ids := [i for i in self.store.waiting() if i not in self._events()]:
            await self.send(ids[:50])


@pytest.mark.parametrize("seed", range(4))
async def test_every_row_is_stored_or_its_minute_is(tmp_path: Path, bench: Bench, seed: int) -> None:
    dice = random.Random(seed)
    gateway = Gateway(tmp_path, bench, limit=120_000)
    for step in range(STEPS_PER_MINUTE * 60):
        gateway.record(step)
        minute = step // STEPS_PER_MINUTE
        if minute < 6 and dice.random() < 0.3:  # a link that flaps, before it goes for good
            await gateway.send(gateway.store.waiting(newest=dice.random() < 0.5)[-3:][:2])
        if dice.random() < 0.01:
            gateway.restart()
    assert gateway.store.pressure is Pressure.THINNING
    await gateway.drain()
    assert {stone.reason for stone in gateway.stones} == {"thinned"}
    stored = {
        (d, at_ms): step_s for d, at_ms, step_s in await bench.all("SELECT device, at_ms, step_s FROM rollup")
    }
    assert len(stored) == gateway.sent_rows, "no row that was acknowledged was taken for another"
    for device, at_ms in gateway.recorded:
        start = at_ms - at_ms % MINUTE_MS
        assert (device, at_ms) in stored or stored.get((device, start)) == 60, (device, at_ms)
    assert 60 in stored.values()
    assert 5 in stored.values()
    samples = await bench.one("SELECT sum(samples) FROM rollup")
    assert samples == 2 * len(gateway.recorded), "and none is there twice"
