"""What ingest tells about history: what devices remember, and raw windows. Each is stored once."""

import hashlib
import zlib
from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new
from cloud.tables import DeviceHistoryRow, RawWindowRow
from shared.frames import Frame
from shared.ids import SiteId
from shared.telemetry import HistoryRow


async def remembered(session: AsyncSession, site: SiteId, rows: Sequence[HistoryRow], now_ms: int) -> None:
    """Store what devices remember; of a moment that is known already the first word stays."""
    values = [
        {
            "site": site,
            "device": row.device,
            "at_ms": row.at_ms,
            "mark": row.mark or "",
            "hashrate_ths": row.hashrate_ths,
            "power_w": row.power_w,
            "chip_temp_max_c": row.chip_temp_max_c,
            "board_temp_max_c": row.board_temp_max_c,
            "fan_duty_pct": row.fan_duty_pct,
            "received_ms": now_ms,
        }
        for row in rows
    ]
    await insert_new(session, DeviceHistoryRow.__table__, values)  # type: ignore[arg-type]  # a Table at run time


async def windows(session: AsyncSession, site: SiteId, frames: Sequence[Frame], now_ms: int) -> None:
    """Store frames as blobs; the same frame from a restored store is one."""
    values = [_window(site, frame, now_ms) for frame in frames if frame.device]
    await insert_new(session, RawWindowRow.__table__, values)  # type: ignore[arg-type]  # as above


def _window(site: SiteId, frame: Frame, now_ms: int) -> dict[str, object]:
    body = msgspec.msgpack.encode(frame)
    return {
        "site": site,
        "sha256": hashlib.sha256(body).hexdigest(),
        "kind": frame.kind.value,
        "boot": frame.boot,
        "from_ms": min(frame.at_ms),
        "to_ms": max(frame.at_ms),
        "samples": len(frame.device),
        "devices": sorted(set(frame.device)),
        "received_ms": now_ms,
        "frame": zlib.compress(body, 6),
    }
