"""The ingest loop: broker → bounded queue → decoded ahead in a thread → one writer → commit → acks.

While one group of messages is being committed the next ones are decoded, so both cores work; what is decoded
and not committed is bounded in rows and in plain bytes, what is not decoded waits as the bytes that came, and
behind that the broker. The broker is told "received" only after the commit, and so is the site (`dn/ack`).
Where the database is gone, messages wait: the writer tries again and again, and the broker holds back after
`WINDOW` messages. With a new connection it sends them all once more, so those of an earlier one are dropped.
A message that the database itself refuses is cut out and quarantined; it never stops the loop.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
import paho.mqtt.client as mqtt
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from cloud.ingest.committer import Committed, Committer
from cloud.ingest.decoding import Decoded, Refused, Renewal, Rollups, Wanted, decode, plain_bytes
from cloud.ingest.sharing import ALONE, Subscriptions
from cloud.kit.broker import Link
from cloud.kit.changes import Changes
from shared.clock import Clock
from shared.errors import WireError
from shared.wire import codec, topics

WINDOW = 256
"""Messages that the broker may have in flight towards us (MQTT 5 receive maximum)."""
MAX_PER_COMMIT = 128
MAX_ROWS_PER_COMMIT = 16_000
"""A decoded row is about 1.5 kB of memory: as much is in the commit, and as much waits for it."""
MAX_PLAIN_BYTES = 24 * 1024 * 1024
"""Plain bytes of all messages that are decoded and not committed, in lanes and commits together; the last one
may go over it. 48,000 rows of a usual site; a raw window of small words takes 8 times its plain size."""
MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Of messages as they came, above which QoS 0 is dropped; QoS 1 has `WINDOW` and the broker's limits."""
DECODE_AT_ONCE = 8
ROW_LANES = 2
"""Commits of roll-up batches that run at once: they are commutative, and while the database works on one the
next is on its way. Everything else has an order and goes through one lane of its own."""
SETTLE_S = 2.0
"""While more is to come, the newest rows of devices are written this often, and not in every commit."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
FIRST_DEADLINE_S, LAST_DEADLINE_S = 60.0, 600.0
"""A commit that takes longer is broken off, reported and tried again, with twice the time: a database that is
only slow gets there, and one that fell silent is noticed."""
_MESSAGE_FAULTS = (
    DataError,
    IntegrityError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    OverflowError,
    ValueError,
    TypeError,
    WireError,
)
"""What says that a message, and not the database, is the trouble."""
_log = logging.getLogger(__name__)


def _is_message_fault(error: BaseException | None) -> bool:
    """Whether the driver refused the data; with asyncpg, SQLAlchemy keeps the driver's word as the cause."""
    return isinstance(error, _MESSAGE_FAULTS) or (
        error is not None and isinstance(error.__cause__, _MESSAGE_FAULTS)
    )


def _is_clash(error: BaseException) -> bool:
    """Whether the database sent this transaction back because of another one, and not because of trouble."""
    clash = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
    original = error.orig if isinstance(error, StatementError) else None
    return isinstance(error, clash) or isinstance(getattr(original, "__cause__", None), clash)


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A message with what is needed to acknowledge it."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    generation: int
    retained: bool = False
    message: Decoded | None = None
    """None until it is decoded."""

    def decoded(self, now_ms: int) -> Decoded:
        """Its message; never raises."""
        if self.message is not None:
            return self.message
        return decode(self.topic, self.payload, now_ms=now_ms, retained=self.retained)


def _rows(arrival: Arrival) -> int:
    """How much of a commit it fills."""
    return len(arrival.message.records) if isinstance(arrival.message, Rollups) else 1


def _plain(arrival: Arrival) -> int:
    """How much memory it stands for, in plain bytes; 0 while it is not decoded."""
    return 0 if arrival.message is None else plain_bytes(arrival.message, arrival.payload)


class Counters(msgspec.Struct, kw_only=True):
    """What ingest has done since it started."""

    messages: int = 0
    dropped: int = 0
    """QoS 0 messages that came while the queue was full; nobody sends them again."""
    superseded: int = 0
    """QoS 1 messages that an earlier connection brought and nobody had begun to commit; they come again."""
    commits: int = 0
    rows: int = 0
    new_rows: int = 0
    apart: int = 0
    """Rows that differ from those that are stored of the same time, and are kept beside them."""
    duplicates: int = 0
    quarantined: int = 0
    failed_commits: int = 0


def _decode_some(arrivals: Sequence[Arrival], now_ms: int, room: int) -> list[Arrival]:
    """Decode from the front, at least one, until `room` plain bytes are filled."""
    found: list[Arrival] = []
    for arrival in arrivals:
        found.append(msgspec.structs.replace(arrival, message=arrival.decoded(now_ms)))
        room -= _plain(found[-1])
        if room <= 0:
            break
    return found


