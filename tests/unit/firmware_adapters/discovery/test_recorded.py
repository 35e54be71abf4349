"""Real machines as they were recorded, probed over sockets: identified, read, and only asked."""

from typing import Any

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.report import as_json
from shared.clock import SystemClock
from support.replay import Replay, replayed

BRAIINS_PAGES = {
    f"/api/v1/{path}": path.replace("/", "_")
    for path in (
        "version",
        "miner/details",
        "miner/stats",
        "miner/errors",
        "miner/hw/hashboards",
        "cooling/state",
        "configuration/miner",
        "performance/tuner-state",
        "network",
        "pools",
    )
} | {"/api/v1/performance/tuner-state": "performance_tuner_state"}


async def probed(host: str, machine: Replay, secret: str | None = None) -> dict[str, Any]:
    credential = Credential(user="root", secret=secret) if secret is not None else None
    async with replayed(host, machine) as port, Asker() as asker:
        found = await probe(asker, host, port, Look(credential=credential), SystemClock())
    assert found.examined is not None
    assert found.examined.observation is not None, found.examined.not_read
    assert not [
        asked for asked in machine.asked if asked.startswith("POST") and asked != f"POST {machine.login}"
    ]
    return as_json(found)


async def test_a_recorded_luxos_machine() -> None:
    told = await probed("127.89.0.1", Replay("luxos/v1", {}))
    assert told["identification"]["adapter"] == "luxos"
    assert told["device"]["mac"].lower() == "62:f7:5e:b7:10:46"
    sample = told["sample"]
    assert sample["hashrate_ths"] == pytest.approx(59.756, rel=0.01)
    assert sample["power_w"] == 1051
    assert sample["efficiency_j_per_th"] == pytest.approx(1051 / sample["hashrate_ths"])
    assert (sample["shares_accepted"], sample["shares_rejected"]) == (1483, 1)
    assert sample["is_hashing"] is True
    assert len(told["boards"]) == 3
    assert told["warnings"] == []


async def test_a_recorded_stock_antminer() -> None:
    pages = {"/cgi-bin/get_system_info.cgi": "system_info"}
    told = await probed("127.89.0.2", Replay("antminer-stock/v2020", pages))
    assert told["identification"]["adapter"] == "antminer"
    sample = told["sample"]
    assert sample["hashrate_ths"] == pytest.approx(110.567, rel=0.001)
    assert (sample["shares_accepted"], sample["shares_rejected"], sample["hw_errors"]) == (4057, 11, 562)
    assert sample["power_w"] is None, "stock firmware tells no watts"
    assert sample["efficiency_j_per_th"] is None
    assert sorted(sample["fan_rpm"]) == [5040, 5040, 5880, 6000]


async def test_a_recorded_whatsminer() -> None:
    told = await probed("127.89.0.3", Replay("whatsminer/v2", {}))
    assert told["identification"]["adapter"] == "whatsminer"
    assert told["device"]["mac"].lower() == "d4:01:02:03:04:05"
    sample = told["sample"]
    assert sample["hashrate_ths"] == pytest.approx(124.5, rel=0.01)
    assert sample["power_w"] == 3200
    assert sample["chip_temp_max_c"] == 81.0
    assert sample["fan_rpm"]
    assert sample["is_hashing"] is True


async def test_a_recorded_avalon() -> None:
    told = await probed("127.89.0.4", Replay("avalon/v1", {}))
    assert told["identification"]["adapter"] == "avalon"
    assert "Avalon" in told["device"]["model"]
    assert told["sample"]["shares_accepted"] == 890


@pytest.mark.parametrize("version", ["25.07", "25.11"])
async def test_a_recorded_braiins_machine(version: str) -> None:
    machine = Replay(f"braiins/{version}", BRAIINS_PAGES, login="/api/v1/auth/login")
    told = await probed("127.89.0.5", machine, secret="its-own-word")
    assert told["identification"]["adapter"] == "braiins"
    assert told["identification"]["confidence"] >= 0.85
    assert version in told["device"]["firmware"]
    assert told["sample"]["hashrate_ths"] > 0
    assert told["sample"]["is_hashing"] is True
    assert told["warnings"] == []


async def test_a_recorded_bitaxe() -> None:
    told = await probed("127.89.0.6", Replay("bitaxe/2.0.0", {"/api/system/info": "system_info"}))
    assert told["identification"]["adapter"] == "axeos"
    sample = told["sample"]
    assert sample["power_w"] == pytest.approx(2.65, rel=0.001)
    assert sample["chip_temp_max_c"] == pytest.approx(59.875)
    assert sample["fan_rpm"] == [3517]
    assert told["device"]["mac"].lower() == "aa:bb:cc:dd:ee:ff"
