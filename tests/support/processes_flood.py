"""A mad agent, as a process of its own so that its madness costs the test nothing. Run as a program.

`processes_flood.py SOCKET FILE KIND`, where KIND is `--rate=N` (N proposals per second, reading what comes),
`--garbage` (frames of noise), `--huge` (a frame that announces 100 MB and goes on and on) or `--stall` (asks
for everything, reads nothing). Connects again when it is thrown out. Frames written so far and times it was
disconnected stand in FILE as two 64-bit numbers.
"""

import os
import random
import select
import socket
import struct
import sys
from collections.abc import Iterator

from edge_agent import ipc
from shared.clock import SystemClock
from shared.commands import Proposal, SetPreset, StopMining
from shared.ids import CommandId
from support.guardian import miner_id

COUNTS = struct.Struct("<QQ")
MINERS = 8
BURST_S = 0.01
RECONNECT_S = 0.05


def proposals() -> Iterator[bytes]:
    """Every one new, most of them absurd."""
    chance = random.Random(5)
    number = 0
    while True:
        number += 1
        device = miner_id(chance.randint(1, MINERS))
        preset = chance.choice(("3080", "1740", "9999", "", "2970"))
        does = StopMining(device=device) if number % 7 == 0 else SetPreset(device=device, preset=preset)
        proposal = Proposal(
            id=CommandId(f"flood-{number}"), policy="mad", actions=(does,), reason="?", ttl_s=30.0
        )
        yield ipc.encode_frame(ipc.Propose(proposal=proposal))


def garbage() -> Iterator[bytes]:
    """Frames of noise of the right length."""
    chance = random.Random(6)
    while True:
        size = chance.randint(1, 2_000)
        yield struct.pack(">I", size) + chance.randbytes(size)


def huge() -> Iterator[bytes]:
    """One frame that never ends."""
    yield struct.pack(">I", 100 * 1024 * 1024)
    while True:
        yield b"\0" * 65_536


def questions() -> Iterator[bytes]:
    """Asks for samples once, and for the whole journal again and again; each answer is long."""
    yield ipc.encode_frame(ipc.SamplesSince(boot="", seq=0))
    while True:
        yield ipc.encode_frame(ipc.JournalSince(cursor=0))


KINDS = {"--garbage": garbage, "--huge": huge, "--stall": questions}


class Mad:
    """Writes what `frames` gives, at most `rate` per second; connects again for ever."""

    def __init__(self, path: str, counts: str, kind: str) -> None:
        self._path = path
        self._clock = SystemClock()
        self._counts = os.open(counts, os.O_WRONLY)
        self._rate = float(kind.removeprefix("--rate=")) if kind.startswith("--rate=") else 2_000.0
        self._make = KINDS.get(kind, proposals)
        self._reads = kind.startswith("--rate=")
        self._written = self._lost = 0

    def _tell(self) -> None:
        os.pwrite(self._counts, COUNTS.pack(self._written, self._lost), 0)

    def run(self) -> None:
        """Until killed."""
        frames = self._make()
        while True:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.connect(self._path)
                    connection.settimeout(5.0)
                    self._pour(connection, frames)
            except OSError:
                self._lost += 1
                self._tell()
                if not self._reads:
                    frames = self._make()
                select.select([], [], [], RECONNECT_S)

    def _pour(self, connection: socket.socket, frames: Iterator[bytes]) -> None:
        due_s = self._clock.monotonic()
        per_burst = max(round(self._rate * BURST_S), 1)
        while True:
            connection.sendall(b"".join(next(frames) for _ in range(per_burst)))
            self._written += per_burst
            self._tell()
            if self._reads:
                self._drain(connection)
            due_s = max(due_s + per_burst / self._rate, self._clock.monotonic() - 1.0)
            select.select([], [], [], max(due_s - self._clock.monotonic(), 0.0))

    @staticmethod
    def _drain(connection: socket.socket) -> None:
        while select.select([connection], [], [], 0.0)[0]:
            if not connection.recv(1 << 20):
                raise ConnectionResetError


if __name__ == "__main__":
    Mad(*sys.argv[1:4]).run()
