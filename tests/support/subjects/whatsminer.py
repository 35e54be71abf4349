"""Whatsminers in front of the contract suite: both APIs, loopback sockets, real encryption on both sides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.whatsminer.adapter import WhatsminerAdapter
from firmware_adapters.miners.whatsminer.emulator import WhatsminerEmulator
from firmware_adapters.miners.whatsminer.emulator_traps import Traps
from firmware_adapters.miners.whatsminer_v3.adapter import WhatsminerV3Adapter
from firmware_adapters.miners.whatsminer_v3.emulator import WhatsminerV3Emulator
from firmware_adapters.miners.whatsminer_v3.emulator_traps import Traps as V3Traps
from firmware_adapters.transport.framed import FramedClient
from firmware_adapters.transport.line_json import LineClient
from shared.capabilities import Ability
from shared.clock import SystemClock
from shared.errors import Unsupported
from support.adapter_contract import Opening, Subject, Write, mining_writes, wire_faults
from support.miners import Machine, on_loopback, s21_pro

ADDRESS = "127.7.4.1"
TIMEOUT_S = 0.4
PASSWORD = "no longer the default"


def m50s(**changes: object) -> MinerView:
    """A healthy M50S at 3300 W."""
    healthy = s21_pro(
        model="Whatsminer M50S_VJ30",
        hashrate_ths=124.5,
        hashrate_average_ths=125.0,
        hashrate_nominal_ths=126.0,
        hashrate_stock_ths=128.0,
        power_w=3310.0,
        preset=None,
        presets=(),
        shares_stale=3,
        last_share_age_s=12.0,
    )
    return msgspec.structs.replace(healthy, **changes)


def _subject(
    adapter: WhatsminerAdapter | WhatsminerV3Adapter,
    machine: Machine,
    emulator: WhatsminerEmulator | WhatsminerV3Emulator,
) -> Subject:
    traps = Traps if isinstance(emulator, WhatsminerEmulator) else V3Traps

    def misbehave(**how: object) -> None:
        emulator.traps = traps(**how)  # type: ignore[arg-type, assignment] # fields that both kinds have

    def heal() -> None:
        misbehave()
        machine.set(reachable=True)

    def hide() -> set[str]:
        boards = tuple(
            msgspec.structs.replace(
                board,
                chip_temp_max_c=None,
                chip_temp_min_c=None,
                board_temp_max_c=None,
                board_temp_min_c=None,
            )
            for board in machine.seen.boards
        )
        machine.set(boards=boards)
        return {"chip_temp_max_c", "chip_temp_min_c", "board_temp_max_c", "board_temp_min_c"}

    def truth() -> dict[str, float]:
        seen = machine.seen
        return {
            "hashrate_ths": seen.hashrate_ths,
            "power_w": round(seen.power_w),
            "chip_temp_max_c": 65.0,
            "chip_temp_min_c": 54.0,
            "board_temp_max_c": 50.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "fan_rpm.1": seen.fans[1].rpm,
            "uptime_s": seen.uptime_s,
            "boards_working": 3.0,
        }

    writes = {
        "power limit": Write(
            ability=Ability.POWER_LIMIT,
            do=lambda: adapter.set_power_limit(2600.9),
            done=lambda: machine.seen.power_limit_w == 2600,
        ),
        "throttle": Write(
            ability=Ability.THROTTLE,
            do=lambda: adapter.set_throttle(60),
            done=lambda: machine.seen.throttle_pct == 60,
        ),
        **mining_writes(adapter, machine),
        "reboot": Write(ability=Ability.REBOOT, do=adapter.reboot, done=lambda: machine.seen.uptime_s == 0),
    }
    if isinstance(adapter, WhatsminerAdapter):
        blinking = adapter
        writes["locate"] = Write(
            ability=Ability.LOCATE, do=lambda: blinking.locate(on=True), done=lambda: machine.seen.locating
        )
    return Subject(
        adapter=adapter,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=truth,
        hide=hide,
        faults=wire_faults(machine, misbehave),
        nuisances={"slow": lambda: misbehave(slow_s=0.02)},
        writes=writes,
        refusals={
            "a limit that no model has": (lambda: adapter.set_power_limit(50_000), Unsupported),
            "no number of watts": (lambda: adapter.set_power_limit(float("nan")), Unsupported),
            "more than all": (lambda: adapter.set_throttle(101), Unsupported),
        },
        commands=lambda: machine.commands,
        tamper=lambda: misbehave(writes_ignored=True),
    )


@asynccontextmanager
async def _v2() -> AsyncIterator[Subject]:
    machine = Machine(m50s())
    emulator = WhatsminerEmulator(machine, clock=SystemClock(), password=PASSWORD)
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        line = LineClient(ADDRESS, port, timeout_s=TIMEOUT_S)
        adapter = WhatsminerAdapter(line, line, Credential(user=None, secret=PASSWORD), timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, emulator)
        emulator.traps = Traps()
        await adapter.close()


@asynccontextmanager
async def _v3() -> AsyncIterator[Subject]:
    machine = Machine(m50s())
    emulator = WhatsminerV3Emulator(machine, clock=SystemClock(), password=PASSWORD)
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        raw = FramedClient(ADDRESS, port, timeout_s=TIMEOUT_S)
        adapter = WhatsminerV3Adapter(raw, Credential(user=None, secret=PASSWORD), timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, emulator)
        emulator.traps = V3Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {"whatsminer v2": _v2, "whatsminer v3": _v3}
