"""One line per measurement: ours and a peer, measured in turns in the same run, on a machine that is named.

Absolute numbers of a shared machine mean little; the ratio to something well known, measured in the same
minute, means something. Ours and the peer take turns, so that a slow moment hits both.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

REPEATS = 7
PACKAGES = ("numpy", "onnxruntime", "torch", "aiohttp", "sqlalchemy", "asyncpg")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark line. `ratio` is `value / peer_value`, both medians over `median_of` turns.

    `n` is the size of the problem (miners, rows per batch). `more` holds what else was seen.
    """

    benchmark: str
    value: float
    unit: str
    ratio: float
    peer: str
    peer_value: float
    median_of: int
    n: int
    machine: dict[str, str | int | float]
    more: dict[str, str | int | float] = {}


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """What every turn gave, ours and the peer's, in the same unit."""

    ours: tuple[float, ...]
    peers: tuple[float, ...]

    def line(
        self,
        benchmark: str,
        *,
        unit: str,
        peer: str,
        n: int,
        more: dict[str, str | int | float] | None = None,
    ) -> Line:
        """The medians as a line."""
        value, peer_value = statistics.median(self.ours), statistics.median(self.peers)
        return Line(
            benchmark=benchmark,
            value=rounded(value),
            unit=unit,
            ratio=rounded(value / peer_value),
            peer=peer,
            peer_value=rounded(peer_value),
            median_of=len(self.ours),
            n=n,
            machine=machine(),
            more=more or {},
        )


def rounded(value: float) -> float:
    """Four digits: what is behind them is noise."""
    return float(f"{value:.4g}")


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, s."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(
    ours: Callable[[], float], peer: Callable[[], float], *, repeats: int = REPEATS, warm_up: int = 1
) -> Turns:
    """Call both in turns; each returns what it measured. The first `warm_up` rounds do not count."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(warm_up + repeats):
        mine.append(ours())
        theirs.append(peer())
    return Turns(ours=tuple(mine[warm_up:]), peers=tuple(theirs[warm_up:]))


def machine() -> dict[str, str | int | float]:
    """What ran: processor, cores that this process may use, load, versions."""
    facts: dict[str, str | int | float] = {
        "model": _processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    return facts


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def written_bytes() -> int:
    """Bytes that this process caused to be written to storage so far (Linux, /proc/self/io)."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/io has no write_bytes")


def chunked(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in parts of `size`; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
