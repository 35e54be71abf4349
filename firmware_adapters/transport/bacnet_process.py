"""The guardian's side of BACnet: one child process for all devices, started when the first one is read.

The child has no credential and no device of its own to command but what it is told over the pipe; when the
guardian is gone it sees the end of its input and ends. When it dies, what waits fails as `Unreachable` and
the next request starts it anew, at most every `RESTART_S`.
"""

import asyncio
import itertools
import logging
import math
import sys
from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

import msgspec

from firmware_adapters.transport.bacnet import (
    LARGEST_FRAME,
    LENGTH_BYTES,
    Asked,
    BacnetValue,
    Order,
    Outcome,
    ReadOrder,
    TooLong,
    WriteOrder,
    failure_of,
    framed,
    told,
    told_write,
)
from firmware_adapters.transport.tape import noted
from shared.clock import Clock, SystemClock
from shared.errors import DeviceTimeout, Unreachable

log = logging.getLogger(__name__)

CHILD = "firmware_adapters.transport.bacnet_child"
RESTART_S = 5.0
"""A child that dies at once costs a start every so often, not a core."""
GRACE_S = 0.25
"""Beyond a request's own deadline, which the child keeps; after it the child itself hangs."""
START_S = 15.0
"""Importing bacpypes3 takes a second here and several on a small gateway."""
HUNG_S = 5.0
"""A child that owes an answer and has said nothing for so long is killed; the next order starts another."""
STOP_S = 2.0


