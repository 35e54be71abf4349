"""The transport's in-memory twin: a broker in the process, with the faults of a real link at hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from edge_agent.agent.uplink.transport import Delivery, Link, LinkLost, Message, Refused


class MemoryBroker:
    """One client's broker: retained messages, a persistent session, and faults.

    `down` refuses connections, `cut()` ends the present one, `black_hole` lets publishes neither arrive nor
    fail, `deaf` takes publishes but never confirms them (their outcome is unknown). `transit` is awaited by
    one publish after the other before each arrives: a thin link. `refusal` names why a topic is refused, None
    where it is not.
    """

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.retained: dict[str, Message] = {}
        self.down = False
        self.black_hole = False
        self.deaf = False
        self.connects = 0
        self.transit: Callable[[], Awaitable[None]] | None = None
        self.refusal: Callable[[str], str | None] = lambda _topic: None
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue()
        self._link: _MemoryLink | None = None
        self._arrived = asyncio.Event()

    @asynccontextmanager
    async def session(self, *, will: Message) -> AsyncIterator[Link]:
        """See `Transport.session`."""
        if self.down:
            raise LinkLost("memory broker is down")
        self.connects += 1
        link = self._link = _MemoryLink(self, self._queue)
        try:
            yield link
        finally:
            if link.lost:
                self.take(will)
            link.lost = True

    def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send to the client, now or when it is back."""
        self._queue.put_nowait(Message(topic=topic, payload=payload, retain=retain))

    def cut(self) -> None:
        """End the present connection without a word; the will goes out."""
        if self._link is not None:
            self._link.lost = True
            self._queue.put_nowait(None)

    def take(self, message: Message) -> None:
        self.published.append(message)
        if message.retain:
            self.retained[message.topic] = message
        self._arrived.set()

    async def arrival(self) -> None:
        """Return when something new has been published."""
        await self._arrived.wait()
        self._arrived.clear()


class _MemoryLink:
    def __init__(self, broker: MemoryBroker, queue: "asyncio.Queue[Message | None]") -> None:
        self._broker = broker
        self._queue = queue
        self._wire = asyncio.Lock()
        self.lost = False

    async def subscribe(self, topic_filter: str) -> None:
        self._check()
        if not topic_filter.endswith("/#"):
            raise LinkLost(f"the memory broker only serves one subtree, not {topic_filter!r}")

    async def publish(self, message: Message) -> Delivery:
        self._check()
        await asyncio.sleep(0)
        if self._broker.transit is not None:
            async with self._wire:
                await self._broker.transit()
            self._check()
        if self._broker.black_hole:
            return Delivery.UNKNOWN
        if (reason := self._broker.refusal(message.topic)) is not None:
            raise Refused(f"the broker refused a message: {reason} ({message.topic})", reason=reason)
        self._broker.take(message)
        self._check()
        return Delivery.UNKNOWN if self._broker.deaf else Delivery.CONFIRMED

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            message = await self._queue.get()
            if message is None:
                self._check()
                continue
            yield message

    def _check(self) -> None:
        if self.lost:
            raise LinkLost("memory link was cut")
