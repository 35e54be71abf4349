"""The keeper of the ladder: what goes, when, and only after it is safe somewhere else."""

import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from cloud.devices import intake
from cloud.tables import ModelReportRow, PlanRow
from cloud.timeseries.cold import ParquetTier
from cloud.timeseries.retention import ColdFile, ColdTierFailed, Keeper, Policy
from cloud.timeseries.store import DAY_MS, HOUR_MS, Record
from shared.clock import ManualClock
from shared.ids import DeviceId, SiteId
from shared.telemetry import RollupRow, ScoreRow
from support.cloud import NOW_MS, SITE, Bench, born, row

DAY = NOW_MS // DAY_MS - 400
START = DAY * DAY_MS


def old_rows(count: int = 3, device: str = "m-01") -> list[RollupRow]:
    return [row(device, START + 60_000 * n, power_w_mean=float(n)) for n in range(count)]


async def write(bench: Bench, *rows: RollupRow, site: SiteId = SITE) -> None:
    async with bench.database.write() as session:
        await bench.series.write(session, site, rows)


def score(at_ms: int) -> ScoreRow:
    return ScoreRow(
        device=DeviceId("m-01"),
        at_ms=at_ms,
        model="miner-anomaly",
        version=1,
        score=0.5,
        threshold=1.0,
        top_feature=None,
    )


def report(number: int, state: str, at_ms: int) -> ModelReportRow:
    return ModelReportRow(
        site=SITE, event=f"e{number}", name="miner-anomaly", version=1, state=state, at_ms=at_ms, detail=""
    )


def plan(name: str, created_ms: int) -> PlanRow:
    return PlanRow(
        id=name,
        site=SITE,
        actor="Ada",
        order={},
        created_ms=created_ms,
        expires_ms=created_ms + 60_000,
        digest="",
        detail="",
    )


def keeper(bench: Bench, tmp_path: Path | None = None, **policy: float) -> Keeper:
    cold = ParquetTier(str(tmp_path / "cold")) if tmp_path is not None else None
    return Keeper(bench.database, bench.series, ManualClock(utc_ms=NOW_MS), Policy(**policy), cold)


async def rows_left(bench: Bench) -> int:
    return int(await bench.one("SELECT count(*) FROM rollup"))


async def test_an_expired_day_leaves_an_hour_and_a_file(bench: Bench, tmp_path: Path) -> None:
    await write(bench, *old_rows(), row(at_ms=NOW_MS - 60_000))
    await write(bench, *old_rows(2), site=SiteId("south"))
    done = await keeper(bench, tmp_path).round()
    assert (done.days, done.rows, done.cold_rows, done.failed) == (1, 5, 5, None)
    assert await rows_left(bench) == 1
    assert await bench.one("SELECT count(*) FROM rollup_hour") == 2
    ((path, rows),) = await bench.all("SELECT path, rows FROM cold_days")
    assert (path, rows) == ("rollup/day=2025-04-23/part-0000.parquet", 5)
    found = duckdb.sql(
        "SELECT site, count(*), sum(power_w_mean), max(day)::text, count(fault_max) FROM "
        f"read_parquet('{tmp_path}/cold/rollup/*/*.parquet', hive_partitioning = true) "
        "GROUP BY site ORDER BY site"
    ).fetchall()
    assert found == [("north", 3, 3.0, "2025-04-23", 0), ("south", 2, 1.0, "2025-04-23", 0)]


async def test_without_a_cold_tier_the_day_just_goes(bench: Bench) -> None:
    await write(bench, *old_rows())
    assert (await keeper(bench).round()).rows == 3
    assert await rows_left(bench) == 0
    assert await bench.one("SELECT count(*) FROM rollup_hour") == 1, "its hours stay for ever"


async def test_young_days_stay(bench: Bench) -> None:
    await write(bench, *old_rows())
    assert (await keeper(bench, rows_days=500.0).round()).days == 0
    assert await rows_left(bench) == 3


async def test_scores_go_an_hour_of_each_site_at_a_time_so_that_others_write_in_between(bench: Bench) -> None:
    await bench.commit(born(), born(site=SiteId("south")))
    async with bench.database.write() as session:
        for site in (SITE, SiteId("south")):
            ages = [START, START + 60_000, START + HOUR_MS, NOW_MS - 60_000]
            await intake.scores(session, site, [score(at_ms) for at_ms in ages])
    old = keeper(bench)
    assert [(await old.round()).scores for _ in range(3)] == [4, 2, 0]
    assert await bench.one("SELECT count(*) FROM scores") == 2
    assert await bench.one("SELECT count(*) FROM device_score") == 2, "the newest of each stands"


