"""LuxOS in front of the contract suite: its command socket over real loopback connections."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.luxos.adapter import LuxosAdapter
from firmware_adapters.miners.luxos.emulator import LuxosEmulator
from firmware_adapters.miners.luxos.emulator_traps import Traps
from firmware_adapters.transport.line_json import LineClient
from shared.capabilities import Ability
from shared.errors import Unsupported
from shared.telemetry import MinerState
from support.adapter_conditions import Conditions, Conflict, Heard, LostLogin, Never, WrongClock
from support.adapter_contract import (
    Opening,
    Subject,
    Write,
    miner_conditions,
    mining_writes,
    wire_faults,
)
from support.luxos import emulator_of
from support.miners import Machine, on_loopback, s21_pro

ADDRESS = "127.7.2.1"
TIMEOUT_S = 0.6


def _machine() -> Machine:
    other = PoolView(url="stratum+tcp://other.invalid:3333")
    return Machine(s21_pro(other_pools=(other,), last_share_age_s=4.0))


def _truth(machine: Machine) -> dict[str, float]:
    seen = machine.seen
    return {
        "hashrate_ths": seen.hashrate_ths,
        "hashrate_nominal_ths": seen.hashrate_nominal_ths,
        "power_w": round(seen.power_w),
        "board_temp_max_c": 50.0,
        "board_temp_min_c": 39.0,
        "fan_rpm.0": seen.fans[0].rpm,
        "uptime_s": seen.uptime_s,
        "boards_working": 3.0,
        "hw_errors": 57.0,
    }


def _hide(machine: Machine) -> set[str]:
    machine.set(state=MinerState.FAILURE)
    return {"board_temp_max_c", "board_temp_min_c", "chip_temp_max_c", "chip_temp_min_c"}


def _writes(adapter: LuxosAdapter, machine: Machine) -> dict[str, Write]:
    return {
        "profile": Write(
            ability=Ability.PRESET,
            do=lambda: adapter.set_preset("2550"),
            done=lambda: machine.seen.preset == "2550",
        ),
        **mining_writes(adapter, machine, stop="sleep", start="wake"),
        "cooling target": Write(
            ability=Ability.COOLING_TARGET,
            do=lambda: adapter.set_cooling_target(52.0),
            done=lambda: machine.seen.target_temp_c == 52.0,
        ),
        "pool": Write(
            ability=Ability.POOL_SWITCH,
            do=lambda: adapter.switch_pool(1),
            done=lambda: machine.seen.pool == 1,
        ),
        "reboot": Write(
            ability=Ability.REBOOT, do=adapter.reboot, done=lambda: "reboot 3" in machine.commands
        ),
    }


def _conditions(
    adapter: LuxosAdapter, machine: Machine, emulator: LuxosEmulator, clock: WrongClock
) -> Conditions:
    heard = Heard()

    def set_traps(**how: object) -> None:
        emulator.traps = Traps(**how)  # type: ignore[arg-type] # its own fields

    def end_session() -> None:
        emulator.session = None

    return miner_conditions(
        machine,
        emulator,
        set_traps,
        clock=clock,
        lost_login=LostLogin(
            # The session lives for one write, so it is lost in the middle of one.
            begin=lambda: set_traps(forget_session_every=2),
            logins=lambda: heard.count('"logon"'),
            most=3,
            by_write=True,
            refuse=Never("a session is opened without any password"),
        ),
        conflict=Conflict(
            begin=lambda: set_traps(foreign_session=True),
            do=adapter.stop_mining,
            told=lambda: heard.count('"logon"'),
            changed=lambda: (list(machine.commands), machine.seen.state, emulator.curtailed),
        ),
        heard=heard,
        forget=end_session,
    )


def _subject(
    adapter: LuxosAdapter,
    machine: Machine,
    set_traps: Callable[[Traps], None],
    conditions: Conditions,
) -> Subject:
    def heal() -> None:
        set_traps(Traps())
        machine.set(reachable=True)

    return Subject(
        adapter=adapter,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=lambda: _truth(machine),
        hide=lambda: _hide(machine),
        faults=wire_faults(machine, lambda **how: set_traps(Traps(**how))),
        nuisances={
            "slow": lambda: set_traps(Traps(slow_s=0.05)),
            "glued replies": lambda: set_traps(Traps(glued=True)),
            "an older release": lambda: set_traps(Traps(no_curtail_word=True)),
        },
        writes=_writes(adapter, machine),
        refusals={
            "unknown profile": (lambda: adapter.set_preset("12345"), Unsupported),
            "overclocking profile": (lambda: adapter.set_preset("4690"), Unsupported),
            "too hot a target": (lambda: adapter.set_cooling_target(70.0), Unsupported),
            "no such pool": (lambda: adapter.switch_pool(7), Unsupported),
        },
        commands=lambda: machine.commands,
        conditions=conditions,
        tamper=lambda: set_traps(Traps(settings_ignored=True)),
    )


@asynccontextmanager
async def _open() -> AsyncIterator[Subject]:
    machine = _machine()
    clock = WrongClock()
    emulator = emulator_of(machine, clock)

    def set_traps(traps: Traps) -> None:
        emulator.traps = traps

    async with on_loopback({ADDRESS: emulator}) as (_, port):
        adapter = LuxosAdapter(LineClient(ADDRESS, port, timeout_s=TIMEOUT_S), timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, set_traps, _conditions(adapter, machine, emulator, clock))
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {"luxos": partial(_open)}
