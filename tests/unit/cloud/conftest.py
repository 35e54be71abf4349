"""Databases for the cloud's tests: SQLite always, PostgreSQL where the system has it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support import postgres
from support.cloud import Bench, migrated


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    reason = postgres.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgres.server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'cloud.db'}"
    server: postgres.Server = request.getfixturevalue("postgres_server")
    return server.emptied()


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    """A migrated database with a committer, on each engine."""
    async with migrated(database_url) as database:
        yield Bench(database)


@pytest.fixture
async def sqlite_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with migrated(f"sqlite+aiosqlite:///{tmp_path / 'cloud.db'}") as database:
        yield Bench(database)
