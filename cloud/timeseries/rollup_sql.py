"""Hours out of rows, in SQL that both engines speak.

How a column of an hour follows from the rows of that hour is decided by how the column was made
(`Column.how`): a mean is weighted with the samples behind each row, a standard deviation is pooled over the
rows' own means, a counter's increments are added, and `last` is the newest value that is known. What no row
of the hour knows stays null.
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


def _last(name: str, *, known: bool) -> str:
    """The newest value of the hour, by the table's key; with `known`, the newest that is not null."""
    only = f"AND l.{name} IS NOT NULL " if known else ""
    return (
        f"(SELECT l.{name} FROM rollup l WHERE l.site = r.site AND l.device = r.device "  # noqa: S608 - constant names
        f"AND l.at_ms >= {_HOUR} AND l.at_ms < {_END} {only}ORDER BY l.at_ms DESC LIMIT 1)"
    )


def _number(column: Column) -> str:
    name = f"r.{column.name}"
    match column.how:
        case "mean":
            return _weighted(name, name)
        case "min" | "max":
            return f"{column.how}({name})"
        case "delta":
            return f"sum({name})"
        case "last":
            return _last(column.name, known=True)
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


def _head() -> list[str]:
    return [
        "r.site",
        "r.device",
        _HOUR,
        str(HOUR_S),
        _last("kind", known=False),
        _last("algorithm", known=False),
        "sum(r.samples)",
        "sum(r.failed)",
        "max(r.quality)",
        _last("state", known=False),
        _last("preset", known=False),
    ]


def hour_statement() -> str:
    """INSERT … SELECT … ON CONFLICT for one hour of one site; parameters `site`, `hour` and `end` (UTC, ms).

    An hour that was computed before is replaced as a whole.
    """
    values = [*_head(), *(_number(column) for column in ROLLUP_COLUMNS)]
    keys = ("site", "device", "at_ms")
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in keys)
    assert len(values) == len(COLUMNS)  # noqa: S101 - the head above is written by hand
    assert len(_head()) == len(HEAD)  # noqa: S101 - as above
    return (
        f"INSERT INTO rollup_hour ({', '.join(COLUMNS)}) SELECT {', '.join(values)} FROM rollup r "  # noqa: S608 - constant names
        f"WHERE r.site = :site AND r.at_ms >= {_HOUR} AND r.at_ms < {_END} GROUP BY r.site, r.device "
        f"ON CONFLICT (site, device, at_ms) DO UPDATE SET {changes}"
    )
