"""Kin of the Bitaxe and later releases: NerdQAxe++, a second page, a second fan, current of two rails."""

from typing import Any

import msgspec
import pytest

from firmware_adapters.capabilities import WRITES
from firmware_adapters.identify import Findings, Page, Trust
from firmware_adapters.miners.axeos import identify, parse
from firmware_adapters.miners.axeos.adapter import AxeosAdapter
from firmware_adapters.transport.http import MemoryHttp
from shared.details import PoolState
from shared.errors import Unsupported
from shared.inventory import AcceptedFirmware
from shared.telemetry import MISSING, MinerState, Reading
from support.web_memory import replaying

INFO, ASIC = "/api/system/info", "/api/system/asic"

NERDQAXE: dict[str, Any] = {
    "asicCount": 4,
    "ASICModel": "BM1370",
    "deviceModel": "NerdQAxe++",
    "power": 76.4,
    "voltage": 12061,
    "current": 6340,
    "temp": 57.5,
    "vrTemp": 61,
    "boardtemp1": 45.2,
    "boardtemp2": 47.9,
    "hashRate": 4812.3,
    "coreVoltage": 1150,
    "coreVoltageActual": 1146,
    "frequency": 600,
    "smallCoreCount": 2040,
    "sharesAccepted": 1210,
    "sharesRejected": 4,
    "duplicateHWNonces": 2,
    "isUsingFallbackStratum": False,
    "isStratumConnected": True,
    "fanspeed": 55,
    "fanrpm": 2980,
    "autofanspeed": 2,
    "pidTargetTemp": 55,
    "overheat_temp": 70,
    "stratumURL": "a.pool",
    "stratumPort": 3333,
    "stratumUser": "u",
    "fallbackStratumURL": "b.pool",
    "fallbackStratumPort": 3334,
    "fallbackStratumUser": "u2",
    "shutdown": False,
    "uptimeSeconds": 7777,
    "version": "v1.0.35",
    "macAddr": "34:85:18:00:00:01",
    "stratum": {
        "poolMode": 0,
        "pools": [
            {
                "connected": True,
                "host": "a.pool",
                "port": 3333,
                "user": "u",
                "accepted": 1200,
                "rejected": 4,
            },
            {"connected": False, "host": "b.pool", "port": 3334, "accepted": 10, "rejected": 0},
        ],
    },
}
GAMMA: dict[str, Any] = {
    "ASICModel": "BM1370",
    "hashRate": 1225.4,
    "power": 18.2,
    "frequency": 525,
    "smallCoreCount": 2040,
    "coreVoltage": 1150,
    "version": "v2.4.0",
    "boardVersion": "800",
}
GAMMA_ASIC = {"ASICModel": "BM1370", "deviceModel": "GammaTurbo", "asicCount": 2, "defaultFrequency": 525}


def nerdqaxe(**changes: object) -> dict[str, Any]:
    return {**NERDQAXE, **changes}


def told(page: dict[str, Any]) -> dict[str, Reading]:
    return parse.readings(page)


def machine(info: object, asic: object | None = None) -> tuple[AxeosAdapter, MemoryHttp]:
    http = replaying({INFO: info} if asic is None else {INFO: info, ASIC: asic})
    return AxeosAdapter(http, timeout_s=5), http


# ---------------------------------------------------------------- the second page


async def test_what_the_first_page_lacks_is_taken_from_the_second() -> None:
    adapter, http = machine(GAMMA, GAMMA_ASIC)
    seen = await adapter.read()
    assert seen.readings["hashrate_nominal_ths"].value == pytest.approx(2 * 2040 * 525 / 1e6)
    (board,) = await adapter.boards()
    assert (board.chips, board.hashrate_nominal_ths) == (2, pytest.approx(2 * 2040 * 525 / 1e6))
    assert (await adapter.facts()).model == "Bitaxe GammaTurbo (800)"
    for _ in range(3):
        await adapter.read()
    assert [request.path for request in http.requests].count(ASIC) == 2, "once, and again with the facts"


