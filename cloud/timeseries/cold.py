"""The cold tier: whole UTC days of roll-up rows as Parquet, in a folder or an object store.

One file per day and generation, `rollup/day=2026-01-31/part-0000.parquet`, in a layout that DuckDB and
pyarrow read as a data set with the column `day`. The place is any URL that fsspec knows (`file://`, `s3://`,
each with its own package); a plain path is a folder. Needs the extra `cold` (decision 19), so it is imported
only where a configuration asks for it.
"""

import asyncio
import datetime
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import fsspec  # type: ignore[import-untyped]  # ships no types
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]  # the same

from cloud.timeseries.retention import ColdFile, ColdTierFailed
from cloud.timeseries.rows import COLUMNS
from cloud.timeseries.store import DAY_MS, Record
from shared.errors import ConfigError
from shared.telemetry import COLUMN_NAMES

_WORDS = frozenset(("site", "device", "kind", "algorithm", "state", "preset"))
GROUP_ROWS = 50_000
"""Rows per Parquet row group; as many are in memory while a day is written."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


class ParquetTier:
    """`ColdTier`: writes days and reads them back."""

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"retention.cold {url!r} cannot be used: {error}") from error
        self._local = "file" in _protocols(self._fs)

    def path(self, day: int, generation: int) -> str:
        """Where a day's file is, below the tier's root."""
        date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
        return f"rollup/day={date:%Y-%m-%d}/part-{generation:04d}.parquet"

    async def store(self, day: int, generation: int, pages: AsyncIterator[Sequence[Record]]) -> ColdFile:
        """Write one day and read it back; raises `ColdTierFailed`. Writing the same again replaces it.

        What is not whole does not stay under its name: DuckDB and pyarrow would fail over the data set.
        """
        path = self.path(day, generation)
        try:
            written = await self._write(path, pages)
            try:
                return await _to_the_end(self._proven, path, day, written)
            except Exception:
                await _to_the_end(_attempt, self._fs.rm_file, f"{self._root}/{path}")
                raise
        except ColdTierFailed:
            raise
        except Exception as error:
            # Whatever a foreign store says, the answer is the same: the day stays where it is.
            raise ColdTierFailed(f"{path}: {type(error).__name__}: {error}") from error

    async def _write(self, path: str, pages: AsyncIterator[Sequence[Record]]) -> int:
        target = f"{self._root}/{path}"
        name = f"{target}.part" if self._local else target
        await _to_the_end(self._make_folder, target.rpartition("/")[0])
        file = await _to_the_end(self._fs.open, name, "wb")
        try:
            rows = await _fill(file, pages)
            await _to_the_end(file.close)
            if self._local:
                await _to_the_end(_settle, Path(name), Path(target))
        except BaseException:
            await _to_the_end(self._abandon, file, name)
            raise
        return rows

    def _make_folder(self, folder: str) -> None:
        self._fs.makedirs(folder, exist_ok=True)

    def _abandon(self, file: Any, name: str) -> None:
        """Nothing of it appears: closing it, an object store would take what there is for the whole."""
        if isinstance(file, AbstractBufferedFile):
            file.closed = True  # before all else: its `close`, also when it is collected, commits
        _attempt(file.close if self._local else getattr(file, "discard", file.close))
        _attempt(self._fs.rm_file, name)

    def _proven(self, path: str, day: int, written: int) -> ColdFile:
        rows, size = self._read_back(path, day)
        if rows != written:
            raise ColdTierFailed(f"{path}: {written} rows were written and {rows} are there")
        return ColdFile(path=path, rows=rows, size=size)

    def _read_back(self, path: str, day: int) -> tuple[int, int]:
        """Rows and bytes of a file, from its contents and not from its footer's word."""
        target = f"{self._root}/{path}"
        rows = 0
        with self._fs.open(target, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches():
                rows += batch.num_rows
                span = pc.min_max(batch.column("at_ms")).as_py()
                if not day * DAY_MS <= span["min"] <= span["max"] < (day + 1) * DAY_MS:
                    raise ColdTierFailed(f"{path}: has rows of another day")
        return rows, int(self._fs.size(target))


def _attempt(call: Callable[..., Any], *given: Any) -> None:
    """One step of cleaning up after a failure; it is that failure which is told, its own is only logged."""
    try:
        call(*given)
    except FileNotFoundError:
        pass
    except Exception:  # noqa: BLE001 - what foreign stores raise has no common root
        _log.warning("half a day is left behind in the cold tier: %s", given, exc_info=True)


async def _to_the_end(call: Callable[..., T], *given: Any) -> T:
    """In a thread. Waits for it also where it is cancelled: what follows must not meet it at work."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def _fill(file: Any, pages: AsyncIterator[Sequence[Record]]) -> int:
    """Write all pages as one Parquet file; the rows."""
    rows = 0
    writer = pq.ParquetWriter(file, _schema(), compression="zstd")
    try:
        waiting: list[Record] = []
        async for page in pages:
            waiting.extend(page)
            if len(waiting) >= GROUP_ROWS:
                rows += await _to_the_end(_put, writer, waiting)
                waiting = []
        if waiting:
            rows += await _to_the_end(_put, writer, waiting)
        await _to_the_end(writer.close)
    except BaseException:
        writer.is_open = False  # when collected it would write its end into a file that is given up
        raise
    return rows


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _schema() -> Any:
    whole = {"at_ms": pa.int64(), "step_s": pa.int32(), "samples": pa.int32(), "failed": pa.int32()}
    return pa.schema(
        [
            (name, pa.string() if name in _WORDS else whole.get(name, pa.int8()))
            if name not in COLUMN_NAMES
            else (name, pa.float64())
            for name in COLUMNS
        ]
    )


def _put(writer: Any, records: Sequence[Record]) -> int:
    schema = writer.schema
    arrays = [
        pa.array(column, type=field.type)
        for column, field in zip(zip(*records, strict=True), schema, strict=True)
    ]
    writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return len(records)


def _settle(part: Path, target: Path) -> None:
    """Make a local file whole and durable under its name: what follows is a deletion."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
