"""Recorded machines, 25.07 and 25.11: every number that means something to us is read, in our units.

What is expected is taken from the recording itself wherever that says it once, so that the arithmetic of the
units is checked and not a copy of it; the rest is written out.
"""

from typing import Any

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.braiins import parse, parts
from firmware_adapters.miners.braiins.adapter import BraiinsAdapter
from shared.capabilities import Ability
from shared.clock import ManualClock
from shared.details import PoolState
from shared.errors import Unsupported
from shared.telemetry import MinerState, Quality
from shared.units import Algorithm
from support.web_memory import recorded, replaying

VERSIONS = ("25.07", "25.11")
PATHS = {
    "miner_details": "miner/details",
    "miner_stats": "miner/stats",
    "miner_errors": "miner/errors",
    "miner_hw_hashboards": "miner/hw/hashboards",
    "cooling_state": "cooling/state",
    "performance_tuner_state": "performance/tuner-state",
    "configuration_miner": "configuration/miner",
    "actions_locate": "actions/locate",
    "pools": "pools",
    "network": "network",
    "version": "version",
}
AFTER_LAST_SHARE_S = 12.5


def machine(version: str) -> tuple[BraiinsAdapter, dict[str, Any]]:
    """The recorded machine, asked 12.5 s after its last share."""
    pages = recorded(f"braiins/{version}")
    last = pages["miner_stats"]["pool_stats"]["last_share_time"]
    last_ms = last["seconds"] * 1000 + last["nanos"] / 1e6
    http = replaying(
        {f"/api/v1/{PATHS[name]}": page for name, page in pages.items()},
        after={"/api/v1/auth/login": {"token": "0123456789abcdef", "timeout_s": 3600}},
    )
    clock = ManualClock(utc_ms=round(last_ms + 1000 * AFTER_LAST_SHARE_S))
    key = Credential(user=None, secret="of no importance")
    return BraiinsAdapter(http, key, timeout_s=5, clock=clock), pages


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_number_of_a_sample(version: str) -> None:
    adapter, pages = machine(version)
    seen = await adapter.read()
    stats, pool = pages["miner_stats"]["miner_stats"], pages["miner_stats"]["pool_stats"]
    boards = pages["miner_hw_hashboards"]["hashboards"]
    fans = pages["cooling_state"]["fans"]
    target = pages["performance_tuner_state"]["mode_state"]["powertargetmodestate"]["current_target"]
    expected = {
        "hashrate_ths": stats["real_hashrate"]["last_5s"]["gigahash_per_second"] / 1e3,
        "hashrate_nominal_ths": stats["nominal_hashrate"]["gigahash_per_second"] / 1e3,
        "power_w": pages["miner_stats"]["power_stats"]["approximated_consumption"]["watt"],
        "power_limit_w": target["watt"],
        "chip_temp_max_c": pages["cooling_state"]["highest_temperature"]["temperature"]["degree_c"],
        "board_temp_max_c": max(board["highest_outlet_temp"]["degree_c"] for board in boards),
        "board_temp_min_c": min(board["lowest_inlet_temp"]["degree_c"] for board in boards),
        "boards_working": 3.0,
        **{f"fan_rpm.{fan['position']}": fan["rpm"] for fan in fans},
        "fan_duty_pct": 100.0,
        "shares_accepted": pool["accepted_shares"],
        "shares_rejected": pool["rejected_shares"],
        "shares_stale": pool["stale_shares"],
        "last_share_age_s": AFTER_LAST_SHARE_S,
        "uptime_s": pages["miner_details"]["system_uptime_s"],
    }
    told = {name: found.value for name, found in seen.readings.items() if found.value is not None}
    assert told == pytest.approx(expected, abs=1e-3)
    silent = set(seen.readings) - set(told)
    assert silent == {"setpoint_c", "chip_temp_min_c"}, "neither is in the recordings"
    estimates = {name for name, found in seen.readings.items() if found.quality is Quality.ESTIMATED}
    assert estimates == {"power_w", "chip_temp_max_c", "last_share_age_s"}
    assert (seen.state, seen.algorithm, seen.preset) == (MinerState.MINING, Algorithm.SHA256D, None)