async def test_the_first_page_goes_before_the_second() -> None:
    adapter, _ = machine({**GAMMA, "asicCount": 1, "deviceModel": "Gamma"}, GAMMA_ASIC)
    (board,) = await adapter.boards()
    assert board.chips == 1
    assert (await adapter.facts()).model == "Bitaxe Gamma (800)"


async def test_a_value_that_is_null_on_the_first_page_is_one_that_it_lacks() -> None:
    adapter, _ = machine({**GAMMA, "asicCount": None, "deviceModel": ""}, GAMMA_ASIC)
    (board,) = await adapter.boards()
    assert board.chips == 2


async def test_a_release_without_the_second_page_is_read_from_the_first() -> None:
    adapter, _ = machine(GAMMA)
    assert (await adapter.read()).readings["hashrate_nominal_ths"] == MISSING
    (board,) = await adapter.boards()
    assert board.chips is None
    assert (await adapter.facts()).model == "Bitaxe Gamma (800)"


def test_chips_that_are_only_listed_are_counted() -> None:
    assert parse.chip_count({"hashrateMonitor": {"asics": [{}, {}]}}) == 2
    assert parse.chip_count({"hashrateMonitor": {"asics": []}}) is None


# ---------------------------------------------------------------- NerdQAxe++


def test_its_own_board_sensors_are_told_beside_the_regulator() -> None:
    found = told(nerdqaxe())
    assert found["board_temp_min_c"] == Reading(45.2)
    assert found["board_temp_max_c"] == Reading(61.0), "the hottest thing on the board is its regulator"
    assert found["psu_temp_c"] == Reading(61.0)
    board = parse.board(nerdqaxe())
    assert (board.board_temp_min_c, board.board_temp_max_c) == (45.2, 47.9)


def test_without_board_sensors_the_regulator_stands_for_the_board() -> None:
    page = nerdqaxe(boardtemp1=0, boardtemp2=-1)
    assert told(page)["board_temp_max_c"] == Reading(61.0)
    assert "board_temp_min_c" not in told(page)
    assert "psu_temp_c" not in told(page)
    assert parse.board(page).board_temp_max_c == 61.0


def test_the_fan_holds_a_temperature_only_in_its_own_mode() -> None:
    assert told(nerdqaxe())["setpoint_c"] == Reading(55.0)
    for mode in (0, 1, False, None):
        assert "setpoint_c" not in told(nerdqaxe(autofanspeed=mode))


def test_nonces_that_came_twice_are_hardware_errors() -> None:
    assert told(nerdqaxe())["hw_errors"] == Reading(2.0)
    assert parse.board(nerdqaxe()).hw_errors == 2


def test_shares_of_each_pool() -> None:
    first, second = parse.pools(nerdqaxe())
    assert (first.url, first.user, first.accepted, first.rejected) == (
        "stratum+tcp://a.pool:3333",
        "u",
        1200,
        4,
    )
    assert (second.url, second.user, second.accepted, second.rejected) == (
        "stratum+tcp://b.pool:3334",
        "u2",
        10,
        0,
    )
    assert (first.state, second.state) == (PoolState.ACTIVE, PoolState.UNKNOWN)


def test_two_pools_that_are_worked_for_at_once() -> None:
    pools = [{"connected": True, "accepted": 7}, {"connected": True, "accepted": 5}]
    page = nerdqaxe(stratum={"poolMode": 1, "pools": pools})
    found = parse.pools(page)
    assert [(one.url, one.state, one.accepted) for one in found] == [
        ("stratum+tcp://a.pool:3333", PoolState.ACTIVE, 7),
        ("stratum+tcp://b.pool:3334", PoolState.ACTIVE, 5),
    ]


def test_a_pool_without_a_connection_is_not_worked_for() -> None:
    page = nerdqaxe(isStratumConnected=False, stratum=None)
    assert [pool.state for pool in parse.pools(page)] == [PoolState.UNKNOWN, PoolState.UNKNOWN]


