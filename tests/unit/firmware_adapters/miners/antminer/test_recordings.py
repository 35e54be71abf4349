"""A recorded S19 Pro on Bitmain's firmware: every number that means something to us is read, in our units."""

import json
from typing import Any

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners import cgminer
from firmware_adapters.miners.antminer import parse
from firmware_adapters.miners.antminer.adapter import AntminerAdapter
from firmware_adapters.transport.line_json import MemoryLine
from shared.capabilities import Ability
from shared.details import Board, Pool, PoolState
from shared.errors import AuthFailed, Unsupported
from shared.telemetry import MinerState, Quality
from shared.units import Algorithm
from support.web_memory import recorded, replaying

HASHRATES = {0: 37.6033, 1: 35.53622, 2: 37.42738}


def machine(
    *, open_pages: tuple[str, ...] = (), key: Credential | None = None
) -> tuple[AntminerAdapter, dict[str, Any]]:
    """The adapter in front of the recorded socket, and of those recorded pages that the web server shows."""
    pages = recorded("antminer-stock/v2020")
    line = MemoryLine({name: json.dumps(page).encode() + b"\x00" for name, page in pages.items()})
    shown = {f"/cgi-bin/get_{name}.cgi": pages[name] for name in open_pages}
    return AntminerAdapter(replaying(shown), key, timeout_s=5, socket=line), pages


async def test_every_number_of_a_sample() -> None:
    adapter, _ = machine()
    seen = await adapter.read()
    assert {name: (found.value, found.quality) for name, found in seen.readings.items()} == {
        "hashrate_ths": (pytest.approx(110.56689), Quality.GOOD),
        "hashrate_nominal_ths": (pytest.approx(110.0), Quality.GOOD),
        "power_w": (None, Quality.MISSING),
        "chip_temp_min_c": (49.0, Quality.ESTIMATED),
        "chip_temp_max_c": (78.0, Quality.ESTIMATED),
        "board_temp_min_c": (44.0, Quality.GOOD),
        "board_temp_max_c": (73.0, Quality.GOOD),
        "fan_rpm.0": (6000.0, Quality.GOOD),
        "fan_rpm.1": (5880.0, Quality.GOOD),
        "fan_rpm.2": (5040.0, Quality.GOOD),
        "fan_rpm.3": (5040.0, Quality.GOOD),
        "hw_errors": (562.0, Quality.GOOD),
        "shares_accepted": (4057.0, Quality.GOOD),
        "shares_rejected": (11.0, Quality.GOOD),
        "shares_stale": (1.0, Quality.GOOD),
        "last_share_age_s": (3.0, Quality.GOOD),
        "uptime_s": (50474.0, Quality.GOOD),
        "boards_working": (3.0, Quality.GOOD),
    }
    assert seen.state is MinerState.MINING
    assert seen.algorithm is Algorithm.SHA256D
    assert seen.preset is None, "the socket does not tell the mode"
    assert seen.faults is None, "nor what the machine complains of"


async def test_every_number_of_the_boards() -> None:
    adapter, _ = machine()
    pcb = {0: (45.0, 73.0), 1: (47.0, 66.0), 2: (44.0, 64.0)}
    chip = {0: (50.0, 78.0), 1: (52.0, 71.0), 2: (49.0, 69.0)}
    errors = {0: 183.0, 1: 195.0, 2: 184.0}
    assert await adapter.boards() == tuple(
        Board(
            index=index,
            working=True,
            hashrate_ths=pytest.approx(HASHRATES[index]),
            board_temp_min_c=pcb[index][0],
            board_temp_max_c=pcb[index][1],
            chip_temp_min_c=chip[index][0],
            chip_temp_max_c=chip[index][1],
            frequency_mhz=525.0,
            hw_errors=errors[index],
            chips=114,
        )
        for index in range(3)
    ), "the fourth is not there"


async def test_every_number_of_the_pools() -> None:
    adapter, pages = machine()
    url, user = pages["pools"]["POOLS"][0]["URL"], pages["pools"]["POOLS"][0]["User"]
    first, *others = await adapter.pools()
    assert first == Pool(
        index=0,
        url=url,
        user=user,
        state=PoolState.ACTIVE,
        accepted=4057.0,
        rejected=11.0,
        stale=1.0,
        last_share_age_s=3.0,
    )
    assert others == [
        Pool(index=index, url=url, user=user, state=PoolState.STANDBY, accepted=0.0, rejected=0.0, stale=0.0)
        for index in (1, 2)
    ]


async def test_the_socket_says_who_it_is() -> None:
    adapter, _ = machine()
    facts = await adapter.facts()
    assert facts.model == "Antminer S19 Pro"
    assert facts.firmware == "Tue Dec  6 16:12:30 CST 2022"
    assert facts.algorithm == Algorithm.SHA256D
    assert (facts.mac, facts.serial) == ("", ""), "the socket names neither"
    assert {one.ability for one in facts.capabilities} == {Ability.TELEMETRY, Ability.BOARDS, Ability.POOLS}
    assert not facts.default_password


async def test_a_system_page_that_needs_no_login_says_more_and_allows_no_more() -> None:
    adapter, pages = machine(open_pages=("system_info",))
    facts = await adapter.facts()
    assert (facts.model, facts.firmware) == ("Antminer S21", "FR-1.12(251009-S21)")
    assert (facts.mac, facts.serial) == ("02:55:97:22:3m:72", "THQING0BDJAB024NF")
    assert {one.ability for one in facts.capabilities} == {Ability.TELEMETRY, Ability.BOARDS, Ability.POOLS}
    assert pages["system_info"]["minertype"] == facts.model


async def test_with_a_login_what_the_web_server_lacks_comes_from_the_socket() -> None:
    adapter, _ = machine(open_pages=("system_info",), key=Credential(user=None, secret="root"))
    facts = await adapter.facts()
    assert facts.serial == "THQING0BDJAB024NF"
    assert Ability.MINING not in {one.ability for one in facts.capabilities}, "no configuration, no modes"
    assert (await adapter.read()).readings["hashrate_ths"].value == pytest.approx(110.56689)
    assert len(await adapter.boards()) == 3
    assert len(await adapter.pools()) == 3


async def test_without_a_login_nothing_is_commanded() -> None:
    adapter, _ = machine()
    for command in (adapter.stop_mining(), adapter.start_mining(), adapter.reboot(), adapter.log("kernel")):
        with pytest.raises((Unsupported, AuthFailed)):
            await command


def test_the_system_page() -> None:
    found = parse.identity(recorded("antminer-stock/v2020")["system_info"])
    assert found == parse.Identity(
        model="Antminer S21",
        firmware="FR-1.12(251009-S21)",
        mac="02:55:97:22:3m:72",
        serial="THQING0BDJAB024NF",
        algorithm=Algorithm.SHA256D,
    )


async def test_summary_and_pools_count_the_same_shares() -> None:
    _, pages = machine()
    told = cgminer.summary_shares(pages["summary"])
    assert {name: found.value for name, found in told.items()} == {
        "shares_accepted": 4057.0,
        "shares_rejected": 11.0,
        "shares_stale": 1.0,
        "hw_errors": 562.0,
    }
