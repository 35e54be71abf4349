"""BACnet/IP: the seam for drivers, and the messages to the child process that speaks it.

bacpypes3 is a large library in development, with its own event machinery and exceptions that derive from
`BaseException`; a fault in it must never take the guardian along, so it lives in a child process
(`bacnet_child`) behind a pipe, one for all devices. `ProcessBacnet` is the guardian's side of it.

A tape gets what the child decoded, as JSON text (`tape.decoded`), or why there was nothing; the child hands
out no datagram.

Properties that a device does not have are left out of an answer; they are never a zero. Errors raised:
`Unreachable`, `DeviceTimeout`, `MalformedReply`, `AuthFailed`, `Busy`, `Unsupported`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from firmware_adapters.transport.tape import and_more, decoded
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from shared.exchanges import Exchange

BacnetValue = float | int | str | tuple[bool, ...]
"""Numbers and enumerations as numbers, texts, bit strings as booleans."""
Asked = tuple[str, str]
"""An object and a property, such as `("analog-input,1", "present-value")`."""
LOWEST_PRIORITY = 16


class BacnetLink(Protocol):
    """What a driver needs of BACnet; `MemoryBacnet` is the in-memory twin."""

    async def read(self, asked: Sequence[Asked], *, timeout_s: float) -> dict[Asked, BacnetValue]:
        """The properties that the device has, of those asked for. Raises `DeviceError`."""
        ...

    async def write(self, target: str, value: float | None, *, priority: int, timeout_s: float) -> None:
        """Command the present value of object `target`; None gives it back (relinquish).

        Returns when the device accepted it. Raises `DeviceError`.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held; never raises."""
        ...


def told(asked: Sequence[Asked], outcome: Mapping[Asked, BacnetValue] | DeviceError) -> Exchange:
    """A read for a tape; what the device does not have is null."""
    names = [" ".join(key) for key in asked]
    if not isinstance(outcome, DeviceError):
        return decoded(and_more("read", names), {" ".join(key): outcome.get(key) for key in asked})
    return decoded(and_more("read", names), outcome)


def told_write(target: str, value: float | None, priority: int, outcome: object) -> Exchange:
    """A command for a tape: `write analog-value,3=21.5 priority 8`; its answer has no value."""
    word = "nothing" if value is None else f"{value:g}"
    answer: Mapping[str, object] | DeviceError = outcome if isinstance(outcome, DeviceError) else {}
    return decoded(f"write {target}={word} priority {priority}", answer)


# ---------------------------------------------------------------- frames between guardian and child


class ReadOrder(msgspec.Struct, frozen=True, kw_only=True, tag="read"):
    """Read these properties of the device at `host`:`port`."""

    id: int
    host: str
    port: int
    asked: tuple[Asked, ...]
    timeout_s: float


class WriteOrder(msgspec.Struct, frozen=True, kw_only=True, tag="write"):
    """Command a present value; None relinquishes."""

    id: int
    host: str
    port: int
    target: str
    value: float | None
    priority: int
    timeout_s: float


Order = ReadOrder | WriteOrder


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order: values in the order they were asked for, or why not (`code`, `text`)."""

    id: int
    values: tuple[BacnetValue | None, ...] = ()
    code: str = ""
    text: str = ""


LENGTH_BYTES = 4
LARGEST_FRAME = 1 << 20

_FAILURES: Mapping[str, type[DeviceError]] = {
    kind.code: kind for kind in (Unreachable, DeviceTimeout, MalformedReply, AuthFailed, Busy, Unsupported)
}


class TooLong(MalformedReply):
    """The answer does not fit what the device may send; ask for fewer objects."""

    code = "too_long"


def failure_of(outcome: Outcome, name: str) -> DeviceError:
    """The typed failure that the child reports; an unknown word is a malformed reply."""
    text = f"{name}: {outcome.text}"
    if outcome.code == TooLong.code:
        return TooLong(text)
    return _FAILURES.get(outcome.code, MalformedReply)(text)


def framed(body: bytes) -> bytes:
    """A frame: length, big endian, then the message."""
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
