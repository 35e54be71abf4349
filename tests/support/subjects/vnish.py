"""VNish in front of the contract suite: the adapter, real loopback sockets, the emulator."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.transport.http import AiohttpTransport
from shared.capabilities import Ability
from shared.clock import SystemClock
from shared.errors import Busy, Unsupported
from shared.telemetry import MinerState
from support.adapter_contract import Opening, Subject, Write
from support.miners import Machine, on_loopback
from support.vnish import emulator_of

ADDRESS = "127.7.0.1"


def _subject(adapter: VnishAdapter, machine: Machine, set_traps: Callable[[Traps], None]) -> Subject:
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
        nuisances={
            "slow": lambda: set_traps(Traps(slow_s=0.05)),
            "sessions are dropped": lambda: set_traps(Traps(drop_session_every=2)),
        },
        writes={
            "set-preset": Write(
                ability=Ability.PRESET,
                do=lambda: adapter.set_preset("2550"),
                done=lambda: machine.seen.preset == "2550",
            ),
            "stop": Write(
                ability=Ability.MINING,
                do=adapter.stop_mining,
                done=lambda: machine.seen.state is MinerState.STOPPED,
            ),
            "start": Write(
                ability=Ability.MINING,
                do=adapter.start_mining,
                done=lambda: machine.seen.state is MinerState.MINING,
            ),
        },
        refusals={
            "unknown preset": (lambda: adapter.set_preset("12345"), Unsupported),
            "untuned preset": (lambda: adapter.set_preset("4690"), Unsupported),
            "start while mining": (adapter.start_mining, Busy),
        },
        commands=lambda: machine.commands,
        tamper=lambda: set_traps(Traps(settings_ignored=True)),
    )


@asynccontextmanager
async def _open(version: str) -> AsyncIterator[Subject]:
    machine = Machine()
    emulator = emulator_of(machine, SystemClock(), version=version)

    def set_traps(traps: Traps) -> None:
        emulator.traps = traps

    async with on_loopback({ADDRESS: emulator}) as (http_port, _):
        # No socket fallback here: the suite asks what the web side does by itself.
        adapter = VnishAdapter(
            AiohttpTransport(ADDRESS, http_port, timeout_s=0.6),
            Credential(user=None, secret="admin"),
            timeout_s=0.6,
        )
        yield _subject(adapter, machine, set_traps)
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {f"vnish {version}": partial(_open, version) for version in ("1.2.7", "1.3.4")}
