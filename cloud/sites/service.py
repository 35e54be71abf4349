"""Sites as people see them: totals over fresh devices, zones, alarms, the running model."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.devices import repository as devices
from cloud.devices.freshness import age_s, is_fresh
from cloud.kit.problems import NotFound
from cloud.sites import repository
from cloud.sites.schemas import (
    AlgorithmTotals,
    LedgerView,
    RunningModel,
    SiteSummary,
    StreamView,
    ZoneView,
)
from cloud.tables import DeviceLatestRow, DeviceRow, LedgerRow, SiteRow, ZoneStatusRow
from cloud.timeseries.store import TimeSeriesStore
from shared.ids import SiteId
from shared.telemetry import COLUMN_INDEX, DeviceKind
from shared.units import Algorithm, joule_per_terahash
from shared.wire.intervals import IntervalSet

_HASHRATE, _POWER = COLUMN_INDEX["hashrate_ths_mean"], COLUMN_INDEX["power_w_mean"]


async def summaries(
    session: AsyncSession, now_ms: int, ids: Sequence[str] | None = None
) -> list[SiteSummary]:
    """All sites, or these."""
    alarms = await repository.open_alarms(session)
    return [
        await _summary(session, site, alarms.get(site.id, (0, 0)), now_ms)
        for site in await repository.sites(session, ids)
    ]


async def summary(session: AsyncSession, site: str, now_ms: int) -> SiteSummary:
    """One site; raises `NotFound`."""
    found = await summaries(session, now_ms, [site])
    if not found:
        raise NotFound(f"there is no site {site!r}")
    return found[0]


async def must_exist(session: AsyncSession, site: str) -> SiteId:
    """The site's id; raises `NotFound`."""
    if not await repository.exists(session, site):
        raise NotFound(f"there is no site {site!r}")
    return SiteId(site)


async def _summary(session: AsyncSession, site: SiteRow, alarms: tuple[int, int], now_ms: int) -> SiteSummary:
    inventory = await devices.inventory(session, site.id)
    latest = await devices.latest(session, site.id)
    fresh = {name: row for name, row in latest.items() if is_fresh(row, now_ms, site.last_seen_ms)}
    miners = [device for device in inventory if device.kind == DeviceKind.MINER.value]
    hashing = sum(_number(fresh.get(miner.id), _HASHRATE, 0.0) > 0 for miner in miners)
    running = await repository.running_model(session, site.id)
    return SiteSummary(
        id=site.id,
        name=site.name,
        online=bool(site.online),
        last_seen_ms=site.last_seen_ms,
        data_age_s=min((age_s(row, now_ms, site.last_seen_ms) for row in latest.values()), default=None),
        step_s=site.step_s,
        simulated=site.simulated,
        power_w=_metered(inventory, fresh),
        miners_power_w=_sum([fresh[miner.id].numbers[_POWER] for miner in miners if miner.id in fresh]),
        algorithms=_by_algorithm(miners, fresh),
        miners_total=len(miners),
        miners_hashing=hashing,
        miners_fresh=sum(miner.id in fresh for miner in miners),
        open_alarms=alarms[0],
        urgent_alarms=alarms[1],
        zones=_zones(inventory, await repository.zones(session, site.id)),
        model=RunningModel(
            name=running[0].name, version=running[0].version, stage=running[0].state, algorithm=running[1]
        )
        if running is not None
        else None,
    )


def _number(row: DeviceLatestRow | None, index: int, unknown: float) -> float:
    value = row.numbers[index] if row is not None else None
    return unknown if value is None else float(value)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _metered(inventory: Sequence[DeviceRow], fresh: dict[str, DeviceLatestRow]) -> float | None:
    """The meters' sum; unknown where one of them is, because a partial sum looks like a low load."""
    meters = [device.id for device in inventory if device.kind == DeviceKind.METER.value]
    values = [fresh[meter].numbers[_POWER] if meter in fresh else None for meter in meters]
    return _sum(values) if values and None not in values else None


def _by_algorithm(
    miners: Sequence[DeviceRow], fresh: dict[str, DeviceLatestRow]
) -> dict[str, AlgorithmTotals]:
    groups: dict[str, list[DeviceRow]] = defaultdict(list)
    for miner in miners:
        groups[miner.algorithm or Algorithm.UNKNOWN.value].append(miner)
    totals = {}
    for algorithm, members in sorted(groups.items()):
        rows = [fresh[miner.id] for miner in members if miner.id in fresh]
        hashrate = _sum([row.numbers[_HASHRATE] for row in rows])
        # J/TH over miners of which both numbers are known, so that a gap in one does not bend the ratio.
        both = [(row.numbers[_POWER], row.numbers[_HASHRATE]) for row in rows]
        pairs = [(power, rate) for power, rate in both if power is not None and rate is not None]
        totals[algorithm] = AlgorithmTotals(
            hashrate_ths=hashrate,
            power_w=_sum([row.numbers[_POWER] for row in rows]),
            j_per_th=joule_per_terahash(sum(p for p, _ in pairs), sum(r for _, r in pairs)),
            miners=len(members),
            hashing=sum(_number(row, _HASHRATE, 0.0) > 0 for row in rows),
        )
    return totals


def _zones(inventory: Sequence[DeviceRow], statuses: Sequence[ZoneStatusRow]) -> list[ZoneView]:
    known = {row.zone: row for row in statuses}
    names = known.keys() | {device.zone for device in inventory if device.zone is not None}
    return [_zone(name, known.get(name)) for name in sorted(names)]


def _zone(name: str, row: ZoneStatusRow | None) -> ZoneView:
    data = row.data if row is not None else {}

    def flag(key: str) -> bool | None:
        return data[key] if isinstance(data.get(key), bool) else None

    def word(key: str) -> str | None:
        return data[key] if isinstance(data.get(key), str) and data[key] else None

    inhibited = data.get("inhibited")
    return ZoneView(
        id=name,
        mode=word("mode"),
        cooling_proven=flag("cooling_proven"),
        tripped=flag("tripped"),
        first_out=word("first_out"),
        inhibited=inhibited if isinstance(inhibited, int) else None,
        restarting=flag("restarting"),
        at_ms=row.at_ms if row is not None else None,
    )


async def ledger(session: AsyncSession, series: TimeSeriesStore, site: str) -> LedgerView:
    """What has been committed of each of the site's streams; raises `NotFound`."""
    name = await must_exist(session, site)
    rows = await repository.ledger(session, site)
    return LedgerView(
        streams=[_stream(row) for row in rows],
        rows_in_store=await series.count(session, name),
        rows_apart=await series.count_apart(session, name),
    )


def _stream(row: LedgerRow) -> StreamView:
    covered = IntervalSet((first, last) for first, last in (*row.received, *row.tombstoned))
    edges = [0, *(edge for pair in covered for edge in pair)]
    gaps = [
        (last + 1, first - 1)
        for last, first in zip(edges[::2], edges[1::2], strict=False)
        if first > last + 1
    ]
    return StreamView(
        epoch=row.epoch,
        stream=row.stream,
        batches=row.batches,
        upto=covered.upto,
        ranges=[pair for pair in covered if pair[0] > covered.upto],
        rows=row.rows,
        duplicate_batches=row.duplicate_batches,
        tombstoned_rows=row.tombstoned_rows,
        quarantined_batches=row.quarantined_batches,
        gaps=gaps,
    )
