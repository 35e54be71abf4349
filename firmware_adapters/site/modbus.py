"""The one driver for everything that speaks Modbus; what a device is stands in its profile.

Reads: the profile's points are merged into few requests, and a merged range that the device refuses
(exception 2) is split once and for all. A failure to talk to the device fails the whole read; a point that
the device does not have or refuses for the moment is `MISSING`, and an optional one is left out. Writes go
out in the point's own unit, inside the profile's bounds, and are confirmed by nobody but a later read: every
writable point is also read, so the next reading is the read-back. What must be read for a write (a drive's
status, a scale factor) is read past the breakers, as the write itself goes.

A SunSpec device says itself where its registers are. Where it says so is looked up once, checked with every
read (the model's number is read beside its values) and looked up anew when it no longer holds.
"""

import asyncio
import math
from functools import partial

from firmware_adapters.capabilities import Observation
from firmware_adapters.site.codec import SCALE_FACTORS, DataType, number_to_words, to_raw, words_to_number
from firmware_adapters.site.modbus_words import MODEL_NUMBER, Blocks, cut, decoded, scale_span, spans_of
from firmware_adapters.site.profile import ModbusRules, Point, Profile, Step, WriteRule
from firmware_adapters.site.sunspec import Chain, Maker, find_chain, read_maker
from firmware_adapters.transport.modbus import ModbusLink
from firmware_adapters.transport.modbus_plan import Span, Table, merge_spans
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import Busy, ConfigError, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.telemetry import MISSING, DeviceKind, Reading

