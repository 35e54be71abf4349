"""Edge.md §3.1, F15: each emulated device is switched off and on at random and comes back by itself.

All kinds at once, read by the guardian's own poller through the adapters that the registry opens. Its clock
and that of the devices runs `FAST` times as fast as the real one, so that back-offs and breakers, which wait
for half a minute, do so in a second or two; the deadlines of requests are real.
"""

import asyncio
import gc
import importlib.util
import logging
import random
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.errors import AuthFailed, DeviceTimeout, MalformedReply, Unreachable
from shared.telemetry import Sample
from support.power_cycles import Device, Heard, every_kind, polled

pytestmark = pytest.mark.slow

SEED = 15
FAST = 20.0
CYCLES = 20
POLL_S = 4.0
FIRST = "never read"
FAILURES = [kind.code for kind in (DeviceTimeout, MalformedReply, Unreachable, AuthFailed)]
LONGEST_S = 15.0
"""For how long a device is on or off at most before the switch moves again (s, of the fast clock)."""
BACK_S = 600.0
"""A device that is on again is read well within this (s, of the fast clock). By design it takes the longest
pause of poller or breaker, 36 s, and a few requests; the rest is for a machine that is busy elsewhere."""


class Fast:
    """The machine's clock, `FAST` times as fast."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sleep, began_s = asyncio.sleep, time.monotonic()

        async def sleep_less(_: SystemClock, seconds: float) -> None:
            await sleep(seconds / FAST)

        monkeypatch.setattr(SystemClock, "monotonic", lambda _: began_s + (time.monotonic() - began_s) * FAST)
        monkeypatch.setattr(SystemClock, "sleep", sleep_less)


def is_well(device: Device, heard: Heard) -> bool:
    """Whether its newest sample shows what it shows now."""
    newest = heard.of.get(device.name, [])[-1:]
    return bool(newest) and newest[0].failure is None and shows(newest[0], device, device.shown[-1:])


def has_another(device: Device, heard: Heard, than: Sample) -> bool:
    return heard.of[device.name][-1] is not than


def shows(sample: Sample, device: Device, values: list[float]) -> bool:
    read = sample.readings[device.point].value
    return any(read == pytest.approx(value, rel=1e-4) for value in values)


async def storm(device: Device, heard: Heard) -> None:
    """Off and on, `CYCLES` times; after every other start it is waited for until it is read well."""
    chance, clock = random.Random(f"{SEED} {device.name}"), SystemClock()
    for cycle in range(CYCLES):
        if chance.random() < 0.4 and is_well(device, heard):
            whole = heard.of[device.name][-1]
            device.stutter()
            async with asyncio.timeout(BACK_S / FAST):
                await heard.wait_for(partial(has_another, device, heard, whole))
        await device.off(silent=chance.random() < 0.5)
        await clock.sleep(chance.uniform(0.0, LONGEST_S))
        await device.on()
        if cycle % 2 == 0:
            async with asyncio.timeout(BACK_S / FAST):
                await heard.wait_for(lambda: is_well(device, heard))
        await clock.sleep(chance.uniform(0.0, LONGEST_S))


class Lines(logging.Handler):
    """What we log. Of a record that somebody keeps only its text stays: it would keep its error, the error
    its frames, and those their sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), ()
        self.told.append((record.name, record.msg))


@pytest.fixture
def lines() -> Iterator[Lines]:
    kept, ours = Lines(), [logging.getLogger(name) for name in ("edge_agent", "firmware_adapters")]
    for log in ours:
        log.addHandler(kept)
        log.setLevel(logging.INFO)
    yield kept
    for log in ours:
        log.removeHandler(kept)
        log.setLevel(logging.NOTSET)


def changes(samples: list[Sample]) -> tuple[int, int]:
    """How often a device began to fail, or to fail in another way; and how often it answered again."""
    words = [FIRST, *(sample.failure for sample in samples)]
    steps = [(before, now) for before, now in pairwise(words) if before != now]
    return sum(now is not None for _, now in steps), sum(now is None for _, now in steps)


def open_files() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_f15_every_kind_of_device_comes_back_from_any_number_of_power_cuts(
    monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    Fast(monkeypatch)
    unforeseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unforeseen.append(context))
    files_before, tasks_before = open_files(), len(asyncio.all_tasks())

    heard = Heard()
    devices = await every_kind(bacnet=importlib.util.find_spec("bacpypes3") is not None)
    for device in devices:
        await device.on()
    # Every other one decides trips and is never backed off from; the rest waits its turns.
    urgent = frozenset(device.name for device in devices[::2])

    async def all_well() -> tuple[int, int]:
        """Open files and tasks once each is read well."""
        async with asyncio.timeout(BACK_S / FAST):
            await heard.wait_for(lambda: all(is_well(device, heard) for device in devices))
        return open_files(), len(asyncio.all_tasks())

    async with polled(devices, heard, periods_s=POLL_S, urgent=urgent) as links:
        files_at_first, tasks_at_first = await all_well()
        await asyncio.gather(*(storm(device, heard) for device in devices))
        files_at_last, tasks_at_last = await all_well()
        assert all(link.answers for link in links.values())
    for device in devices:
        await device.stop()
    await asyncio.sleep(0)

    assert not unforeseen
    assert (open_files(), len(asyncio.all_tasks())) == (files_before, tasks_before)
    # Between two reads a client may hold its one connection, of which both ends are in this process, or not.
    assert files_at_last <= files_at_first + 2 * len(devices)
    assert tasks_at_last <= tasks_at_first + len(devices)
    assert len(heard.kept) <= len(devices)
    for device in devices:
        as_told(device, heard.of[device.name], lines)


def as_told(device: Device, samples: list[Sample], lines: Lines) -> None:
    """No value that was not so, a recovery per start that was waited for, and a line per change of mind."""
    assert device.starts == 1 + CYCLES
    assert all(shows(sample, device, device.shown) for sample in samples if sample.failure is None)
    began, ended = changes(samples)
    assert ended >= 1 + CYCLES // 2
    told = [text for name, text in lines.told if text.startswith(f"{device.name}: ")]
    again = [text for text in told if ": answers again after " in text]
    assert len(again) == ended - 1, "nobody is told of a first answer"
    failing = [
        text for text in told if text.startswith(tuple(f"{device.name}: {code}: " for code in FAILURES))
    ]
    assert len(failing) == began
    # What is left are the rarer reads that failed, and a miner that is read another way meanwhile.
    assert len(told) - len(again) - len(failing) <= 3 * CYCLES
