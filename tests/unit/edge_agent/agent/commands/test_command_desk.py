"""What the agent keeps of commands: told again after outages and restarts, and handed over again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.agent.commands.book import (
    KEEP_MS,
    MAX_OPEN,
    MAX_TOLD,
    MAX_TOLD_BYTES,
    OPEN_MS,
    Book,
)
from edge_agent.agent.commands.desk import CommandDesk
from edge_agent.agent.records import Records
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from shared.alarms import Event
from shared.artifacts.signing import Purpose, Signed
from shared.clock import ManualClock
from shared.commands import CommandBody, CommandState, CommandStatus, SafeStopOrder
from shared.errors import StoreError
from shared.ids import CommandId
from shared.wire import codec
from shared.wire.envelope import Batch
from support.agent import KEYS, SITE, T0, make_site


def signed(command: str = "c-1") -> Signed:
    body = CommandBody(
        id=CommandId(command),
        site=SITE,
        issued_ms=T0,
        expires_ms=T0 + 30_000,
        counter=1,
        actor="ann",
        order=SafeStopOrder(),
    )
    return KEYS.command.sign(Purpose.COMMAND, msgspec.msgpack.encode(body))


def word(state: CommandState, command: str = "c-1", *, detail: str = "", digest: str = "") -> CommandStatus:
    return CommandStatus(id=CommandId(command), state=state, detail=detail, at_ms=T0, digest=digest)


class Bench:
    """A desk over a real store; `there` and `connection` are its world."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.view = SiteView(make_site(folder))
        self.writer = Writer()
        self.store = Store(folder / "agent.sqlite", self.clock, outbox_bytes=2**30)
        raw = RawStore(folder / "raw", keep_bytes=2**30)
        self.records = Records(self.store, raw, self.writer, self.view)
        self.there = True
        self.connection: int | None = None
        self.orders: list[Signed] = []
        self.told: list[CommandStatus] = []
        self.desk = CommandDesk(
            self.clock,
            self.records,
            send=self._send,
            publish=self.told.append,
            connection=lambda: self.connection,
        )

    async def _send(self, message: ipc.FromAgent) -> bool:
        assert isinstance(message, ipc.Order)
        if self.there:
            self.orders.append(message.signed)
        return self.there

    async def order(self, command: str = "c-1") -> bool:
        return await self.desk.order(ipc.Order(signed=signed(command)))

    def states(self) -> list[str]:
        return [status.state.value for status in self.told]

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
            for _ in range(5):
                await asyncio.sleep(0)
            await self.writer.call(lambda: None)  # the disk has a thread of its own
            for _ in range(5):
                await asyncio.sleep(0)

    def events(self) -> list[Event]:
        rows = self.store.fetch(self.store.waiting())
        batches = [codec.decode(row.body, Batch) for row in rows if row.stream == "ev"]
        return [event for batch in batches for event in msgspec.msgpack.decode(batch.rows, type=list[Event])]


@asynccontextmanager
async def bench(folder: Path, *, run: bool = True) -> AsyncIterator[Bench]:
    found = Bench(folder)
    await found.desk.open()
    task = asyncio.create_task(found.desk.run()) if run else None
    try:
        yield found
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        found.writer.close()
        found.store.close()


