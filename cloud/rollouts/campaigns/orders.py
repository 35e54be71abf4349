"""What a person orders of a campaign: done at once, or asked of a second person first."""

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.problems import Conflict
from cloud.rollouts.approvals import service as approvals
from cloud.rollouts.campaigns import service
from cloud.rollouts.campaigns.moves import Moves
from cloud.rollouts.campaigns.plan import CampaignState, Position
from cloud.rollouts.campaigns.schemas import CampaignOrder
from cloud.tables import ApprovalRow, CampaignRow


async def begin(
    session: AsyncSession, moves: Moves, row: CampaignRow, reason: str, now_ms: int
) -> ApprovalRow | None:
    """Start a new campaign, or ask for the second person to start it."""
    if not await service.asks_second(session, row):
        await moves.start(row, actor=row.created_by)
        return None
    return await approvals.ask(
        session,
        action="start",
        actor=row.created_by,
        reason=reason,
        now_ms=now_ms,
        campaign=row.id,
    )


async def take(
    session: AsyncSession, moves: Moves, row: CampaignRow, order: str, body: CampaignOrder, now_ms: int
) -> ApprovalRow | None:
    """Do an order, or ask for the second person it needs; raises `Conflict`."""
    _must_fit(row, order)
    if order == "pause":
        moves.pause(row, actor=body.actor.strip(), why=body.reason)
        return None
    # Before anything was sent there is nothing to protect: whoever asked may drop it.
    needs = await service.asks_second(session, row) and row.state != CampaignState.PROPOSED
    if needs and not body.emergency:
        return await approvals.ask(
            session,
            action=order,
            actor=body.actor,
            reason=body.reason,
            now_ms=now_ms,
            campaign=row.id,
            body={"ring": row.ring, "step": row.step},
        )
    actor = body.actor.strip()
    if not (needs and body.emergency):
        await carry_out(
            moves, row, order, Position(ring=row.ring, step=row.step), actor=actor, reason=body.reason
        )
        return None
    await moves.halt(row, actor=actor, why=f"emergency: {body.reason}", what="emergency")
    await moves.alarm_emergency(row, actor, body.reason)
    return await approvals.ask(
        session,
        action="review",
        actor=actor,
        reason=body.reason,
        now_ms=now_ms,
        campaign=row.id,
        life_ms=approvals.REVIEW_LIFE_MS,
    )


async def carry_out(
    moves: Moves, row: CampaignRow, action: str, at: Position, *, actor: str, reason: str
) -> None:
    """Do what was ordered, by one person or by two; raises `Conflict` where it does not fit any more."""
    match action:
        case "start":
            if row.state != CampaignState.PROPOSED:
                raise Conflict(f"the roll-out is {row.state} already")
            await moves.start(row, actor=actor)
        case "promote":
            await moves.promote(row, at, actor=actor, why=f"by hand: {reason}" if reason else "by hand")
        case "rollback":
            await moves.halt(row, actor=actor, why=f"rolled back by {actor}: {reason}".rstrip(": "))
        case "resume":
            moves.resume(row, actor=actor, why=reason)
        case "review":
            await moves.clear_emergency(row, actor)
        case _:
            raise Conflict(f"nobody can {action} a roll-out")


def _must_fit(row: CampaignRow, order: str) -> None:
    """What makes no sense now is refused now, and not after a second person has been troubled."""
    fits = {
        "promote": (CampaignState.RUNNING, CampaignState.PAUSED),
        "rollback": (CampaignState.PROPOSED, CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.DONE),
        "pause": (CampaignState.RUNNING,),
        "resume": (CampaignState.PAUSED,),
    }
    if row.state not in fits[order]:
        raise Conflict(f"the roll-out is {row.state}, so it cannot {order}")
