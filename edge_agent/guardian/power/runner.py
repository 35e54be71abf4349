"""Power orders inside the guardian: kept on the disk, stepped once a second, carried to the desk.

Runs on the event loop; state machine and plan are pure. Nothing begins before it is on the disk; what goes on
from there (one more miner to lower) is the safe direction and waits for a slow disk for `DISK_WITHIN_S` only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.clock_sync import ClockSync
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.state import ZoneState
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.power import book as books
from edge_agent.guardian.power import curtailment, goals, intents, schedules
from edge_agent.guardian.power.book import Book
from edge_agent.guardian.power.orders import PowerOutput, PowerState, Report, rules_of
from edge_agent.guardian.power.schedules import Scheduled
from edge_agent.guardian.power.seen import Looker
from edge_agent.guardian.power.wall import TrustedTime
from edge_agent.guardian.power.writer import Writer
from edge_agent.guardian.requests import CapView
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import Result, StandingState
from shared.alarms import EventKind, Severity
from shared.clock import Clock
from shared.commands import AnyAction, CommandState, DoActions
from shared.errors import StoreError
from shared.ids import DeviceId, ZoneId

log = logging.getLogger(__name__)

EVERY_S = 1.0
MAX_DT_S = 5.0
"""No step counts for more: after a suspended machine wakes, orders go on where they were."""
DISK_WITHIN_S = 1.0
Change = Callable[[Book], Book]


class PowerOrders:
    """All power orders and schedules of the site, and their book."""

    def __init__(
        self,
        site: SiteFile,
        cycle: Cycle,
        board: Board,
        looker: Looker,
        writer: Writer,
        recorder: Recorder,
        clock: Clock,
        path: Path,
        *,
        synchronised: ClockSync,
        background: Callable[[Awaitable[None]], None],
        conclude: Callable[[Result], Awaitable[None]],
    ) -> None:
        self.site = site
        self.looker = looker
        self.clock = clock
        self.recorder = recorder
        self.rules = rules_of(site)
        self.time = TrustedTime(clock, synchronised)
        self._cycle = cycle
        self._board = board
        self._writer = writer
        self._path = path
        self._background = background
        self._conclude = conclude
        self._entries = {entry.id: entry for entry in site.devices}
        self._miners = frozenset(entry.id for entry in site.miners)
        self._saving = asyncio.Lock()
        self._last_s = clock.monotonic()
        self.book = self._load()
        self._saved = books.structure(self.book)
        self.held: frozenset[DeviceId] = self.book.held
        """Read by the interlock thread at every turn."""
        self.order_caps: tuple[CapView, ...] = ()
        """What the running orders leave room for, for the arbiter."""

    def _load(self) -> Book:
        kept, damage = books.load(self._path)
        if damage:
            self.recorder.record(_damaged(self._path, damage))
        now_ms = self.time.now_ms()
        power = books.resumed(kept.power, now_ms)
        if self.rules is None and not power.idle:
            log.error("the site file has no [curtailment] any more; its running power orders are dropped")
            power = PowerState()
        return Book(power=power, schedules=books.resumed_windows(kept.schedules, now_ms))

    # ------------------------------------------------------------ once a second

    def tick(self) -> None:
        """Step what stands, where a second has passed; called after every turn of the interlocks."""
        now_s = self.clock.monotonic()
        if now_s - self._last_s < EVERY_S:
            return
        dt, self._last_s = min(now_s - self._last_s, MAX_DT_S), now_s
        nothing = self.book.power.idle and not self.book.schedules and not self.held
        # An end that the disk did not take is tried again: after a crash the order would act once more.
        if nothing and books.structure(self.book) == self._saved:
            self._note_meter()
            return
        self._step_schedules(dt)
        output = self._step_power(dt)
        self._background(self._act(output))

    def _note_meter(self) -> None:
        """While nothing stands: an order that comes when the meter is silent goes on from its last word."""
        meter_w = self.looker.meter_w()
        if meter_w is not None:
            power = msgspec.structs.replace(self.book.power, meter_w=meter_w)
            self.book = msgspec.structs.replace(self.book, power=power)

    def _step_power(self, dt: float) -> PowerOutput:
        power = self.book.power
        if self.rules is None or power.idle:
            self.order_caps = ()
            self._note_meter()
            return PowerOutput()
        given = self.looker.look()
        power, output = curtailment.step(power, given, self.rules, dt, at_ms=self.clock.utc_ms())
        self.book = msgspec.structs.replace(self.book, power=power)
        room_w = curtailment.room_w(power, given, self.rules)
        ramp_w_per_min = curtailment.ramp_w_per_min(power)
        self.order_caps = tuple(
            CapView(
                id=f"order {order.id}", devices=self._miners, room_w=room_w, ramp_w_per_min=ramp_w_per_min
            )
            for order in power.orders
            if order.active
        )[:1]
        for finding in output.found:
            self.recorder.record(finding)
        for report in output.reports:
            self._background(self._tell(report))
        return output

    def _step_schedules(self, dt: float) -> None:
        if not self.book.schedules:
            return
        windows = schedules.step(self.book.schedules, self.time.now_ms(), dt)
        entries = tuple(
            self._with_reverse(entry) if entry.id in windows.starting else entry
            for entry in windows.schedules
        )
        power = self.book.power
        for order in windows.curtailments:
            power = curtailment.begun(power, order)
        self.book = Book(power=power, schedules=self._closed(entries))
        for finding in windows.found:
            self.recorder.record(finding)

    def _with_reverse(self, entry: Scheduled) -> Scheduled:
        if not isinstance(entry.schedule.what, DoActions):
            return entry
        actions = entry.schedule.what.actions
        last_of = {action.device: self._board.last(action.device) for action in actions}
        return msgspec.structs.replace(entry, before=intents.reverse(actions, last_of))

    def _closed(self, entries: tuple[Scheduled, ...]) -> tuple[Scheduled, ...]:
        """Windows of which everything came back are over."""
        return tuple(
            msgspec.structs.replace(entry, state=StandingState.ENDED, left_s=None)
            if entry.state is StandingState.RESTORING and not self._undone(entry)
            else entry
            for entry in entries
        )

    def _undone(self, entry: Scheduled) -> list[AnyAction]:
        return [
            action
            for action in schedules.wanted(entry)
            if action.device in self._entries
            and not intents.is_done(action, self._board.last(action.device), self._entries[action.device])
        ]

    async def _act(self, output: PowerOutput) -> None:
        """First the disk, for a moment; then what the zones may restart; then the writes."""
        self.held = self.held | self.book.held
        # A disk that hangs has one write waiting for it, not one more each second.
        if books.structure(self.book) != self._saved and not self._saving.locked():
            saving = asyncio.ensure_future(self.save())
            await asyncio.wait([saving], timeout=DISK_WITHIN_S)
        self._bring_back(output.bring_back)
        self.held = self.book.held
        for wish in output.wishes:
            self._writer.want(wish.order, wish.action, back=wish.back)
        for entry in self.book.schedules:
            back = entry.state is StandingState.RESTORING
            for action in self._undone(entry):
                self._writer.want(entry.id, action, back=back, scheduled=True)

    def _bring_back(self, devices: tuple[DeviceId, ...]) -> None:
        by_zone: dict[ZoneId, list[DeviceId]] = {}
        for device in devices:
            by_zone.setdefault(self._entries[device].zone, []).append(device)
        for zone, some in by_zone.items():
            self._cycle.ask(zone, _bringer(some), commit=True)

    async def _tell(self, report: Report) -> None:
        await self._conclude(
            Result(
                id=report.id,
                outcome=report.outcome,
                detail=report.detail,
                command_state=CommandState.DONE,
                at_ms=self.clock.utc_ms(),
            )
        )

    # ------------------------------------------------------------ the book

    async def change(self, change: Change) -> bool:
        """Take a change in once it is on the disk; False where the disk refuses, and nothing changes."""
        async with self._saving:
            if not await self._store(change(self.book)):
                return False
            self.book = change(self.book)  # the book may have gone on meanwhile
        self.held = self.held | self.book.held
        return True

    def change_now(self, change: Change) -> None:
        """Take a change in at once; the disk follows."""
        self.book = change(self.book)
        self._background(self.save())

    def taken(self, device: DeviceId) -> None:
        """A person's order stopped or started a miner that a power order had stopped.

        It is theirs from now on: the end of the power order does not start what a person stopped.
        """
        goal = self.book.power.goals.get(device)
        if goal is None or goal.want is not None:
            return
        self.change_now(lambda book: _without_goal(book, device))

    async def save(self) -> None:
        """Bring the book to the disk as it is now."""
        async with self._saving:
            await self._store(self.book)

    async def _store(self, book: Book) -> bool:
        structure = books.structure(book)
        try:
            await asyncio.to_thread(books.save, self._path, book)
        except StoreError as error:
            log.error("power orders are not on the disk: %s", error)  # noqa: TRY400 - the cause is in the text
            return False
        self._saved = structure
        return True

    def expected_w(self) -> float | None:
        """The meter with everything in flight (W), None where this site carries out no power orders."""
        if self.rules is None:
            return None
        return goals.expected_w(self.book.power, self.looker.look(), self.rules)


def _without_goal(book: Book, device: DeviceId) -> Book:
    goals = {known: goal for known, goal in book.power.goals.items() if known != device}
    return msgspec.structs.replace(book, power=msgspec.structs.replace(book.power, goals=goals))


def _bringer(devices: list[DeviceId]) -> Callable[[ZoneState], Granted]:
    return lambda state: Granted(state=asks.bring_back(state, devices), found=())


def _damaged(path: Path, why: str) -> Finding:
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.URGENT,
        key="power-orders/book",
        title=f"The book of power orders is damaged and was put aside: {path.name}, {why}",
        advice="Caps, curtailments and schedules are forgotten: send again what still counts. What they "
        "lowered stays lowered until somebody raises it.",
    )
