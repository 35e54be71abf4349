"""SQL about models and training jobs."""

from collections.abc import Collection

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import AssignmentRow, ModelRow, TrainingJobRow


async def models(session: AsyncSession) -> list[ModelRow]:
    """All versions, newest first."""
    return list(
        await session.scalars(
            select(ModelRow).order_by(ModelRow.created_ms.desc(), ModelRow.name, ModelRow.version.desc())
        )
    )


async def model(session: AsyncSession, name: str, version: int) -> ModelRow | None:
    return await session.get(ModelRow, (name, version))


async def by_versions(session: AsyncSession, versions: Collection[tuple[str, int]]) -> list[ModelRow]:
    return list(
        await session.scalars(
            select(ModelRow).where(tuple_(ModelRow.name, ModelRow.version).in_(sorted(versions)))
        )
    )


async def last_version(session: AsyncSession, name: str) -> int:
    return await session.scalar(select(func.max(ModelRow.version)).where(ModelRow.name == name)) or 0


async def champion(session: AsyncSession, site: str) -> ModelRow | None:
    """The newest blessed model that this site is assigned, or else was trained on its data."""
    assigned = await session.scalar(
        select(ModelRow)
        .join(
            AssignmentRow,
            (AssignmentRow.name == ModelRow.name) & (AssignmentRow.version == ModelRow.version),
        )
        .where(AssignmentRow.site == site, AssignmentRow.stage != "withdrawn", ModelRow.status == "blessed")
        .order_by(AssignmentRow.counter.desc())
        .limit(1)
    )
    if assigned is not None:
        return assigned
    return await session.scalar(
        select(ModelRow)
        .where(ModelRow.site == site, ModelRow.status == "blessed")
        .order_by(ModelRow.version.desc())
        .limit(1)
    )


async def jobs(session: AsyncSession, limit: int = 100) -> list[TrainingJobRow]:
    """Newest first."""
    return list(
        await session.scalars(select(TrainingJobRow).order_by(TrainingJobRow.row.desc()).limit(limit))
    )


async def job(session: AsyncSession, job_id: str) -> TrainingJobRow | None:
    found: TrainingJobRow | None = await session.scalar(
        select(TrainingJobRow).where(TrainingJobRow.id == job_id)
    )
    return found


async def next_job(session: AsyncSession) -> TrainingJobRow | None:
    found: TrainingJobRow | None = await session.scalar(
        select(TrainingJobRow).where(TrainingJobRow.state == "queued").order_by(TrainingJobRow.row).limit(1)
    )
    return found


async def waiting(session: AsyncSession) -> int:
    """How many jobs are queued or running."""
    return (
        await session.scalar(
            select(func.count())
            .select_from(TrainingJobRow)
            .where(TrainingJobRow.state.in_(("queued", "running")))
        )
        or 0
    )


async def end_orphans(session: AsyncSession, now_ms: int) -> None:
    """Jobs that ran when the process ended before: they have no child any more."""
    await session.execute(
        update(TrainingJobRow)
        .where(TrainingJobRow.state == "running")
        .values(state="failed", ended_ms=now_ms, detail="the cloud was restarted while this ran")
    )
