"""What a VNish machine can be told: every write of the adapter, on top of one `Session`.

No write returns that it worked: a 200 says that the machine took it, a later read says what became of it. A
setting that wants a restart gets one where the machine runs and nothing else is waiting for it; a machine
that does not mine is never started by a setting, and a reboot is never a side effect: it ends in mining.
Firmware that nobody has tested or accepted is told nothing. Facts: miners.md §1.3-1.6.
"""

import asyncio
import logging
import math
import re
from collections.abc import Sequence

from firmware_adapters.capabilities import PoolLogin
from firmware_adapters.identify import Trust
from firmware_adapters.miners.vnish import abilities, fields, ladder, parse, settings
from firmware_adapters.miners.vnish.abilities import Limits
from firmware_adapters.miners.vnish.ladder import Running
from firmware_adapters.miners.vnish.parse import Identity, Status
from firmware_adapters.miners.vnish.pools import pools
from firmware_adapters.miners.vnish.session import Session
from firmware_adapters.miners.vnish.versions import Firmware
from shared.capabilities import Ability, Capability, Preset
from shared.clock import Clock
from shared.errors import Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.telemetry import MinerState

DEFAULT_TARGET_C = 65
"""VNish's default target (miners.md §5.3), for a machine that comes out of manual mode."""
REBOOT_AFTER_S = 3
"""The firmware's own default: time enough for its reply."""

_STRATUM = re.compile(r"(?:stratum(?:2|\+tcp|\+ssl|\+tls|2\+tcp)?://)?[^\s/@:]{1,255}:\d{1,5}(?:/\S{0,255})?")

_log = logging.getLogger(__name__)


