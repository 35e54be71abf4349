"""A site that makes numbered samples from a seed, faster than real time, and the guardian that serves them.

The guardian's end of `guardian.sock` as the real one behaves: a ring that is bounded in time, a cursor per
connection, a journal that is pulled. Everything it ever made is remembered in seeds only: `Maker` gives the
same samples again, so that the end of a run can be checked row by row.
"""

import asyncio
import contextlib
import hashlib
import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edge_agent import ipc
from shared.alarms import Event, EventKind, Severity
from shared.errors import WireError
from shared.ids import DeviceId, SiteId
from shared.telemetry import DeviceKind, MinerState, Quality, Reading, Sample
from shared.units import Algorithm

POLL_MS = 2_500
RING_MS = 120_000
"""The least that a guardian keeps for an agent that comes back (contracts, Gateway socket)."""
PER_FRAME = 200
HOLD_S = 50.0
"""Site time stands still while an agent has been starting for so long: on a busy machine that is the doing of
the speed-up. At its own pace a start takes a few seconds, far less than the ring reaches back."""
EVENT_EVERY = 4
"""Sweeps per journal entry."""


class Maker:
    """Sweep after sweep of samples, the same for one seed: counters count, readings wander, some fail."""

    def __init__(self, seed: int, devices: Sequence[DeviceId], *, boot: str, start_ms: int) -> None:
        self._chance = random.Random(seed)
        self._devices = tuple(devices)
        self._boot = boot
        self.at_ms = start_ms
        self.next_seq = 1
        self._counted = {device: [0.0, 0.0] for device in devices}

    def sweep(self) -> list[Sample]:
        """The next poll of every device."""
        found = [self._sample(device, n) for n, device in enumerate(self._devices)]
        self.at_ms += POLL_MS
        return found

    def _sample(self, device: DeviceId, n: int) -> Sample:
        chance = self._chance
        shares, errors = self._counted[device]
        shares += chance.randrange(20)
        errors += chance.randrange(3)
        self._counted[device] = [shares, errors]
        failed = chance.random() < 0.02
        quality = Quality.STALE if chance.random() < 0.02 else Quality.GOOD
        readings = {
            "hashrate_ths": Reading(round(chance.uniform(100, 140), 3)),
            "power_w": Reading(round(chance.uniform(2_900, 3_100), 1), quality),
            "chip_temp_max_c": Reading(round(chance.uniform(60, 80), 2)),
            "board_temp_max_c": Reading(round(chance.uniform(50, 60), 2)),
            "fan_duty_pct": Reading(70.0),
            "shares_accepted": Reading(shares),
            "hw_errors": Reading(errors),
        } | {f"fan_rpm.{fan}": Reading(float(chance.randrange(4_000, 5_000))) for fan in range(1, 5)}
        at_ms = self.at_ms + n * 13 + chance.randrange(10)
        self.next_seq += 1
        return Sample(
            device=device,
            kind=DeviceKind.MINER,
            at_s=at_ms / 1000,
            at_ms=at_ms,
            boot=self._boot,
            seq=self.next_seq - 1,
            state=MinerState.MINING,
            algorithm=Algorithm.SHA256D,
            readings={} if failed else readings,
            preset="3000",
            failure="timeout" if failed else None,
        )


