"""One transaction for a handful of messages: rows, alarms, states and the ledger commit together.

The order inside is fixed so that what arrives is independent of how the messages were mixed. Nothing is
acknowledged here; the caller does that once `commit` has returned.
"""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

import cloud.alarms.intake
import cloud.commands.intake
import cloud.devices.intake
import cloud.history.intake
import cloud.rollouts.intake
import cloud.sites.intake
from cloud.ingest import ledger, quarantine
from cloud.ingest.decoding import (
    Answer,
    Batched,
    Born,
    Decoded,
    Events,
    GivenUp,
    Presence,
    Refused,
    Remembered,
    Renewal,
    Rollups,
    Scores,
    Wanted,
    Windows,
)
from cloud.kit.changes import Changes
from cloud.kit.database import Database
from cloud.tables import SiteRow
from cloud.timeseries.store import Record, TimeSeriesStore, WriteReport
from shared.clock import Clock
from shared.ids import SiteId
from shared.wire.envelope import Ack

MAX_REMEMBERED = 500_000
"""Devices whose newest time is held in memory, at about 150 bytes each."""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What a committed transaction leaves to be done: tell the sites, tell the viewers, send chunks."""

    acks: tuple[tuple[SiteId, Ack], ...]
    changes: Changes
    wanted: tuple[Wanted | Renewal, ...]
    rows: int
    new_rows: int
    duplicates: int
    refused: int
    apart: dict[SiteId, int] = {}
    """Site → rows that differ from what is stored of their times, and are kept apart now."""


class _NotNewError(Exception):
    """Rows were written early of a batch that is committed already."""


class _Work:
    """What one transaction gathers."""

    def __init__(self, session: AsyncSession, now_ms: int) -> None:
        self.session = session
        self.now_ms = now_ms
        self.changes = Changes()
        self.ledgers: dict[tuple[SiteId, str, str], ledger.StreamLedger] = {}
        self.owed = False
        """Whether the message is a batch of the quarantine, whose number is in the ledger already."""
        self.early = False
        """Whether the rows are in already."""
        self.records: list[Record] = []
        self.owed_rows: dict[tuple[str, str], Record] = {}
        """Newest rows of devices that earlier commits have left."""
        self.newest: dict[tuple[str, str], int] = {}
        self.rows = 0
        self.new_rows = 0
        self.apart: dict[SiteId, int] = {}
        self.duplicates = 0
        self.refused = 0


class Committer:
    """Applies decoded messages to the database."""

    def __init__(self, database: Database, series: TimeSeriesStore, clock: Clock) -> None:
        self._database = database
        self._series = series
        self._clock = clock
        self._newest: dict[tuple[str, str], int] = {}
        """(site, device) → a time that is committed as its newest, or an older one: times only rise. Saves
        the database from looking at every row of a backlog."""
        self._owed: dict[tuple[str, str], Record] = {}
        """(site, device) → its newest row, where more was on its way when that was committed."""

    async def commit(self, messages: Sequence[Decoded], *, more: bool = False) -> Committed:
        """Apply all or nothing; raises what the database raises.

        With `more` to come at once, the newest rows of devices are left to a later commit, or to `settle`.
        They are copies of what this one writes: a backlog would replace each of them in every commit.
        """
        try:
            return await self._commit(messages, early=True, more=more)
        except _NotNewError:
            return await self._commit(messages, early=False, more=more)

    @property
    def owes(self) -> bool:
        """Whether newest rows of devices wait for `settle`."""
        return bool(self._owed)

    async def settle(self) -> None:
        """Write the newest rows that were left; raises what the database raises, and owes them still."""
        owed = dict(self._owed)
        async with self._database.write() as session:
            now_ms = self._clock.utc_ms()
            newest = await cloud.devices.intake.newest_rows(session, owed.values(), self._newest, now_ms)
        self._settled(owed, newest)

    async def redeem(self, message: Decoded, number: int) -> Committed:
        """Apply a message of the quarantine and take it out there, or neither; raises `NotFound`."""
        return await self._commit([message], early=False, redeemed=number)

    async def _commit(
        self, messages: Sequence[Decoded], *, early: bool, more: bool = False, redeemed: int | None = None
    ) -> Committed:
        """With `early`, rows go in before anything is locked: the long part, and others work meanwhile.

        Then every batch must turn out to be new, or it raises `_NotNewError` and nothing has happened.
        """
        async with self._database.write() as session:
            work = _Work(session, self._clock.utc_ms())
            work.owed_rows = {} if more else dict(self._owed)
            if redeemed is not None:
                work.owed = (await quarantine.take_out(session, redeemed)).owed
            if early:
                work.early = await self._series.write_early(session, _all_rows(messages))
            sites = {message.site for message in messages if message.site is not None}
            if sites:
                await cloud.sites.intake.ensure(session, sites)
                await _lock(session, sites)
                await cloud.sites.intake.seen(session, _heard(messages), work.now_ms)
                work.changes.sites |= sites
            work.ledgers = await ledger.load(session, _streams(messages), work.now_ms)
            for message in messages:
                await self._apply(work, message)
            await self._store(work, more=more)
            for stream in work.ledgers.values():
                stream.write_back()
        if more:
            touched = {(record[0], record[1]) for record in work.records}
            owed = [self._owed[key] for key in touched & self._owed.keys()]
            self._owed.update(cloud.devices.intake.newest_of([*owed, *work.records], work.now_ms))
        else:
            self._settled(work.owed_rows, work.newest)
        return Committed(
            acks=tuple((key[0], ack) for key, stream in work.ledgers.items() for ack in stream.acks()),
            changes=work.changes,
            wanted=tuple(message for message in messages if isinstance(message, Wanted | Renewal)),
            rows=work.rows,
            new_rows=work.new_rows,
            duplicates=work.duplicates,
            refused=work.refused,
            apart=work.apart,
        )

    async def _apply(self, work: _Work, message: Decoded) -> None:
        match message:
            case Rollups() | Scores() | Events() | Remembered() | Windows():
                await self._batch(work, message)
            case GivenUp(site=site, tombstone=tombstone):
                covered = work.ledgers[site, tombstone.of_epoch or tombstone.epoch, tombstone.stream]
                own = work.ledgers[site, tombstone.epoch, tombstone.stream]
                if not own.take_tombstone(tombstone, covered):
                    work.duplicates += 1
            case Born(site=site, birth=birth, devices=devices, retained=kept):
                await cloud.sites.intake.born(work.session, site, birth, devices, work.now_ms, kept=kept)
                work.changes.devices.add(site)
            case Presence(site=site, state=state):
                await cloud.sites.intake.presence(work.session, site, state, work.now_ms)
            case Answer():
                await self._answer(work, message)
            case Refused():
                await self._refuse(work, message)
            case Wanted() | Renewal():
                pass  # served after the commit; nothing to store

    async def _batch(self, work: _Work, message: Batched) -> None:
        batch = message.batch
        stream = work.ledgers[message.site, batch.epoch, batch.stream]
        taken = stream.redeem(batch.count) if work.owed else stream.take_batch(batch.seq, batch.count)
        if not taken:
            if work.early and isinstance(message, Rollups):
                raise _NotNewError
            work.duplicates += 1
            return
        match message:
            case Rollups(site=site, records=records):
                work.records.extend(records)
                work.changes.devices.add(site)
            case Scores(site=site, rows=scores):
                await cloud.devices.intake.scores(work.session, site, scores, work.now_ms)
                work.changes.devices.add(site)
            case Remembered(site=site, rows=moments):
                await cloud.history.intake.remembered(work.session, site, moments, work.now_ms)
            case Windows(site=site, frames=frames):
                await cloud.history.intake.windows(work.session, site, frames, work.now_ms)
            case Events(site=site, events=events):
                fresh = await cloud.alarms.intake.take(work.session, site, events, work.now_ms, work.changes)
                await cloud.sites.intake.zone_status(work.session, site, fresh)
                await cloud.rollouts.intake.reports(work.session, site, fresh, work.changes)
                await cloud.commands.intake.events(
                    work.session, site, fresh, work.changes, now_ms=work.now_ms
                )

    async def _store(self, work: _Work, *, more: bool) -> None:
        """All rows of all messages at once, and one newest row per device, however many came of it."""
        if work.records:
            await self._store_rows(work)
        if not more and (work.records or work.owed_rows):
            rows = [*work.owed_rows.values(), *work.records]
            work.newest = await cloud.devices.intake.newest_rows(
                work.session, rows, self._newest, work.now_ms
            )

    async def _store_rows(self, work: _Work) -> None:
        if work.early:
            await self._series.mark(work.session, work.records)
            report = WriteReport(rows=len(work.records), new=len(work.records))
        else:
            report = await self._series.write_records(work.session, work.records, work.now_ms)
        work.rows += report.rows
        work.new_rows += report.new
        work.apart = report.apart

    def _settled(self, rows: dict[tuple[str, str], Record], newest: dict[tuple[str, str], int]) -> None:
        """These are committed. What another commit has left meanwhile is owed still."""
        for key, row in rows.items():
            if self._owed.get(key) is row:
                del self._owed[key]
        if len(self._newest) > MAX_REMEMBERED:
            self._newest.clear()
        self._newest.update(newest)

    async def _answer(self, work: _Work, message: Answer) -> None:
        if not await cloud.commands.intake.take(
            work.session, message.site, message.status, work.changes, now_ms=work.now_ms
        ):
            unknown = Refused(
                topic=f"mw/1/{message.site}/up/res/{message.status.id}",
                payload=msgspec.json.encode(message.status),
                reason="no command of this id was sent to this site",
                site=message.site,
            )
            await self._refuse(work, unknown)

    async def _refuse(self, work: _Work, message: Refused) -> None:
        """Keep it. A batch that there is no room for is not taken: without an ack the site keeps it."""
        batch, site = message.batch, message.site
        owed_to = site if batch is not None else None
        if batch is not None and site is not None:
            if not await quarantine.admit(
                work.session,
                site,
                message.topic,
                message.payload,
                now_ms=work.now_ms,
                changes=work.changes,
            ):
                return
            work.ledgers[site, batch.epoch, batch.stream].take_unusable(batch.seq)
        work.refused += 1
        await quarantine.put(
            work.session,
            topic=message.topic,
            payload=message.payload,
            reason=message.reason,
            owed_to=owed_to,
            now_ms=work.now_ms,
        )
        await quarantine.prune(work.session)


def _all_rows(messages: Iterable[Decoded]) -> list[Record]:
    found: list[Record] = []
    for message in messages:
        if isinstance(message, Rollups):
            found.extend(message.records)
    return found


async def _lock(session: AsyncSession, sites: Iterable[SiteId]) -> None:
    """Take these sites in one order; two workers would otherwise wait for each other in a circle."""
    if session.get_bind().dialect.name != "sqlite":
        ordered = select(SiteRow.id).where(SiteRow.id.in_(sorted(sites))).order_by(SiteRow.id)
        await session.execute(ordered.with_for_update())


def _heard(messages: Iterable[Decoded]) -> set[SiteId]:
    """Sites that spoke just now. What a broker kept, and the will of a dead agent, is not that."""
    return {
        message.site
        for message in messages
        if message.site is not None
        and not message.retained
        and not (isinstance(message, Presence) and not message.state.online)
    }


def _streams(messages: Iterable[Decoded]) -> set[tuple[SiteId, str, str]]:
    found = set()
    for message in messages:
        match message:
            case (
                Rollups(site=site, batch=batch)
                | Scores(site=site, batch=batch)
                | Events(site=site, batch=batch)
                | Remembered(site=site, batch=batch)
                | Windows(site=site, batch=batch)
            ):
                found.add((site, batch.epoch, batch.stream))
            case GivenUp(site=site, tombstone=tombstone):
                found.add((site, tombstone.epoch, tombstone.stream))
                found.add((site, tombstone.of_epoch or tombstone.epoch, tombstone.stream))
            case Refused(site=site, batch=batch) if site is not None and batch is not None:
                found.add((site, batch.epoch, batch.stream))
    return found
