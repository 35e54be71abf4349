"""One device as the guardian reaches it: its adapter, a read with a deadline, and its facts.

Reads of one device never overlap; writes do not wait for a read in progress, because a stop is worth
more than a sample.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import msgspec

from edge_agent.guardian.interlocks import quality
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.capabilities import Observation, Telemetry
from shared.capabilities import DeviceFacts, Preset
from shared.clock import Clock
from shared.errors import DeviceError, DeviceTimeout, MalformedReply
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import Sample

log = logging.getLogger(__name__)

READ_REQUESTS = 4
"""A read is a few requests; the whole of it may take this many request time-outs."""
FACTS_REQUESTS = 8
CONCURRENT_READS = 64
"""So many ordinary devices are read at a time, for polls and read-backs together.

A thousand stops that are read back at once would otherwise take the processor from each other until none is
answered in time. A read's deadline starts with its turn. Commands never wait for a turn.
"""


class Samples:
    """Where every sample of every device goes: board, ring, and whoever waits for news."""

    def __init__(self, boot: str, board: Board, ring: Ring) -> None:
        self.boot = boot
        self.board = board
        self.ring = ring
        self.failures: Counter[str] = Counter()
        self.polls = 0
        self.on_news: Callable[[], None] = lambda: None

    def publish(self, sample: Sample) -> None:
        self.polls += 1
        if sample.failure is not None:
            self.failures[sample.failure] += 1
        self.board.put(sample)
        self.ring.append(sample)
        self.on_news()


class DeviceLink:
    """The only holder of one device's adapter."""

    def __init__(
        self,
        entry: DeviceEntry,
        adapter: Telemetry,
        samples: Samples,
        clock: Clock,
        *,
        timeout_s: float,
        turns: asyncio.Semaphore | None = None,
    ) -> None:
        """`turns` is shared by devices that are read a few at a time; None: this one waits for nobody."""
        self.entry = entry
        self.adapter = adapter
        self.facts: DeviceFacts | None = None
        self._samples = samples
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._turns = turns
        self._still: quality.Stillness = {}
        self._failing: str | None = None
        self.last_good: Sample | None = None

    @property
    def device(self) -> DeviceId:
        return self.entry.id

    async def read(self) -> Sample:
        """Read once and publish; a failure becomes a sample that says so. `at_s` is when it began."""
        sample = await self._read()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # Until Python 3.12 `asyncio.wait_for` (in pymodbus) loses a cancellation that meets a reply.
            raise asyncio.CancelledError
        return sample

    async def _read(self) -> Sample:
        async with self._lock, self._turns or contextlib.nullcontext():
            at_s, at_ms = self._clock.monotonic(), self._clock.utc_ms()
            try:
                async with asyncio.timeout(READ_REQUESTS * self._timeout_s):
                    seen = await self.adapter.read()
            except TimeoutError:
                return self._failed(DeviceTimeout("no whole answer before the deadline"), at_s, at_ms)
            except DeviceError as error:
                return self._failed(error, at_s, at_ms)
            except Exception as error:
                # Supervisor: an adapter's bug is one failed read, not the end of the loop.
                log.exception("%s: adapter failed in an unforeseen way", self.device)
                return self._failed(MalformedReply(f"adapter failed: {error!r}"), at_s, at_ms)
            return self._good(seen, at_s, at_ms)

    def _good(self, seen: Observation, at_s: float, at_ms: int) -> Sample:
        if self._failing is not None:
            log.info("%s: answers again after %s", self.device, self._failing)
            self._failing = None
        self._still, readings = quality.judge(self._still, seen.readings, at_s, seen.state)
        sample = Sample(
            device=self.device,
            kind=self.entry.kind,
            at_s=at_s,
            at_ms=at_ms,
            boot=self._samples.boot,
            seq=self._samples.ring.next_seq,
            state=seen.state,
            algorithm=seen.algorithm or self.entry.algorithm,
            readings=readings,
            preset=seen.preset,
        )
        self.last_good = sample
        self._samples.publish(sample)
        return sample

    def _failed(self, error: DeviceError, at_s: float, at_ms: int) -> Sample:
        if self._failing != error.code:
            log.warning("%s: %s: %s", self.device, error.code, error)
            self._failing = error.code
        sample = Sample(
            device=self.device,
            kind=self.entry.kind,
            at_s=at_s,
            at_ms=at_ms,
            boot=self._samples.boot,
            seq=self._samples.ring.next_seq,
            algorithm=self.entry.algorithm,
            failure=error.code,
        )
        self._samples.publish(sample)
        return sample

    async def read_facts(self) -> bool:
        """Ask the device what it is; False where it did not tell. Logs the reason once per change."""
        try:
            async with asyncio.timeout(FACTS_REQUESTS * self._timeout_s):
                told = await self.adapter.facts()
        except (TimeoutError, DeviceError) as error:
            log.warning("%s: facts not read: %s", self.device, error)
            return False
        except Exception:
            # Supervisor: an adapter's bug costs the facts of one device, not the poller.
            log.exception("%s: adapter failed in an unforeseen way", self.device)
            return False
        self.facts = msgspec.structs.replace(told, presets=_same(told.presets))
        return True

    async def close(self) -> None:
        await self.adapter.close()


@lru_cache(maxsize=256)
def _same(presets: tuple[Preset, ...]) -> tuple[Preset, ...]:
    """One ladder for all miners that tell the same: fifteen rungs are 3 kB, and a site has few models."""
    return presets
