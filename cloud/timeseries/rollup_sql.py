"""Hours out of rows, in SQL that both engines speak.

How a column of an hour follows from the rows of that hour is decided by how the column was made
(`Column.how`): a mean is weighted with the samples behind each row, a standard deviation is pooled over the
rows' own means, a counter's increments are added, and `last` is the newest value that is known. What no row
of the hour knows stays null.

An hour also keeps which of its minutes it has rows of (`minutes`, a bit for each). Once the rows are gone,
late ones are merged into it by the same rules, and the bits tell what is new: a row of a minute that is in
the hour already is a repetition, or cannot be told from one.
"""

from cloud.timeseries.rows import COLUMNS, HEAD
from shared.telemetry import COLUMN_INDEX, ROLLUP_COLUMNS, Column

HOUR_S = 3_600
_HOUR, _END = "CAST(:hour AS bigint)", "CAST(:end AS bigint)"
"""PostgreSQL wants to know what a parameter is before it knows where it goes."""


def _weighted(expression: str, known: str) -> str:
    """Mean of an expression, weighted by samples; plain where the rows carry no samples."""
    weight = f"CASE WHEN {known} IS NOT NULL THEN r.samples END"
    return f"coalesce(sum({expression} * r.samples) / nullif(sum({weight}), 0), avg({expression}))"


def _minute(row: str) -> str:
    """The bit of a row's minute within its hour."""
    return f"(CAST(1 AS bigint) << CAST({row}.at_ms / 60000 % 60 AS integer))"


def _unseen(row: str) -> str:
    """Whether the stored hour lacks the row's minute; never where the hour does not say which it has."""
    return (
        "NOT EXISTS (SELECT 1 FROM rollup_hour k "  # noqa: S608 - constant names
        f"WHERE k.site = {row}.site AND k.device = {row}.device AND k.at_ms = {_HOUR} "
        f"AND (k.minutes IS NULL OR (k.minutes & {_minute(row)}) <> 0))"
    )


def _last(name: str, *, known: bool, late: bool) -> str:
    """The newest value of the hour, by the table's key; with `known`, the newest that is not null."""
    only = f"AND l.{name} IS NOT NULL " if known else ""
    only += f"AND {_unseen('l')} " if late else ""
    return (
        f"(SELECT l.{name} FROM rollup l WHERE l.site = r.site AND l.device = r.device "  # noqa: S608 - constant names
        f"AND l.at_ms >= {_HOUR} AND l.at_ms < {_END} {only}ORDER BY l.at_ms DESC LIMIT 1)"
    )


def _number(column: Column, *, late: bool) -> str:
    name = f"r.{column.name}"
    match column.how:
        case "mean":
            return _weighted(name, name)
        case "min" | "max":
            return f"{column.how}({name})"
        case "delta":
            return f"sum({name})"
        case "last":
            return _last(column.name, known=True, late=late)
        case "std":
            return _pooled(column)
        case how:
            raise ValueError(f"nobody has said how {how!r} of rows becomes one of an hour")


def _pooled(column: Column) -> str:
    """E[s² + m²] − E[m]², which a rounding below zero must not turn into an error."""
    mean = f"{column.metric}_mean"
    if mean not in COLUMN_INDEX:
        raise ValueError(f"{column.name} cannot be pooled without {mean}")
    both = f"CASE WHEN r.{column.name} IS NOT NULL THEN r.{mean} END"
    square = _weighted(f"(r.{column.name} * r.{column.name} + r.{mean} * r.{mean})", f"r.{column.name}")
    centre = _weighted(f"({both})", f"({both})")
    variance = f"({square} - {centre} * {centre})"
    return f"CASE WHEN {variance} > 0 THEN sqrt({variance}) WHEN {variance} IS NOT NULL THEN 0.0 END"


def _head(*, late: bool) -> list[str]:
    return [
        "r.site",
        "r.device",
        _HOUR,
        str(HOUR_S),
        _last("kind", known=False, late=late),
        _last("algorithm", known=False, late=late),
        "sum(r.samples)",
        "sum(r.failed)",
        "max(r.quality)",
        _last("state", known=False, late=late),
        _last("preset", known=False, late=late),
    ]


_MINUTES = f"CAST(sum(DISTINCT {_minute('r')}) AS bigint)"
"""A sum of distinct bits is all of them; only one of the engines has an OR of rows."""
_STORED = (*COLUMNS, "minutes")
_KEYS = ("site", "device", "at_ms")
_REPLACE = ", ".join(f"{name} = excluded.{name}" for name in _STORED if name not in _KEYS)


def _values(*, late: bool) -> list[str]:
    """Expressions over the rows `r` of an hour, for `_STORED`; `late` leaves out what it has already."""
    head = _head(late=late)
    assert len(head) == len(HEAD)  # noqa: S101 - the head above is written by hand
    return [*head, *(_number(column, late=late) for column in ROLLUP_COLUMNS), _MINUTES]


