"""SQL about models and training jobs."""

from collections.abc import Collection

import msgspec
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


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What counts at a site, as (name, version)."""

    here: list[tuple[str, int]]
    """Assigned and not taken back since, the newest assignment first."""
    fallen: set[tuple[str, int]]
    """Withdrawn here, given up by the site, or halted anywhere: these must not count any more."""
    words: dict[tuple[str, int], str]
    """What the site said last of each version; periodic numbers are not a word."""


async def champion(session: AsyncSession, site: str) -> ModelRow | None:
    """The blessed model that this site was assigned last, or else the newest trained on its data.

    Never one that was withdrawn here, that this site rolled back or refused, or whose roll-out was halted.
    """
    found = (await standings(session, [site]))[site]
    if found.here:
        rows = {(row.name, row.version): row for row in await by_versions(session, found.here)}
        for key in found.here:
            if key in rows and rows[key].status == "blessed":
                return rows[key]
    trained = await session.scalars(
        select(ModelRow)
        .where(ModelRow.site == site, ModelRow.status == "blessed")
        .order_by(ModelRow.version.desc())
    )
    return next((row for row in trained if (row.name, row.version) not in found.fallen), None)


async def standings(session: AsyncSession, sites: Collection[str]) -> dict[str, Standing]:
    """What counts at each of these sites; three queries, however many there are."""
    halted = await _halted(session)
    words: dict[str, dict[tuple[str, int], str]] = {site: {} for site in sites}
    for site, name, version, state in await session.execute(
        select(ModelReportRow.site, ModelReportRow.name, ModelReportRow.version, ModelReportRow.state)
        .where(ModelReportRow.site.in_(sorted(sites)), ModelReportRow.state.notlike("%-report"))
        .order_by(ModelReportRow.place, ModelReportRow.row)
    ):
        words[site][name, version] = state
    stages: dict[str, dict[tuple[str, int], str]] = {site: {} for site in sites}
    for site, name, version, stage in await session.execute(
        select(AssignmentRow.site, AssignmentRow.name, AssignmentRow.version, AssignmentRow.stage)
        .where(AssignmentRow.site.in_(sorted(sites)))
        .order_by(AssignmentRow.counter.desc())
    ):
        stages[site].setdefault((name, version), stage)
    found = {}
    for site, said in words.items():
        given_up = {key for key, state in said.items() if state in GONE}
        withdrawn = {key for key, stage in stages[site].items() if stage == "withdrawn"}
        fallen = halted | given_up | withdrawn
        here = [key for key in stages[site] if key not in fallen]
        found[site] = Standing(here=here, fallen=fallen, words=said)
    return found


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
