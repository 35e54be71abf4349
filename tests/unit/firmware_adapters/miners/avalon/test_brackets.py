"""Canaan's bracket text: names, values, parts, and whatever else may stand there."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.avalon.brackets import amount, number, numbers, sections, values


def test_names_and_values() -> None:
    text = "Ver[Q-2505_x] SSID[] DH[2.449%] Nonce Mask[25] FanR[40%] PS[0 1222 4] SoftOFF[0]"
    assert values(text) == {
        "Ver": "Q-2505_x",
        "SSID": "",
        "DH": "2.449%",
        "Nonce Mask": "25",
        "FanR": "40%",
        "PS": "0 1222 4",
        "SoftOFF": "0",
    }


def test_parts_have_names_of_their_own() -> None:
    text = "Ver[1] 'STATS':{TMax[71]} 'HB0':{PVT_T0[ 58  59]}'HB1':{PVT_T0[60 61]}"
    assert sections(text) == {
        "": {"Ver": "1"},
        "STATS": {"TMax": "71"},
        "HB0": {"PVT_T0": " 58  59"},
        "HB1": {"PVT_T0": "60 61"},
    }


def test_free_text_cannot_pretend_to_be_a_reading() -> None:
    """A Wi-Fi network named so would show a cold machine: told twice and differently is told by nobody."""
    told = values("SSID[x] TMax[20] y] TAvg[70] TMax[98]")
    assert "TMax" not in told
    assert told["TAvg"] == "70"
    assert values("TMax[98] TMax[98]") == {"TMax": "98"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("no brackets", {}),
        ("[5]", {}),
        ("a[5", {}),
        ("a]5[", {}),
        ("a[[5]", {}),
        ("a[5]]b[6]", {"a": "5", "b": "6"}),
        ("x" * 100 + "[5]", {"x" * 40: "5"}),
    ],
)
def test_odd_texts(text: str, found: dict[str, str]) -> None:
    assert values(text) == found


def test_numbers() -> None:
    told = {"a": "5", "b": "-1", "c": "40%", "d": "x", "e": "1 2 3", "f": "1 x 3", "g": "", "h": "inf"}
    assert number(told, "x", "a") == 5
    assert number(told, "b") == -1
    assert amount(told, "b") is None
    assert number(told, "c") == 40
    assert number(told, "d") is None
    assert number(told, "h") is None
    assert numbers(told, "e") == [1, 2, 3]
    assert numbers(told, "f") == [], "a word that is no number shifts no place"
    assert numbers(told, "g") == numbers(told, "nothing") == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab[]{}':, 01%", max_size=200))
def test_any_text_is_values(text: str) -> None:
    for part in sections(text).values():
        for name, value in part.items():
            assert name
            assert "[" not in value
            assert "]" not in value
            numbers(part, name)
            number(part, name)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000_000,
        "]" * 10_000_000,
        "a" * 10_000_000,
        "a[1]" * 2_500_000,
        "'" * 10_000_000,
        "'a" * 5_000_000,
        "'a':{" * 2_000_000,
        "a[" + "1 " * 5_000_000 + "]",
    ],
)
def test_ten_megabytes_in_time(text: str) -> None:
    began = time.process_time()
    for part in sections(text).values():
        for name in part:
            numbers(part, name)
    assert time.process_time() - began < 4
