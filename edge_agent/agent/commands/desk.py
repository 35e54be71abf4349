"""Signed orders from the broker to the guardian, and every word about them back, over restarts and outages.

Nothing here verifies and nothing decides: the guardian does both. An order goes on before anything is stored,
because the safe direction never waits for a disk; the guardian's journal has it either way. After a restart,
and when the guardian is back, orders without a last word are handed over again: the guardian answers a
repeated id with its stored result and never acts twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from edge_agent import ipc
from edge_agent.agent.commands.book import Book
from edge_agent.agent.events import event
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from shared.alarms import EventKind, Severity
from shared.clock import Clock
from shared.commands import CommandBody, CommandState, CommandStatus
from shared.errors import StoreError

KEY: Final = "commands.book"
_TICK_S: Final = 0.25
_KEEP_EVERY_S: Final = 1.0
"""Somebody may flood the topic; the disk is not to wear out over it."""
_QUIET_S: Final = 60.0
"""Unusable commands are told about once in this time, with their number."""


class CommandDesk(Service):
    """Between downlink, guardian link and uplink."""

    name = "commands"

    def __init__(
        self,
        clock: Clock,
        records: Records,
        *,
        send: Callable[[ipc.FromAgent], Awaitable[bool]],
        publish: Callable[[CommandStatus], None],
        connection: Callable[[], int | None],
    ) -> None:
        """`publish` queues a word for the broker; `connection` names the present connection, None without."""
        super().__init__(clock)
        self._records = records
        self._send = send
        self._publish = publish
        self._connection = connection
        self._seen_connection: int | None = None
        self._book = Book()
        self._kept = Book()
        self._change = asyncio.Event()
        self._bad = 0
        self._bad_why = ""
        self._bad_told_s: float | None = None
        self._kept_s = -_KEEP_EVERY_S
        self._disk_complained = False

    async def open(self) -> None:
        """Take up what the last life kept."""
        try:
            kept = await self._records.get(KEY, Book)
        except msgspec.DecodeError:
            log.exception("what was kept of commands cannot be read and is left")
            kept = None
        self._book = self._kept = (kept or Book()).bounded(self.clock.utc_ms())

    # ------------------------------------------------------------ towards the guardian

    async def order(self, order: ipc.Order) -> bool:
        """Hand a signed order on, untouched; False where the guardian is not there."""
        body = msgspec.msgpack.decode(order.signed.payload, type=CommandBody)
        now_ms = self.clock.utc_ms()
        self._book = self._book.with_order(body.id, order.signed, now_ms)  # its answer may be quick
        if not await self._send(order):
            self._book = self._book.without_order(order.signed)
            return False
        self.tell(
            CommandStatus(
                id=body.id,
                state=CommandState.RECEIVED,
                detail="the agent has it and handed it to the guardian",
                at_ms=now_ms,
                digest=order.signed.digest,
            )
        )
        return True

    async def guardian_is_back(self) -> None:
        """Ask again after every order that has no last word."""
        for entry in self._book.handed:
            await self._send(ipc.Order(signed=entry.signed))

    def unusable(self, why: str) -> None:
        """A message on `dn/cmd` that is no command; counted here, told as an event."""
        self._bad += 1
        self._bad_why = why
        self._change.set()

    # ------------------------------------------------------------ towards the cloud

    def tell(self, status: CommandStatus) -> None:
        """Publish a word and keep it until it is told for sure."""
        connected = self._connection() is not None
        self._book = self._book.with_word(status, self.clock.utc_ms(), connected=connected)
        self._change.set()
        self._publish(status)

    # ------------------------------------------------------------ running

    async def run(self) -> None:
        while True:
            self.tick()
            self._look_at_connection()
            await self._tell_of_bad()
            await self._keep()
            await self._pause()

    def _look_at_connection(self) -> None:
        """A new connection: tell again whatever an earlier one may have lost."""
        now = self._connection()
        if now is None or now == self._seen_connection:
            return
        self._seen_connection = now
        for entry in self._book.told:
            self._publish(entry.status)
        self._book = self._book.over_connection()

    async def _tell_of_bad(self) -> None:
        now_s = self.clock.monotonic()
        if not self._bad or (self._bad_told_s is not None and now_s - self._bad_told_s < _QUIET_S):
            return
        count, self._bad = self._bad, 0
        self._bad_told_s = now_s
        found = event(
            EventKind.REFUSED,
            "command-unusable",
            f"{count} unusable messages on the command topic, the last: {self._bad_why}",
            at_ms=self.clock.utc_ms(),
            severity=Severity.HIGH,
            advice="Nothing was done. Ask who may write to this site's command topic.",
            data={"count": count, "why": self._bad_why},
        )
        try:
            await self._records.emit(found)
        except StoreError:
            self._bad, self._bad_told_s = self._bad + count, None

    async def _keep(self) -> None:
        now_s = self.clock.monotonic()
        if self._book == self._kept or now_s - self._kept_s < _KEEP_EVERY_S:
            return
        book, self._kept_s = self._book, now_s
        try:
            await self._records.put(KEY, book)
        except StoreError as error:
            if not self._disk_complained:
                log.error("what is known of commands is not on the disk: %s", error)
            self._disk_complained = True
            return
        self._kept, self._disk_complained = book, False

    async def _pause(self) -> None:
        self._change.clear()
        nap = asyncio.ensure_future(self.clock.sleep(_TICK_S))
        news = asyncio.ensure_future(self._change.wait())
        try:
            await asyncio.wait({nap, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            news.cancel()
