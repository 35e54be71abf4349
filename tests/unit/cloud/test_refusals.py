"""Refused HTTP requests are counted, and told in bounded words."""

import logging
from pathlib import Path
from typing import Any

import pytest

from cloud.kit.refusals import TELL_S, Refusals
from shared.clock import ManualClock
from support.cloud import service


async def answer(refusals: Refusals, status: int, path: str = "/api/v1/sites") -> None:
    async def send(_message: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": path, "client": ("10.0.0.9", 4711)}
    await refusals.heeding(scope, send)({"type": "http.response.start", "status": status})


async def test_what_was_answered_well_or_failed_here_is_no_refusal() -> None:
    refusals = Refusals(ManualClock())
    for status in (200, 206, 304, 500, 503):
        await answer(refusals, status)
    assert not refusals.by_status


async def test_a_storm_is_counted_in_full_and_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    refusals = Refusals(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(1_000):
            await answer(refusals, 401)
        await answer(refusals, 413)
        clock.advance(TELL_S)
        await answer(refusals, 401)
    assert refusals.by_status == {401: 1_001, 413: 1}
    told = [record.message for record in caplog.records]
    assert len(told) == 3
    assert "401: POST '/api/v1/sites' from 10.0.0.9; 1 of this status" in told[0]
    assert "1000 of this status" in told[2]


async def test_a_path_makes_no_line_of_its_own_and_no_long_one(caplog: pytest.LogCaptureFixture) -> None:
    await answer(Refusals(ManualClock()), 404, "/x\n2026 CRITICAL all is well" + "x" * 10_000)
    [record] = caplog.records
    assert "\n" not in record.message
    assert len(record.message) < 300


async def test_the_guard_heeds_every_request(tmp_path: Path) -> None:
    async with service(tmp_path) as cloud:
        await cloud.client.post("/api/v1/commands/plans", json={}, headers={"Authorization": "Bearer wrong"})
        await cloud.client.get("/api/v1/sites/nowhere")
        assert cloud.context.refusals.by_status == {401: 1, 404: 1}
