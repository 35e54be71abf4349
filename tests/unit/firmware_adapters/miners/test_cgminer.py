"""What Bitmain's socket and its imitators share: numbers in text, boards that are not there, fans, shares."""

import json
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.miners import cgminer
from firmware_adapters.transport.line_json import decode
from shared.details import PoolState
from shared.errors import MalformedReply
from shared.telemetry import Quality, metric_of
from support.web_memory import ANYTHING, mutated, recorded

SLOW_IS_FINE = [HealthCheck.too_slow]
"""A shared machine that is busy draws slowly; that says nothing of what is tested."""


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("73-45-64-65", (73, 45, 64, 65)),
        ("47", (47,)),
        ("-5--3-2--64", (-5, -3, 2, -64)),
        ("0-0-0-0", (0, 0, 0, 0)),
        (47.5, (47.5,)),
        ("", ()),
        ("m-m-m-m", ()),
        ("73-", ()),
        ("7" * 500, ()),
        (None, ()),
        (True, ()),
        ([1, 2], ()),
    ],
)
def test_four_sensors_in_one_word(words: object, numbers: tuple[float, ...]) -> None:
    assert cgminer.quartet(words) == numbers


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("0:00:03", 3),
        ("00:57:33", 3453),
        ("26:00:00", 93600),
        ("1 days 02:03:04", 93784),
        ("2 d, 0:00:01", 172801),
        ("0", None),
        ("", None),
        ("3 s", None),
        (1755615292, None),
        (None, None),
        ("9" * 400 + ":00:00", None),
    ],
)
def test_how_long_ago(words: object, seconds: float | None) -> None:
    assert cgminer.age_s(words) == seconds


@pytest.mark.parametrize(
    ("unit", "ths"),
    [("GH", 1e-3), ("GH/s", 1e-3), ("G", 1e-3), ("MHS", 1e-6), ("th/s", 1.0), ("PH/s", 1e3), ("KH/s", 1e-9)],
)
def test_units_of_hashes(unit: str, ths: float) -> None:
    assert cgminer.rate_scale(unit) == ths


@pytest.mark.parametrize("unit", ["KSol/s", "", None, "H", "GB", "GHGH"])
def test_what_is_no_unit_of_hashes(unit: str | None) -> None:
    assert cgminer.rate_scale(unit) is None
    assert cgminer.scaled(1.0, cgminer.rate_scale(unit)) is None


def stats(**changes: object) -> cgminer.Stats:
    """A machine of two boards in which a third could be."""
    machine: dict[str, object] = {
        "GHS 5s": "100.5",
        "miner_count": 2,
        "fan_num": 2,
        **{f"chain_acn{n}": 3 if n < 3 else 0 for n in (1, 2, 3)},
        **{f"chain_acs{n}": " oox" if n < 3 else "" for n in (1, 2, 3)},
        **{f"temp_pcb{n}": "40-41-50-51" if n < 3 else "0-0-0-0" for n in (1, 2, 3)},
        **{f"fan{n}": rpm for n, rpm in enumerate((0, 0, 5000, 5100, 0, 0), 1)},
    }
    return cgminer.stats({"STATS": [{"Type": "Antminer S9"}, {**machine, **changes}]})


def test_boards_that_are_not_there_are_left_out_and_dead_ones_are_not() -> None:
    assert [(chain.index, chain.chips, chain.bad_chips) for chain in stats().chains] == [(0, 2, 1), (1, 2, 1)]
    dead = stats(miner_count=3)
    assert [(chain.index, chain.chips) for chain in dead.chains] == [(0, 2), (1, 2), (2, 0)]
    warm = stats(temp_pcb3="0-0-33-0")
    assert len(warm.chains) == 3, "whoever has a temperature is there"


def test_an_old_controller_has_three_boards_among_sixteen_connectors() -> None:
    s9: dict[str, object] = {"GHS 5s": "13512.08", "miner_count": 3, "fan_num": 2, "fan3": 5880, "fan6": 4320}
    for n in range(1, 17):
        here = n in (6, 7, 8)
        s9 |= {f"chain_acn{n}": 63 * here, f"chain_rate{n}": "4504.02" if here else "", f"temp{n}": 56 * here}
        s9 |= {f"temp2_{n}": 71 * here, f"freq_avg{n}": 643.5 * here, f"chain_hw{n}": n * here}
    found = cgminer.stats({"STATS": [{"Type": "Antminer S9"}, s9]})
    assert [(one.index, one.chips, one.pcb_c, one.chip_c) for one in found.chains] == [
        (index, 63, (56,), (71,)) for index in (5, 6, 7)
    ]
    assert [one.frequency_mhz for one in found.chains] == [643.5] * 3
    assert found.hw_errors == 21
    assert found.fans_rpm == ((2, 5880), (5, 4320))
    dead = cgminer.stats({"STATS": [{**s9, "chain_acn7": 0, "chain_rate7": "", "temp7": 0, "temp2_7": 0}]})
    assert len(dead.chains) == 3, "one is silent, and which connector it hangs on is not told"


def test_connectors_without_a_fan_are_no_fans_and_a_fan_that_stands_is_one() -> None:
    assert stats().fans_rpm == ((2, 5000), (3, 5100))
    assert stats(fan4=0).fans_rpm == ((0, 0), (2, 5000))
    assert stats(fan_num=0, fan3=0, fan4=0).fans_rpm == ()
    assert cgminer.real_fans([0.0, 5000.0, None], None) == ((0, 0.0), (1, 5000.0))


