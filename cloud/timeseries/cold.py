"""The cold tier: whole UTC days of roll-up rows as Parquet, in a folder or an object store.

One file per day and generation, `rollup/day=2026-01-31/part-0000.parquet`, in a layout that DuckDB and
pyarrow read as a data set with the column `day`. The place is any URL that fsspec knows (`file://`, `s3://`,
each with its own package); a plain path is a folder. Needs the extra `cold` (decision 19), so it is imported
only where a configuration asks for it.
"""

import asyncio
import contextlib
import datetime
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]  # ships no types
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloud.timeseries.retention import ColdFile, ColdTierFailed
from cloud.timeseries.rows import COLUMNS
from cloud.timeseries.store import DAY_MS, Record
from shared.errors import ConfigError
from shared.telemetry import COLUMN_NAMES

_WORDS = frozenset(("site", "device", "kind", "algorithm", "state", "preset"))
GROUP_ROWS = 50_000
"""Rows per Parquet row group; as many are in memory while a day is written."""


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
        """Write one day and read it back; raises `ColdTierFailed`. Writing the same again replaces it."""
        path = self.path(day, generation)
        try:
            written = await self._write(path, pages)
            rows, size = await asyncio.to_thread(self._read_back, path, day)
        except ColdTierFailed:
            raise
        except Exception as error:
            # Whatever a foreign store says, the answer is the same: the day stays where it is.
            raise ColdTierFailed(f"{path}: {type(error).__name__}: {error}") from error
        if rows != written:
            raise ColdTierFailed(f"{path}: {written} rows were written and {rows} are there")
        return ColdFile(path=path, rows=rows, size=size)

    async def _write(self, path: str, pages: AsyncIterator[Sequence[Record]]) -> int:
        target = f"{self._root}/{path}"
        name = f"{target}.part" if self._local else target
        await asyncio.to_thread(self._fs.makedirs, target.rpartition("/")[0], exist_ok=True)
        try:
            rows = await self._write_as(name, pages)
        except BaseException:
            # Closing the file, an object store takes what there is for the whole; nobody may find half a day.
            await asyncio.shield(asyncio.to_thread(self._forget, name))
            raise
        if self._local:
            await asyncio.to_thread(_settle, Path(name), Path(target))
        return rows

    async def _write_as(self, name: str, pages: AsyncIterator[Sequence[Record]]) -> int:
        rows = 0
        with await asyncio.to_thread(self._fs.open, name, "wb") as file:
            writer = pq.ParquetWriter(file, _schema(), compression="zstd")
            waiting: list[Record] = []
            async for page in pages:
                waiting.extend(page)
                if len(waiting) >= GROUP_ROWS:
                    rows += await asyncio.to_thread(_put, writer, waiting)
                    waiting = []
            if waiting:
                rows += await asyncio.to_thread(_put, writer, waiting)
            await asyncio.to_thread(writer.close)
        return rows

    def _forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._fs.rm_file(name)

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
