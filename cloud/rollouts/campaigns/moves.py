"""What a campaign does to its sites, all in one transaction: what is to be published comes after the commit.

A process that dies between the two loses nothing: the newest assignment of each site is published again
at every connect, with the same signed bytes and the same counter.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.changes import Changes
from cloud.kit.problems import Conflict
from cloud.models import repository as models
from cloud.models.service import must_have
from cloud.rollouts import record, service
from cloud.rollouts.campaigns import repository
from cloud.rollouts.campaigns.decide import Advance, Halt, Standing, Verdict, Wait, decide, judge
from cloud.rollouts.campaigns.evidence import Picture, picture
from cloud.rollouts.campaigns.plan import CampaignState, Plan, Position
from cloud.rollouts.record import MACHINE
from cloud.tables import AssignmentRow, CampaignRow, CampaignSiteRow, ModelRow
from shared.artifacts.manifest import Stage
from shared.artifacts.signing import SigningKey
from shared.ids import SiteId


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to assign."""

    key: SigningKey
    life_days: float


class Moves:
    """One transaction's moves of campaigns whose rows the caller has locked."""

    def __init__(self, session: AsyncSession, signer: Signer, now_ms: int) -> None:
        self._session = session
        self._signer = signer
        self._now_ms = now_ms
        self.to_publish: list[AssignmentRow] = []
        """In the order in which they were made."""
        self.changes = Changes()

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
            self._note(row, MACHINE, what, why)
        if (row.why, row.held) != (why, held):
            row.why, row.held = why, held
            self._changed(row)

    async def _drop_bad(self, row: CampaignRow, seen: Picture, verdicts: dict[str, Verdict]) -> None:
        """Few enough bad sites do not halt a campaign, but they do not keep the version either."""
        for member in seen.members:
            verdict = verdicts.get(member.site)
            if verdict is None or verdict.standing is not Standing.BAD or member.failed is not None:
                continue
            member.failed = verdict.why
            self._note(row, MACHINE, "bad", verdict.why, site=member.site)
            await self._withdraw(row, seen, member)

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
            await self._assign(row, member, model, plan.stages[at + 1])
            self._note(row, MACHINE, "caught-up", f"goes on to {plan.stages[at + 1]}", site=member.site)

    async def _bring_back(self, row: CampaignRow, seen: Picture) -> None:
        """Sites that let go of the version get the earlier one assigned anew, so that it stands retained."""
        for member in seen.members:
            if member.returned != "sent" or member.site not in seen.gone:
                continue
            newest = seen.newest.get(member.site)
            restored = newest is not None and newest[0] == member.counter and await self._restore(row, member)
            member.returned, member.returned_ms = "restored" if restored else "back", self._now_ms
            detail = f"version {member.baseline_version} again" if restored else "on its own rules"
            self._note(row, MACHINE, "returned", detail, site=member.site)
            self._changed(row, member.site)
        joined = [member for member in seen.members if member.joined_ms is not None]
        waiting = [member for member in joined if member.returned in (None, "sent")]
        if row.state == CampaignState.HALTED and row.held and not waiting:
            row.held = False
            await self._alarm(row, seen, "rollout", f"All sites are back from {row.name} v{row.version}", "")

    async def _restore(self, row: CampaignRow, member: CampaignSiteRow) -> bool:
        if member.baseline_version is None:
            return False
        model = await models.model(self._session, row.name, member.baseline_version)
        words = await models.last_words(self._session, member.site)
        if model is None or words.get((model.name, model.version)) in models.GONE:
            return False
        try:
            given = await self._give(member.site, model, Stage.ACTIVE)
        except Conflict:
            return False  # its blessing has ended meanwhile; the site runs on what it has
        member.counter = given.counter
        return True

    # ------------------------------------------------------------ people

    async def start(self, row: CampaignRow, *, actor: str) -> None:
        """Open the first ring."""
        members = await repository.members(self._session, row.id)
        row.state, row.entered_ms, row.why = CampaignState.RUNNING, self._now_ms, "has just begun"
        self._note(row, actor, "started", f"{len(members)} sites, ring 1 first")
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
        self._note(row, actor, what, why)
        for member in seen.members:
            if member.joined_ms is not None and member.returned is None:
                await self._withdraw(row, seen, member)
        row.held = any(member.returned == "sent" for member in seen.members)
        if row.held:
            title = f"Roll-out of {row.name} v{row.version} was halted: {why}"
            advice = (
                "Look at the roll-out under Models. The sites go back to what they ran before by themselves."
            )
            await self._alarm(row, seen, "rollout", title, advice)
        self._changed(row)

    def pause(self, row: CampaignRow, *, actor: str, why: str) -> None:
        """No further step until a person resumes it. Halting goes on. Raises `Conflict`."""
        if row.state != CampaignState.RUNNING:
            raise Conflict(f"the roll-out is {row.state}, and only a running one can be paused")
        row.state, row.held = CampaignState.PAUSED, False
        row.why = f"paused by {actor}: {why}"
        self._note(row, actor, "paused", why)
        self._changed(row)

    def resume(self, row: CampaignRow, *, actor: str, why: str) -> None:
        """Let the machine go on; raises `Conflict`."""
        if row.state != CampaignState.PAUSED:
            raise Conflict(f"the roll-out is {row.state}, and only a paused one can be resumed")
        row.state, row.why = CampaignState.RUNNING, f"resumed by {actor}"
        self._note(row, actor, "resumed", why)
        self._changed(row)

    async def alarm_emergency(self, row: CampaignRow, actor: str, reason: str) -> None:
        """Say loudly that one person alone took a version back."""
        seen = await picture(self._session, row)
        title = f"{actor} took {row.name} v{row.version} back without a second person: {reason}"
        advice = "Review it with whoever did it: a second person confirms it under Models, Approvals."
        await self._alarm(row, seen, "rollout-emergency", title, advice)

    async def clear_emergency(self, row: CampaignRow, actor: str) -> None:
        """A second person has looked at it."""
        seen = await picture(self._session, row)
        await self._alarm(row, seen, "rollout-emergency", f"Reviewed by {actor}", "")
        self._note(row, actor, "reviewed", "the emergency rollback was reviewed")
        self._changed(row)

    # ------------------------------------------------------------ parts

    async def _advance(
        self, row: CampaignRow, seen: Picture, to: Position | None, ready: set[str], *, actor: str, why: str
    ) -> None:
        row.held = False
        if to is None:
            row.state, row.why, row.ended_ms = CampaignState.DONE, why, self._now_ms
            self._note(row, actor, "done", why)
            self._changed(row)
            return
        stage = seen.campaign.plan.stages[to.step]
        self._note(row, actor, "advanced", f"to ring {to.ring + 1}, {stage}: {why}")
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
        for member in members:
            if member.ring == to.ring:
                await self._assign(row, member, model, stage)
        self._changed(row)

    async def _assign(self, row: CampaignRow, member: CampaignSiteRow, model: ModelRow, stage: Stage) -> None:
        if member.joined_ms is None:
            member.joined_ms = self._now_ms
            await self._remember_baseline(row, member)
        given = await self._give(member.site, model, stage)
        member.stage, member.counter, member.assigned_ms = stage.value, given.counter, self._now_ms
        self._changed(row, member.site)

    async def _remember_baseline(self, row: CampaignRow, member: CampaignSiteRow) -> None:
        """What acts at the site now; never a version that was withdrawn, rolled back or halted."""
        words = await models.last_words(self._session, member.site)
        here, _ = await models.standing(self._session, member.site)
        for model in here:
            mine = model.name == row.name and model.version != row.version
            if mine and words.get((model.name, model.version)) == "active":
                member.baseline_version = model.version
                member.baseline_intervention = await repository.last_intervention(
                    self._session, member.site, model.name, model.version
                )
                return

    async def _withdraw(self, row: CampaignRow, seen: Picture, member: CampaignSiteRow) -> None:
        newest = seen.newest.get(member.site)
        if newest is not None and newest[1:3] != (row.name, row.version):
            # A person put something else there; that stands.
            member.returned, member.returned_ms = "back", self._now_ms
            return
        model = await must_have(self._session, row.name, row.version)
        given = await self._give(member.site, model, Stage.WITHDRAWN)
        member.counter, member.returned, member.returned_ms = given.counter, "sent", self._now_ms
        seen.newest[member.site] = (given.counter, row.name, row.version, given.stage)
        self._changed(row, member.site)

    async def _give(self, site: str, model: ModelRow, stage: Stage) -> AssignmentRow:
        given = await service.give(
            self._session,
            site,
            model,
            stage,
            self._signer.key,
            now_ms=self._now_ms,
            life_days=self._signer.life_days,
        )
        self.to_publish.append(given)
        return given

    async def _alarm(self, row: CampaignRow, seen: Picture, key: str, title: str, advice: str) -> None:
        """Raise it at the campaign's first site, or clear it there where there is nothing to advise."""
        await record.alarm(
            self._session,
            seen.members[0].site,
            f"{key}/{row.id}",
            self._now_ms,
            self.changes,
            title=title,
            advice=advice,
            data={"campaign": row.id, "name": row.name, "version": row.version},
            cleared=not advice,
        )

    def _note(self, row: CampaignRow, actor: str, what: str, detail: str, *, site: str | None = None) -> None:
        record.note(
            self._session, self._now_ms, actor=actor, what=what, detail=detail, campaign=row.id, site=site
        )

    def _changed(self, row: CampaignRow, site: str | None = None) -> None:
        self.changes.models.add((row.name, row.version))
        if site is not None:
            self.changes.rollouts.add(SiteId(site))