async def test_regular_reports_and_plans_go_and_what_changed_stays(bench: Bench) -> None:
    async with bench.database.write() as session:
        for number, (state, at_ms) in enumerate(
            [("active", START), ("active-report", START), ("shadow-report", START), ("active-report", NOW_MS)]
        ):
            session.add(report(number, state, at_ms))
        session.add_all([plan("old", START), plan("new", NOW_MS)])
    await keeper(bench).round()
    left = await bench.all("SELECT state, at_ms FROM model_reports ORDER BY row")
    assert [tuple(row) for row in left] == [("active", START), ("active-report", NOW_MS)]
    assert await bench.one("SELECT min(id) FROM command_plans") == "new"


async def test_rows_that_come_after_their_day_went_make_a_second_file(bench: Bench, tmp_path: Path) -> None:
    await write(bench, *old_rows(3))
    await keeper(bench, tmp_path).round()
    await write(bench, *old_rows(2, "m-02"))
    assert (await keeper(bench, tmp_path).round()).cold_rows == 2
    assert await bench.all("SELECT generation, rows FROM cold_days ORDER BY generation") == [(0, 3), (1, 2)]
    found = duckdb.sql(f"SELECT count(*) FROM read_parquet('{tmp_path}/cold/rollup/*/*.parquet')").fetchall()
    assert found == [(5,)]


async def test_rows_that_come_while_the_day_is_copied_keep_it(bench: Bench, tmp_path: Path) -> None:
    """What is in the file and what is in the table must be the same rows, or nothing goes."""
    tier = ParquetTier(str(tmp_path))
    late: list[RollupRow] = old_rows(1, "m-09")

    class Interrupted:
        async def store(self, day: int, generation: int, pages: AsyncIterator[Sequence[Record]]) -> ColdFile:
            file = await tier.store(day, generation, pages)
            while late:
                await write(bench, late.pop())
            return file

    await write(bench, *old_rows(3))
    keeps = Keeper(bench.database, bench.series, ManualClock(utc_ms=NOW_MS), Policy(), Interrupted())
    assert (await keeps.round()).rows == 0
    assert await rows_left(bench) == 4
    assert (await keeps.round()).cold_rows == 4
    assert await bench.all("SELECT generation, rows FROM cold_days") == [(0, 4)]


async def test_a_crash_between_file_and_deletion_leaves_no_row_twice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(bench, *old_rows(3))

    async def power_cut(*_: object) -> int:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(bench.series, "drop_day", power_cut)
        with pytest.raises(RuntimeError):
            await keeper(bench, tmp_path).round()
    assert await rows_left(bench) == 3
    assert (await keeper(bench, tmp_path).round()).cold_rows == 3
    files = list((tmp_path / "cold").rglob("*.parquet"))
    assert [pq.ParquetFile(path).metadata.num_rows for path in files] == [3]


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
async def test_a_file_that_cannot_be_read_back_keeps_the_day(
    sqlite_bench: Bench, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = sqlite_bench
    await write(bench, *old_rows(3))
    keeps = keeper(bench, tmp_path)
    honest = ParquetTier._read_back

    def damaged(self: ParquetTier, path: str, day: int) -> tuple[int, int]:
        file = tmp_path / "cold" / path
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-20] if damage == "cut" else b"")
        return honest(self, path, day)

    with monkeypatch.context() as patch:
        patch.setattr(ParquetTier, "_read_back", damaged)
        done = await keeps.round()
    assert done.failed is not None
    assert (done.rows, await rows_left(bench)) == (0, 3)
    assert (await keeps.round()).cold_rows == 3


