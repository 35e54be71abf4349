"""The record of roll-outs, added to and never changed: who or what did what; and the alarms with it."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms import intake
from cloud.kit.changes import Changes
from cloud.tables import RolloutStepRow
from shared.alarms import Event, EventKind, Severity
from shared.ids import SiteId

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


async def alarm(
    session: AsyncSession,
    site: str,
    key: str,
    now_ms: int,
    changes: Changes,
    *,
    title: str,
    advice: str,
    data: dict[str, str | int | float | bool | None],
    cleared: bool = False,
) -> None:
    """Raise (or clear) an alarm of the cloud's own, shown at a site as if the site had raised it."""
    event = Event(
        id=f"cloud-{uuid.uuid4()}",
        kind=EventKind.ALARM_CLEARED if cleared else EventKind.ALARM,
        severity=Severity.HIGH,
        key=key,
        at_ms=now_ms,
        title=title,
        advice=advice,
        data=data,
    )
    await intake.take(session, SiteId(site), [event], now_ms, changes)
