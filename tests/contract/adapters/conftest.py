"""Subjects of the adapter contract: an adapter in front of an emulated device, over real loopback sockets.

A new adapter joins by adding one subject here; the suite itself knows no vendor.
"""

from collections.abc import AsyncIterator, Callable

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.miners.vnish.emulated import Traps
from firmware_adapters.transport.http import AiohttpTransport
from shared.clock import SystemClock
from shared.commands import SetPreset, StartMining, StopMining
from shared.errors import Busy, Unsupported
from shared.ids import DeviceId
from shared.telemetry import MinerState
from support.adapter_contract import Subject
from support.vnish import Machine, emulator_of, on_loopback

ADDRESS = "127.7.0.1"
ME = DeviceId("subject")


def _vnish(adapter: VnishAdapter, machine: Machine, set_traps: Callable[[Traps], None]) -> Subject:
    def heal() -> None:
        set_traps(Traps())
        machine.set(reachable=True)

    def hide() -> set[str]:
        machine.set(state=MinerState.FAILURE)
        return {
            "chip_temp_max_c",
            "chip_temp_min_c",
            "board_temp_max_c",
            "board_temp_min_c",
            "boards_working",
        }

    def truth() -> dict[str, float]:
        seen = machine.seen
        return {
            "hashrate_ths": seen.hashrate_ths,
            "power_w": round(seen.power_w),
            "chip_temp_max_c": 65.0,
            "board_temp_min_c": 39.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "uptime_s": seen.uptime_s,
            "preset_w": 2800.0,
        }

    return Subject(
        adapter=adapter,
        timeout_s=0.6,
        heal=heal,
        truth=truth,
        hide=hide,
        faults={
            "gone": lambda: machine.set(reachable=False),
            "hang": lambda: set_traps(Traps(hang=True)),
            "half a reply": lambda: set_traps(Traps(half_reply=True)),
            "garbage": lambda: set_traps(Traps(garbage=True)),
        },
        writes={
            "set-preset": (SetPreset(device=ME, preset="2550"), lambda: machine.seen.preset == "2550"),
            "stop": (StopMining(device=ME), lambda: machine.seen.state is MinerState.STOPPED),
            "start": (StartMining(device=ME), lambda: machine.seen.state is MinerState.MINING),
        },
        refusals={
            "unknown preset": (SetPreset(device=ME, preset="12345"), Unsupported),
            "untuned preset": (SetPreset(device=ME, preset="4690"), Unsupported),
            "start while mining": (StartMining(device=ME), Busy),
        },
        commands=lambda: machine.commands,
        tamper=lambda: set_traps(Traps(settings_ignored=True)),
    )


@pytest.fixture(params=["vnish 1.2.7", "vnish 1.3.4"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Each adapter and flavour in turn."""
    machine = Machine()
    emulator = emulator_of(machine, SystemClock(), version=request.param.split()[1])

    def set_traps(traps: Traps) -> None:
        emulator.traps = traps

    async with on_loopback({ADDRESS: emulator}) as (http_port, _):
        # No socket fallback here: the suite asks what the web side does by itself.
        adapter = VnishAdapter(
            AiohttpTransport(ADDRESS, http_port, timeout_s=0.6),
            Credential(user=None, secret="admin"),
            timeout_s=0.6,
        )
        yield _vnish(adapter, machine, set_traps)
        emulator.traps = Traps()
        await adapter.close()
