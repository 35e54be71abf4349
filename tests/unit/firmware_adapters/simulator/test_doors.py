"""Thousands of addresses behind one socket, and nothing for anybody who does not come over loopback."""

import asyncio
import socket

import aiohttp
import pytest

from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.doors import MinerDoors, WildcardDoor, socket_port
from firmware_adapters.simulator.site_file import parse_site
from shared.clock import SystemClock
from support.ports import free_port
from support.site_devices import site_tables


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the way to the steady state is enough here, and saves most of the time."""
    monkeypatch.setattr(plant_build, "SETTLE_S", 200.0)


def own_address() -> str | None:
    """An address of this host that is not loopback; choosing a route sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


async def doors(net: str) -> tuple[MinerDoors, int, dict[tuple[str, int], VnishEmulator]]:
    port = free_port()
    site = Simulator(parse_site(site_tables(miners=3, net=net, miner_port=port), "x"))
    places = {(f"{net}.1.{n}", port): site.miners[f"m-0{n}"] for n in (1, 2, 3)}
    return MinerDoors(places, clock=SystemClock()), port, places


async def test_each_address_is_its_own_machine() -> None:
    served, port, _ = await doors("127.81")
    served.open()
    async with aiohttp.ClientSession() as session:
        names = []
        for n in (1, 2, 3):
            async with session.get(f"http://127.81.1.{n}:{port}/api/v1/info") as reply:
                body = await reply.json()
                names.append(body["serial"])
                assert body["system"]["network_status"]["ip"] == f"127.81.1.{n}"
    await served.close()
    assert len(set(names)) == 3


async def test_an_address_without_a_machine_is_cut_off() -> None:
    served, port, _ = await doors("127.82")
    served.open()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.82.9.9:{port}/api/v1/info")
    await served.close()


async def test_the_cgminer_socket_stands_beside_it() -> None:
    served, port, _ = await doors("127.83")
    served.open()
    reader, writer = await asyncio.open_connection("127.83.1.2", socket_port(port))
    writer.write(b'{"command":"stats"}')
    reply = await reader.read()
    writer.close()
    await served.close()
    assert reply.endswith(b"\0")
    assert b"S19j Pro" in reply


async def test_connections_that_are_not_loopback_are_closed_unread() -> None:
    """The kernel gives this host's own addresses; any that is not loopback must be refused."""
    outside = own_address()
    if outside is None:
        pytest.skip("this machine has no address beside loopback")
    made: list[asyncio.Protocol] = []

    def protocol() -> asyncio.Protocol:
        made.append(asyncio.Protocol())
        return made[-1]

    door = WildcardDoor(free_port(), protocol, clock=SystemClock())
    door.open()
    reader, writer = await asyncio.open_connection(outside, door.port)
    assert await reader.read() == b""
    writer.close()
    await door.close()
    assert door.refused == 1
    assert made == []


async def test_a_taken_port_is_an_error_at_once() -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        door = WildcardDoor(holder.getsockname()[1], asyncio.Protocol, clock=SystemClock())
        with pytest.raises(OSError, match="in use"):
            door.open()