async def test_the_figures_of_25_11_as_a_person_reads_them() -> None:
    adapter, _ = machine("25.11")
    told = {name: found.value for name, found in (await adapter.read()).readings.items()}
    assert told["hashrate_ths"] == pytest.approx(121.015, abs=1e-3)
    assert told["power_w"] == 2472
    assert told["power_limit_w"] == 2431, "scaled down by itself, from the 3031 of the configuration"
    assert told["chip_temp_max_c"] == 71.5
    assert told["board_temp_min_c"] == 42.0
    assert told["fan_rpm.1"] == 5819


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_number_of_the_boards(version: str) -> None:
    adapter, pages = machine(version)
    raw = {int(board["id"]): board for board in pages["miner_hw_hashboards"]["hashboards"]}
    boards = await adapter.boards()
    assert [board.index for board in boards] == [1, 2, 3]
    for board in boards:
        said = raw[board.index]
        rate = said["stats"]["real_hashrate"]["last_5s"]["gigahash_per_second"]
        assert board.working is True
        assert board.hashrate_ths == pytest.approx(rate / 1e3)
        nominal = said["stats"]["nominal_hashrate"]["gigahash_per_second"]
        assert board.hashrate_nominal_ths == pytest.approx(nominal / 1e3)
        assert board.chip_temp_max_c == said["highest_chip_temp"]["temperature"]["degree_c"]
        assert board.board_temp_max_c == said["highest_outlet_temp"]["degree_c"]
        assert board.board_temp_min_c == said["lowest_inlet_temp"]["degree_c"]
        assert board.frequency_mhz == pytest.approx(said["current_frequency"]["hertz"] / 1e6)
        assert board.voltage_v == pytest.approx(said["current_voltage"]["volt"])
        assert board.chips == said["chips_count"] == 110
        assert board.serial == said["serial_number"]
        assert (board.power_w, board.hw_errors) == (None, None), "the firmware does not tell them"


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_number_of_the_pools(version: str) -> None:
    adapter, pages = machine(version)
    raw = pages["pools"][0]["pools"]
    pools = await adapter.pools()
    assert [pool.state for pool in pools] == [PoolState.ACTIVE, PoolState.STANDBY]
    assert [pool.index for pool in pools] == [0, 1]
    for pool, said in zip(pools, raw, strict=True):
        assert (pool.url, pool.user) == (said["url"], said["user"])
        stats = said["stats"]
        assert (pool.accepted, pool.rejected, pool.stale) == (
            stats["accepted_shares"],
            stats["rejected_shares"],
            stats["stale_shares"],
        )
    assert pools[0].last_share_age_s == pytest.approx(AFTER_LAST_SHARE_S, abs=0.1)


async def test_a_pool_without_a_share_has_no_age_and_an_old_one_has_its_own() -> None:
    newer, older = machine("25.11")[0], machine("25.07")[0]
    assert (await newer.pools())[1].last_share_age_s is None
    assert (await older.pools())[1].last_share_age_s == pytest.approx(50_709, abs=1)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_facts(version: str) -> None:
    adapter, pages = machine(version)
    facts, details = await adapter.facts(), pages["miner_details"]
    assert facts.model == "Antminer S19 XP"
    assert facts.firmware == f"Braiins OS {details['bos_version']['current']}"
    assert facts.mac == details["mac_address"] == pages["network"]["mac_address"]
    assert facts.serial == (details["serial_number"] or "")
    assert facts.algorithm == "sha256d"
    assert not facts.default_password
    # Nobody recorded the page with the machine's ranges, so there is nothing to set watts by.
    assert Ability.POWER_LIMIT not in {found.ability for found in facts.capabilities}
    assert {Ability.MINING, Ability.PAUSE, Ability.LOCATE} <= {found.ability for found in facts.capabilities}
    with pytest.raises(Unsupported, match="no range"):
        await adapter.set_power_limit(2500)


async def test_the_errors_once_each_with_code_and_last_time() -> None:
    adapter, pages = machine("25.11")
    assert (await adapter.read()).faults == (), "all are of the days before, and it mines"
    of = parse.Details(model="", firmware="", mac="", serial="", state=MinerState.UNKNOWN, uptime_s=None)
    faults = parts.faults(pages["miner_errors"], of, 0)
    raw = pages["miner_errors"]["errors"]
    coded = {
        code["code"]: f"{code['reason']} (last {error['timestamp']})"
        for error in raw
        for code in error["error_codes"]
    }
    assert {fault.code: fault.words for fault in faults if fault.code} == coded
    assert set(coded) == {"H2", "V2"}
    assert coded["H2"] == "Hashboard stopped sending hashes (last 2026-02-25T00:44:34.830251Z)"
    plain = {error["message"] for error in raw if not error["error_codes"]}
    assert {fault.words.partition(" (last")[0] for fault in faults if not fault.code} == plain
    assert len(faults) == len({(fault.code, fault.words) for fault in faults}) == len(plain) + 2


async def test_errors_are_asked_rarely() -> None:
    adapter, _ = machine("25.07")
    told = [(await adapter.read()).faults for _ in range(6)]
    assert [faults is not None for faults in told] == [True, False, False, False, False, True]
