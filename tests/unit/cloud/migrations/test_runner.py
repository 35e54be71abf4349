"""Migrations up and down on both engines, and a check that finds what is missing."""

from pathlib import Path

import pytest
from sqlalchemy import text

from cloud.kit.database import Database
from cloud.migrations import runner, versions
from support.cloud import Bench, batch, migrated, row, said, told

STEPS = len(list(Path(versions.__path__[0]).glob("v0*.py")))


async def tables(database: Database) -> set[str]:
    sql = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if database.is_sqlite
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    async with database.read() as session:
        return set((await session.execute(text(sql))).scalars())


async def test_up_leaves_nothing_to_do_and_can_be_repeated(database_url: str) -> None:
    async with migrated(database_url) as database:
        assert await runner.check(database) == []
        await runner.upgrade(database)
        assert {"rollup", "ledger", "sites", "events"} <= await tables(database)


async def test_down_leaves_nothing_behind_even_with_data(database_url: str) -> None:
    async with migrated(database_url) as database:
        await Bench(database).commit(said(batch([row()])))
        await runner.downgrade(database)
        assert await tables(database) - {"alembic_version", "sqlite_sequence"} == set()
        await runner.upgrade(database)
        assert await runner.check(database) == []
        assert (await Bench(database).commit(said(batch([row()])))).new_rows == 1


async def test_each_step_down_and_up(database_url: str) -> None:
    """Every revision alone can be taken back and brought again."""
    async with migrated(database_url) as database:
        for _ in range(STEPS - 1):
            await runner.downgrade(database, "-1")
        assert await tables(database) - {"alembic_version", "rollup"} == set()
        for _ in range(STEPS - 1):
            await runner.upgrade(database, "+1")
        assert await runner.check(database) == []


@pytest.mark.parametrize("spoil", ["DROP TABLE scores", "ALTER TABLE sites ADD COLUMN stray text"])
async def test_the_check_finds_what_differs(database_url: str, spoil: str) -> None:
    async with migrated(database_url) as database:
        async with database.write() as session:
            await session.execute(text(spoil))
        (difference,) = {found.split()[0] for found in await runner.check(database)} - {"('add_index',"}
        assert difference in ("('add_table',", "('remove_column',")


async def test_the_check_names_an_old_revision(database_url: str) -> None:
    async with migrated(database_url) as database:
        await runner.downgrade(database, "-1")
        assert f"revision is {STEPS - 1:04}" in (await runner.check(database))[0]


async def test_a_failed_migration_leaves_the_database_as_it_was(database_url: str) -> None:
    """Both engines have transactional DDL, and both directions use it."""
    database = Database(database_url)
    try:
        async with database.write() as session:
            await session.execute(text("CREATE TABLE models (id integer)"))  # in the way of the last one
        with pytest.raises(Exception, match="models"):
            await runner.upgrade(database)
        assert await tables(database) == {"models"}
    finally:
        await database.close()


async def test_what_the_quarantine_held_before_it_had_a_budget_counts_in_it(database_url: str) -> None:
    async with migrated(database_url) as database:
        bench = Bench(database)
        long_ago = 1_560_000_000_000
        for seq in (1, 2):
            await bench.commit(said(batch([row("m-01", long_ago + seq)], seq)))
        await bench.commit(told("mw/1/north/up/nowhere", b"\x00\xc0"))
        books = "SELECT site, held, held_bytes, turned_away, expired, full_since_ms FROM quarantine_sites"
        whose = "SELECT site, count(*) FROM quarantine GROUP BY site ORDER BY count(*)"
        before = await bench.all(books), await bench.all(whose)
        assert before[1] == [(None, 1), ("north", 2)]
        await runner.downgrade(database, "0015")
        await runner.upgrade(database)
        assert (await bench.all(books), await bench.all(whose)) == before
