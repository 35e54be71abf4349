"""Blueprint OS in front of the contract suite: copy me. The adapter, real loopback sockets, the emulator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firmware_adapters.blueprint.adapter import BlueprintAdapter
from firmware_adapters.blueprint.emulator import BlueprintEmulator, Traps
from firmware_adapters.capabilities import Credential
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability
from shared.errors import Busy, Unsupported
from shared.telemetry import MinerState
from support.adapter_conditions import Conflict, Heard, Never, WrongClock
from support.adapter_contract import (
    Opening,
    Subject,
    Write,
    miner_conditions,
    mining_writes,
    wire_faults,
)
from support.miners import Machine, on_loopback

ADDRESS = "127.7.9.1"
TIMEOUT_S = 0.6


def _subject(
    adapter: BlueprintAdapter, machine: Machine, emulator: BlueprintEmulator, clock: WrongClock
) -> Subject:
    heard = Heard()

    def trap(**changes: object) -> None:
        emulator.traps = Traps(**changes)  # type: ignore[arg-type] # named by the tests below

    def heal() -> None:
        trap()
        machine.set(reachable=True)

    def hide() -> set[str]:
        trap(sensors_absent=True)
        return {"chip_temp_max_c", "board_temp_max_c"}

    def truth() -> dict[str, float]:
        seen = machine.seen
        return {
            "hashrate_ths": seen.hashrate_ths,
            "power_w": round(seen.power_w),
            "chip_temp_max_c": 65.0,
            "board_temp_max_c": 50.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "uptime_s": seen.uptime_s,
            "throttle_pct": seen.throttle_pct,
        }

    return Subject(
        adapter=adapter,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=truth,
        hide=hide,
        faults=wire_faults(machine, trap),
        nuisances={"slow": lambda: trap(slow_s=0.05)},
        writes={
            "throttle": Write(
                ability=Ability.THROTTLE,
                do=lambda: adapter.set_throttle(60),
                done=lambda: machine.seen.throttle_pct == 60,
            ),
            **mining_writes(adapter, machine),
        },
        refusals={
            "throttle below the range": (lambda: adapter.set_throttle(20), Unsupported),
            "start while mining": (adapter.start_mining, Busy),
        },
        commands=lambda: machine.commands,
        conditions=miner_conditions(
            machine,
            emulator,
            trap,
            clock=clock,
            lost_login=Never("each command carries its key, so there is no login that could be lost"),
            conflict=Conflict(
                begin=lambda: machine.set(state=MinerState.STOPPED),
                do=adapter.stop_mining,
                told=lambda: heard.count("/mining"),
                changed=lambda: (list(machine.commands), machine.seen.state),
            ),
            heard=heard,
        ),
        tamper=lambda: trap(commands_ignored=True),
    )


@asynccontextmanager
async def _open() -> AsyncIterator[Subject]:
    machine = Machine()
    clock = WrongClock()
    emulator = BlueprintEmulator(machine, clock=clock)
    async with on_loopback({ADDRESS: emulator}) as (port, _):
        adapter = BlueprintAdapter(
            HttpClient(ADDRESS, port, timeout_s=TIMEOUT_S),
            Credential(user=None, secret="blueprint"),
            timeout_s=TIMEOUT_S,
        )
        yield _subject(adapter, machine, emulator, clock)
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {"blueprint": _open}