class TestDesk:
    async def test_an_order_goes_on_untouched_and_is_said_to_be_received(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            assert await b.order()
            assert b.orders == [signed()]
            [status] = b.told
            assert (status.state, status.digest) == (CommandState.RECEIVED, signed().digest)

    async def test_without_a_guardian_nothing_is_kept(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.there = False
            assert not await b.order()
            assert b.told == []
            b.there = True
            await b.desk.guardian_is_back()
            assert b.orders == []

    async def test_a_restart_tells_again_and_asks_after_what_has_no_end(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            await b.order("c-1")
            await b.order("c-2")
            b.desk.tell(word(CommandState.DONE, "c-2", digest=signed("c-2").digest))
            await b.pass_time(2.0)
        async with bench(tmp_path) as b:
            await b.desk.guardian_is_back()
            assert b.orders == [signed("c-1")], "the one without a last word"
            b.connection = 1
            await b.pass_time(0.5)
            assert [(s.id, s.state) for s in b.told] == [
                ("c-1", CommandState.RECEIVED),
                ("c-2", CommandState.RECEIVED),
                ("c-2", CommandState.DONE),
            ]

    async def test_a_word_is_told_over_one_more_connection_and_then_no_more(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.connection = 1
            await b.pass_time(0.5)
            b.desk.tell(word(CommandState.DONE))
            for connection, times in ((1, 1), (None, 1), (2, 2), (3, 2), (4, 2)):
                b.connection = connection
                await b.pass_time(0.5)
                assert len(b.told) == times, connection

    async def test_words_wait_for_a_connection(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.desk.tell(word(CommandState.DONE))
            await b.pass_time(3600.0 * 0.01)
            for connection, times in ((7, 2), (8, 3), (9, 3)):
                b.connection = connection
                await b.pass_time(0.5)
                assert len(b.told) == times, "queued, told with the first connection, and with one more"

    async def test_a_disk_that_refuses_holds_nothing_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with bench(tmp_path) as b:

            async def refuse(_key: str, _value: object) -> None:
                raise StoreError("full")

            monkeypatch.setattr(b.records, "put", refuse)
            assert await b.order()
            await b.pass_time(3.0)
            assert b.orders == [signed()]
            monkeypatch.undo()
            await b.pass_time(2.0)
            kept = await b.records.get("commands.book", Book)
            assert kept is not None
            assert len(kept.handed) == 1

    async def test_unusable_commands_become_one_event_a_minute_with_their_number(
        self, tmp_path: Path
    ) -> None:
        async with bench(tmp_path) as b:
            b.desk.unusable("not msgpack")
            await b.pass_time(1.0)
            for _ in range(500):
                b.desk.unusable("larger than 262144")
            await b.pass_time(30.0)
            assert [event.data["count"] for event in b.events()] == [1]
            await b.pass_time(40.0)
            assert [event.data["count"] for event in b.events()] == [1, 500]
            assert "larger than" in b.events()[-1].title

    async def test_a_kept_book_that_cannot_be_read_is_left(self, tmp_path: Path) -> None:
        async with bench(tmp_path, run=False) as b:
            await b.records.put("commands.book", {"told": 3})
        async with bench(tmp_path) as b:
            assert await b.order()


class TestBook:
    def test_the_same_word_is_kept_once(self) -> None:
        book = Book()
        for _ in range(3):
            book = book.with_word(word(CommandState.DONE), T0)
        assert len(book.told) == 1

    def test_a_last_word_closes_only_the_message_that_it_is_about(self) -> None:
        book = Book().with_order(CommandId("c-1"), signed(), T0)
        assert book.with_word(word(CommandState.REFUSED, digest="another"), T0).handed
        assert book.with_word(word(CommandState.RUNNING, digest=signed().digest), T0).handed
        assert not book.with_word(word(CommandState.DONE, digest=signed().digest), T0).handed

    @pytest.mark.parametrize(
        ("fill", "count"),
        [
            (lambda n: word(CommandState.DONE, f"c-{n}"), MAX_TOLD),
            (lambda n: word(CommandState.DONE, f"c-{n}", detail="x" * 100_000), MAX_TOLD_BYTES // 100_000),
        ],
        ids=["many", "large"],
    )
    def test_it_is_bounded_and_the_oldest_go(self, fill: Callable[[int], CommandStatus], count: int) -> None:
        book = Book()
        for number in range(300):
            book = book.with_word(fill(number), T0)
        assert len(book.told) == count
        assert book.told[-1].status.id == "c-299"

    def test_open_orders_are_bounded_and_age(self) -> None:
        book = Book()
        for number in range(MAX_OPEN + 5):
            book = book.with_order(CommandId(f"c-{number}"), signed(f"c-{number}"), T0)
        assert len(book.handed) == MAX_OPEN
        assert not book.bounded(T0 + OPEN_MS + 1).handed

    def test_what_is_old_goes_and_a_clock_that_steps_back_keeps_it(self) -> None:
        book = Book().with_word(word(CommandState.DONE), T0)
        assert book.bounded(T0 - 3_600_000).told
        assert not book.bounded(T0 + KEEP_MS + 1).told
