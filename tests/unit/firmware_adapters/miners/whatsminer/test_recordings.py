"""A recorded Whatsminer (API 2.0.5): every number in it that has a meaning here."""

from firmware_adapters.miners.whatsminer import parse, parts
from firmware_adapters.miners.whatsminer.adapter import WhatsminerAdapter
from firmware_adapters.transport.line_json import MemoryLine, decode
from firmware_adapters.transport.raw import MemoryRaw
from shared.details import Board, Fault, Pool, PoolState
from shared.telemetry import MinerState, Quality
from shared.units import Algorithm
from support.recordings import recorded_line

FOLDER = "whatsminer/v2"


def adapter() -> tuple[WhatsminerAdapter, MemoryLine]:
    async def nothing(_: bytes) -> bytes:
        raise AssertionError("reading writes nothing")

    line = recorded_line(FOLDER)
    return WhatsminerAdapter(line, MemoryRaw(nothing), None, timeout_s=5), line


async def test_the_sample() -> None:
    device, line = adapter()
    seen = await device.read()
    assert {point: found.value for point, found in seen.readings.items()} == {
        "hashrate_ths": 124.5,
        "hashrate_nominal_ths": 126.0,
        "power_w": 3200.0,
        "power_limit_w": 3300.0,
        "chip_temp_max_c": 81.0,
        "chip_temp_min_c": 62.0,
        "board_temp_max_c": 67.0,
        "board_temp_min_c": 65.0,
        "fan_rpm.0": 5400.0,
        "fan_rpm.1": 5280.0,
        "air_temp_c": 28.5,
        "uptime_s": 25_500.0,
        "shares_accepted": 5412.0,
        "shares_rejected": 0.0,
        "boards_working": 3.0,
    }
    estimated = {point for point, found in seen.readings.items() if found.quality is Quality.ESTIMATED}
    assert estimated == {"power_w", "hashrate_nominal_ths"}
    assert seen.state is MinerState.MINING
    assert (seen.preset, seen.preset_requested) == ("normal", "low")
    assert seen.algorithm is Algorithm.SHA256D
    assert seen.faults == ()
    assert line.asked == ["status", "summary", "devs", "get_error_code", "pools", "get_psu"]


async def test_the_boards() -> None:
    device, _ = adapter()
    serial = "BHM5CSD1302803K3000"
    rates, hot, cool, pcb = (41.5, 41.8, 41.7), (80.0, 81.0, 81.0), (62.0, 63.0, 62.5), (65.0, 66.0, 67.0)
    assert await device.boards() == tuple(
        Board(
            index=slot,
            working=True,
            hashrate_ths=rates[slot],
            hashrate_nominal_ths=42.0,
            chip_temp_max_c=hot[slot],
            chip_temp_min_c=cool[slot],
            board_temp_max_c=pcb[slot],
            board_temp_min_c=pcb[slot],
            frequency_mhz=600.0,
            chips=135,
            serial=f"{serial}{slot + 1}",
        )
        for slot in range(3)
    )


async def test_the_pools() -> None:
    device, _ = adapter()
    assert await device.pools() == tuple(
        Pool(
            index=number,
            url=f"stratum+tcp://btc{number if number > 1 else ''}.example.pool:3333",
            user="asic-rs.test",
            state=PoolState.ACTIVE if number == 1 else PoolState.STANDBY,
            accepted=5412.0 if number == 1 else 0.0,
            rejected=0.0,
        )
        for number in (1, 2, 3)
    )


async def test_who_it_is() -> None:
    device, _ = adapter()
    facts = await device.facts()
    assert (facts.model, facts.firmware, facts.mac) == ("Whatsminer", "20230803.11.REL", "d4:01:02:03:04:05")
    assert not facts.default_password


async def test_the_faults() -> None:
    line = recorded_line(FOLDER)
    assert parse.faults(decode(line.replies["get_error_code"])) == ()
    assert parse.faults(decode(line.replies["get_error_code_with_errors"])) == (
        Fault(code="218", words="power supply: 2024-06-15 10:30:00"),
        Fault(code="110", words="fans: 2024-06-15 09:15:00"),
    )


async def test_any_field_may_be_missing_and_costs_only_itself() -> None:
    """Each key of the recorded summary taken away in turn: every other reading stays what it is."""
    line = recorded_line(FOLDER)
    body = decode(line.replies["summary"])
    told = body["SUMMARY"]
    assert isinstance(told, list)
    whole = parse.summary(body).readings
    changed = {}
    for key in told[0]:
        less = {name: value for name, value in told[0].items() if name != key}
        found = parse.summary({**body, "SUMMARY": [less]}).readings
        changed[key] = {point for point in whole if found.get(point) != whole[point]}
    assert max(len(points) for points in changed.values()) == 1, changed
    assert set().union(*changed.values()) >= {"hashrate_ths", "power_w", "chip_temp_max_c", "fan_rpm.0"}


async def test_a_board_less_is_no_zero() -> None:
    line = recorded_line(FOLDER)
    body = decode(line.replies["devs"])
    assert isinstance(body["DEVS"], list)
    assert (
        parts.readings_of_boards(parts.boards({**body, "DEVS": body["DEVS"][:2]}))["boards_working"].value
        == 2
    )
    none = parts.readings_of_boards(parts.boards({**body, "DEVS": []}))
    assert none == {}
