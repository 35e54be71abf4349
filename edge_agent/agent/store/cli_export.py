"""`minewarden store export`: roll-ups and raw samples as CSV or Parquet."""

import argparse
import csv
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import msgspec

from edge_agent.agent.store.frames import SUFFIX, began_ms, read_frames
from edge_agent.agent.store.opening import FILE_NAME
from shared.errors import ConfigError, StoreError
from shared.frames import unpack
from shared.telemetry import COLUMN_NAMES, RollupRow
from shared.wire import codec

Line = Sequence[object]
ROLLUP_HEAD: Final = ("at_ms", "device", "step_s", "samples", "failed", "quality", "state", "preset")
RAW_HEAD: Final = ("at_ms", "device", "boot", "seq", "state", "preset", "failure", "readings")
_WHOLE: Final = frozenset({"at_ms", "step_s", "samples", "failed", "seq"})
_LINES_AT_ONCE: Final = 50_000


def arguments(command: argparse.ArgumentParser) -> None:
    """What `export` takes beside the store."""
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("--csv", help="CSV file to write, '-' for standard output")
    target.add_argument("--parquet", help="Parquet file to write (needs pyarrow)")
    command.add_argument("--raw", action="store_true", help="raw samples instead of roll-ups")
    command.add_argument("--device", help="only this device")
    command.add_argument("--since-ms", type=int, default=0, help="only from this UTC time on, in ms")
    command.add_argument("--until-ms", type=int, default=2**62, help="only before this UTC time, in ms")


def export(state: Path, args: argparse.Namespace) -> int:
    """Write what was asked for; returns the exit code. Raises `StoreError` where there is no store.

    A file that stands there already is replaced when the new one is whole, and not before.
    """
    if not (state / FILE_NAME).is_file() and not (args.raw and (state / "raw").is_dir()):
        raise StoreError(f"{state / FILE_NAME}: there is no store here")
    head: Line = RAW_HEAD if args.raw else (*ROLLUP_HEAD, *COLUMN_NAMES)
    damaged: list[str] = []
    lines = _raw_lines(state, args, damaged) if args.raw else _rollup_lines(state, args)
    if args.csv == "-":
        _write_csv(sys.stdout, head, lines)
        return _say(damaged)
    target = Path(args.parquet or args.csv)
    if target.exists() and not target.is_file():
        raise ConfigError(f"{target}: is no file; name one, or '-' for standard output (CSV)")
    beside = target.with_name(f"{target.name}.part")
    try:
        if args.parquet:
            _write_parquet(beside, head, lines)
        else:
            with beside.open("w", newline="") as file:
                _write_csv(file, head, lines)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return _say(damaged)


def _say(damaged: Sequence[str]) -> int:
    """What is missing in what was written; the exit code."""
    for words in damaged:
        print(f"minewarden store: {words}", file=sys.stderr)
    return 1 if damaged else 0


def _rollup_lines(state: Path, args: argparse.Namespace) -> Iterator[Line]:
    path = state / FILE_NAME
    query = "SELECT body FROM rollup WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms, id"
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        for (body,) in db.execute(query, (args.since_ms, args.until_ms)):
            for row in codec.decode(body, list[RollupRow]):
                if args.device in (None, row.device):
                    head = (row.at_ms, row.device, row.step_s, row.samples, row.failed, row.quality.name)
                    yield (*head, row.state, row.preset, *row.values)


def _raw_lines(state: Path, args: argparse.Namespace, damaged: list[str]) -> Iterator[Line]:
    for path in sorted((state / "raw").glob(f"*{SUFFIX}"), key=lambda path: (began_ms(path), path.name)):

        def told(places: int, path: Path = path) -> None:
            damaged.append(f"{path}: damaged in {places} places, what was there is not in the export")

        for sample in (sample for frame in read_frames(path, told) for sample in unpack(frame)):
            if args.since_ms <= sample.at_ms < args.until_ms and args.device in (None, sample.device):
                readings = msgspec.json.encode(sample.readings).decode()
                head = (sample.at_ms, sample.device, sample.boot, sample.seq)
                yield (*head, sample.state, sample.preset, sample.failure, readings)


def _write_csv(file: TextIO, head: Line, lines: Iterable[Line]) -> None:
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows(lines)


def _write_parquet(path: Path, head: Line, lines: Iterator[Line]) -> None:
    """One row group per 50,000 lines, so that memory stays small. Unknown is null."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency, loaded where it is asked for
        import pyarrow.parquet as pq  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'minewarden[parquet]'") from error
    words = {"device", "boot", "quality", "state", "preset", "failure", "readings"}
    schema = pa.schema(
        [
            (name, pa.int64() if name in _WHOLE else pa.string() if name in words else pa.float64())
            for name in map(str, head)
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(islice(lines, _LINES_AT_ONCE)):
            columns = zip(*some, strict=True)
            arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
