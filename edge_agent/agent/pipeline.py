"""The way of a sample on this side: guardian's messages → raw frames → roll-up rows and outbox → models.

Nothing here waits for the network. What the disk refuses is kept and tried again; the cursor moves only
with the rows, so a restart in between repeats nothing and loses nothing that the guardian still has.
"""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from edge_agent import ipc
from edge_agent.agent.disk_alarm import DiskAlarm
from edge_agent.agent.events import event
from edge_agent.agent.guardian_link import GuardianLink
from edge_agent.agent.histories import Histories
from edge_agent.agent.inference.keeper import Keeper
from edge_agent.agent.recorder import CURSOR_KEY, Cursor, Loss, Recorder, SetBack
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.view import SiteView
from shared.alarms import Event, EventKind, Severity
from shared.clock import Clock
from shared.commands import CommandStatus
from shared.errors import StoreError
from shared.telemetry import RollupRow, Sample

JOURNAL_KEY: Final = "guardian.journal"
_MAX_HELD_ROWS: Final = 200_000
_MAX_HELD_SAMPLES: Final = 100_000
_RAW_EVERY_S: Final = 10.0
_TICK_S: Final = 0.25
_LOSS: Final = uuid.UUID("6f1d9f5e-6a52-4f0c-9d25-1d9a3a8f4c11")
_SET_BACK: Final = uuid.UUID("b0c3f7a2-58d4-4e7e-9c43-52f0a1d6e8b7")
"""Namespace: the same loss, seen again after a crash, is the same event."""

Send = Callable[[ipc.FromAgent], Awaitable[bool]]


class JournalCursor(msgspec.Struct, frozen=True, kw_only=True):
    """The last journal entry whose event is in the store, and its hash in the chain."""

    seq: int = 0
    hash: str = ""


