"""What every emulated miner can do on the wire, whatever it speaks."""

import asyncio

import pytest

from firmware_adapters.blueprint.emulator import BlueprintEmulator
from firmware_adapters.blueprint.emulator import Traps as WebTraps
from firmware_adapters.miners.emulator_wire import pieces
from firmware_adapters.miners.luxos.emulator import LuxosEmulator
from firmware_adapters.miners.luxos.emulator_traps import Traps as SocketTraps
from firmware_adapters.transport.http_client import HttpClient
from shared.clock import SystemClock
from support.miners import Machine, on_loopback

ADDRESS = "127.7.8.1"


@pytest.mark.parametrize("size", [0, 1, 2, 4, 5, 6, 1000])
def test_pieces_are_the_whole_reply_in_order(size: int) -> None:
    said = bytes(n % 256 for n in range(size))
    cut = list(pieces(said))
    assert b"".join(cut) == said
    assert all(cut)
    assert len(cut) > 1 or size < 2


async def test_a_socket_s_reply_in_pieces_arrives_in_pieces() -> None:
    emulator = LuxosEmulator(Machine(), clock=SystemClock(), traps=SocketTraps(in_pieces=True))
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        reader, writer = await asyncio.open_connection(ADDRESS, port)
        writer.write(b'{"command":"version"}')
        came = []
        while part := await reader.read(65_536):
            came.append(part)
        writer.close()
        await writer.wait_closed()
    assert len(came) > 1
    assert b"".join(came) == emulator.answer(b'{"command":"version"}')


async def test_each_request_stands_in_the_access_log_with_its_status() -> None:
    emulator, lines = BlueprintEmulator(Machine(), clock=SystemClock()), list[str]()
    emulator.access_log = lines.append
    async with on_loopback({ADDRESS: emulator}) as (port, _):
        http = HttpClient(ADDRESS, port, timeout_s=5)
        assert (await http.request("GET", "/status")).status == 200
        emulator.traps = WebTraps(in_pieces=True)
        assert (await http.request("GET", "/status")).body
        emulator.traps = WebTraps(overloaded=True)
        assert (await http.request("GET", "/status")).status == 429
        emulator.traps = WebTraps(writes_fail=True)
        assert (await http.request("GET", "/status")).status == 200
        assert (await http.request("POST", "/mining", {"run": False})).status == 500
        await http.close()
    assert lines == [
        "GET /status 200",
        "GET /status 200",
        "GET /status 429",
        "GET /status 200",
        "POST /mining 500",
    ]
    assert emulator.machine.view().state.draws_power, "a write that fails does nothing"


async def test_an_overloaded_socket_closes_without_a_word_and_does_nothing() -> None:
    machine, lines = Machine(), list[str]()
    emulator = LuxosEmulator(machine, clock=SystemClock(), traps=SocketTraps(overloaded=True))
    emulator.access_log = lines.append
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        reader, writer = await asyncio.open_connection(ADDRESS, port)
        writer.write(b'{"command":"logon"}')
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert lines == ['{"command":"logon"}']
    assert emulator.session is None
