"""From findings to durable journal entries: stamps time, hands to the journal, tells when it is on disk."""

import asyncio
import logging
import threading
from collections.abc import Callable

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.storage.journal import Journal
from shared.alarms import Event
from shared.clock import Clock

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Pause before the disk is tried again after it refused."""


class Recorder:
    """Thread-safe front of the journal. A thread of its own does the waiting for the disk."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.journal = journal
        self._clock = clock
        self._work = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.on_durable: Callable[[], None] = lambda: None

    def record(self, finding: Finding) -> int:
        """Append one finding; returns its number. Never waits for storage."""
        event = Event(
            id="",
            kind=finding.kind,
            severity=finding.severity,
            key=finding.key,
            at_ms=self._clock.utc_ms(),
            title=finding.title,
            advice=finding.advice,
            zone=finding.zone,
            device=finding.device,
            data=finding.data,
        )
        seq = self.journal.append(event)
        self._work.set()
        return seq

    async def durable(self, seq: int, *, timeout_s: float) -> bool:
        """Wait until entry `seq` is on the disk; False where it is not within `timeout_s`."""
        if self.journal.is_durable(seq):
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((seq, future))
        self._notify()
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not future]
        return True

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread that writes."""
        self._loop = loop
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is pending and end the thread."""
        self._stop.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self.journal.close()

    def _write(self) -> None:
        while not self._stop.is_set():
            self._work.wait()
            self._work.clear()
            while not self._flush() and not self._stop.wait(RETRY_S):
                pass

    def _flush(self) -> bool:
        """Flush, and tell who waits: on the reserve entries are durable although the journal is not well."""
        well = self.journal.flush()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._notify)
        return well

    def _notify(self) -> None:
        for seq, future in self._waiting:
            if self.journal.is_durable(seq) and not future.done():
                future.set_result(None)
        self.on_durable()
