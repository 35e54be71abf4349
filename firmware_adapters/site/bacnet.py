"""The one driver for everything that speaks BACnet/IP; what a device is stands in its profile.

Read are the present value and the status flags of each object. A value counts only while its device vouches
for it: with *fault*, *overridden* or *out of service* set, or another reliability than "no fault detected",
it no longer follows the machine, so it is `SENSOR_ERROR` and carries no number. Each analog object says its
unit; a Fahrenheit or a kilowatt is converted, and a unit of another quantity makes the value unknown.

Writes command at the profile's priority (8 to 10 of 16): below life safety and a person's hand, above the
building's own programme. `release_point` writes the null that gives the machine back to it.
"""

import math
from collections.abc import Collection, Mapping

import msgspec

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.site.bacnet_units import conversion
from firmware_adapters.site.codec import BAD, to_raw, to_reading
from firmware_adapters.site.profile import profile_of
from firmware_adapters.site.profile_shape import BacnetRules, Point, Profile
from firmware_adapters.transport.bacnet import Asked, BacnetLink, BacnetValue
from firmware_adapters.transport.bacnet_process import ProcessBacnet
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import ConfigError, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, Reading

VALUE, FLAGS, RELIABILITY, UNITS = "present-value", "status-flags", "reliability", "units"
DEVICE = "device,4194303"
"""Whatever its instance, a device answers for this one (clause 15.5)."""
IN_ALARM, *_UNTRUSTED = range(4)
"""Status flags: in alarm, fault, overridden, out of service."""


class _Learnt(msgspec.Struct, frozen=True):
    """The points that the device has, what is asked for, and the unit that each object says it is in."""

    points: tuple[Point, ...]
    asked: tuple[Asked, ...]
    units: dict[str, int]


class BacnetDevice:
    """One BACnet device seen through a profile: `Telemetry`, `PointControl` and `ReleaseControl`."""

    def __init__(self, profile: Profile, link: BacnetLink, *, timeout_s: float) -> None:
        """Raises `ConfigError` for a profile that is not BACnet."""
        if profile.bacnet is None:
            raise ConfigError(f"profile {profile.model!r} is not for BACnet")
        self.kind: DeviceKind = profile.kind
        self._profile = profile
        self._rules: BacnetRules = profile.bacnet
        self._link = link
        self._timeout_s = timeout_s
        self._learnt: _Learnt | None = None

    async def read(self) -> Observation:
        """See `Telemetry`. Raises `Unsupported` when the device has none of the profile's objects."""
        learnt = self._learnt or await self._learn()
        found = await self._link.read(learnt.asked, timeout_s=self._timeout_s)
        if not any(name == VALUE for _, name in found):
            self._learnt = None
            raise Unsupported(f"the device has no object of {self._profile.model}; is it another model?")
        return Observation(readings={point.name: _reading(point, found, learnt) for point in learnt.points})

    async def _learn(self) -> _Learnt:
        """Which objects, properties and units there are; kept until `facts()` looks anew."""
        targets = {point.object: point for point in self._profile.points if point.object is not None}
        wanted = [(target, name) for target in targets for name in (VALUE, FLAGS, RELIABILITY)]
        wanted += [(target, UNITS) for target in targets if target.startswith("analog-")]
        found = await self._link.read(wanted, timeout_s=self._timeout_s)
        points = tuple(
            point
            for point in self._profile.points
            if not point.optional or (point.object or "", VALUE) in found
        )
        kept = {point.object for point in points}
        # Flags tell what reliability tells; it is asked for where there are none.
        asked = tuple(
            key
            for key in wanted
            if key[0] in kept
            and (key[1] in (VALUE, FLAGS) or (key[1] == RELIABILITY and (key[0], FLAGS) not in found))
            and (key in found or key[1] == VALUE)
        )
        units = {
            target: value
            for (target, name), value in found.items()
            if name == UNITS and isinstance(value, int)
        }
        if not any(name == VALUE for _, name in found):
            raise Unsupported(f"the device has no object of {self._profile.model}; is it another model?")
        self._learnt = _Learnt(points, asked, units)
        return self._learnt

    async def write_point(self, point: str, value: float) -> None:
        """See `PointControl`. `Unsupported` for what the profile does not allow."""
        known = self._writable(point)
        assert known.write is not None  # noqa: S101 - `_writable` saw to it
        rule = known.write
        if not (math.isfinite(value) and rule.low <= value <= rule.high):
            raise Unsupported(f"{point}: {value:g} is outside {rule.low:g} to {rule.high:g} {known.unit}")
        # A number means nothing without the unit that the device's object is in.
        learnt = self._learnt or await self._learn()
        await self._command(known, _raw(known, value, learnt.units))

    async def release_point(self, point: str) -> None:
        """See `ReleaseControl`."""
        await self._command(self._writable(point), None)

    def _writable(self, point: str) -> Point:
        known = self._profile.point(point)
        if known is None or known.write is None or known.object is None:
            raise Unsupported(f"{self._profile.model} has no writable point {point!r}")
        if self._learnt is not None and known not in self._learnt.points:
            raise Unsupported(f"this {self._profile.model} has no point {point!r}")
        return known

    async def _command(self, point: Point, raw: float | None) -> None:
        await self._link.write(
            point.object or "", raw, priority=self._rules.priority, timeout_s=self._timeout_s
        )

    async def facts(self) -> DeviceFacts:
        """See `Telemetry`. Model and firmware are what the device says of itself; learns it anew."""
        names = ("model-name", "firmware-revision", "vendor-name", "serial-number")
        found = await self._link.read([(DEVICE, name) for name in names], timeout_s=self._timeout_s)
        learnt = await self._learn()
        said = {name: str(found.get((DEVICE, name), "")) for name in names}
        return DeviceFacts(
            model=self._profile.model,
            firmware=" ".join(filter(None, (said[name] for name in names[:3][::-1])))[:200],
            serial=said["serial-number"][:80],
            capabilities=capabilities_of(self._profile, only={point.name for point in learnt.points}),
        )

    async def close(self) -> None:
        """See `Telemetry`. What was commanded stays commanded; releasing is an order of its own."""
        await self._link.close()