def test_the_unit_beats_the_name_of_the_key() -> None:
    assert stats().rate_ths == pytest.approx(0.1005)
    assert stats(rate_unit="MH").rate_ths == pytest.approx(0.0001005)
    assert stats(rate_unit="KSol").rate_ths is None
    assert stats(**{"GHS 5s": -4}).rate_ths is None


def test_temperatures_without_sensors_and_with_broken_ones() -> None:
    assert cgminer.temperatures(()) == cgminer.Temperatures()
    assert cgminer.temperatures((0, 0)) == cgminer.Temperatures()
    assert cgminer.temperatures((0, 255, 41)) == cgminer.Temperatures(41, 41)
    assert cgminer.temperatures((255, -64)) == cgminer.Temperatures(failed=True)
    found = cgminer.temperature_readings("chip", cgminer.Temperatures(failed=True), Quality.ESTIMATED)
    assert {one.quality for one in found.values()} == {Quality.SENSOR_ERROR}


def test_pools_in_both_spellings_and_whoever_is_worked_for() -> None:
    (socket,) = cgminer.pools(
        {
            "POOLS": [
                {"POOL": 3, "URL": "u", "User": "w", "Status": "Alive", "Stratum Active": True, "Accepted": 2}
            ]
        }
    )
    assert (socket.index, socket.url, socket.user, socket.state) == (3, "u", "w", PoolState.ACTIVE)
    first, second, third = cgminer.pools(
        {
            "POOLS": [
                {"index": 0, "status": "Dead", "priority": 0},
                {"index": 1, "status": "Alive", "priority": 2},
                {"index": 2, "status": "Alive", "priority": 1, "accepted": 5, "lstime": "0:00:09"},
            ]
        }
    )
    assert [one.state for one in (first, second, third)] == [
        PoolState.DEAD,
        PoolState.STANDBY,
        PoolState.ACTIVE,
    ]
    assert third.last_share_age_s == 9
    words = ("Rejecting", "Disabled", "Sick", 7)
    told = cgminer.pools({"POOLS": [{"Status": word, "Stratum Active": False} for word in words]})
    assert [one.state for one in told] == [
        PoolState.REJECTING,
        PoolState.DISABLED,
        PoolState.UNKNOWN,
        PoolState.UNKNOWN,
    ]


def test_a_pool_without_a_share_has_no_last_one() -> None:
    told = cgminer.pools({"POOLS": [{"Accepted": 0, "Last Share Time": "00:57:33"}]})
    assert told[0].last_share_age_s is None
    assert "last_share_age_s" not in cgminer.share_readings(told)
    assert cgminer.share_readings(()) == {}


@pytest.mark.parametrize("body", [None, [], {}, {"POOLS": {}}, {"POOLS": "x"}])
def test_no_list_of_pools_is_malformed(body: object) -> None:
    with pytest.raises(MalformedReply):
        cgminer.pools(body)


RECORDED = ("antminer-stock/v2020", "luxos/v1")


@lru_cache(maxsize=2)
def _folder(name: str) -> dict[str, Any]:
    return recorded(name)


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(st.data())
def test_whatever_comes_there_are_readings_or_malformed(data: st.DataObject) -> None:
    folder = _folder(data.draw(st.sampled_from(RECORDED)))
    body = data.draw(mutated(folder["stats"]) | ANYTHING)
    try:
        found = cgminer.stats(body)
    except MalformedReply:
        found = cgminer.Stats()
    indexes = [chain.index for chain in found.chains]
    assert indexes == sorted(set(indexes))
    for read, name in ((cgminer.pools, "pools"), (cgminer.summary_shares, "summary")):
        try:
            told = read(data.draw(mutated(folder[name]) | ANYTHING))
        except MalformedReply:
            continue
        readings = told if isinstance(told, dict) else cgminer.share_readings(told)
        for point, one in readings.items():
            metric = metric_of(point)
            assert one.value is None or metric.low <= one.value <= metric.high


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_reply_that_is_cut_or_glued_is_whole_or_malformed(cut: int) -> None:
    raw = json.dumps(recorded("antminer-stock/v2020")["stats"]).encode()
    with pytest.raises(MalformedReply):
        cgminer.stats(decode(raw[: len(raw) * cut // 24] + b"\x00"))
    glued = cgminer.stats(decode(raw + raw + b"\x00"))
    assert glued.rate_ths == pytest.approx(110.56689)


@pytest.mark.parametrize(
    ("model", "ths"),
    [
        ("Antminer S9", 0.5035),
        ("Antminer T21", 0.5035),
        ("", 0.5035),
        ("Antminer L3+", 0.0005035),
        ("Antminer L7", 0.0005035),
        ("Antminer Z15", None),
        ("Antminer KS5", None),
    ],
)
def test_without_a_unit_the_letter_of_a_key_is_the_truth_about_sha256_only(
    model: str, ths: float | None
) -> None:
    """An L3+ of 504 MH/s says "GHS 5s" 503.5."""
    body = {"STATS": [{"Type": model}, {"GHS 5s": "503.5", "total_rateideal": 504, "chain_acn1": 72}]}
    told = cgminer.stats(body)
    assert told.rate_ths == (None if ths is None else pytest.approx(ths))
    assert (told.nominal_ths is None) == (ths is None)
