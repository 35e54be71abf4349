"""The keeper of the ladder: hours out of rows, expired days into the cold tier and out of the database.

It works in rounds of bounded length between which others write, and keeps no state of its own: whatever a
round did not commit is still waiting when the next one looks, also after a restart. Two keepers at once do
the same work twice at worst.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.ingest import quarantine
from cloud.kit.database import Database
from cloud.tables import (
    ColdDayRow,
    DeviceHistoryRow,
    ModelReportRow,
    PlanRow,
    RawWindowRow,
    ScoreRowTable,
    SiteRow,
)
from cloud.timeseries import rolling
from cloud.timeseries.store import DAY_MS, HOUR_MS, Record, TimeSeriesStore
from shared.clock import Clock
from shared.errors import MinewardenError

ROUND_S = 60.0
HOURS_AT_ONCE = 8
"""Hours of a site in one transaction."""
HOURS_PER_ROUND = 400
DAYS_PER_ROUND = 2
WINDOWS_AT_ONCE = 200
PAPERS_AT_ONCE = 2_000
REGULAR_REPORTS = ("shadow-report", "active-report")
"""Come every ten minutes; what changed with a model (verified, active, rolled back, …) stays."""
_log = logging.getLogger(__name__)


class ColdTierFailed(MinewardenError):
    """A day could not be written, or is not there as it was written; nothing may be dropped."""

    code = "cold-tier"
    permanent = False


class ColdFile(msgspec.Struct, frozen=True, kw_only=True):
    """A day that is in the cold tier, read back and counted."""

    path: str
    rows: int
    size: int


class ColdTier(Protocol):
    """Where expired days go before they leave the database."""

    async def store(self, day: int, generation: int, pages: AsyncIterator[Sequence[Record]]) -> ColdFile:
        """Write one day, read it back and count it; raises `ColdTierFailed`. The same again replaces it."""
        ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long each rung keeps what it has, in days. Hours stay for ever."""

    raw_days: float = 30.0
    """Windows of raw samples, from when they came."""
    rows_days: float = 365.0
    """Roll-up rows as the sites sent them (those kept apart go with their day, and into no cold tier), what
    devices remember, scores, a model's regular reports (not its changes), plans of commands (not the
    commands), and batches that could not be used."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did."""

    hours: int = 0
    days: int = 0
    rows: int = 0
    cold_rows: int = 0
    windows: int = 0
    scores: int = 0
    failed: str | None = None
    """Why a day is still here that should be in the cold tier."""


class _ChangedMeanwhile(Exception):
    """Rows came between the copy and the deletion."""


