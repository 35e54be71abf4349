"""What ingest tells about devices: the newest roll-up row and the newest score of each."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new, upsert
from cloud.tables import DeviceScoreRow, ScoreRowTable
from cloud.timeseries.rows import HEAD
from shared.ids import SiteId
from shared.telemetry import ScoreRow

_NAMES = (*HEAD, "numbers")
_TYPES = ("varchar",) * 2 + ("bigint",) * 2 + ("varchar",) * 2 + ("bigint",) * 3 + ("varchar", "text", "json")
_ARRAYS = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_TYPES, start=1))
_CHANGES = ", ".join(f"{name} = new.{name}" for name in _NAMES[2:])
_LATEST_SQLITE = (
    f"INSERT INTO device_latest ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))}) "  # noqa: S608 - constant names
    f"ON CONFLICT (site, device) DO UPDATE SET {_CHANGES.replace('new.', 'excluded.')} "
    "WHERE excluded.at_ms > device_latest.at_ms"
)
_LATEST_UPSERT = (
    f"INSERT INTO device_latest ({', '.join(_NAMES)}) SELECT * FROM unnest({_ARRAYS}) "  # noqa: S608 - constant names
    f"ON CONFLICT (site, device) DO UPDATE SET {_CHANGES.replace('new.', 'excluded.')} "
    "WHERE excluded.at_ms > device_latest.at_ms"
)
_LATEST_UPDATE = (
    f"UPDATE device_latest t SET {_CHANGES} FROM unnest({_ARRAYS}) AS new ({', '.join(_NAMES)}) "  # noqa: S608 - constant names
    "WHERE t.site = new.site AND t.device = new.device AND new.at_ms > t.at_ms"
)


async def newest_rows(
    session: AsyncSession, records: Iterable[Sequence[Any]], seen: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], int]:
    """Keep the newest row of each device; an older one never replaces a newer one.

    `records` are rows as the roll-up table has them, of any sites. `seen` maps (site, device) to a time of
    which it is known that the table has it or a newer one; returns what may be added to it after the commit.
    """
    by_time = sorted(records, key=itemgetter(2))
    last = {(record[0], record[1]): record for record in by_time}
    newest = {key: record for key, record in last.items() if record[2] > seen.get(key, -1)}
    fresh = [
        (*record[:11], msgspec.json.encode(record[11:]).decode()) for _, record in sorted(newest.items())
    ]
    if session.get_bind().dialect.name == "sqlite":
        connection = await session.connection()
        if fresh:
            await connection.exec_driver_sql(_LATEST_SQLITE, fresh)
    else:
        old = [row for row in fresh if (row[0], row[1]) in seen]
        # An update by key costs half of INSERT ... ON CONFLICT, which is left to devices that are new.
        if not old or await _replace_latest(session, _LATEST_UPDATE, old) < len(old):
            await _replace_latest(session, _LATEST_UPSERT, fresh)
        elif len(old) < len(fresh):
            new = [row for row in fresh if (row[0], row[1]) not in seen]
            await _replace_latest(session, _LATEST_UPSERT, new)
    return {key: record[2] for key, record in newest.items()}


async def _replace_latest(session: AsyncSession, statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run a statement over arrays, one per column; how many rows it touched."""
    if not rows:
        return 0
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    status: str = await driver.execute(statement, *map(list, zip(*rows, strict=True)))
    return int(status.rpartition(" ")[2])


async def scores(session: AsyncSession, site: SiteId, rows: Sequence[ScoreRow]) -> None:
    """Store scores once each, and keep the newest of each device."""
    values = [
        {
            "site": site,
            "device": row.device,
            "at_ms": row.at_ms,
            "model": row.model,
            "version": row.version,
            "score": row.score,
            "threshold": row.threshold,
            "top_feature": row.top_feature,
        }
        for row in rows
    ]
    await insert_new(session, ScoreRowTable.__table__, values)  # type: ignore[arg-type]  # as above
    newest: dict[str, dict[str, object]] = {}
    for row, value in sorted(
        zip(rows, values, strict=True), key=lambda pair: (pair[0].at_ms, pair[0].version)
    ):
        newest[row.device] = value
    latest = [value for _, value in sorted(newest.items())]
    await upsert(session, DeviceScoreRow.__table__, latest, newer="at_ms")  # type: ignore[arg-type]  # as above
