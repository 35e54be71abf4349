"""Where a key stands in a TOML text: tables, tables in tables, inline tables, and what is not there."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.toml_lines import TomlLines

TEXT = """schema = 1
[modbus]
gap = 4
[modbus.sunspec]
models = [1]
[[points]]
name = "a"
[points.write]
low = 0.0
then = [{ address = 5, value = 2 }]
[[points]]
"name" = "b"
[[zones]]
[zones.limits]
water.trip = 3
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("schema", 1),
        ("modbus.gap", 3),
        ("modbus.sunspec.models", 5),
        ("points[0]", 6),
        ("points[0].name", 7),
        ("points[0].write.low", 9),
        ("points[0].write.then.value", 10),
        ("points[0].write.fail_safe", 8),
        ("points[1].name", 12),
        ("points[1].write.low", 11),
        ("zones[0].limits.water.trip", 15),
        ("zones[0].limits.air.trip", 14),
        ("points[7].name", None),
        ("modbus.]odd[key", 2),
        ("nothing", None),
        ("", None),
    ],
)
def test_the_line_of_a_key_or_of_the_table_around_it(key: str, line: int | None) -> None:
    assert tomllib.loads(TEXT)
    assert TomlLines(TEXT).nearest(key) == line


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text_and_any_key_are_answered(text: str, key: str) -> None:
    found = TomlLines(text).nearest(key)
    assert found is None or 1 <= found <= len(text.splitlines())
