"""The Avalon adapter: cgminer's socket on TCP 4028, one connection per command, no login at all.

Cadence: `estats` (`stats` where that is unknown) and `summary` on every read, `version` before the first;
`pools` on every `SLOW_EVERY`-th, for the age of the last share. Every write asks `version` first: nothing
else on this port tells whether the address still belongs to an Avalon, and the times that `softoff` and
`softon` take are by the machine's own clock, which that reply shows.
"""

import asyncio

import msgspec

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners.avalon import parse, parts
from firmware_adapters.miners.avalon.modes import capabilities_of, ladder_of, modes_of
from firmware_adapters.miners.avalon.parse import Identity, Stats
from firmware_adapters.miners.claims import power_beside
from firmware_adapters.miners.fields import reading
from firmware_adapters.miners.side_pages import SidePages
from firmware_adapters.transport.line_json import LineClient, LineTransport, decode, raise_refusal
from firmware_adapters.transport.raw import RawTransport
from shared.capabilities import DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Chip, Pool
from shared.errors import Busy, DeviceTimeout, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Reading
from shared.units import Algorithm

SLOW_EVERY = 5
SOON_S = 5
"""A switch is set for a moment that the machine's clock has not passed yet."""


def open_device(
    entry: DeviceEntry,
    credential: Credential | None,
    *,
    timeout_s: float,
) -> "AvalonAdapter":
    """The adapter for one site entry; connects lazily. There is no login, so `credential` is not used."""
    del credential
    line = LineClient(entry.host, entry.port, timeout_s=timeout_s)
    return AvalonAdapter(line, line, timeout_s=timeout_s, name=entry.id)


class AvalonAdapter:
    """Telemetry and control of one machine. `line` reads, `raw` carries the writes; both reach one socket.

    `timeout_s` bounds one whole `read()`.
    """

    kind = DeviceKind.MINER

    def __init__(
        self,
        line: LineTransport,
        raw: RawTransport,
        *,
        timeout_s: float,
        clock: Clock | None = None,
        name: str = "avalon",
    ) -> None:
        self._line = line
        self._raw = raw
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._name = name
        self._identity: Identity | None = None
        self._stats_page = "estats"
        self._reads = 0
        self._writing = asyncio.Lock()

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
        who = self._identity or await side.ask("version", self._who()) or Identity()
        seen = await self._stats()
        readings = parse.module_readings(seen, liquid=who.liquid)
        # `summary` counts what it hashes itself; where it does not say, the module does.
        told = await side.ask("summary", self._summary()) or {}
        readings |= {point: value for point, value in told.items() if value.usable is not None}
        readings["power_w"] = power_beside(readings["power_w"], readings["hashrate_ths"])
        if self._reads % SLOW_EVERY == 0:
            readings |= await side.ask("pools", self._last_share()) or {}
        self._reads += 1
        mode = next((mode for mode in modes_of(who.model) if mode.number == parse.work_mode(seen)), None)
        if mode is not None:
            readings["preset_w"] = reading("preset_w", mode.power_w)
        return Observation(
            readings=readings,
            state=parse.miner_state(seen, readings["hashrate_ths"].usable),
            preset=mode.name if mode is not None else None,
            algorithm=Algorithm.SHA256D,
            faults=parse.faults(seen),
        )

    async def _who(self) -> Identity:
        self._identity = parse.identity(await self._line.ask("version"))
        return self._identity

    async def _stats(self) -> Stats:
        try:
            return parse.stats(await self._line.ask(self._stats_page))
        except Unsupported:
            if self._stats_page == "stats":
                raise
        self._stats_page = "stats"
        return parse.stats(await self._line.ask("stats"))

    async def _summary(self) -> dict[str, Reading]:
        return parse.summary(await self._line.ask("summary"))

    async def _last_share(self) -> dict[str, Reading]:
        """Said only by some versions, and worth no whole read."""
        found = parts.pools(await self._line.ask("pools"))
        ages = [pool.last_share_age_s for pool in found if pool.last_share_age_s is not None]
        return {"last_share_age_s": reading("last_share_age_s", min(ages))} if ages else {}

    async def boards(self) -> tuple[Board, ...]:
        """All hash boards. Raises `DeviceError`."""
        return parts.boards(await self._stats())

    async def chips(self) -> tuple[Chip, ...]:
        """All chips; without temperature and voltage while the machine rests. Raises `DeviceError`."""
        return parts.chips(await self._stats())

    async def pools(self) -> tuple[Pool, ...]:
        """All pools. Raises `DeviceError`."""
        return parts.pools(await self._line.ask("pools"))

    async def facts(self) -> DeviceFacts:
        """Identity, the model's modes as its ladder, abilities. Raises `DeviceError`."""
        found = await self._who()
        return DeviceFacts(
            model=found.model,
            firmware=found.firmware,
            mac=found.mac,
            serial=found.serial,
            algorithm=Algorithm.SHA256D,
            presets=ladder_of(found.model),
            capabilities=capabilities_of(found.model),
        )

    async def close(self) -> None:
        """Nothing is held open between commands."""

    # ------------------------------------------------------------ control

    async def stop_mining(self) -> None:
        """Ask to stop. The machine closes without a word: only a later read tells whether it did."""
        await self._switch("softoff")

    async def start_mining(self) -> None:
        """Ask to start; as `stop_mining`."""
        await self._switch("softon")

    async def set_preset(self, name: str) -> None:
        """Ask for a work mode of its model. Raises `Unsupported` for another.

        Raises `Busy` while it is switched off, because it is not known whether a mode would switch it on.
        """
        async with self._writing:
            who = await self._who()
            modes = modes_of(who.model)
            mode = next((mode for mode in modes if mode.name == name), None)
            if mode is None:
                has = ", ".join(mode.name for mode in modes) or "none that is known"
                raise Unsupported(f"{self._name}: {who.model} has no mode {name!r}; it has {has}")
            state = parse.miner_state(await self._stats(), None)
            if state is MinerState.STOPPED:
                raise Busy(f"{self._name}: it is switched off, and a mode might switch it on")
            await self._tell(f"workmode,set,{mode.number}")

    async def reboot(self) -> None:
        """Ask to restart the machine."""
        async with self._writing:
            await self._who()
            await self._tell("reboot,0")

    async def _switch(self, word: str) -> None:
        async with self._writing:
            who = await self._who()
            now_s = who.now_s if who.now_s is not None else self._clock.utc_ms() / 1000
            await self._tell(f"{word},1:{int(now_s) + SOON_S}")

    async def _tell(self, words: str) -> None:
        """One `ascset` for the only device. No reply is how most are answered; a refusal is raised."""
        request = msgspec.json.encode({"command": "ascset", "parameter": f"0,{words}"})
        raw = await self._raw.exchange(request, "ascset", f"0,{words}")
        if raw.strip(b"\x00\r\n "):
            raise_refusal(decode(raw))
