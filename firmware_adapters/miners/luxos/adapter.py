"""The LuxOS adapter: one object per machine, over its command socket alone (TCP 4028).

Cadence: `stats`, `power` and `config` on every read (everything that control needs); `summary`, `fans` and
`profiles` on every `SECOND`-th (shares, duty, rated power of the running profile); `pools`, `events` and
`tempctrl` on every `SLOW_EVERY`-th; `profiles` and `tempctrl` also within `AFTER_WRITE_S` of a write; `devs`
only while it neither hashes nor sleeps. What a read did not ask for is absent from it, never what it was
earlier.
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
from firmware_adapters.transport.line_json import Body, LineClient, LineTransport
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.clock import Clock, SystemClock
from shared.details import Board, Chip, Fault, Pool
from shared.errors import AuthFailed, Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Reading
from shared.units import Algorithm

SECOND = 2
SLOW_EVERY = 5
AFTER_WRITE_S = 120.0
READ_TIMEOUTS = 2
"""A whole read may take this many request time-outs; its commands are small and go one after the other."""

_REFUSALS = (AuthFailed, Busy, Unsupported)
"""The machine said no: nothing has changed."""
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

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`."""
        try:
            async with asyncio.timeout(self._timeout_s * READ_TIMEOUTS):
                return await self._read()
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error

    async def _read(self) -> Observation:
        written = self._just_written()
        second = self._reads % SECOND == 0
        slow = self._reads % SLOW_EVERY == 0
        stats = cgminer.stats(await self._session.ask("stats"))
        told = await self._config()
        self._look_at_managed(told)
        readings = parse.readings(stats, air=told.air)
        readings["power_w"] = power_beside(
            parse.power(await self._optional("power")), readings["hashrate_ths"]
        )
        ramping = False
        if not stats.rate_ths and not told.asleep:
            ramping = parse.ramping(await self._optional("devs"))
        if second:
            readings |= cgminer.summary_shares(await self._optional("summary"))
            if told.air:
                readings |= parse.fans(await self._optional("fans"))
        if second or written:
            readings |= parse.rated(await self._optional("profiles"), told.profile)
        if (slow or written) and told.air:
            readings |= parse.target(await self._optional("tempctrl"))
        found: tuple[Fault, ...] | None = None
        if slow:
            readings |= self._last_share(await self._optional("pools"))
            found = self._faults(await self._optional("events"))
        self._reads += 1
        return Observation(
            readings=readings,
            state=parse.state(stats, told, ramping=ramping),
            preset=told.profile,
            algorithm=Algorithm.SHA256D,
            faults=found,
        )

    async def _config(self) -> parse.Config:
        """What it runs; nothing is known of a release that does not say."""
        body = await self._optional("config")
        try:
            return parse.Config() if body is None else parse.config(body)
        except MalformedReply as error:
            _log.debug("%s: configuration unknown: %s", self._name, error)
            return parse.Config()

    async def _optional(self, command: str, parameter: str | None = None) -> Body | None:
        """A reply that is not worth the whole read; None where this release does not give it."""
        try:
            return await self._session.ask(command, parameter)
        except (Busy, MalformedReply, Unsupported) as error:
            _log.debug("%s: %s unknown: %s", self._name, command, error)
            return None

    def _last_share(self, body: Body | None) -> dict[str, Reading]:
        try:
            told = cgminer.share_readings(cgminer.pools(body))
        except MalformedReply as error:
            _log.debug("%s: pools unknown: %s", self._name, error)
            return {}
        return {name: found for name, found in told.items() if name == "last_share_age_s"}

    def _faults(self, body: Body | None) -> tuple[Fault, ...] | None:
        try:
            return parse.faults(body)
        except MalformedReply as error:
            _log.debug("%s: events unknown: %s", self._name, error)
            return None

    def _just_written(self) -> bool:
        return self._written_s is not None and self._clock.monotonic() - self._written_s <= AFTER_WRITE_S

    # ------------------------------------------------------------ rare

    async def facts(self) -> DeviceFacts:
        """Identity, ladder, abilities. Raises `DeviceError`."""
        found = parse.version(await self._session.ask("version"))
        told = parse.config(await self._session.ask("config"))
        try:
            ladder = await self._ladder()
        except Unsupported:
            ladder = ()
        declared = self._declare(found, told)
        if not ladder:
            declared -= {Ability.PRESET, Ability.PRESET_LIST}
        return DeviceFacts(
            model=told.model or found.model,
            firmware=found.release,
            mac=told.mac,
            serial=told.serial,
            algorithm=Algorithm.SHA256D,
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
        """See `BoardTelemetry.boards`; a request per board, for its voltage."""
        devs = await self._session.ask("devs")
        stats = await self._stats()
        spans = parts.spans(await self._optional("temps"))
        volts = {
            number: parts.volts(await self._optional("voltageget", str(number)))
            for number in parts.numbers(devs)
        }
        return parts.boards(devs, stats, spans, volts)

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
