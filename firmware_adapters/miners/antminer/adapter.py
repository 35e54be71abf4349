"""The adapter for Bitmain's own firmware: one object per machine, over its CGI, with the 4028 socket behind.

Cadence: `stats.cgi` on every read (state, hashrate, temperatures, fans, boards); `pools.cgi` on every
`POOLS_EVERY`-th for the shares; `get_miner_conf.cgi` whenever the machine does not hash, after a write, and
with `summary.cgi` (what the machine complains of) on every `SLOW_EVERY`-th. What a read did not ask for is
absent from it, never what it was earlier. Without a credential, and where the web server fails, lacks the
page or refuses the password, the socket is read instead: no mode, no complaints. Nothing tells watts.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from firmware_adapters.capabilities import WRITES, Credential, Observation
from firmware_adapters.identify import Trust
from firmware_adapters.miners import cgminer
from firmware_adapters.miners.antminer import modes, parse
from firmware_adapters.miners.antminer.control import Control
from firmware_adapters.miners.antminer.modes import Mode
from firmware_adapters.miners.antminer.parse import Identity
from firmware_adapters.miners.antminer.session import DEFAULT_USER, Session
from firmware_adapters.miners.declared import CORE_POINTS, declared
from firmware_adapters.transport.http import HttpTransport
from firmware_adapters.transport.http_client import HttpClient
from firmware_adapters.transport.line_json import CGMINER_PORT, Body, LineClient, LineTransport
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock, SystemClock
from shared.details import Board, Fault, Pool
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, MinerState, Reading

POOLS_EVERY = 2
SLOW_EVERY = 5
DEFAULT_PASSWORD = "root"
"""The vendor's published default, looked for to raise an alarm."""
LOG_PAGES = {"kernel": "log.cgi"}
_WEB_SHARE = 2 / 3
"""Part of a read's time that the web server gets before the 4028 socket is asked."""
_SOCKET_ABILITIES = frozenset({Ability.TELEMETRY, Ability.BOARDS, Ability.POOLS})
_MODE_ABILITIES = frozenset({Ability.PRESET, Ability.MINING})

T = TypeVar("T")

_log = logging.getLogger(__name__)


def capabilities() -> tuple[Capability, ...]:
    """The declared abilities, from `profiles.toml`."""
    return declared(__package__)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "AntminerAdapter":
    """The adapter for one site entry; connects lazily. Raises `ConfigError` for a user name that cannot be.

    A real machine has its socket on 4028 beside HTTP on 80. Emulated machines cannot bind such ports: there
    the socket is on `entry.port + 1`.
    """
    socket_port = CGMINER_PORT if entry.port == 80 else entry.port + 1
    socket_s = timeout_s if credential is None else timeout_s * (1 - _WEB_SHARE)
    return AntminerAdapter(
        HttpClient(entry.host, entry.port, timeout_s=timeout_s),
        credential,
        timeout_s=timeout_s,
        bulk=HttpClient(entry.host, entry.port, timeout_s=timeout_s),
        socket=LineClient(entry.host, socket_port, timeout_s=socket_s),
        name=entry.id,
        trust=Trust.of(entry),
        safe_preset=entry.safe_preset,
    )


