"""The one driver for everything that speaks Modbus TCP; what a device is stands in its profile.

Reads: the profile's points are merged into few requests, and a merged range that the device refuses
(exception 2) is split once and for all. A failure to talk to the device fails the whole read; a point that
the device does not have or refuses for the moment is `MISSING`, and an optional one is left out. Writes go
out in the point's own unit, inside the profile's bounds, and are confirmed by nobody but a later read.
"""

import math

from firmware_adapters.capabilities import Observation
from firmware_adapters.site.codec import DataType, number_to_words, to_raw, to_reading, words_to_number
from firmware_adapters.site.profile import ModbusRules, Point, Profile, WriteRule
from firmware_adapters.transport.modbus import ModbusLink
from firmware_adapters.transport.modbus_plan import Span, Table, merge_spans
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import Busy, ConfigError, DeviceError, Unsupported
from shared.telemetry import MISSING, DeviceKind, Reading


class ModbusDevice:
    """One Modbus unit seen through a profile: `Telemetry` and `PointControl`."""

    def __init__(self, profile: Profile, link: ModbusLink, *, unit: int, timeout_s: float) -> None:
        """Raises `ConfigError` for a profile that is not Modbus."""
        if profile.modbus is None:
            raise ConfigError(f"profile {profile.model!r} is not for Modbus")
        self.kind: DeviceKind = profile.kind
        self._profile = profile
        self._rules: ModbusRules = profile.modbus
        self._link = link
        self._unit = unit
        self._timeout_s = timeout_s
        self._plan = self._merged(profile.points)

    def _merged(self, points: tuple[Point, ...]) -> tuple[Span, ...]:
        return merge_spans(
            (point.span for point in points),
            gap=self._rules.gap,
            max_registers=self._rules.max_registers,
            max_bits=self._rules.max_bits,
        )

    async def read(self) -> Observation:
        """See `Telemetry`. Raises `DeviceError` when nothing could be read."""
        readings: dict[str, Reading] = {}
        refused: DeviceError | None = None
        for span in self._plan:
            try:
                readings |= await self._read_span(span)
            except (Busy, Unsupported) as error:
                refused = error
        if refused is not None and not readings:
            raise refused
        for point in self._profile.points:
            if not point.optional:
                readings.setdefault(point.name, MISSING)
        return Observation(readings=readings)

    async def _read_span(self, span: Span) -> dict[str, Reading]:
        inside = [point for point in self._profile.points if span.covers(point.span)]
        try:
            words = await self._link.read(self._unit, span, timeout_s=self._timeout_s)
        except Unsupported:
            singles = tuple(sorted({point.span for point in inside}))
            if singles == (span,):
                raise
            # The hole in between does not exist on this device: from now on its points go one by one.
            self._plan = tuple(sorted({*self._plan, *singles} - {span}))
            return await self._read_singles(singles)
        return {point.name: self._reading(point, words, span) for point in inside}

    async def _read_singles(self, spans: tuple[Span, ...]) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        refused: DeviceError | None = None
        for span in spans:
            try:
                readings |= await self._read_span(span)
            except (Busy, Unsupported) as error:
                refused = error
        if refused is not None and not readings:
            raise refused
        return readings

    def _reading(self, point: Point, words: tuple[int, ...], span: Span) -> Reading:
        assert point.type is not None  # noqa: S101 - checked when the profile was loaded
        start = point.span.address - span.address
        raw = words_to_number(words[start : start + point.type.words], point.type, self._rules.word_order)
        if point.type is DataType.BOOL:
            raw = (int(raw) >> (point.bit or 0)) & 1
            raw = 1 - raw if point.invert else raw
        low, high = point.bounds
        return to_reading(
            raw,
            scale=point.scale,
            offset=point.offset,
            low=low,
            high=high,
            not_available=point.not_available,
            values=point.values,
        )

    async def write_point(self, point: str, value: float) -> None:
        """See `PointControl`. `Unsupported` for what the profile does not allow."""
        known = self._profile.point(point)
        if known is None or known.write is None:
            raise Unsupported(f"{self._profile.model} has no writable point {point!r}")
        rule = known.write
        if not (math.isfinite(value) and rule.low <= value <= rule.high):
            raise Unsupported(f"{point}: {value:g} is outside {rule.low:g} to {rule.high:g} {known.unit}")
        await self._write(known, rule, value)
        for step in rule.then:
            await self._link.write_register(self._unit, step.address, step.value, timeout_s=self._timeout_s)

    async def _write(self, point: Point, rule: WriteRule, value: float) -> None:
        assert point.type is not None  # noqa: S101 - checked when the profile was loaded
        span = point.span
        if span.table is Table.COIL:
            on = (value >= 0.5) != point.invert
            await self._link.write_coil(self._unit, span.address, on=on, timeout_s=self._timeout_s)
            return
        raw = to_raw(value, scale=point.scale, offset=point.offset)
        try:
            words = number_to_words(raw, point.type, self._rules.word_order)
        except ValueError as error:
            raise Unsupported(f"{point.name}: {error}") from error
        if rule.multiple or len(words) > 1:
            await self._link.write_registers(self._unit, span.address, words, timeout_s=self._timeout_s)
        else:
            await self._link.write_register(self._unit, span.address, words[0], timeout_s=self._timeout_s)

    async def facts(self) -> DeviceFacts:
        """See `Telemetry`. Modbus devices rarely say who they are, so this comes from the profile."""
        return DeviceFacts(model=self._profile.model, capabilities=capabilities_of(self._profile))

    async def close(self) -> None:
        """See `Telemetry`."""
        await self._link.close()


def capabilities_of(profile: Profile) -> tuple[Capability, ...]:
    """What a profile allows: telemetry, one SETPOINT per writable point with its bounds, its own time-out."""
    setpoints = tuple(
        Capability(
            ability=Ability.SETPOINT,
            settle_s=point.write.settle_s,
            points=(point.name,),
            low=point.write.low,
            high=point.write.high,
        )
        for point in profile.writable
        if point.write is not None
    )
    telemetry, dog = Capability(ability=Ability.TELEMETRY), profile.watchdog
    if dog is None:
        return (telemetry, *setpoints)
    watchdog = Capability(ability=Ability.WATCHDOG, points=(dog.point,), low=dog.low, high=dog.high)
    return (telemetry, *setpoints, watchdog)
