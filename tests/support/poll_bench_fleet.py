"""Emulated VNish machines for polling benchmarks, with a count of what they were asked: a process.

    python -P -m support.poll_bench_fleet MINERS PORT

Machine N stands at `address(N)`, HTTP on PORT and its command socket where VNish has it. Each line on
standard input is answered by one with the counts since the last; the process ends with its input.
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections import Counter

import msgspec
from aiohttp import web

from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.simulator.doors import MinerDoors
from shared.clock import Clock, SystemClock
from support.miners import Machine, s21_pro

PER_NET = 200


class Counts(msgspec.Struct, kw_only=True):
    """Requests since the last look: by HTTP path, and commands on the socket."""

    http: dict[str, int] = {}
    socket: int = 0


def address(number: int) -> str:
    """Where machine `number` (from 0) stands; up to 51,000 of them."""
    return f"127.94.{number // PER_NET}.{number % PER_NET + 1}"


class _Counted(VnishEmulator):
    """Counts what reaches the machine, whoever asks."""

    def __init__(self, machine: Machine, http: "Counter[str]", socket: "Counter[str]", clock: Clock) -> None:
        super().__init__(machine, clock=clock)
        self._http = http
        self._connections = socket

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """See `WebEmulator.handle`."""
        self._http[request.path] += 1
        return await super().handle(request)

    async def handle_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `SocketEmulator.handle_socket`."""
        self._connections["all"] += 1
        await super().handle_socket(reader, writer)


class Fleet:
    """All machines behind one door."""

    def __init__(self, miners: int, port: int) -> None:
        clock = SystemClock()
        self._http: Counter[str] = Counter()
        self._socket: Counter[str] = Counter()
        self._doors = MinerDoors(
            {
                (address(number), port): _Counted(_machine(number), self._http, self._socket, clock)
                for number in range(miners)
            },
            clock=clock,
        )

    async def serve(self) -> None:
        """Answer until standard input ends."""
        self._doors.open()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        self._say()
        while await reader.readline():
            self._say()
        await self._doors.close()

    def _say(self) -> None:
        counts = Counts(http=dict(self._http), socket=self._socket.total())
        self._http.clear()
        self._socket.clear()
        os.write(1, msgspec.json.encode(counts) + b"\n")


def _machine(number: int) -> Machine:
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    return Machine(s21_pro(mac=mac, serial=f"SN{number:05d}", hostname=f"m-{number}"))


def main() -> None:
    """Serve as many machines as the command line says."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Fleet(int(sys.argv[1]), int(sys.argv[2])).serve())


if __name__ == "__main__":
    main()
