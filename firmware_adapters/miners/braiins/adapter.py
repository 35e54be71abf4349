"""The Braiins OS adapter: one object per machine, over its REST API.

Cadence: `miner/details`, `miner/stats`, `cooling/state` and `miner/hw/hashboards` on every read, because
state, watts, fans and board temperatures live on a page each; the power target in force on every
`TARGET_EVERY`-th, the configured temperature and the list of errors on every `SLOW_EVERY`-th, target and
temperature also within `AFTER_WRITE_S` of a write. A page that the machine does not serve in its present
state costs its readings and not the whole read, except `miner/details`, without which nothing is known.
"""

import asyncio
import contextlib
import logging
import math
import tomllib
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import TypeVar

import msgspec

from firmware_adapters.capabilities import WRITES, Credential, Observation
from firmware_adapters.miners.braiins import identify, parse, parts
from firmware_adapters.miners.braiins.parse import Details, Limits
from firmware_adapters.miners.braiins.session import Session
from firmware_adapters.miners.fields import Object, child, reading
from firmware_adapters.transport.http import HttpTransport
from firmware_adapters.transport.http_fast import FastHttpTransport
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Fault, Pool
from shared.errors import Busy, DeviceTimeout, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState
from shared.units import Algorithm

TARGET_EVERY = 2
SLOW_EVERY = 5
AFTER_WRITE_S = 120.0
API_MAJOR = 1
"""The API that this code knows; a machine with another one is read and never written to."""
DEFAULT_PASSWORDS = ("", "root")
"""What machines come with; in use, it is told so that an alarm can be raised."""
FAN_MODES = ("auto", "manual")
"""The third one, `disabled`, takes the machine's own protection away and is not offered."""

_log = logging.getLogger(__name__)
_Page = TypeVar("_Page")


@lru_cache(maxsize=1)
def capabilities() -> tuple[Capability, ...]:
    """What a machine may be able to do, from `profiles.toml`; ranges are the machine's own."""
    text = resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["capability"], tuple[Capability, ...], strict=True)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "BraiinsAdapter":
    """The adapter for one site entry; connects lazily."""
    http = FastHttpTransport(entry.host, entry.port, timeout_s=timeout_s)
    return BraiinsAdapter(http, credential, timeout_s=timeout_s, name=entry.id)


