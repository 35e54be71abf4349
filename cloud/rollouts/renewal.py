"""Assignments end, models that do well should not: what still stands at a site is signed anew in time.

A site gives a model up when its assignment expires, because a cloud that was taken over or forgotten must
not be obeyed for ever. A cloud that lives says the same again when a third of that time is left.
"""

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.problems import Conflict
from cloud.models import repository as models
from cloud.rollouts import record, repository, service
from cloud.tables import AssignmentRow, CampaignSiteRow
from shared.artifacts.manifest import Stage
from shared.artifacts.signing import SigningKey

LEFT = 1 / 3
AT_ONCE = 50
"""Signed in one transaction; the rest follow at the next look."""


async def due(session: AsyncSession, now_ms: int, life_days: float) -> list[AssignmentRow]:
    """The newest assignments of sites that are old enough and still stand."""
    before_ms = now_ms - round(life_days * (1 - LEFT) * service.DAY_MS)
    old = [
        row
        for row in await repository.newest_assignments(session)
        if row.issued_ms <= before_ms and row.stage != Stage.WITHDRAWN
    ]
    standings = await models.standings(session, [row.site for row in old])
    return [row for row in old if (row.name, row.version) in standings[row.site].here][:AT_ONCE]


async def renew(
    session: AsyncSession, rows: list[AssignmentRow], key: SigningKey, *, now_ms: int, life_days: float
) -> list[AssignmentRow]:
    """Sign these anew; what may not run any more is left to end."""
    renewed = []
    for row in rows:
        model = await models.model(session, row.name, row.version)
        if model is None:
            continue
        try:
            given = await service.give(
                session, row.site, model, Stage(row.stage), key, now_ms=now_ms, life_days=life_days
            )
        except Conflict:
            continue
        # A roll-out must not take its own assignment, renewed, for a person's hand.
        await session.execute(
            update(CampaignSiteRow)
            .where(CampaignSiteRow.site == row.site, CampaignSiteRow.counter == row.counter)
            .values(counter=given.counter)
        )
        record.note(
            session,
            now_ms,
            actor=record.MACHINE,
            what="renewed",
            detail=f"{row.name} v{row.version}: {row.stage}",
            site=row.site,
        )
        renewed.append(given)
    return renewed
