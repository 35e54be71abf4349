"""Training jobs: one child process at a time, so that torch and its memory never enter this process.

The child gets a data set and a folder, says where it is in JSON lines on its standard output, and leaves
`result.json`. It is killed when it takes too long and when this process ends.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cloud.config import TrainingSettings
from cloud.devices import repository as devices
from cloud.kit.changes import Changes
from cloud.kit.database import Database
from cloud.kit.keys import Keys
from cloud.kit.problems import Conflict
from cloud.models import repository, service
from cloud.models.blobs import BlobStore
from cloud.tables import TrainingJobRow
from cloud.timeseries.store import TimeSeriesStore
from cloud.training import datasets
from cloud.training.report import Result
from shared.clock import Clock
from shared.errors import ArtifactError, MinewardenError
from shared.ids import DeviceId, SiteId
from shared.telemetry import DeviceKind, RollupRow

MAX_WAITING = 8
MAX_ROWS = 3_000_000
LINE_LIMIT = 256 * 1024
_log = logging.getLogger(__name__)


class TrainingFailed(MinewardenError):
    """The run brought nothing; the text says why."""

    code = "training"


class Trainer:
    """Runs queued jobs, oldest first."""

    def __init__(
        self,
        database: Database,
        series: TimeSeriesStore,
        blobs: BlobStore,
        keys: Keys,
        clock: Clock,
        settings: TrainingSettings,
        folder: Path,
        *,
        on_changes: Callable[[Changes], None],
        program: Sequence[str] = (sys.executable, "-P", "-m", "cloud.training"),
    ) -> None:
        self._database = database
        self._series = series
        self._blobs = blobs
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._folder = folder
        self._on_changes = on_changes
        self._program = tuple(program)
        self._wake = asyncio.Event()

    async def enqueue(self, site: SiteId, algorithms: Sequence[str], minutes: int | None) -> TrainingJobRow:
        """Ask for a run; raises `Conflict` where too many wait."""
        now_ms = self._clock.utc_ms()
        async with self._database.write() as session:
            if await repository.waiting(session) >= MAX_WAITING:
                raise Conflict(f"{MAX_WAITING} training jobs wait already")
            row = TrainingJobRow(
                id=str(uuid.uuid4()),
                site=site,
                algorithms=list(algorithms or self._settings.algorithms),
                from_ms=now_ms - minutes * 60_000 if minutes is not None else None,
                state="queued",
                requested_ms=now_ms,
                detail="waits",
            )
            session.add(row)
        self._wake.set()
        return row

    async def run(self) -> None:
        """Work for ever; ends only by cancellation."""
        async with self._database.write() as session:
            await repository.end_orphans(session, self._clock.utc_ms())
        while True:
            async with self._database.read() as session:
                job = await repository.next_job(session)
            if job is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            await self._do(job)

    async def _do(self, job: TrainingJobRow) -> None:
        await self._note(job, state="running", started_ms=self._clock.utc_ms(), detail="collects rows")
        work = self._folder / job.id
        try:
            result, versions = await self._train(job, work)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - supervisor: a failed job must not end the trainer
            if not isinstance(error, MinewardenError):
                _log.exception("training job %s failed", job.id)
            await self._note(job, state="failed", ended_ms=self._clock.utc_ms(), detail=str(error))
        else:
            report = {**msgspec.to_builtins(result), "versions": versions}
            state = "done" if result.chosen is not None else "failed"
            await self._note(
                job, state=state, ended_ms=self._clock.utc_ms(), detail=result.detail, result=report
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _train(self, job: TrainingJobRow, work: Path) -> tuple[Result, dict[str, int]]:
        out = work / "out"
        out.mkdir(parents=True)
        count = await self._export(job, work / "rows.dataset")
        await self._note(job, detail=f"trains on {count} rows")
        champion = await self._lay_out_champion(job, work / "champion")
        await self._child(job, work, out, champion)
        try:
            result = msgspec.json.decode((out / "result.json").read_bytes(), type=Result)
        except (OSError, msgspec.DecodeError) as error:
            raise TrainingFailed(f"training left no usable result: {error}") from error
        built = await service.collect(result, out, self._blobs)
        async with self._database.write() as session:
            rows = await service.register(
                session,
                built,
                site=job.site,
                job=job.id,
                keys=self._keys,
                now_ms=self._clock.utc_ms(),
                life_days=self._settings.model_life_days,
            )
        changes = Changes()
        changes.models.update((row.name, row.version) for row in rows)
        self._on_changes(changes)
        return result, {row.algorithm: row.version for row in rows}

    async def _export(self, job: TrainingJobRow, path: Path) -> int:
        """Write the miners' rows; how many there were."""
        rows: list[RollupRow] = []
        end_ms = self._clock.utc_ms() + 86_400_000
        async with self._database.read() as session:
            inventory = await devices.inventory(session, job.site)
            models = {DeviceId(row.id): row.model for row in inventory if row.model is not None}
            async for row in self._series.export(session, SiteId(job.site), job.from_ms or 0, end_ms):
                if row.kind is DeviceKind.MINER:
                    rows.append(row)
                if len(rows) > MAX_ROWS:
                    raise TrainingFailed(f"more than {MAX_ROWS} rows; ask for fewer minutes")
        if not rows:
            raise TrainingFailed("the site has sent no rows of miners in that time")
        step_s = rows[-1].step_s
        # A site may have changed its step; features are defined on one, so the newest counts.
        rows = [row for row in rows if row.step_s == step_s]
        await asyncio.to_thread(lambda: datasets.write(rows, path, models=models))
        return len(rows)

    async def _lay_out_champion(self, job: TrainingJobRow, folder: Path) -> Path | None:
        async with self._database.read() as session:
            row = await repository.champion(session, job.site)
        if row is None:
            return None
        try:
            data = await self._blobs.get(row.sha256)
        except ArtifactError as error:
            raise TrainingFailed(f"the present champion cannot be read: {error}") from error
        folder.mkdir()
        (folder / "model.onnx").write_bytes(data)
        manifest = msgspec.msgpack.decode(row.manifest)
        (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        return folder

    async def _child(self, job: TrainingJobRow, work: Path, out: Path, champion: Path | None) -> None:
        command = [*self._program, "--dataset", str(work / "rows.dataset"), "--out", str(out)]
        if job.algorithms:
            command += ["--algorithms", ",".join(job.algorithms)]
        if champion is not None:
            command += ["--champion", str(champion)]
        threads = str(self._settings.threads)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                last, errors = await asyncio.gather(self._follow(job, process), _tail(process))
                code = await process.wait()
        except TimeoutError as error:
            raise TrainingFailed(
                f"took longer than {self._settings.timeout_s:.0f} s and was ended"
            ) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if not (out / "result.json").exists():
            raise TrainingFailed(f"training ended with code {code}: {last or errors or 'no word'}")

    async def _follow(self, job: TrainingJobRow, process: asyncio.subprocess.Process) -> str:
        """Note each progress line; returns the last detail."""
        assert process.stdout is not None  # noqa: S101 - opened as a pipe
        last = ""
        async for line in process.stdout:
            try:
                facts = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError:
                continue
            words = [str(facts[key]) for key in ("stage", "algorithm", "detail") if facts.get(key)]
            last = " · ".join(words)[:500]
            await self._note(job, detail=last)
        return last

    async def _note(self, job: TrainingJobRow, **values: Any) -> None:
        async with self._database.write() as session:
            row = await repository.job(session, job.id)
            if row is not None:
                for name, value in values.items():
                    setattr(row, name, value)


async def _tail(process: asyncio.subprocess.Process) -> str:
    """The last words on standard error; reading them all keeps the child from blocking."""
    assert process.stderr is not None  # noqa: S101 - opened as a pipe
    tail = b""
    while part := await process.stderr.read(65_536):
        tail = (tail + part)[-2_000:]
    return tail.decode(errors="replace").strip()
