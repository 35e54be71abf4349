"""The table and the drawings of docs/benchmarks.md are those of the measured lines, and none is missing."""

import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from support.benchmark import Line

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
TEXT = (DOCS / "benchmarks.md").read_text()
PLOT = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "plot.py"))
RECORDS = PLOT["read"](DOCS / "benchmarks.jsonl")
LINES = [msgspec.convert(record, Line) for record in RECORDS]


@pytest.mark.parametrize(
    ("benchmark", "sizes"),
    [
        ("poll sweep", {100, 300, 1_000, 3_000, 10_000}),
        ("poll cpu", {100, 300, 1_000, 3_000, 10_000}),
        ("onnx batch pca", {100, 1_000, 5_000}),
        ("onnx batch lstm-ae", {100, 1_000, 5_000}),
        ("outbox rows", {1, 50, 500}),
        ("ingest sqlite", {1_000, 16_000}),
        ("ingest postgresql", {1_000, 16_000}),
        ("ingest cost of a million rows, sqlite", {1, 10, 100}),
        ("ingest cost of a million rows, postgresql", {1, 10, 100}),
        ("plant step", {5_000}),
        ("snmp cpu v2c gufo", {10}),
        ("snmp cpu v3 gufo", {10}),
    ],
)
def test_every_required_line_was_measured(benchmark: str, sizes: set[int]) -> None:
    found = [line for line in LINES if line.benchmark == benchmark]
    assert {line.n for line in found} == sizes
    assert all(line.median_of >= (3 if "million rows" in benchmark else 5) for line in found)


def test_ratios_are_value_over_peer() -> None:
    assert all(line.ratio == pytest.approx(line.value / line.peer_value, rel=2e-3) for line in LINES)


def test_every_line_names_its_machine() -> None:
    assert all({"model", "cpus", "load", "python", "numpy"} <= set(line.machine) for line in LINES)


def test_the_table_is_made_from_the_lines() -> None:
    assert PLOT["with_table"](TEXT, RECORDS) == TEXT, "run: python tests/benchmarks/plot.py"


@pytest.mark.parametrize("name", ["onnx-latency.svg", "outbox-rows.svg", "poll-sweep.svg", "ingest-cost.svg"])
def test_the_drawings_are_made_from_the_lines(name: str) -> None:
    svg = (DOCS / "img" / name).read_text()
    assert PLOT["drawings"](RECORDS)[name] == svg, "run: python tests/benchmarks/plot.py"
    assert ET.fromstring(svg).tag.endswith("svg")
    assert f"img/{name}" in TEXT


def test_a_curve_that_rises_is_drawn_rising() -> None:
    svg = ET.fromstring(PLOT["chart"]("t", "n", "ms", [("a", [(1, 1.0), (10, 10.0), (100, 100.0)])]))
    (line,) = (node for node in svg.iter() if node.tag.endswith("polyline"))
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_of_two_runs_the_later_counts(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"benchmark":"a","n":1,"value":1}\n{"benchmark":"a","n":1,"value":2}\n')
    assert [record["value"] for record in PLOT["read"](file)] == [2]
