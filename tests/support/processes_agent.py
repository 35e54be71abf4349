"""An agent in the test's own process: as well-behaved, or as mad, as the test wants."""

import asyncio
import contextlib
import sys
import threading
from typing import ClassVar

import msgspec

from edge_agent import ipc
from edge_agent.config import SiteFile
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.commands import AnyAction, DoActions, Proposal
from shared.ids import CommandId
from support import processes_flood
from support.guardian import signed_order
from support.processes import ProcessSite
from support.processes_flood import COUNTS

RESULT_WITHIN_S = 30.0


class TestAgent:
    """Holds the lease while it is open (unless told not to), passes orders on and waits for results."""

    __test__ = False
    signed: ClassVar[dict[str, Signed]] = {}
    """What agents of this test run passed on, by id: the cloud sends the same bytes again."""

    def __init__(self, site: SiteFile, *, lease: bool = True) -> None:
        self._site = site
        self._lease = lease
        self._decoder = msgspec.msgpack.Decoder(ipc.FromGuardian)
        self.results: dict[str, ipc.Result] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "TestAgent":
        self._reader, self._writer = await asyncio.open_unix_connection(self._site.paths.guardian_socket)
        self._tasks = [asyncio.create_task(self._listen())]
        if self._lease:
            self._tasks.append(asyncio.create_task(self._renew()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def say(self, message: ipc.FromAgent) -> None:
        """Send one message."""
        self._writer.write(ipc.encode_frame(message))

    async def _renew(self) -> None:
        cycle = 0
        while True:
            cycle += 1
            self.say(ipc.Lease(ttl_s=self._site.timing.lease_max_s, cycle=cycle))
            await asyncio.sleep(self._site.timing.lease_max_s / 4)

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionError):
            while (message := await ipc.read_frame(self._reader, self._decoder)) is not None:
                if isinstance(message, ipc.Result):
                    self.results[message.id] = message
                    self._changed.set()

    async def order(self, *actions: AnyAction, command: str, clock: Clock, counter: int) -> ipc.Result:
        """Pass on an order that the cloud signed at the time of `clock`; its result."""
        self.order_nowait(*actions, command=command, clock=clock, counter=counter)
        return await self.result(command)

    def order_nowait(self, *actions: AnyAction, command: str, clock: Clock, counter: int) -> None:
        """Pass on such an order and wait for nothing."""
        signed = signed_order(DoActions(actions=actions), clock, counter=counter, command=command)
        self.signed[command] = signed
        self.say(ipc.Order(signed=signed))

    async def repeat(self, command: str) -> ipc.Result:
        """Pass on once more, to the letter, what this or an earlier agent passed on; its result."""
        self.say(ipc.Order(signed=self.signed[command]))
        return await self.result(command)

    async def result(self, command: str) -> ipc.Result:
        """The next result of that id."""
        async with asyncio.timeout(RESULT_WITHIN_S):
            while command not in self.results:
                self._changed.clear()
                await self._changed.wait()
        return self.results.pop(command)


def propose(action: AnyAction, command: str) -> ipc.Propose:
    """A proposal of a rule."""
    return ipc.Propose(
        proposal=Proposal(id=CommandId(command), policy="test", actions=(action,), reason="test", ttl_s=60.0)
    )


class Flood:
    """A mad agent as a process of its own (`processes_flood`), from entering to leaving."""

    def __init__(self, site: ProcessSite, kind: str) -> None:
        self._site = site
        self._kind = kind
        self._counts = site.folder / f"flood{kind.replace('=', '-')}"
        self._began_s = 0.0

    async def __aenter__(self) -> "Flood":
        self._counts.write_bytes(COUNTS.pack(0, 0))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            processes_flood.__file__,
            self._site.site.paths.guardian_socket,
            str(self._counts),
            self._kind,
            env=self._site.environment,
        )
        self._began_s = self._site.clock.monotonic()
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return int(COUNTS.unpack(self._counts.read_bytes())[0])

    @property
    def disconnected(self) -> int:
        """How often the guardian threw it out, or let it wait for 5 s."""
        return int(COUNTS.unpack(self._counts.read_bytes())[1])

    @property
    def rate(self) -> float:
        """Frames per second since the process was started."""
        return self.frames / (self._site.clock.monotonic() - self._began_s)


class Answers:
    """Asks at operator.sock again and again in a thread, and notes the slowest answer."""

    EVERY_S = 0.1

    def __init__(self, site: ProcessSite) -> None:
        self._site = site
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.slowest_s = 0.0
        self.count = 0

    def __enter__(self) -> "Answers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(15)
        assert self.count, "operator.sock was never asked"

    def _ask(self) -> None:
        while not self._stop.wait(self.EVERY_S):
            began_s = self._site.clock.monotonic()
            answered = self._site.whole_status() is not None
            took_s = self._site.clock.monotonic() - began_s
            self.slowest_s = max(self.slowest_s, took_s if answered else float("inf"))
            self.count += 1
