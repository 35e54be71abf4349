"""Transactions as the rest of the cloud relies on them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cloud.kit import database, paging
from cloud.kit.database import Database
from cloud.kit.problems import BadInput
from support import postgres
from support.chaos_link import Relay
from support.cloud import Bench, batch, migrated, row, said


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


# ---------------------------------------------------------------- a PostgreSQL that falls silent


@pytest.fixture
async def relay(postgres_server: postgres.Server) -> AsyncIterator[Relay]:
    relay = Relay(postgres_server.port)
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture
async def behind(
    relay: Relay, postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """A database behind the relay, whose statements may take three seconds, and patient ones a minute."""
    monkeypatch.setattr(database, "STATEMENT_S", 3.0)
    monkeypatch.setattr(database, "PATIENT_STATEMENT_S", 60.0)
    url = postgres_server.create()
    async with migrated(url):
        pass
    found = Database(url.replace(str(postgres_server.port), str(relay.port)))
    yield found
    relay.cut()
    await found.close()


async def test_a_statement_that_gets_no_answer_ends(relay: Relay, behind: Database) -> None:
    """No RST and no FIN: without an end of its own it would wait until somebody restarts the cloud."""
    bench = Bench(behind)
    await bench.commit(said(batch([row()], 1)))
    relay.silent = True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.commit(said(batch([row("m-02")], 2))), 60)
    relay.silent = False
    assert (await bench.commit(said(batch([row("m-02")], 2)))).new_rows == 1


async def test_a_transaction_that_loses_its_server_midway_ends(relay: Relay, behind: Database) -> None:
    async def halfway() -> None:
        async with behind.write() as session:
            await session.execute(text("SELECT 1"))
            relay.silent = True
            await session.execute(text("SELECT 2"))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(halfway(), 60)


async def test_what_is_long_by_nature_is_not_cut_off(behind: Database) -> None:
    """Retention's days are patient, and migrations (`writer`) take what they take."""
    slow = text("SELECT pg_sleep(4)")
    with pytest.raises(TimeoutError):
        async with behind.read() as session:
            await session.execute(slow)
    async with behind.read(patient=True) as session:
        await session.execute(slow)
    async with behind.write(patient=True) as session:
        await session.execute(slow)
    async with behind.writer.connect() as connection:
        await connection.execute(slow)


async def test_both_ends_ask_whether_the_other_is_still_there(behind: Database) -> None:
    """A pooled connection whose peer is gone is noticed while it waits, and no lock outlives its owner."""
    async with behind.read() as session:
        names = "idle_in_transaction_session_timeout", "tcp_keepalives_idle", "tcp_keepalives_count"
        told = [(await session.execute(text(f"SHOW {name}"))).scalar_one() for name in names]
        assert told == ["10min", "30", "3"]
        raw = await (await session.connection()).get_raw_connection()
        assert raw.driver_connection is not None
        found = raw.driver_connection._transport.get_extra_info("socket")
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == database.KEEP_ALIVE_S
    async with behind.read(patient=True) as session:
        shown = await session.execute(text("SHOW idle_in_transaction_session_timeout"))
        assert shown.scalar_one() == "0", "a day that is copied to the cold tier may pause between its pages"
