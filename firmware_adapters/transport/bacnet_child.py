"""The child process that speaks BACnet/IP with bacpypes3: orders in at stdin, outcomes out at stdout.

Run as `python -P -m firmware_adapters.transport.bacnet_child`, by `bacnet_process` only. It ends when its
input ends. Four zero bytes say that it is ready.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Sequence
from typing import Any, BinaryIO

import msgspec
from bacpypes3.apdu import AbortPDU, AbortReason, ErrorPDU, ErrorRejectAbortNack, RejectPDU, RejectReason
from bacpypes3.basetypes import ErrorType, Segmentation
from bacpypes3.errors import UnrecognizedService
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address
from bacpypes3.primitivedata import Null, ObjectIdentifier

from firmware_adapters.transport.bacnet import (
    LARGEST_FRAME,
    LENGTH_BYTES,
    Asked,
    BacnetValue,
    Order,
    Outcome,
    ReadOrder,
    TooLong,
    WriteOrder,
    framed,
)
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)

OWN_INSTANCE = 4_194_302
"""Clients need an object identifier of their own; nobody may ask for this one."""
SINGLES = 4
"""Properties that are asked for one after the other within one deadline."""
_TOO_LONG = (
    AbortReason.bufferOverflow,
    AbortReason.segmentationNotSupported,
    AbortReason.outOfResources,
    AbortReason.apduTooLong,
)
_SILENT = (AbortReason.tsmTimeout, AbortReason.noResponse, AbortReason.applicationExceededReplyTime)
_UNKNOWN_SERVICE = (RejectReason.unrecognizedService,)
_ABSENT = ("unknown-object", "unknown-property", "no-objects-of-specified-type", "value-not-initialized")
_FOR_GOOD = ("write-access-denied", "value-out-of-range", "invalid-data-type", "not-configured", *_ABSENT)
_SECURITY = ("access-denied", "not-authorized", "security-error", "read-access-denied", "password-failure")


class _Client(NormalApplication):  # type: ignore[misc]  # bacpypes3 ships no types
    """Asks and is not asked: nobody on the network may write to it."""

    async def do_WritePropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3's name
        raise UnrecognizedService("this is a client")


class Speaker:
    """One BACnet application per local address, made when the first device behind it is asked."""

    def __init__(self) -> None:
        self._applications: dict[str, NormalApplication] = {}
        self._one_by_one: set[tuple[str, int]] = set()
        """Devices that do not know ReadPropertyMultiple."""

    async def carry_out(self, order: Order) -> Outcome:
        """An outcome for every order; never raises."""
        try:
            async with asyncio.timeout(order.timeout_s):
                if isinstance(order, ReadOrder):
                    return Outcome(id=order.id, values=await self._read(order))
                await self._write(order)
                return Outcome(id=order.id)
        except TimeoutError:
            failure: DeviceError = DeviceTimeout(f"no BACnet answer within {order.timeout_s:g} s")
        except DeviceError as error:
            failure = error
        except OSError as error:
            failure = Unreachable(str(error))
        except Exception as error:  # noqa: BLE001 - supervisor: bacpypes3 may fail in any way over odd bytes
            failure = MalformedReply(f"{type(error).__name__}: {error}")
        return Outcome(id=order.id, code=failure.code, text=str(failure))

    def _application(self, host: str, port: int) -> NormalApplication:
        """The application whose socket the system would use towards that device."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            local = str(probe.getsockname()[0])
        if local not in self._applications:
            device = DeviceObject(
                objectIdentifier=("device", OWN_INSTANCE),
                objectName="minewarden",
                maxApduLengthAccepted=1476,
                segmentationSupported=Segmentation("segmentedBoth"),
                maxSegmentsAccepted=16,
                vendorIdentifier=999,
                # Retries and deadlines are the caller's, so that a dead device costs one of them.
                numberOfApduRetries=0,
                apduTimeout=60_000,
            )
            self._applications[local] = _Client(device, IPv4Address(f"{local}:0"))
        return self._applications[local]

    def close(self) -> None:
        """Close every socket."""
        while self._applications:
            self._applications.popitem()[1].close()

    async def _read(self, order: ReadOrder) -> tuple[BacnetValue | None, ...]:
        application = self._application(order.host, order.port)
        address = Address(f"{order.host}:{order.port}")
        endpoint = (order.host, order.port)
        if endpoint not in self._one_by_one:
            answer = await _said(application.read_property_multiple(address, _grouped(order.asked)))
            if isinstance(answer, list):
                return _in_order(order.asked, answer)
            if isinstance(answer, RejectPDU) and answer.apduAbortRejectReason in _UNKNOWN_SERVICE:
                self._one_by_one.add(endpoint)
            elif not _is_absent(answer):
                raise _refusal(answer)
            # One object that it lacks makes some devices refuse all of them: ask for each by itself.
        if len(order.asked) > SINGLES:
            raise TooLong("one property at a time, so fewer of them within the deadline")
        values: list[BacnetValue | None] = []
        for target, name in order.asked:
            answer = await _said(application.read_property(address, ObjectIdentifier(target), name))
            if isinstance(answer, ErrorRejectAbortNack) and not _is_absent(answer):
                raise _refusal(answer)
            values.append(None if isinstance(answer, ErrorRejectAbortNack) else _plain(answer))
        return tuple(values)

    async def _write(self, order: WriteOrder) -> None:
        application = self._application(order.host, order.port)
        value: Any = Null(()) if order.value is None else _commanded(order.target, order.value)
        answer = await _said(
            application.write_property(
                Address(f"{order.host}:{order.port}"),
                ObjectIdentifier(order.target),
                "present-value",
                value,
                priority=order.priority,
            )
        )
        if answer is not None:
            raise _refusal(answer)


