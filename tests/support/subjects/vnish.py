"""VNish in front of the contract suite: the adapter, real loopback sockets, the emulator.

One flavour for each generation that differs: a beta of 1.2.0, 1.2.7, 1.3.4; and a version that nobody has
seen, which is read and never told anything.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.capabilities import Credential, PoolLogin
from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability
from shared.errors import Busy, DeviceError, Unsupported
from shared.telemetry import MinerState
from support.adapter_conditions import Conditions, Conflict, Heard, LostLogin, Never, WrongClock
from support.adapter_contract import Opening, Subject, Write, miner_conditions, wire_faults
from support.miners import Machine, on_loopback, s21_pro
from support.vnish import emulator_of

ADDRESS = "127.7.0.1"
TIMEOUT_S = 0.6
POOL = PoolLogin(url="stratum+tcp://pool.invalid:3333", user="owner.rig")
SPARE = PoolView(url="stratum+tcp://spare.invalid:3333")
FIRST, NEVER_SEEN = "1.2.0-beta10", "2.1.0"
NEWEST = "1.3.4"
"""It throttles, and has a watt limit of its own."""


class _Play:
    """What the suite does with one machine."""

    def __init__(self, adapter: VnishAdapter, machine: Machine, emulator: VnishEmulator) -> None:
        self.adapter = adapter
        self.machine = machine
        self.emulator = emulator

    def trap(self, **changes: object) -> None:
        self.emulator.traps = Traps(**changes)  # type: ignore[arg-type] # its own fields

    def heal(self) -> None:
        self.trap()
        self.machine.set(reachable=True)

    def reboots(self) -> None:
        """Less time up than before, and every login gone."""
        self.emulator.diary.look(self.machine.seen)
        self.machine.set(uptime_s=self.machine.seen.uptime_s / 2)

    def hide(self) -> set[str]:
        self.machine.set(state=MinerState.FAILURE)
        spans = {f"{what}_temp_{end}_c" for what in ("chip", "board") for end in ("min", "max")}
        return {*spans, "boards_working"}

    def truth(self) -> dict[str, float]:
        seen = self.machine.seen
        beta = "beta" in self.emulator.version
        return {
            "hashrate_ths": seen.hashrate_ths,
            "power_w": round(seen.power_w, 1) if beta else round(seen.power_w),
            "chip_temp_max_c": 65.0,
            "board_temp_min_c": 39.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "shares_accepted": seen.shares_accepted,
            "shares_stale": seen.shares_stale,
            "last_share_age_s": 12.0,
            "hw_errors": seen.hw_errors,
            "boards_working": 3.0,
        }

    def refuse(self) -> None:
        """Another password from now on."""
        self.emulator.logins._password = "another one"

    def conditions(self, clock: WrongClock) -> Conditions:
        heard, seen = Heard(), self.machine
        lost: LostLogin | Never = LostLogin(
            begin=self.emulator.logins.drop,
            logins=lambda: heard.count("/unlock"),
            by_write=True,
            refuse=self.refuse,
        )
        conflict: Conflict | Never = Conflict(
            begin=lambda: seen.set(state=MinerState.STOPPED),
            do=self.adapter.stop_mining,
            told=lambda: heard.count("/mining/stop"),
            changed=lambda: (list(seen.commands), seen.seen.state),
        )
        if self.emulator.version == NEVER_SEEN:
            lost = Never("a version that nobody has seen is read without a login and never written to")
            conflict = Never("nothing is written to a version that nobody has seen")
        return miner_conditions(
            seen,
            self.emulator,
            self.trap,
            clock=clock,
            lost_login=lost,
            conflict=conflict,
            heard=heard,
            forget=self.emulator.logins.drop,
        )

    # ------------------------------------------------------------ commands

    def writes(self) -> dict[str, Write]:
        version = self.emulator.version
        if version == NEVER_SEEN:
            return {}
        tried = {"set-preset": self._write(Ability.PRESET, self._preset_2550, lambda: self._runs("2550"))}
        if version == NEWEST:
            tried["limit"] = self._write(Ability.POWER_LIMIT, self._limit_2900, lambda: self._limited(2900))
        else:
            tried["limit"] = self._write(Ability.POWER_LIMIT, self._limit_2900, lambda: self._runs("2800"))
        if version == NEWEST:
            tried["throttle"] = self._told(Ability.THROTTLE, "throttle 60", self._throttle)
        tried |= {
            "manual fans": self._told(Ability.FAN_MODE, "cooling manual 80", self._manual),
            "cooling target": self._told(Ability.COOLING_TARGET, "cooling auto 58", self._target),
            "pool": self._told(Ability.POOL_SWITCH, "pool 1", lambda: self.adapter.switch_pool(1)),
            "pause": self._write(Ability.PAUSE, self.adapter.pause_mining, self._stopped),
            "resume": self._write(Ability.PAUSE, self.adapter.resume_mining, self._mines),
            "stop": self._write(Ability.MINING, self.adapter.stop_mining, self._stopped),
            "start": self._write(Ability.MINING, self.adapter.start_mining, self._mines),
            "pools": self._write(
                Ability.POOL_SETTING, lambda: self.adapter.set_pools([POOL]), self._has_pool
            ),
            "bounds": self._write(Ability.PRESET_SWITCHER, self._bounds, self._bounded),
            "restart": self._told(Ability.RESTART, "restart", self.adapter.restart_mining),
            "reboot": self._told(Ability.REBOOT, "reboot 3", self.adapter.reboot),
        }
        if version != FIRST:
            tried["locate"] = self._told(Ability.LOCATE, "locate on", lambda: self.adapter.locate(on=True))
            tried["found"] = self._told(Ability.LOCATE, "locate off", lambda: self.adapter.locate(on=False))
        return tried

    def _write(
        self, ability: Ability, do: Callable[[], Awaitable[object]], done: Callable[[], bool]
    ) -> Write:
        return Write(ability=ability, do=do, done=done)

    def _told(self, ability: Ability, command: str, do: Callable[[], Awaitable[object]]) -> Write:
        return Write(ability=ability, do=do, done=lambda: self.machine.commands[-1] == command)

    async def _preset_2550(self) -> None:
        return await self.adapter.set_preset("2550")

    async def _bounds(self) -> None:
        return await self.adapter.set_switcher_bounds(ceiling="2800")

    def _bounded(self) -> bool:
        return self.emulator.settings.switcher.top_preset == "2800"

    def _has_pool(self) -> bool:
        return self.emulator.settings._pools == [{"url": POOL.url, "user": POOL.user, "pass": POOL.password}]

    async def _limit_2900(self) -> None:
        return await self.adapter.set_power_limit(2900.0)

    async def _throttle(self) -> None:
        return await self.adapter.set_throttle(60.0)

    async def _manual(self) -> None:
        return await self.adapter.set_fan_mode("manual", 80.0)

    async def _target(self) -> None:
        return await self.adapter.set_cooling_target(58.0)

    def _runs(self, preset: str) -> bool:
        return self.machine.seen.preset == preset

    def _limited(self, watts: float) -> bool:
        return self.emulator.settings.misc["power_limit"] == watts

    def _stopped(self) -> bool:
        return self.machine.seen.state is MinerState.STOPPED

    def _mines(self) -> bool:
        return self.machine.seen.state is MinerState.MINING

    def refusals(self) -> dict[str, tuple[Callable[[], Awaitable[object]], type[DeviceError]]]:
        adapter = self.adapter
        told = Unsupported if self.emulator.version == NEVER_SEEN else Busy
        return {
            "unknown preset": (lambda: adapter.set_preset("12345"), Unsupported),
            "untuned preset": (lambda: adapter.set_preset("4690"), Unsupported),
            "start while mining": (adapter.start_mining, told),
            "resume while mining": (adapter.resume_mining, told),
            "more watts than there are": (lambda: adapter.set_power_limit(9000.0), Unsupported),
            "fewer watts than it can": (lambda: adapter.set_power_limit(1000.0), Unsupported),
            "no number of watts": (lambda: adapter.set_power_limit(float("nan")), Unsupported),
            "a throttle too deep": (lambda: adapter.set_throttle(10.0), Unsupported),
            "immersion": (lambda: adapter.set_fan_mode("immersion"), Unsupported),
            "manual fans without a duty": (lambda: adapter.set_fan_mode("manual"), Unsupported),
            "fans too slow": (lambda: adapter.set_fan_mode("manual", 5.0), Unsupported),
            "a target too hot": (lambda: adapter.set_cooling_target(120.0), Unsupported),
            "a ceiling that is no rung": (lambda: adapter.set_switcher_bounds(ceiling="1"), Unsupported),
            "no pool at all": (lambda: adapter.set_pools([]), Unsupported),
            "no such pool": (lambda: adapter.switch_pool(7), Unsupported),
            "the dev fee's pool": (lambda: adapter.switch_pool(2), Unsupported),
        }


@asynccontextmanager
async def _open(version: str) -> AsyncIterator[Subject]:
    machine = Machine(s21_pro(other_pools=(SPARE,), shares_stale=3, last_share_age_s=12.0))
    clock = WrongClock()
    emulator = emulator_of(machine, clock, version=version)
    async with on_loopback({ADDRESS: emulator}) as (http_port, _):
        # No socket fallback here: the suite asks what the web side does by itself.
        fast = HttpClient(ADDRESS, http_port, timeout_s=TIMEOUT_S)
        whole = HttpClient(ADDRESS, http_port, timeout_s=TIMEOUT_S)
        adapter = VnishAdapter(
            whole if version == FIRST else fast,
            Credential(user=None, secret="admin"),
            timeout_s=TIMEOUT_S,
            bulk=whole,
        )
        play = _Play(adapter, machine, emulator)
        yield Subject(
            adapter=adapter,
            timeout_s=TIMEOUT_S,
            heal=play.heal,
            truth=play.truth,
            hide=play.hide,
            faults=wire_faults(machine, play.trap),
            nuisances={
                "slow": lambda: play.trap(slow_s=0.05),
                "sessions are dropped": lambda: play.trap(drop_session_every=2),
                "locked out": lambda: play.trap(lockout_s=60),
                "settings are broken": lambda: play.trap(settings_broken=True),
                "its clock is wrong": lambda: play.trap(clock_skew_s=-7200.0),
                "reboots in the middle": play.reboots,
            },
            writes=play.writes(),
            refusals=play.refusals(),
            commands=lambda: machine.commands,
            conditions=play.conditions(clock),
            tamper=None if version == NEVER_SEEN else lambda: play.trap(settings_ignored=True),
        )
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {
    f"vnish {version}": partial(_open, version) for version in (FIRST, "1.2.7", NEWEST, NEVER_SEEN)
}
