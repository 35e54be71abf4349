"""INSERT … ON CONFLICT in the words of either database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

CHUNK = 500
"""Rows per statement; with up to 20 columns this stays below PostgreSQL's 32,767 parameters."""


async def insert_new(session: AsyncSession, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose primary or unique key is not there yet; returns how many were new."""
    if not rows:
        return 0
    statement = _insert(session, table).on_conflict_do_nothing()
    new = 0
    for start in range(0, len(rows), CHUNK):
        chunk = list(rows[start : start + CHUNK])
        result = await session.execute(statement.values(chunk))
        new += max(0, result.rowcount)  # type: ignore[attr-defined]  # a CursorResult; the stub says Result
    return new


async def upsert(
    session: AsyncSession,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    newer: str | None = None,
) -> None:
    """Insert, or replace all non-key columns.

    `newer` names a column: an existing row is replaced only by one whose value there is higher, which
    makes the outcome independent of the order of arrival. Keys within `rows` must differ.
    """
    keys = [column.name for column in table.primary_key]
    for start in range(0, len(rows), CHUNK):
        chunk = list(rows[start : start + CHUNK])
        statement = _insert(session, table).values(chunk)
        changes = {name: statement.excluded[name] for name in chunk[0] if name not in keys}
        where: ColumnElement[bool] | None = None
        if newer is not None:
            where = statement.excluded[newer] > table.c[newer]
        await session.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where))


def _insert(session: AsyncSession, table: Table) -> Any:
    # The two Insert classes share these methods but no typed base.
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
