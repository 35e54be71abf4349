"""One door to the database: `read()` for queries, `write()` for one transaction.

SQLite allows one writer at a time, so writes queue on a lock in this process and begin with
`BEGIN IMMEDIATE`; readers use their own connections and never block (WAL). Durability is FULL: an
acknowledgement to a site follows the commit, and the site then deletes its copy. PostgreSQL needs none
of this and uses one pool.

A PostgreSQL behind a network can fall silent without a word: every statement has an end, and the kernel asks
after idle connections. What is long by nature (a migration, a day that is dropped or copied) is `patient`:
it has connections of its own, whose statements may take as long as half an hour, and migrations any time.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

SQLITE_BUSY_MS = 10_000
SQLITE_CACHE_KIB = 32 * 1024
SQLITE_CHECKPOINT_PAGES = 8_000
"""Of 4 KiB."""
CONNECT_S = 10.0
STATEMENT_S = 30.0
"""The longest statement in daily work is the COPY of a commit's rows: 0.13 s (measured), the rest is waiting
for locks. Where the server says nothing at all it takes twice this: asyncpg tries to cancel first."""
PATIENT_STATEMENT_S = 1_800.0
"""Counting and dropping a day, an hour of a large site: minutes at worst. Not for ever, or a silent server
would hold the keeper until somebody restarts the cloud."""
IDLE_IN_TRANSACTION_S = 600
"""A process that hangs inside a transaction loses it, and its locks, after this."""
KEEP_ALIVE_S, KEEP_ALIVE_EVERY_S, KEEP_ALIVE_TRIES = 30, 10, 3
"""TCP keep-alive at both ends: who is gone without a word is noticed after a minute."""


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
            self._patient = self._endless = self._writer
        else:
            self._writer = create_async_engine(
                parsed,
                pool_size=5,
                max_overflow=5,
                pool_pre_ping=True,
                pool_timeout=10,
                connect_args=_arguments(STATEMENT_S, idle_s=IDLE_IN_TRANSACTION_S),
                **_JSON,
            )
            self._reader = self._writer
            self._patient = _apart(parsed, PATIENT_STATEMENT_S)
            self._endless = _apart(parsed, None)
            for engine in (self._writer, self._patient, self._endless):
                _keep_alive(engine)
        self._lock = asyncio.Lock() if self._sqlite else None
        self._writes = async_sessionmaker(self._writer, expire_on_commit=False)
        self._reads = async_sessionmaker(self._reader, expire_on_commit=False)
        self._patients = async_sessionmaker(self._patient, expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self._sqlite

    @property
    def writer(self) -> AsyncEngine:
        """For migrations: no statement is cut off. Everything else uses `read` and `write`."""
        return self._endless

    @asynccontextmanager
    async def read(self, *, patient: bool = False) -> AsyncIterator[AsyncSession]:
        """A session that sees one state of the database and changes nothing."""
        async with (self._patients if patient and not self._sqlite else self._reads)() as session:
            yield session

    @asynccontextmanager
    async def write(self, *, patient: bool = False) -> AsyncIterator[AsyncSession]:
        """One transaction, committed when the block ends and rolled back when it raises.

        On PostgreSQL a statement of more than `STATEMENT_S` raises `TimeoutError`; `patient` allows it
        `PATIENT_STATEMENT_S`.
        """
        if self._lock is None:
            async with (self._patients if patient else self._writes).begin() as session:
                yield session
            return
        async with self._lock, self._writes.begin() as session:
            yield session

    async def ping(self) -> None:
        """Raise what the driver raises if the database cannot be used."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        for engine in {self._writer, self._reader, self._patient, self._endless}:
            await engine.dispose()


def _apart(url: URL, statement_s: float | None) -> AsyncEngine:
    """Connections that are made for one transaction each, beside the pool of daily work."""
    return create_async_engine(
        url, poolclass=NullPool, connect_args=_arguments(statement_s, idle_s=0), **_JSON
    )


def _arguments(statement_s: float | None, *, idle_s: int) -> dict[str, Any]:
    """For `asyncpg.connect`. The server's settings free locks whose holder is gone; 0 = never while idle."""
    settings = {
        "idle_in_transaction_session_timeout": idle_s * 1_000,
        "tcp_keepalives_idle": KEEP_ALIVE_S,
        "tcp_keepalives_interval": KEEP_ALIVE_EVERY_S,
        "tcp_keepalives_count": KEEP_ALIVE_TRIES,
    }
    return {
        "timeout": CONNECT_S,
        "command_timeout": statement_s,
        "server_settings": {name: str(value) for name, value in settings.items()},
    }


def _keep_alive(engine: AsyncEngine) -> None:
    """Let our kernel find out that the server is gone, also for connections that wait in the pool."""

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        # asyncpg has no public way to its socket; without one the statements' time-outs remain.
        transport = getattr(connection.driver_connection, "_transport", None)
        found = None if transport is None else transport.get_extra_info("socket")
        if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
            return
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", KEEP_ALIVE_S),
            ("TCP_KEEPINTVL", KEEP_ALIVE_EVERY_S),
            ("TCP_KEEPCNT", KEEP_ALIVE_TRIES),
            ("TCP_USER_TIMEOUT", (KEEP_ALIVE_S + KEEP_ALIVE_EVERY_S * KEEP_ALIVE_TRIES) * 1_000),
        ):
            if (option := getattr(socket, name, None)) is not None:  # not on every system
                found.setsockopt(socket.IPPROTO_TCP, option, value)


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
