"""The agent's outbox and uplink alone, with a day to catch up: `python -P -m support.chaos_backlog ARGS`.

Fills an outbox as a site without WAN does, then connects, and records one more step every second meanwhile
(or `--every-s`).
Prints one JSON object: how long each of those new batches took from its commit on site to its deletion on
the cloud's ack (which the cloud sends after its own commit), during the drain and after it.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_agent import config
from edge_agent.agent.records import Records
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.rows import AckOutcome, Commit
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.uplink.downlink import Downlink
from edge_agent.agent.uplink.mqtt import MqttTransport
from edge_agent.agent.uplink.uplink import Uplink
from edge_agent.agent.view import SiteView
from shared.clock import SystemClock
from shared.ids import DeviceId
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, RollupRow
from shared.units import Algorithm
from shared.wire.envelope import PROTOCOL, Ack, Birth

STEP_MS = 60_000
_KNOWN = 23


class Site:
    """Rows of one step after the other, none like another: 23 numbers known of 36."""

    def __init__(self, miners: int, start_ms: int) -> None:
        self._rng = np.random.default_rng(5)
        self._devices = [DeviceId(f"m-{n:04d}") for n in range(miners)]
        self._unknown: tuple[float | None, ...] = (None,) * (len(COLUMN_NAMES) - _KNOWN)
        self.at_ms = start_ms

    def step(self) -> tuple[RollupRow, ...]:
        numbers = self._rng.uniform(50.0, 3_500.0, (len(self._devices), _KNOWN)).round(2).tolist()
        self.at_ms += STEP_MS
        return tuple(
            RollupRow(
                device=device,
                at_ms=self.at_ms,
                step_s=60,
                samples=24,
                failed=0,
                quality=Quality.GOOD,
                values=(*values, *self._unknown),
                algorithm=Algorithm.SHA256D,
                state=MinerState.MINING,
                preset="2970",
            )
            for device, values in zip(self._devices, numbers, strict=True)
        )


class Watched:
    """A store that notes when each batch left it."""

    def __init__(self, store: Store, clock: SystemClock) -> None:
        self._store, self._clock = store, clock
        self._apply = store.apply_acks
        self._committed: dict[int, float] = {}
        self.took_s: dict[int, float] = {}
        store.apply_acks = self.apply  # type: ignore[method-assign]  # the benchmark's ear

    def committed(self, row_id: int, at_s: float) -> None:
        self._committed[row_id] = at_s

    def apply(self, acks: Iterable[Ack]) -> AckOutcome:
        outcome = self._apply(acks)
        now_s = self._clock.monotonic()
        for row_id in outcome.deleted:
            if row_id in self._committed:
                self.took_s[row_id] = now_s - self._committed[row_id]
        return outcome


def rss_kb(field: str) -> int:
    """`VmRSS` now or `VmHWM` at most, kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


async def run(wanted: argparse.Namespace) -> dict[str, object]:
    clock, file = SystemClock(), config.load(wanted.site)
    folder = Path(file.paths.agent_state)
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / "agent.sqlite", clock, outbox_bytes=1 << 40)
    site = Site(wanted.miners, clock.utc_ms() // STEP_MS * STEP_MS - (wanted.minutes + 200) * STEP_MS)
    for _ in range(wanted.minutes):
        store.commit(Commit(rollups=site.step()))
    view, writer = SiteView(file), Writer()
    records = Records(store, RawStore(folder / "raw", keep_bytes=1 << 30), writer, view)
    watched = Watched(store, clock)
    uplink = _uplink(file, clock, records, view)
    before_kb, began_s = rss_kb("VmRSS"), clock.monotonic()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    task = asyncio.create_task(uplink.supervise())
    during, after, drained_s = list[int](), list[int](), 0.0
    while len(after) < wanted.after:
        old = await writer.call(_backlog, store, during + after)
        if not old and not drained_s:
            drained_s = clock.monotonic() - began_s
        mark = max(await writer.call(store.waiting), default=0)
        rows, at_s = site.step(), clock.monotonic()
        await records.commit(Commit(rollups=rows))
        for row_id in await writer.call(store.waiting, above=mark):
            watched.committed(row_id, at_s)
            (after if drained_s else during).append(row_id)
        await clock.sleep(max(0.0, wanted.every_s - (clock.monotonic() - at_s)))
    while await writer.call(store.waiting):
        await clock.sleep(0.05)
    peak_kb = rss_kb("VmHWM")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return {
        "drain_s": drained_s,
        "during_s": [watched.took_s[row_id] for row_id in during],
        "after_s": [watched.took_s[row_id] for row_id in after],
        "rss_before_kb": before_kb,
        "rss_peak_kb": peak_kb,
        "unknown": uplink.unknown,
    }


def _backlog(store: Store, live: Sequence[int]) -> int:
    return len(set(store.waiting()) - set(live))


def _uplink(file: config.SiteFile, clock: SystemClock, records: Records, view: SiteView) -> Uplink:
    async def nobody(_: object) -> bool:
        return False

    async def ignore(_: object) -> None:
        return None

    downlink = Downlink(
        file.site.id, clock, view, order=nobody, tell=lambda _: None, model=ignore, chunk=lambda _: None
    )
    birth = Birth(
        site=file.site.id,
        name="backlog",
        boot="boot",
        epoch=records.store.epoch,
        at_ms=clock.utc_ms(),
        version="0.1.0",
        protocol=PROTOCOL,
        step_s=60,
        inventory_sha256="",
        inventory=msgspec.Raw(msgspec.msgpack.encode(())),
    )
    return Uplink(
        clock,
        site=file.site.id,
        boot="boot",
        transport=MqttTransport(file.uplink, file.site.id),
        records=records,
        view=view,
        downlink=downlink,
        birth=lambda: birth,
    )


def in_a_process(
    folder: Path, *, miners: int, minutes: int, every_s: float = 1.0, after: int = 30
) -> dict[str, Any]:
    """Run this for the site file in `folder`; what it printed."""
    root = Path(__file__).parents[2]
    words = ["--site", str(folder / "site.toml"), "--miners", str(miners), "--minutes", str(minutes)]
    words += ["--every-s", str(every_s), "--after", str(after)]
    paths = os.pathsep.join((str(root), str(root / "tests")))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "support.chaos_backlog", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="chaos_backlog")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--miners", type=int, default=1_000)
    parser.add_argument("--minutes", type=int, default=1_440)
    parser.add_argument("--every-s", type=float, default=1.0, help="between two new steps")
    parser.add_argument("--after", type=int, default=30, help="steps recorded once the backlog is gone")
    print(json.dumps(asyncio.run(run(parser.parse_args(argv)))))


if __name__ == "__main__":
    main(sys.argv[1:])
