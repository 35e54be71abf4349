"""The table of docs/benchmarks.md and its two drawings, made from the lines in docs/benchmarks.jsonl.

    rm docs/benchmarks.jsonl
    python -m pytest tests/benchmarks -q -s --benchmarks --bench-out docs/benchmarks.jsonl
    python tests/benchmarks/plot.py

The SVG is written by hand: two small charts need no library, and the files stay readable in a diff.
"""

import json
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- table: made by tests/benchmarks/plot.py -->", "<!-- end of table -->"
WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 200, 52, 56
COLOURS = ("#0b6e99", "#c2410c", "#0b6e99", "#c2410c")
DASHES = ("", "", "6 4", "6 4")

Record = dict[str, Any]
Series = tuple[str, list[tuple[float, float]]]


def read(path: Path) -> list[Record]:
    """The lines of a `--bench-out` file; of two with the same name and size the later one counts."""
    newest: dict[tuple[str, int], Record] = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        newest[record["benchmark"], record["n"]] = record
    return list(newest.values())


# ---------------------------------------------------------------- table


def table(records: list[Record]) -> str:
    """One Markdown row per line."""
    head = "| benchmark | n | ours | peer | ratio | also |\n|---|---:|---:|---:|---:|---|\n"
    return head + "".join(_row(record) for record in records)