class AntminerAdapter(Control):
    """Telemetry, modes, reboot and blinking of one stock Antminer.

    `timeout_s` bounds each request, and one whole `read()`. `socket` None means that there is no fallback,
    `bulk` reads the log where `http` cannot read as much.
    """

    kind = DeviceKind.MINER

    def __init__(
        self,
        http: HttpTransport,
        credential: Credential | None,
        *,
        timeout_s: float,
        bulk: HttpTransport | None = None,
        socket: LineTransport | None = None,
        clock: Clock | None = None,
        name: str = "antminer",
        trust: Trust | None = None,
        safe_preset: str | None = None,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(Session(http, credential, clock, bulk=bulk), clock, name, safe_preset=safe_preset)
        self._trust = trust or Trust(adapter="antminer")
        self._credential = credential
        self._socket = socket
        self._timeout_s = timeout_s
        self._reads = 0
        self._abilities: frozenset[Ability] | None = None
        self._model: str | None = None
        self._web_failing = False

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`.

        Where both ways in fail, the failure of the first is the one raised.
        """
        socket = self._socket
        if socket is None:
            async with _deadline(self._name, self._timeout_s):
                return await self._read_web()
        if self._credential is None:
            async with _deadline(self._name, self._timeout_s):
                return await _first_of(lambda: self._read_socket(socket), self._read_web)
        try:
            async with _deadline(self._name, self._timeout_s * _WEB_SHARE):
                seen = await self._read_web()
        except DeviceError as failure:
            try:
                seen = await self._read_socket(socket)
            except DeviceError as error:
                raise failure from error
            if not self._web_failing:
                self._web_failing = True
                _log.warning("%s: reading port 4028, the web server fails: %s", self._name, failure)
            return seen
        if self._web_failing:
            self._web_failing = False
            _log.info("%s: the web server answers again", self._name)
        return seen

    async def _read_web(self) -> Observation:
        slow = self._reads % SLOW_EVERY == 0
        with_pools = self._reads % POOLS_EVERY == 0
        try:
            running = parse.running(await self._session.get("stats.cgi"))
        except Busy as silence:
            return await self._asleep(silence)
        stats = await self._named(running.stats)
        asked: modes.Config | None = None
        if slow or not stats.rate or self._just_written():
            asked = await self._asked()
        readings = parse.readings(stats)
        if with_pools:
            readings |= await self._shares()
        found = await self._faults() if slow else None
        self._reads += 1
        self._remember(running.mode)
        return Observation(
            readings=readings,
            state=modes.state(stats, running.mode, asked.mode if asked is not None else None),
            preset=_preset(running.mode),
            preset_requested=_preset(asked.mode) if asked is not None else None,
            algorithm=parse.algorithm(stats.model, None),
            faults=found,
        )

    async def _named(self, stats: cgminer.Stats) -> cgminer.Stats:
        """With the model's name, where the page leaves it out: a hydro machine's water would pass for chips.

        A name does not change, so it is asked for once.
        """
        if stats.model:
            return stats
        if self._model is None:
            self._model = parse.identity(await self._session.get("get_system_info.cgi")).model
        return msgspec.structs.replace(stats, model=self._model)

    async def _asleep(self, silence: Busy) -> Observation:
        """Some builds end the mining process in sleep, so `stats.cgi` has nothing to tell. Raises `silence`
        where the machine was not told to sleep."""
        asked = await self._asked()
        if asked is None or asked.mode is not Mode.SLEEP:
            raise silence
        return Observation(readings=dict.fromkeys(CORE_POINTS, MISSING), state=MinerState.STOPPED)

    async def _asked(self) -> modes.Config | None:
        """The configuration; None where this build does not show it."""
        try:
            return modes.config(await self._session.get("get_miner_conf.cgi"))
        except (Busy, MalformedReply, Unsupported) as error:
            _log.debug("%s: mode unknown: %s", self._name, error)
            return None

    async def _shares(self) -> dict[str, Reading]:
        """Shares of all pools; a page that does not answer costs the shares, not the whole read."""
        try:
            return cgminer.share_readings(cgminer.pools(await self._session.get("pools.cgi")))
        except (Busy, MalformedReply, Unsupported) as error:
            _log.debug("%s: shares unknown: %s", self._name, error)
            return {}

    async def _faults(self) -> tuple[Fault, ...] | None:
        try:
            return parse.faults(await self._session.get("summary.cgi"))
        except (Busy, MalformedReply, Unsupported) as error:
            _log.debug("%s: complaints unknown: %s", self._name, error)
            return None

    async def _read_socket(self, socket: LineTransport) -> Observation:
        stats = cgminer.stats(await socket.ask("stats"))
        readings = parse.readings(stats)
        try:
            readings |= cgminer.share_readings(cgminer.pools(await socket.ask("pools")))
        except DeviceError as error:
            _log.debug("%s: shares unknown: %s", self._name, error)
        return Observation(
            readings=readings,
            state=modes.state(stats, None, None),
            algorithm=parse.algorithm(stats.model, None),
        )

    # ------------------------------------------------------------ rare

    async def facts(self) -> DeviceFacts:
        """Identity, abilities, default password. Raises `DeviceError`."""
        found, entered = await self._identity()
        declared = await self._declared(found, entered=entered)
        key = self._credential
        return DeviceFacts(
            model=found.model,
            firmware=found.firmware,
            mac=found.mac,
            serial=found.serial,
            algorithm=found.algorithm,
            capabilities=tuple(one for one in capabilities() if one.ability in declared),
            # The machine has one password, and it let us in with this one.
            default_password=entered
            and key is not None
            and key.secret == DEFAULT_PASSWORD
            and (key.user or DEFAULT_USER) == DEFAULT_USER,
        )

    async def _identity(self) -> tuple[Identity, bool]:
        """Who it is, and whether the web server told it: without a login, and on a build that lacks the page,
        the socket does."""
        try:
            return await self._web_identity(), True
        except DeviceError as failure:
            lacking = self._credential is None or isinstance(failure, Unsupported)
            if self._socket is None or not lacking:
                raise
            try:
                stats = cgminer.stats(await self._socket.ask("stats"))
                return parse.socket_identity(await self._socket.ask("version"), stats), False
            except DeviceError as error:
                raise failure from error

    async def _web_identity(self) -> Identity:
        found = parse.identity(await self._session.get("get_system_info.cgi"))
        if not found.mac:
            mac = parse.network_mac(await self._session.get("get_network_info.cgi"))
            found = msgspec.structs.replace(found, mac=mac)
        return found

    async def _declared(self, found: Identity, *, entered: bool) -> frozenset[Ability]:
        """What this machine can do: less without a login, on a build not trusted, or on one without modes."""
        known = frozenset(one.ability for one in capabilities())
        if self._credential is None or not entered:
            known &= _SOCKET_ABILITIES
        elif not self._trust.allows(found.firmware):
            known -= WRITES
        elif not await self._has_modes():
            known -= _MODE_ABILITIES
        self._abilities = known
        return known

    async def _has_modes(self) -> bool:
        try:
            return modes.config(await self._session.get("get_miner_conf.cgi")).has_mode
        except Unsupported:
            return False

    async def _check(self, ability: Ability) -> None:
        if self._abilities is None:
            found, entered = await self._identity()
            await self._declared(found, entered=entered)
        if self._abilities is None or ability not in self._abilities:
            raise Unsupported(f"{self._name}: this machine cannot do {ability}, or its firmware is not known")

    async def boards(self) -> tuple[Board, ...]:
        """See `BoardTelemetry.boards`; from the socket where the web server does not tell."""

        async def web() -> tuple[Board, ...]:
            running = parse.running(await self._session.get("stats.cgi"))
            return parse.boards(await self._named(running.stats))

        async def line() -> tuple[Board, ...]:
            return parse.boards(cgminer.stats(await self._line("stats")))

        return await _first_of(web, line)

    async def pools(self) -> tuple[Pool, ...]:
        """See `PoolTelemetry.pools`; from the socket where the web server does not tell."""

        async def web() -> tuple[Pool, ...]:
            return cgminer.pools(await self._session.get("pools.cgi"))

        async def line() -> tuple[Pool, ...]:
            return cgminer.pools(await self._line("pools"))

        # It lists three places, used or not.
        return tuple(pool for pool in await _first_of(web, line) if pool.url)

    async def _line(self, command: str) -> Body:
        if self._socket is None:
            raise Unsupported(f"{self._name} is reached without its socket")
        return await self._socket.ask(command)

    async def log(self, name: str) -> str:
        """See `LogReader.log`."""
        page = LOG_PAGES.get(name)
        if page is None:
            raise Unsupported(f"{self._name} has no log {name!r}; it has {', '.join(LOG_PAGES)}")
        await self._check(Ability.LOGS)
        return await self._session.tail(page)

    async def close(self) -> None:
        """Let go of connections."""
        await self._session.close()


def _preset(mode: Mode | None) -> str | None:
    return None if mode is Mode.SLEEP else mode


async def _first_of(one: Callable[[], Awaitable[T]], other: Callable[[], Awaitable[T]]) -> T:
    """What `one` tells, or else `other`. Raises the failure of `one`."""
    try:
        return await one()
    except DeviceError as failure:
        try:
            return await other()
        except DeviceError as error:
            raise failure from error


@asynccontextmanager
async def _deadline(name: str, seconds: float) -> AsyncIterator[None]:
    """Raises `DeviceTimeout` where what is inside takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DeviceTimeout(f"{name}: no whole answer in time") from error
