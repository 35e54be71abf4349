"""Where roll-up rows live, behind one protocol; `sqlite.py` and `postgres.py` are held to one suite.

A write joins the caller's transaction, because the ledger of batch numbers must commit with the rows or
not at all. Writes are idempotent on (site, device, at_ms): the first row of a key stays.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import DeviceId, SiteId
from shared.telemetry import RollupRow

MAX_POINTS = 5_000
"""Most rows in one reply (enforced here, whatever the caller asks for)."""


class WriteReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows came, and how many of them were not there yet."""

    rows: int
    new: int


class SeriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One device's numbers in `[from_ms, to_ms)`, oldest first, at most `limit` rows."""

    site: SiteId
    device: DeviceId
    columns: tuple[str, ...]
    from_ms: int
    to_ms: int
    limit: int


class SeriesFrame(msgspec.Struct, frozen=True, kw_only=True):
    """The answer by column: `values[i][j]` is column i at `at_ms[j]`; None is unknown.

    `next_from_ms` continues a cut answer, and is None where nothing was cut.
    """

    step_s: int | None
    columns: tuple[str, ...]
    at_ms: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    next_from_ms: int | None


class TimeSeriesStore(Protocol):
    """Wide roll-up rows of all sites."""

    async def write(self, session: AsyncSession, site: SiteId, rows: Sequence[RollupRow]) -> WriteReport:
        """Add rows inside the session's transaction; rows whose key is there already change nothing."""
        ...

    async def read(self, session: AsyncSession, query: SeriesQuery) -> SeriesFrame:
        """Numbers of one device; KeyError for a column that does not exist."""
        ...

    def export(
        self, session: AsyncSession, site: SiteId, from_ms: int, to_ms: int
    ) -> AsyncIterator[RollupRow]:
        """All rows of a site in `[from_ms, to_ms)`, by time then device, without holding them all."""
        ...

    async def count(self, session: AsyncSession, site: SiteId) -> int:
        """How many rows of the site are stored."""
        ...

    async def expire(self, session: AsyncSession, before_ms: int) -> int:
        """Delete what is older than `before_ms`; returns about how many rows went.

        PostgreSQL drops whole days only, so rows of the day of `before_ms` stay.
        """
        ...
