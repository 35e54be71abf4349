"""`minewarden store`: look into a gateway's store without disturbing the agent that uses it.

The file is opened read-only, so that a person at the container cannot damage what the cloud has not got yet.
"""

import argparse
import csv
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import msgspec
from sqlite_utils import Database

from edge_agent import config
from edge_agent.agent.store.frames import read_frames
from edge_agent.agent.store.opening import FILE_NAME
from shared.errors import ConfigError, MinewardenError, StoreError
from shared.frames import unpack
from shared.telemetry import COLUMN_NAMES, RollupRow
from shared.wire import codec


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code (1 = damaged or refused, 2 = wrong use)."""
    args = _parser().parse_args(argv)
    try:
        state = _state(args)
        if args.command == "export":
            return _export(state, args)
        with _open(state / FILE_NAME) as database:
            return {"info": _info, "tables": _tables, "integrity": _integrity}[args.command](database, state)
    except (MinewardenError, sqlite3.Error, OSError) as error:
        print(f"minewarden store: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden store")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("info", "what was recorded, what waits for the cloud, how large it is"),
        ("tables", "tables with columns and row counts"),
        ("integrity", "check the whole file; exit 1 if it is damaged"),
        ("export", "roll-ups or raw samples as CSV"),
    ):
        command = commands.add_parser(name, help=about)
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--site", help="the site file")
        where.add_argument("--state", help="the agent's state folder")
        if name == "export":
            command.add_argument("--csv", required=True, help="file to write, '-' for standard output")
            command.add_argument("--raw", action="store_true", help="raw samples instead of roll-ups")
            command.add_argument("--device", help="only this device")
            command.add_argument("--since-ms", type=int, default=0, help="only from this UTC time on, in ms")
    return parser


def _state(args: argparse.Namespace) -> Path:
    return Path(args.state) if args.state else Path(config.load(Path(args.site)).paths.agent_state)


def _open(path: Path) -> Database:
    if not path.is_file():
        raise StoreError(f"{path}: there is no store here")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    return Database(connection, recursive_triggers=False, execute_plugins=False)


def _info(database: Database, state: Path) -> int:
    raw = list((state / "raw").glob("*.frames"))
    print(f"file      {(state / FILE_NAME).stat().st_size / 1e6:.1f} MB")
    print(f"raw       {sum(path.stat().st_size for path in raw) / 1e6:.1f} MB in {len(raw)} files")
    for row in database.query("SELECT count(*) n, min(at_ms) a, max(at_ms) b, sum(count) rows FROM rollup"):
        print(f"roll-ups  {row['n']} steps, {row['rows'] or 0} rows, {row['a']} … {row['b']} (UTC ms)")
    for row in database.query(
        "SELECT stream, count(DISTINCT epoch) epochs, sum(rows) rows, sum(batches) batches, "
        "sum(acked) acked, sum(dropped_rows) dropped FROM ledger GROUP BY stream ORDER BY stream"
    ):
        print(
            f"stream    {row['stream']}: {row['rows']} rows in {row['batches']} batches over {row['epochs']} "
            f"epochs, {row['acked']} acked, {row['dropped']} rows dropped"
        )
    for row in database.query(
        "SELECT stream, count(*) n, sum(length(body)) size, sum(tombstone) stones FROM outbox GROUP BY stream"
    ):
        size = f"{row['size'] / 1e6:.2f} MB"
        print(f"outbox    {row['stream']}: {row['n']} batches, {size}, {row['stones']} tombstones")
    return 0


def _tables(database: Database, _state: Path) -> int:
    for table in database.tables:
        columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
        print(f"{table.name:<22}{table.count:>10} rows  {columns}")
    return 0


def _integrity(database: Database, _state: Path) -> int:
    found = [str(next(iter(row.values()))) for row in database.query("PRAGMA integrity_check")]
    print("\n".join(found))
    return 0 if found == ["ok"] else 1


def _export(state: Path, args: argparse.Namespace) -> int:
    lines = _raw_lines(state, args) if args.raw else _rollup_lines(state, args)
    if args.csv == "-":
        return _write(sys.stdout, lines)
    with Path(args.csv).open("w", newline="") as file:
        return _write(file, lines)


def _write(file: TextIO, lines: Iterable[Sequence[object]]) -> int:
    csv.writer(file).writerows(lines)
    return 0


def _rollup_lines(state: Path, args: argparse.Namespace) -> Iterator[Sequence[object]]:
    yield ("at_ms", "device", "step_s", "samples", "failed", "quality", "state", "preset", *COLUMN_NAMES)
    with _open(state / FILE_NAME) as database:
        query = "SELECT body FROM rollup WHERE at_ms >= ? ORDER BY at_ms, id"
        for frame in database.query(query, [args.since_ms]):
            for row in codec.decode(frame["body"], list[RollupRow]):
                if args.device in (None, row.device):
                    head = (row.at_ms, row.device, row.step_s, row.samples, row.failed, row.quality.name)
                    yield (*head, row.state, row.preset, *row.values)


def _raw_lines(state: Path, args: argparse.Namespace) -> Iterator[Sequence[object]]:
    yield ("at_ms", "device", "boot", "seq", "state", "preset", "failure", "readings")
    for path in sorted((state / "raw").glob("*.frames")):
        for sample in (sample for frame in read_frames(path) for sample in unpack(frame)):
            if sample.at_ms >= args.since_ms and args.device in (None, sample.device):
                readings = msgspec.json.encode(sample.readings).decode()
                head = (sample.at_ms, sample.device, sample.boot, sample.seq)
                yield (*head, sample.state, sample.preset, sample.failure, readings)
