"""What is written to a Braiins OS machine, and what has to be known before: its release and its ranges."""

import contextlib
import logging
import math
from collections.abc import Callable
from typing import TypeVar

from firmware_adapters.identify import Trust
from firmware_adapters.miners.braiins import limits, parse
from firmware_adapters.miners.braiins.limits import Limits
from firmware_adapters.miners.braiins.parse import Details
from firmware_adapters.miners.braiins.session import Session
from firmware_adapters.miners.fields import Object, as_page, child
from shared.clock import Clock
from shared.errors import Busy, Unsupported

API_MAJOR = 1
"""The API that this code knows; a machine with another one is read and never written to."""
AFTER_WRITE_S = 120.0
"""How long after a write the pages that show it are asked for at every read."""
FAN_MODES = ("auto", "manual")
"""The third one, `disabled`, takes the machine's own protection away and is not offered."""
PROTECTION = ("hot_temperature", "dangerous_temperature")
"""What the operator set: fans at full speed, boards off. A cooling command without them drops them."""

_log = logging.getLogger(__name__)
_Page = TypeVar("_Page")


class Control:
    """The commands of one machine. Each returns once the machine has accepted it, or raises."""

    def __init__(self, session: Session, clock: Clock, name: str, trust: Trust) -> None:
        self._session = session
        self._trust = trust
        self._clock = clock
        self._name = name
        self._written_s: float | None = None
        self._known: bool | None = None
        self._limits: Limits | None = None

    # ------------------------------------------------------------ what has to be known

    async def _details(self) -> Details:
        return parse.details(await self._session.get("miner/details"))

    async def _optional(self, path: str, read: Callable[[object], _Page]) -> _Page | None:
        """A page that may be closed in the machine's present state; garbage in it fails the read."""
        try:
            return read(await self._session.get(path))
        except (Busy, Unsupported) as error:
            _log.debug("%s: %s", self._name, error)
            return None

    def _just_written(self) -> bool:
        written_s = self._written_s
        return written_s is not None and self._clock.monotonic() - written_s <= AFTER_WRITE_S

    async def _is_known(self, details: Details) -> bool:
        """Whether the API is the one that this code was written for and the release is trusted.

        A person's word is for the release: another API is another language, which no word makes ours.
        """
        major = None
        with contextlib.suppress(Unsupported):
            major = limits.api_major(await self._session.get("version"))
        known = major == API_MAJOR and self._trust.allows(details.firmware)
        if not known and self._known is not False:
            _log.warning(
                "%s: %s with API %s is unknown, so it is only read", self._name, details.firmware, major
            )
        return known

    async def _read_limits(self) -> Limits:
        """The machine's own ranges; none where it has no such page. Raises `DeviceError`."""
        with contextlib.suppress(Unsupported):
            return limits.limits(await self._session.get("configuration/constraints"))
        return Limits()

    # ------------------------------------------------------------ commands

    async def _put(self, path: str, body: object | None = None) -> None:
        """Send a command to a machine whose release we know; raises `Unsupported` for another."""
        if self._known is None:
            self._known = await self._is_known(await self._details())
        if not self._known:
            raise Unsupported(
                f"{self._name}: this release or its API is unknown, so nothing is written to it"
            )
        self._written_s = self._clock.monotonic()
        await self._session.put(path, body)

    async def stop_mining(self) -> None:
        """Ask to end the mining process; a stopped machine says that it already was."""
        await self._put("actions/stop")

    async def start_mining(self) -> None:
        """Ask to start the mining process."""
        await self._put("actions/start")

    async def pause_mining(self) -> None:
        """Ask to pause: the boards are switched off, the mining process stays and resumes fast."""
        await self._put("actions/pause")

    async def resume_mining(self) -> None:
        """Ask to resume."""
        await self._put("actions/resume")

    async def reboot(self) -> None:
        """Ask to restart the control board."""
        await self._put("actions/reboot")

    async def locate(self, *, on: bool) -> None:
        """Ask to blink, or to stop."""
        await self._put("actions/locate", on)

    async def set_power_limit(self, watts: float) -> None:
        """Ask the tuner to hold `watts` (W), closed loop. Raises `Unsupported` outside the machine's range,
        or where it tells none."""
        span = (await self._known_limits()).power_w
        _check(self._name, "a power target", watts, span, "W")
        await self._put("performance/power-target", {"watt": math.floor(watts)})

    async def set_cooling_target(self, celsius: float) -> None:
        """Ask the fans to hold `celsius` (°C); hot and dangerous thresholds stay. Raises `Unsupported`."""
        span = (await self._known_limits()).target_c
        _check(self._name, "a target temperature", celsius, span, "°C")
        await self._set_cooling("auto", {"target_temperature": {"degree_c": float(celsius)}})

    async def set_fan_mode(self, mode: str, duty_pct: float | None = None) -> None:
        """Ask for `auto`, or `manual` with `duty_pct` (%) in the machine's range. Raises `Unsupported`."""
        if mode not in FAN_MODES:
            raise Unsupported(f"{self._name}: no fan mode {mode!r}; it has {', '.join(FAN_MODES)}")
        own = await self._known_limits()
        span = own.fan_pct
        if mode == "auto":
            if span is None:
                raise Unsupported(f"{self._name}: this machine tells no range of fan speeds")
            await self._set_cooling("auto", {}, own.default_target_c)
            return
        if duty_pct is None:
            raise Unsupported(f"{self._name}: the manual fan mode needs a duty")
        _check(self._name, "a fan duty", duty_pct, span, "%")
        await self._set_cooling("manual", {"fan_speed_ratio": duty_pct / 100.0})

    async def _set_cooling(self, mode: str, wanted: Object, default_c: float | None = None) -> None:
        """Change the mode and keep the temperatures at which the machine protects itself.

        The target stays too where it was automatic; from another mode it becomes `default_c`. A machine that
        does not tell those temperatures would lose them with the command, so nothing is sent to it: raises
        `Busy` while it keeps the page closed, `Unsupported` where it has none of them.
        """
        page = as_page(await self._session.get("configuration/miner"), "configuration/miner")
        before = child(page, "temperature") or {}
        settings = next((found for key in before if (found := child(before, key)) is not None), {})
        keep = list(PROTECTION)
        if all(settings.get(key) is None for key in keep):
            raise Unsupported(f"{self._name}: it does not tell at what temperatures it protects itself")
        if mode == "auto":
            keep.append("target_temperature")
            if default_c is not None and settings.get("target_temperature") is None:
                settings = {**settings, "target_temperature": {"degree_c": default_c}}
        kept = {key: settings[key] for key in keep if settings.get(key) is not None}
        await self._put("cooling/mode", {mode: {**kept, **wanted}})

    async def _known_limits(self) -> Limits:
        if self._limits is None:
            self._limits = await self._read_limits()
        return self._limits


def _check(name: str, what: str, value: float, span: tuple[float, float] | None, unit: str) -> None:
    if span is None:
        raise Unsupported(f"{name}: this machine tells no range for {what}")
    if not span[0] <= value <= span[1]:
        raise Unsupported(f"{name}: {what} of {value:g} {unit} is outside {span[0]:g}..{span[1]:g} {unit}")
