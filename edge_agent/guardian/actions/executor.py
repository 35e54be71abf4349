"""Carries out permits, and nothing else: write, read back until confirmed or out of time, one retry.

An accepted command proves nothing (miners.md §1.4): VNish answers 200 to what it ignores and 500 to what
is already so. So `Busy` and time-outs are settled by reading the state, and only a read says APPLIED.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from edge_agent.guardian import readback
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.polling.link import DeviceLink
from firmware_adapters.capabilities import (
    MiningControl,
    OutletControl,
    PointControl,
    PresetControl,
    Telemetry,
)
from shared.clock import Clock
from shared.commands import (
    AnyAction,
    SetPoint,
    SetPreset,
    StartMining,
    StopMining,
    SwitchOutlet,
    WriteRecord,
    WriteResult,
)
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from shared.ids import DeviceId
from shared.telemetry import Sample

log = logging.getLogger(__name__)

RESEND_STOP_AFTER_S = 10.0
"""A stop that is not confirmed is sent once more after this long (miners.md §5.7)."""
GRACE_S = 2.0
"""A change that has not shown so long after the time that the device declares for it is sent once more."""
READ_BACK_EVERY_S = 1.0
READ_BACKS_PER_S = 200.0
"""All writes together are read back at most so often. A site that stops as a whole must leave time to see
what its walls and meters say: a thousand read-backs a second made a read of theirs take four seconds.
"""
WRITE_REQUESTS = 8
"""A VNish preset write makes up to 8 requests (logins, ladder, switcher, settings, restart)."""


def may_have_missed(action: AnyAction, failure: DeviceError | None) -> bool:
    """Whether a stop perhaps never arrived: it is sent at every look then, for it does no harm twice."""
    return isinstance(action, StopMining) and isinstance(failure, Unreachable | DeviceTimeout)


class Executor:
    """The only caller of the adapters' write methods."""

    def __init__(self, links: Mapping[DeviceId, DeviceLink], clock: Clock, *, timeout_s: float) -> None:
        self._links = links
        self._clock = clock
        self._timeout_s = timeout_s
        self._under_way = 0
        self._spread = random.Random(0)  # noqa: S311 - spreads reads, guards nothing
        self.may_resend: Callable[[Permit], bool] = lambda _permit: True
        """Asked before a permit is sent a second time; the desk looks whether a raise is still allowed."""

    async def execute(self, permit: Permit) -> WriteRecord:
        """Write and read back; the record says what became of it and how long it took in s."""
        if type(permit) is not Permit:
            raise TypeError("the executor accepts permits only")
        link = self._links[permit.action.device]
        self._under_way += 1
        try:
            return await _Write(self, link, permit).run()
        finally:
            self._under_way -= 1

    @property
    def read_back_s(self) -> float:
        """How long each write waits between two looks, s."""
        return max(READ_BACK_EVERY_S, self._under_way / READ_BACKS_PER_S)

    async def crowd(self) -> None:
        """Let a write of many wait before its first look, each for a while of its own; few do not wait."""
        if self.read_back_s > READ_BACK_EVERY_S:
            await self._clock.sleep(self.read_back_s * self._spread.uniform(0.2, 1.0))

    async def send(self, link: DeviceLink, action: AnyAction) -> DeviceError | None:
        """Ask the device once; returns the typed failure, or None where it accepted the request."""
        try:
            async with asyncio.timeout(WRITE_REQUESTS * self._timeout_s):
                await _call(link.adapter, action)
        except TimeoutError:
            return DeviceTimeout("the request was not answered in time")
        except DeviceError as error:
            return error
        except Exception as error:
            # Supervisor: an adapter's bug is one failed write, not the end of the guardian.
            log.exception("%s: adapter failed in an unforeseen way", link.device)
            return MalformedReply(f"adapter failed: {error!r}")
        return None

    @property
    def clock(self) -> Clock:
        return self._clock


async def _call(adapter: Telemetry, action: AnyAction) -> None:
    match action:
        case SetPreset(preset=preset) if isinstance(adapter, PresetControl):
            await adapter.set_preset(preset)
        case StopMining() if isinstance(adapter, MiningControl):
            await adapter.stop_mining()
        case StartMining() if isinstance(adapter, MiningControl):
            await adapter.start_mining()
        case SetPoint(point=point, value=value) if isinstance(adapter, PointControl):
            await adapter.write_point(point, value)
        case SwitchOutlet(outlet=outlet, on=on) if isinstance(adapter, OutletControl):
            await adapter.switch_outlet(outlet, on=on)
        case _:
            raise Unsupported(f"{type(adapter).__name__} cannot do {type(action).__name__}")


class _Write:
    """One permit under way."""

    def __init__(self, executor: Executor, link: DeviceLink, permit: Permit) -> None:
        self._executor = executor
        self._clock = executor.clock
        self._link = link
        self._permit = permit
        self._failure: DeviceError | None = None
        self._seen: Sample | None = None
        self._before = "unknown"
        self._began_s = self._clock.monotonic()

    async def run(self) -> WriteRecord:
        action, confirm_s = self._permit.action, self._permit.confirm_s
        self._before = readback.shown(action, self._link.last_good)
        self._failure = await self._executor.send(self._link, action)
        if isinstance(self._failure, Unsupported):
            return self._record(WriteResult.UNSUPPORTED, str(self._failure))
        if isinstance(self._failure, AuthFailed):
            return self._record(WriteResult.REJECTED, f"credential refused: {self._failure}")
        deadline_s = self._began_s + confirm_s
        stop = isinstance(action, StopMining)
        shows_s = 0.0 if stop else self._permit.shows_s + GRACE_S
        patience_s = min(RESEND_STOP_AFTER_S, confirm_s / 2) if stop else max(confirm_s / 2, shows_s)
        resend_s = self._began_s + patience_s  # sent again earlier, a slow change would begin anew
        resent = False
        await self._executor.crowd()
        while True:
            sample = await self._link.read()
            if sample.failure is None:
                self._seen = sample
            if readback.confirmed(action, sample, self._link.entry):
                return self._record(WriteResult.APPLIED, "sent twice" if resent else "")
            now_s = self._clock.monotonic()
            if now_s >= deadline_s:
                return self._unconfirmed()
            missed = may_have_missed(action, self._failure)
            if (missed or (not resent and now_s >= resend_s)) and self._may_resend(action):
                resent = resent or not missed
                self._failure = await self._executor.send(self._link, action)
                deadline_s = max(deadline_s, now_s + shows_s)
            await self._clock.sleep(min(self._executor.read_back_s, max(deadline_s - now_s, 0.01)))

    def _may_resend(self, action: AnyAction) -> bool:
        return readback.may_resend(action, self._seen) and self._executor.may_resend(self._permit)

    def _unconfirmed(self) -> WriteRecord:
        if isinstance(self._failure, Busy):
            return self._record(WriteResult.REJECTED, f"refused in this state: {self._failure}")
        if isinstance(self._failure, Unreachable | DeviceTimeout) and self._seen is None:
            return self._record(WriteResult.UNREACHABLE, str(self._failure))
        detail = f": {self._failure}" if self._failure is not None else ""
        return self._record(WriteResult.UNCONFIRMED, f"not seen within {self._permit.confirm_s:g} s{detail}")

    def _record(self, result: WriteResult, detail: str) -> WriteRecord:
        return WriteRecord(
            action=self._permit.action,
            result=result,
            detail=detail,
            before=self._before,
            after=readback.shown(self._permit.action, self._seen),
            took_s=self._clock.monotonic() - self._began_s,
        )
