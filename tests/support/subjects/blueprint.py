"""Blueprint OS in front of the contract suite: copy me. The adapter, real loopback sockets, the emulator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firmware_adapters.blueprint.adapter import BlueprintAdapter
from firmware_adapters.blueprint.emulator import BlueprintEmulator, Traps
from firmware_adapters.capabilities import Credential
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability
from shared.clock import SystemClock
from shared.errors import Busy, Unsupported
from support.adapter_contract import Opening, Subject, Write, mining_writes, wire_faults
from support.miners import Machine, on_loopback

ADDRESS = "127.7.9.1"
TIMEOUT_S = 0.6


def _subject(adapter: BlueprintAdapter, machine: Machine, emulator: BlueprintEmulator) -> Subject:
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
        tamper=lambda: trap(commands_ignored=True),
    )


@asynccontextmanager
async def _open() -> AsyncIterator[Subject]:
    machine = Machine()
    emulator = BlueprintEmulator(machine, clock=SystemClock())
    async with on_loopback({ADDRESS: emulator}) as (port, _):
        adapter = BlueprintAdapter(
            HttpClient(ADDRESS, port, timeout_s=TIMEOUT_S),
            Credential(user=None, secret="blueprint"),
            timeout_s=TIMEOUT_S,
        )
        yield _subject(adapter, machine, emulator)
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {"blueprint": _open}
