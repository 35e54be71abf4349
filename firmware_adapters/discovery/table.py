"""Machines as CSV, to be filled in with a spreadsheet and read back.

Columns are found by their names, in any order; unknown columns are refused, missing ones are empty. A cell
that a spreadsheet would take for a formula is written with an apostrophe in front, taken off when read.
"""

import csv
import io
import ipaddress
import math
from collections.abc import Iterable

from firmware_adapters.discovery.machine import Machine
from firmware_adapters.discovery.ranges import target
from firmware_adapters.identify import clean_mac
from firmware_adapters.registry import ADAPTERS
from shared.errors import ConfigError
from shared.ids import checked_id
from shared.units import Algorithm

COLUMNS = (
    "id",
    "host",
    "port",
    "adapter",
    "model",
    "firmware",
    "mac",
    "serial",
    "algorithm",
    "nominal_w",
    "safe_preset",
    "credential",
    "zone",
    "rack",
    "slot",
    "confidence",
    "evidence",
)
NEEDED = ("host", "port", "adapter")
MAX_BYTES = 16 * 1024 * 1024
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = dict[str, str]


def to_csv(machines: Iterable[Machine]) -> str:
    """The table with a header line; lines end with CR LF, as RFC 4180 has them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_safe(_cell(getattr(machine, name))) for name in COLUMNS] for machine in machines)
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def from_csv(text: str, where: str) -> tuple[Machine, ...]:
    """The machines of a table. Raises `ConfigError` with every problem as `file:line: what is expected`."""
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    reader = csv.reader(
        io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter, strict=True
    )
    machines: list[Machine] = []
    problems: list[str] = []
    lines: list[int] = []
    try:
        header = _header(next(reader, []), where)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                problems.append(
                    f"{where}:{reader.line_num}: {len(cells)} cells, the header has {len(header)}"
                )
                continue
            row = {name: cell.strip().removeprefix("'") for name, cell in zip(header, cells, strict=False)}
            machine, wrong = _machine(row)
            problems += [f"{where}:{reader.line_num}: {problem}" for problem in wrong]
            if machine is not None:
                machines.append(machine)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise ConfigError(f"{where}:{reader.line_num}: not CSV: {error}") from error
    problems += [f"{where}:{line}: {problem}" for line, problem in _doubles(machines, lines)]
    if problems:
        raise ConfigError("\n".join(problems))
    if not machines:
        raise ConfigError(f"{where}: no machine in it")
    return tuple(machines)


def _header(cells: list[str], where: str) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    unknown = sorted(set(header) - set(COLUMNS))
    if unknown:
        raise ConfigError(
            f"{where}:1: no column named {', '.join(map(repr, unknown))}; known are {', '.join(COLUMNS)}"
        )
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ConfigError(f"{where}:1: the column {missing[0]!r} is missing")
    if len(set(header)) < len(header):
        raise ConfigError(f"{where}:1: a column is named twice")
    return header


def _machine(row: Row) -> tuple[Machine | None, list[str]]:
    wrong: list[str] = []
    mac = clean_mac(row.get("mac", ""))
    if row.get("mac") and not mac:
        wrong.append(f"mac {row['mac']!r}: expected six pairs of hexadecimal digits")
    wrong += _wrong_words(row)
    port, slot = _whole(row, "port", 1, 65535, wrong), _whole(row, "slot", 0, 100_000, wrong)
    nominal_w = _watts(row, wrong)
    if port is None and not row.get("port"):
        wrong.append("port: expected 1 to 65535")
    if wrong or port is None:
        return None, wrong
    words = {
        name: row.get(name, "")
        for name in COLUMNS
        if name not in ("port", "slot", "nominal_w", "mac", "confidence")
    }
    return Machine(**words, port=port, slot=slot, nominal_w=nominal_w, mac=mac), []  # type: ignore[arg-type] # every other column is text


def _wrong_words(row: Row) -> list[str]:
    wrong: list[str] = []
    try:
        host, port = target(row.get("host", ""))
        if port is not None:
            wrong.append(f"host {row['host']!r}: the port has a column of its own")
        ipaddress.ip_address(host)
    except ConfigError as error:
        wrong.append(str(error))
    except ValueError:
        pass  # a name is a host too
    if row.get("adapter") not in ADAPTERS:
        wrong.append(f"adapter {row.get('adapter', '')!r}: expected one of {', '.join(sorted(ADAPTERS))}")
    if row.get("algorithm") and row["algorithm"] not in (Algorithm.SHA256D, Algorithm.SCRYPT):
        wrong.append(f"algorithm {row['algorithm']!r}: expected sha256d or scrypt")
    for name in ("id", "zone"):
        if row.get(name):
            try:
                checked_id(row[name], name)
            except ConfigError as error:
                wrong.append(str(error))
    return wrong


def _whole(row: Row, name: str, low: int, high: int, wrong: list[str]) -> int | None:
    text = row.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
        wrong.append(f"{name} {text!r}: expected {low} to {high}")
        return None
    return int(text)


def _watts(row: Row, wrong: list[str]) -> float | None:
    text = row.get("nominal_w", "")
    if not text:
        return None
    try:
        watts = float(text)
    except ValueError:
        watts = math.nan
    if not 0 < watts < 1e6:
        wrong.append(f"nominal_w {text!r}: expected W as 3250")
        return None
    return watts


def _doubles(machines: list[Machine], lines: list[int]) -> list[tuple[int, str]]:
    """A MAC, an id or an address that stands twice: with the line of its first."""
    problems: list[tuple[int, str]] = []
    first: dict[tuple[str, str], int] = {}
    for machine, line in zip(machines, lines, strict=True):
        for what, value in (("MAC", machine.mac), ("id", machine.id), ("address", machine.place)):
            if value and (what, value) in first:
                problems.append((line, f"{what} {value} stands in line {first[what, value]} already"))
            elif value:
                first[what, value] = line
    return problems
