"""A recorded Bitaxe Supra: every number that means something to us is read, in our units."""

from typing import Any

import pytest

from firmware_adapters.miners.axeos.adapter import AxeosAdapter
from shared.capabilities import Ability
from shared.details import Board, Pool, PoolState
from shared.errors import Unsupported
from shared.telemetry import MinerState, Quality
from shared.units import Algorithm
from support.web_memory import recorded, replaying


def machine() -> tuple[AxeosAdapter, dict[str, Any]]:
    page = recorded("bitaxe/2.0.0")["system_info"]
    return AxeosAdapter(replaying({"/api/system/info": page}), timeout_s=5), page


async def test_every_number_of_a_sample() -> None:
    adapter, page = machine()
    seen = await adapter.read()
    assert {name: found.value for name, found in seen.readings.items() if found.value is not None} == {
        "hashrate_ths": 1.0,
        "hashrate_nominal_ths": pytest.approx(1276 * 490 / 1e6),
        "power_w": page["power"],
        "chip_temp_max_c": 59.875,
        "board_temp_max_c": 78.0,
        "voltage_v": 5.175,
        "current_a": pytest.approx(0.52125),
        "fan_rpm.0": 3517.0,
        "fan_duty_pct": 35.0,
        "shares_accepted": 0.0,
        "shares_rejected": 0.0,
        "uptime_s": 4.0,
        "boards_working": 1.0,
    }
    assert {name for name, found in seen.readings.items() if found.value is None} == {"hw_errors"}
    assert seen.readings["power_w"].quality is Quality.GOOD, "a sensor on the board measures it"
    assert seen.readings["hashrate_nominal_ths"].quality is Quality.ESTIMATED
    assert (seen.state, seen.algorithm) == (MinerState.MINING, Algorithm.SHA256D)
    assert seen.faults == ()


async def test_every_number_of_the_board() -> None:
    adapter, page = machine()
    assert await adapter.boards() == (
        Board(
            index=0,
            working=True,
            hashrate_ths=1.0,
            hashrate_nominal_ths=1276 * 490 / 1e6,
            power_w=page["power"],
            chip_temp_max_c=59.875,
            board_temp_max_c=78.0,
            frequency_mhz=490.0,
            voltage_v=1.172,
            chips=1,
        ),
    )


async def test_the_pools() -> None:
    adapter, _ = machine()
    assert await adapter.pools() == (
        Pool(index=0, url="stratum+tcp://btc.example.pool:3333", user="asic-rs.test", state=PoolState.ACTIVE),
        Pool(index=1, url="stratum+tcp://btc2.example.pool:3333", user="asic-rs.test"),
    )


async def test_the_facts() -> None:
    adapter, page = machine()
    facts = await adapter.facts()
    assert facts.model == "Bitaxe Supra (401)"
    assert facts.firmware == f"AxeOS {page['version']}"
    assert facts.mac == "aa:bb:cc:dd:ee:ff"
    assert facts.algorithm == "sha256d"
    assert {found.ability for found in facts.capabilities} == {
        Ability.TELEMETRY,
        Ability.BOARDS,
        Ability.POOLS,
        Ability.FAN_MODE,
        Ability.REBOOT,
    }
    with pytest.raises(Unsupported, match="no frequencies"):
        await adapter.set_throttle(80)