class BacnetProcess:
    """The child, its pipe, and who waits for what."""

    def __init__(self, *, clock: Clock | None = None, command: Sequence[str] = ()) -> None:
        self._clock = clock or SystemClock()
        self._command = tuple(command) or (sys.executable, "-P", "-m", CHILD)
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._child: asyncio.subprocess.Process | None = None
        self._unburied: list[asyncio.subprocess.Process] = []
        """Every child that was started and has not been waited for."""
        self._listening: asyncio.Task[None] | None = None
        self._started_s: float | None = None
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._heard_s = -math.inf
        """When the child last said anything, monotonic."""
        self.users = 0

    async def ask(self, order: Order) -> Outcome:
        """Hand an order to the child. Raises `Unreachable` without one, `DeviceTimeout` where it hangs."""
        number = next(self._ids)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(order.timeout_s + GRACE_S):
                child = await self._running()
                assert child.stdin is not None  # noqa: S101 - it was made with a pipe
                child.stdin.write(framed(msgspec.msgpack.encode(msgspec.structs.replace(order, id=number))))
                await child.stdin.drain()
                return await future
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Unreachable("the BACnet process has ended") from error
        except TimeoutError as error:
            self._kill_if_hung()
            raise DeviceTimeout("the BACnet process does not answer, or is still starting") from error
        finally:
            self._waiting.pop(number, None)
            future.cancel()

    def _kill_if_hung(self) -> None:
        """A deadline has passed that the child keeps itself, even for a device that is not there."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        if self._clock.monotonic() - self._heard_s >= HUNG_S:
            log.warning("the BACnet process hangs and is killed")
            child.kill()

    async def _running(self) -> asyncio.subprocess.Process:
        """The child. Its start goes on when the one who waits for it gives up: a gateway is slow at it."""
        if self._child is not None and self._child.returncode is None:
            return self._child
        if self._starting is None:
            now_s = self._clock.monotonic()
            if self._started_s is not None and now_s - self._started_s < RESTART_S:
                raise Unreachable("the BACnet process has ended; it is started again in a moment")
            self._started_s = now_s
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, task: asyncio.Task[asyncio.subprocess.Process]) -> None:
        self._starting = None
        if not task.cancelled() and task.exception() is not None:
            log.warning("%s", task.exception())

    async def _start(self) -> asyncio.subprocess.Process:
        await self._bury()
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise Unreachable(f"the BACnet process cannot be started: {error}") from error
        self._unburied.append(child)
        assert child.stdout is not None  # noqa: S101 - it was made with a pipe
        try:
            async with asyncio.timeout(START_S):
                hello = await child.stdout.readexactly(LENGTH_BYTES)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise Unreachable(
                "the BACnet process did not come up; is `pip install minewarden[bacnet]` done?"
            ) from error
        if hello != bytes(LENGTH_BYTES):
            raise Unreachable("the BACnet process says something else than it should")
        self._child = child
        self._heard_s = self._clock.monotonic()
        self._listening = asyncio.create_task(self._listen(child, child.stdout))
        return child

    async def _listen(self, child: asyncio.subprocess.Process, pipe: asyncio.StreamReader) -> None:
        decoder = msgspec.msgpack.Decoder(Outcome)
        try:
            while True:
                length = int.from_bytes(await pipe.readexactly(LENGTH_BYTES), "big")
                if length > LARGEST_FRAME:
                    log.error("the BACnet process sent a frame of %d bytes", length)
                    break
                outcome = decoder.decode(await pipe.readexactly(length))
                self._heard_s = self._clock.monotonic()
                future = self._waiting.get(outcome.id)
                if future is not None and not future.done():
                    future.set_result(outcome)
        except (asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            log.warning("the BACnet process has ended: %s", error)
        finally:
            if self._child is child:
                self._child = None
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(Unreachable("the BACnet process has ended"))

    async def _bury(self) -> None:
        """Wait for children that have ended, or should have."""
        while self._unburied:
            await _end(self._unburied[0])
            del self._unburied[0]

    async def close(self) -> None:
        """End the child; never raises."""
        self._child = None
        under_way = [task for task in (self._starting, self._listening) if task is not None]
        self._listening = None
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._bury()
        self._started_s = None


async def _end(child: asyncio.subprocess.Process) -> None:
    """Close its input, which ends it; kill it where that is not enough."""
    if child.stdin is not None and not child.stdin.is_closing():
        child.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


_PROCESSES: WeakKeyDictionary[asyncio.AbstractEventLoop, BacnetProcess] = WeakKeyDictionary()
"""Per event loop, because pipes belong to the loop that made them."""


class ProcessBacnet:
    """A driver's handle on one device; the last handle to close ends the child."""

    def __init__(self, host: str, port: int, *, max_objects: int) -> None:
        self._host = host
        self._port = port
        self._max = max_objects
        self._held: BacnetProcess | None = None
        self._lock = asyncio.Lock()
        self.requests = 0

    @property
    def _process(self) -> BacnetProcess:
        if self._held is None:
            self._held = _PROCESSES.setdefault(asyncio.get_running_loop(), BacnetProcess())
            self._held.users += 1
        return self._held

    async def read(self, asked: Sequence[Asked], *, timeout_s: float) -> dict[Asked, BacnetValue]:
        """See `BacnetLink`. Halves what the device finds too long, and keeps the size that fitted."""
        found: dict[Asked, BacnetValue] = {}
        async with self._lock:
            rest = list(asked)
            while rest:
                part = tuple(rest[: self._max])
                try:
                    found |= await noted(self._read(part, timeout_s), partial(told, part))
                except TooLong:
                    if len(part) == 1:
                        raise
                    self._max = max(1, len(part) // 2)
                    continue
                del rest[: len(part)]
        return found

    async def _read(self, part: tuple[Asked, ...], timeout_s: float) -> dict[Asked, BacnetValue]:
        self.requests += 1
        order = ReadOrder(id=0, host=self._host, port=self._port, asked=part, timeout_s=timeout_s)
        outcome = await self._asked(order)
        if len(outcome.values) != len(part):
            raise failure_of(Outcome(id=0, text="the answer has another length"), self._name)
        return {key: value for key, value in zip(part, outcome.values, strict=True) if value is not None}

    async def write(self, target: str, value: float | None, *, priority: int, timeout_s: float) -> None:
        """See `BacnetLink`."""
        order = WriteOrder(
            id=0,
            host=self._host,
            port=self._port,
            target=target,
            value=value,
            priority=priority,
            timeout_s=timeout_s,
        )
        async with self._lock:
            await noted(self._asked(order), partial(told_write, target, value, priority))

    async def _asked(self, order: Order) -> Outcome:
        outcome = await self._carried_out(order)
        if outcome.code:
            raise failure_of(outcome, self._name)
        return outcome

    async def _carried_out(self, order: Order) -> Outcome:
        return await self._process.ask(order)

    async def close(self) -> None:
        """See `BacnetLink`."""
        held, self._held = self._held, None
        if held is None:
            return
        held.users -= 1
        if held.users == 0:
            _PROCESSES.pop(asyncio.get_running_loop(), None)
            await held.close()

    @property
    def _name(self) -> str:
        return f"{self._host}:{self._port}"
