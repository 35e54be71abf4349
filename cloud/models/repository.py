"""SQL about models and training jobs."""

from collections.abc import Collection

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import AssignmentRow, CampaignRow, ModelReportRow, ModelRow, TrainingJobRow

GONE = ("rolled-back", "refused", "withdrawn")
"""Words of a site about a version that it does not run (any more)."""


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
    """The blessed model that this site was assigned last, or else the newest trained on its data.

    Never one that was withdrawn here, that this site rolled back or refused, or whose roll-out was halted.
    """
    here, fallen = await standing(session, site)
    blessed = [row for row in here if row.status == "blessed"]
    if blessed:
        return blessed[0]
    trained = await session.scalars(
        select(ModelRow)
        .where(ModelRow.site == site, ModelRow.status == "blessed")
        .order_by(ModelRow.version.desc())
    )
    return next((row for row in trained if (row.name, row.version) not in fallen), None)


async def standing(session: AsyncSession, site: str) -> tuple[list[ModelRow], set[tuple[str, int]]]:
    """The versions that count at this site, assigned last first; and those that must not count any more."""
    fallen = await _halted(session)
    fallen |= {key for key, state in (await last_words(session, site)).items() if state in GONE}
    newest: dict[tuple[str, int], str] = {}
    for name, version, stage in await session.execute(
        select(AssignmentRow.name, AssignmentRow.version, AssignmentRow.stage)
        .where(AssignmentRow.site == site)
        .order_by(AssignmentRow.counter.desc())
    ):
        newest.setdefault((name, version), stage)
    fallen |= {key for key, stage in newest.items() if stage == "withdrawn"}
    order = [key for key in newest if key not in fallen]
    rows = {(row.name, row.version): row for row in await by_versions(session, order)} if order else {}
    return [rows[key] for key in order if key in rows], fallen


async def last_words(session: AsyncSession, site: str) -> dict[tuple[str, int], str]:
    """What the site said last of each version; periodic numbers are not a word."""
    found = await session.execute(
        select(ModelReportRow.name, ModelReportRow.version, ModelReportRow.state)
        .where(ModelReportRow.site == site, ModelReportRow.state.notlike("%-report"))
        .order_by(ModelReportRow.at_ms, ModelReportRow.row)
    )
    return {(name, version): state for name, version, state in found}


async def _halted(session: AsyncSession) -> set[tuple[str, int]]:
    """Versions whose newest roll-out was halted."""
    found = await session.execute(
        select(CampaignRow.name, CampaignRow.version, CampaignRow.state).order_by(CampaignRow.row)
    )
    newest = {(name, version): state for name, version, state in found}
    return {key for key, state in newest.items() if state == "halted"}


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
