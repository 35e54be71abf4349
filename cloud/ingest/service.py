"""The ingest loop: broker → bounded queue → one writer → commit → acknowledgements.

The broker is told "received" only after the commit, and so is the site (`dn/ack`). Where the database is
gone, messages wait: the writer tries again and again, and the broker holds back after `WINDOW` messages.
A message that the database itself refuses is cut out and quarantined; it never stops the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
import paho.mqtt.client as mqtt
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from cloud.ingest.committer import Committed, Committer
from cloud.ingest.decoding import Decoded, Refused, Renewal, Wanted, decode
from cloud.kit.broker import Link
from cloud.kit.changes import Changes
from shared.clock import Clock
from shared.errors import WireError
from shared.wire import codec, topics

WINDOW = 256
"""Messages that the broker may have in flight towards us (MQTT 5 receive maximum)."""
MAX_PER_COMMIT = 128
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
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


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded message with what is needed to acknowledge it."""

    message: Decoded
    topic: str
    payload: bytes
    mid: int
    qos: int
    generation: int


class Counters(msgspec.Struct, kw_only=True):
    """What ingest has done since it started."""

    messages: int = 0
    dropped: int = 0
    """QoS 0 messages that came while the queue was full; QoS 1 is never dropped."""
    commits: int = 0
    rows: int = 0
    new_rows: int = 0
    duplicates: int = 0
    quarantined: int = 0
    failed_commits: int = 0


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
        self._queue: asyncio.Queue[Arrival] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counters = Counters()
        self.trouble: str | None = None
        """Why nothing can be committed now; None while all is well."""

    def start(self) -> None:
        """Begin to receive; `run` must be running to commit."""
        self._loop = asyncio.get_running_loop()
        self._link.on_message = self._receive
        self._link.start(topics.ALL_UP)

    def _receive(self, message: mqtt.MQTTMessage, generation: int) -> None:
        """In paho's thread: decode here, so that the event loop only queues."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "?"
        payload = bytes(message.payload)
        arrival = Arrival(
            message=decode(topic, payload, now_ms=self._clock.utc_ms(), retained=message.retain),
            topic=topic,
            payload=payload,
            mid=message.mid,
            qos=message.qos,
            generation=generation,
        )
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.offer, arrival)

    def offer(self, arrival: Arrival) -> None:
        """Queue one message. QoS 1 is bounded by `WINDOW`; QoS 0 has no such brake, so it is dropped here."""
        self.counters.messages += 1
        if arrival.qos == 0 and self._queue.qsize() >= 2 * WINDOW:
            self.counters.dropped += 1
            return
        self._queue.put_nowait(arrival)

    async def run(self) -> None:
        """Commit for ever; ends only by cancellation."""
        while True:
            arrivals = [await self._queue.get()]
            while len(arrivals) < MAX_PER_COMMIT and not self._queue.empty():
                arrivals.append(self._queue.get_nowait())
            await self.handle(arrivals)

    async def handle(self, arrivals: Sequence[Arrival]) -> None:
        """Commit these, whatever it takes, and acknowledge each after its commit."""
        if self._queue.qsize() > 2 * WINDOW:
            # The connection flaps while the database is away. What an earlier connection brought comes again
            # from the broker, or from the site, which has no ack; so memory stays bounded.
            arrivals = [arrival for arrival in arrivals if self._is_current(arrival)]
        if not arrivals:
            return
        try:
            committed = await self._persist([arrival.message for arrival in arrivals])
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

    def _is_current(self, arrival: Arrival) -> bool:
        return arrival.qos == 0 or arrival.generation == self._link.generation

    async def _persist(self, messages: Sequence[Decoded]) -> Committed:
        """Try until it is committed; only a fault of a message itself comes out as an exception."""
        wait_s = FIRST_RETRY_S
        while True:
            try:
                committed = await self._committer.commit(messages)
            except _MESSAGE_FAULTS:
                raise
            except Exception as error:
                # Supervisor: a database that is away must not end ingest; nothing was acknowledged yet.
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
        if isinstance(arrival.message, Refused):
            _log.error("a message cannot even be quarantined and is dropped: %s: %s", arrival.topic, error)
            self._link.acknowledge(arrival.mid, arrival.qos, arrival.generation)
            return
        refused = Refused(
            topic=arrival.topic,
            payload=arrival.payload,
            reason=f"the database refuses it: {type(error).__name__}: {error}",
            site=arrival.message.site,
            batch=getattr(arrival.message, "batch", None),
        )
        await self.handle([msgspec.structs.replace(arrival, message=refused)])

    def _count(self, committed: Committed) -> None:
        self.counters.commits += 1
        self.counters.rows += committed.rows
        self.counters.new_rows += committed.new_rows
        self.counters.duplicates += committed.duplicates
        self.counters.quarantined += committed.refused
