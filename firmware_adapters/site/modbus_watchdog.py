"""The driver for Modbus devices with a time-out of their own (`WatchdogControl`, S10).

A class of its own, so that a device without a time-out does not pretend to have one.
"""

import math

from firmware_adapters.site.codec import number_to_words, to_raw
from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_words import decoded
from firmware_adapters.site.profile import Profile, Step, Watchdog
from firmware_adapters.transport.modbus import ModbusLink
from firmware_adapters.transport.modbus_plan import Span, Table
from shared.errors import ConfigError, MalformedReply, Unsupported


class ModbusWatchdogDevice(ModbusDevice):
    """A Modbus unit whose profile has a `[watchdog]` table."""

    def __init__(self, profile: Profile, link: ModbusLink, *, unit: int, timeout_s: float) -> None:
        """Raises `ConfigError` for a profile without a time-out."""
        super().__init__(profile, link, unit=unit, timeout_s=timeout_s)
        if profile.watchdog is None:
            raise ConfigError(f"profile {profile.model!r} has no [watchdog]")
        self._dog: Watchdog = profile.watchdog

    async def arm(self, timeout_s: float) -> None:
        """See `WatchdogControl`. First what it falls to, then the time, then the action: no old one acts."""
        dog = self._dog
        if not (math.isfinite(timeout_s) and dog.low <= timeout_s <= dog.high):
            raise Unsupported(
                f"watchdog: {timeout_s:g} s is outside {dog.low:g} to {dog.high:g} s of {self._profile.model}"
            )
        if dog.revert is not None:
            await self._write_words(dog.revert, await self._safe_words())
        await self._write_steps(dog.prepare)
        await self._write_time(timeout_s)
        if dog.action is not None:
            await self._write_steps((dog.action,))
        await self.feed()

    async def disarm(self) -> None:
        """See `WatchdogControl`: action 0, or a time of 0 where the device has no action register."""
        if self._dog.action is not None:
            await self._write_steps((Step(address=self._dog.action.address, value=0),))
        else:
            await self._write_time(0.0)

    async def feed(self) -> None:
        """See `WatchdogControl`. Where any request counts, this is the cheapest one."""
        if not self._dog.keep_alive:
            await self._words(self._dog.span)
        await self._write_steps(self._dog.keep_alive)

    async def armed_s(self) -> float | None:
        """See `WatchdogControl`."""
        dog = self._dog
        for step in (*dog.prepare, *((dog.action,) if dog.action is not None else ())):
            (word,) = await self._words(Span(Table.HOLDING, step.address, 1))
            if word != step.value:
                return None
        if dog.revert is not None:
            safe = await self._safe_words()
            if await self._words(Span(Table.HOLDING, dog.revert, len(safe))) != safe:
                return None
        words = await self._words(dog.span)
        seconds = decoded(dog.timeout_point, words, self._rules).usable
        if seconds is None:
            raise MalformedReply(f"{self._profile.model}: its time-out reads as registers {words}")
        return seconds if seconds > 0 else None

    async def _write_time(self, seconds: float) -> None:
        dog = self._dog
        try:
            raw = to_raw(seconds, scale=dog.scale, offset=0.0)
            words = number_to_words(raw, dog.type, self._rules.word_order)
        except ValueError as error:
            raise Unsupported(f"watchdog: {error}") from error
        await self._write_words(dog.address, words)

    async def _safe_words(self) -> tuple[int, ...]:
        """The fail-safe value of the point that it drives, coded for its registers."""
        point = self._profile.point(self._dog.point)
        if point is None or point.write is None or point.write.falls_to is None:
            raise Unsupported(f"{self._profile.model}: {self._dog.point} has no value to fall to")
        return await self._coded(point, point.write.falls_to)
