"""Every number of a machine's pages that has a meaning in our sample, worked out here a second time.

Over the emulator's pages always, and over each recording in `../shared/recordings/vnish/<version>/` where
there is one (file names as the paths: `summary.json`, `perf-summary.json`, `chains_factory-info.json`).
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.vnish import boards as parts
from firmware_adapters.miners.vnish import ladder, parse
from firmware_adapters.miners.vnish.pools import pools
from shared.clock import ManualClock
from shared.telemetry import MinerState, Quality
from support.miners import Machine, s21_pro
from support.recordings import RECORDINGS
from support.vnish import emulator_of

FOLDER = RECORDINGS / "vnish"
RECORDED = sorted(found for found in FOLDER.glob("*") if found.is_dir())
SCALE = {"GH/s": 1e-3, "MH/s": 1e-6}
EMULATED = [
    (version, state)
    for version in ("1.2.0-beta10", "1.2.0-rc5", "1.2.7", "1.3.4")
    for state in (MinerState.MINING, MinerState.AUTO_TUNING, MinerState.STOPPED, MinerState.FAILURE)
]


def emulated(version: str, state: MinerState) -> dict[str, Any]:
    view = s21_pro(state=state, other_pools=(PoolView(url="b", shares_accepted=3),), shares_stale=2)
    emulator = emulator_of(Machine(view), ManualClock(), version=version)
    said = {
        path: emulator.answer("GET", f"/api/v1/{path}", {}, b"")
        for path in ("info", "status", "summary", "perf-summary", "chains/factory-info")
    }
    return {path: json.loads(page.body) for path, page in said.items() if page.status == 200}


def recorded(folder: Path) -> dict[str, Any]:
    pages = {file.stem.replace("_", "-"): json.loads(file.read_bytes()) for file in folder.glob("*.json")}
    named = {name.removeprefix("api-v1-"): page for name, page in pages.items()}
    return {name.replace("chains-factory", "chains/factory"): page for name, page in named.items()}


@pytest.mark.parametrize(("version", "state"), EMULATED)
def test_emulated_pages_mean_what_they_say(version: str, state: MinerState) -> None:
    means_what_it_says(emulated(version, state))


def test_recorded_pages_mean_what_they_say() -> None:
    if not RECORDED:
        pytest.skip(f"no recordings of VNish in {FOLDER}")
    for folder in RECORDED:
        means_what_it_says(recorded(folder))


def means_what_it_says(pages: dict[str, Any]) -> None:
    """Assert the whole meaning of whichever pages there are."""
    unit = None
    if "info" in pages:
        info = parse.identity(pages["info"])
        unit = info.hash_unit
        assert info.firmware.version == pages["info"]["fw_version"]
        assert info.mac == pages["info"]["system"]["network_status"]["mac"].lower()
        assert info.uptime_s is not None
    if "status" in pages:
        assert parse.status(pages["status"]).state.value == pages["status"]["miner_state"]
    if "perf-summary" in pages:
        current = pages["perf-summary"]["current_preset"]
        assert ladder.running(pages["perf-summary"]).preset == (current and current["name"])
    miner = pages.get("summary", {}).get("miner")
    if miner is not None:
        readings = parse.summary(pages["summary"], unit)
        told = {name: reading.value for name, reading in readings.items()}
        _rates_and_watts(miner, told, SCALE[unit or ""])
        _temperatures(miner, told)
        _fans(miner, told)
        _shares(miner, told)
        assert readings["chip_temp_max_c"].quality in (Quality.ESTIMATED, Quality.MISSING)
        _boards(pages, SCALE[unit or ""], unit)


def _rates_and_watts(miner: dict[str, Any], told: dict[str, float | None], scale: float) -> None:
    assert told["hashrate_ths"] == pytest.approx(miner["hr_realtime"] * scale)
    if "hr_nominal" in miner:
        assert told["hashrate_nominal_ths"] == pytest.approx(miner["hr_nominal"] * scale)
    assert told["power_w"] == pytest.approx(miner.get("power_consumption", miner.get("power_usage")))
    assert told["hw_errors"] == miner["hw_errors"]


def _temperatures(miner: dict[str, Any], told: dict[str, float | None]) -> None:
    for ours, theirs in (("chip", "chip_temp"), ("board", "pcb_temp")):
        whole = miner[theirs]
        if (whole["min"], whole["max"]) == (0, 0):
            assert told[f"{ours}_temp_max_c"] is None
            continue
        if not any("pcb_temp_sens" in chain for chain in miner["chains"]):
            assert told[f"{ours}_temp_max_c"] == whole["max"]
            assert told[f"{ours}_temp_min_c"] == whole["min"]


def _fans(miner: dict[str, Any], told: dict[str, float | None]) -> None:
    cooling = miner["cooling"]
    turning = {name: value for name, value in told.items() if name.startswith("fan_rpm.")}
    if cooling["settings"]["mode"]["name"] == "immersion":
        assert turning == {}
        return
    assert Counter(turning.values()) == Counter(fan["rpm"] for fan in cooling["fans"])
    if cooling["fans"]:
        assert told["fan_duty_pct"] == cooling["fan_duty"]


def _shares(miner: dict[str, Any], told: dict[str, float | None]) -> None:
    own = [pool for pool in miner["pools"] if pool["pool_type"] != "DevFee"]
    for word in ("accepted", "rejected", "stale"):
        expected = sum(pool[word] for pool in own) if own else None
        assert told[f"shares_{word}"] == expected


def _boards(pages: dict[str, Any], scale: float, unit: str | None) -> None:
    chains = pages["summary"]["miner"]["chains"]
    found = parts.boards(pages["summary"], pages.get("chains/factory-info"), unit)
    assert [board.index for board in found] == [chain["id"] for chain in chains]
    for board, chain in zip(found, chains, strict=True):
        assert board.hashrate_ths == pytest.approx(chain["hashrate_rt"] * scale)
        assert board.power_w == chain.get("power_consumption", chain.get("power_usage"))
        assert board.voltage_v == pytest.approx(chain["voltage"] / 1000)
        assert board.frequency_mhz == chain["frequency"]
        assert board.hw_errors == chain["hw_errors"]
    assert len(pools(pages["summary"])) == len(pages["summary"]["miner"]["pools"])
