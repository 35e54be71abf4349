"""SQL about commands, plans and the trail."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import CommandRow, PlanRow, TrailRow
from shared.commands import CommandState

SENT = "sent"
"""The cloud's own first state, before the site says anything."""
NO_WORD = "no word from the site"
"""The detail of a command that the cloud itself gave up; the site's own `expired` says something else."""
TOO_FAR_AHEAD = "is too far ahead"
"""What a guardian says of a counter that is more than a day above all that it knows."""


async def newest(session: AsyncSession, site: str | None, limit: int) -> list[CommandRow]:
    """Newest first."""
    statement = select(CommandRow).order_by(CommandRow.issued_ms.desc(), CommandRow.row.desc()).limit(limit)
    if site is not None:
        statement = statement.where(CommandRow.site == site)
    return list(await session.scalars(statement))


async def by_id(session: AsyncSession, command: str, *, lock: bool = False) -> CommandRow | None:
    statement = select(CommandRow).where(CommandRow.id == command)
    found: CommandRow | None = await session.scalar(statement.with_for_update() if lock else statement)
    return found


async def known(session: AsyncSession, site: str, commands: Collection[str]) -> dict[str, CommandRow]:
    """Those of these ids that are commands to this site."""
    if not commands:
        return {}
    found = await session.scalars(
        select(CommandRow).where(CommandRow.site == site, CommandRow.id.in_(sorted(commands)))
    )
    return {row.id: row for row in found}


async def highest_taken(session: AsyncSession, site: str) -> int:
    """The highest counter that the site is known to have taken; 0 where none is known.

    An operator's key counts with the cloud's. What was taken before the site last refused a counter as too
    far ahead proves nothing any more: its book of orders was removed since, as a refusal may ask for.
    """
    taken = (CommandState.ACCEPTED.value, CommandState.RUNNING.value, CommandState.DONE.value)
    began_anew = select(func.coalesce(func.max(CommandRow.row), 0)).where(
        CommandRow.site == site,
        CommandRow.state == CommandState.REFUSED.value,
        CommandRow.detail.contains(TOO_FAR_AHEAD),
    )
    statement = select(func.max(CommandRow.counter)).where(
        CommandRow.site == site,
        CommandRow.source.in_(("cloud", "operator")),
        CommandRow.state.in_(taken),
        CommandRow.row > began_anew.scalar_subquery(),
    )
    return await session.scalar(statement) or 0


async def plan_by_id(session: AsyncSession, plan: str, *, lock: bool = False) -> PlanRow | None:
    statement = select(PlanRow).where(PlanRow.id == plan)
    found: PlanRow | None = await session.scalar(statement.with_for_update() if lock else statement)
    return found


async def trails(
    session: AsyncSession, commands: Sequence[str], *, states: bool = False
) -> dict[str, list[TrailRow]]:
    """Command → its hops (only those that tell a state, where `states`), oldest first."""
    found: dict[str, list[TrailRow]] = defaultdict(list)
    statement = select(TrailRow).where(TrailRow.command.in_(commands))
    if states:
        statement = statement.where(TrailRow.state.is_not(None))
    for row in await session.scalars(statement.order_by(TrailRow.at_ms, TrailRow.row)):
        found[str(row.command)].append(row)
    return found


async def audit_page(
    session: AsyncSession,
    *,
    site: str | None,
    actor: str | None,
    source: str | None,
    command: str | None,
    from_ms: int | None,
    to_ms: int | None,
    after: tuple[int, int] | None,
    limit: int,
) -> list[TrailRow]:
    """Hops of all commands and deeds, newest first."""
    statement = select(TrailRow)
    for column, wanted in (
        (TrailRow.site, site),
        (TrailRow.actor, actor),
        (TrailRow.source, source),
        (TrailRow.command, command),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if from_ms is not None:
        statement = statement.where(TrailRow.at_ms >= from_ms)
    if to_ms is not None:
        statement = statement.where(TrailRow.at_ms < to_ms)
    if after is not None:
        statement = statement.where(tuple_(TrailRow.at_ms, TrailRow.row) < after)
    statement = statement.order_by(TrailRow.at_ms.desc(), TrailRow.row.desc()).limit(limit)
    return list(await session.scalars(statement))


async def overdue(session: AsyncSession, before_ms: int) -> list[CommandRow]:
    """Commands on which no site has said a word, though they expired before this time."""
    return list(
        await session.scalars(
            select(CommandRow)
            .where(CommandRow.state == SENT, CommandRow.expires_ms < before_ms)
            .with_for_update()
        )
    )
