"""The AxeOS (Bitaxe) adapter: one object per machine, over its HTTP API, which has no login.

A read is one request. The page of foreseen frequencies, which throttling is measured by and which some
releases tell chips and model on, is asked for once and again with the facts. The firmware has no verb that
stops mining, so none is declared: what has to be off goes through its outlet.
"""

import asyncio
import contextlib
from http import HTTPStatus

import msgspec

from firmware_adapters.capabilities import WRITES, Credential, Observation
from firmware_adapters.identify import Trust
from firmware_adapters.miners.axeos import parse
from firmware_adapters.miners.axeos.parse import Steps
from firmware_adapters.miners.declared import declared
from firmware_adapters.miners.fields import Object, amount, decode, reading
from firmware_adapters.miners.side_pages import NOT_TOLD, SidePages
from firmware_adapters.transport.http import HttpReply, HttpTransport
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.details import Board, Pool
from shared.errors import AuthFailed, Busy, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Reading
from shared.units import Algorithm

INFO = "/api/system/info"
ASIC = "/api/system/asic"
SETTINGS = "/api/system"
RESTART = "/api/system/restart"
FAN_MODES = ("auto", "manual")


def capabilities() -> tuple[Capability, ...]:
    """What a machine may be able to do, from `profiles.toml`; how far it throttles is its own."""
    return declared(__package__)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "AxeosAdapter":
    """The adapter for one site entry; connects lazily. There is no login, so a credential is not used.

    Its processor serves few connections at a time, so none is kept between polls.
    """
    http = HttpClient(entry.host, entry.port, timeout_s=timeout_s, keep_alive=False)
    return AxeosAdapter(http, timeout_s=timeout_s, name=entry.id, trust=Trust.of(entry))


