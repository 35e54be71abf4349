"""BACnet/IP device on a loopback port: a profile's objects, filled from a point source, by bacpypes3.

Commandable objects keep a real priority array: what is written at a priority counts until it is released,
then the next lower one, and at last the machine's own programme. Its datagrams are lost, cut and garbled on
request, as a network does.
"""

import asyncio
from enum import StrEnum
from itertools import islice
from typing import Any

from bacpypes3.apdu import AbortPDU, AbortReason, SimpleAckPDU
from bacpypes3.basetypes import EngineeringUnits, Reliability, Segmentation, StatusFlags
from bacpypes3.errors import PropertyError, UnrecognizedService
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObjectCmd
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject, BinaryValueObjectCmd
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import (
    MultiStateInputObject,
    MultiStateOutputObject,
    MultiStateValueObject,
)
from bacpypes3.pdu import IPv4Address

from firmware_adapters.site.codec import to_raw
from firmware_adapters.site.point_source import PointSource
from firmware_adapters.site.profile_shape import Point, Profile
from shared.errors import ConfigError

_CLASSES: dict[str, Any] = {
    "analog-input": AnalogInputObject,
    "analog-output": AnalogOutputObject,
    "analog-value": AnalogValueObjectCmd,
    "binary-input": BinaryInputObject,
    "binary-output": BinaryOutputObject,
    "binary-value": BinaryValueObjectCmd,
    "multi-state-input": MultiStateInputObject,
    "multi-state-output": MultiStateOutputObject,
    "multi-state-value": MultiStateValueObject,
}
FAHRENHEIT, CELSIUS = "degreesFahrenheit", "degreesCelsius"
STAGES = 16
ANY_DEVICE = 4_194_303


class Misbehaviour(StrEnum):
    """What happens to the device's datagrams."""

    SILENT = "silent"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    TWICE = "twice"
    """Each answer comes two times."""


