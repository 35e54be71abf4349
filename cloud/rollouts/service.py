"""Assignments: signed, stored, then published retained; and what came of them."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.keys import Keys
from cloud.kit.problems import Conflict, NotFound
from cloud.models.service import must_have
from cloud.rollouts import record, repository
from cloud.rollouts.schemas import Report, RolloutRequest, RolloutView
from cloud.tables import AssignmentRow, ModelRow
from shared.artifacts.manifest import Assignment, Manifest, Stage, assign
from shared.artifacts.signing import Signed, SigningKey
from shared.ids import SiteId

DAY_MS = 86_400_000


async def make(
    session: AsyncSession,
    body: RolloutRequest,
    keys: Keys,
    now_ms: int,
    life_days: float,
    *,
    actor: str = "",
) -> AssignmentRow:
    """Sign and store an assignment that a person asked for; raises `NotFound` and `Conflict`."""
    model = await must_have(session, body.name, body.version)
    row = await give(
        session, body.site, model, body.stage, keys.assignment, now_ms=now_ms, life_days=life_days
    )
    record.note(
        session,
        now_ms,
        actor=actor or body.actor or "somebody",
        what="assigned",
        detail=f"{body.name} v{body.version}: {body.stage}",
        site=body.site,
    )
    return row


async def give(
    session: AsyncSession,
    site_id: str,
    model: ModelRow,
    stage: Stage,
    key: SigningKey,
    *,
    now_ms: int,
    life_days: float,
) -> AssignmentRow:
    """Sign and store one site's assignment of a model; raises `NotFound` and `Conflict`."""
    site = await repository.site_for_update(session, site_id)
    if site is None:
        raise NotFound(f"there is no site {site_id!r}")
    manifest = may_run(model, now_ms, stage)
    check_scope(model, manifest, site_id)
    assert model.blessed is not None  # noqa: S101 - `may_run` has looked
    # Time as the floor: a database restored from an old copy must not re-use counters that sites have seen.
    site.assignment_counter = max(site.assignment_counter + 1, now_ms)
    assignment = Assignment(
        site=SiteId(site_id),
        counter=site.assignment_counter,
        issued_ms=now_ms,
        expires_ms=now_ms + round(life_days * DAY_MS),
        stage=stage,
        manifest=msgspec.msgpack.decode(model.blessed, type=Signed),
    )
    row = AssignmentRow(
        site=site_id,
        counter=assignment.counter,
        name=model.name,
        version=model.version,
        stage=stage.value,
        issued_ms=now_ms,
        signed=msgspec.msgpack.encode(assign(assignment, key)),
    )
    session.add(row)
    await session.flush()
    return row


def may_run(model: ModelRow, now_ms: int, stage: Stage = Stage.SHADOW) -> Manifest:
    """The manifest of a version that is blessed, and not for ever; raises `Conflict`.

    A withdrawal needs a blessing too, because a site believes nothing else, but not one that still holds.
    """
    if model.blessed is None:
        raise Conflict(
            f"{model.name} version {model.version} is {model.status}, and only a blessed one may run"
        )
    manifest = msgspec.msgpack.decode(model.manifest, type=Manifest)
    if now_ms >= manifest.expires_ms and stage is not Stage.WITHDRAWN:
        raise Conflict(f"the blessing of {model.name} version {model.version} has expired")
    return manifest


def check_scope(model: ModelRow, manifest: Manifest, site: str) -> None:
    """Raise `Conflict` where a version is not meant for a site."""
    if manifest.scope.sites and site not in manifest.scope.sites:
        raise Conflict(f"{model.name} version {model.version} is not meant for site {site!r}")


async def views(session: AsyncSession, sites: Sequence[str] | None = None) -> list[RolloutView]:
    """One view per (site, model version) that was assigned or reported, newest first."""
    assigned: dict[tuple[str, str, int], list[AssignmentRow]] = defaultdict(list)
    current: dict[str, int] = {}
    for row in await repository.assignments(session, sites):
        assigned[row.site, row.name, row.version].append(row)
        current[row.site] = row.counter
    told: dict[tuple[str, str, int], list[Report]] = defaultdict(list)
    for report in await repository.reports(session, sites):
        told[report.site, report.name, report.version].append(
            Report(state=report.state, at_ms=report.at_ms, detail=report.detail)
        )
    found = [
        _view(key, assigned.get(key, []), told.get(key, []), current.get(key[0]))
        for key in assigned.keys() | told.keys()
    ]
    return sorted(found, key=lambda item: (item.assigned_ms or 0, item.version), reverse=True)


def _view(
    key: tuple[str, str, int],
    assigned: Sequence[AssignmentRow],
    told: Sequence[Report],
    current: int | None,
) -> RolloutView:
    published = [
        Report(state="published", at_ms=row.issued_ms, detail=f"stage {row.stage}") for row in assigned
    ]
    history = sorted((*published, *told), key=lambda report: report.at_ms)
    newest = assigned[-1] if assigned else None
    return RolloutView(
        site=key[0],
        name=key[1],
        version=key[2],
        stage=Stage(newest.stage) if newest is not None else None,
        current=newest is not None and newest.counter == current,
        reported=told[-1] if told else history[-1] if history else None,
        assigned_ms=newest.issued_ms if newest is not None else None,
        history=history,
    )
