"""Values out of decoded JSON: what is not what it should be is missing, and nothing is invented."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.miners import fields
from shared.errors import MalformedReply
from shared.telemetry import MISSING, Quality, Reading
from support.web_memory import ANYTHING


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (5, 5.0),
        (-2.5, -2.5),
        ("5.25", 5.25),
        (" 7 ", 7.0),
        (0, 0.0),
        (True, None),
        (False, None),
        (None, None),
        ("", None),
        ("nan", None),
        ("inf", None),
        (float("inf"), None),
        (math.nan, None),
        (10**400, None),
        ("9" * 41, None),
        ("five", None),
        ([5], None),
        ({}, None),
    ],
)
def test_what_is_a_number(said: object, value: float | None) -> None:
    assert fields.as_number(said) == value
    assert fields.number({"key": said}, "key") == value
    assert fields.number({"outer": {"key": said}}, "outer", "key") == value
    assert fields.amount({"key": said}, "key") == (None if value is None or value < 0 else value)


def test_what_is_text_and_what_is_a_flag() -> None:
    page: fields.Object = {"a": " x ", "b": "N/A", "c": "", "d": 7, "e": True, "f": 1, "g": {"h": "y"}}
    assert [fields.text(page, key) for key in "abcdz"] == ["x", None, None, None, None]
    assert fields.text(page, "g", "h") == "y"
    assert [fields.flag(page, key) for key in "efaz"] == [True, None, None, None]


def test_paths_end_where_there_is_no_object() -> None:
    page: fields.Object = {"a": {"b": {"c": 1}}, "list": [{"x": 1}, 2, None, {"y": 2}]}
    assert fields.child(page, "a", "b") == {"c": 1}
    assert fields.child(page) is page
    assert fields.child(page, "a", "no", "b") is fields.child(None, "a") is fields.child(page, "list") is None
    assert fields.number(page, "a", "b", "c") == 1
    assert fields.number(page, "a", "b", "c", "d") is None
    assert fields.children(page, "list") == [{"x": 1}, {"y": 2}]
    assert fields.children(page, "a") == fields.children(None, "a") == fields.objects("ab") == []


def test_a_body_that_is_no_json_is_malformed_and_an_empty_one_is_nothing() -> None:
    assert fields.decode(b" \n", "page") is None
    assert fields.decode(b'{"a":1}', "page") == {"a": 1}
    for body in (b"{", b"\xff", b'"\xed\xa0\x80"', b"[" * 10_000_000, b"9" * 5_000):
        with pytest.raises(MalformedReply, match="page: not JSON"):
            fields.decode(body, "page")
    for value in ([], None, "text", 5):
        with pytest.raises(MalformedReply, match="page: not an object"):
            fields.as_page(value, "page")


def test_a_reading_is_in_the_range_of_its_metric_or_has_no_value() -> None:
    assert fields.reading("chip_temp_max_c", 65.0) == Reading(65.0)
    assert fields.reading("power_w", 5.0, Quality.ESTIMATED) == Reading(5.0, Quality.ESTIMATED)
    assert fields.reading("power_w", None, Quality.ESTIMATED) == MISSING
    assert fields.reading("chip_temp_max_c", 255.0) == Reading(None, Quality.OUT_OF_RANGE)
    assert fields.reading("chip_temp_max_c", -40.0, Quality.ESTIMATED) == Reading(None, Quality.OUT_OF_RANGE)
    with pytest.raises(KeyError):
        fields.reading("no_such_point", 1.0)


@given(ANYTHING, st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_nothing_raises_on_anything(value: object, path: list[str]) -> None:
    page = fields.as_object(value)
    for take in (fields.number, fields.amount, fields.text, fields.flag):
        take(page, *path)
    fields.child(page, *path)
    fields.children(page, path[0])
    found = fields.as_number(value)
    assert found is None or math.isfinite(found)
