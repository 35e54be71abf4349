"""The uplink: one connection, a birth at each connect, batches out, acks in.

A batch leaves the outbox only when an ack covers it. Before a batch is sent, its number is stored as
published; an ack above the highest published number is refused. Everything may therefore be sent twice and
nothing can be lost, and the cloud's ledger makes "twice" once.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, full_jitter, log
from edge_agent.agent.store.rows import AckOutcome, OutboxRow
from edge_agent.agent.uplink.downlink import Downlink
from edge_agent.agent.uplink.lanes import Lanes
from edge_agent.agent.uplink.transport import Delivery, Link, LinkLost, Message, Refused, Transport
from edge_agent.agent.view import SiteView
from shared.clock import Clock
from shared.commands import CommandState, CommandStatus
from shared.errors import StoreError
from shared.ids import CommandId, SiteId
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Birth, CertificateRequest, ChunkRequest, SiteState

_WINDOW: Final = 10
_PAST_WINDOW: Final = 8
"""Batches that wait for the broker's word at once, live and past: together fewer than paho keeps in flight,
so that none waits in a queue of the library."""
_NOW: Final = 3
"""The newest so many batches of what waits at a connect are not the past: people look at them first."""
_IDLE_S: Final = 0.25
_DISK_NAP_S: Final = 1.0
_FIRST_S: Final = 0.5
_CAP_S: Final = 30.0
_LASTING_S: Final = 10.0
_BRIEF_ATTEMPTS: Final = 3
_MAX_STATUSES: Final = 256
_MAX_REQUESTS: Final = 64


class Uplink(Service):
    """Owns the connection, its reconnects and what is sent over it."""

    name = "uplink"
    stall_s = math.inf
    """The watchdog is about this gateway: a network may be slow or gone for days, and every wait on it here
    has an end of its own."""

    def __init__(
        self,
        clock: Clock,
        *,
        site: SiteId,
        boot: str,
        transport: Transport,
        records: Records,
        view: SiteView,
        downlink: Downlink,
        birth: Callable[[], Birth],
    ) -> None:
        super().__init__(clock)
        self._site = site
        self._boot = boot
        self._transport = transport
        self._records = records
        self._view = view
        self._downlink = downlink
        self._birth = birth
        self._statuses: dict[tuple[CommandId, CommandState, str], CommandStatus] = {}
        self._requests: deque[Message] = deque()
        self._lanes = Lanes(now_s=clock.monotonic())
        self._flying = [0, 0]
        """Batches on their way: of the live lane, and of the past."""
        self.connected = False
        self.since_ms: int | None = None
        self.unknown = 0
        """Publishes whose outcome nobody knows."""
        self.why = ""
        """Why the broker cannot be reached or does not take what we send, for people; empty: all is well."""
        self._complained: set[str] = set()
        """Kinds of trouble that this outage was complained of with."""
        self._refusing = False
        """The broker said no, and since then no connection has shown that it takes what we have."""
        self._confirmed = False
        """Whether the broker took a batch over the present connection."""
        self._disk_complained = False
        self._was_up = False
        self._up_s = 0.0

    @property
    def lanes(self) -> Lanes:
        """What waits and what is out, for the status page."""
        return self._lanes

    # ------------------------------------------------------------ what others ask

    def tell(self, status: CommandStatus) -> None:
        """Publish a command's state; each state waits here once while there is no connection."""
        name = (status.id, status.state, status.digest)
        self._statuses.pop(name, None)
        self._statuses[name] = status
        while len(self._statuses) > _MAX_STATUSES:
            del self._statuses[next(iter(self._statuses))]
        self._records.fresh.set()

    def request_chunks(self, request: ChunkRequest) -> None:
        """Ask the cloud for parts of a model; dropped while there is no connection: the caller asks again."""
        self._ask(topics.chunk_request(self._site), request)

    def request_certificate(self, request: CertificateRequest) -> bool:
        """Ask the cloud for the next certificate. False where there is no connection: ask again later.

        True only means that it is on its way; the answer is a `Certificate` on `dn/cert`, or none.
        """
        return self._ask(topics.certificate_request(self._site), request)

    def _ask(self, topic: str, request: ChunkRequest | CertificateRequest) -> bool:
        if not self.connected or len(self._requests) >= _MAX_REQUESTS:
            return False
        self._requests.append(Message(topic=topic, payload=codec.encode(request)))
        self._records.fresh.set()
        return True

    # ------------------------------------------------------------ connection

    async def run(self) -> None:
        attempt = 0
        while True:
            self._was_up = False
            try:
                await self._whole_session()
            except* LinkLost as lost:
                attempt = self._next_attempt(attempt)
                self._complain(_reason(lost))
            finally:
                self._down()
            self.tick()
            await self.clock.sleep(full_jitter(attempt, first_s=_FIRST_S, cap_s=_CAP_S))

    def _next_attempt(self, attempt: int) -> int:
        """0 after a connection that lasted; a broker that hangs up at once is not called without a pause.

        Two gateways with one id push each other off the broker like that, for ever. A broker that refuses us
        takes each connect, so there a connect is no success.
        """
        if not self._was_up or self._refusing:
            return attempt + 1
        lasted_s = self.clock.monotonic() - self._up_s
        return 0 if lasted_s >= _LASTING_S else min(attempt + 1, _BRIEF_ATTEMPTS)

    async def _whole_session(self) -> None:
        """A session in a task of its own, so that a stop always ends this one.

        A task group that is cancelled while one of its tasks fails raises the failure and forgets the
        cancellation (CPython 3.11); an agent would go on for ever after its stop.
        """
        session = asyncio.create_task(self._session(), name="uplink-session")
        try:
            await asyncio.wait({session})
        except asyncio.CancelledError:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            raise
        await session

    async def _session(self) -> None:
        will = self._state_message(online=False)
        try:
            async with self._transport.session(will=will) as link:
                await link.subscribe(topics.all_down(self._site))
                await self._say_hello(link)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._receive(link))
                        group.create_task(self._apply_acks())
                        group.create_task(self._send(link))
                except asyncio.CancelledError:
                    await self._say_goodbye(link)
                    raise
        except LinkLost as lost:
            raise ExceptionGroup("link", [lost]) from lost

    async def _say_hello(self, link: Link) -> None:
        birth = Message(
            topic=topics.birth(self._site), payload=codec.encode(self._birth(), compress=True), retain=True
        )
        await self._must_arrive(link, birth)
        await self._must_arrive(link, self._state_message(online=True))
        self.connected = self._was_up = True
        self._up_s = self.clock.monotonic()
        self.since_ms = self.clock.utc_ms()
        if not self._refusing:
            self._recovered()

    def _recovered(self) -> None:
        self._refusing, self.why = False, ""
        if self._complained:
            log.info("broker is back")
            self._complained.clear()

    def _recover_from_refusal(self) -> None:
        """Only time tells: what was refused goes out again at once, and on a thin link its answer is late."""
        lasted = self.clock.monotonic() - self._up_s >= _LASTING_S
        if self._refusing and lasted and (self._confirmed or not any(self._flying)):
            self._recovered()

    async def _say_goodbye(self, link: Link) -> None:
        """A clean end sends no will, so say it ourselves; best effort, the process is ending."""
        self.connected = False
        try:
            async with asyncio.timeout(1.0):
                await link.publish(self._state_message(online=False))
        except (LinkLost, TimeoutError):
            log.info("could not say goodbye to the broker")

    def _state_message(self, *, online: bool) -> Message:
        state = SiteState(online=online, boot=self._boot, at_ms=self.clock.utc_ms())
        return Message(topic=topics.state(self._site), payload=codec.encode(state), retain=True)

    def _down(self) -> None:
        self._requests.clear()
        if self._was_up or self.since_ms is None:
            self.since_ms = self.clock.utc_ms()
        self.connected = False

    def _complain(self, lost: BaseException) -> None:
        """Once per outage and kind of trouble, not once per try."""
        self.why = str(lost)
        kind = "" if not isinstance(lost, Refused) else lost.reason or "refused"
        self._refusing = self._refusing or bool(kind)
        if kind not in self._complained:
            what = "refused by the broker, everything waits here" if kind else "no broker"
            log.warning("%s: %s", what, lost)
            self._complained.add(kind)

    async def _must_arrive(self, link: Link, message: Message) -> None:
        if await link.publish(message) is Delivery.UNKNOWN:
            self.unknown += 1
            raise LinkLost(f"no answer from the broker for {message.topic}")

    # ------------------------------------------------------------ in

    async def _receive(self, link: Link) -> None:
        async for message in link.messages():
            self.tick()
            await self._downlink.handle(message)

    async def _apply_acks(self) -> None:
        while True:
            acks = await self._downlink.next_acks()
            while (outcome := await self._believe(acks)) is None:
                await self.clock.sleep(_DISK_NAP_S)
            self._lanes.acked(outcome.deleted, self.clock.monotonic())
            for refusal in outcome.refused:
                self._view.quarantined("ack-refused", refusal.why)
                log.warning("ack refused: %s", refusal.why)
            self._records.fresh.set()

    async def _believe(self, acks: Sequence[Ack]) -> AckOutcome | None:
        """Delete what these cover; None where the disk refuses, and then they are tried again."""
        try:
            return await self._records.writer.call(self._records.store.apply_acks, acks)
        except StoreError as error:
            self._complain_of_disk(error)
            return None

    def _complain_of_disk(self, error: StoreError) -> None:
        """Once per trouble; the link stays up meanwhile."""
        if not self._disk_complained:
            log.error("the outbox cannot be used now, the cloud has to wait: %s", error)
            self._disk_complained = True

    # ------------------------------------------------------------ out

    async def _send(self, link: Link) -> None:
        self._lanes = self._lanes.next_connection(self.clock.monotonic())
        self._flying, self._confirmed = [0, 0], False
        mark = -1
        async with asyncio.TaskGroup() as flights:
            while True:
                self.tick()
                self._recover_from_refusal()
                self._records.fresh.clear()
                await self._send_small(link)
                try:
                    mark = await self._look(mark)
                    started = await self._send_batches(link, flights)
                except StoreError as error:
                    self._complain_of_disk(error)
                    await self.clock.sleep(_DISK_NAP_S)
                    continue
                self._disk_complained = False
                if not started:
                    await self._idle()

    async def _look(self, mark: int) -> int:
        """Sort what is new in the outbox into its lane; the first finds the backlog, with now at its end."""
        store, call = self._records.store, self._records.writer.call
        if mark < 0:
            found = await call(store.waiting)
            now = sorted(found, reverse=True)[:_NOW]
            self._lanes.add_live(now)
            self._lanes.add_backlog(row_id for row_id in found if row_id not in now)
        else:
            found = await call(store.waiting, above=mark, newest=True)
            self._lanes.add_live(found)
        return max(found, default=max(mark, 0))

    async def _send_batches(self, link: Link, flights: asyncio.TaskGroup) -> bool:
        """Start what may go now; False where nothing may."""
        store, call = self._records.store, self._records.writer.call
        live, past = self._flying
        # A refill is a commit, so the past is refilled when all that flew is confirmed.
        room = 0 if past else _PAST_WINDOW
        new, old = self._lanes.take(self.clock.monotonic(), live=_WINDOW - live, past=room)
        if not new and not old:
            return False
        try:
            rows = await call(store.fetch, [*new, *old])
            if rows:
                await call(store.mark_published, rows)
        except StoreError:
            self._lanes.put_back(new, old)
            raise
        for row_id in {*new, *old} - {row.id for row in rows}:
            self._lanes.forget(row_id)
        past_ids = frozenset(old)
        for row in rows:
            self._lanes.sent(row.id, self.clock.monotonic())
            is_past = row.id in past_ids
            self._flying[is_past] += 1
            flights.create_task(self._fly(link, row, is_past=is_past))
        return True

    async def _fly(self, link: Link, row: OutboxRow, *, is_past: bool) -> None:
        """One batch on its way; a link that does not answer for it is given up."""
        try:
            delivery = await link.publish(self._message(row))
        finally:
            self._flying[is_past] -= 1
            self._records.fresh.set()
        if delivery is Delivery.UNKNOWN:
            self.unknown += 1
            raise LinkLost("no answer from the broker for a batch; its outcome is unknown")
        self._confirmed = True

    def _message(self, row: OutboxRow) -> Message:
        topic = (
            topics.events(self._site)
            if row.stream == topics.EVENT_STREAM
            else topics.telemetry(self._site, row.stream)
        )
        return Message(topic=topic, payload=row.body)

    async def _send_small(self, link: Link) -> None:
        """Command states and requests; a state stays until the broker has it."""
        while self._statuses:
            name, status = next(iter(self._statuses.items()))
            await self._must_arrive(
                link, Message(topic=topics.result(self._site, status.id), payload=codec.encode(status))
            )
            if self._statuses.get(name) is status:
                del self._statuses[name]
        while self._requests:
            await self._must_arrive(link, self._requests.popleft())

    async def _idle(self) -> None:
        """Until something is recorded; a short nap otherwise, for rate limits and resends."""
        nap = asyncio.ensure_future(self.clock.sleep(_IDLE_S))
        news = asyncio.ensure_future(self._records.fresh.wait())
        try:
            await asyncio.wait({nap, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            news.cancel()


def _reason(lost: BaseExceptionGroup[LinkLost]) -> BaseException:
    """The first fault of nested task groups; a refusal before the losses that came with it."""
    group: BaseException = lost.subgroup(Refused) or lost
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