def _row(record: Record) -> str:
    also = ", ".join(f"{name} {_number(value)}" for name, value in record["more"].items())
    ours = f"{_number(record['value'])} {record['unit']}"
    peer = f"{_number(record['peer_value'])} ({record['peer']})"
    cells = [record["benchmark"], _number(record["n"]), ours, peer, _number(record["ratio"]), also]
    return "| " + " | ".join(cells) + " |\n"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def with_table(text: str, records: list[Record]) -> str:
    """The document with its table replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(records)}{END}{after}"


# ---------------------------------------------------------------- drawings


def drawings(records: list[Record]) -> dict[str, str]:
    """File name → SVG."""
    onnx: list[Series] = []
    for model, shown in (("pca", "PCA"), ("lstm-ae", "LSTM")):
        mine = [record for record in records if record["benchmark"] == f"onnx batch {model}"]
        onnx.append((f"{shown}, our session", [(r["n"], r["value"]) for r in mine]))
        onnx.append((f"{shown}, torch eager", [(r["n"], r["peer_value"]) for r in mine]))
    outbox = [record for record in records if record["benchmark"] == "outbox rows"]
    rows = [
        ("our store", [(r["n"], r["value"]) for r in outbox]),
        ("sqlite3 executemany", [(r["n"], r["peer_value"]) for r in outbox]),
    ]
    return {
        "onnx-latency.svg": chart("One scoring batch", "miners", "ms", onnx),
        "outbox-rows.svg": chart("Durable rows into the store", "rows per batch", "rows/s", rows),
        **_guardian(records),
        **_polling(records),
        **_ingest(records),
    }


def _ingest(records: list[Record]) -> dict[str, str]:
    """What a million rows cost by number of sites; nothing where it was not measured."""
    lines: list[Series] = []
    for engine, shown, peer in (("postgresql", "PostgreSQL", "COPY"), ("sqlite", "SQLite", "executemany")):
        found = [r for r in records if r["benchmark"] == f"ingest cost of a million rows, {engine}"]
        lines.append((f"{shown}, ingest", [(r["n"], r["value"]) for r in found]))
        lines.append((f"{shown}, bare {peer}", [(r["n"], r["peer_value"]) for r in found]))
    if not all(points for _, points in lines):
        return {}
    return {"ingest-cost.svg": chart("A million rows, from the wire to committed", "sites", "s", lines)}


def _polling(records: list[Record]) -> dict[str, str]:
    """How long a sweep takes by size of the fleet, and what it costs; nothing where it was not measured."""
    sweep = [record for record in records if record["benchmark"] == "poll sweep"]
    if not sweep:
        return {}
    took = [
        ("guardian's poller", [(r["n"], r["value"]) for r in sweep]),
        ("bare aiohttp, not parsed", [(r["n"], r["peer_value"]) for r in sweep]),
        ("poller, slowest of ten", [(r["n"], r["more"]["slowest_s"]) for r in sweep]),
    ]
    return {"poll-sweep.svg": chart("One sweep over all miners, as fast as it goes", "miners", "s", took)}


def _guardian(records: list[Record]) -> dict[str, str]:
    """What the guardian costs by size of the site; nothing where it was not measured."""
    shed = [record for record in records if record["benchmark"] == "guardian safe-stop, last stop arrives"]
    cycle = [record for record in records if record["benchmark"] == "guardian cycle under stress"]
    if not shed or not cycle:
        return {}
    stops = [
        ("guardian", [(r["n"], r["value"]) for r in shed]),
        ("bare aiohttp", [(r["n"], r["peer_value"]) for r in shed]),
    ]
    turns = [
        ("turn done, median", [(r["n"], r["value"]) for r in cycle]),
        ("only waking up", [(r["n"], r["peer_value"]) for r in cycle]),
        ("turn done, p99.9", [(r["n"], r["more"]["p999_ms"]) for r in cycle]),
        ("waking up, p99.9", [(r["n"], r["more"]["peer_p999_ms"]) for r in cycle]),
    ]
    return {
        "guardian-shed.svg": chart("Last stop of a whole site arrives", "miners", "s", stops),
        "guardian-cycle.svg": chart("Interlock turn done after it was due", "miners", "ms", turns),
    }


def _decades(values: list[float]) -> tuple[int, int]:
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def chart(title: str, across: str, up: str, series: list[Series]) -> str:
    """A log-log line chart; solid lines are the first pair of series, dashed the second."""
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    (x_low, x_high), (y_low, y_high) = _decades(xs), _decades(ys)
    plot_w, plot_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - x_low) / max(x_high - x_low, 1)
        above = (math.log10(y) - y_low) / max(y_high - y_low, 1)
        return LEFT + along * plot_w, TOP + (1 - above) * plot_h

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img">',
        f"<title>{escape(title)}: {escape(up)} by {escape(across)}, both axes logarithmic</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="28" font-size="16" font-weight="600" fill="#111827">{escape(title)}</text>',
    ]
    for power in range(y_low, y_high + 1):
        _, y = place(10**x_low, 10**power)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{LEFT + plot_w}" stroke="#e5e7eb"/>')
        parts.append(_text(LEFT - 8, y + 4, _tick(10**power), anchor="end"))
    for x_value in sorted(set(xs)):
        x, bottom = place(x_value, 10**y_low)
        parts.append(f'<path d="M{x:.1f} {bottom:.1f}v5" stroke="#6b7280"/>')
        parts.append(_text(x, bottom + 20, f"{x_value:,.0f}", anchor="middle"))
    parts.append(_text(LEFT + plot_w / 2, HEIGHT - 12, across, anchor="middle"))
    parts.append(_text(16, TOP - 14, up))
    ends = _spread([place(*points[-1])[1] for _, points in series])
    for number, ((name, points), label_y) in enumerate(zip(series, ends, strict=True)):
        parts += _line(name, [place(x, y) for x, y in points], COLOURS[number], DASHES[number], label_y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(name: str, points: list[tuple[float, float]], colour: str, dash: str, label_y: float) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    stroke = f'stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [
        f'<polyline points="{path}" fill="none" {stroke}/>',
        *dots,
        _text(points[-1][0] + 12, label_y + 4, name, colour=colour),
    ]


def _spread(places: list[float], *, least: float = 18.0) -> list[float]:
    """Labels moved down until none touches the one above."""
    found = list(places)
    last = -math.inf
    for index in sorted(range(len(places)), key=places.__getitem__):
        found[index] = last = max(places[index], last + least)
    return found


def _text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#374151") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def main() -> None:
    """Bring document and drawings up to date with the measured lines."""
    records = read(DOCS / "benchmarks.jsonl")
    document = DOCS / "benchmarks.md"
    document.write_text(with_table(document.read_text(), records))
    (DOCS / "img").mkdir(exist_ok=True)
    for name, svg in drawings(records).items():
        (DOCS / "img" / name).write_text(svg)


if __name__ == "__main__":
    main()