class Jump(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's wall clock moved by `by_ms` before sweep number `sweep`."""

    sweep: int
    by_ms: int


class Story(msgspec.Struct, kw_only=True):
    """What the guardian did, in numbers small enough to keep: enough to make every sample again."""

    seed: int
    devices: tuple[DeviceId, ...]
    boot: str
    start_ms: int
    sweeps: int = 0
    jumps: list[Jump] = []

    def samples(self) -> Iterator[list[Sample]]:
        """Every sweep that the guardian made, again."""
        maker = Maker(self.seed, self.devices, boot=self.boot, start_ms=self.start_ms)
        jumps = deque(self.jumps)
        for number in range(self.sweeps):
            while jumps and jumps[0].sweep == number:
                maker.at_ms += jumps.popleft().by_ms
            yield maker.sweep()


class Absence(msgspec.Struct, kw_only=True):
    """A time without an agent, s of site time (the sweep clock, which no clock step moves)."""

    from_s: float
    to_s: float | None = None


class Guardian:
    """Serves samples and journal on a Unix socket, and keeps only what a guardian must keep."""

    def __init__(
        self, path: Path, site: SiteId, entries: Sequence[msgspec.Struct], story: Story, *, speed: float
    ) -> None:
        self.story = story
        self.events: list[str] = []
        self.absences: list[Absence] = [Absence(from_s=0.0)]
        self.leases = 0
        self._path = path
        self._site = site
        self._entries = tuple(entries)
        self._speed = speed
        self._maker = Maker(story.seed, story.devices, boot=story.boot, start_ms=story.start_ms)
        self._ring: deque[tuple[int, list[Sample]]] = deque()
        self._journal: list[ipc.JournalEntry] = []
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def site_s(self) -> float:
        """Seconds of site time so far; clock steps do not move it."""
        return self.story.sweeps * POLL_MS / 1000

    @property
    def newest_ms(self) -> int:
        """Wall clock of the site."""
        return self._maker.at_ms

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, str(self._path))
        self._polling = asyncio.create_task(self._poll())

    async def pause(self) -> None:
        """Make no further samples; what was made is still served."""
        self._polling.cancel()
        await asyncio.gather(self._polling, return_exceptions=True)

    async def stop(self) -> None:
        await self.pause()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def step_clock(self, by_ms: int) -> None:
        """The wall clock jumps before the next sweep."""
        self.story.jumps.append(Jump(sweep=self.story.sweeps, by_ms=by_ms))
        self._maker.at_ms += by_ms

    @property
    def _absent_s(self) -> float:
        """Site time since the last agent went; 0 while one is here."""
        last = self.absences[-1]
        return self.site_s - last.from_s if last.to_s is None else 0.0

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        due_s, every_s = loop.time(), POLL_MS / 1000 / self._speed
        while True:
            while self._absent_s > HOLD_S:
                await asyncio.sleep(every_s)
                due_s = loop.time()
            self._ring.append((self.story.sweeps * POLL_MS, self._maker.sweep()))
            self.story.sweeps += 1
            while self._ring[0][0] < self.story.sweeps * POLL_MS - RING_MS:
                self._ring.popleft()
            if self.story.sweeps % EVENT_EVERY == 0:
                self._write_journal()
            for connection in list(self._connections):
                connection.wake()
            due_s += every_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    def _write_journal(self) -> None:
        seq = len(self._journal) + 1
        previous = self._journal[-1].hash if self._journal else ""
        event = Event(
            id=f"{self.story.boot}-{seq}",
            kind=EventKind.SYSTEM,
            severity=Severity.LOW,
            key=f"chaos-{seq % 7}",
            at_ms=self._maker.at_ms,
            title=f"entry {seq}",
        )
        self.events.append(event.id)
        self._journal.append(
            ipc.JournalEntry(
                seq=seq,
                at_ms=event.at_ms,
                at_s=self.site_s,
                event=event,
                previous=previous,
                hash=hashlib.sha256(f"{previous}{seq}".encode()).hexdigest(),
            )
        )

    # ------------------------------------------------------------ one agent

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        connection = _Connection(writer)
        self._connections.add(connection)
        pump = asyncio.create_task(self._pump(connection))
        decoder = msgspec.msgpack.Decoder(ipc.FromAgent)
        try:
            connection.say(
                ipc.Hello(
                    protocol=ipc.PROTOCOL,
                    site=self._site,
                    boot=self.story.boot,
                    config_sha256="0" * 64,
                    next_seq=self._maker.next_seq,
                )
            )
            connection.say(ipc.Inventory(devices=self._entries, facts={}))  # type: ignore[arg-type]  # device entries
            while (message := await ipc.read_frame(reader, decoder)) is not None:
                self._take(connection, message)
        except (WireError, ConnectionError):
            pass  # it was killed; it will come again
        finally:
            pump.cancel()
            self._connections.discard(connection)
            writer.close()
            if not self._connections:
                self.absences.append(Absence(from_s=self.site_s))

    def _take(self, connection: "_Connection", message: ipc.FromAgent) -> None:
        match message:
            case ipc.SamplesSince():
                connection.cursor = message.seq if message.boot == self.story.boot else 0
                if self.absences[-1].to_s is None:
                    self.absences[-1].to_s = self.site_s
            case ipc.JournalSince():
                connection.journal = message.cursor
            case ipc.Lease():
                self.leases += 1
            case _:
                pass
        connection.wake()

    async def _pump(self, connection: "_Connection") -> None:
        while True:
            await connection.woken.wait()
            connection.woken.clear()
            with contextlib.suppress(ConnectionError):
                await self._send(connection)

    async def _send(self, connection: "_Connection") -> None:
        connection.say(ipc.Status(zones={}, lease_left_s=10.0, journal_head=len(self._journal)))
        if connection.journal is not None:
            entries = tuple(self._journal[connection.journal :][:50])
            if entries:
                connection.say(ipc.JournalPage(entries=entries, head=len(self._journal)))
            connection.journal = None
        if connection.cursor is None:
            return
        waiting = [s for _, sweep in self._ring if sweep[-1].seq > connection.cursor for s in sweep]
        waiting = [sample for sample in waiting if sample.seq > connection.cursor]
        for start in range(0, len(waiting), PER_FRAME):
            part = tuple(waiting[start : start + PER_FRAME])
            connection.say(ipc.Samples(boot=self.story.boot, samples=part))
            connection.cursor = part[-1].seq
            await connection.writer.drain()


class _Connection:
    """One agent's cursors; None until it says where to begin."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.cursor: int | None = None
        self.journal: int | None = None
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.woken.set()

    def say(self, message: ipc.FromGuardian) -> None:
        self.writer.write(ipc.encode_frame(message))