class Keeper:
    """Runs the ladder."""

    def __init__(
        self,
        database: Database,
        series: TimeSeriesStore,
        clock: Clock,
        policy: Policy,
        cold: ColdTier | None = None,
    ) -> None:
        self._database = database
        self._series = series
        self._clock = clock
        self._policy = policy
        self._cold = cold
        self.trouble: str | None = None
        """Why the cold tier cannot take what is due; None while all is well."""

    async def run(self) -> None:
        """A round every minute; ends only by cancellation."""
        while True:
            await self._clock.sleep(ROUND_S)
            try:
                done = await self.round()
            except Exception:  # noqa: BLE001 - supervisor: a database that is away comes back
                _log.exception("retention")
                continue
            if done.failed is not None and done.failed != self.trouble:
                _log.error("expired days stay in the database: %s", done.failed)
            self.trouble = done.failed

    async def round(self) -> Done:
        """One round; raises what the database raises."""
        now_ms = self._clock.utc_ms()
        hours = await self._hours(now_ms)
        await self._old_quarantine(now_ms)
        days = rows = cold_rows = 0
        failed = None
        try:
            for day in await self._due(now_ms):
                count, kept = await self._expire(day, now_ms)
                days, rows, cold_rows = days + (count > 0), rows + count, cold_rows + kept
        except ColdTierFailed as error:
            failed = str(error)
        return Done(
            hours=hours,
            days=days,
            rows=rows,
            cold_rows=cold_rows,
            windows=await self._old_windows(now_ms),
            scores=await self._old_scores(now_ms),
            failed=failed,
        )

    async def _hours(self, now_ms: int) -> int:
        done = 0
        while done < HOURS_PER_ROUND:
            async with self._database.write(patient=True) as session:
                some = await self._series.roll_up(session, now_ms, limit=HOURS_AT_ONCE)
            done += some
            if some < HOURS_AT_ONCE:
                break
        return done

    async def _due(self, now_ms: int) -> list[int]:
        """Expired days of which every hour is computed."""
        before_ms = now_ms - int(self._policy.rows_days * DAY_MS)
        async with self._database.read() as session:
            days = await self._series.old_days(session, before_ms, DAYS_PER_ROUND)
            return [day for day in days if await self._series.waiting_hours(session, day) == 0]

    async def _expire(self, day: int, now_ms: int) -> tuple[int, int]:
        """Rows deleted and rows kept cold; nothing happens where rows came in the meantime."""
        file = None
        if self._cold is not None:
            async with self._database.read(patient=True) as session:
                generation = await _next_generation(session, day)
                file = await self._cold.store(day, generation, self._series.day(session, day))
        try:
            async with self._database.write(patient=True) as session:
                gone = await self._drop(session, day, file, now_ms)
                if file is not None:
                    session.add(_record(day, generation, file, now_ms))
        except _ChangedMeanwhile:
            return 0, 0
        return gone, file.rows if file is not None else 0

    async def _drop(self, session: AsyncSession, day: int, file: ColdFile | None, now_ms: int) -> int:
        """How many rows went; raises `_ChangedMeanwhile` where an hour or the file lacks some of them."""
        merged = None
        if await rolling.gone_days(session, [day]):
            merged = await self._series.count_day(session, day)
            await rolling.merge_late(session, day, await self._series.sites(session, day))
        gone = await self._series.drop_day(session, day)
        if (
            await self._series.waiting_hours(session, day)
            or (file is not None and file.rows != gone)
            or (merged is not None and merged != gone)
        ):
            raise _ChangedMeanwhile
        await rolling.note_gone(session, day, now_ms)
        return gone

    async def _old_windows(self, now_ms: int) -> int:
        before_ms = now_ms - int(self._policy.raw_days * DAY_MS)
        old = (
            select(RawWindowRow.id)
            .where(RawWindowRow.received_ms < before_ms)
            .order_by(RawWindowRow.received_ms)
            .limit(WINDOWS_AT_ONCE)
        )
        async with self._database.write(patient=True) as session:
            ids = list(await session.scalars(old))
            if ids:
                await session.execute(delete(RawWindowRow).where(RawWindowRow.id.in_(ids)))
            await self._old_history(session, now_ms)
            await self._old_papers(session, now_ms)
        return len(ids)

    async def _old_scores(self, now_ms: int) -> int:
        """At most an hour of each site per round, a transaction each: sixty times as fast as they come."""
        before_ms, gone = now_ms - int(self._policy.rows_days * DAY_MS), 0
        async with self._database.read() as session:
            sites = list(await session.scalars(select(SiteRow.id)))
        for site in sites:
            mine = ScoreRowTable.site == site
            async with self._database.read() as session:
                oldest = await session.scalar(select(func.min(ScoreRowTable.at_ms)).where(mine))
            if oldest is None or oldest >= before_ms:
                continue
            until = min(before_ms, oldest + HOUR_MS)
            async with self._database.write(patient=True) as session:
                found = await session.execute(delete(ScoreRowTable).where(mine, ScoreRowTable.at_ms < until))
                gone += int(found.rowcount)  # type: ignore[attr-defined]  # a CursorResult
        return gone

    async def _old_quarantine(self, now_ms: int) -> None:
        """What nobody used in as long as rows are kept; a transaction for each site."""
        before_ms = now_ms - int(self._policy.rows_days * DAY_MS)
        async with self._database.read() as session:
            due = await quarantine.due(session, before_ms)
        for site, numbers in sorted(due.items()):
            async with self._database.write() as session:
                await quarantine.expire(session, site, numbers, now_ms)

    async def _old_papers(self, session: AsyncSession, now_ms: int) -> None:
        """What nobody will ask for again; at most so many of each kind per round."""
        before_ms = now_ms - int(self._policy.rows_days * DAY_MS)
        plans = select(PlanRow.row).where(PlanRow.created_ms < before_ms).limit(PAPERS_AT_ONCE)
        await session.execute(delete(PlanRow).where(PlanRow.row.in_(plans)))
        for state in REGULAR_REPORTS:
            reports = (
                select(ModelReportRow.row)
                .where(ModelReportRow.state == state, ModelReportRow.at_ms < before_ms)
                .limit(PAPERS_AT_ONCE)
            )
            await session.execute(delete(ModelReportRow).where(ModelReportRow.row.in_(reports)))

    async def _old_history(self, session: AsyncSession, now_ms: int) -> None:
        """At most a day of it per round."""
        before_ms = now_ms - int(self._policy.rows_days * DAY_MS)
        oldest = await session.scalar(select(func.min(DeviceHistoryRow.at_ms)))
        if oldest is not None and oldest < before_ms:
            until = min(before_ms, oldest + DAY_MS)
            await session.execute(delete(DeviceHistoryRow).where(DeviceHistoryRow.at_ms < until))


async def _next_generation(session: AsyncSession, day: int) -> int:
    found = await session.scalar(select(func.max(ColdDayRow.generation)).where(ColdDayRow.day == day))
    return 0 if found is None else int(found) + 1


def _record(day: int, generation: int, file: ColdFile, now_ms: int) -> ColdDayRow:
    return ColdDayRow(
        day=day,
        generation=generation,
        path=file.path,
        rows=file.rows,
        size=file.size,
        dropped_ms=now_ms,
    )
