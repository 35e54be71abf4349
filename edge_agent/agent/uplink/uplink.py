"""The uplink: one connection, a birth at each connect, batches out, acks in.

A batch leaves the outbox only when an ack covers it. Before a batch is sent, its number is stored as
published; an ack above the highest published number is refused. Everything may therefore be sent twice and
nothing can be lost, and the cloud's ledger makes "twice" once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, full_jitter, log
from edge_agent.agent.store.rows import OutboxRow
from edge_agent.agent.uplink.downlink import Downlink
from edge_agent.agent.uplink.lanes import Lanes
from edge_agent.agent.uplink.transport import Delivery, Link, LinkLost, Message, Transport
from edge_agent.agent.view import SiteView
from shared.clock import Clock
from shared.commands import CommandState, CommandStatus
from shared.ids import CommandId, SiteId
from shared.wire import codec, topics
from shared.wire.envelope import Birth, CertificateRequest, ChunkRequest, SiteState

_WINDOW: Final = 16
_IDLE_S: Final = 0.25
_MAX_STATUSES: Final = 256
_MAX_REQUESTS: Final = 64


class Uplink(Service):
    """Owns the connection, its reconnects and what is sent over it."""

    name = "uplink"
    stall_s = 120.0

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
        self.connected = False
        self.since_ms: int | None = None
        self.unknown = 0
        """Publishes whose outcome nobody knows."""
        self._complained = False
        self._was_up = False

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
                await self._session()
            except* LinkLost as lost:
                attempt = 0 if self._was_up else attempt + 1
                self._complain(lost.exceptions[0])
            finally:
                self._down()
            self.tick()
            await self.clock.sleep(full_jitter(attempt, first_s=0.5, cap_s=30.0))

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
        self.since_ms = self.clock.utc_ms()
        if self._complained:
            log.info("broker is back")
            self._complained = False

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
        """Once per outage, not once per try."""
        if not self._complained:
            log.warning("no broker: %s", lost)
            self._complained = True

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
            outcome = await self._records.writer.call(self._records.store.apply_acks, acks)
            self._lanes.acked(outcome.deleted)
            for refusal in outcome.refused:
                self._view.quarantined("ack-refused", refusal.why)
                log.warning("ack refused: %s", refusal.why)
            self._records.fresh.set()

    # ------------------------------------------------------------ out

    async def _send(self, link: Link) -> None:
        store, call = self._records.store, self._records.writer.call
        self._lanes = Lanes(now_s=self.clock.monotonic())
        waiting = await call(store.waiting)
        self._lanes.add_backlog(waiting)
        mark = max(waiting, default=0)
        while True:
            self.tick()
            self._records.fresh.clear()
            await self._send_small(link)
            fresh = await call(store.waiting, above=mark, newest=True)
            mark = max(fresh, default=mark)
            self._lanes.add_live(fresh)
            chosen = self._lanes.take(self.clock.monotonic(), _WINDOW)
            if chosen:
                await self._send_batches(link, chosen)
            else:
                await self._idle()

    async def _send_batches(self, link: Link, ids: Sequence[int]) -> None:
        store, call = self._records.store, self._records.writer.call
        rows = await call(store.fetch, ids)
        for row_id in set(ids) - {row.id for row in rows}:
            self._lanes.forget(row_id)
        if not rows:
            return
        await call(store.mark_published, rows)
        now_s = self.clock.monotonic()
        for row in rows:
            self._lanes.sent(row.id, now_s)
        results = await asyncio.gather(
            *(link.publish(self._message(row)) for row in rows), return_exceptions=True
        )
        unknown = sum(result is Delivery.UNKNOWN for result in results)
        self.unknown += unknown
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if unknown:
            raise LinkLost("no answer from the broker for a batch; its outcome is unknown")

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