async def _said(answer: Awaitable[Any]) -> Any:
    """The answer, or the refusal: bacpypes3 returns some of them and raises others, as `BaseException`."""
    try:
        return await answer
    except ErrorRejectAbortNack as refusal:
        return refusal


def _is_absent(answer: Any) -> bool:
    return isinstance(answer, ErrorPDU) and str(answer.errorCode) in _ABSENT


def _grouped(asked: Sequence[Asked]) -> list[Any]:
    """bacpypes3's flat list: an object, its properties, the next object …"""
    by_object: dict[str, list[str]] = {}
    for target, name in asked:
        by_object.setdefault(target, []).append(name)
    return [part for target, names in by_object.items() for part in (ObjectIdentifier(target), names)]


def _in_order(asked: Sequence[Asked], answer: list[Any]) -> tuple[BacnetValue | None, ...]:
    found = {(str(target), str(name)): value for target, name, _index, value in answer}
    if any(key not in found for key in asked):
        raise MalformedReply("the answer shows other properties than were asked for")
    return tuple(_plain(found[key]) for key in asked)


def _plain(value: Any) -> BacnetValue | None:
    """A property's value in plain types; None where the device has none."""
    match value:
        case None | ErrorType() | Null():
            return None
        case bool() | int():
            return int(value)
        case float():
            return float(value)
        case list() | tuple():
            return tuple(bool(bit) for bit in value)
    return str(value)


def _commanded(target: str, value: float) -> float | int:
    return float(value) if target.startswith("analog-") else round(value)


def _refusal(answer: Any) -> DeviceError:
    """What an error, reject or abort of the device means."""
    match answer:
        case AbortPDU():
            said = answer.apduAbortRejectReason
            kinds = {**dict.fromkeys(_TOO_LONG, TooLong), **dict.fromkeys(_SILENT, DeviceTimeout)}
            return kinds.get(said, Busy)(f"abort: {said}")
        case RejectPDU():
            return Unsupported(f"reject: {answer.apduAbortRejectReason}")
        case ErrorPDU():
            group, code = str(answer.errorClass), str(answer.errorCode)
            refused = AuthFailed if code in _SECURITY or group == "security" else Busy
            return (Unsupported if code in _FOR_GOOD else refused)(f"{group}: {code}")
    return MalformedReply(f"no BACnet answer but {answer!r}")


async def serve(pipe: asyncio.StreamReader, out: BinaryIO) -> None:
    """Carry out orders until the input ends; many at once."""
    speaker, running = Speaker(), set[asyncio.Task[None]]()
    decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)

    def say(frame: bytes) -> None:
        # Nobody to hear it: the end of the input follows.
        with contextlib.suppress(BrokenPipeError):
            out.write(frame)
            out.flush()

    async def carry_out(order: Order) -> None:
        say(framed(msgspec.msgpack.encode(await speaker.carry_out(order))))

    say(bytes(LENGTH_BYTES))
    while True:
        try:
            length = int.from_bytes(await pipe.readexactly(LENGTH_BYTES), "big")
            if length > LARGEST_FRAME:
                return
            order = decoder.decode(await pipe.readexactly(length))
        except (asyncio.IncompleteReadError, msgspec.MsgspecError):
            return
        task = asyncio.create_task(carry_out(order))
        running.add(task)
        task.add_done_callback(running.discard)


async def _main() -> None:
    # bacpypes3 logs every odd datagram with its traceback; what it means for a reading is in the outcome.
    logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)
    # What a library prints must not end up between our frames.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    pipe = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin.buffer
    )
    await serve(pipe, out)


if __name__ == "__main__":
    asyncio.run(_main())
