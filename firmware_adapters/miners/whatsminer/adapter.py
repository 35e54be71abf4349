"""The Whatsminer v2 adapter: open reads and encrypted writes on TCP 4028, one connection per command.

Cadence: `status`, `summary` and `devs` on every read (whether it mines, what it draws, how hot its boards
are); `get_error_code`, `pools` and `get_psu` on every `SLOW_EVERY`-th, where a failure costs only what that
page tells. A read that did not ask for faults says None: unknown, never what they were earlier.
"""

import asyncio

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners import fields
from firmware_adapters.miners.declared import CORE_POINTS, declared
from firmware_adapters.miners.whatsminer import parse, parts
from firmware_adapters.miners.whatsminer.parse import Summary, Switch
from firmware_adapters.miners.whatsminer.ranges import whole_within
from firmware_adapters.miners.whatsminer.session import Session
from firmware_adapters.transport.line_json import Body, LineClient, LineTransport
from firmware_adapters.transport.raw import RawTransport
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Fault, Pool
from shared.errors import Busy, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, Reading
from shared.units import Algorithm

SLOW_EVERY = 5
DEFAULT_PASSWORD = "admin"
"""The vendor's published default, looked for to raise an alarm."""
_BLINK = {"color": "red", "period": "60", "duration": "20", "start": "0"}
"""The red light, a flash of 20 ms in every 60."""
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
        self._liquid = parse.stands_in_liquid(model)
        self._reads = 0
        self._boards_page = "devs"

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._read()
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error

    async def _read(self) -> Observation:
        switch = await self._switch()
        seen = await self._summary(switch)
        readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
        faults = None
        if seen is not None:
            readings |= seen.readings
            faults = seen.faults
        boards = await self._boards()
        if boards is not None:
            readings |= parts.readings_of_boards(parts.boards(boards))
        if self._reads % SLOW_EVERY == 0:
            rare, told = await self._rarely()
            readings |= rare
            faults = told if told is not None else faults
        self._reads += 1
        return Observation(
            readings=readings,
            state=parse.miner_state(switch, seen),
            preset=seen.mode if seen is not None else None,
            preset_requested=switch.mode,
            algorithm=Algorithm.SHA256D,
            faults=faults,
        )

    async def _switch(self) -> Switch:
        """`status`, which early versions do not have."""
        page = await self._page("status")
        return Switch() if page is None else parse.status(page)

    async def _summary(self, switch: Switch) -> Summary | None:
        """`summary`; one that is switched off may refuse it, and then only its state is known."""
        try:
            return parse.summary(await self._line.ask("summary"), liquid=self._liquid)
        except _NOT_THERE:
            if switch.off:
                return None
            raise

    async def _boards(self) -> Body | None:
        """`devs`, or `edevs` where that is unknown; None where both are refused, as by one switched off."""
        for page in (self._boards_page, "devs" if self._boards_page == "edevs" else "edevs"):
            body = await self._page(page)
            if body is not None:
                self._boards_page = page
                return body
        return None

    async def _page(self, command: str) -> Body | None:
        """A page that not every version has, or not in every state; None where it is refused."""
        try:
            return await self._line.ask(command)
        except _NOT_THERE:
            return None

    async def _rarely(self) -> tuple[dict[str, Reading], tuple[Fault, ...] | None]:
        """What changes slowly; a page that does not parse costs only itself."""
        readings: dict[str, Reading] = {}
        faults: tuple[Fault, ...] | None = None
        codes, pools, supply = [await self._rare(page) for page in ("get_error_code", "pools", "get_psu")]
        try:
            faults = None if codes is None else parse.faults(codes)
            if pools is not None:
                readings |= parts.readings_of_pools(parts.pools(pools))
            hot = None if supply is None else parse.psu_temp_c(supply)
        except MalformedReply:
            return readings, faults
        if hot is not None:
            readings["psu_temp_c"] = fields.reading("psu_temp_c", hot)
        return readings, faults

    async def _rare(self, command: str) -> Body | None:
        try:
            return await self._page(command)
        except MalformedReply:
            return None

    async def boards(self) -> tuple[Board, ...]:
        """All hash boards. Raises `DeviceError`."""
        page = await self._boards()
        if page is None:
            raise Busy(f"{self._name}: it tells nothing of its boards now")
        return parts.boards(page)

    async def pools(self) -> tuple[Pool, ...]:
        """All pools. Raises `DeviceError`."""
        return parts.pools(await self._line.ask("pools"))

    async def facts(self) -> DeviceFacts:
        """Identity, abilities, and whether the default password opens it. Raises `DeviceError`."""
        version = await self._line.ask("get_version")
        rest = [await self._rare(page) for page in ("get_miner_info", "devdetails", "summary")]
        found = parse.identity(version, *rest)
        self._liquid = parse.stands_in_liquid(found.model) if found.model else self._liquid
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
