"""Transactions as the rest of the cloud relies on them."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cloud.kit import paging
from cloud.kit.problems import BadInput
from support.cloud import Bench


async def count(bench: Bench) -> int:
    return int(await bench.one("SELECT count(*) FROM zone_status"))


async def add(bench: Bench, zone: str) -> None:
    async with bench.database.write() as session:
        await session.execute(
            text("INSERT INTO zone_status (site, zone, at_ms, data) VALUES ('s', :zone, 1, '{}')"),
            {"zone": zone},
        )


async def test_a_write_that_raises_is_rolled_back(bench: Bench) -> None:
    async def failing() -> None:
        async with bench.database.write() as session:
            await session.execute(
                text("INSERT INTO zone_status (site, zone, at_ms, data) VALUES ('s', 'z', 1, '{}')")
            )
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        await failing()
    assert await count(bench) == 0


async def test_many_writers_wait_for_each_other(bench: Bench) -> None:
    await asyncio.gather(*(add(bench, f"z{number}") for number in range(20)))
    assert await count(bench) == 20


async def test_readers_go_on_while_a_write_is_open(bench: Bench) -> None:
    async with bench.database.write() as session:
        await session.execute(
            text("INSERT INTO zone_status (site, zone, at_ms, data) VALUES ('s', 'z', 1, '{}')")
        )
        assert await count(bench) == 0
    assert await count(bench) == 1


async def test_sqlite_is_durable_and_its_readers_cannot_write(sqlite_bench: Bench) -> None:
    async with sqlite_bench.database.write() as session:
        assert (await session.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await session.execute(text("PRAGMA synchronous"))).scalar_one() == 2, "FULL"
    async with sqlite_bench.database.read() as session:
        with pytest.raises(DBAPIError, match="readonly"):
            await session.execute(text("DELETE FROM sites"))


@pytest.mark.parametrize("pair", [(0, 0), (1_780_000_000_000, 7), (2**62, 2**62)])
def test_a_cursor_comes_back_as_it_went(pair: tuple[int, int]) -> None:
    assert paging.decode(paging.encode(*pair)) == pair


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "MS4y4", "LTEuMg", "MS4yLjM", "é"])
def test_a_foreign_cursor_is_bad_input(cursor: str) -> None:
    with pytest.raises(BadInput):
        paging.decode(cursor)
