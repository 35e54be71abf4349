"""A scan of a loopback range: who is there, what is proposed, and that it ends in time."""

import asyncio
import errno
import tomllib

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.machine import Machine, numbered
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.proposal import fragment
from firmware_adapters.discovery.scan import Scan, Scanned, nothing_found, same_macs
from shared.clock import SystemClock
from support.mixed_site import FIRMWARES, PASSWORD
from support.probe_fleet import fleet

CLOCK = SystemClock()
LOOK = Look(sample=False)


async def test_a_mixed_fleet_is_found_by_what_each_machine_is() -> None:
    seen: list[tuple[int, int]] = []
    async with fleet("127.86.0") as machines, Asker(connect_s=0.5, reply_s=2.0) as asker:
        port = next(iter(machines.values())).port
        hosts = [f"127.86.0.{n}" for n in range(1, 31)]
        scan = Scan(
            asker, Look(credential=Credential(user=None, secret=PASSWORD), sample=False), CLOCK, port=port
        )
        scanned = await scan.run(
            hosts, at_once=8, deadline_s=30.0, on_progress=lambda *done: seen.append(done)
        )
        commands = [command for one in machines.values() for command in one.machine.commands]
        macs = {one.adapter: one.machine.seen.mac.lower() for one in machines.values()}
    assert commands == [], "not one write"
    assert tuple(one.adapter for one in scanned.machines) == FIRMWARES, "in the order of their addresses"
    assert {one.adapter: one.mac for one in scanned.machines} == macs
    assert (scanned.asked, scanned.unasked, scanned.unknown) == (30, 0, ())
    assert sum(scanned.reasons.values()) == 30 - len(FIRMWARES)
    assert seen[-1] == (30, len(FIRMWARES))
    text = fragment(numbered(scanned.machines, frozenset()), at="now", asked="127.86.0.0/27")
    assert [one["adapter"] for one in tomllib.loads(text)["devices"]] == list(FIRMWARES)


async def test_the_deadline_ends_a_scan_with_what_is_known_by_then() -> None:
    """Machines that accept and never answer: each would cost its time-outs."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]
    began_s = CLOCK.monotonic()
    async with Asker(connect_s=1.0, reply_s=20.0) as asker:
        scan = Scan(asker, LOOK, CLOCK, port=port)
        scanned = await scan.run([f"127.86.1.{n}" for n in range(1, 101)], at_once=20, deadline_s=0.4)
    took_s = CLOCK.monotonic() - began_s
    server.close()
    await server.wait_closed()
    assert took_s < 5.0
    assert (scanned.asked, scanned.unasked) == (0, 100)
    assert scanned.machines == ()


async def test_so_many_at_a_time_and_no_more() -> None:
    now, most = 0, 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await reader.read(100)
        await asyncio.sleep(0)
        now -= 1
        writer.close()

    server = await asyncio.start_server(counting, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]
    async with Asker(connect_s=1.0, reply_s=2.0) as asker:
        scan = Scan(asker, LOOK, CLOCK, port=port)
        scanned = await scan.run([f"127.86.2.{n}" for n in range(1, 41)], at_once=4, deadline_s=30.0)
    server.close()
    await server.wait_closed()
    assert scanned.asked == 40
    assert most <= 4 * 3, "three sockets an address"


async def test_a_network_in_which_nobody_is_gets_a_clear_sentence() -> None:
    async with Asker(connect_s=0.3, reply_s=0.5) as asker:
        scan = Scan(asker, LOOK, CLOCK, port=9)
        scanned = await scan.run(["127.86.3.1", "127.86.3.2"], at_once=2, deadline_s=5.0)
    assert nothing_found(scanned, "127.86.3.0/30") == (
        "nothing answers in 127.86.3.0/30: 2 addresses asked (2 × connection refused); "
        "computers are there, but no miner answers: is the port right?"
    )


@pytest.mark.parametrize(
    ("reasons", "unknown", "says"),
    [
        (
            {"Network is unreachable": 254},
            (),
            "nothing answers in 10.9.9.0/24: 254 addresses asked (254 × Network is unreachable); "
            "is this computer in that network, and do the machines have power?",
        ),
        (
            {"no answer in time": 253},
            ("10.9.9.1",),
            "no miner that we know in 10.9.9.0/24: 254 addresses asked (253 × no answer in time), "
            "1 answer as something else",
        ),
    ],
)
def test_why_nothing_was_found(reasons: dict[str, int], unknown: tuple[str, ...], says: str) -> None:
    scanned = Scanned(machines=(), unknown=unknown, asked=254, unasked=0, reasons=reasons)
    assert nothing_found(scanned, "10.9.9.0/24") == says


def test_machines_with_one_mac_are_pointed_out() -> None:
    machines = tuple(
        Machine(host=f"10.0.1.{n}", port=80, adapter="vnish", mac=mac)
        for n, mac in enumerate(
            ("aa:bb:cc:00:00:01", "", "aa:bb:cc:00:00:01", "", "aa:bb:cc:00:00:02"), start=1
        )
    )
    assert same_macs(machines) == [
        "10.0.1.1:80, 10.0.1.3:80 all tell the MAC aa:bb:cc:00:00:01: "
        "one machine with several addresses, or cloned firmware"
    ]


async def test_a_network_without_a_route_is_told_in_the_kernels_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_route(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(asyncio, "open_connection", no_route)
    async with Asker(connect_s=0.3, reply_s=0.5) as asker:
        found = await probe(asker, "127.86.6.1", 4028, LOOK, CLOCK)
    assert list(found.silent.values()) == ["Network is unreachable"]


async def test_something_that_is_no_miner_is_named_by_its_address() -> None:
    async def printer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nPrinter!")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(printer, "127.86.4.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Asker(connect_s=0.5, reply_s=1.0) as asker:
        scanned = await Scan(asker, LOOK, CLOCK, port=port).run(["127.86.4.1"], at_once=1, deadline_s=10.0)
    server.close()
    await server.wait_closed()
    assert scanned.unknown == ("127.86.4.1",)
    assert scanned.machines == ()


async def test_a_fault_of_ours_ends_the_scan_and_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Asker() as asker:
        scan = Scan(asker, Look(adapter="nothing"), CLOCK, port=9)
        with pytest.raises(Exception, match="no miner firmware named 'nothing'"):
            await scan.run(["127.86.5.1"], at_once=1, deadline_s=5.0)
