"""What the cloud sends: decoded here, acted upon elsewhere. The unusable is counted with its reason."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from edge_agent.agent.service import log
from edge_agent.agent.uplink.transport import Message
from edge_agent.agent.view import SiteView
from edge_agent.ipc import Order
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.commands import MAX_COMMAND_BYTES, CommandBody, CommandState, CommandStatus
from shared.errors import ConfigError, WireError
from shared.ids import SiteId, checked_id
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Certificate, Chunk, RawWanted

T = TypeVar("T")
Take = Callable[[T], Awaitable[None]]
"""Takes a message and returns at once: acks wait behind it, so long work is the taker's own task."""

_MAX_ACKS: Final = 4_096
_RETAINED: Final = frozenset({"model", "plan", "keys"})
"""What a broker may keep for us: signed, with a counter or an expiry of its own. All else acts once."""
_MAX_WANT_ID: Final = 64
_MAX_WANT_DEVICES: Final = 10_000
_MAX_WANT_BYTES: Final = 64 * 1024 * 1024
_MAX_PEM: Final = 64 * 1024
_MAX_KEYRING: Final = 256 * 1024


class Downlink:
    """Routes messages of `dn/#`. Never raises on bad input.

    `want`, `certificate` and `keyring` are asked only with messages inside their bounds; where one is None
    nobody here listens, and the message is counted and left.
    """

    def __init__(
        self,
        site: SiteId,
        clock: Clock,
        view: SiteView,
        *,
        order: Callable[[Order], Awaitable[bool]],
        tell: Callable[[CommandStatus], None],
        model: Take[Signed],
        chunk: Callable[[Chunk], None],
        want: Take[RawWanted] | None = None,
        certificate: Take[Certificate] | None = None,
        keyring: Take[Signed] | None = None,
        bad_command: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._site = site
        self._clock = clock
        self._view = view
        self._order = order
        self._tell = tell
        self._model = model
        self._chunk = chunk
        self._want = want
        self._certificate = certificate
        self._keyring = keyring
        self._bad_command = bad_command
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
            if message.topic == topics.command(self._site):
                self._bad_command(str(error))
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
        if message.retain and topic.rest[0] not in _RETAINED:
            raise WireError(f"{topic.rest[0]} must never be retained")
        match topic.rest:
            case ("ack",):
                self._take_ack(codec.decode(message.payload, Ack))
            case ("cmd",):
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
                await self._route_optional(message, topic.rest)

    async def _route_optional(self, message: Message, rest: tuple[str, ...]) -> None:
        """What an agent may do without."""
        match rest:
            case ("want",) if self._want is not None:
                await self._want(_bounded_want(codec.decode(message.payload, RawWanted)))
            case ("cert",) if self._certificate is not None:
                await self._certificate(_bounded_certificate(codec.decode(message.payload, Certificate)))
            case ("keys",) if self._keyring is not None:
                if message.payload:  # an empty retained message means that the broker keeps none
                    await self._keyring(_bounded_keyring(codec.decode(message.payload, Signed)))
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
        if len(signed.payload) > MAX_COMMAND_BYTES:
            raise WireError(f"command of {len(signed.payload)} bytes is larger than {MAX_COMMAND_BYTES}")
        try:
            body = msgspec.msgpack.decode(signed.payload, type=CommandBody)
            checked_id(body.id, "command")  # it becomes a level of a topic
        except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
            raise WireError(f"command body does not decode: {error}") from error
        if not await self._order(Order(signed=signed)):
            self._tell(
                CommandStatus(
                    id=body.id,
                    state=CommandState.REFUSED,
                    detail="the guardian is not connected, nothing was done",
                    at_ms=self._clock.utc_ms(),
                    digest=signed.digest,
                )
            )


def _bounded_want(want: RawWanted) -> RawWanted:
    if not 0 < len(want.id) <= _MAX_WANT_ID:
        raise WireError(f"a request needs an id of 1 to {_MAX_WANT_ID} characters")
    if not 0 <= want.from_ms < want.to_ms:
        raise WireError(f"a request for [{want.from_ms}, {want.to_ms}) asks for no time at all")
    if len(want.devices) > _MAX_WANT_DEVICES:
        raise WireError(f"a request names {len(want.devices)} devices, at most {_MAX_WANT_DEVICES}")
    if not 0 < want.max_bytes <= _MAX_WANT_BYTES:
        raise WireError(f"a request for {want.max_bytes} bytes is not within 1 and {_MAX_WANT_BYTES}")
    return want


def _bounded_certificate(certificate: Certificate) -> Certificate:
    for name in ("certificate_pem", "ca_pem"):
        if not 0 < len(getattr(certificate, name)) <= _MAX_PEM:
            raise WireError(f"{name} must have 1 to {_MAX_PEM} characters")
    return certificate


def _bounded_keyring(signed: Signed) -> Signed:
    if not 0 < len(signed.payload) <= _MAX_KEYRING:
        raise WireError(f"a keyring must have 1 to {_MAX_KEYRING} bytes")
    return signed
