"""What ingest tells about commands: the site's word on each."""

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.changes import Changes
from cloud.kit.upsert import insert_new
from cloud.tables import CommandRow, CommandStepRow
from shared.commands import CommandState, CommandStatus
from shared.ids import SiteId

SENT = "sent"
"""The cloud's own first state, before the site says anything."""

_RANK: dict[str, int] = {
    SENT: 0,
    CommandState.ACCEPTED: 1,
    CommandState.RUNNING: 2,
    CommandState.EXPIRED: 3,
    CommandState.REFUSED: 4,
    CommandState.DONE: 5,
}
"""Later words win over earlier ones, in whatever order they arrive; DONE carries the most."""


async def take(session: AsyncSession, site: SiteId, status: CommandStatus, changes: Changes) -> bool:
    """Store the word; False where no command of this id was ever sent to this site."""
    row = await session.scalar(
        select(CommandRow).where(CommandRow.id == status.id, CommandRow.site == site).with_for_update()
    )
    if row is None:
        return False
    step = {
        "command": status.id,
        "state": status.state.value,
        "at_ms": status.at_ms,
        "detail": status.detail,
    }
    await insert_new(session, CommandStepRow.__table__, [step])  # type: ignore[arg-type]  # a Table at run time
    if (_RANK[status.state], status.at_ms) > (_RANK[row.state], row.state_ms) or row.state == SENT:
        row.state, row.state_ms, row.detail = status.state.value, status.at_ms, status.detail
        row.outcome = status.outcome.value if status.outcome is not None else None
        row.writes = msgspec.to_builtins(list(status.writes))
    changes.commands.add(status.id)
    return True
