"""One door to the database: `read()` for queries, `write()` for one transaction.

SQLite allows one writer at a time, so writes queue on a lock in this process and begin with
`BEGIN IMMEDIATE`; readers use their own connections and never block (WAL). Durability is FULL: an
acknowledgement to a site follows the commit, and the site then deletes its copy. PostgreSQL needs none
of this and uses one pool.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

SQLITE_BUSY_MS = 10_000
SQLITE_CACHE_KIB = 32 * 1024
SQLITE_CHECKPOINT_PAGES = 8_000
"""Of 4 KiB."""


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


_JSON: dict[str, Any] = {"json_serializer": _to_json, "json_deserializer": msgspec.json.decode}
"""The newest row of each device is JSON, so at thousands of devices the encoder shows."""


class Database:
    """The two ways in. `url` is an SQLAlchemy URL of `sqlite+aiosqlite` or `postgresql+asyncpg`."""

    def __init__(self, url: str, *, password: str | None = None) -> None:
        parsed = make_url(url)
        if password is not None:
            parsed = parsed.set(password=password)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite:
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._writer = create_async_engine(parsed, pool_size=1, max_overflow=0, **_JSON)
            self._reader = create_async_engine(parsed, pool_size=4, max_overflow=4, **_JSON)
            _set_up_sqlite(self._writer, begin="BEGIN IMMEDIATE", read_only=False)
            _set_up_sqlite(self._reader, begin="BEGIN", read_only=True)
        else:
            self._writer = create_async_engine(
                parsed, pool_size=5, max_overflow=5, pool_pre_ping=True, pool_timeout=10, **_JSON
            )
            self._reader = self._writer
        self._lock = asyncio.Lock() if self._sqlite else None
        self._writes = async_sessionmaker(self._writer, expire_on_commit=False)
        self._reads = async_sessionmaker(self._reader, expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self._sqlite

    @property
    def writer(self) -> AsyncEngine:
        """For migrations; everything else uses `read` and `write`."""
        return self._writer

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one state of the database and changes nothing."""
        async with self._reads() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction, committed when the block ends and rolled back when it raises."""
        if self._lock is None:
            async with self._writes.begin() as session:
                yield session
            return
        async with self._lock, self._writes.begin() as session:
            yield session

    async def ping(self) -> None:
        """Raise what the driver raises if the database cannot be used."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()


def _set_up_sqlite(engine: AsyncEngine, *, begin: str, read_only: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        # The driver must not begin transactions by itself: it would do so lazily and never for DDL.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            # A step of 1,000 devices touches 1,000 pages of the roll-up table, in every commit the same ones:
            # they stay in memory, and are copied from the log into the file once for several commits.
            cursor.execute(f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}")
            cursor.execute(f"PRAGMA wal_autocheckpoint = {SQLITE_CHECKPOINT_PAGES}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
