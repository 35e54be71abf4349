"""Avalons in front of the contract suite: one with work modes, one of a model without; loopback sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from firmware_adapters.miners.avalon.adapter import AvalonAdapter
from firmware_adapters.miners.avalon.emulator import AvalonEmulator
from firmware_adapters.miners.avalon.emulator_traps import Traps
from firmware_adapters.miners.emulated import MinerView, PresetView
from firmware_adapters.transport.line_json import LineClient
from shared.capabilities import Ability
from shared.errors import DeviceError, Unsupported
from support.adapter_conditions import Conflict, Heard, Never, WrongClock
from support.adapter_contract import (
    Opening,
    Subject,
    Write,
    miner_conditions,
    mining_writes,
    wire_faults,
)
from support.miners import Machine, board, on_loopback, s21_pro

ADDRESS = "127.7.5.1"
TIMEOUT_S = 0.4
MODES = (
    PresetView(name="eco", power_w=800, hashrate_ths=55, tuned=True),
    PresetView(name="standard", power_w=1300, hashrate_ths=80, tuned=True),
    PresetView(name="super", power_w=1674, hashrate_ths=90, tuned=True),
)


def avalon_q(**changes: object) -> MinerView:
    """A healthy Avalon Q in its middle mode."""
    healthy = s21_pro(
        model="Avalon Q",
        hashrate_ths=79.5,
        hashrate_average_ths=79.8,
        hashrate_nominal_ths=80.0,
        hashrate_stock_ths=90.0,
        power_w=1302.0,
        preset="standard",
        presets=MODES,
        boards=(board(hashrate_ths=79.5, hashrate_nominal_ths=80.0, volt_v=22.4, power_w=1250.0),),
        chips_per_board=160,
        last_share_age_s=9.0,
    )
    return msgspec.structs.replace(healthy, **changes)


def _subject(
    adapter: AvalonAdapter, machine: Machine, emulator: AvalonEmulator, clock: WrongClock
) -> Subject:
    def misbehave(**how: object) -> None:
        emulator.traps = Traps(**how)  # type: ignore[arg-type] # its own fields

    def heal() -> None:
        misbehave()
        machine.set(reachable=True)

    def hide() -> set[str]:
        dead = tuple(msgspec.structs.replace(found, working=False) for found in machine.seen.boards)
        machine.set(boards=dead)
        return {"chip_temp_max_c", "chip_temp_min_c", "board_temp_max_c", "board_temp_min_c"}

    def truth() -> dict[str, float]:
        seen = machine.seen
        return {
            "hashrate_ths": seen.hashrate_ths,
            "hashrate_nominal_ths": seen.hashrate_nominal_ths,
            "power_w": round(seen.power_w),
            "chip_temp_max_c": 65.0,
            "chip_temp_min_c": 54.0,
            "board_temp_max_c": 50.0,
            "board_temp_min_c": 39.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "uptime_s": seen.uptime_s,
            "shares_accepted": float(seen.shares_accepted),
        }

    writes = {
        **mining_writes(adapter, machine),
        "reboot": Write(ability=Ability.REBOOT, do=adapter.reboot, done=lambda: machine.seen.uptime_s == 0),
    }
    refusals: dict[str, tuple[object, type[DeviceError]]] = {
        "no such mode": (lambda: adapter.set_preset("turbo"), Unsupported)
    }
    if machine.seen.model == "Avalon Q":
        eco = Write(
            ability=Ability.PRESET,
            do=lambda: adapter.set_preset("eco"),
            done=lambda: machine.seen.preset == "eco",
        )
        writes = {"eco": eco, **writes}
    return Subject(
        adapter=adapter,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=truth,
        hide=hide,
        faults=wire_faults(machine, misbehave),
        nuisances={
            "slow": lambda: misbehave(slow_s=0.02),
            "an older version": lambda: misbehave(no_estats=True),
        },
        writes=writes,
        refusals=refusals,  # type: ignore[arg-type] # callables without parameters
        commands=lambda: machine.commands,
        conditions=miner_conditions(
            machine,
            emulator,
            misbehave,
            clock=clock,
            lost_login=Never("the socket of an Avalon knows no login: whoever reaches it may do all"),
            conflict=Conflict(
                begin=lambda: misbehave(refuses=True),
                do=adapter.stop_mining,
                told=lambda: sum("softoff" in asked for asked in emulator.asked),
                changed=lambda: (list(machine.commands), machine.seen.state),
            ),
            heard=Heard(),
            silent_writes=True,
        ),
        tamper=lambda: misbehave(writes_ignored=True),
    )


@asynccontextmanager
async def _open(model: str) -> AsyncIterator[Subject]:
    machine = Machine(avalon_q(model=model))
    clock = WrongClock()
    emulator = AvalonEmulator(machine, clock=clock)
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        line = LineClient(ADDRESS, port, timeout_s=TIMEOUT_S)
        adapter = AvalonAdapter(line, line, timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, emulator, clock)
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {
    model.lower(): partial(_open, model) for model in ("Avalon Q", "Avalon A1366")
}