class AxeosAdapter:
    """Telemetry and control of one machine. `timeout_s` bounds one whole `read()`."""

    kind = DeviceKind.MINER

    def __init__(
        self, http: HttpTransport, *, timeout_s: float, name: str = "axeos", trust: Trust | None = None
    ) -> None:
        self._trust = trust or Trust(adapter="axeos")
        self._http = http
        self._timeout_s = timeout_s
        self._name = name
        self._steps: Steps | None = None
        self._asic_failed = False
        """Its page of frequencies did not come; asked for again with the facts, not with every read."""
        self._second_fan = False
        """Whether a second fan was seen turning: later releases name one, at 0 rpm where there is none."""
        self._full_mhz: float | None = None
        """The frequency that it ran at before we throttled it."""

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings. Raises `DeviceError`."""
        ends_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(ends_s):
                page, steps = await self._whole(SidePages(self._name, ends_s))
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error
        found = self._without_absent_fan(parse.readings(page))
        full_mhz, mhz = self._full_mhz or steps.default_mhz, amount(page, "frequency")
        if full_mhz is not None and mhz is not None:
            found["throttle_pct"] = reading("throttle_pct", min(100.0, 100.0 * mhz / full_mhz))
        return Observation(
            readings=found,
            state=parse.state(page),
            algorithm=Algorithm.SHA256D,
            faults=parse.faults(page),
        )

    async def _info(self) -> Object:
        return parse.info(await self._get(INFO))

    async def _whole(self, side: SidePages | None = None) -> tuple[Object, Steps]:
        """The page with what the other one adds to it, and the frequencies."""
        page = await self._info()
        if side is None:  # a rarer read, which the caller bounds
            side = SidePages(self._name, asyncio.get_running_loop().time() + 2 * self._timeout_s)
        steps = self._steps
        if steps is None and not self._asic_failed:
            steps = await side.ask(ASIC, self._known_steps())
            self._asic_failed = steps is None
        steps = steps or Steps()
        return parse.completed(page, steps), steps

    def _without_absent_fan(self, found: dict[str, Reading]) -> dict[str, Reading]:
        second = found.get("fan_rpm.1")
        if second is not None and second.value:
            self._second_fan = True
        elif second is not None and not self._second_fan:
            del found["fan_rpm.1"]
        return found

    async def _known_steps(self) -> Steps:
        """The foreseen frequencies, asked for once; none where the release has no such page."""
        if self._steps is None:
            self._steps = await self._ask_steps()
        return self._steps

    async def _ask_steps(self) -> Steps:
        with contextlib.suppress(Unsupported):
            return parse.steps(await self._get(ASIC))
        return Steps()

    async def facts(self) -> DeviceFacts:
        """Identity and what this machine can do. Raises `DeviceError`."""
        told = await self._info()
        self._asic_failed = False
        with contextlib.suppress(*NOT_TOLD):
            self._steps = await self._ask_steps()
        steps = self._steps or Steps()
        page = parse.completed(told, steps)
        found = parse.identity(page)
        return DeviceFacts(
            model=found.model,
            firmware=parse.firmware(page),
            mac=found.mac,
            algorithm=Algorithm.SHA256D,
            capabilities=self._declared(page, steps),
        )

    def _declared(self, page: Object, steps: Steps) -> tuple[Capability, ...]:
        writable = self._trust.allows(parse.firmware(page))
        low_pct = _lowest_pct(steps)
        declared = []
        for found in capabilities():
            if found.ability in WRITES and not writable:
                continue
            if found.ability is not Ability.THROTTLE:
                declared.append(found)
            elif low_pct is not None:
                declared.append(msgspec.structs.replace(found, low=low_pct, high=100.0))
        return tuple(declared)

    async def boards(self) -> tuple[Board, ...]:
        """See `BoardTelemetry.boards`: there is one."""
        page, _ = await self._whole()
        return (parse.board(page),)

    async def pools(self) -> tuple[Pool, ...]:
        """See `PoolTelemetry.pools`."""
        return parse.pools(await self._info())

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()

    # ------------------------------------------------------------ control

    async def set_throttle(self, percent: float) -> None:
        """Ask for the highest foreseen frequency within `percent` of the full one; 100 takes it back.

        The full one is what the machine ran at before it was throttled, or the maker's default where that is
        not known any more. The core voltage stays: a lower clock at the same voltage is always safe. Raises
        `Unsupported` outside the declared range.
        """
        page = await self._writable()
        steps = await self._known_steps()
        low_pct, now_mhz = _lowest_pct(steps), amount(page, "frequency")
        if low_pct is None or steps.default_mhz is None:
            raise Unsupported(f"{self._name}: this machine tells no frequencies to throttle by")
        if not low_pct <= percent <= 100.0:
            raise Unsupported(f"{self._name}: a throttle of {percent:g} % is outside {low_pct:g}..100 %")
        if self._full_mhz is None and now_mhz is not None and now_mhz >= steps.default_mhz:
            self._full_mhz = now_mhz
        full_mhz = self._full_mhz or steps.default_mhz
        wanted_mhz = full_mhz if percent == 100.0 else _step(steps, full_mhz * percent / 100.0)
        if self._full_mhz is None and now_mhz is not None and percent < 100.0:
            # Somebody has it below the default, and it may not have been us: less stays less.
            wanted_mhz = min(wanted_mhz, now_mhz)
        exact = int(wanted_mhz) if wanted_mhz.is_integer() else wanted_mhz
        await self._send("PATCH", SETTINGS, {"frequency": exact})

    async def set_fan_mode(self, mode: str, duty_pct: float | None = None) -> None:
        """Ask for `auto`, or `manual` with `duty_pct` (0..100 %). Raises `Unsupported` for anything else."""
        if mode not in FAN_MODES:
            raise Unsupported(f"{self._name}: no fan mode {mode!r}; it has {', '.join(FAN_MODES)}")
        if mode == "auto":
            await self._send("PATCH", SETTINGS, {"autofanspeed": parse.own_fan_mode(await self._writable())})
            return
        if duty_pct is None or not 0.0 <= duty_pct <= 100.0:
            raise Unsupported(f"{self._name}: the manual fan mode needs a duty of 0..100 %")
        await self._writable()
        await self._send("PATCH", SETTINGS, {"autofanspeed": 0, "fanspeed": round(duty_pct)})

    async def reboot(self) -> None:
        """Ask to restart; it mines again by itself."""
        await self._writable()
        await self._send("POST", RESTART)

    async def _writable(self) -> Object:
        """The page of a machine whose release is trusted; raises `Unsupported` for another."""
        page, _ = await self._whole()
        if not self._trust.allows(parse.firmware(page)):
            told = parse.firmware(page)
            raise Unsupported(f"{self._name}: {told} is unknown, so nothing is written to it")
        return page

    # ------------------------------------------------------------ requests

    async def _get(self, path: str) -> object:
        return decode((await self._send("GET", path)).body, path)

    async def _send(self, method: str, path: str, body: object | None = None) -> HttpReply:
        """One request; a success of a write may say anything or nothing. Raises `DeviceError`."""
        reply = await self._http.request(method, path, body)
        status = reply.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return reply
        where = f"{method} {path}: HTTP {status}"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            # It answers addresses of its own network only.
            raise AuthFailed(f"{where}: the machine does not talk to this address")
        if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            raise Unsupported(where)
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Busy(where)
        raise MalformedReply(f"{where}: not a status that AxeOS gives")


def _lowest_pct(steps: Steps) -> float | None:
    """The lowest foreseen step in per cent of the default; None where there is no step below it."""
    if steps.default_mhz is None or not steps.options_mhz or steps.options_mhz[0] >= steps.default_mhz:
        return None
    return 100.0 * steps.options_mhz[0] / steps.default_mhz


def _step(steps: Steps, most_mhz: float) -> float:
    """The highest foreseen step that does not exceed `most_mhz`; the lowest where each one does."""
    return max((mhz for mhz in steps.options_mhz if mhz <= most_mhz), default=steps.options_mhz[0])
