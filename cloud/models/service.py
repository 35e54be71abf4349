"""The registry: what a training run brought becomes versions; the winner may be blessed."""

from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.keys import Keys
from cloud.kit.problems import NotFound
from cloud.models import repository
from cloud.models.blobs import BlobStore
from cloud.models.schemas import GateRule, ModelView, TrainingView
from cloud.tables import ModelRow, TrainingJobRow
from cloud.training.report import Candidate, Result
from shared.artifacts.manifest import Manifest, bless, check_bytes
from shared.errors import ArtifactError

DAY_MS = 86_400_000


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate of a run whose file is in the blob store."""

    candidate: Candidate
    draft: Manifest
    chosen: bool


def view(row: ModelRow) -> ModelView:
    """A model version as the API shows it."""
    return ModelView(
        name=row.name,
        version=row.version,
        algorithm=row.algorithm,
        family=row.family,
        status=row.status,  # type: ignore[arg-type]  # only `register` writes it
        site=row.site,
        created_ms=row.created_ms,
        data_from_ms=row.data_from_ms,
        data_to_ms=row.data_to_ms,
        size=row.size,
        sha256=row.sha256,
        metrics=row.metrics,
        gate=[GateRule(**rule) for rule in row.gate],
        thresholds=row.thresholds,
    )


def job_view(row: TrainingJobRow) -> TrainingView:
    """A training job as the API shows it."""
    return TrainingView(
        id=row.id,
        site=row.site,
        algorithms=row.algorithms,
        state=row.state,  # type: ignore[arg-type]  # only the trainer writes it
        requested_ms=row.requested_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        detail=row.detail,
        result=row.result,
    )


async def must_have(session: AsyncSession, name: str, version: int) -> ModelRow:
    """The model version; raises `NotFound`."""
    row = await repository.model(session, name, version)
    if row is None:
        raise NotFound(f"there is no model {name!r} version {version}")
    return row


async def collect(result: Result, folder: Path, blobs: BlobStore) -> list[Built]:
    """Move a run's files into the blob store; raises `ArtifactError` where file and manifest differ."""
    built = []
    for candidate in result.candidates:
        if candidate.model is None or candidate.manifest is None:
            continue
        try:
            data = (folder / candidate.model).read_bytes()
            draft = msgspec.json.decode((folder / candidate.manifest).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError) as error:
            raise ArtifactError(f"training left no usable {candidate.algorithm} files: {error}") from error
        check_bytes(draft, data)
        await blobs.put(data)
        chosen = candidate.accepted and candidate.algorithm == result.chosen
        built.append(Built(candidate=candidate, draft=draft, chosen=chosen))
    # The winner gets the highest version: versions only rise, and a site refuses a lower one.
    return sorted(built, key=lambda item: item.chosen)


async def register(
    session: AsyncSession,
    built: list[Built],
    *,
    site: str,
    job: str,
    keys: Keys,
    now_ms: int,
    life_days: float,
) -> list[ModelRow]:
    """Give each candidate its version; bless the winner where online blessing is on."""
    rows = []
    for item in built:
        draft = item.draft
        version = await repository.last_version(session, draft.name) + 1
        manifest = msgspec.structs.replace(
            draft, version=version, issued_ms=now_ms, expires_ms=now_ms + round(life_days * DAY_MS)
        )
        signed = bless(manifest, keys.release) if item.chosen and keys.release is not None else None
        status = "rejected" if not item.candidate.accepted else "registered" if signed is None else "blessed"
        row = ModelRow(
            name=manifest.name,
            version=version,
            algorithm=manifest.algorithm,
            family=manifest.family.value,
            status=status,
            created_ms=now_ms,
            job=job,
            site=site,
            sha256=manifest.sha256,
            size=manifest.size,
            data_from_ms=manifest.data_from_ms,
            data_to_ms=manifest.data_to_ms,
            metrics=dict(manifest.metrics),
            thresholds=dict(manifest.thresholds),
            gate=[msgspec.to_builtins(rule) for rule in item.candidate.gate],
            manifest=msgspec.msgpack.encode(manifest),
            blessed=msgspec.msgpack.encode(signed) if signed is not None else None,
        )
        session.add(row)
        await session.flush()
        rows.append(row)
    return rows
