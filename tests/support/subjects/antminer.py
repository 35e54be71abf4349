"""Stock Antminers in front of the contract suite: digest CGI over loopback, and the 4028 socket alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.miners.antminer.adapter import AntminerAdapter
from firmware_adapters.miners.antminer.emulator import AntminerEmulator
from firmware_adapters.miners.antminer.emulator_traps import Traps
from firmware_adapters.transport.http_client import HttpClient
from firmware_adapters.transport.line_json import LineClient
from shared.capabilities import Ability
from shared.errors import Busy, Unsupported
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
from support.antminer import ROOT, emulator_of
from support.miners import Machine, on_loopback

ADDRESS = "127.7.1.1"
TIMEOUT_S = 0.6


def _truth(machine: Machine) -> dict[str, float]:
    seen = machine.seen
    return {
        "hashrate_ths": seen.hashrate_ths,
        "hashrate_nominal_ths": seen.hashrate_nominal_ths,
        "chip_temp_max_c": 65.0,
        "board_temp_min_c": 39.0,
        "fan_rpm.0": seen.fans[0].rpm,
        "uptime_s": seen.uptime_s,
        "boards_working": 3.0,
        "hw_errors": 57.0,
    }


def _hide(machine: Machine) -> set[str]:
    machine.set(state=MinerState.FAILURE)
    return {"chip_temp_max_c", "chip_temp_min_c", "board_temp_max_c", "board_temp_min_c", "power_w"}


def _writes(adapter: AntminerAdapter, machine: Machine) -> dict[str, Write]:
    return {
        "low power": Write(
            ability=Ability.PRESET,
            do=lambda: adapter.set_preset("low-power"),
            done=lambda: machine.seen.throttle_pct < 100,
        ),
        **mining_writes(adapter, machine),
        "locate": Write(
            ability=Ability.LOCATE,
            do=lambda: adapter.locate(on=True),
            done=lambda: machine.seen.locating,
        ),
        "reboot": Write(
            ability=Ability.REBOOT, do=adapter.reboot, done=lambda: "reboot 1" in machine.commands
        ),
    }


def _conditions(
    adapter: AntminerAdapter, machine: Machine, emulator: AntminerEmulator, clock: WrongClock
) -> Conditions:
    heard = Heard()

    def set_traps(**how: object) -> None:
        emulator.traps = Traps(**how)  # type: ignore[arg-type] # its own fields

    def forget() -> None:
        emulator.logins._nonces += 1

    return miner_conditions(
        machine,
        emulator,
        set_traps,
        clock=clock,
        lost_login=LostLogin(
            begin=forget,
            # A challenge is what a digest login has for a login; two requests at once get one each.
            logins=lambda: heard.count(" 401"),
            most=2,
            refuse=lambda: set_traps(login_refused=True),
            most_refused=4,
        ),
        conflict=Conflict(
            begin=lambda: set_traps(settings_refused=True),
            do=adapter.stop_mining,
            # A login that was asked for again is no second command.
            told=lambda: heard.count("POST /cgi-bin/set_miner_conf.cgi 200"),
            changed=lambda: (list(machine.commands), machine.seen.state, emulator.mode),
        ),
        heard=heard,
        forget=forget,
    )


def _socket_conditions(machine: Machine, emulator: AntminerEmulator, clock: WrongClock) -> Conditions:
    def set_traps(**how: object) -> None:
        emulator.socket_traps = Traps(**how)  # type: ignore[arg-type] # its own fields

    return miner_conditions(
        machine,
        emulator,
        set_traps,
        clock=clock,
        lost_login=Never("the 4028 socket of a stock machine knows no login"),
        conflict=Never("the 4028 socket of a stock machine takes no commands"),
        heard=Heard(),
    )


def _web_subject(
    adapter: AntminerAdapter,
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
            "nonces are forgotten": lambda: set_traps(Traps(forget_nonce_every=2)),
        },
        writes=_writes(adapter, machine),
        refusals={
            "unknown preset": (lambda: adapter.set_preset("turbo"), Unsupported),
            "the sleep mode as a preset": (lambda: adapter.set_preset("sleep"), Unsupported),
            "start while mining": (adapter.start_mining, Busy),
        },
        commands=lambda: machine.commands,
        conditions=conditions,
        tamper=lambda: set_traps(Traps(settings_ignored=True)),
    )


@asynccontextmanager
async def _web() -> AsyncIterator[Subject]:
    machine = Machine()
    clock = WrongClock()
    emulator = emulator_of(machine, clock)

    def set_traps(traps: Traps) -> None:
        emulator.traps = traps

    async with on_loopback({ADDRESS: emulator}) as (http_port, _):
        # No socket fallback here: the suite asks what the web side does by itself.
        adapter = AntminerAdapter(
            HttpClient(ADDRESS, http_port, timeout_s=TIMEOUT_S), ROOT, timeout_s=TIMEOUT_S
        )
        yield _web_subject(adapter, machine, set_traps, _conditions(adapter, machine, emulator, clock))
        emulator.traps = Traps()
        await adapter.close()


@asynccontextmanager
async def _socket() -> AsyncIterator[Subject]:
    machine = Machine()
    clock = WrongClock()
    emulator = emulator_of(machine, clock)

    def set_traps(traps: Traps) -> None:
        emulator.socket_traps = traps

    async with on_loopback({ADDRESS: emulator}) as (http_port, socket_port):
        adapter = AntminerAdapter(
            HttpClient(ADDRESS, http_port, timeout_s=TIMEOUT_S),
            None,
            timeout_s=TIMEOUT_S,
            socket=LineClient(ADDRESS, socket_port, timeout_s=TIMEOUT_S),
        )
        conditions = _socket_conditions(machine, emulator, clock)
        whole = _web_subject(adapter, machine, set_traps, conditions)
        whole.nuisances.pop("nonces are forgotten")
        whole.writes = {}
        whole.refusals = {"no login, no control": (adapter.stop_mining, Unsupported)}
        whole.tamper = None
        yield whole
        emulator.socket_traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {"antminer": partial(_web), "antminer without a login": partial(_socket)}
