"""Braiins OS in front of the contract suite: the adapter, real loopback sockets, the emulator."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.braiins.adapter import BraiinsAdapter
from firmware_adapters.miners.braiins.emulator import BraiinsEmulator, Traps
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability
from shared.errors import Unsupported
from shared.telemetry import MinerState
from support.adapter_conditions import Conditions, Conflict, Heard, LostLogin, Never, WrongClock
from support.adapter_contract import Opening, Subject, Write, miner_conditions, wire_faults
from support.miners import Machine, on_loopback

ADDRESS = "127.7.3.1"
PASSWORD = "not the default"
TIMEOUT_S = 0.8


def _writes(adapter: BraiinsAdapter, machine: Machine, emulator: BraiinsEmulator) -> dict[str, Write]:
    def state(word: MinerState) -> bool:
        return machine.seen.state is word

    return {
        "power-limit": Write(
            ability=Ability.POWER_LIMIT,
            do=lambda: adapter.set_power_limit(2600),
            done=lambda: machine.seen.power_limit_w == 2600 and machine.seen.power_w <= 2600,
        ),
        "cooling-target": Write(
            ability=Ability.COOLING_TARGET,
            do=lambda: adapter.set_cooling_target(55),
            done=lambda: machine.seen.target_temp_c == 55 and machine.seen.cooling == "auto",
        ),
        "fans by hand": Write(
            ability=Ability.FAN_MODE,
            do=lambda: adapter.set_fan_mode("manual", 80),
            done=lambda: machine.seen.fan_duty_pct == 80 and machine.seen.cooling == "manual",
        ),
        "fans by themselves": Write(
            ability=Ability.FAN_MODE,
            do=lambda: adapter.set_fan_mode("auto"),
            done=lambda: machine.seen.cooling == "auto",
        ),
        "locate": Write(
            ability=Ability.LOCATE,
            do=lambda: adapter.locate(on=True),
            done=lambda: machine.seen.locating,
        ),
        "pause": Write(
            ability=Ability.PAUSE, do=adapter.pause_mining, done=lambda: state(MinerState.STOPPED)
        ),
        "resume": Write(
            ability=Ability.PAUSE, do=adapter.resume_mining, done=lambda: state(MinerState.MINING)
        ),
        "stop": Write(ability=Ability.MINING, do=adapter.stop_mining, done=lambda: state(MinerState.STOPPED)),
        "start": Write(
            ability=Ability.MINING, do=adapter.start_mining, done=lambda: state(MinerState.MINING)
        ),
        "reboot": Write(
            ability=Ability.REBOOT, do=adapter.reboot, done=lambda: "reboot 3" in machine.commands
        ),
    }


_RANGED = (Ability.POWER_LIMIT, Ability.COOLING_TARGET, Ability.FAN_MODE)


def _conditions(
    adapter: BraiinsAdapter,
    machine: Machine,
    emulator: BraiinsEmulator,
    clock: WrongClock,
    trap: Callable[..., None],
) -> Conditions:
    heard = Heard()

    def refuse() -> None:
        emulator._password = "another one"

    def pause() -> None:
        trap(conflict_is_500=True)
        machine.set(state=MinerState.STOPPED)

    return miner_conditions(
        machine,
        emulator,
        trap,
        clock=clock,
        lost_login=LostLogin(
            begin=emulator.drop_sessions, logins=lambda: heard.count("auth/login"), refuse=refuse
        ),
        conflict=Conflict(
            begin=pause,
            do=adapter.stop_mining,
            told=lambda: heard.count("actions/stop"),
            changed=lambda: (list(machine.commands), machine.seen.state),
        )
        if emulator.traps.api_major == 1
        else Never("nothing is written to an API of another major version"),
        heard=heard,
        forget=emulator.drop_sessions,
    )


def _subject(
    adapter: BraiinsAdapter,
    machine: Machine,
    emulator: BraiinsEmulator,
    base: Traps,
    clock: WrongClock,
) -> Subject:
    def trap(**changes: object) -> None:
        known = {name: getattr(base, name) for name in base.__struct_fields__}
        emulator.traps = Traps(**{**known, **changes})  # type: ignore[arg-type] # names are checked below

    def heal() -> None:
        trap()
        machine.set(reachable=True)

    def hide() -> set[str]:
        trap(quiet=True)
        temperatures = {f"{part}_temp_max_c" for part in ("chip", "board")} | {"board_temp_min_c"}
        return {*temperatures, "hashrate_ths", "power_w", "shares_accepted", "boards_working"}

    def truth() -> dict[str, float]:
        seen = machine.seen
        return {
            "hashrate_ths": seen.hashrate_ths,
            "power_w": round(seen.power_w),
            "chip_temp_max_c": 65.0,
            "board_temp_max_c": 50.0,
            "board_temp_min_c": 39.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "fan_duty_pct": seen.fan_duty_pct,
            "uptime_s": seen.uptime_s,
            "boards_working": 3.0,
            "shares_accepted": seen.shares_accepted,
        }

    writes = _writes(adapter, machine, emulator)
    if base.no_constraints:
        writes = {name: write for name, write in writes.items() if write.ability not in _RANGED}
    if base.api_major != 1:
        writes = {}
    return Subject(
        adapter=adapter,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=truth,
        hide=hide,
        faults={
            **wire_faults(machine, trap),
            "too many requests": lambda: trap(too_many=True),
        },
        nuisances={
            "slow": lambda: trap(slow_s=0.02),
            "tokens are dropped": lambda: trap(drop_session_every=3),
            "it rebooted and forgot its tokens": emulator.drop_sessions,
            "its clock is two hours ahead": lambda: trap(clock_skew_s=7200.0),
        },
        writes=writes,
        refusals={
            "too few watts": (lambda: adapter.set_power_limit(100), Unsupported),
            "too many watts": (lambda: adapter.set_power_limit(9000), Unsupported),
            "too hot a target": (lambda: adapter.set_cooling_target(120), Unsupported),
            "no such fan mode": (lambda: adapter.set_fan_mode("disabled"), Unsupported),
            "no duty": (lambda: adapter.set_fan_mode("manual"), Unsupported),
            "a duty below what it takes": (lambda: adapter.set_fan_mode("manual", 5), Unsupported),
        },
        commands=lambda: machine.commands,
        conditions=_conditions(adapter, machine, emulator, clock, trap),
        tamper=(lambda: trap(settings_ignored=True)) if writes else None,
    )


@asynccontextmanager
async def _open(version: str, base: Traps) -> AsyncIterator[Subject]:
    machine = Machine()
    machine.set(model="Antminer S19 XP", last_share_age_s=4.0)
    clock = WrongClock()
    emulator = BraiinsEmulator(machine, clock=clock, version=version, password=PASSWORD, traps=base)
    async with on_loopback({ADDRESS: emulator}) as (port, _):
        adapter = BraiinsAdapter(
            HttpClient(ADDRESS, port, timeout_s=TIMEOUT_S / 2),
            Credential(user="root", secret=PASSWORD),
            timeout_s=TIMEOUT_S,
        )
        yield _subject(adapter, machine, emulator, base, clock)
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {
    "braiins 25.11": partial(_open, "25.11", Traps()),
    "braiins 25.07 that tells no ranges": partial(_open, "25.07", Traps(no_constraints=True)),
    "braiins with an API of tomorrow": partial(_open, "25.11", Traps(api_major=2)),
}
