"""Pages as other models and builds write them: unused pools, codes in words, numbers as text, nothing."""

import copy
import json
from typing import Any

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.antminer import emulator_pages as pages
from firmware_adapters.miners.antminer import parse
from firmware_adapters.miners.antminer.adapter import AntminerAdapter
from firmware_adapters.transport.line_json import MemoryLine
from shared.details import Fault
from shared.telemetry import MinerState
from support.miners import s21_pro
from support.web_memory import replaying

NOW_S = 1_780_000_000
UNUSED = {"url": "", "user": "", "status": "", "priority": 1, "accepted": 0, "rejected": 0, "lstime": "0"}


def shown() -> dict[str, Any]:
    """The pages of a healthy machine by name, as JSON has them."""
    view = s21_pro()
    said = {
        "stats": pages.stats(view, 0, 4000.0, NOW_S),
        "pools": pages.pools(view, NOW_S),
        "summary": pages.summary(view, 4000.0, NOW_S),
        "get_system_info": pages.system_info(view, "127.0.0.1"),
        "get_miner_conf": {**pages.configuration(view), "bitmain-work-mode": "0"},
    }
    return copy.deepcopy(json.loads(json.dumps(said)))


def machine(said: dict[str, Any]) -> AntminerAdapter:
    http = replaying({f"/cgi-bin/{name}.cgi": page for name, page in said.items()})
    return AntminerAdapter(http, Credential(user=None, secret="of no importance"), timeout_s=5)


async def test_a_place_for_a_pool_that_is_not_used_is_no_pool() -> None:
    said = shown()
    said["pools"]["POOLS"] += [{"index": 1, **UNUSED}, {**UNUSED, "index": 2, "url": "stratum+tcp://b:1"}]
    assert [(pool.index, pool.url) for pool in await machine(said).pools()] == [
        (0, "stratum+tcp://pool.invalid:3333"),
        (2, "stratum+tcp://b:1"),
    ]


async def test_nor_is_one_that_the_socket_lists() -> None:
    pool = {"POOL": 0, "URL": "stratum+tcp://a:1", "Status": "Alive", "Stratum Active": True, "Accepted": 1}
    body = {"STATUS": [{}], "POOLS": [pool, {"POOL": 1, "URL": "", "Status": "Dead", "Accepted": 0}]}
    line = MemoryLine({"pools": json.dumps(body).encode()})
    adapter = AntminerAdapter(replaying({}), None, timeout_s=5, socket=line)
    assert [found.url for found in await adapter.pools()] == ["stratum+tcp://a:1"]


@pytest.mark.parametrize(
    ("code", "named"), [(2, "fans-2"), ("2", "fans-2"), ("P:1", "fans-P:1"), (0, "fans"), (None, "fans")]
)
def test_a_complaint_keeps_its_code_in_whichever_form(code: object, named: str) -> None:
    body = {"SUMMARY": [{"status": [{"type": "fans", "status": "e", "code": code, "msg": "lost"}]}]}
    assert parse.faults(body) == (Fault(code=named, words="lost"),)


async def test_numbers_written_as_text_are_numbers() -> None:
    said, written = shown(), shown()
    stats = written["stats"]["STATS"][0]
    for part in (stats, *stats["chain"]):
        numbers = {key for key, value in part.items() if type(value) in (int, float)}
        part.update({key: str(part[key]) for key in numbers})
    stats["fan"] = [str(rpm) for rpm in stats["fan"]]
    before, after = await machine(said).read(), await machine(written).read()
    assert after.readings == before.readings
    assert after.state == before.state


async def test_nothing_but_nulls_is_nothing() -> None:
    said = shown()
    said["stats"]["STATS"] = [dict.fromkeys(said["stats"]["STATS"][0])]
    said["pools"]["POOLS"] = []
    adapter = machine(said)
    seen = await adapter.read()
    assert {reading.value for reading in seen.readings.values()} == {None}
    assert await adapter.boards() == ()


async def test_a_machine_that_counts_no_hashes_works_all_the_same() -> None:
    """A Z15 counts KSol/s: no hashrate of ours, and it mines."""
    said = shown()
    said["stats"]["STATS"][0] |= {"rate_unit": "KSol/s", "rate_5s": 421.0}
    seen = await machine(said).read()
    assert seen.state is MinerState.MINING
    assert seen.readings["hashrate_ths"].value is None
