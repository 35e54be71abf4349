"""`minewarden store inspect | tables | integrity`: for a person who has never seen the file before."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from edge_agent.agent.store.database import LEVEL_KEY
from edge_agent.agent.store.frames import SUFFIX, began_ms, read_frames
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.quota import Pressure
from shared.errors import WireError
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Batch, Tombstone

_LEVELS: Final = {
    Pressure.NONE: "has room",
    Pressure.THINNING: "nearly full: rows are thinned to minutes",
    Pressure.DROPPING: "full: the oldest telemetry is dropped",
    Pressure.EVENTS: "full of events: nothing else is kept for the cloud",
}
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def inspect(database: Database, state: Path, now_ms: int) -> int:
    """What is in the store, in words."""
    _files(state)
    for row in database.query("SELECT count(*) n, min(at_ms) a, max(at_ms) b, sum(count) rows FROM rollup"):
        span = f", {when(row['a'])} to {when(row['b'])}" if row["n"] else ""
        print(f"roll-ups     {row['rows'] or 0} rows in {row['n']} steps{span}")
    _outbox(database, now_ms)
    print()
    print("stream     recorded rows  batches  confirmed  thinned or given up  epochs")
    for row in database.query(
        "SELECT stream, count(DISTINCT epoch) epochs, sum(rows) rows, sum(batches) batches, "
        "sum(acked) acked, sum(dropped_rows) dropped FROM ledger GROUP BY stream ORDER BY stream"
    ):
        print(
            f"{row['stream']:<10} {row['rows']:>13}  {row['batches']:>7}  {row['acked']:>9}  "
            f"{row['dropped']:>19}  {row['epochs']:>6}"
        )
    return 0


def _files(state: Path) -> None:
    names = (FILE_NAME, f"{FILE_NAME}-wal")
    parts = [state / name for name in names if (state / name).exists()]
    print(
        f"file         {state / FILE_NAME}, {size(sum(part.stat().st_size for part in parts))} with its log"
    )
    raw = sorted((state / "raw").glob(f"*{SUFFIX}"), key=began_ms)
    span = f", since {when(began_ms(raw[0]))}" if raw else ""
    print(f"raw samples  {size(sum(path.stat().st_size for path in raw))} in {len(raw)} files{span}")
    for path in sorted(state.glob(f"{FILE_NAME}.corrupt.*[0-9]")):
        print(f"set aside    {path.name}, {size(path.stat().st_size)}: a damaged store; see 'store salvage'")


def _outbox(database: Database, now_ms: int) -> None:
    level = next((int(row["value"]) for row in database.query(_LEVEL, [LEVEL_KEY])), 0)
    print(f"outbox       {_LEVELS[Pressure(level)]}")
    found = list(database.query(_WAITING))
    if not found:
        print("  nothing waits: the cloud has confirmed everything")
    for row in found:
        stones = f", {row['stones']} tombstones" if row["stones"] else ""
        age = f", oldest {when(row['a'])} ({ago(now_ms - row['a'])})" if row["a"] is not None else ""
        print(
            f"  {row['stream']:<10} {row['n']} batches, {row['rows']} rows, {size(row['size'])}{age}{stones}"
        )


_WAITING: Final = (
    "SELECT stream, count(*) n, sum(length(body)) size, sum(tombstone) stones, "
    "sum(count * (1 - tombstone)) rows, min(CASE tombstone WHEN 0 THEN from_ms END) a "
    "FROM outbox GROUP BY stream ORDER BY max(priority) DESC"
)
_LEVEL: Final = "SELECT value FROM meta WHERE key = ?"


def tables(database: Database, _state: Path) -> int:
    """Tables with columns and row counts."""
    for table in database.tables:
        columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
        print(f"{table.name:<22}{table.count:>10} rows  {columns}")
    return 0


def integrity(database: Database, state: Path) -> int:
    """The file's structure, and whether every batch, every roll-up and every raw frame decodes."""
    found = [str(next(iter(row.values()))) for row in database.query("PRAGMA integrity_check")]
    problems = [] if found == ["ok"] else found
    checked = 0
    for row in database.query("SELECT id, epoch, stream, seq, body FROM outbox ORDER BY id"):
        checked += 1
        try:
            batch: Batch | Tombstone = codec.decode(row["body"], Batch | Tombstone)  # type: ignore[arg-type]  # msgspec takes unions
            if (batch.epoch, batch.stream, batch.seq) != (row["epoch"], row["stream"], row["seq"]):
                problems.append(f"outbox line {row['id']}: its body is another batch")
        except WireError as error:
            problems.append(f"outbox line {row['id']}: {error}")
    for row in database.query("SELECT id, count, body FROM rollup ORDER BY id"):
        checked += 1
        try:
            if len(codec.decode(row["body"], list[RollupRow])) != row["count"]:
                problems.append(f"roll-up step {row['id']}: rows are missing")
        except WireError as error:
            problems.append(f"roll-up step {row['id']}: {error}")
    frames, damaged = _raw_frames(state)
    problems += damaged
    sound = f"ok: the file is sound, {checked} batches and steps decode, and {frames} frames of raw samples"
    print("\n".join(problems) or sound)
    if found != ["ok"]:
        print("Stop the agent and start it again: it sets the file aside and saves what still opens.")
    return 1 if problems else 0


def _raw_frames(state: Path) -> tuple[int, list[str]]:
    """How many frames of raw samples decode, and a sentence for each file that is damaged."""
    frames, problems = 0, []
    for path in sorted((state / "raw").glob(f"*{SUFFIX}")):
        places: list[int] = []
        try:
            frames += sum(1 for _ in read_frames(path, places.append))
        except FileNotFoundError:
            continue  # the agent let go of it meanwhile
        problems += [f"{path}: damaged in {count} places; the frames there are lost" for count in places]
    return frames, problems


def when(at_ms: int) -> str:
    """A time as people write it, UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(span_ms: int) -> str:
    """How long ago, in its largest unit."""
    for unit_ms, name in _UNITS:
        if span_ms >= unit_ms:
            return f"{span_ms / unit_ms:.1f} {name} ago"
    return "just now" if span_ms > -1000 else "in the future: a clock is or was wrong"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
