"""What ingest tells about devices: the newest roll-up row and the newest score of each."""

from collections.abc import Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new, upsert
from cloud.tables import DeviceLatestRow, DeviceScoreRow, ScoreRowTable
from shared.ids import SiteId
from shared.telemetry import RollupRow, ScoreRow


async def newest_rows(session: AsyncSession, site: SiteId, rows: Iterable[RollupRow]) -> None:
    """Keep the newest row of each device; an older one never replaces a newer one."""
    newest: dict[str, RollupRow] = {}
    for row in rows:
        known = newest.get(row.device)
        if known is None or known.at_ms < row.at_ms:
            newest[row.device] = row
    values = [
        {
            "site": site,
            "device": device,
            "at_ms": row.at_ms,
            "step_s": row.step_s,
            "kind": row.kind.value,
            "algorithm": row.algorithm.value if row.algorithm is not None else None,
            "samples": row.samples,
            "failed": row.failed,
            "quality": int(row.quality),
            "state": row.state.value if row.state is not None else None,
            "preset": row.preset,
            "numbers": list(row.values),
        }
        for device, row in sorted(newest.items())
    ]
    await upsert(session, DeviceLatestRow.__table__, values, newer="at_ms")  # type: ignore[arg-type]  # a Table at run time


async def scores(session: AsyncSession, site: SiteId, rows: Sequence[ScoreRow]) -> None:
    """Store scores once each, and keep the newest of each device."""
    values = [
        {
            "site": site,
            "device": row.device,
            "at_ms": row.at_ms,
            "model": row.model,
            "version": row.version,
            "score": row.score,
            "threshold": row.threshold,
            "top_feature": row.top_feature,
        }
        for row in rows
    ]
    await insert_new(session, ScoreRowTable.__table__, values)  # type: ignore[arg-type]  # as above
    newest: dict[str, dict[str, object]] = {}
    for row, value in sorted(
        zip(rows, values, strict=True), key=lambda pair: (pair[0].at_ms, pair[0].version)
    ):
        newest[row.device] = value
    latest = [value for _, value in sorted(newest.items())]
    await upsert(session, DeviceScoreRow.__table__, latest, newer="at_ms")  # type: ignore[arg-type]  # as above