def hour_statement() -> str:
    """INSERT … SELECT … ON CONFLICT for one hour of one site; parameters `site`, `hour` and `end` (UTC, ms).

    An hour that was computed before is replaced as a whole, unless that was from more polls than there are
    rows of now: then rows of it are gone, whoever dropped them.
    """
    return (
        f"INSERT INTO rollup_hour ({', '.join(_STORED)}) SELECT {', '.join(_values(late=False))} "  # noqa: S608 - constant names
        f"FROM rollup r WHERE r.site = :site AND r.at_ms >= {_HOUR} AND r.at_ms < {_END} "
        f"GROUP BY r.site, r.device ON CONFLICT (site, device, at_ms) DO UPDATE SET {_REPLACE} "
        "WHERE excluded.samples + excluded.failed >= rollup_hour.samples + rollup_hour.failed"
    )


def merge_statement() -> str:
    """The same for an hour whose rows are gone: the late rows that are there are merged into it.

    To be run once before those rows go as well, in the same transaction. The stored hour weighs as much as
    the polls that it was made of, for every column that it knows; `last` goes to the side with the newest
    minute.
    """
    late = ", ".join(f"{value} AS {name}" for name, value in zip(_STORED, _values(late=True), strict=True))
    return (
        f"INSERT INTO rollup_hour ({', '.join(_STORED)}) SELECT {', '.join(_merged())} FROM "  # noqa: S608 - constant names
        f"(SELECT {late} FROM rollup r WHERE r.site = :site AND r.at_ms >= {_HOUR} AND r.at_ms < {_END} "
        f"AND {_unseen('r')} GROUP BY r.site, r.device) n "
        "LEFT JOIN rollup_hour h ON h.site = n.site AND h.device = n.device AND h.at_ms = n.at_ms WHERE TRUE "
        f"ON CONFLICT (site, device, at_ms) DO UPDATE SET {_REPLACE}"
    )


def _merged() -> list[str]:
    words = ("kind", "algorithm", "state", "preset")
    head = {name: f"n.{name}" for name in HEAD}
    head |= {name: f"coalesce(h.{name}, 0) + n.{name}" for name in ("samples", "failed")}
    head |= {"quality": _extreme("quality", ">")} | {name: _newer(name) for name in words}
    minutes = "coalesce(h.minutes, 0) + n.minutes"  # no bit is in both
    return [*head.values(), *(_both(column) for column in ROLLUP_COLUMNS), minutes]


def _extreme(name: str, beats: str) -> str:
    return f"CASE WHEN h.{name} IS NULL OR n.{name} {beats} h.{name} THEN n.{name} ELSE h.{name} END"


def _newer(name: str) -> str:
    """The known value of the side whose newest minute is the later one, else the other's."""
    return (
        f"CASE WHEN h.minutes > n.minutes THEN coalesce(h.{name}, n.{name}) "
        f"ELSE coalesce(n.{name}, h.{name}) END"
    )


def _both(column: Column) -> str:
    """A number of the stored hour `h` and of the late rows `n` together; what one side does not know is the
    other's."""
    h, n = f"h.{column.name}", f"n.{column.name}"
    match column.how:
        case "mean":
            return f"CASE WHEN {h} IS NULL THEN {n} WHEN {n} IS NULL THEN {h} ELSE {_shared(h, n)} END"
        case "min" | "max":
            return _extreme(column.name, "<" if column.how == "min" else ">")
        case "delta":
            return f"coalesce({h} + {n}, {h}, {n})"
        case "last":
            return _newer(column.name)
        case "std":
            return _pooled_both(column)
        case how:
            raise ValueError(f"nobody has said how {how!r} of two parts becomes one of an hour")


def _shared(h: str, n: str) -> str:
    """The mean of two known numbers by polls; the stored one where nobody polled."""
    return f"coalesce(({h} * h.samples + {n} * n.samples) / nullif(h.samples + n.samples, 0), {h})"


def _pooled_both(column: Column) -> str:
    h, n = f"h.{column.name}", f"n.{column.name}"
    hm, nm = f"h.{column.metric}_mean", f"n.{column.metric}_mean"
    square = _shared(f"({h} * {h} + {hm} * {hm})", f"({n} * {n} + {nm} * {nm})")
    centre = _shared(hm, nm)
    variance = f"({square} - {centre} * {centre})"
    return (
        f"CASE WHEN {h} IS NULL THEN {n} WHEN {n} IS NULL OR {hm} IS NULL OR {nm} IS NULL THEN {h} "
        f"WHEN {variance} > 0 THEN sqrt({variance}) ELSE 0.0 END"
    )
