"""SQL about commands."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.commands.intake import SENT
from cloud.tables import CommandRow, CommandStepRow


async def newest(session: AsyncSession, site: str | None, limit: int) -> list[CommandRow]:
    """Newest first."""
    statement = select(CommandRow).order_by(CommandRow.issued_ms.desc(), CommandRow.row.desc()).limit(limit)
    if site is not None:
        statement = statement.where(CommandRow.site == site)
    return list(await session.scalars(statement))


async def by_id(session: AsyncSession, command: str) -> CommandRow | None:
    found: CommandRow | None = await session.scalar(select(CommandRow).where(CommandRow.id == command))
    return found


async def steps(session: AsyncSession, commands: Sequence[str]) -> dict[str, list[CommandStepRow]]:
    """Command → its states, oldest first."""
    found: dict[str, list[CommandStepRow]] = defaultdict(list)
    for row in await session.scalars(
        select(CommandStepRow)
        .where(CommandStepRow.command.in_(commands))
        .order_by(CommandStepRow.at_ms, CommandStepRow.row)
    ):
        found[row.command].append(row)
    return found


async def overdue(session: AsyncSession, before_ms: int) -> list[CommandRow]:
    """Commands on which no site has said a word, though they expired before this time."""
    return list(
        await session.scalars(
            select(CommandRow)
            .where(CommandRow.state == SENT, CommandRow.expires_ms < before_ms)
            .with_for_update()
        )
    )
