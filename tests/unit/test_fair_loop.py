"""The tests' own event loop counts waiting and nothing else."""

import asyncio
import socket
import time

import pytest

from support.fair_loop import STEP_S, FairLoop


async def test_the_tests_run_on_it() -> None:
    assert isinstance(asyncio.get_running_loop(), FairLoop)


async def test_a_machine_that_was_busy_elsewhere_costs_no_deadline() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    loop = asyncio.get_running_loop()
    with here, there:
        loop.call_soon(there.send, b"an answer")
        loop.call_soon(time.sleep, 0.2)  # the processor goes to somebody else
        async with asyncio.timeout(0.1):
            assert await loop.sock_recv(here, 9) == b"an answer"


async def test_somebody_silent_costs_the_deadline_as_ever() -> None:
    started_s = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asyncio.Event().wait()
    assert time.monotonic() - started_s >= 0.05 - STEP_S


async def test_time_never_goes_back_and_counts_a_wait_in_full() -> None:
    loop = asyncio.get_running_loop()
    told = [loop.time()]
    for _ in range(20):
        await asyncio.sleep(0.001)
        told.append(loop.time())
    assert told == sorted(told)
    assert told[-1] - told[0] >= 20 * 0.001
