"""Tells people that a process of this gateway starts again and again.

systemd never gives up on the agent or the guardian, and waits no longer after many ends than after one: far
away nobody could start them by hand, and without the guardian nobody may act. What is left is to tell. From
the fifth start within an hour an alarm stands, until the process has run for an hour without a start.

The hour is time that agents were seen to run here, in whole rounds of a minute: no step of the wall clock and
no reboot moves it, and lives of less than a minute take none of it. A person's own restarts count as well.
"""

import asyncio
from typing import Final

import msgspec

from edge_agent.agent.events import event
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from shared.alarms import Event, EventKind, Severity
from shared.clock import Clock
from shared.errors import StoreError

WINDOW_S: Final = 3_600.0
MANY: Final = 5
"""So many starts within the window are told. An upgrade or a person at work makes one or two."""
AGENT_KEY: Final = "agent-restarts"
GUARDIAN_KEY: Final = "guardian-restarts"
META_KEY: Final = "restarts"
_ROUND_S: Final = 60.0
_MOST: Final = 1_000
"""Starts kept of each process; beyond, the count says too few."""


class Starts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one process: when it began within the last hour, in seconds of site time, oldest first."""

    at_s: tuple[float, ...] = ()
    boot: str = ""
    """Of the newest life; empty while none was seen."""
    standing: bool = False
    """The alarm stands."""


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the agent."""

    ran_s: float = 0.0
    """Site time: seconds that agents ran here."""
    agent: Starts = Starts()
    guardian: Starts = Starts()


def with_start(starts: Starts, boot: str, now_s: float) -> Starts:
    """One more start, unless it is the life that was seen already."""
    if boot == starts.boot:
        return starts
    kept = [at_s for at_s in starts.at_s if now_s - at_s < WINDOW_S]
    return msgspec.structs.replace(starts, at_s=(*kept, now_s)[-_MOST:], boot=boot)


class Restarts(Service):
    """Counts starts of the agent and of the guardian. A full disk delays the word and stops nothing."""

    name = "restarts"
    stall_s = 300.0

    def __init__(self, clock: Clock, records: Records, boot: str) -> None:
        super().__init__(clock)
        self._records = records
        self._boot = boot
        self._book = Book()
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Count this life."""
        async with self._turn:
            book = await self._records.get(META_KEY, Book) or Book()
            agent = with_start(book.agent, self._boot, book.ran_s)
            await self._keep(msgspec.structs.replace(book, agent=agent))

    async def guardian_is_here(self, boot: str) -> None:
        """A guardian of this boot said hello: maybe a new one, maybe the same again."""
        async with self._turn:
            guardian = with_start(self._book.guardian, boot, self._book.ran_s)
            if guardian != self._book.guardian:
                await self._keep(msgspec.structs.replace(self._book, guardian=guardian))

    async def run(self) -> None:
        while True:
            began_s = self.clock.monotonic()
            await self.clock.sleep(_ROUND_S)
            await self.lived(self.clock.monotonic() - began_s)
            self.tick()

    async def lived(self, passed_s: float) -> None:
        """So much site time has passed since the last word."""
        async with self._turn:
            await self._keep(msgspec.structs.replace(self._book, ran_s=self._book.ran_s + passed_s))

    async def _keep(self, book: Book) -> None:
        """Make the book durable together with what has to be told; where that fails, with the next round."""
        self._book = book
        agent, told_agent = self._judged(book.agent, AGENT_KEY, "agent", book.ran_s)
        guardian, told_guardian = self._judged(book.guardian, GUARDIAN_KEY, "guardian", book.ran_s)
        judged = msgspec.structs.replace(book, agent=agent, guardian=guardian)
        try:
            await self._records.emit(
                *told_agent, *told_guardian, meta={META_KEY: msgspec.msgpack.encode(judged)}
            )
        except StoreError as error:
            log.warning("the count of restarts waits: %s", error)
        else:
            self._book = judged

    def _judged(self, starts: Starts, key: str, who: str, now_s: float) -> tuple[Starts, list[Event]]:
        recent = [at_s for at_s in starts.at_s if now_s - at_s < WINDOW_S]
        if not starts.standing and len(recent) >= MANY:
            told = event(
                EventKind.ALARM,
                key,
                f"The gateway's {who} was started {len(recent)} times within an hour",
                at_ms=self.clock.utc_ms(),
                severity=Severity.HIGH,
                advice=f"Look why it ends: journalctl -u minewarden-{who}. It is started again for ever.",
                data={"starts": len(recent), "window_s": WINDOW_S},
            )
            return msgspec.structs.replace(starts, standing=True), [told]
        if starts.standing and not recent:
            told = event(
                EventKind.ALARM_CLEARED,
                key,
                f"The gateway's {who} has run for an hour without a start",
                at_ms=self.clock.utc_ms(),
            )
            return msgspec.structs.replace(starts, standing=False, at_s=()), [told]
        return starts, []
