"""The record of roll-outs, added to and never changed: who or what did what."""

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import RolloutStepRow

MACHINE = "machine"


def note(
    session: AsyncSession,
    now_ms: int,
    *,
    actor: str,
    what: str,
    detail: str,
    campaign: str | None = None,
    site: str | None = None,
) -> None:
    """Add a line to the record."""
    session.add(
        RolloutStepRow(at_ms=now_ms, campaign=campaign, site=site, actor=actor, what=what, detail=detail)
    )
