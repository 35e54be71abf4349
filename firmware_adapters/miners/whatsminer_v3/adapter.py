"""The Whatsminer v3 adapter: open reads and signed writes on TCP 4433, one connection per command.

Cadence: `get.device.info` (whether it mines, its faults, its supply), and `get.miner.status` for `summary`
and `edevs` on every read; for `pools` on every `SLOW_EVERY`-th, where a failure costs only what they tell,
and on every read of a machine that counts shares nowhere else.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners.declared import CORE_POINTS, declared
from firmware_adapters.miners.fields import Object, reading
from firmware_adapters.miners.side_pages import SidePages
from firmware_adapters.miners.whatsminer import parse, parts
from firmware_adapters.miners.whatsminer.parse import Summary
from firmware_adapters.miners.whatsminer.ranges import whole_within
from firmware_adapters.miners.whatsminer_v3.parse import DeviceInfo, device_info
from firmware_adapters.miners.whatsminer_v3.session import Session
from firmware_adapters.transport.framed import FramedClient
from firmware_adapters.transport.raw import RawTransport
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Pool
from shared.errors import Busy, DeviceTimeout, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, Quality, Reading
from shared.units import Algorithm

V3_PORT = 4433
SLOW_EVERY = 5
DEFAULT_PASSWORD = "super"
"""The vendor's published default, looked for to raise an alarm."""
_NOT_THERE = (Busy, Unsupported)
_STATUS = "get.miner.status"

T = TypeVar("T")


def capabilities() -> tuple[Capability, ...]:
    """The declared abilities, from `profiles.toml`."""
    return declared(__package__)


def open_device(
    entry: DeviceEntry, credential: Credential | None, *, timeout_s: float
) -> "WhatsminerV3Adapter":
    """The adapter for one site entry; connects lazily."""
    raw = FramedClient(entry.host, entry.port, timeout_s=timeout_s)
    return WhatsminerV3Adapter(raw, credential, timeout_s=timeout_s, name=entry.id)


class WhatsminerV3Adapter:
    """Telemetry and control of one machine. `timeout_s` bounds one whole `read()`."""

    kind = DeviceKind.MINER

    def __init__(
        self,
        raw: RawTransport,
        credential: Credential | None,
        *,
        timeout_s: float,
        clock: Clock | None = None,
        name: str = "whatsminer",
    ) -> None:
        self._credential = credential
        self._session = Session(raw, credential, clock or SystemClock())
        self._timeout_s = timeout_s
        self._name = name
        self._reads = 0
        self._pools_count = False

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`."""
        ends_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(ends_s):
                return await self._read(SidePages(self._name, ends_s))
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error

    async def _read(self, side: SidePages) -> Observation:
        about = await self._about()
        seen = await self._summary(about)
        readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
        if seen is not None:
            readings |= seen.readings
        if about.psu_power_w is not None and readings["power_w"].usable is None:
            readings["power_w"] = reading("power_w", about.psu_power_w, Quality.ESTIMATED)
        boards_c = seen.boards_c if seen is not None else ()
        found = await side.ask(
            "edevs", self._told("edevs", lambda page: parts.boards(page, boards_c, off=about.switch.off))
        )
        if found is not None:
            readings |= parts.readings_of_boards(found)
        slow = self._reads % SLOW_EVERY == 0
        if slow or self._pools_count:
            told = parts.beside_summary(await self._shares(side), seen.readings if seen is not None else None)
            if slow:
                self._pools_count = any(point in parts.COUNTED for point in told)
            readings |= told
        self._reads += 1
        for point, value in (("psu_temp_c", about.psu_temp_c), ("power_limit_w", about.power_limit_w)):
            if value is not None and point not in readings:
                readings[point] = reading(point, value)
        return Observation(
            readings=readings,
            state=parse.miner_state(about.switch, seen),
            preset=seen.mode if seen is not None else None,
            preset_requested=about.switch.mode,
            algorithm=Algorithm.SHA256D,
            faults=about.faults,
        )

    async def _about(self) -> DeviceInfo:
        return device_info(await self._session.ask("get.device.info"))

    async def _summary(self, about: DeviceInfo) -> Summary | None:
        """`summary`; one that is switched off may refuse it, and then only its state is known."""
        try:
            page = await self._session.ask(_STATUS, "summary")
        except _NOT_THERE:
            if about.switch.off:
                return None
            raise
        return parse.summary_of(page, about.identity.model)

    async def _page(self, name: str) -> Object | None:
        try:
            return await self._session.ask(_STATUS, name)
        except _NOT_THERE:
            return None

    async def _told(self, page: str, read: Callable[[object], T]) -> T:
        return read(await self._session.ask(_STATUS, page))

    async def _shares(self, side: SidePages) -> dict[str, Reading]:
        found = await side.ask("pools", self._told("pools", parts.pools))
        return {} if found is None else parts.readings_of_pools(found)

    async def boards(self) -> tuple[Board, ...]:
        """All hash boards. Raises `DeviceError`."""
        about = await self._about()
        serials = about.board_serials
        summary = await self._page("summary")
        seen = None if summary is None else parse.summary(summary)
        found = parts.boards(
            await self._session.ask(_STATUS, "edevs"),
            seen.boards_c if seen is not None else (),
            now_ths=seen.readings["hashrate_ths"].usable if seen is not None else None,
            off=about.switch.off,
        )
        return tuple(
            board if board.serial else msgspec.structs.replace(board, serial=serials[board.index])
            for board in found
        )

    async def pools(self) -> tuple[Pool, ...]:
        """All pools. Raises `DeviceError`."""
        return parts.pools(await self._session.ask(_STATUS, "pools"))

    async def facts(self) -> DeviceFacts:
        """Identity, abilities, and whether the default password opens it. Raises `DeviceError`."""
        found = (await self._about()).identity
        ours = self._credential.secret if self._credential is not None else None
        default = ours == DEFAULT_PASSWORD and self._session.accepted is True
        return parts.facts(found, capabilities(), default_password=default)

    async def close(self) -> None:
        """Nothing is held open between commands."""

    # ------------------------------------------------------------ control

    async def stop_mining(self) -> None:
        """Ask to stop."""
        await self._session.write("set.miner.service", "stop")

    async def start_mining(self) -> None:
        """Ask to start. Full hashrate takes minutes (`settle_s`)."""
        await self._session.write("set.miner.service", "start")

    async def set_power_limit(self, watts: float) -> None:
        """Ask for at most `watts` (W); restarts mining. Raises `Unsupported` outside the declared range."""
        limit = whole_within(capabilities(), Ability.POWER_LIMIT, watts, "W")
        await self._session.write("set.miner.power_limit", limit)

    async def set_throttle(self, percent: float) -> None:
        """Ask for `percent` (%) of the limit's power, the fast and rough way. Raises `Unsupported`."""
        share = whole_within(capabilities(), Ability.THROTTLE, percent, "%")
        await self._session.write("set.miner.power_percent", {"percent": str(share), "mode": "fast"})

    async def reboot(self) -> None:
        """Ask to restart the control board."""
        await self._session.write("set.system.reboot")
