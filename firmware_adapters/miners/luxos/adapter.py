"""The LuxOS adapter: one object per machine, over its command socket alone (TCP 4028).

Cadence: `stats`, `power` and `config` on every read (everything that control needs); `summary`, `fans` and
`profiles` on every `SECOND`-th (shares, duty, rated power of the running profile); `pools`, `events`, `temps`
and `tempctrl` on every `SLOW_EVERY`-th; `temps` on every read of a machine where it told of sensors that
`stats` has not; `profiles` and `tempctrl` also within `AFTER_WRITE_S` of a write; `devs` only while it
neither hashes nor sleeps. What a read did not ask for is absent from it, never what it was earlier.
"""

import asyncio
import logging

from firmware_adapters.capabilities import WRITES, Credential, Observation
from firmware_adapters.identify import Trust
from firmware_adapters.miners import cgminer
from firmware_adapters.miners.claims import power_beside
from firmware_adapters.miners.declared import declared
from firmware_adapters.miners.luxos import boards as parts
from firmware_adapters.miners.luxos import parse
from firmware_adapters.miners.luxos.session import LoggedOn, Session
from firmware_adapters.miners.side_pages import NOT_TOLD, SidePages
from firmware_adapters.transport.line_json import Body, LineClient, LineTransport
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.clock import Clock, SystemClock
from shared.details import Board, Chip, Fault, Pool
from shared.errors import AuthFailed, Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Reading
from shared.units import Algorithm

SECOND = 2
SLOW_EVERY = 5
AFTER_WRITE_S = 120.0
READ_TIMEOUTS = 3
"""A whole read may take this many request time-outs; its commands are small and go one after the other."""

_RARER = 8
"""So many request time-outs may boards and facts take."""
_REFUSALS = (AuthFailed, Busy, Unsupported)
"""The machine said no: nothing has changed."""
_BROKEN = (MinerState.FAILURE, MinerState.UNKNOWN)
"""It does not hash and nobody told it so."""
_UNSETTLED = (DeviceError, asyncio.CancelledError)
"""Nobody knows what the machine did."""

_log = logging.getLogger(__name__)


def capabilities() -> tuple[Capability, ...]:
    """The declared abilities, from `profiles.toml`."""
    return declared(__package__)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "LuxosAdapter":
    """The adapter for one site entry; connects lazily. The socket asks for no password, so `credential` is
    not used."""
    del credential
    line = LineClient(entry.host, entry.port, timeout_s=timeout_s)
    return LuxosAdapter(line, timeout_s=timeout_s, name=entry.id, trust=Trust.of(entry))


