"""What a roll-out gives its sites: a stage, a withdrawal, what they ran before; and the words about it."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms import intake
from cloud.kit.changes import Changes
from cloud.kit.problems import Conflict
from cloud.models import repository as models
from cloud.models.service import must_have
from cloud.rollouts import record, service
from cloud.rollouts.campaigns import repository
from cloud.rollouts.campaigns.evidence import Picture
from cloud.tables import AssignmentRow, CampaignRow, CampaignSiteRow, ModelRow
from shared.artifacts.manifest import Stage
from shared.artifacts.signing import SigningKey
from shared.ids import SiteId


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to assign."""

    key: SigningKey
    life_days: float


class Hands:
    """One transaction's assignments, with what is to be published and shown after the commit."""

    def __init__(self, session: AsyncSession, signer: Signer, now_ms: int) -> None:
        self._session = session
        self._signer = signer
        self._now_ms = now_ms
        self.to_publish: list[AssignmentRow] = []
        """In the order in which they were made."""
        self.changes = Changes()

    async def assign(self, row: CampaignRow, member: CampaignSiteRow, model: ModelRow, stage: Stage) -> None:
        """Give the site this stage."""
        if member.joined_ms is None:
            member.joined_ms = self._now_ms
        given = await self._give(member.site, model, stage)
        member.stage, member.counter, member.assigned_ms = stage.value, given.counter, self._now_ms
        self.changed(row, member.site)

    async def remember_baselines(self, row: CampaignRow, members: list[CampaignSiteRow]) -> None:
        """What acts at sites that are new to the roll-out; never a version that was taken back before."""
        new = {member.site: member for member in members if member.joined_ms is None}
        for site, standing in (await models.standings(self._session, new)).items():
            acting = (
                version
                for name, version in standing.here
                if name == row.name
                and version != row.version
                and standing.words.get((name, version)) == "active"
            )
            new[site].baseline_version = next(acting, None)
        rates = await repository.last_interventions(self._session, row.name, new)
        for site, member in new.items():
            if member.baseline_version is not None:
                member.baseline_intervention = rates.get((site, member.baseline_version))

    async def withdraw(self, row: CampaignRow, seen: Picture, member: CampaignSiteRow) -> None:
        """Take the version back from the site, unless a person put something else there."""
        newest = seen.newest.get(member.site)
        if newest is not None and newest[1:3] != (row.name, row.version):
            member.returned, member.returned_ms = "back", self._now_ms
            return
        model = await must_have(self._session, row.name, row.version)
        given = await self._give(member.site, model, Stage.WITHDRAWN)
        member.counter, member.returned, member.returned_ms = given.counter, "sent", self._now_ms
        seen.newest[member.site] = (given.counter, row.name, row.version, given.stage)
        self.changed(row, member.site)

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

    async def restore(self, row: CampaignRow, member: CampaignSiteRow) -> bool:
        """Assign what the site ran before; False where there is nothing, or nothing that may run."""
        if member.baseline_version is None:
            return False
        model = await models.model(self._session, row.name, member.baseline_version)
        words = (await models.standings(self._session, [member.site]))[member.site].words
        if model is None or words.get((model.name, model.version)) in models.GONE:
            return False
        try:
            given = await self._give(member.site, model, Stage.ACTIVE)
        except Conflict:
            return False  # its blessing has ended meanwhile; the site runs on what it has
        member.counter = given.counter
        return True

    async def alarm(self, row: CampaignRow, seen: Picture, key: str, title: str, advice: str) -> None:
        """Raise it at the campaign's first site, or clear it there where there is nothing to advise."""
        await intake.own_alarm(
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

    def note(self, row: CampaignRow, actor: str, what: str, detail: str, *, site: str | None = None) -> None:
        """Add a line to the record."""
        record.note(
            self._session, self._now_ms, actor=actor, what=what, detail=detail, campaign=row.id, site=site
        )

    def changed(self, row: CampaignRow, site: str | None = None) -> None:
        """Show the roll-out (and the site's own part in it) anew."""
        self.changes.models.add((row.name, row.version))
        if site is not None:
            self.changes.rollouts.add(SiteId(site))