class Control:
    """The writes of one machine. `name` stands in logs and errors."""

    def __init__(self, session: Session, clock: Clock, name: str, trust: Trust) -> None:
        self._session = session
        self._trust = trust
        self._clock = clock
        self._name = name
        self._identity: Identity | None = None
        self._limits: Limits | None = None
        self._target_c: float | None = None
        self._written_s: float | None = None
        self._settings_lock = asyncio.Lock()
        self._light_lock = asyncio.Lock()

    # ------------------------------------------------------------ what the machine is

    async def _know(self) -> Identity:
        """Who it is, asked once; `facts` and every slow read ask again."""
        if self._identity is None:
            self._identity = parse.identity(await self._session.get("/info"))
        return self._identity

    async def _may(self, ability: Ability) -> Capability:
        """The ability of this firmware. Raises `Unsupported` where it has it not or may not be commanded."""
        found = (await self._know()).firmware
        one = abilities.capability(ability, found, trusted=self._trust.allows(found.words))
        if one is None:
            raise Unsupported(self._refusal(found, ability))
        return one

    def _refusal(self, found: Firmware, ability: Ability) -> str:
        if not self._trust.allows(found.words):
            return (
                f"{self._name} runs {found.words}, which has not been tested with this program: "
                f"it is read only, {ability} is refused"
            )
        return f"{self._name}: {found.words} does not have {ability}"

    async def _own_limits(self) -> Limits:
        """`/model`, asked once; 1.2.0 does not have the page."""
        if self._limits is None:
            try:
                self._limits = abilities.limits(await self._session.get("/model"))
            except Unsupported:
                self._limits = Limits()
        return self._limits

    async def _ladder(self) -> tuple[Preset, ...]:
        return ladder.presets(await self._session.get("/autotune/presets", login=True))

    async def _running(self) -> Running | None:
        """The running preset; a page that does not answer costs the preset, not the whole read."""
        try:
            return ladder.running(await self._session.get("/perf-summary"))
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported) as error:
            _log.debug("%s: running preset unknown: %s", self._name, error)
            return None

    # ------------------------------------------------------------ presets and watts

    async def set_preset(self, name: str) -> None:
        """Ask for a tuned rung of the machine's own ladder, with the switcher's ceiling moved to it.

        A machine that is mining is restarted where the firmware wants that; one that is stopped stays so.
        Raises `Unsupported` for a rung that is unknown or untuned (tuning runs for hours at full power),
        `Busy` where the machine refuses now, and what any request raises.
        """
        await self._may(Ability.PRESET)
        rungs = await self._ladder()
        self._check_rung(name, rungs)
        await self._choose(name, rungs)

    def _check_rung(self, name: str, rungs: Sequence[Preset]) -> None:
        rung = next((rung for rung in rungs if rung.name == name), None)
        if rung is None:
            raise Unsupported(
                f"{self._name} has no preset {name!r}; it has {', '.join(r.name for r in rungs)}"
            )
        if not rung.tuned:
            raise Unsupported(f"{self._name}: preset {name!r} is not tuned; selecting it would start tuning")

    async def _choose(self, name: str, rungs: Sequence[Preset]) -> None:
        # Unknown switcher or not: a preset that is lowered without its ceiling is better than none lowered.
        switcher = await self._switcher()
        held = None
        if switcher is not None and fields.flag(switcher, "enabled") is not False:
            held = _held_at(name, switcher, rungs)
        await self._change("/settings", settings.preset_post(name, held), takes_over=True)

    async def _switcher(self) -> fields.Object | None:
        """The preset switcher; the first firmwares tell it in their settings only."""
        running = await self._running()
        if running is not None:
            return running.switcher
        try:
            return settings.wanted(await self._session.get("/settings", login=True)).switcher
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported):
            return None

    async def set_power_limit(self, watts: float) -> None:
        """Ask for at most `watts` (W): the firmware's own limit (1.3.4), else the nearest tuned preset below.

        Raises `Unsupported` outside the machine's range, and what `set_preset` raises.
        """
        await self._may(Ability.POWER_LIMIT)
        own, rungs = await self._own_limits(), await self._ladder()
        tuned = [rung for rung in rungs if rung.tuned]
        low_w = min((rung.power_w for rung in tuned), default=None)
        high_w = own.power_limit_high_w or max((rung.power_w for rung in tuned), default=None)
        if low_w is None or high_w is None:
            raise Unsupported(f"{self._name} has no tuned preset, so no limit can be held")
        if not low_w <= watts <= high_w:  # also true of NaN
            raise Unsupported(f"{self._name}: {watts:g} W is outside {low_w:g} to {high_w:g} W")
        if own.power_limit_high_w is not None:
            await self._change("/settings", settings.power_limit_post(int(watts)), takes_over=True)
            return
        best = max((rung for rung in tuned if rung.power_w <= watts), key=lambda rung: rung.power_w)
        await self._choose(best.name, rungs)

    async def set_throttle(self, percent: float) -> None:
        """Ask for `percent` (%) of the present step, whole per cents; takes about 80 s (1.3 only).

        Raises `Unsupported` outside 20..100 and before 1.3.
        """
        span = await self._may(Ability.THROTTLE)
        self._check_span(percent, span, "%")
        await self._change("/mining/throttle", {"percent": int(percent)}, takes_over=False)

    def _check_span(self, value: float, span: Capability, unit: str) -> None:
        low = -math.inf if span.low is None else span.low
        high = math.inf if span.high is None else span.high
        if not (math.isfinite(value) and low <= value <= high):
            raise Unsupported(f"{self._name}: {value:g} {unit} is outside {low:g} to {high:g} {unit}")

    async def set_switcher_bounds(self, *, floor: str | None = None, ceiling: str | None = None) -> None:
        """Ask the preset switcher to stay between these rungs; whether it is on stays as it is.

        Raises `Unsupported` for a rung that is unknown or untuned, a floor above the ceiling, and where the
        firmware has no such bound (the first ones have no floor), and what any request raises.
        """
        await self._may(Ability.PRESET_SWITCHER)
        rungs = await self._ladder()
        bounds = {"min_preset": floor, "top_preset": ceiling}
        wanted = {name: rung for name, rung in bounds.items() if rung is not None}
        for rung in wanted.values():
            self._check_rung(rung, rungs)
        switcher = await self._switcher()
        if switcher is None or not wanted.keys() <= switcher.keys():
            raise Unsupported(f"{self._name} does not tell a preset switcher with {' and '.join(bounds)}")
        held = {**switcher, **wanted}
        if ceiling is not None and "autochange_top_preset" in switcher:
            held["autochange_top_preset"] = False
        watts = {rung.name: rung.power_w for rung in rungs}
        low, high = (watts.get(fields.text(held, name) or "") for name in bounds)
        if low is not None and high is not None and low > high:
            raise Unsupported(f"{self._name}: the floor of {low:g} W is above the ceiling of {high:g} W")
        await self._change("/settings", settings.switcher_post(held), takes_over=False)

    # ------------------------------------------------------------ fans

    async def set_fan_mode(self, mode: str, duty_pct: float | None = None) -> None:
        """Ask for `auto`, at the target that it had, or `manual` at `duty_pct` (%).

        Raises `Unsupported` for another mode, a duty outside the machine's range, and on an immersed machine,
        where either mode would end in "fan lost".
        """
        span = abilities.fitted(await self._may(Ability.FAN_MODE), await self._own_limits())
        if mode not in span.choices:
            raise Unsupported(f"{self._name}: no fan mode {mode!r}; there are {', '.join(span.choices)}")
        if mode == "manual":
            if duty_pct is None:
                raise Unsupported(f"{self._name}: manual fans need a duty in %")
            self._check_span(duty_pct, span, "%")
        target_c = await self._present_target_c()
        value = round(duty_pct) if mode == "manual" and duty_pct is not None else target_c
        await self._change("/settings", settings.cooling_post(mode, value), takes_over=False)

    async def set_cooling_target(self, celsius: float) -> None:
        """Ask the machine to hold its chips at `celsius` (°C, whole degrees) with its own fans.

        Raises `Unsupported` outside the machine's range, and on an immersed machine.
        """
        span = abilities.fitted(await self._may(Ability.COOLING_TARGET), await self._own_limits())
        self._check_span(celsius, span, "°C")
        await self._present_target_c()
        await self._change("/settings", settings.cooling_post("auto", round(celsius)), takes_over=False)

    async def _present_target_c(self) -> int:
        """The target in force, or the last one seen, or the firmware's default.

        Raises `Unsupported` on an immersed machine, `Busy` where it does not tell how it is cooled.
        """
        mode, value = parse.cooling_mode(await self._session.get("/summary"))
        if mode in parse.IMMERSED:
            raise Unsupported(f"{self._name} is immersed: it has no fans to command")
        if mode is None:
            raise Busy(f"{self._name} does not tell how it is cooled now")
        if mode == "auto" and value is not None:
            self._target_c = value
        return DEFAULT_TARGET_C if self._target_c is None else round(self._target_c)

    # ------------------------------------------------------------ settings, and what they want

    async def _change(self, path: str, body: fields.Object, *, takes_over: bool) -> None:
        """Post a change and give it the restart that it wants.

        `takes_over` False: where another change was waiting for a restart already, it goes on waiting, for
        the restart would bring in what nobody asked for here.
        """
        async with self._settings_lock:
            waited = False if takes_over else bool((await self._status()).restart_required)
            self._written_s = self._clock.monotonic()
            saved = await self._session.post(path, body)
            await self._obey(saved, waited=waited)

    async def _status(self) -> Status:
        return parse.status(await self._session.get("/status"))

    async def _obey(self, saved: fields.Object | None, *, waited: bool) -> None:
        """Restart mining if the change needs it. `/status` is asked as well: the reply may have been empty,
        and restarting a stopped machine would start it."""
        status = await self._status()
        if fields.flag(saved, "reboot_required"):
            # A reboot ends in mining, so it is never a side effect; read-back will not confirm.
            _log.warning("%s: the setting waits for a reboot", self._name)
        if not (fields.flag(saved, "restart_required") or status.restart_required):
            return
        if waited:
            _log.warning("%s: the setting waits for a restart, as another one did before it", self._name)
        elif status.state.draws_power and status.state is not MinerState.SHUTTING_DOWN:
            await self._session.post("/mining/restart")

    # ------------------------------------------------------------ mining

    async def stop_mining(self) -> None:
        """Ask to stop. Raises `Busy` where the state does not allow it, as on a machine that is stopped."""
        await self._may_stop(Ability.MINING)
        await self._session.post("/mining/stop")

    async def start_mining(self) -> None:
        """Ask to start. Raises `Busy` where the state does not allow it, as on a machine that is mining."""
        await self._may(Ability.MINING)
        await self._session.post("/mining/start")

    async def pause_mining(self) -> None:
        """Ask to pause; as far as is known the same as a stop. Raises `Busy` as `stop_mining` does."""
        await self._may_stop(Ability.PAUSE)
        await self._session.post("/mining/pause")

    async def resume_mining(self) -> None:
        """Ask to resume. Raises `Busy` as `start_mining` does."""
        await self._may(Ability.PAUSE)
        await self._session.post("/mining/resume")

    async def _may_stop(self, ability: Ability) -> None:
        """The safe direction does not wait for a machine that cannot introduce itself just now."""
        try:
            await self._may(ability)
        except (Busy, DeviceTimeout, MalformedReply) as error:
            _log.debug("%s: told to stop without knowing its firmware: %s", self._name, error)

    # ------------------------------------------------------------ the rest

    async def switch_pool(self, index: int) -> None:
        """Ask to work for pool `index` of `pools()`. Raises `Unsupported` for one that is not the owner's."""
        await self._may(Ability.POOL_SWITCH)
        own = [pool.index for pool in pools(await self._session.get("/summary")) if pool.ours]
        if index not in own:
            known = ", ".join(str(number) for number in own) or "none"
            raise Unsupported(f"{self._name} has no pool {index} of its owner's; it has {known}")
        await self._session.post("/mining/switch-pool", {"pool_id": index})

    async def set_pools(self, pools: Sequence[PoolLogin]) -> None:
        """Ask to work for these pools instead of all that are set, and look whether they are stored.

        Raises `Unsupported` for pools that no miner can work for, `Busy` where the settings still tell others
        afterwards, and what any request raises.
        """
        await self._may(Ability.POOL_SETTING)
        if not pools:
            raise Unsupported(f"{self._name}: a miner without a pool does not mine; name at least one")
        for pool in pools:
            if not _STRATUM.fullmatch(pool.url) or not pool.user.strip():
                raise Unsupported(
                    f"{self._name}: pool {pool.url!r} needs an address (stratum+tcp://host:port) and a user"
                )
        await self._change("/settings", settings.pools_post(pools), takes_over=False)
        stored = settings.wanted(await self._session.get("/settings", login=True)).pools
        if [(pool.url, pool.user) for pool in stored] != [(pool.url, pool.user) for pool in pools]:
            raise Busy(f"{self._name} took the pools and its settings still tell others")

    async def restart_mining(self) -> None:
        """Ask to restart mining. Raises `Busy` where it does not mine: a restart might start it."""
        await self._may(Ability.RESTART)
        state = (await self._status()).state
        if not state.draws_power or state is MinerState.SHUTTING_DOWN:
            raise Busy(f"{self._name} is {state}: a restart might start it")
        await self._session.post("/mining/restart")

    async def reboot(self) -> None:
        """Ask the control board to restart. It may mine by itself afterwards, even if it was stopped."""
        await self._may(Ability.REBOOT)
        await self._session.post("/system/reboot", {"after": REBOOT_AFTER_S})
        self._session.rebooted()

    async def locate(self, *, on: bool) -> None:
        """Ask to blink, or to stop blinking.

        Some versions turn the light over at each call, whatever the body says, so it is asked for only where
        it is not as wanted, and looked at afterwards, since no sample shows it. Raises `Busy` where it is
        still not as wanted, `Unsupported` where the machine does not tell whether it blinks.
        """
        await self._may(Ability.LOCATE)
        async with self._light_lock:
            before = (await self._status()).locating
            if before is None:
                raise Unsupported(f"{self._name} does not tell whether it blinks")
            if before is on:
                return
            await self._session.post("/find-miner", {"on": on})
            if (await self._status()).locating is not on:
                raise Busy(f"{self._name} took the command and its light is still {'off' if on else 'on'}")


def _held_at(name: str, switcher: fields.Object, rungs: Sequence[Preset]) -> fields.Object:
    """The switcher as it is, but with `name` as its ceiling; it would climb back to a higher one by itself.

    Sent whole, because whether the firmware merges a part of it is not known.
    """
    watts = {rung.name: rung.power_w for rung in rungs}
    held = {**switcher, "top_preset": name}
    if "autochange_top_preset" in switcher:
        held["autochange_top_preset"] = False
    floor = fields.text(switcher, "min_preset")
    if floor is not None and watts.get(floor, 0.0) > watts[name]:
        held["min_preset"] = name
    return held
