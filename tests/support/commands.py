"""What the cloud's tests of commands share: a link that keeps what was published, and words of a site."""

from typing import Any

import msgspec

from cloud.kit.problems import Unavailable
from shared.artifacts.signing import Keyring, Purpose, Role, Signed
from shared.commands import CommandBody, CommandState, CommandStatus
from shared.ids import CommandId, SiteId
from shared.wire import codec, topics
from support.cloud import SITE, Service, told


class Outbound:
    """Stands for the command link: keeps what was published."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[tuple[str, bytes, bool, int | None]] = []
        self.fail: Unavailable | None = None

    async def send(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        if self.fail is not None:
            raise self.fail
        self.sent.append((topic, payload, retain, expiry_s))

    @property
    def signed(self) -> Signed:
        """The last command as it left."""
        return codec.decode(self.sent[-1][1], Signed)

    def body(self, keyring: Keyring) -> CommandBody:
        """The last command, verified."""
        keyring.verify(Purpose.COMMAND, self.signed, Role.COMMAND)
        return msgspec.msgpack.decode(self.signed.payload, type=CommandBody)


def word(command: str, state: CommandState, at_ms: int, **more: Any) -> CommandStatus:
    return CommandStatus(id=CommandId(command), state=state, detail=state.value, at_ms=at_ms, **more)


async def hear(cloud: Service, status: CommandStatus, site: SiteId = SITE) -> None:
    """The site says it on `up/res`."""
    await cloud.bench.commit(told(topics.result(site, status.id), codec.encode(status)))