class LuxosAdapter:
    """Telemetry, profiles, curtailment, cooling target, pool and reboot of one LuxOS machine.

    `timeout_s` bounds each request; a whole `read()` takes at most `READ_TIMEOUTS` of them.
    """

    kind = DeviceKind.MINER

    def __init__(
        self,
        line: LineTransport,
        *,
        timeout_s: float,
        clock: Clock | None = None,
        name: str = "luxos",
        trust: Trust | None = None,
    ) -> None:
        self._session = Session(line)
        self._trust = trust or Trust(adapter="luxos")
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._name = name
        self._reads = 0
        self._written_s: float | None = None
        self._abilities: frozenset[Ability] | None = None
        self._atm_unclear = False
        self._temps_tell_more = False

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`."""
        ends_s = asyncio.get_running_loop().time() + self._timeout_s * READ_TIMEOUTS
        try:
            async with asyncio.timeout_at(ends_s):
                return await self._read(SidePages(self._name, ends_s))
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error

    async def _read(self, side: SidePages) -> Observation:
        written = self._just_written()
        second = self._reads % SECOND == 0
        slow = self._reads % SLOW_EVERY == 0
        stats = cgminer.stats(await self._session.ask("stats"))
        told = await self._config(side)
        self._look_at_managed(told)
        readings = parse.readings(stats, air=told.air)
        readings["power_w"] = power_beside(
            parse.power(await self._optional("power", side=side)), readings["hashrate_ths"]
        )
        if slow or self._temps_tell_more:
            readings |= await self._temperatures(stats, side)
        ramping = False
        if not stats.rate_ths and not told.asleep:
            ramping = parse.ramping(await self._optional("devs", side=side))
        if second:
            shares = cgminer.summary_shares(await self._optional("summary", side=side))
            if not shares and not slow:
                shares = self._shares(await self._optional("pools", side=side))
            readings |= shares
            if told.air:
                readings |= parse.fans(await self._optional("fans", side=side))
        if second or written:
            readings |= parse.rated(await self._optional("profiles", side=side), told.profile)
        if (slow or written) and told.air:
            readings |= parse.target(await self._optional("tempctrl", side=side))
        state = parse.state(stats, told, ramping=ramping)
        found: tuple[Fault, ...] | None = None
        if slow:
            # Of a machine that counts shares in `summary`, only their age: two counters are not one.
            readings = self._shares(await self._optional("pools", side=side)) | readings
            found = self._faults(await self._optional("events", side=side), broken=state in _BROKEN)
        self._reads += 1
        algorithm = parse.algorithm(told.model or stats.model)
        return Observation(
            readings=readings,
            state=state,
            preset=told.profile,
            algorithm=None if algorithm is Algorithm.UNKNOWN else algorithm,
            faults=found,
        )

    async def _config(self, side: SidePages) -> parse.Config:
        """What it runs; nothing is known of a release that does not say."""
        body = await self._optional("config", side=side)
        try:
            return parse.Config() if body is None else parse.config(body)
        except MalformedReply as error:
            _log.debug("%s: configuration unknown: %s", self._name, error)
            return parse.Config()

    async def _optional(
        self, command: str, parameter: str | None = None, *, side: SidePages | None = None
    ) -> Body | None:
        """A reply that is not worth the whole read; None where this release does not give it."""
        side = self._unhurried() if side is None else side
        return await side.ask(command, self._session.ask(command, parameter))

    def _unhurried(self) -> SidePages:
        """For the rarer reads, which the caller bounds."""
        return SidePages(self._name, asyncio.get_running_loop().time() + _RARER * self._timeout_s)

    async def _temperatures(self, stats: cgminer.Stats, side: SidePages) -> dict[str, Reading]:
        """Points of `temps` where it tells more than `stats`; what is remembered is whether to ask."""
        body = await self._optional("temps", side=side)
        if body is None:
            return {}
        spans = parts.spans(body)
        self._temps_tell_more = parts.tell_more(spans, stats)
        return parts.temperature_points(spans) if self._temps_tell_more else {}

    def _shares(self, body: Body | None) -> dict[str, Reading]:
        """What `pools` counts, and how long ago the newest share was."""
        try:
            return cgminer.share_readings(cgminer.pools(body))
        except MalformedReply as error:
            _log.debug("%s: pools unknown: %s", self._name, error)
            return {}

    def _faults(self, body: Body | None, *, broken: bool) -> tuple[Fault, ...] | None:
        try:
            return parse.faults(body, self._clock.utc_ms(), broken=broken)
        except MalformedReply as error:
            _log.debug("%s: events unknown: %s", self._name, error)
            return None

    def _just_written(self) -> bool:
        return self._written_s is not None and self._clock.monotonic() - self._written_s <= AFTER_WRITE_S

    # ------------------------------------------------------------ rare

    async def facts(self) -> DeviceFacts:
        """Identity, ladder, abilities; without `config` or `profiles`, what is left. Raises `DeviceError`."""
        found = parse.version(await self._session.ask("version"))
        told = await self._config(self._unhurried())
        try:
            ladder = await self._ladder()
        except NOT_TOLD as error:
            _log.debug("%s: profiles unknown: %s", self._name, error)
            ladder = ()
        declared = self._declare(found, told)
        if not ladder:
            declared -= {Ability.PRESET, Ability.PRESET_LIST}
        return DeviceFacts(
            model=told.model or found.model,
            firmware=found.release,
            mac=told.mac,
            serial=told.serial,
            algorithm=parse.algorithm(told.model or found.model),
            presets=ladder,
            capabilities=tuple(one for one in capabilities() if one.ability in declared),
        )

    async def _ladder(self) -> tuple[Preset, ...]:
        return parse.presets(await self._session.ask("profiles"))

    def _declare(self, found: parse.Version, told: parse.Config) -> frozenset[Ability]:
        known = frozenset(one.ability for one in capabilities())
        if not self._trust.allows(found.release):
            known -= WRITES
        if not told.air:
            known -= {Ability.COOLING_TARGET}
        self._abilities = known
        return known

    async def _check(self, ability: Ability) -> None:
        known = self._abilities
        if known is None:
            found = parse.version(await self._session.ask("version"))
            known = self._declare(found, parse.config(await self._session.ask("config")))
        if ability not in known:
            raise Unsupported(f"{self._name}: this machine cannot do {ability}, or its release is not known")

    async def boards(self) -> tuple[Board, ...]:
        """See `BoardTelemetry.boards`; a request per board, for its voltage. Without `devs`, as `stats` has
        them."""
        stats = await self._stats()
        spans = parts.spans(await self._optional("temps"))
        try:
            devs = await self._session.ask("devs")
        except NOT_TOLD:
            if not stats.chains:
                raise
            return parts.boards_of_stats(stats, spans)
        told = await self._config(self._unhurried())
        volts = {
            number: parts.volts(await self._optional("voltageget", str(number)))
            for number in parts.numbers(devs)
        }
        return parts.boards(devs, stats, spans, volts, asleep=told.asleep is True)

    async def _stats(self) -> cgminer.Stats:
        try:
            return cgminer.stats(await self._optional("stats"))
        except MalformedReply as error:
            _log.debug("%s: stats unknown: %s", self._name, error)
            return cgminer.Stats()

    async def chips(self) -> tuple[Chip, ...]:
        """See `ChipTelemetry.chips`; a long reply per board."""
        numbers = parts.numbers(await self._session.ask("devs"))
        found: list[Chip] = []
        for number in numbers:
            found += parts.chips(await self._session.ask("healthchipget", str(number)), number)
        return tuple(found)

    async def pools(self) -> tuple[Pool, ...]:
        """See `PoolTelemetry.pools`."""
        return cgminer.pools(await self._session.ask("pools"))

    async def close(self) -> None:
        """Nothing to let go of: each command has its own connection."""

    # ------------------------------------------------------------ control

    async def set_preset(self, name: str) -> None:
        """Ask for a profile of the machine's own ladder, with its own thermal management off.

        That management (ATM) has to be off before a change, and stays off: on again it would step up to where
        it was. It goes on again where the machine refuses the change. What protects the machine at its
        dangerous temperature is not part of it. Raises `Unsupported` for a profile that is unknown, or above
        the default and not tuned, `Busy` where the state does not allow it.
        """
        await self._check(Ability.PRESET)
        ladder = await self._ladder()
        rung = next((rung for rung in ladder if rung.name == name), None)
        if rung is None:
            names = ", ".join(rung.name for rung in ladder)
            raise Unsupported(f"{self._name} has no profile {name!r}; it has {names}")
        if not rung.tuned:
            raise Unsupported(f"{self._name}: profile {name!r} overclocks the machine and is not tuned")
        managed = parse.atm_on(await self._optional("atm"))
        if managed is None:
            managed = parse.config(await self._session.ask("config")).atm_on
        self._written_s = self._clock.monotonic()
        async with self._session.logged_on() as work:
            if managed:
                await self._choose_managed(work, name)
            else:
                await work.tell("profileset", name)

    async def _choose_managed(self, work: LoggedOn, name: str) -> None:
        """Thermal management off, then the profile; on again where the machine refuses it.

        Where nobody knows whether the profile counts, it may stay off: on again, it could step the machine up
        from a profile that was lowered. That is told, and the next read that shows it tells how it stands.
        """
        _log.info("%s: thermal management goes off for profile %s", self._name, name)
        try:
            await work.tell("atmset", "enabled=false")
            await work.tell("profileset", name)
        except _REFUSALS:
            await self._manage_again(work, name)
            raise
        except _UNSETTLED as failure:
            self._doubt_managed(name, failure)
            raise

    async def _manage_again(self, work: LoggedOn, name: str) -> None:
        _log.info("%s: profile %s is refused, thermal management goes on again", self._name, name)
        try:
            await work.tell("atmset", "enabled=true")
        except DeviceError as failure:
            self._doubt_managed(name, failure)
        except asyncio.CancelledError as failure:
            self._doubt_managed(name, failure)
            raise

    def _doubt_managed(self, name: str, why: BaseException) -> None:
        self._atm_unclear = True
        _log.warning(
            "%s: thermal management (ATM) may be off after profile %s: %s", self._name, name, why or repr(why)
        )

    def _look_at_managed(self, told: parse.Config) -> None:
        """How thermal management stands, once, after a profile whose outcome was not known."""
        if self._atm_unclear and told.atm_on is not None:
            self._atm_unclear = False
            level, word = (logging.INFO, "on") if told.atm_on else (logging.WARNING, "off")
            _log.log(level, "%s: thermal management (ATM) is %s", self._name, word)

    async def stop_mining(self) -> None:
        """Ask to sleep. Raises `Busy` where the state does not allow it."""
        await self._curtail("sleep")

    async def start_mining(self) -> None:
        """Ask to wake, in steps. Raises `Busy` where the state does not allow it."""
        await self._curtail("wakeup")

    async def _curtail(self, mode: str) -> None:
        await self._check(Ability.MINING)
        self._written_s = self._clock.monotonic()
        async with self._session.logged_on() as work:
            await work.tell("curtail", mode)

    async def set_cooling_target(self, celsius: float) -> None:
        """Ask to hold the boards at `celsius`; hot and dangerous stay as they are.

        Raises `Unsupported` outside the declared range, and at or above what the machine calls hot.
        """
        await self._check(Ability.COOLING_TARGET)
        declared = next(one for one in capabilities() if one.ability is Ability.COOLING_TARGET)
        low, high = declared.low or 0.0, declared.high or 0.0
        if not low <= celsius <= high:
            raise Unsupported(f"{self._name}: a target is {low:g} to {high:g} °C, not {celsius:g}")
        now = parse.control(await self._session.ask("tempctrl"))
        if celsius >= now.hot_c:
            raise Unsupported(f"{self._name}: {celsius:g} °C is not below its hot {now.hot_c:g} °C")
        self._written_s = self._clock.monotonic()
        async with self._session.logged_on() as work:
            await work.tell("tempctrlset", *(f"{one:g}" for one in (celsius, now.hot_c, now.dangerous_c)))

    async def switch_pool(self, index: int) -> None:
        """Ask to work for pool `index`. Raises `Unsupported` where there is none such."""
        await self._check(Ability.POOL_SWITCH)
        if index not in {pool.index for pool in await self.pools()}:
            raise Unsupported(f"{self._name} has no pool {index}")
        async with self._session.logged_on() as work:
            await work.tell("switchpool", str(index))

    async def reboot(self) -> None:
        """Ask to restart the control board; a machine that was told to sleep comes back asleep."""
        await self._check(Ability.REBOOT)
        async with self._session.logged_on(leaves=False) as work:
            await work.tell("rebootdevice")
