"""What ingest tells about devices: the newest roll-up row and the newest score of each.

Newest is by time, as long as that can be believed. A row from a clock that ran ahead when it came is replaced
by the next one that is of now, and replaces one that is of now by nothing: it would stand there for hours,
and what the device really does would not be seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.devices.freshness import AHEAD_MS, is_ahead, live_ms
from cloud.kit.upsert import insert_new, upsert
from cloud.tables import DeviceScoreRow, ScoreRowTable
from cloud.timeseries.rows import HEAD
from cloud.timeseries.store import Record
from shared.ids import SiteId
from shared.telemetry import ScoreRow

_SCORE_LIVE_MS = 600_000
"""A score of the last ten minutes is of a clock that is right."""
_NAMES = (*HEAD, "numbers", "received_ms")
_TYPES = (
    *("varchar", "varchar", "bigint", "bigint", "varchar", "varchar", "bigint", "bigint", "bigint"),
    *("varchar", "text", "json", "bigint"),
)
_ARRAYS = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_TYPES, start=1))
_CHANGES = ", ".join(f"{name} = new.{name}" for name in _NAMES[2:])


def _beats(new: str, old: str) -> str:
    """SQL: whether a row that has just come replaces the one that is there (see the module's words).

    Where an old row's arrival is not known, it is taken to have come now.
    """
    now = f"{new}.received_ms"
    came = f"coalesce({old}.received_ms, {now})"
    ahead_new, ahead_old = f"{new}.at_ms > {now} + {AHEAD_MS}", f"{old}.at_ms > {came} + {AHEAD_MS}"
    live = f"{live_ms(0)} + {live_ms(1) - live_ms(0)} * "
    return (
        f"CASE WHEN ({ahead_new}) = ({ahead_old}) THEN {new}.at_ms > {old}.at_ms "
        f"WHEN {ahead_new} THEN {old}.at_ms + {live}{old}.step_s < {now} "
        # Old rows of a right clock come while a wrong one tells of now: only its silence yields to them.
        f"ELSE {new}.at_ms + {live}{new}.step_s >= {now} OR {came} + {live}{old}.step_s < {now} END"
    )


_LATEST_SQLITE = (
    f"INSERT INTO device_latest ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))}) "  # noqa: S608 - constant names
    f"ON CONFLICT (site, device) DO UPDATE SET {_CHANGES.replace('new.', 'excluded.')} "
    f"WHERE {_beats('excluded', 'device_latest')}"
)
_LATEST_UPSERT = (
    f"INSERT INTO device_latest ({', '.join(_NAMES)}) SELECT * FROM unnest({_ARRAYS}) "  # noqa: S608 - constant names
    f"ON CONFLICT (site, device) DO UPDATE SET {_CHANGES.replace('new.', 'excluded.')} "
    f"WHERE {_beats('excluded', 'device_latest')}"
)
_LATEST_UPDATE = (
    f"UPDATE device_latest t SET {_CHANGES} FROM unnest({_ARRAYS}) AS new ({', '.join(_NAMES)}) "  # noqa: S608 - constant names
    f"WHERE t.site = new.site AND t.device = new.device AND {_beats('new', 't')}"
)


def newest_of(records: Iterable[Record], now_ms: int) -> dict[tuple[str, str], Record]:
    """The one row of each device that tells most of now: a live one, else one from a clock that runs ahead.

    `records` are rows as the roll-up table has them, of any sites.
    """

    def rank(record: Record) -> tuple[int, int]:
        at_ms, step_s = record[2], record[3]
        if is_ahead(at_ms, now_ms):
            return 1, at_ms
        return 2 if at_ms + live_ms(step_s) >= now_ms else 0, at_ms

    found: dict[tuple[str, str], tuple[tuple[int, int], Record]] = {}
    for record in records:
        key, ranked = (record[0], record[1]), rank(record)
        if key not in found or ranked >= found[key][0]:
            found[key] = ranked, record
    return {key: record for key, (_, record) in found.items()}


async def newest_rows(
    session: AsyncSession,
    records: Iterable[Record],
    seen: Mapping[tuple[str, str], int],
    now_ms: int,
) -> dict[tuple[str, str], int]:
    """Keep the newest row of each device; an older one never replaces a newer one.

    `records` are rows as the roll-up table has them, of any sites; `now_ms` (UTC) is when they came. `seen`
    maps (site, device) to a time of which it is known that the table has it or a newer one; returns what may
    be added to it after the commit. Times that lie ahead are not in it: they may be replaced by older ones.
    """
    last = newest_of(records, now_ms)
    newest = {key: record for key, record in last.items() if record[2] > seen.get(key, -1)}
    fresh = [
        (*record[:11], msgspec.json.encode(record[11:]).decode(), now_ms)
        for _, record in sorted(newest.items())
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
    return {key: record[2] for key, record in newest.items() if not is_ahead(record[2], now_ms)}


async def _replace_latest(session: AsyncSession, statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run a statement over arrays, one per column; how many rows it touched."""
    if not rows:
        return 0
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    status: str = await driver.execute(statement, *map(list, zip(*rows, strict=True)))
    return int(status.rpartition(" ")[2])


async def scores(
    session: AsyncSession, site: SiteId, rows: Sequence[ScoreRow], now_ms: int | None = None
) -> None:
    """Store scores once each, and keep the newest of each device.

    Scores of now (UTC) show that the site's clock is right, so those of it that lie ahead go.
    """
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
    if now_ms is not None and any(now_ms - _SCORE_LIVE_MS <= row.at_ms <= now_ms + AHEAD_MS for row in rows):
        ahead = DeviceScoreRow.at_ms > now_ms + AHEAD_MS
        await session.execute(delete(DeviceScoreRow).where(DeviceScoreRow.site == site, ahead))
    latest = [value for _, value in sorted(newest.items())]
    await upsert(session, DeviceScoreRow.__table__, latest, newer="at_ms")  # type: ignore[arg-type]  # as above
