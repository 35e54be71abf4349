"""Devices as people see them, and their history."""

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.devices import repository
from cloud.devices.freshness import age_s, is_fresh
from cloud.devices.schemas import Anomaly, DeviceView, TelemetryView
from cloud.kit.problems import BadInput, NotFound
from cloud.tables import DeviceLatestRow, DeviceRow, DeviceScoreRow
from cloud.timeseries.store import SeriesQuery, Tier, TimeSeriesStore
from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES


async def views(session: AsyncSession, site: str, now_ms: int, device: str | None = None) -> list[DeviceView]:
    """The devices of a site's inventory, or the one."""
    latest = await repository.latest(session, site, device)
    scores = await repository.scores(session, site, device)
    inhibits = await repository.inhibits(session, site)
    heard_ms = await repository.heard_ms(session, site)
    return [
        _view(row, latest.get(row.id), scores.get(row.id), inhibits.get(row.id), now_ms, heard_ms)
        for row in await repository.inventory(session, site, device)
    ]


async def view(session: AsyncSession, site: str, device: str, now_ms: int) -> DeviceView:
    """One device; raises `NotFound`."""
    found = await views(session, site, now_ms, device)
    if not found:
        raise NotFound(f"there is no device {device!r} on site {site!r}")
    return found[0]


def _view(
    row: DeviceRow,
    latest: DeviceLatestRow | None,
    score: DeviceScoreRow | None,
    inhibited: str | None,
    now_ms: int,
    heard_ms: int | None,
) -> DeviceView:
    numbers = latest.numbers if latest is not None else [None] * len(COLUMN_NAMES)
    return DeviceView(
        id=row.id,
        site=row.site,
        kind=row.kind,
        adapter=row.adapter,
        zone=row.zone,
        rack=row.rack,
        slot=row.slot,
        model=row.model,
        algorithm=row.algorithm,
        host=row.host,
        nominal_w=row.nominal_w,
        data_age_s=age_s(latest, now_ms, heard_ms) if latest is not None else None,
        fresh=latest is not None and is_fresh(latest, now_ms, heard_ms),
        at_ms=latest.at_ms if latest is not None else None,
        state=latest.state if latest is not None else None,
        preset=latest.preset if latest is not None else None,
        quality=latest.quality if latest is not None else None,
        samples=latest.samples if latest is not None else None,
        failed=latest.failed if latest is not None else None,
        inhibited=inhibited,
        latest=dict(zip(COLUMN_NAMES, numbers, strict=True)),
        anomaly=Anomaly(
            score=score.score,
            threshold=score.threshold,
            at_ms=score.at_ms,
            model=score.model,
            version=score.version,
            top_feature=score.top_feature,
        )
        if score is not None
        else None,
    )


async def history(
    session: AsyncSession,
    series: TimeSeriesStore,
    *,
    site: str,
    device: str,
    columns: str,
    from_ms: int,
    to_ms: int,
    limit: int,
    tier: Tier,
) -> TelemetryView:
    """A device's numbers; raises `NotFound` and `BadInput`."""
    names = tuple(name.strip() for name in columns.split(",") if name.strip()) if columns else COLUMN_NAMES
    if len(set(names)) != len(names):
        raise BadInput("columns names one twice")
    if not await repository.inventory(session, site, device):
        raise NotFound(f"there is no device {device!r} on site {site!r}")
    query = SeriesQuery(
        site=SiteId(site),
        device=DeviceId(device),
        columns=names,
        from_ms=from_ms,
        to_ms=to_ms,
        limit=limit,
        tier=tier,
    )
    try:
        frame = await series.read(session, query)
    except KeyError as error:
        raise BadInput(f"there is no column {error}; see the keys of a device's 'latest'") from error
    return TelemetryView(
        device=device,
        tier=frame.tier,
        step_s=frame.step_s,
        columns=list(frame.columns),
        at_ms=list(frame.at_ms),
        values=[list(column) for column in frame.values],
        next_from_ms=frame.next_from_ms,
    )