class BacnetEmulator:
    """One device; a fault lasts until cleared."""

    def __init__(
        self,
        host: str,
        port: int,
        profile: Profile,
        source: PointSource,
        *,
        instance: int = 1001,
        most: int = 1000,
        multiple: bool = True,
        fahrenheit: bool = False,
    ) -> None:
        """`most` properties fit one answer; without `multiple` ReadPropertyMultiple is unknown to it.

        With `fahrenheit` it keeps its temperatures in °F and says so. Raises `ConfigError`.
        """
        if profile.bacnet is None:
            raise ConfigError(f"profile {profile.model!r} is not for BACnet")
        self.host = host
        self.port = port
        self.fault: Misbehaviour | None = None
        self.dark = False
        """It has no supply and answers nobody."""
        self.deaf = False
        """Takes a write with a good word and does nothing."""
        self.refuses = False
        """Denies every write."""
        self.late_s = 0.0
        """Each datagram waits so long."""
        self.requests = 0
        self._profile = profile
        self._source = source
        self._instance = instance
        self.most = most
        self.multiple = multiple
        self._fahrenheit = fahrenheit
        self._objects: dict[str, Any] = {}
        self._application: NormalApplication | None = None

    async def start(self) -> None:
        """Listen; port 0 picks a free one and stores it in `port`. Raises `OSError`."""
        device = DeviceObject(
            objectIdentifier=("device", self._instance),
            objectName=self._profile.model,
            modelName=f"{self._profile.model} (emulated)",
            vendorName="Minewarden",
            firmwareRevision="1.0",
            vendorIdentifier=999,
            maxApduLengthAccepted=1476,
            segmentationSupported=Segmentation("noSegmentation"),
        )
        # A network of one address has no broadcasts, so no second socket.
        self._application = _Device(self, device, IPv4Address(f"{self.host}/32:{self.port}"))
        for point in self._profile.points:
            if point.name in self._source.points() and point.object is not None:
                self._objects[point.object] = self._made(point)
                self._application.add_object(self._objects[point.object])
        self.port = await self._application.listening()

    async def stop(self) -> None:
        """Close the socket."""
        application, self._application = self._application, None
        if application is not None:
            application.close()

    def distort_by(self, word: str | None) -> None:
        """Begin the misbehaviour of that name, or (None) end it. Raises `ValueError` for another name."""
        self.fault = None if word is None else Misbehaviour(word)

    def distort(self, data: bytes) -> tuple[bytes, ...]:
        """What the network makes of one datagram of the device."""
        if self.dark:
            return ()
        match self.fault:
            case Misbehaviour.SILENT:
                return ()
            case Misbehaviour.TRUNCATED:
                return (data[: len(data) // 2],)
            case Misbehaviour.GARBAGE:
                return (b"\x81\x0a\x00\x08\xff\xff\xff\xff",)
            case Misbehaviour.TWICE:
                return (data, data)
        return (data,)

    # ---------------------------------------------------------------- objects

    def _made(self, point: Point) -> Any:
        kind, _, instance = (point.object or "").partition(",")
        extra: dict[str, Any] = {}
        if kind.startswith("analog-"):
            extra = {"units": EngineeringUnits(self._units(point)), "covIncrement": 0.1}
        if kind.startswith("multi-state-"):
            extra = {"numberOfStates": STAGES}
        if kind in ("binary-input", "binary-output"):
            extra = {"polarity": "normal"}
        return _CLASSES[kind](
            objectIdentifier=(kind, int(instance)),
            objectName=point.name,
            presentValue=self._raw(point),
            statusFlags=StatusFlags([0, 0, 0, 0]),
            eventState="normal",
            outOfService=False,
            reliability=Reliability("noFaultDetected"),
            **extra,
        )

    def _units(self, point: Point) -> str:
        if point.unit == "°C":
            return FAHRENHEIT if self._fahrenheit else CELSIUS
        return "percent" if point.unit == "%" else "noUnits"

    def _raw(self, point: Point) -> Any:
        value = self._source.points()[point.name]
        for raw, meaning in point.values.items():
            if meaning == value:
                return int(raw)
        if point.is_flag:
            on = (value >= 0.5) != point.invert
            return "active" if on else "inactive"
        if point.unit == "°C" and self._fahrenheit:
            value = value * 9 / 5 + 32
        return float(to_raw(value, scale=point.scale, offset=point.offset))

    def _value(self, point: Point, raw: Any) -> float:
        """The inverse of `_raw`, for what was written."""
        if point.values:
            return point.values.get(str(int(raw)), float(raw))
        if point.is_flag:
            return float(bool(int(raw)) != point.invert)
        value = float(raw) * point.scale + point.offset
        return (value - 32) * 5 / 9 if point.unit == "°C" and self._fahrenheit else value

    def refresh(self) -> None:
        """Show what the source has now; an object whose point is gone has a fault and no fresh value."""
        values = self._source.points()
        for point in self._profile.points:
            found = self._objects.get(point.object or "")
            if found is None:
                continue
            if point.name not in values:
                self.flag(point.object or "", fault=True)
                continue
            if not self._commanded(found):
                found.presentValue = self._raw(point)

    @staticmethod
    def _commanded(found: Any) -> bool:
        """Whether a priority above the machine's own programme holds it."""
        slots = getattr(found, "priorityArray", None)
        return slots is not None and any(slot.null is None for slot in islice(slots, 15))

    def flag(
        self, target: str, *, fault: bool = False, overridden: bool = False, service: bool = True
    ) -> None:
        """Set an object's status flags; `service` false is "out of service"."""
        found = self._objects[target]
        found.outOfService = not service
        found.statusFlags = StatusFlags([0, int(fault), int(overridden), int(not service)])
        found.reliability = Reliability("unreliableOther" if fault else "noFaultDetected")

    def commands(self, target: str) -> dict[int, float]:
        """What is commanded, by priority."""
        slots = self._objects[target].priorityArray
        return {
            place: float(getattr(slot, slot._choice))  # noqa: SLF001 - bacpypes3 has no other way to a choice
            for place, slot in enumerate(slots or (), start=1)
            if slot.null is None
        }

    def written(self, target: str) -> None:
        """Tell the source what the object is now, after a command was taken or released."""
        point = next(point for point in self._profile.points if point.object == target)
        self._source.write_point(point.name, self._value(point, self._objects[target].presentValue))


class _Device(NormalApplication):  # type: ignore[misc]  # bacpypes3 ships no types
    """bacpypes3's application with an emulator's whims."""

    def __init__(self, owner: BacnetEmulator, device: DeviceObject, address: IPv4Address) -> None:
        super().__init__(device, address)
        self._owner = owner

    async def listening(self) -> int:
        """The port that it listens on, once it does; from then on its datagrams pass the owner."""
        server: Any = self.normal.server
        await server._local_transport_ready.wait()  # noqa: SLF001 - it tells nobody else when it listens
        transport = server.local_transport
        server.local_transport = _Wire(self._owner, transport)
        return int(transport.get_extra_info("sockname")[1])

    async def indication(self, apdu: Any) -> None:
        self._owner.requests += 1
        await super().indication(apdu)

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3's name
        apdu.objectIdentifier = self._meant(apdu.objectIdentifier)
        await super().do_ReadPropertyRequest(apdu)

    def _meant(self, identifier: Any) -> Any:
        """4194303 is "the device, whatever its instance" (clause 15.5); bacpypes3 knows it in part only."""
        return self.device_object.objectIdentifier if identifier[1] == ANY_DEVICE else identifier

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3's name
        if not self._owner.multiple:
            raise UnrecognizedService("this one reads one property at a time")
        if (
            sum(len(asked.listOfPropertyReferences) for asked in apdu.listOfReadAccessSpecs)
            > self._owner.most
        ):
            # By hand: bacpypes3's own abort does not say that it comes from the server, and is ignored.
            await self.response(AbortPDU(srv=True, reason=AbortReason.bufferOverflow, context=apdu))
            return
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_WritePropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3's name
        if self._owner.refuses:
            raise PropertyError("writeAccessDenied")
        if self._owner.deaf:
            await self.response(SimpleAckPDU(context=apdu))
            return
        await super().do_WritePropertyRequest(apdu)
        kind, instance = apdu.objectIdentifier
        self._owner.written(f"{kind},{instance}")


class _Wire:
    """Stands where bacpypes3 sends its datagrams."""

    def __init__(self, owner: BacnetEmulator, transport: Any) -> None:
        self._owner = owner
        self._transport = transport

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        for part in self._owner.distort(bytes(data)):
            loop.call_later(self._owner.late_s, self._send, part, address)

    def _send(self, part: bytes, address: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(part, address)

    def close(self) -> None:
        self._transport.close()