class Pipeline(Service):
    """Takes messages from the link and flushes on time."""

    name = "pipeline"

    def __init__(
        self,
        clock: Clock,
        view: SiteView,
        records: Records,
        keeper: Keeper,
        *,
        tell: Callable[[CommandStatus], None],
    ) -> None:
        super().__init__(clock)
        self._view = view
        self._records = records
        self._keeper = keeper
        self._tell = tell
        self._flush_s = view.site.agent.flush_every_s
        self._recorder = Recorder(view.site.timing.step_s, None)
        self._journal = JournalCursor()
        self._histories = Histories(clock, records)
        self._head = ("", 0)
        self._raw: list[Sample] = []
        self._rows: list[RollupRow] = []
        self._losses: list[Loss] = []
        self._set_backs: list[SetBack] = []
        self._overflow = 0
        self._late_told = 0
        self._raw_due_s = 0.0
        self._disk = DiskAlarm(clock, records)
        self.link: GuardianLink | None = None

    async def open(self) -> None:
        """Take up the cursors of the last life."""
        self._recorder = Recorder(self._view.site.timing.step_s, await self._records.get(CURSOR_KEY, Cursor))
        self._journal = await self._records.get(JOURNAL_KEY, JournalCursor) or JournalCursor()
        self._view.journal_cursor = self._journal.seq
        await self._histories.open()

    # ------------------------------------------------------------ link

    async def on_open(self, hello: ipc.Hello) -> None:
        """Resume samples and journal where the store stands."""
        self._view.hello = hello
        self._view.guardian_connected = True
        self._view.guardian_since_ms = self.clock.utc_ms()
        self._head = (hello.boot, hello.next_seq - 1)
        self._histories.connected()
        boot, seq = self._recorder.seen
        await self._send(ipc.SamplesSince(boot=boot, seq=seq))
        await self._send(ipc.JournalSince(cursor=self._journal.seq))
        await self._keeper.greet_guardian()

    def on_close(self) -> None:
        """Without the guardian nothing is known; what it last said does not count any more."""
        self._view.guardian_connected = False
        self._view.guardian_since_ms = self.clock.utc_ms()
        self._view.status = None

    async def handle(self, message: ipc.FromGuardian) -> None:
        """One message of the guardian."""
        match message:
            case ipc.Samples():
                self._take_samples(message)
            case ipc.Status():
                self._view.status, self._view.status_at_s = message, self.clock.monotonic()
                if message.journal_head != self._journal.seq:
                    await self._with_disk(self._ask_journal(message.journal_head))
            case ipc.JournalPage():
                await self._with_disk(self._take_journal(message))
            case ipc.Inventory():
                self._view.take_inventory(message)
            case ipc.Result():
                self._take_result(message)
                self._keeper.result(message)
            case ipc.Outcome():
                self._keeper.outcome(message)
            case ipc.Progress():
                self._take_progress(message)
            case ipc.Health():
                self._view.health = message
            case ipc.DeviceHistory():
                await self._with_disk(self._histories.take(message))
            case ipc.Tripped() | ipc.Cleared() | ipc.Hello() | ipc.PlanPreview():
                pass  # the journal carries trips and resets, durably and in order

    def _take_samples(self, message: ipc.Samples) -> None:
        self._losses += self._recorder.add(message.samples)
        self._set_backs += self._recorder.set_backs()
        for sample in message.samples:
            self._view.take_sample(sample)
        self._raw += message.samples
        if len(self._raw) > _MAX_HELD_SAMPLES:
            del self._raw[: -_MAX_HELD_SAMPLES // 2]  # the disk refuses for long; roll-ups matter more

    def _take_result(self, result: ipc.Result) -> None:
        if result.command_state is not None:
            self._tell(
                CommandStatus(
                    id=result.id,
                    state=result.command_state,
                    detail=result.detail,
                    at_ms=result.at_ms,
                    outcome=result.outcome,
                    writes=result.writes,
                    digest=result.digest,
                    preview=result.preview,
                    by=result.by,
                )
            )

    def _take_progress(self, progress: ipc.Progress) -> None:
        self._tell(
            CommandStatus(
                id=progress.id,
                state=progress.state,
                detail=progress.detail,
                at_ms=progress.at_ms,
                digest=progress.digest,
                by=progress.by,
            )
        )

    async def _with_disk(self, work: Awaitable[None]) -> None:
        """A refusing disk must not cost the link, and with it the lease; the next status asks again."""
        try:
            await work
        except StoreError as error:
            await self._complain(error)

    # ------------------------------------------------------------ journal

    async def _ask_journal(self, head: int) -> None:
        if head < self._journal.seq:
            await self._records.emit(
                self._store_event(
                    "journal-restarted",
                    f"The guardian's journal starts anew: it is at {head}, we were at {self._journal.seq}",
                )
            )
            self._journal = JournalCursor()
        await self._send(ipc.JournalSince(cursor=self._journal.seq))

    async def _take_journal(self, page: ipc.JournalPage) -> None:
        """Events and cursor in one transaction: each entry becomes exactly one outbox event."""
        fresh = [entry for entry in page.entries if entry.seq > self._journal.seq]
        if not fresh:
            return
        events = [entry.event for entry in fresh]
        if fresh[0].seq != self._journal.seq + 1:
            gone = fresh[0].seq - self._journal.seq - 1
            events.append(
                self._store_event(
                    "journal-gap", f"{gone} journal entries were gone before they could be read"
                )
            )
        elif self._journal.hash and fresh[0].previous != self._journal.hash:
            events.append(
                self._store_event(
                    "journal-chain", f"Journal entry {fresh[0].seq} does not follow on the last"
                )
            )
        cursor = JournalCursor(seq=fresh[-1].seq, hash=fresh[-1].hash)
        await self._records.emit(*events, meta={JOURNAL_KEY: msgspec.msgpack.encode(cursor)})
        self._journal = cursor
        self._view.journal_cursor = cursor.seq
        if page.head > cursor.seq:
            await self._send(ipc.JournalSince(cursor=cursor.seq))

    # ------------------------------------------------------------ flush

    async def run(self) -> None:
        flush_s = self.clock.monotonic()
        while True:
            self.tick()
            if self.clock.monotonic() >= flush_s:
                flush_s = self.clock.monotonic() + self._flush_s
                await self.flush()
            await self.clock.sleep(min(_TICK_S, self._flush_s))

    async def flush(self) -> None:
        """Close the steps that are over, commit them, and show them to the models.

        Raw frames go first, so that the cursor does not run ahead of them. Scoring goes on when the disk
        refuses: what is kept in memory is as true as what is on disk.
        """
        fresh = self._recorder.close(self._stream_ms())
        self._rows += fresh
        await self._write()
        if fresh:
            self._view.take_rows(fresh)
            await self._keeper.push(fresh)

    async def _write(self) -> None:
        refused: StoreError | None = None
        for part in (self._flush_raw, self._flush_rows, self._histories.flush):
            try:
                await part()
            except StoreError as error:
                refused = error
        if refused is not None:
            await self._complain(refused)
        else:
            await self._disk.well()

    async def _flush_raw(self) -> None:
        if not self._rows and self.clock.monotonic() < self._raw_due_s:
            return
        samples, self._raw = self._raw, []
        self._raw_due_s = self.clock.monotonic() + _RAW_EVERY_S
        try:
            await self._records.append_raw(samples)
        except StoreError:
            self._raw = samples + self._raw
            raise

    async def _flush_rows(self) -> None:
        rows, losses, late = self._rows, self._losses, self._recorder.late
        set_backs = self._set_backs
        if not (rows or losses or set_backs):
            return
        overflow = [self._overflow_event(self._overflow)] if self._overflow else []
        if late > self._late_told:
            overflow.append(self._late_event(late - self._late_told))
        self._rows, self._losses, self._set_backs = [], [], []
        commit = Commit(
            rollups=tuple(rows),
            events=(*overflow, *map(self._loss_event, losses), *map(_set_back_event, set_backs)),
            meta={CURSOR_KEY: msgspec.msgpack.encode(self._recorder.cursor)},
        )
        try:
            await self._records.commit(commit)
        except StoreError:
            self._rows, self._losses = rows + self._rows, losses + self._losses
            self._set_backs = set_backs + self._set_backs
            raise
        self._overflow, self._late_told = 0, late

    def _stream_ms(self) -> int:
        """How far time has come in the sample stream.

        The wall clock counts only when every sample that the guardian had is here; during a replay, and
        while the link is down, a step is over when a sample of a later one says so.
        """
        boot, seq = self._recorder.seen
        complete = boot == self._head[0] and seq >= self._head[1]
        if self._view.guardian_connected and complete:
            return max(self._recorder.newest_ms, self.clock.utc_ms())
        return self._recorder.newest_ms

    async def _complain(self, error: StoreError) -> None:
        over = len(self._rows) - _MAX_HELD_ROWS
        if over > 0:
            del self._rows[:over]
            self._overflow += over
        await self._disk.refused(error)

    # ------------------------------------------------------------ words

    async def _send(self, message: ipc.FromAgent) -> None:
        if self.link is not None:
            await self.link.send(message)

    def _loss_event(self, loss: Loss) -> Event:
        return event(
            EventKind.STORE,
            "samples-lost",
            f"{loss.count} samples were taken while the agent was away and are gone",
            at_ms=loss.at_ms,
            severity=Severity.LOW,
            advice="The charts have a gap here. If it repeats, look why the agent restarts.",
            event_id=str(uuid.uuid5(_LOSS, f"{loss.boot}/{loss.first_seq}/{loss.last_seq}")),
            data={
                "count": loss.count,
                "boot": loss.boot,
                "first_seq": loss.first_seq,
                "last_seq": loss.last_seq,
            },
        )

    def _late_event(self, samples: int) -> Event:
        return self._store_event(
            "samples-late",
            f"{samples} samples came after their steps' rows; they are in the raw samples only",
        )

    def _overflow_event(self, rows: int) -> Event:
        return self._store_event(
            "rows-lost", f"{rows} roll-up rows are gone: the disk refused data for too long", Severity.HIGH
        )

    def _store_event(self, key: str, title: str, severity: Severity = Severity.LOW) -> Event:
        return event(
            EventKind.STORE,
            key,
            title,
            at_ms=self.clock.utc_ms(),
            severity=severity,
            advice="Compare the guardian's journal on site with the automation log in the cloud.",
        )


def _set_back_event(jump: SetBack) -> Event:
    before, after = (
        datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        for at_ms in (jump.before_ms, jump.after_ms)
    )
    return event(
        EventKind.STORE,
        "clock-set-back",
        f"The gateway's clock was set back from {before} to {after}",
        at_ms=jump.after_ms,
        severity=Severity.LOW,
        advice="The times in between are lived twice; nothing is lost by it. Look why the clock was wrong.",
        event_id=str(uuid.uuid5(_SET_BACK, f"{jump.boot}/{jump.seq}")),
        data={"before_ms": jump.before_ms, "after_ms": jump.after_ms, "boot": jump.boot, "seq": jump.seq},
    )
