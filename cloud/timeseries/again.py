"""Rows of a time that was lived twice: they differ from the stored row of their key, and are kept beside it.

A site whose wall clock was set back goes through the same seconds once more. Of such a key the row that came
first stands in `rollup`, where charts and hours are made of it, and each other one here, once per content,
however often it comes. Rows that are equal to the stored one are repetitions (a restored or salvaged store
sends what it sent before under a new epoch) and leave no trace. Only commits that did not bring as many new
rows as they had come here to look.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import RollupAgainRow
from cloud.timeseries.rows import COLUMNS, from_record
from cloud.timeseries.store import DAY_MS, Apart, ApartKey, ApartQuery, Record
from shared.ids import SiteId
from shared.telemetry import RollupRow

PAGE = 2_000
KEYS = COLUMNS[:3]
"""Site, device and time (UTC, ms)."""
_TABLE: Table = RollupAgainRow.__table__  # type: ignore[assignment]  # a Table at run time


async def keep(
    session: AsyncSession, records: Sequence[Record], received_ms: int | None
) -> dict[SiteId, int]:
    """Put these beside the stored rows of their keys; per site, how many were not here yet."""
    if not records:
        return {}
    insert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    added = await session.execute(
        insert(_TABLE).on_conflict_do_nothing().returning(_TABLE.c.site),
        [_beside(record, received_ms) for record in records],
    )
    return dict(Counter(SiteId(site) for site in added.scalars()))


def _beside(record: Record, received_ms: int | None) -> dict[str, Any]:
    """Names and not places, so that a column that comes later is unknown in it."""
    known = {
        name: value
        for name, value in zip(COLUMNS, record, strict=True)
        if value is not None and name not in KEYS
    }
    return {
        **dict(zip(KEYS, record, strict=False)),
        "sha256": hashlib.sha256(msgspec.json.encode(known)).hexdigest(),
        "row": known,
        "received_ms": received_ms,
    }


async def page(session: AsyncSession, query: ApartQuery) -> list[Apart]:
    """Rows of a site in the query's span, by device, time and content, from its `after` on."""
    c = _TABLE.c
    order = (c.device, c.at_ms, c.sha256)
    statement = select(*order, c.row, c.received_ms).where(
        c.site == query.site, c.at_ms >= query.from_ms, c.at_ms < query.to_ms
    )
    if query.device is not None:
        statement = statement.where(c.device == query.device)
    if query.after is not None:
        statement = statement.where(tuple_(*order) > tuple_(*query.after))
    found = await session.execute(statement.order_by(*order).limit(query.limit))
    return [
        Apart(
            key=(row.device, row.at_ms, row.sha256),
            row=_row(query.site, row.device, row.at_ms, row.row),
            received_ms=row.received_ms,
        )
        for row in found
    ]


def _row(site: SiteId, device: str, at_ms: int, known: dict[str, Any]) -> RollupRow:
    named = known | dict(zip(KEYS, (site, device, at_ms), strict=True))
    return from_record([named.get(name) for name in COLUMNS])


async def read(session: AsyncSession, site: SiteId, from_ms: int, to_ms: int) -> AsyncIterator[RollupRow]:
    """Rows of a site in `[from_ms, to_ms)`, by device, time and content, without holding them all."""
    after: ApartKey | None = None
    while True:
        found = await page(
            session, ApartQuery(site=site, from_ms=from_ms, to_ms=to_ms, limit=PAGE, after=after)
        )
        for one in found:
            yield one.row
        if len(found) < PAGE:
            return
        after = found[-1].key


async def count(session: AsyncSession, site: SiteId) -> int:
    """How many rows of the site are kept here."""
    return await session.scalar(select(func.count()).where(_TABLE.c.site == site)) or 0


async def drop_day(session: AsyncSession, day: int) -> None:
    """Delete those of a UTC day, in the transaction that drops its rows."""
    at_ms = _TABLE.c.at_ms
    await session.execute(delete(_TABLE).where(at_ms >= day * DAY_MS, at_ms < (day + 1) * DAY_MS))
