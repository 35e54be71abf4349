"""One device as the guardian reaches it: its adapter, a read with a deadline, its facts and details.

Reads of one device never overlap, and neither do its rarer ones among themselves. A read does not wait for a
rarer one (pages may be slow that control does not need), and a write waits for neither, because a stop is
worth more than a sample.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from edge_agent.guardian.interlocks import quality
from edge_agent.guardian.polling import chip_map
from edge_agent.guardian.polling.backfill import GAP_S, Gap
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.details import Chips, Details, Packed
from edge_agent.guardian.polling.logs import Logs
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import Turns
from firmware_adapters.capabilities import (
    BoardTelemetry,
    ChipTelemetry,
    HistoryReader,
    LogReader,
    Observation,
    PoolTelemetry,
    Telemetry,
)
from firmware_adapters.identify import Trust, read_only_warning
from firmware_adapters.transport.tape import FailureRing, Tape, taping
from shared.capabilities import Ability, DeviceFacts, one_ladder, one_list
from shared.clock import Clock
from shared.details import History, LogTail
from shared.errors import AuthFailed, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.exchanges import KeptFailure
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import MinerState, Sample

log = logging.getLogger(__name__)

READ_REQUESTS = 4
"""A read is a few requests; the whole of it may take this many request time-outs."""
FACTS_REQUESTS = 8
AMONG_FAILING = 2
"""After so many failures in a row a device waits for its turn among those that fail."""

T = TypeVar("T")


class Samples:
    """Where every sample of every device goes: board, ring, and whoever waits for news."""

    def __init__(self, boot: str, board: Board, ring: Ring) -> None:
        self.boot = boot
        self.board = board
        self.ring = ring
        self.failures: Counter[str] = Counter()
        self.kept = FailureRing()
        """Raw replies of the last failed read of each device."""
        self.logs = Logs()
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
        turns: Turns | None = None,
    ) -> None:
        """`turns` is shared by devices that are read a few at a time; None: this one waits for nobody."""
        self.entry = entry
        self.adapter = adapter
        self._trust = Trust.of(entry)
        self.facts: DeviceFacts | None = None
        self.retry_after_s: float | None = None
        """How long the device itself asks to be left alone (s), where its last failure told so."""
        self._samples = samples
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._rarer = asyncio.Lock()
        self._turns = turns
        self._still: quality.Stillness = {}
        self._failing: str | None = None
        self._failures = 0
        self._not_told: dict[str, str] = {}
        """What of the rarer reads failed last time, and how: a lasting failure is logged once."""
        self._packed = Packed()
        self._gap: Gap | None = None
        self._has_boards = isinstance(adapter, BoardTelemetry)
        self._has_pools = isinstance(adapter, PoolTelemetry)
        self._has_history = isinstance(adapter, HistoryReader)
        self._has_chips = isinstance(adapter, ChipTelemetry)
        self._has_logs = isinstance(adapter, LogReader)
        self._log_why: str | None = None
        """What went wrong that its log was not asked about yet."""
        self.last_good: Sample | None = None

    @property
    def device(self) -> DeviceId:
        return self.entry.id

    @property
    def details(self) -> Details:
        """What the slow loop last heard: boards, pools, faults."""
        return self._packed.look()

    @property
    def answers(self) -> bool:
        """Whether its last read brought something."""
        return self._failing is None

    @property
    def has_details(self) -> bool:
        """Whether there is anything for the slow loop to ask."""
        return self._has_boards or self._has_pools

    @property
    def chips(self) -> Chips | None:
        """What the rare loop last heard of its chips."""
        return self._packed.look_chips()

    @property
    def has_chips(self) -> bool:
        """Whether it can be asked for its chips: by its adapter, and then by its firmware's word."""
        return self._has_chips and (self.facts is None or self._choices(Ability.CHIPS) is not None)

    @property
    def has_logs(self) -> bool:
        """Whether its adapter can ask for logs at all."""
        return self._has_logs

    @property
    def wants_log(self) -> bool:
        """Whether something went wrong that its log may tell more about."""
        return self._log_why is not None and bool(self._choices(Ability.LOGS))

    def _choices(self, ability: Ability) -> tuple[str, ...] | None:
        """What the ability can be asked for; None where the machine does not have it, as far as is known."""
        able = self.facts.capabilities if self.facts is not None else ()
        return next((one.choices for one in able if one.ability is ability), None)

    @property
    def remembers(self) -> bool:
        """Whether it can be asked for a time in which it was not read."""
        return self._has_history

    def take_gap(self) -> Gap | None:
        """The gap that the newest good read ended, once; None where there is none or nothing remembers it."""
        gap, self._gap = self._gap, None
        return gap

    async def read(self) -> Sample:
        """Read once and publish; a failure becomes a sample that says so. `at_s` is when it began."""
        sample = await self._read()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # Until Python 3.12 `asyncio.wait_for` (in pymodbus) loses a cancellation that meets a reply.
            raise asyncio.CancelledError
        return sample

    async def _read(self) -> Sample:
        async with self._lock, self._turn():
            at_s, at_ms = self._clock.monotonic(), self._clock.utc_ms()
            heard = Tape()
            try:
                async with asyncio.timeout(READ_REQUESTS * self._timeout_s):
                    with taping(heard):
                        seen = await self.adapter.read()
            except TimeoutError:
                error: DeviceError = DeviceTimeout("no whole answer before the deadline")
            except DeviceError as failure:
                error = failure
            except Exception as bug:
                # Supervisor: an adapter's bug is one failed read, not the end of the loop.
                log.exception("%s: adapter failed in an unforeseen way", self.device)
                error = MalformedReply(f"adapter failed: {bug!r}")
            else:
                return self._good(seen, at_s, at_ms)
            self._keep(heard, error, at_ms)
            return self._failed(error, at_s, at_ms)

    def _keep(self, heard: Tape, error: DeviceError, at_ms: int) -> None:
        """Keep what it said, for whoever looks into the failure."""
        if heard.exchanges:
            self._samples.kept.keep(
                KeptFailure(
                    device=self.device,
                    adapter=self.entry.adapter,
                    at_ms=at_ms,
                    failure=f"{error.code}: {error}",
                    exchanges=tuple(heard.exchanges),
                )
            )

    def _turn(self) -> contextlib.AbstractAsyncContextManager[None]:
        if self._turns is None:
            return contextlib.nullcontext()
        return self._turns.turn(failing=self._failures >= AMONG_FAILING)

    def _good(self, seen: Observation, at_s: float, at_ms: int) -> Sample:
        if self._failing is not None:
            log.info("%s: answers again after %s", self.device, self._failing)
            self._want_log(f"answers again after {self._failing}", when=self._failures >= AMONG_FAILING)
            self._failing = None
            self._failures = 0
            self.retry_after_s = None
            self._note_gap(at_s)
        self._look_for_trouble(seen)
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

    def _look_for_trouble(self, seen: Observation) -> None:
        """Note what the firmware says is wrong, and whether that is news."""
        fault = self._packed.put_faults(seen.faults)
        self._want_log(f"fault {fault}", when=fault is not None)
        before = self.last_good.state if self.last_good is not None else None
        failed = seen.state is MinerState.FAILURE and before is not MinerState.FAILURE
        self._want_log("state failure", when=failed)

    def _want_log(self, why: str, *, when: bool) -> None:
        if when and self._has_logs:
            self._log_why = why

    def _note_gap(self, at_s: float) -> None:
        before = self.last_good
        if self._has_history and before is not None and at_s - before.at_s >= GAP_S:
            self._gap = Gap(from_s=before.at_s, to_s=at_s)

    def _failed(self, error: DeviceError, at_s: float, at_ms: int) -> Sample:
        self._failures += 1
        self.retry_after_s = error.retry_after_s if isinstance(error, AuthFailed) else None
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

    # ------------------------------------------------------------ rarer

    async def read_facts(self) -> bool:
        """Ask the device what it is; False where it did not tell."""
        async with self._rarer:
            told = await self._ask("facts", self.adapter.facts)
        if told is None:
            return False
        known = self._trust.judged(told)
        if known is not told and (self.facts is None or self.facts.firmware != told.firmware):
            log.warning("%s: %s", self.device, read_only_warning(told.firmware))
        self.facts = msgspec.structs.replace(
            known, presets=one_ladder(told.presets), capabilities=one_list(known.capabilities)
        )
        return True

    async def read_details(self) -> bool:
        """Ask for boards and pools; False where it told neither. What it does not have is not asked for."""
        async with self._rarer:
            boards = pools = None
            if isinstance(self.adapter, BoardTelemetry):
                boards = await self._ask("boards", self.adapter.boards)
            if isinstance(self.adapter, PoolTelemetry):
                pools = await self._ask("pools", self.adapter.pools)
        if boards is None and pools is None:
            return False
        self._packed.put(Details(at_ms=self._clock.utc_ms(), boards=boards, pools=pools))
        return True

    async def read_chips(self) -> bool:
        """Ask for all chips; False where they were not told, then the last word stands with its time."""
        adapter = self.adapter
        if not isinstance(adapter, ChipTelemetry):
            return False

        async def packed() -> bytes:
            return chip_map.pack(await adapter.chips())

        async with self._rarer:
            told = await self._ask("chips", packed)
        if told is None:
            return False
        self._packed.put_chips(told, self._clock.utc_ms())
        return True

    async def read_log(self) -> bool:
        """Ask for the log that its last trouble is about; False where it was not told and is still wanted."""
        adapter, why, names = self.adapter, self._log_why, self._choices(Ability.LOGS)
        if not isinstance(adapter, LogReader) or why is None or not names:
            return False
        name = names[0]
        async with self._rarer:
            text = await self._ask("log", lambda: adapter.log(name))
        if text is None:
            return False
        if self._log_why == why:
            self._log_why = None
        log_tail = LogTail(name=name, at_ms=self._clock.utc_ms(), why=why, text=text)
        self._samples.logs.keep(self.device, log_tail)
        return True

    async def read_history(self, span_s: float, step_s: float) -> History | None:
        """What the device remembers of the last `span_s` seconds; None where it did not tell."""
        adapter = self.adapter
        if not isinstance(adapter, HistoryReader):
            return None
        async with self._rarer:
            return await self._ask("history", lambda: adapter.history(span_s, step_s))

    async def _ask(self, what: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """What a rarer read brings; None where it failed. The reason is logged once per change."""
        try:
            async with asyncio.timeout(FACTS_REQUESTS * self._timeout_s):
                told = await call()
        except Unsupported as error:
            log.debug("%s: %s: %s", self.device, what, error)
            return None
        except (TimeoutError, DeviceError) as error:
            reason = getattr(error, "code", DeviceTimeout.code)
            if self._not_told.get(what) != reason:
                self._not_told[what] = reason
                log.warning(
                    "%s: %s not read: %s", self.device, what, error or "no answer before the deadline"
                )
            return None
        except Exception:
            # Supervisor: an adapter's bug costs this one read of one device, not the poller.
            log.exception("%s: adapter failed in an unforeseen way", self.device)
            return None
        self._not_told.pop(what, None)
        return told

    async def close(self) -> None:
        await self.adapter.close()
