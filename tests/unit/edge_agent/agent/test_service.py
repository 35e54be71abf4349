"""The supervisor and systemd's side of it."""

import asyncio
import socket
from pathlib import Path

import pytest

from edge_agent.agent.notify import Watchdog, notify
from edge_agent.agent.service import Service, full_jitter, run_all
from shared.clock import ManualClock, SystemClock
from shared.errors import StoreError


class Flaky(Service):
    """Fails a number of times, then runs for good."""

    name = "flaky"

    def __init__(self, clock: ManualClock, failures: int) -> None:
        super().__init__(clock)
        self.failures = failures
        self.starts = 0
        self.well = asyncio.Event()

    async def run(self) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise StoreError("no room")
        self.well.set()
        await asyncio.Event().wait()


async def test_a_part_that_fails_is_started_again_and_its_error_is_kept() -> None:
    clock = ManualClock()
    part = Flaky(clock, failures=5)
    task = asyncio.create_task(part.supervise())
    async with asyncio.timeout(5):
        while not part.well.is_set():
            clock.advance(31)
            await asyncio.sleep(0)
    assert (part.starts, part.restarts) == (6, 5)
    assert part.last_error == "StoreError: no room"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_part_that_returns_is_started_again_too() -> None:
    class Short(Flaky):
        async def run(self) -> None:
            self.starts += 1
            if self.starts > 2:
                self.well.set()
                await asyncio.Event().wait()

    clock = ManualClock()
    part = Short(clock, 0)
    task = asyncio.create_task(part.supervise())
    async with asyncio.timeout(5):
        while not part.well.is_set():
            clock.advance(31)
            await asyncio.sleep(0)
    assert part.last_error == "returned"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_parts_end_in_reverse_order() -> None:
    ended: list[str] = []

    class Part(Service):
        def __init__(self, name: str) -> None:
            super().__init__(SystemClock())
            self.name = name

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(self.name)

    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run_all([Part("a"), Part("b"), Part("c")], stop, on_ready=ready.set))
    await ready.wait()
    await asyncio.sleep(0)
    stop.set()
    await task
    assert ended == ["c", "b", "a"]


def test_waits_are_jittered_growing_and_capped() -> None:
    for attempt in (0, 1, 5, 1_000_000):
        waits = [full_jitter(attempt, first_s=0.5, cap_s=30) for _ in range(200)]
        assert min(waits) >= 0
        assert max(waits) <= min(30, 0.5 * 2.0 ** min(attempt, 32))
        assert max(waits) - min(waits) > 0


class TestNotify:
    def test_nobody_listens(self) -> None:
        assert not notify("READY=1", environ={})
        assert not notify("READY=1", environ={"NOTIFY_SOCKET": "/nowhere/at/all"})

    @pytest.mark.parametrize("abstract", [False, True])
    def test_the_message_arrives(self, tmp_path: Path, abstract: bool) -> None:
        name = f"@minewarden-test-{tmp_path.name}" if abstract else str(tmp_path / "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind("\0" + name[1:] if abstract else name)
            assert notify("READY=1\nSTATUS=up", environ={"NOTIFY_SOCKET": name})
            assert listener.recv(100) == b"READY=1\nSTATUS=up"

    def test_the_watchdog_is_silent_while_a_part_is_stuck(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = ManualClock()
        part = Flaky(clock, 0)
        path = str(tmp_path / "notify.sock")
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        dog = Watchdog(clock, [part])
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(path)
            assert dog.beat()
            assert listener.recv(100) == b"WATCHDOG=1"
            clock.advance(part.stall_s + 1)
            assert not dog.beat()
            assert listener.recv(100) == b"STATUS=stuck: flaky"
            part.tick()
            assert dog.beat()
