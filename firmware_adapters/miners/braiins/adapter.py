"""The Braiins OS adapter: one object per machine, over its REST API.

Cadence: `miner/details`, `miner/stats`, `cooling/state` and `miner/hw/hashboards` on every read, because
state, watts, fans and board temperatures live on a page each; the power target in force on every
`TARGET_EVERY`-th, the configured temperature and the list of errors on every `SLOW_EVERY`-th, target and
temperature also within `AFTER_WRITE_S` of a write. A page that the machine does not serve in its present
state, closes, hangs on or fills with nonsense costs its readings and not the whole read, except
`miner/details`, without which nothing is known.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from firmware_adapters.capabilities import WRITES, Credential, Observation
from firmware_adapters.identify import Trust
from firmware_adapters.miners.braiins import limits, parse, parts
from firmware_adapters.miners.braiins.control import Control
from firmware_adapters.miners.braiins.limits import Limits
from firmware_adapters.miners.braiins.session import Session
from firmware_adapters.miners.declared import declared
from firmware_adapters.miners.fields import reading
from firmware_adapters.miners.side_pages import SidePages
from firmware_adapters.transport.http import HttpTransport
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Fault, Pool
from shared.errors import Busy, DeviceTimeout
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState
from shared.units import Algorithm

T = TypeVar("T")

TARGET_EVERY = 2
SLOW_EVERY = 5
DEFAULT_PASSWORDS = ("", "root")
"""What machines come with; in use, it is told so that an alarm can be raised."""


def capabilities() -> tuple[Capability, ...]:
    """What a machine may be able to do, from `profiles.toml`; ranges are the machine's own."""
    return declared(__package__)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "BraiinsAdapter":
    """The adapter for one site entry; connects lazily."""
    http = HttpClient(entry.host, entry.port, timeout_s=timeout_s)
    return BraiinsAdapter(http, credential, timeout_s=timeout_s, name=entry.id, trust=Trust.of(entry))


class BraiinsAdapter(Control):
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
        trust: Trust | None = None,
    ) -> None:
        clock = clock or SystemClock()
        trust = trust or Trust(adapter="braiins")
        super().__init__(Session(http, credential, clock), clock, name, trust)
        self._http = http
        self._credential = credential
        self._timeout_s = timeout_s
        self._reads = 0

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings; see the module's text for what is asked when. Raises `DeviceError`."""
        ends_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(ends_s):
                return await self._read(SidePages(self._name, ends_s))
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error

    async def _read(self, side: SidePages) -> Observation:
        turn = self._reads
        details = await self._details()
        hashing = details.state is MinerState.MINING
        now_ms = self._clock.utc_ms()
        stats = await self._beside(
            side, "miner/stats", lambda body: parse.stats(body, now_ms, hashing=hashing)
        )
        cooling = await self._beside(side, "cooling/state", lambda body: parse.cooling(body, hashing=hashing))
        boards = await self._beside(
            side, "miner/hw/hashboards", lambda body: parse.hashboards(body, hashing=hashing)
        )
        readings = parse.merge(part for part in (stats, cooling, boards) if part is not None)
        readings["uptime_s"] = reading("uptime_s", details.uptime_s)
        if turn % TARGET_EVERY == 0 or self._just_written():
            target_w = await self._beside(side, "performance/tuner-state", limits.power_target_w)
            readings["power_limit_w"] = reading("power_limit_w", target_w)
        faults: tuple[Fault, ...] | None = None
        if turn % SLOW_EVERY == 0 or self._just_written():
            target_c = await self._beside(side, "configuration/miner", limits.target_c)
            readings["setpoint_c"] = reading("setpoint_c", target_c)
        if turn % SLOW_EVERY == 0:
            faults = await self._beside(
                side, "miner/errors", lambda body: parts.faults(body, details, now_ms)
            )
        self._reads = turn + 1
        algorithm = parse.algorithm(details.model)
        return Observation(
            readings=readings,
            state=details.state,
            algorithm=None if algorithm is Algorithm.UNKNOWN else algorithm,
            faults=faults,
        )

    async def _beside(self, side: SidePages, path: str, read: Callable[[object], T]) -> T | None:
        async def told() -> T:
            return read(await self._session.get(path))

        return await side.ask(path, told())

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
            algorithm=parse.algorithm(details.model),
            capabilities=self._declared(self._limits or Limits()),
            default_password=key is not None and key.secret in DEFAULT_PASSWORDS,
        )

    def _declared(self, own: Limits) -> tuple[Capability, ...]:
        ranges = {
            Ability.POWER_LIMIT: own.power_w,
            Ability.COOLING_TARGET: own.target_c,
            Ability.FAN_MODE: own.fan_pct,
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