class BraiinsAdapter:
    """Telemetry and control of one Braiins OS machine. `timeout_s` bounds one whole `read()`."""

    kind = DeviceKind.MINER

    def __init__(
        self,
        http: HttpTransport,
        credential: Credential | None,
        *,
        timeout_s: float,
        clock: Clock | None = None,
        name: str = "braiins",
    ) -> None:
        self._http = http
        self._clock = clock or SystemClock()
        self._session = Session(http, credential, self._clock)
        self._credential = credential
        self._timeout_s = timeout_s
        self._name = name
        self._reads = 0
        self._written_s: float | None = None
        self._known: bool | None = None
        self._limits: Limits | None = None

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings; see the module's text for what is asked when. Raises `DeviceError`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._read()
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error

    async def _read(self) -> Observation:
        turn = self._reads
        details = await self._details()
        hashing = details.state is MinerState.MINING
        stats = await self._optional("miner/stats", lambda body: parse.stats(body, self._clock.utc_ms()))
        cooling = await self._optional("cooling/state", parse.cooling)
        boards = await self._optional(
            "miner/hw/hashboards", lambda body: parse.hashboards(body, hashing=hashing)
        )
        readings = parse.merge(part for part in (stats, cooling, boards) if part is not None)
        readings["uptime_s"] = reading("uptime_s", details.uptime_s)
        if turn % TARGET_EVERY == 0 or self._just_written():
            target_w = await self._optional("performance/tuner-state", parse.power_target_w)
            readings["power_limit_w"] = reading("power_limit_w", target_w)
        faults: tuple[Fault, ...] | None = None
        if turn % SLOW_EVERY == 0 or self._just_written():
            target_c = await self._optional("configuration/miner", parse.target_c)
            readings["setpoint_c"] = reading("setpoint_c", target_c)
        if turn % SLOW_EVERY == 0:
            faults = await self._optional("miner/errors", parts.faults)
        self._reads = turn + 1
        return Observation(readings=readings, state=details.state, algorithm=Algorithm.SHA256D, faults=faults)

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

    # ------------------------------------------------------------ rare

    async def facts(self) -> DeviceFacts:
        """Identity and what this machine can do, with its own ranges. Raises `DeviceError`."""
        details = await self._details()
        self._known = await self._is_known(details)
        with contextlib.suppress(Busy):
            self._limits = await self._read_limits()
        key = self._credential
        return DeviceFacts(
            model=details.model,
            firmware=details.firmware,
            mac=details.mac,
            serial=details.serial,
            algorithm=Algorithm.SHA256D,
            capabilities=self._declared(self._limits or Limits()),
            default_password=key is not None and key.secret in DEFAULT_PASSWORDS,
        )

    async def _is_known(self, details: Details) -> bool:
        """Whether API and release are ones that this code was written for; an untold version is none."""
        major = None
        with contextlib.suppress(Unsupported):
            major = parse.api_major(await self._session.get("version"))
        known = major == API_MAJOR and identify.seen_before(details.firmware)
        if not known and self._known is not False:
            _log.warning(
                "%s: %s with API %s is unknown, so it is only read", self._name, details.firmware, major
            )
        return known

    async def _read_limits(self) -> Limits:
        """The machine's own ranges; none where it has no such page. Raises `DeviceError`."""
        with contextlib.suppress(Unsupported):
            return parse.limits(await self._session.get("configuration/constraints"))
        return Limits()

    def _declared(self, limits: Limits) -> tuple[Capability, ...]:
        ranges = {
            Ability.POWER_LIMIT: limits.power_w,
            Ability.COOLING_TARGET: limits.target_c,
            Ability.FAN_MODE: limits.fan_pct,
        }
        declared = []
        for found in capabilities():
            if found.ability in WRITES and not self._known:
                continue
            if found.ability not in ranges:
                declared.append(found)
            elif (span := ranges[found.ability]) is not None:
                declared.append(msgspec.structs.replace(found, low=span[0], high=span[1]))
        return tuple(declared)

    async def boards(self) -> tuple[Board, ...]:
        """See `BoardTelemetry.boards`."""
        details = await self._details()
        body = await self._session.get("miner/hw/hashboards")
        return parts.boards(body, hashing=details.state is MinerState.MINING)

    async def pools(self) -> tuple[Pool, ...]:
        """See `PoolTelemetry.pools`."""
        return parts.pools(await self._session.get("pools"), self._clock.utc_ms())

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()

    # ------------------------------------------------------------ control

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
        limits = await self._known_limits()
        span = limits.fan_pct
        if mode == "auto":
            if span is None:
                raise Unsupported(f"{self._name}: this machine tells no range of fan speeds")
            await self._set_cooling("auto", {}, limits.default_target_c)
            return
        if duty_pct is None:
            raise Unsupported(f"{self._name}: the manual fan mode needs a duty")
        _check(self._name, "a fan duty", duty_pct, span, "%")
        await self._set_cooling("manual", {"fan_speed_ratio": duty_pct / 100.0})

    async def _set_cooling(self, mode: str, wanted: Object, default_c: float | None = None) -> None:
        """Change the mode and keep the temperatures at which the machine protects itself.

        The target stays too where it was automatic; from another mode it becomes `default_c`.
        """
        page = await self._optional("configuration/miner", lambda body: body)
        before = child(page if isinstance(page, dict) else None, "temperature") or {}
        settings = next((found for key in before if (found := child(before, key)) is not None), {})
        keep = ["hot_temperature", "dangerous_temperature"]
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