def test_shares_that_only_the_pools_count_are_added_up() -> None:
    page = nerdqaxe()
    del page["sharesAccepted"], page["sharesRejected"]
    assert told(page)["shares_accepted"] == Reading(1210.0)
    assert told(page)["shares_rejected"] == Reading(4.0)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"shutdown": True, "hashRate": 0, "power": 0.4}, MinerState.STOPPED),
        ({"shutdown": 1, "hashRate": 0}, MinerState.STOPPED),
        ({"shutdown": True, "hashRate": 12.0}, MinerState.STOPPED),
        ({"shutdown": True, "hashRate": 4800.0}, MinerState.SHUTTING_DOWN),
        ({"shutdown": True, "hashRate": None}, MinerState.STOPPED),
        ({"miningPaused": True, "hashRate": 0}, MinerState.STOPPED),
        ({"miningPaused": True, "hashRate": 4800.0}, MinerState.SHUTTING_DOWN),
        ({"miningPaused": False, "hashRate": 0}, MinerState.UNKNOWN),
        ({"shutdown": True, "hashRate": 0, "overheat_mode": 1}, MinerState.FAILURE),
        ({"shutdown": False, "hashRate": 0}, MinerState.UNKNOWN),
        ({"shutdown": "?", "hashRate": 0}, MinerState.UNKNOWN),
        ({"shutdown": False}, MinerState.MINING),
    ],
)
def test_a_machine_that_was_shut_down_is_stopped_unless_it_hashes(
    changes: dict[str, object], state: MinerState
) -> None:
    assert parse.state(nerdqaxe(**changes)) is state


# ---------------------------------------------------------------- volts and amperes


@pytest.mark.parametrize(
    ("volts", "amperes", "watts", "found"),
    [
        (5175, 521.25, 2.65, (5.175, 0.52125)),
        (12061, 6340, 76.4, (12.061, 6.34)),
        (12.061, 6.34, 76.4, (12.061, 6.34)),
        (5115.6, 14312.5, 18.2, (5.1156, None)),
        (5115.6, 0, 0, (5.1156, 0.0)),
        (None, 521.25, 2.65, (None, None)),
        (5175, 521.25, None, (5.175, None)),
    ],
)
def test_a_current_that_is_not_the_supplys_is_not_told_as_such(
    volts: float | None, amperes: float, watts: float | None, found: tuple[float | None, float | None]
) -> None:
    """Some boards measure it behind the regulator: at the core's voltage, not at the plug's."""
    seen = told(nerdqaxe(voltage=volts, current=amperes, power=watts, hashRate=0 if watts == 0 else 1000))
    shown = seen["voltage_v"].value, seen["current_a"].value
    assert shown == (pytest.approx(found[0]), pytest.approx(found[1]))


# ---------------------------------------------------------------- a second fan and chip


async def test_a_second_fan_that_never_turned_is_not_there() -> None:
    page: dict[str, Any] = nerdqaxe(fan2rpm=0)
    adapter, _ = machine(page)
    assert "fan_rpm.1" not in (await adapter.read()).readings


async def test_a_second_fan_that_has_turned_and_stands_still_is_told() -> None:
    pages: dict[str, Any] = {INFO: nerdqaxe(fan2rpm=3000)}
    adapter = AxeosAdapter(replaying(pages), timeout_s=5)
    assert (await adapter.read()).readings["fan_rpm.1"] == Reading(3000.0)
    pages[INFO] = nerdqaxe(fan2rpm=0)
    assert (await adapter.read()).readings["fan_rpm.1"] == Reading(0.0)


def test_of_two_chips_the_cooler_one_is_told_too() -> None:
    found = told(nerdqaxe(temp=59, temp2=64))
    assert (found["chip_temp_min_c"], found["chip_temp_max_c"]) == (Reading(59.0), Reading(64.0))
    assert "chip_temp_min_c" not in told(nerdqaxe(temp2=-1))


def test_a_scan_calls_it_what_its_adapter_does() -> None:
    page = Page(status=200, body=msgspec.json.encode(NERDQAXE))
    guess = identify.recognise(Findings(pages={INFO: page}))
    assert guess is not None
    assert guess.model == parse.identity(NERDQAXE).model == "NerdQAxe++"