CYCLE_REQUESTS = 4
"""A whole read may take as long as so many requests, waiting for its turns included."""
COARSEST = 0.05
"""Of the range that may be written: a device that says its steps are longer would round a command away."""


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
        self._plan = self._merged()
        self._chain: Chain | None = None
        self._base = 0
        self._maker = Maker()

    def _merged(self) -> tuple[Span, ...]:
        return merge_spans(
            (span for point in self._profile.points for span in spans_of(point, self._rules)),
            gap=self._rules.gap,
            max_registers=self._rules.max_registers,
            max_bits=self._rules.max_bits,
        )

    # ---------------------------------------------------------------- reading

    async def read(self) -> Observation:
        """See `Telemetry`. Raises `DeviceError` when nothing could be read, or not the whole in time."""
        longest_s = CYCLE_REQUESTS * self._timeout_s
        try:
            async with asyncio.timeout(longest_s):
                return await self._read()
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._profile.model}: no whole reading within {longest_s:g} s") from error

    async def _read(self) -> Observation:
        blocks: Blocks = {}
        refused: DeviceError | None = None
        for span in self._plan:
            try:
                blocks |= await self._read_span(span)
            except (Busy, Unsupported) as error:
                refused = error
        if refused is not None and not blocks:
            self._forget()
            raise refused
        self._check_model(blocks)
        readings: dict[str, Reading] = {}
        for point in self._profile.points:
            reading = self._reading(point, blocks)
            if reading is not None:
                readings[point.name] = reading
            elif not point.optional:
                readings[point.name] = MISSING
        if all(reading == MISSING for reading in readings.values()) and refused is not None:
            raise refused
        return Observation(readings=readings)

    async def _read_span(self, span: Span) -> Blocks:
        try:
            return {span: await self._words(span)}
        except Unsupported:
            wanted = {one for point in self._profile.points for one in spans_of(point, self._rules)}
            singles = tuple(sorted(one for one in wanted if span.covers(one)))
            if singles in ((), (span,)):
                raise
            # The hole in between does not exist on this device: from now on its points go one by one.
            self._plan = tuple(sorted({*self._plan, *singles} - {span}))
            return await self._read_singles(singles)

    async def _read_singles(self, spans: tuple[Span, ...]) -> Blocks:
        blocks: Blocks = {}
        refused: DeviceError | None = None
        for span in spans:
            try:
                blocks[span] = await self._words(span)
            except (Busy, Unsupported) as error:
                refused = error
        if refused is not None and not blocks:
            raise refused
        return blocks

    def _reading(self, point: Point, blocks: Blocks) -> Reading | None:
        """What the point reads; None where the device did not give its registers."""
        words = cut(blocks, point.span)
        if words is None:
            return None
        factor = self._factor(point, blocks)
        return MISSING if factor is None else decoded(point, words, self._rules, factor=factor)

    def _factor(self, point: Point, blocks: Blocks) -> float | None:
        """By how much the device says the raw number is to be multiplied; None: it does not say."""
        if point.scale_register is None:
            return 1.0
        words = cut(blocks, scale_span(point))
        if words is None:
            return None
        power = int(words_to_number(words, DataType.INT16, self._rules.word_order))
        return float(f"1e{power}") if power in SCALE_FACTORS else None

    # ---------------------------------------------------------------- where the registers are

    async def _located(self, *, forced: bool = False) -> int:
        """What is to be added to the profile's addresses. Raises `DeviceError`."""
        if self._rules.sunspec is None:
            return 0
        if self._chain is None:
            chain = await find_chain(partial(self._absolute, forced=forced), self._rules.sunspec.bases)
            self._base = chain.place(self._rules.sunspec.models)
            self._chain = chain
        return self._base

    def _forget(self) -> None:
        if self._chain is not None:
            self._chain = None
            self._plan = self._merged()

    def _check_model(self, blocks: Blocks) -> None:
        """Another device, or another firmware, may stand there by now; its registers mean something else."""
        if self._rules.sunspec is None:
            return
        words = cut(blocks, MODEL_NUMBER)
        if words is None or words[0] not in self._rules.sunspec.models:
            self._forget()
            raise MalformedReply(
                f"{self._profile.model}: its SunSpec model is not where it was; looking for it anew"
            )

    async def _words(self, span: Span, *, forced: bool = False) -> tuple[int, ...]:
        base = await self._located(forced=forced)
        if span.end + base > 0x10000:
            raise Unsupported(f"{self._profile.model}: register {span.end + base - 1} does not exist")
        return await self._absolute(Span(span.table, span.address + base, span.count), forced=forced)

    async def _absolute(self, span: Span, *, forced: bool = False) -> tuple[int, ...]:
        return await self._link.read(self._unit, span, timeout_s=self._timeout_s, forced=forced)

    # ---------------------------------------------------------------- writing

    async def write_point(self, point: str, value: float) -> None:
        """See `PointControl`. `Unsupported` for what the profile does not allow."""
        known = self._profile.point(point)
        if known is None or known.write is None:
            raise Unsupported(f"{self._profile.model} has no writable point {point!r}")
        rule = known.write
        if not (math.isfinite(value) and rule.low <= value <= rule.high):
            raise Unsupported(f"{point}: {value:g} is outside {rule.low:g} to {rule.high:g} {known.unit}")
        if rule.first and (not rule.first_unless or await self._is_off(rule.first_unless)):
            await self._write_steps(rule.first)
        await self._write(known, rule, value)
        await self._write_steps(rule.then)

    async def _write(self, point: Point, rule: WriteRule, value: float) -> None:
        if point.span.table is Table.COIL:
            on = (value >= 0.5) != point.invert
            address = point.span.address + await self._located(forced=True)
            await self._link.write_coil(self._unit, address, on=on, timeout_s=self._timeout_s)
            return
        words = await self._coded(point, value)
        await self._write_words(point.span.address, words, multiple=rule.multiple)

    async def _coded(self, point: Point, value: float) -> tuple[int, ...]:
        """The words that command `value`. Raises `Unsupported` for what the registers cannot hold."""
        assert point.type is not None  # noqa: S101 - checked when the profile was loaded
        codes = point.write.values if point.write is not None else {}
        if codes:
            if (code := codes.get(f"{value:g}")) is None:
                raise Unsupported(f"{point.name}: {value:g} is none of {', '.join(codes)}")
            raw = float(code)
        else:
            raw = to_raw(value, scale=point.scale, offset=point.offset)
        if point.scale_register is not None:
            span = scale_span(point)
            factor = self._factor(point, {span: await self._words(span, forced=True)})
            if factor is None:
                raise Unsupported(f"{point.name}: the device does not say how the number is scaled")
            raw /= factor
            step = abs(point.scale) * factor
            if point.write is not None and step > COARSEST * (point.write.high - point.write.low):
                raise Unsupported(f"{point.name}: the device only takes steps of {step:g} {point.unit}")
        try:
            return number_to_words(raw, point.type, self._rules.word_order)
        except ValueError as error:
            raise Unsupported(f"{point.name}: {error}") from error

    async def _is_off(self, flag: str) -> bool:
        """Whether the flag reads 0, asked past the breaker: an open one says nothing of how it is now.

        One that cannot be read is not off. The point itself is still written, but what comes `first` would
        stop a machine that may be running.
        """
        point = self._profile.point(flag)
        if point is None:
            return False
        try:
            reading = self._reading(point, {point.span: await self._words(point.span, forced=True)})
        except DeviceError:
            return False
        return reading is not None and reading.usable == 0.0

    async def _write_steps(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            await self._write_words(step.address, (step.value,))

    async def _write_words(self, address: int, words: tuple[int, ...], *, multiple: bool = False) -> None:
        address += await self._located(forced=True)
        if multiple or len(words) > 1:
            await self._link.write_registers(self._unit, address, words, timeout_s=self._timeout_s)
        else:
            await self._link.write_register(self._unit, address, words[0], timeout_s=self._timeout_s)

    # ---------------------------------------------------------------- the rest

    async def facts(self) -> DeviceFacts:
        """See `Telemetry`. What the profile says, so that a silent drive may still be told to run.

        A SunSpec device also says who it is; asked once, and unknown while it does not answer.
        """
        if self._rules.sunspec is not None and self._maker == Maker():
            try:
                await self._located()
                if self._chain is not None:
                    self._maker = await read_maker(self._absolute, self._chain)
            except DeviceError:
                pass  # the abilities are known from the profile; only the serial number stays unknown
        return DeviceFacts(
            model=self._maker.model or self._profile.model,
            firmware=self._maker.version,
            serial=self._maker.serial,
            capabilities=capabilities_of(self._profile),
        )

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