def _raw(point: Point, value: float, units: Mapping[str, int]) -> float:
    """The number that the device takes, in its own unit. Raises `Unsupported`."""
    if point.write is not None and point.write.values:
        stage = point.write.values.get(f"{value:g}")
        if stage is None:
            raise Unsupported(f"{point.name}: no stage of the device means {value:g}")
        return float(stage)
    if point.is_flag:
        return 1.0 - value if point.invert else value
    scaled = conversion(units.get(point.object or ""), point.unit)
    if scaled is None:
        raise Unsupported(f"{point.name}: the device's object is in another unit than {point.unit}")
    own = to_raw(value, scale=scaled.scale, offset=scaled.offset)
    return to_raw(own, scale=point.scale, offset=point.offset)


def _reading(point: Point, found: Mapping[Asked, BacnetValue], learnt: _Learnt) -> Reading:
    target = point.object or ""
    value = found.get((target, VALUE))
    if value is None:
        return MISSING
    if not isinstance(value, int | float) or not _vouched(target, found, learnt.asked):
        return BAD
    scaled = conversion(learnt.units.get(target), point.unit)
    if scaled is None:
        return BAD
    raw = float(value)
    if point.is_flag and not point.values:
        if raw not in (0.0, 1.0):
            return BAD
        raw = 1.0 - raw if point.invert else raw
    low, high = point.bounds
    return to_reading(
        raw,
        scale=point.scale * scaled.scale,
        offset=point.offset * scaled.scale + scaled.offset,
        low=low,
        high=high,
        not_available=point.not_available,
        values=point.values,
    )


def _vouched(target: str, found: Mapping[Asked, BacnetValue], asked: Collection[Asked]) -> bool:
    """Whether the device says that the value follows the machine.

    An object that never had flags or a reliability needs none; one that had them and does not say them now
    vouches for nothing.
    """
    if any(key in asked and key not in found for key in ((target, FLAGS), (target, RELIABILITY))):
        return False
    flags, reliability = found.get((target, FLAGS)), found.get((target, RELIABILITY))
    if isinstance(flags, tuple) and len(flags) == 4:
        return not any(flags[place] for place in _UNTRUSTED)
    return flags is None and reliability in (None, 0)


def capabilities_of(profile: Profile, *, only: set[str] | None = None) -> tuple[Capability, ...]:
    """Telemetry, one SETPOINT per writable point, and RELEASE of them all.

    `only` are the points that the device at hand has; None: as many as the profile knows.
    """
    writable = [point for point in profile.writable if only is None or point.name in only]
    setpoints = tuple(
        Capability(
            ability=Ability.SETPOINT,
            settle_s=point.write.settle_s,
            points=(point.name,),
            low=point.write.low,
            high=point.write.high,
        )
        for point in writable
        if point.write is not None
    )
    telemetry = Capability(ability=Ability.TELEMETRY)
    if not setpoints:
        return (telemetry,)
    names = tuple(point.name for point in writable)
    settle_s = max(capability.settle_s for capability in setpoints)
    return (telemetry, *setpoints, Capability(ability=Ability.RELEASE, settle_s=settle_s, points=names))


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> BacnetDevice:
    """The driver for one entry; the child starts at the first read. Raises `ConfigError`. It has no login."""
    profile = profile_of(entry, "BACnet")
    if profile.bacnet is None:
        raise ConfigError(f"device {entry.id}: profile {entry.profile} is not for BACnet")
    link = ProcessBacnet(entry.host, entry.port, max_objects=profile.bacnet.max_objects)
    return BacnetDevice(profile, link, timeout_s=timeout_s)
