"""The Whatsminer v2 adapter: open reads and encrypted writes on TCP 4028, one connection per command.

Cadence: `status`, `summary` and `devs` on every read (whether it mines, what it draws, how hot its boards
are); `get_error_code`, `pools` and `get_psu` on every `SLOW_EVERY`-th, where a failure costs only what that
page tells. `pools` comes with every read of a machine that counts shares nowhere else: a counter that is
there in one read of five cannot be counted with. A read that did not ask for faults says None: unknown, never
what they were earlier. Where no fan turns, the model is asked for, because some have none.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners import fields
from firmware_adapters.miners.declared import CORE_POINTS, declared
from firmware_adapters.miners.side_pages import SidePages
from firmware_adapters.miners.whatsminer import parse, parts
from firmware_adapters.miners.whatsminer.parse import Summary, Switch
from firmware_adapters.miners.whatsminer.ranges import whole_within
from firmware_adapters.miners.whatsminer.session import Session
from firmware_adapters.transport.line_json import Body, LineClient, LineTransport
from firmware_adapters.transport.raw import RawTransport
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Fault, Pool
from shared.errors import Busy, DeviceTimeout, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, Reading
from shared.units import Algorithm

T = TypeVar("T")

SLOW_EVERY = 5
DEFAULT_PASSWORD = "admin"
"""The vendor's published default, looked for to raise an alarm."""
_BLINK = {"color": "red", "period": "60", "duration": "20", "start": "0"}
"""The red light, a flash of 20 ms in every 60."""
_RARER = 8
"""So many request time-outs may boards and facts take."""
_NOT_THERE = (Busy, Unsupported)
"""How a machine refuses a page that it does not have, or not now."""


def capabilities() -> tuple[Capability, ...]:
    """The declared abilities, from `profiles.toml`."""
    return declared(__package__)


def open_device(
    entry: DeviceEntry, credential: Credential | None, *, timeout_s: float
) -> "WhatsminerAdapter":
    """The adapter for one site entry; connects lazily."""
    line = LineClient(entry.host, entry.port, timeout_s=timeout_s)
    return WhatsminerAdapter(
        line, line, credential, timeout_s=timeout_s, name=entry.id, model=entry.model or ""
    )


