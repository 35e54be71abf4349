"""What the cloud sends: decoded here, acted upon elsewhere. The unusable is counted with its reason."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from edge_agent.agent.service import log
from edge_agent.agent.uplink.transport import Message
from edge_agent.agent.view import SiteView
from edge_agent.ipc import Order
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.commands import CommandBody, CommandState, CommandStatus
from shared.errors import WireError
from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Chunk

_MAX_ACKS: Final = 4_096


class Downlink:
    """Routes messages of `dn/#`. Never raises on bad input."""

    def __init__(
        self,
        site: SiteId,
        clock: Clock,
        view: SiteView,
        *,
        order: Callable[[Order], Awaitable[bool]],
        tell: Callable[[CommandStatus], None],
        model: Callable[[Signed], Awaitable[None]],
        chunk: Callable[[Chunk], None],
    ) -> None:
        self._site = site
        self._clock = clock
        self._view = view
        self._order = order
        self._tell = tell
        self._model = model
        self._chunk = chunk
        self._acks: list[Ack] = []
        self._some_acks = asyncio.Event()
        self.plans = 0
        """Plan messages seen; a plan informs and never actuates, and no policy of this version reads one."""

    async def handle(self, message: Message) -> None:
        """Take one message; a bad one goes to quarantine."""
        try:
            await self._route(message)
        except WireError as error:
            self._view.quarantined("bad-message", f"{message.topic}: {error}")
            log.warning("message on %s cannot be used: %s", message.topic, error)

    async def next_acks(self) -> list[Ack]:
        """All acks that came since the last call; waits for the first."""
        await self._some_acks.wait()
        self._some_acks.clear()
        acks, self._acks = self._acks, []
        return acks

    async def _route(self, message: Message) -> None:
        topic = topics.parse(message.topic)
        if topic.site != self._site or topic.direction != "dn":
            raise WireError("not for this site")
        match topic.rest:
            case ("ack",):
                self._take_ack(codec.decode(message.payload, Ack))
            case ("cmd",):
                if message.retain:
                    raise WireError("a command must never be retained")
                await self._take_command(codec.decode(message.payload, Signed))
            case ("model",):
                if message.payload:  # an empty retained message means that the assignment was taken away
                    await self._model(codec.decode(message.payload, Signed))
            case ("plan",):
                self.plans += 1
            case ("blob", sha256, number):
                chunk = codec.decode(message.payload, Chunk)
                if (chunk.sha256, str(chunk.number)) != (sha256, number):
                    raise WireError("chunk and topic name different parts")
                self._chunk(chunk)
            case _:
                raise WireError("nobody here listens to this topic")

    def _take_ack(self, ack: Ack) -> None:
        if any(first < 1 or last < first for first, last in ack.ranges) or ack.upto < 0:
            raise WireError("ack has an impossible range")
        if len(self._acks) < _MAX_ACKS:  # an ack that is not taken only means that the batch is sent again
            self._acks.append(ack)
            self._some_acks.set()

    async def _take_command(self, signed: Signed) -> None:
        """Pass the signed bytes on untouched; the guardian verifies. The body is read for its id only."""
        try:
            body = msgspec.msgpack.decode(signed.payload, type=CommandBody)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WireError(f"command body does not decode: {error}") from error
        if not await self._order(Order(signed=signed)):
            self._tell(
                CommandStatus(
                    id=body.id,
                    state=CommandState.REFUSED,
                    detail="the guardian is not connected, nothing was done",
                    at_ms=self._clock.utc_ms(),
                )
            )
