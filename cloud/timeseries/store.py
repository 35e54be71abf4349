"""Where roll-up rows live, behind one protocol; every engine is held to one suite.

A write joins the caller's transaction, because the ledger of batch numbers must commit with the rows or
not at all. Writes are idempotent on (site, device, at_ms): the first row of a key stays. Another one of that
key that differs was made in a time that the site lived twice; it is kept apart (`cloud.timeseries.again`).

Rows stand on a ladder: as they came for a year, one per hour for ever, and whole days in Parquet files
beside the database (`cloud.timeseries.cold`). Hours are computed from rows, again whenever a late row
arrives, so a reader never sees an hour that its rows do not explain. Once its rows were dropped, an hour
stands for itself, and late rows are merged into it when they are dropped in their turn.
"""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import DeviceId, SiteId
from shared.telemetry import RollupRow

MAX_POINTS = 5_000
"""Most rows in one reply (enforced here, whatever the caller asks for)."""
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
Record = tuple[Any, ...]
"""One row as the table has it, in the order of `cloud.timeseries.rows.COLUMNS`."""


class Tier(StrEnum):
    """A rung of the ladder."""

    AUTO = "auto"
    """The finest that fits the span: hours where rows would be more than one reply, or are gone."""
    ROWS = "rows"
    HOURS = "hours"


class WriteReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows came, and how many of them were not there yet."""

    rows: int
    new: int
    apart: dict[SiteId, int] = {}
    """Site → how many of the others differ from the stored row of their key, and are kept beside it now."""


class SeriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One device's numbers in `[from_ms, to_ms)`, oldest first, at most `limit` rows."""

    site: SiteId
    device: DeviceId
    columns: tuple[str, ...]
    from_ms: int
    to_ms: int
    limit: int
    tier: Tier = Tier.ROWS


class SeriesFrame(msgspec.Struct, frozen=True, kw_only=True):
    """The answer by column: `values[i][j]` is column i at `at_ms[j]`; None is unknown.

    `tier` says which rung it is from. `next_from_ms` continues a cut answer on that rung, and is None where
    nothing was cut.
    """

    tier: Tier
    step_s: int | None
    columns: tuple[str, ...]
    at_ms: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    next_from_ms: int | None


ApartKey = tuple[str, int, str]
"""Device, time (UTC, ms) and content (SHA-256) of a row that is kept apart: their order."""


class ApartQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a site, or of one device of it, in `[from_ms, to_ms)` that are kept apart; `limit` at most."""

    site: SiteId
    from_ms: int
    to_ms: int
    limit: int
    device: str | None = None
    after: ApartKey | None = None
    """Only rows behind this one."""


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is kept apart. `received_ms` is when it was first committed (UTC); None is unknown."""

    key: ApartKey
    row: RollupRow
    received_ms: int | None


class TimeSeriesStore(Protocol):
    """Wide roll-up rows of all sites."""

    async def write(
        self, session: AsyncSession, site: SiteId, rows: Sequence[RollupRow], received_ms: int | None = None
    ) -> WriteReport:
        """Add rows inside the session's transaction.

        A row whose key is there already changes nothing where it is equal, and is kept apart where it
        differs in any column (once, with `received_ms`, UTC).
        """
        ...

    async def write_records(
        self, session: AsyncSession, records: Sequence[Record], received_ms: int | None = None
    ) -> WriteReport:
        """The same for rows of any sites that already have the table's form."""
        ...

    async def write_early(self, session: AsyncSession, records: Sequence[Record]) -> bool:
        """Put all these rows in, or none of them and False, without a lock that another writer waits for.

        For rows of which the caller only believes that they are new; it learns later in the transaction
        whether that was so, and then calls `mark` or rolls back. An engine with one writer says False.
        """
        ...

    async def mark(self, session: AsyncSession, records: Sequence[Record]) -> None:
        """Note that the hours of rows that were written early have to be computed again."""
        ...

    async def read(self, session: AsyncSession, query: SeriesQuery) -> SeriesFrame:
        """Numbers of one device; KeyError for a column that does not exist."""
        ...

    def export(
        self, session: AsyncSession, site: SiteId, from_ms: int, to_ms: int
    ) -> AsyncIterator[RollupRow]:
        """All rows of a site in `[from_ms, to_ms)`, by time then device, without holding them all."""
        ...

    def day(self, session: AsyncSession, day: int) -> AsyncIterator[Sequence[Record]]:
        """All rows of all sites of a UTC day (days since 1970) in pages, site by site; the first of each key.

        Rows that are kept apart are not among them, so the cold tier has none of those.
        """
        ...

    async def sites(self, session: AsyncSession, day: int) -> list[str]:
        """Sites that may have rows on that UTC day, by name."""
        ...

    async def count(self, session: AsyncSession, site: SiteId) -> int:
        """How many rows of the site are stored."""
        ...

    def apart(
        self, session: AsyncSession, site: SiteId, from_ms: int, to_ms: int
    ) -> AsyncIterator[RollupRow]:
        """Rows of a site in `[from_ms, to_ms)` that are kept apart, by device then time."""
        ...

    async def apart_page(self, session: AsyncSession, query: ApartQuery) -> list[Apart]:
        """Some of them with what is known about each, in the same order; those of a time by content."""
        ...

    async def count_apart(self, session: AsyncSession, site: SiteId) -> int:
        """How many rows of the site are kept apart."""
        ...

    async def count_day(self, session: AsyncSession, day: int) -> int:
        """How many rows of that UTC day are stored."""
        ...

    async def old_days(self, session: AsyncSession, before_ms: int, limit: int) -> list[int]:
        """Days that have rows and ended before `before_ms` or at it, oldest first, at most `limit`."""
        ...

    async def roll_up(self, session: AsyncSession, until_ms: int, *, limit: int) -> int:
        """Compute hours that ended before `until_ms` and whose rows changed, at most `limit` of a site each.

        Returns how many were done; fewer than `limit` means that no more wait. Whatever the transaction does
        not commit is done again.
        """
        ...

    async def waiting_hours(self, session: AsyncSession, day: int) -> int:
        """How many hours of that day still wait to be rolled up."""
        ...

    async def drop_day(self, session: AsyncSession, day: int) -> int:
        """Delete the rows of a UTC day, and none that come meanwhile; returns how many rows went.

        Those that are kept apart go with them, uncounted.
        """
        ...
