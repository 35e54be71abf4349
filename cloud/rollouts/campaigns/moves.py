"""What a campaign does to its sites, all in one transaction: what is to be published comes after the commit.

A process that dies between the two loses nothing: the newest assignment of each site is published again
at every connect, with the same signed bytes and the same counter.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.changes import Changes
from cloud.kit.problems import Conflict
from cloud.models.service import must_have
from cloud.rollouts.campaigns import repository
from cloud.rollouts.campaigns.decide import Advance, Halt, Standing, Verdict, Wait, decide, judge
from cloud.rollouts.campaigns.evidence import Picture, picture
from cloud.rollouts.campaigns.hands import Hands, Signer
from cloud.rollouts.campaigns.plan import CampaignState, Plan, Position
from cloud.rollouts.record import MACHINE
from cloud.tables import AssignmentRow, CampaignRow, CampaignSiteRow, ModelRow
from shared.artifacts.manifest import Stage


class Moves:
    """One transaction's moves of campaigns whose rows the caller has locked."""

    def __init__(self, session: AsyncSession, signer: Signer, now_ms: int) -> None:
        self._session = session
        self._now_ms = now_ms
        self._hands = Hands(session, signer, now_ms)

    @property
    def to_publish(self) -> list[AssignmentRow]:
        """Assignments, in the order in which they were made."""
        return self._hands.to_publish

    @property
    def changes(self) -> Changes:
        """What to show anew."""
        return self._hands.changes

    # ------------------------------------------------------------ the machine

    async def step(self, row: CampaignRow) -> None:
        """Decide once, and do it."""
        seen = await picture(self._session, row)
        verdicts = {site: judge(one, seen.campaign, self._now_ms) for site, one in seen.evidence.items()}
        decision = decide(seen.campaign, list(seen.evidence.values()), self._now_ms)
        if row.state in (CampaignState.RUNNING, CampaignState.PAUSED):
            match decision:
                case Halt(why=why):
                    await self.halt(row, seen, actor=MACHINE, why=why)
                case Wait(why=why, held=held):
                    self._wait(row, why, held=held)
                case Advance(to=to, why=why):
                    good = {site for site, one in verdicts.items() if one.standing is Standing.GOOD}
                    await self._advance(row, seen, to, good, actor=MACHINE, why=why)
            if row.state != CampaignState.HALTED:
                await self._drop_bad(row, seen, verdicts)
                if row.state == CampaignState.RUNNING and not row.held:
                    await self._catch_up(row, seen, verdicts)
        await self._bring_back(row, seen)

    def _wait(self, row: CampaignRow, why: str, *, held: bool) -> None:
        if row.held != held:
            what = "held" if held else "goes-on"
            self._hands.note(row, MACHINE, what, why)
        if (row.why, row.held) != (why, held):
            row.why, row.held = why, held
            self._hands.changed(row)

    async def _drop_bad(self, row: CampaignRow, seen: Picture, verdicts: dict[str, Verdict]) -> None:
        """Few enough bad sites do not halt a campaign, but they do not keep the version either."""
        for member in seen.members:
            verdict = verdicts.get(member.site)
            if verdict is None or verdict.standing is not Standing.BAD or member.failed is not None:
                continue
            member.failed = verdict.why
            self._hands.note(row, MACHINE, "bad", verdict.why, site=member.site)
            await self._hands.withdraw(row, seen, member)

    async def _catch_up(self, row: CampaignRow, seen: Picture, verdicts: dict[str, Verdict]) -> None:
        """A site that was late goes on alone once it is good, up to where its ring is."""
        plan = seen.campaign.plan
        model: ModelRow | None = None
        for member in seen.members:
            verdict = verdicts.get(member.site)
            if verdict is None or verdict.standing is not Standing.GOOD or member.stage is None:
                continue
            at = plan.stages.index(Stage(member.stage))
            goal = len(plan.stages) - 1 if member.ring < row.ring else row.step
            # What `_advance` assigned just now has moved on already; its verdict is of the stage before.
            if at >= goal or member.assigned_ms == self._now_ms:
                continue
            model = model or await must_have(self._session, row.name, row.version)
            await self._hands.assign(row, member, model, plan.stages[at + 1])
            self._hands.note(row, MACHINE, "caught-up", f"goes on to {plan.stages[at + 1]}", site=member.site)

    async def _bring_back(self, row: CampaignRow, seen: Picture) -> None:
        """Sites that let go of the version get the earlier one assigned anew, so that it stands retained."""
        for member in seen.members:
            if member.returned != "sent" or member.site not in seen.gone:
                continue
            newest = seen.newest.get(member.site)
            restored = (
                newest is not None and newest[0] == member.counter and await self._hands.restore(row, member)
            )
            member.returned, member.returned_ms = "restored" if restored else "back", self._now_ms
            detail = f"version {member.baseline_version} again" if restored else "on its own rules"
            self._hands.note(row, MACHINE, "returned", detail, site=member.site)
            self._hands.changed(row, member.site)
        joined = [member for member in seen.members if member.joined_ms is not None]
        waiting = [member for member in joined if member.returned in (None, "sent")]
        if row.state == CampaignState.HALTED and row.held and not waiting:
            row.held = False
            await self._hands.alarm(
                row, seen, "rollout", f"All sites are back from {row.name} v{row.version}", ""
            )

    # ------------------------------------------------------------ people

    async def start(self, row: CampaignRow, *, actor: str) -> None:
        """Open the first ring."""
        members = await repository.members(self._session, row.id)
        row.state, row.entered_ms, row.why = CampaignState.RUNNING, self._now_ms, "has just begun"
        self._hands.note(row, actor, "started", f"{len(members)} sites, ring 1 first")
        await self._open(row, members, Position(ring=0, step=0))

    async def promote(self, row: CampaignRow, at: Position, *, actor: str, why: str) -> None:
        """Go one step on from `at` without waiting for the rest; raises `Conflict` where it is elsewhere."""
        if row.state not in (CampaignState.RUNNING, CampaignState.PAUSED):
            raise Conflict(f"the roll-out is {row.state}")
        if (row.ring, row.step) != (at.ring, at.step):
            raise Conflict("the roll-out has moved on meanwhile; look at it again before you promote it")
        seen = await picture(self._session, row)
        verdicts = {site: judge(one, seen.campaign, self._now_ms) for site, one in seen.evidence.items()}
        ready = {
            site
            for site, one in verdicts.items()
            if one.standing not in (Standing.BAD, Standing.TAKEN, Standing.COMING, Standing.STUCK)
            and seen.evidence[site].reached_ms is not None
        }
        row.state = CampaignState.RUNNING
        await self._advance(row, seen, seen.campaign.next, ready, actor=actor, why=why)

    async def halt(
        self, row: CampaignRow, seen: Picture | None = None, *, actor: str, why: str, what: str = "halted"
    ) -> None:
        """Take the version back from every site that has it, for good; raises `Conflict` where it was."""
        if row.state == CampaignState.HALTED:
            raise Conflict("the roll-out is halted already")
        seen = seen or await picture(self._session, row)
        row.state, row.why, row.ended_ms = CampaignState.HALTED, why, self._now_ms
        self._hands.note(row, actor, what, why)
        for member in seen.members:
            if member.joined_ms is not None and member.returned is None:
                await self._hands.withdraw(row, seen, member)
        row.held = any(member.returned == "sent" for member in seen.members)
        if row.held:
            title = f"Roll-out of {row.name} v{row.version} was halted: {why}"
            advice = (
                "Look at the roll-out under Models. The sites go back to what they ran before by themselves."
            )
            await self._hands.alarm(row, seen, "rollout", title, advice)
        self._hands.changed(row)

    def pause(self, row: CampaignRow, *, actor: str, why: str) -> None:
        """No further step until a person resumes it. Halting goes on. Raises `Conflict`."""
        if row.state != CampaignState.RUNNING:
            raise Conflict(f"the roll-out is {row.state}, and only a running one can be paused")
        row.state, row.held = CampaignState.PAUSED, False
        row.why = f"paused by {actor}: {why}"
        self._hands.note(row, actor, "paused", why)
        self._hands.changed(row)

    def resume(self, row: CampaignRow, *, actor: str, why: str) -> None:
        """Let the machine go on; raises `Conflict`."""
        if row.state != CampaignState.PAUSED:
            raise Conflict(f"the roll-out is {row.state}, and only a paused one can be resumed")
        row.state, row.why = CampaignState.RUNNING, f"resumed by {actor}"
        self._hands.note(row, actor, "resumed", why)
        self._hands.changed(row)

    async def alarm_emergency(self, row: CampaignRow, actor: str, reason: str) -> None:
        """Say loudly that one person alone took a version back."""
        seen = await picture(self._session, row)
        title = f"{actor} took {row.name} v{row.version} back without a second person: {reason}"
        advice = "Review it with whoever did it: a second person confirms it under Models, Approvals."
        await self._hands.alarm(row, seen, "rollout-emergency", title, advice)

    async def clear_emergency(self, row: CampaignRow, actor: str) -> None:
        """A second person has looked at it."""
        seen = await picture(self._session, row)
        await self._hands.alarm(row, seen, "rollout-emergency", f"Reviewed by {actor}", "")
        self._hands.note(row, actor, "reviewed", "the emergency rollback was reviewed")
        self._hands.changed(row)

    # ------------------------------------------------------------ parts

    async def _advance(
        self, row: CampaignRow, seen: Picture, to: Position | None, ready: set[str], *, actor: str, why: str
    ) -> None:
        row.held = False
        if to is None:
            row.state, row.why, row.ended_ms = CampaignState.DONE, why, self._now_ms
            self._hands.note(row, actor, "done", why)
            self._hands.changed(row)
            return
        stage = seen.campaign.plan.stages[to.step]
        self._hands.note(row, actor, "advanced", f"to ring {to.ring + 1}, {stage}: {why}")
        chosen = [
            member
            for member in seen.members
            if member.ring == to.ring and (to.step == 0 or member.site in ready)
        ]
        await self._open(row, chosen, to)

    async def _open(self, row: CampaignRow, members: list[CampaignSiteRow], to: Position) -> None:
        stage = msgspec.convert(row.plan, Plan).stages[to.step]
        row.ring, row.step, row.entered_ms = to.ring, to.step, self._now_ms
        row.why = f"ring {to.ring + 1}, {stage}: assigned"
        model = await must_have(self._session, row.name, row.version)
        await self._hands.remember_baselines(row, [member for member in members if member.ring == to.ring])
        for member in members:
            if member.ring == to.ring:
                await self._hands.assign(row, member, model, stage)
        self._hands.changed(row)
