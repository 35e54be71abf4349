"""Edge.md §3.1, F25: an engine per request made pollers slow. What a poll costs is counted, not timed.

Counted are calls of Python and C functions, without the emulated agent's own: the same number in every run on
any machine. A budget is what was counted when it was written, and half as much again.
The last tests show that the count would tell: with an engine, a session or a connection per request it is
far beyond each budget.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import pytest

from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.transport import modbus_session
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_serial import parse_line
from firmware_adapters.transport.snmp import SnmpLink, open_link
from firmware_adapters.transport.snmp_user import Access, access_of
from shared.clock import ManualClock
from support.site_devices import HOST

STATE = "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5."
TEN = [f"{STATE}{outlet}" for outlet in range(1, 11)]
V2C: Access = "public"
V3 = access_of("switch", "sha256 correct-horse aes battery-staple")
POLLS = 10
HEAD_ROOM = 1.5
COUNTED = {
    ("gufo", "v2c"): 380,
    ("gufo", "v3"): 380,
    ("pysnmp", "v2c"): 7_460,
    ("pysnmp", "v3"): 9_960,
}
"""Calls per poll of ten objects. gufo does its work in Rust, which no profiler sees: that it is given nothing
to do anew shows in `MADE`."""
MODBUS_COUNTED = 324
"""The same for ten registers in one request."""
MADE = (
    "SnmpSession.__init__",
    "_user_of",
    "V2cSpeaker.__init__",
    "_Endpoint.__init__",
    "V3Speaker.__init__",
    "_Wire.__init__",
    "SnmpEngine.__init__",
    "hash_passphrase",
    "Session.__init__",
)
"""Sessions, engines, sockets and connections, and keys made of passphrases (a megabyte of hashing each,
RFC 3414 §A.2)."""
ANEW = {
    ("gufo", "v2c"): ("SnmpSession.__init__",),
    ("gufo", "v3"): ("SnmpSession.__init__", "_user_of"),
    ("pysnmp", "v2c"): ("V2cSpeaker.__init__", "_Endpoint.__init__"),
    ("pysnmp", "v3"): ("V3Speaker.__init__", "_Wire.__init__", "SnmpEngine.__init__"),
}
"""What a link per request makes each time."""
KEYS = dict.fromkeys(ANEW, ()) | {("pysnmp", "v3"): ("hash_passphrase",)}
"""Twice: to authenticate and to hide."""
backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
versions = pytest.mark.parametrize(("version", "access"), [("v2c", V2C), ("v3", V3)], ids=["v2c", "v3"])


class Calls:
    """How many functions were called, and how often those in `MADE`."""

    def __init__(self) -> None:
        self.count = 0
        self.made: Counter[str] = Counter()

    def note(self, frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1
            name = frame.f_code.co_qualname
            if event == "call" and name in MADE:
                self.made[name] += 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is called inside."""
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(None)


@pytest.fixture(autouse=True)
def _in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine is made in another thread, whose calls would not be counted."""

    async def here(do: Callable[..., object], *arguments: object) -> object:
        return do(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", here)


@asynccontextmanager
async def uncounted_agent() -> AsyncIterator[SnmpAgent]:
    """An agent whose own work does not count."""
    source = DictSource({"power_w": 12_340.0} | {f"outlet_on.{outlet}": 1.0 for outlet in range(1, 11)})
    users = () if isinstance(V3, str) else (V3,)

    class Quiet(SnmpAgent):
        def answer(self, data: bytes) -> bytes | None:
            profiler = sys.getprofile()
            sys.setprofile(None)
            try:
                return super().answer(data)
            finally:
                sys.setprofile(profiler)

    agent = Quiet(HOST, 0, load_profile("apc-rpdu2"), source, users=users)
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()


async def cost(poll: Callable[[], Awaitable[object]]) -> tuple[float, Counter[str]]:
    """Calls per poll, and what was made anew in all of them."""
    calls = Calls()
    with calls.counted():
        for _ in range(POLLS):
            await poll()
    return calls.count / POLLS, calls.made


async def ask(link: SnmpLink) -> None:
    assert len(await link.get(TEN, timeout_s=5)) == len(TEN)


@backends
@versions
async def test_f25_a_poll_of_ten_objects_stays_within_its_budget(
    backend: str, version: str, access: Access
) -> None:
    async with uncounted_agent() as agent:
        link = open_link(HOST, agent.port, access, backend=backend)
        await ask(link)
        calls, made = await cost(lambda: ask(link))
        await link.close()
    assert calls <= HEAD_ROOM * COUNTED[backend, version]
    assert not made


@backends
@versions
async def test_f25_the_count_would_tell_of_an_engine_or_a_session_per_request(
    backend: str, version: str, access: Access
) -> None:
    async with uncounted_agent() as agent:

        async def anew() -> None:
            link = open_link(HOST, agent.port, access, backend=backend)
            await ask(link)
            await link.close()

        await anew()
        calls, made = await cost(anew)
    assert made == dict.fromkeys(ANEW[backend, version], POLLS) | dict.fromkeys(
        KEYS[backend, version], 2 * POLLS
    )
    # A session of v2c is a socket and no more: there the calls hardly tell, and what was made does.
    assert version == "v2c" or calls > HEAD_ROOM * COUNTED[backend, version]


class Told(asyncio.Transport):
    """A Modbus unit that answers at once, without a socket: ten registers."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        reply = bytes(data[:4]) + b"\0\x17" + bytes(data[6:8]) + b"\x14" + bytes(20)
        asyncio.get_running_loop().call_soon(self._protocol.data_received, reply)

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return False


async def test_f25_a_poll_of_ten_registers_stays_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(protocol: Callable[[], Any], *_: object) -> tuple[Told, Any]:
        made = protocol()
        transport = Told(made)
        made.connection_made(transport)
        return transport, made

    monkeypatch.setattr(modbus_session, "open_serial", opened)

    def connection() -> ModbusConnection:
        return ModbusConnection("memory", line=parse_line("9600 8N1"), clock=ManualClock())

    async def asked(link: ModbusConnection) -> None:
        assert await link.read(1, Span(Table.INPUT, 0, 10), timeout_s=5) == (0,) * 10

    async def anew() -> None:
        link = connection()
        await asked(link)
        await link.close()

    link = connection()
    await asked(link)
    calls, made = await cost(lambda: asked(link))
    await link.close()
    assert calls <= HEAD_ROOM * MODBUS_COUNTED
    assert not made
    calls, made = await cost(anew)
    assert calls > HEAD_ROOM * MODBUS_COUNTED, "a connection per request would be noticed"
    assert made == {"Session.__init__": POLLS}
