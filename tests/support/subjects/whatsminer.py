"""Whatsminers in front of the contract suite: both APIs, loopback sockets, real encryption on both sides."""

from collections.abc import AsyncIterator, Callable
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
from shared.errors import Unsupported
from shared.telemetry import MinerState
from support.adapter_conditions import Conditions, Conflict, Heard, LostLogin, WrongClock
from support.adapter_contract import (
    Opening,
    Subject,
    Write,
    miner_conditions,
    mining_writes,
    wire_faults,
)
from support.miners import Machine, on_loopback, s21_pro

ADDRESS = "127.7.4.1"
TIMEOUT_S = 0.4
PASSWORD = "no longer the default"
_THROTTLES = ("set_power_pct", "set.miner.power_percent")


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


def _lost(emulator: WhatsminerEmulator | WhatsminerV3Emulator) -> LostLogin:
    """Tokens of v2 are kept by both sides; v3 signs each command by itself, with a salt that may change."""
    heard = emulator.asked
    if isinstance(emulator, WhatsminerEmulator):
        vault = emulator.vault

        def forget() -> None:
            vault.tokens = []

        return LostLogin(
            begin=forget,
            logins=lambda: heard.count("get_token"),
            by_write=True,
            refuse=lambda: vault.change("another one"),
            # The first write still has a token of the old password, whose refusal says that it is wrong.
        )
    third = emulator

    def resalt() -> None:
        third._salt = f"{third._salt[:-1]}{chr(ord(third._salt[-1]) % 64 + 48)}"

    def refuse() -> None:
        third.password = "another one"

    return LostLogin(
        begin=resalt,
        logins=lambda: sum(found.startswith("set.") for found in heard),
        by_write=True,
        refuse=refuse,
    )


def _conditions(
    adapter: WhatsminerAdapter | WhatsminerV3Adapter,
    machine: Machine,
    emulator: WhatsminerEmulator | WhatsminerV3Emulator,
    misbehave: Callable[..., None],
    clock: WrongClock,
) -> Conditions:
    return miner_conditions(
        machine,
        emulator,
        misbehave,
        clock=clock,
        lost_login=_lost(emulator),
        conflict=Conflict(
            begin=lambda: machine.set(state=MinerState.STOPPED),
            do=lambda: adapter.set_throttle(60),
            told=lambda: sum(emulator.asked.count(name) for name in _THROTTLES),
            changed=lambda: (list(machine.commands), machine.seen.throttle_pct),
        ),
        heard=Heard(),
        forget=lambda: _lost(emulator).begin(),
    )


def _subject(
    adapter: WhatsminerAdapter | WhatsminerV3Adapter,
    machine: Machine,
    emulator: WhatsminerEmulator | WhatsminerV3Emulator,
    clock: WrongClock,
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
        conditions=_conditions(adapter, machine, emulator, misbehave, clock),
        tamper=lambda: misbehave(writes_ignored=True),
    )


@asynccontextmanager
async def _v2() -> AsyncIterator[Subject]:
    machine = Machine(m50s())
    clock = WrongClock()
    emulator = WhatsminerEmulator(machine, clock=clock, password=PASSWORD)
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        line = LineClient(ADDRESS, port, timeout_s=TIMEOUT_S)
        adapter = WhatsminerAdapter(line, line, Credential(user=None, secret=PASSWORD), timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, emulator, clock)
        emulator.traps = Traps()
        await adapter.close()


@asynccontextmanager
async def _v3() -> AsyncIterator[Subject]:
    machine = Machine(m50s())
    clock = WrongClock()
    emulator = WhatsminerV3Emulator(machine, clock=clock, password=PASSWORD)
    async with on_loopback({ADDRESS: emulator}) as (_, port):
        raw = FramedClient(ADDRESS, port, timeout_s=TIMEOUT_S)
        adapter = WhatsminerV3Adapter(raw, Credential(user=None, secret=PASSWORD), timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, emulator, clock)
        emulator.traps = V3Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {"whatsminer v2": _v2, "whatsminer v3": _v3}