@pytest.mark.parametrize(
    ("told_name", "model"),
    [
        ("Gamma", "Bitaxe Gamma"),
        ("GammaTurbo", "Bitaxe GammaTurbo"),
        ("SupraHex", "Bitaxe SupraHex"),
        ("NerdQAxe++", "NerdQAxe++"),
        ("NerdEKO", "NerdEKO"),
        ("LV07", "LV07"),
        ("", "Bitaxe Gamma"),
    ],
)
def test_only_a_bitaxe_is_called_one(told_name: str, model: str) -> None:
    page = {"ASICModel": "BM1370", "deviceModel": told_name, "hashRate": 1, "coreVoltage": 1}
    assert parse.identity(page).model == model


# ---------------------------------------------------------------- odd values


def test_an_expectation_of_nothing_is_none() -> None:
    """It is counted anew after boot; until then the page says 0."""
    page = {"expectedHashrate": 0, "smallCoreCount": 2040, "asicCount": 1, "frequency": 525}
    assert parse.nominal_ths(page) == pytest.approx(1.071)
    for gone in ("smallCoreCount", "asicCount"):
        assert parse.nominal_ths({**page, gone: 0}) is None


def test_numbers_written_as_text_are_numbers() -> None:
    page = {key: str(value) if isinstance(value, int | float) else value for key, value in NERDQAXE.items()}
    page |= {"shutdown": False, "isUsingFallbackStratum": "0", "isStratumConnected": "1"}
    assert told(page) == told(NERDQAXE)
    assert parse.state(page) is MinerState.MINING


def test_nothing_but_nulls_is_nothing() -> None:
    page = {**dict.fromkeys(NERDQAXE), "ASICModel": "BM1370"}
    assert {reading.value for reading in told(page).values()} == {None}
    assert parse.state(page) is MinerState.UNKNOWN
    assert parse.pools(page) == ()
    assert parse.faults(page) == ()
    board = parse.board(page)
    assert (board.working, board.chips, board.hashrate_ths) == (None, None, None)


def test_one_pool_of_a_machine_that_lists_its_pools_without_counting() -> None:
    page = nerdqaxe(fallbackStratumURL="", stratum={"pools": [{"connected": True}]})
    (pool,) = parse.pools(page)
    assert (pool.accepted, pool.rejected) == (1210, 4)


# ---------------------------------------------------------------- whose release it is


def kin_of(version: str, *accepted: str, **changes: object) -> tuple[AxeosAdapter, MemoryHttp]:
    words = tuple(AcceptedFirmware(adapter="axeos", firmware=one, by="sam", why="tried") for one in accepted)
    http = replaying({INFO: nerdqaxe(version=version, **changes)}, after={"/api/system": None})
    return AxeosAdapter(http, timeout_s=5, trust=Trust(adapter="axeos", accepted=words)), http


async def test_a_release_of_another_maker_is_not_the_known_one_of_that_number() -> None:
    """Both number their releases from 1: AxeOS 2.4 of a Bitaxe says nothing of 2.4 on a NerdQAxe++."""
    adapter, http = kin_of("v2.4.0")
    facts = await adapter.facts()
    assert facts.firmware == "AxeOS of NerdQAxe++ v2.4.0"
    assert not WRITES & {found.ability for found in facts.capabilities}
    with pytest.raises(Unsupported, match="unknown"):
        await adapter.set_fan_mode("auto")
    assert {request.method for request in http.requests} == {"GET"}
    guess = identify.recognise(Findings(pages={INFO: Page(status=200, body=msgspec.json.encode(NERDQAXE))}))
    assert guess is not None
    assert guess.firmware == "AxeOS of NerdQAxe++ v1.0.35"
    assert not identify.seen_before("AxeOS of NerdQAxe++ v2.4.0")


async def test_its_fan_by_itself_holds_the_temperature_that_it_tells() -> None:
    adapter, http = kin_of("v1.0.35", "AxeOS of NerdQAxe++ v1.0.35")
    await adapter.set_fan_mode("auto")
    assert http.requests[-1].body == b'{"autofanspeed":2}'