class WhatsminerAdapter:
    """Telemetry and control of one machine. `line` reads, `raw` carries the writes; both reach one socket.

    `timeout_s` bounds one whole `read()`. `model` is what the site file calls it, until the machine says.
    """

    kind = DeviceKind.MINER

    def __init__(
        self,
        line: LineTransport,
        raw: RawTransport,
        credential: Credential | None,
        *,
        timeout_s: float,
        clock: Clock | None = None,
        name: str = "whatsminer",
        model: str = "",
    ) -> None:
        self._line = line
        self._credential = credential
        self._session = Session(raw, credential, clock or SystemClock())
        self._timeout_s = timeout_s
        self._name = name
        self._model = model if parse.is_model(model) else ""
        """Its name tells whether it has fans; empty while it is not known."""
        self._reads = 0
        self._pools_count = False
        self._boards_page = "devs"

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
        # Early versions have no `status`.
        switch = await side.ask("status", self._told("status", parse.status)) or Switch()
        slow = self._reads % SLOW_EVERY == 0
        seen = await self._summary(side, switch, slow=slow)
        readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
        faults = None
        if seen is not None:
            readings |= seen.readings
            faults = seen.faults
        boards = await self._boards(side, off=switch.off)
        if boards is not None:
            readings |= parts.readings_of_boards(boards)
        if slow:
            rare, told = await self._rarely(side)
            faults = told if told is not None else faults
        else:
            rare = await self._shares(side) if self._pools_count else {}
        rare = parts.beside_summary(rare, seen.readings if seen is not None else None)
        if slow:
            self._pools_count = any(point in parts.COUNTED for point in rare)
        readings |= rare
        self._reads += 1
        return Observation(
            readings=readings,
            state=parse.miner_state(switch, seen),
            preset=seen.mode if seen is not None else None,
            preset_requested=switch.mode,
            algorithm=Algorithm.SHA256D,
            faults=faults,
        )

    async def _told(self, command: str, read: Callable[[Body], T]) -> T:
        return read(await self._line.ask(command))

    async def _summary(self, side: SidePages, switch: Switch, *, slow: bool) -> Summary | None:
        """`summary`; one that is switched off may refuse it, and then only its state is known."""
        try:
            page = await self._line.ask("summary")
        except _NOT_THERE:
            if switch.off:
                return None
            raise
        seen = parse.summary_of(page, self._model)
        if not self._model and slow and not parse.turns_fans(seen):
            await self._learn_model(side)
            seen = parse.summary_of(page, self._model)
        return seen

    async def _learn_model(self, side: SidePages) -> None:
        """Whether the machine has fans; asked again later where it does not say."""
        for page in ("devdetails", "get_miner_info", "get_version"):
            model = await side.ask(page, self._told(page, parse.model_told)) or ""
            if parse.is_model(model):
                self._model = model
                return

    async def _boards(self, side: SidePages, *, off: bool | None) -> tuple[Board, ...] | None:
        """`devs`, or `edevs` where that is unknown; None where both are refused, as by one switched off."""
        for page in (self._boards_page, "devs" if self._boards_page == "edevs" else "edevs"):
            found = await side.ask(page, self._told(page, partial(parts.boards, off=off)))
            if found is not None:
                self._boards_page = page
                return found
        return None

    async def _rarely(self, side: SidePages) -> tuple[dict[str, Reading], tuple[Fault, ...] | None]:
        """What changes slowly."""
        faults = await side.ask("get_error_code", self._told("get_error_code", parse.faults))
        readings = await self._shares(side)
        hot_c = await side.ask("get_psu", self._told("get_psu", parse.psu_temp_c))
        if hot_c is not None:
            readings["psu_temp_c"] = fields.reading("psu_temp_c", hot_c)
        return readings, faults

    async def _shares(self, side: SidePages) -> dict[str, Reading]:
        """What `pools` adds to a read."""
        found = await side.ask("pools", self._told("pools", parts.pools))
        return {} if found is None else parts.readings_of_pools(found)

    async def boards(self) -> tuple[Board, ...]:
        """All hash boards. Raises `DeviceError`."""
        side = self._unhurried()
        switch = await side.ask("status", self._told("status", parse.status)) or Switch()
        found = await self._boards(side, off=switch.off)
        if found is None:
            raise Busy(f"{self._name}: it tells nothing of its boards now")
        if all(board.hashrate_ths is not None for board in found):
            return found
        # Averages only: what the whole hashes tells whether they still hold.
        seen = await side.ask("summary", self._told("summary", parse.summary))
        now_ths = None if seen is None else seen.readings["hashrate_ths"].usable
        told = partial(parts.boards, now_ths=now_ths, off=switch.off)
        return await side.ask(self._boards_page, self._told(self._boards_page, told)) or found

    def _unhurried(self) -> SidePages:
        """For the rarer reads, which the caller bounds."""
        return SidePages(self._name, asyncio.get_running_loop().time() + _RARER * self._timeout_s)

    async def pools(self) -> tuple[Pool, ...]:
        """All pools. Raises `DeviceError`."""
        return parts.pools(await self._line.ask("pools"))

    async def facts(self) -> DeviceFacts:
        """Identity, abilities, and whether the default password opens it. Raises `DeviceError`."""
        version = await self._line.ask("get_version")
        side = self._unhurried()
        rest = [
            await side.ask(page, self._line.ask(page)) for page in ("get_miner_info", "devdetails", "summary")
        ]
        found = parse.identity(version, *rest)
        if parse.is_model(found.model):
            self._model = found.model
        ours = self._credential.secret if self._credential is not None else None
        default = ours == DEFAULT_PASSWORD and self._session.accepted is True
        return parts.facts(found, capabilities(), default_password=default)

    async def close(self) -> None:
        """Nothing is held open between commands."""

    # ------------------------------------------------------------ control

    async def stop_mining(self) -> None:
        """Ask to stop; the reply is wanted before it acts, because it may not come afterwards."""
        await self._session.write("power_off", respbefore="true")

    async def start_mining(self) -> None:
        """Ask to start. Full hashrate takes minutes (`settle_s`)."""
        await self._session.write("power_on")

    async def set_power_limit(self, watts: float) -> None:
        """Ask for at most `watts` (W); restarts mining. Raises `Unsupported` outside the declared range."""
        limit = whole_within(capabilities(), Ability.POWER_LIMIT, watts, "W")
        await self._session.write("adjust_power_limit", power_limit=str(limit))

    async def set_throttle(self, percent: float) -> None:
        """Ask for `percent` (%) of the limit's power, within a second and roughly. Raises `Unsupported`."""
        share = whole_within(capabilities(), Ability.THROTTLE, percent, "%")
        await self._session.write("set_power_pct", percent=str(share))

    async def reboot(self) -> None:
        """Ask to restart the control board."""
        await self._session.write("reboot")

    async def locate(self, *, on: bool) -> None:
        """Ask to blink red, or to show what it always shows."""
        if on:
            await self._session.write("set_led", **_BLINK)
        else:
            await self._session.write("set_led", param="auto")
