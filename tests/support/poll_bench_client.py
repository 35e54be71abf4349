"""A client library polling a fleet, in a process of its own: nobody else's processor time is in the result.

    python -P -m support.poll_bench_CLIENT MODE SECONDS PORT ADDRESS...

MODE is `saturated` (`AT_A_TIME` polls always under way) or `paced` (each machine every `PERIOD_S`). Everybody
identifies the machines first and polls each once; then says "ready", and measures when a line comes on
standard input. One JSON object on standard output tells what was seen. Peers run in their own environments,
so nothing but the standard library is imported here.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

AT_A_TIME = 64
PERIOD_S = 10.0
HASHRATE_THS = (150.0, 250.0)
"""Between these every emulated machine is; a poll that brings another number, or none, has failed."""

Poll = Callable[[], Awaitable[float]]
"""One poll of one machine; its hashrate in TH/s."""
Opener = Callable[[str, int], Awaitable[Poll]]
"""Identifies the machine at an address and a port."""


class Count:
    """What became of the polls of one measurement."""

    def __init__(self) -> None:
        self.polls = 0
        self.failed = 0
        self.why = ""
        self.took_s: list[float] = []

    async def one(self, poll: Poll) -> None:
        """Poll once, and note how it went."""
        began_s = time.perf_counter()
        try:
            hashrate_ths = await poll()
        except Exception as error:  # noqa: BLE001 - whatever a library raises is one failed poll
            self._fail(repr(error))
        else:
            if not HASHRATE_THS[0] <= hashrate_ths <= HASHRATE_THS[1]:
                self._fail(f"{hashrate_ths} TH/s")
        self.polls += 1
        self.took_s.append(time.perf_counter() - began_s)

    def _fail(self, why: str) -> None:
        self.failed += 1
        self.why = why


async def all_once(polls: list[Poll], count: Count) -> None:
    """Each machine once, `AT_A_TIME` under way."""
    left = iter(polls)

    async def worker() -> None:
        for poll in left:
            await count.one(poll)

    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))


async def saturated(polls: list[Poll], count: Count, seconds: float) -> None:
    """Round after round until the time is over."""
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        await all_once(polls, count)


async def paced(polls: list[Poll], count: Count, seconds: float) -> None:
    """Each machine every `PERIOD_S`, evenly spread, as a poller does."""
    began_s = time.perf_counter()

    async def device(number: int, poll: Poll) -> None:
        due_s = began_s + PERIOD_S * number / len(polls)
        while due_s < began_s + seconds:
            await asyncio.sleep(max(due_s - time.perf_counter(), 0.0))
            await count.one(poll)
            due_s += PERIOD_S

    await asyncio.gather(*(device(number, poll) for number, poll in enumerate(polls)))


def cpu_s() -> float:
    """User and system time of this process, all threads, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Resident memory at its peak, MB. Not `ru_maxrss`: over fork and exec that begins with the parent's."""
    words = Path("/proc/self/status").read_text(encoding="ascii").split()
    return int(words[words.index("VmHWM:") + 1]) * 1.024e-3


async def _run(opener: Opener, mode: str, seconds: float, port: int, addresses: list[str]) -> None:
    opening = asyncio.Semaphore(8)

    async def opened(address: str) -> Poll:
        async with opening:
            return await opener(address, port)

    polls = list(await asyncio.gather(*(opened(address) for address in addresses)))
    await all_once(polls, Count())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    count, began_s, used_s = Count(), time.perf_counter(), cpu_s()
    await (saturated if mode == "saturated" else paced)(polls, count, seconds)
    used_s, wall_s = cpu_s() - used_s, time.perf_counter() - began_s
    ranked = sorted(count.took_s)
    told = {
        "polls": count.polls,
        "failed": count.failed,
        "why": count.why,
        "cpu_ms": used_s * 1000 / max(count.polls, 1),
        "wall_s": wall_s,
        "p50_ms": ranked[len(ranked) // 2] * 1000,
        "p99_ms": ranked[len(ranked) * 99 // 100] * 1000,
        "rss_mb": peak_mb(),
    }
    print(json.dumps(told), flush=True)


def main(opener: Opener, words: list[str]) -> None:
    """Do what the command line says: MODE SECONDS PORT ADDRESS..."""
    asyncio.run(_run(opener, words[0], float(words[1]), int(words[2]), words[3:]))