class Ingest:
    """The consumer and its writer."""

    def __init__(
        self,
        link: Link,
        committer: Committer,
        clock: Clock,
        *,
        on_changes: Callable[[Changes], None],
        on_wanted: Callable[[Wanted | Renewal], None],
    ) -> None:
        self._link = link
        self._committer = committer
        self._clock = clock
        self._on_changes = on_changes
        self._on_wanted = on_wanted
        self._queue: deque[Arrival] = deque()
        self._queued_bytes = 0
        self._came = asyncio.Event()
        self._others: deque[Arrival] = deque()
        self._batches: deque[Arrival] = deque()
        self._ready_rows = 0
        """Decoded, and in no commit yet."""
        self._plain_bytes = 0
        """Decoded, and not committed yet."""
        self._generation = link.generation
        self._waking: asyncio.Task[None] | None = None
        self._settled_s = -math.inf
        self._moved = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counters = Counters()
        self.trouble: str | None = None
        """Why nothing can be committed now; None while all is well."""

    def start(self, subscriptions: Subscriptions = ALONE) -> None:
        """Begin to receive; `run` must be running to commit."""
        self._loop = asyncio.get_running_loop()
        self._link.on_message = self._receive
        self._link.start(*subscriptions.topics, drop=subscriptions.dropped)

    def _receive(self, message: mqtt.MQTTMessage, generation: int) -> None:
        """In paho's thread, which has nothing to do but to read."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "?"
        arrival = Arrival(
            topic=topic,
            payload=bytes(message.payload),
            mid=message.mid,
            qos=message.qos,
            generation=generation,
            retained=message.retain,
        )
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.offer, arrival)

    def offer(self, arrival: Arrival) -> None:
        """Queue one message. QoS 1 is bounded by `WINDOW`; QoS 0 has no such brake, so it is dropped here."""
        self.counters.messages += 1
        if self._link.generation != self._generation:
            self._generation = self._link.generation
            self._drop_superseded()
            self._waking = asyncio.get_running_loop().create_task(self._wake())
        if not self._is_current(arrival):
            self.counters.superseded += 1
            return
        full = len(self._queue) >= 2 * WINDOW or self._queued_bytes >= MAX_QUEUED_BYTES
        if arrival.qos == 0 and full:
            self.counters.dropped += 1
            return
        self._queue.append(arrival)
        self._queued_bytes += len(arrival.payload)
        self._came.set()

    def _is_current(self, arrival: Arrival) -> bool:
        return arrival.qos == 0 or arrival.generation == self._link.generation

    def _drop_superseded(self) -> None:
        """Forget what an earlier connection brought: the broker, or a site that has no ack, sends it again.

        Kept, it would stand here once more for each time the connection flaps while the database is away.
        """
        for lane in (self._queue, self._others, self._batches):
            current = [arrival for arrival in lane if self._is_current(arrival)]
            self.counters.superseded += len(lane) - len(current)
            if lane is not self._queue:
                gone = [arrival for arrival in lane if not self._is_current(arrival)]
                self._ready_rows -= sum(map(_rows, gone))
                self._plain_bytes -= sum(map(_plain, gone))
            lane.clear()
            lane.extend(current)
        self._queued_bytes = sum(len(arrival.payload) for arrival in self._queue)

    async def _wake(self) -> None:
        """There is room again; whoever waits for it would otherwise learn so from the next commit only."""
        async with self._moved:
            self._moved.notify_all()

    async def run(self) -> None:
        """Commit for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._decode_ahead())
            lanes.create_task(self._commit_ready(self._others))
            for _ in range(ROW_LANES):
                lanes.create_task(self._commit_ready(self._batches))

    async def _decode_ahead(self) -> None:
        while True:
            await self._came.wait()
            async with self._moved:
                await self._moved.wait_for(self._has_room)
            room = MAX_PLAIN_BYTES - self._plain_bytes
            arrivals = list(islice(self._queue, DECODE_AT_ONCE))
            decoded = await asyncio.to_thread(_decode_some, arrivals, self._clock.utc_ms(), room)
            async with self._moved:
                for arrival, ready in zip(arrivals, decoded, strict=False):
                    self._move_on(arrival, ready)
                if not self._queue:
                    self._came.clear()
                self._moved.notify_all()

    def _has_room(self) -> bool:
        return self._ready_rows < MAX_ROWS_PER_COMMIT and self._plain_bytes < MAX_PLAIN_BYTES

    def _move_on(self, arrival: Arrival, ready: Arrival) -> None:
        """From the front of the queue to its lane, unless it was superseded while it was being decoded."""
        if not self._queue or self._queue[0] is not arrival:
            return
        self._queue.popleft()
        self._queued_bytes -= len(arrival.payload)
        (self._batches if isinstance(ready.message, Rollups) else self._others).append(ready)
        self._ready_rows += _rows(ready)
        self._plain_bytes += _plain(ready)

    async def _commit_ready(self, lane: deque[Arrival]) -> None:
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: len(lane) > 0)
                arrivals = self._take_group(lane)
                self._moved.notify_all()
            more = len(lane) > 0 and self._clock.monotonic() - self._settled_s < SETTLE_S
            await self.handle(arrivals, more=more)
            async with self._moved:
                self._plain_bytes -= sum(map(_plain, arrivals))
                self._moved.notify_all()
            if not more:
                self._settled_s = self._clock.monotonic()
            elif not lane:
                await self._settle()

    async def _settle(self) -> None:
        """What the last commits left. Where it fails, the next commit writes it."""
        if not self._committer.owes:
            return
        try:
            async with asyncio.timeout(FIRST_DEADLINE_S):
                await self._committer.settle()
        except Exception as error:  # noqa: BLE001 - supervisor: the rows are in, this copy of them can wait
            self._note_trouble(error)

    def _take_group(self, lane: deque[Arrival]) -> list[Arrival]:
        """What fits one commit, at least one message."""
        group: list[Arrival] = []
        rows = 0
        while lane and len(group) < MAX_PER_COMMIT:
            more = _rows(lane[0])
            if group and rows + more > MAX_ROWS_PER_COMMIT:
                break
            rows += more
            group.append(lane.popleft())
        self._ready_rows -= rows
        return group

    async def handle(self, arrivals: Sequence[Arrival], *, more: bool = False) -> None:
        """Commit these, whatever it takes, and acknowledge each after its commit.

        `more`: there is more to commit at once (see `Committer.commit`).
        """
        try:
            now_ms = self._clock.utc_ms()
            committed = await self._persist([arrival.decoded(now_ms) for arrival in arrivals], more=more)
        except _MESSAGE_FAULTS as error:
            await self._isolate(arrivals, error)
            return
        for arrival in arrivals:
            self._link.acknowledge(arrival.mid, arrival.qos, arrival.generation)
        for site, ack in committed.acks:
            self._link.post(topics.ack(site), codec.encode(ack))
        self._count(committed)
        for wanted in committed.wanted:
            self._on_wanted(wanted)
        if committed.changes:
            self._on_changes(committed.changes)

    async def _persist(self, messages: Sequence[Decoded], *, more: bool) -> Committed:
        """Try until it is committed; only a fault of a message itself comes out as an exception."""
        wait_s, deadline_s = FIRST_RETRY_S, FIRST_DEADLINE_S
        while True:
            try:
                async with asyncio.timeout(deadline_s):
                    committed = await self._committer.commit(messages, more=more)
            except _MESSAGE_FAULTS:
                raise
            except TimeoutError as error:
                self._note_trouble(TimeoutError(str(error) or "the database gives no answer"))
                deadline_s = min(LAST_DEADLINE_S, deadline_s * 2)
            except Exception as error:
                # Supervisor: a database that is away must not end ingest; nothing was acknowledged yet.
                if _is_clash(error):
                    continue  # two workers met, and this one was sent back: at once again
                if isinstance(error, StatementError) and _is_message_fault(error.orig):
                    raise WireError(str(error.orig)) from error
                self._note_trouble(error)
            else:
                if self.trouble is not None:
                    _log.warning("ingest commits again")
                    self.trouble = None
                return committed
            await self._clock.sleep(wait_s)
            wait_s = min(LAST_RETRY_S, wait_s * 2)

    def _note_trouble(self, error: Exception) -> None:
        self.counters.failed_commits += 1
        if self.trouble is None:
            _log.error(
                "ingest cannot commit, messages wait at the broker: %s: %s", type(error).__name__, error
            )
        self.trouble = f"{type(error).__name__}: {error}"

    async def _isolate(self, arrivals: Sequence[Arrival], error: Exception) -> None:
        """One of these messages is poison: commit them one by one, and quarantine the one that fails."""
        if len(arrivals) > 1:
            for arrival in arrivals:
                await self.handle([arrival])
            return
        (arrival,) = arrivals
        message = arrival.decoded(self._clock.utc_ms())
        if isinstance(message, Refused):
            _log.error("a message cannot even be quarantined and is dropped: %s: %s", arrival.topic, error)
            self._link.acknowledge(arrival.mid, arrival.qos, arrival.generation)
            return
        refused = Refused(
            topic=arrival.topic,
            payload=arrival.payload,
            reason=f"the database refuses it: {type(error).__name__}: {error}",
            site=message.site,
            batch=getattr(message, "batch", None),
        )
        await self.handle([msgspec.structs.replace(arrival, message=refused)])

    def _count(self, committed: Committed) -> None:
        self.counters.commits += 1
        self.counters.rows += committed.rows
        self.counters.new_rows += committed.new_rows
        for site, rows in committed.apart.items():
            self.counters.apart += rows
            _log.warning(
                "site %s: %s rows differ from those that are stored of the same times; they are kept apart "
                "(a clock that was set back makes such rows)",
                site,
                rows,
            )
        self.counters.duplicates += committed.duplicates
        self.counters.quarantined += committed.refused