async def test_a_file_with_fewer_rows_than_were_written_keeps_the_day(
    sqlite_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(sqlite_bench, *old_rows(3))
    monkeypatch.setattr(ParquetTier, "_read_back", lambda *_: (2, 100))
    done = await keeper(sqlite_bench, tmp_path).round()
    assert done.failed is not None
    assert "3 rows were written and 2 are there" in done.failed
    assert await rows_left(sqlite_bench) == 3


async def test_a_full_disk_is_no_end(sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        async def store(self, *_: object) -> ColdFile:
            raise ColdTierFailed("no space left")

    await write(sqlite_bench, *old_rows(3), row(at_ms=NOW_MS - 7_200_000))
    clock = ManualClock(utc_ms=NOW_MS)
    done = await Keeper(sqlite_bench.database, sqlite_bench.series, clock, Policy(), Full()).round()
    assert done.failed == "no space left"
    assert done.hours == 2, "the rest of the round is done"


async def test_numbers_are_the_same_in_the_file(bench: Bench, tmp_path: Path) -> None:
    sent = row(at_ms=START, hashrate_ths_mean=0.1 + 0.2, power_w_mean=None, fault_max=0.0)
    await write(bench, sent)
    await keeper(bench, tmp_path).round()
    ((mean, power, fault, state, samples),) = duckdb.sql(
        "SELECT hashrate_ths_mean, power_w_mean, fault_max, state, samples "
        f"FROM read_parquet('{tmp_path}/cold/rollup/*/*.parquet')"
    ).fetchall()
    assert (mean, power, fault, state, samples) == (0.1 + 0.2, None, 0.0, "mining", 6)


async def test_an_object_store_is_as_good(sqlite_bench: Bench) -> None:
    """fsspec's memory file system stands for one: no folder, no rename."""
    await write(sqlite_bench, *old_rows(3))
    clock = ManualClock(utc_ms=NOW_MS)
    tier = ParquetTier("memory://minewarden-cold")
    done = await Keeper(sqlite_bench.database, sqlite_bench.series, clock, Policy(), tier).round()
    assert done.cold_rows == 3


async def test_an_object_store_keeps_no_half_of_a_day() -> None:
    """Closing a file that broke off in the middle commits it there, and DuckDB would fail over the folder."""

    async def breaks() -> AsyncIterator[Sequence[Record]]:
        yield []
        raise ConnectionError("the database went away")

    tier = ParquetTier("memory://minewarden-half")
    with pytest.raises(ColdTierFailed, match="the database went away"):
        await tier.store(19_000, 0, breaks())
    assert fsspec.filesystem("memory").find("/minewarden-half") == []


class Upload(AbstractBufferedFile):  # type: ignore[misc]  # fsspec ships no types
    """An upload in parts, as to S3: nothing appears before the last part, and closing sends the last part."""

    def _initiate_upload(self) -> None:
        self.parts = b""

    def _upload_chunk(self, final: bool = False) -> bool:
        self.parts += self.buffer.getvalue()
        if final:
            self.fs.shown.append(self.path)
            self.fs.pipe_file(self.path, self.parts)
        return True

    def discard(self) -> None:
        self.fs.ended.append(self.path)


class Parts(MemoryFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """An object store that takes uploads in parts, and does not let everybody remove."""

    protocol = "parts"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.ended: list[str] = []

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        return Upload(self, path, mode) if mode == "wb" else super()._open(path, mode, **more)

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        with super()._open(path, "wb") as file:
            file.write(value)

    def rm_file(self, path: str) -> None:
        raise PermissionError(path)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    store = Parts()
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: (store, "/minewarden-parts"))
    return store


async def test_an_upload_that_breaks_off_is_ended_and_never_appears(parts: Parts) -> None:
    """Taking it away afterwards would be too late for whoever reads meanwhile, and may be forbidden."""

    async def breaks() -> AsyncIterator[Sequence[Record]]:
        yield []
        raise ConnectionError("the database went away")

    with pytest.raises(ColdTierFailed, match="the database went away"):
        await ParquetTier("parts://minewarden-parts").store(19_000, 0, breaks())
    gc.collect()
    assert (parts.shown, len(parts.ended)) == ([], 1)


async def test_an_upload_that_is_whole_appears(sqlite_bench: Bench, parts: Parts) -> None:
    await write(sqlite_bench, *old_rows(3))
    tier = ParquetTier("parts://minewarden-parts")
    clock = ManualClock(utc_ms=NOW_MS)
    done = await Keeper(sqlite_bench.database, sqlite_bench.series, clock, Policy(), tier).round()
    assert (done.cold_rows, len(parts.shown), parts.ended) == (3, 1, [])


async def test_an_object_store_keeps_nothing_that_cannot_be_read_back(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(sqlite_bench, *old_rows(3))
    monkeypatch.setattr(ParquetTier, "_read_back", lambda *_: (2, 100))
    tier = ParquetTier("memory://minewarden-short")
    clock = ManualClock(utc_ms=NOW_MS)
    done = await Keeper(sqlite_bench.database, sqlite_bench.series, clock, Policy(), tier).round()
    assert done.failed is not None
    assert fsspec.filesystem("memory").find("/minewarden-short") == []


async def test_raw_windows_and_histories_expire(bench: Bench) -> None:
    async with bench.database.write() as session:
        for number, age in enumerate((40, 10)):
            await bench.insert_window(session, number, NOW_MS - age * DAY_MS)
    done = await keeper(bench).round()
    assert done.windows == 1
    assert await bench.all("SELECT sha256 FROM raw_windows") == [("1",)]
