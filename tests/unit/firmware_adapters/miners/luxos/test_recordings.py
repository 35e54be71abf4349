"""A recorded S19k Pro on LuxOS: every number that means something to us is read, in our units."""

import json
from typing import Any

import pytest

from firmware_adapters.miners.luxos import parse
from firmware_adapters.miners.luxos.adapter import LuxosAdapter
from firmware_adapters.transport.line_json import Body, MemoryLine
from shared.capabilities import Ability
from shared.details import Board, Pool, PoolState
from shared.telemetry import MISSING, MinerState, Quality
from shared.units import Algorithm
from support.web_memory import recorded


class Replay(MemoryLine):
    """The recorded socket; replies to a command about one board are kept under `command_board`."""

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        return await super().ask(command if parameter is None else f"{command}_{parameter}")


def machine() -> tuple[LuxosAdapter, dict[str, Any]]:
    pages = recorded("luxos/v1")
    line = Replay({name: json.dumps(page).encode() + b"\x00" for name, page in pages.items()})
    return LuxosAdapter(line, timeout_s=5), pages


async def test_every_number_of_a_sample() -> None:
    adapter, _ = machine()
    seen = await adapter.read()
    assert {name: (found.value, found.quality) for name, found in seen.readings.items()} == {
        "hashrate_ths": (pytest.approx(59.75606), Quality.GOOD),
        "hashrate_nominal_ths": (pytest.approx(61.9542), Quality.GOOD),
        "power_w": (1051.0, Quality.ESTIMATED),
        "chip_temp_min_c": (None, Quality.MISSING),
        "chip_temp_max_c": (None, Quality.MISSING),
        "board_temp_min_c": (33.0, Quality.GOOD),
        "board_temp_max_c": (47.0, Quality.GOOD),
        "fan_rpm.0": (1920.0, Quality.GOOD),
        "fan_rpm.1": (1920.0, Quality.GOOD),
        "fan_rpm.2": (2340.0, Quality.GOOD),
        "fan_rpm.3": (2340.0, Quality.GOOD),
        "fan_duty_pct": (20.0, Quality.GOOD),
        "hw_errors": (0.0, Quality.GOOD),
        "shares_accepted": (1483.0, Quality.GOOD),
        "shares_rejected": (1.0, Quality.GOOD),
        "shares_stale": (0.0, Quality.GOOD),
        "last_share_age_s": (1.0, Quality.GOOD),
        "uptime_s": (3453.0, Quality.GOOD),
        "boards_working": (3.0, Quality.GOOD),
        "preset_w": (1188.0, Quality.GOOD),
    }
    assert seen.state is MinerState.AUTO_TUNING, "it tunes, at full power"
    assert seen.preset == "290MHz"
    assert seen.algorithm is Algorithm.SHA256D


async def test_chip_temperatures_that_are_copies_of_the_boards_are_none() -> None:
    adapter, pages = machine()
    seen = await adapter.read()
    assert seen.readings["chip_temp_max_c"] == MISSING
    assert pages["stats"]["STATS"][1]["temp_chip1"] == pages["stats"]["STATS"][1]["temp_pcb1"]


async def test_events_of_two_days_ago_are_no_faults_of_a_machine_that_hashes() -> None:
    adapter, _ = machine()
    assert (await adapter.read()).faults == ()


def test_every_event_of_a_machine_that_does_not_hash_is_told() -> None:
    found = parse.faults(recorded("luxos/v1")["events"], 0, broken=True)
    assert [(one.code, one.words) for one in found] == [
        (
            "NOPIC_PROTECTION",
            "Miner shutdown due to NOPIC protection. (MINER, 2026-04-08T03:38:27+00:00)",
        ),
        (
            "REBOOT_NOT_HASHING",
            "Board reboot due to it not hashing. (BOARD, 2026-04-08T03:38:27+00:00)",
        ),
    ]


async def test_every_number_of_the_boards() -> None:
    adapter, _ = machine()
    rates = {0: 19.77382571692016, 1: 19.2305887466751, 2: 20.751652263361264}
    serials = {0: "JYZZYRSBDJEBI06Z5", 1: "JYZZYRSBDJEBI06ZM", 2: "JYZZYRSBDJEBI06ZR"}
    assert await adapter.boards() == tuple(
        Board(
            index=index,
            working=True,
            hashrate_ths=pytest.approx(rates[index]),
            hashrate_nominal_ths=pytest.approx(20.6514),
            board_temp_min_c=33.0 if index == 1 else 34.0,
            board_temp_max_c=47.0,
            frequency_mhz=300.0,
            voltage_v=11.88,
            hw_errors=0.0,
            chips=77,
            serial=serials[index],
        )
        for index in range(3)
    )
    assert sum(rates.values()) == pytest.approx(59.75606, abs=1e-4), "the total is the sum of the boards"


async def test_every_chip() -> None:
    adapter, pages = machine()
    chips = await adapter.chips()
    assert len(chips) == 3 * 77
    recorded_chips = [chip for board in range(3) for chip in pages[f"healthchipget_{board}"]["CHIPS"]]
    for found, told in zip(chips, recorded_chips, strict=True):
        assert (found.board, found.index) == (told["Board"], told["Chip"])
        assert found.hashrate_ths == pytest.approx(told["GHS 15m"] / 1000)
        assert found.frequency_mhz == told["Frequency"] == 300
        assert found.grade == f"healthy {told['Score']:g}"


async def test_every_number_of_the_pools() -> None:
    adapter, pages = machine()
    told = pages["pools"]["POOLS"]
    assert await adapter.pools() == tuple(
        Pool(
            index=index,
            url=told[index]["URL"],
            user=told[index]["User"],
            state=PoolState.ACTIVE if accepted else PoolState.DEAD,
            accepted=accepted,
            rejected=rejected,
            stale=0.0,
            last_share_age_s=1.0 if accepted else None,
        )
        for index, accepted, rejected in ((0, 724.0, 0.0), (1, 0.0, 0.0), (2, 759.0, 1.0), (3, 0.0, 0.0))
    )


async def test_who_it_is_and_its_whole_ladder() -> None:
    adapter, pages = machine()
    facts = await adapter.facts()
    assert (facts.model, facts.firmware) == ("Antminer S19k Pro", "2025.4.8.220305-57b389c7")
    assert (facts.mac, facts.serial) == ("62:f7:5e:b7:10:46", "JYZZB0UBDJABF06RB")
    assert facts.algorithm == Algorithm.SHA256D
    assert Ability.MINING in {one.ability for one in facts.capabilities}
    told = pages["profiles"]["PROFILES"]
    assert [(rung.name, rung.power_w, rung.hashrate_ths) for rung in facts.presets] == [
        (one["Profile Name"], one["Watts"], one["Hashrate"]) for one in told
    ]
    assert [rung.tuned for rung in facts.presets] == [int(one["Step"]) <= 0 for one in told]
    assert facts.presets[0].power_w == 784
    assert facts.presets[-1].power_w == 4195


def test_the_configuration() -> None:
    assert parse.config(recorded("luxos/v1")["config"]) == parse.Config(
        model="Antminer S19k Pro",
        mac="62:f7:5e:b7:10:46",
        serial="JYZZB0UBDJABF06RB",
        profile="290MHz",
        tuning=True,
        asleep=False,
        supply_on=True,
        atm_on=True,
        air=True,
    )
