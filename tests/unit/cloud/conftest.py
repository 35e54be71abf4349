"""Databases for the cloud's tests: SQLite always, PostgreSQL where the system has it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloud.kit.database import Database
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


def _migrate(url: str) -> None:
    async def run() -> None:
        async with migrated(url):
            pass

    asyncio.run(run())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy; migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "cloud.db"
    _migrate(f"sqlite+aiosqlite:///{path}")
    return path


def _copy(template: Path, folder: Path) -> str:
    shutil.copy(template, folder / "cloud.db")
    return f"sqlite+aiosqlite:///{folder / 'cloud.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> str:
    """A database of each engine with this version's tables."""
    if request.param == "sqlite":
        return _copy(sqlite_template, tmp_path)
    server: postgres.Server = request.getfixturevalue("postgres_server")
    return server.copied(_migrate)


@pytest.fixture
async def bench(migrated_url: str) -> AsyncIterator[Bench]:
    """A migrated database with a committer, on each engine."""
    database = Database(migrated_url)
    yield Bench(database)
    await database.close()


@pytest.fixture
async def sqlite_bench(tmp_path: Path, sqlite_template: Path) -> AsyncIterator[Bench]:
    database = Database(_copy(sqlite_template, tmp_path))
    yield Bench(database)
    await database.close()
