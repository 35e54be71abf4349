"""The seam to MQTT: what the uplink needs of it, and nothing of any library.

`Delivery.UNKNOWN` is the honest outcome of a publish whose PUBACK did not come: the library may still
deliver it, so it is neither sent nor unsent. A PUBACK (`CONFIRMED`) only means that a broker has it in
memory; nothing is deleted on it.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import msgspec

from shared.errors import MinewardenError


class LinkLost(MinewardenError):
    """There is no connection to the broker, or it went away."""

    code = "link-lost"
    permanent = False


class Refused(LinkLost):
    """The broker is there and does not take what we say; `reason` is its word for why, of a small set."""

    code = "refused"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Delivery(StrEnum):
    """What is known of one publish."""

    CONFIRMED = "confirmed"
    UNKNOWN = "unknown"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message, in either direction."""

    topic: str
    payload: bytes
    retain: bool = False


class Link(Protocol):
    """One live connection."""

    async def subscribe(self, topic_filter: str) -> None:
        """QoS 1 subscription; raises `LinkLost`, and of that `Refused` where the broker says no."""
        ...

    async def publish(self, message: Message) -> Delivery:
        """QoS 1 publish; raises `LinkLost` where the connection is known to be gone, and of that `Refused`
        where the broker said no to this message or to one before it."""
        ...

    def messages(self) -> AsyncIterator[Message]:
        """What arrives, until the connection goes; then raises `LinkLost`."""
        ...


class Transport(Protocol):
    """Makes connections."""

    def session(self, *, will: Message) -> AbstractAsyncContextManager[Link]:
        """Connect with this last will; raises `LinkLost`. The session is kept by the broker."""
        ...
