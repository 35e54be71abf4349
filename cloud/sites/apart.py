"""Rows of times that a site lived twice, for people to compare with the stored ones of the same times."""

import base64
import binascii
import re

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.problems import BadInput
from cloud.sites.schemas import RowApart, RowApartList
from cloud.sites.service import must_exist
from cloud.timeseries.store import Apart, ApartKey, ApartQuery, TimeSeriesStore
from shared.telemetry import COLUMN_NAMES

_CURSOR = re.compile(r"([0-9]{1,19})\.([0-9a-f]{64})\.([^\0]{1,255})", re.ASCII)
LARGEST = 2**63 - 1


async def rows(
    session: AsyncSession,
    series: TimeSeriesStore,
    *,
    site: str,
    device: str | None,
    from_ms: int,
    to_ms: int,
    cursor: str | None,
    limit: int,
) -> RowApartList:
    """One page of `[from_ms, to_ms)` (UTC, ms); raises `NotFound`, and `BadInput` for a foreign cursor.

    A device that has no such rows, or is not known (any more), has an empty list: its rows may outlive it.
    """
    query = ApartQuery(
        site=await must_exist(session, site),
        device=device,
        from_ms=from_ms,
        to_ms=to_ms,
        after=decode(cursor) if cursor is not None else None,
        limit=limit + 1,
    )
    found = await series.apart_page(session, query)
    more = encode(found[limit - 1].key) if len(found) > limit else None
    return RowApartList(items=[_view(one) for one in found[:limit]], next_cursor=more)


def encode(key: ApartKey) -> str:
    """A cursor that continues behind this row."""
    device, at_ms, sha256 = key
    return base64.urlsafe_b64encode(f"{at_ms}.{sha256}.{device}".encode()).decode().rstrip("=")


def decode(cursor: str) -> ApartKey:
    """The row in a cursor; raises `BadInput` for one that we did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = _CURSOR.fullmatch(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError) as error:
        raise BadInput("cursor is not one that this API gave out") from error
    if found is None or int(found[1]) > LARGEST:
        raise BadInput("cursor is not one that this API gave out")
    return found[3], int(found[1]), found[2]


def _view(one: Apart) -> RowApart:
    row = one.row
    return RowApart(
        device=row.device,
        at_ms=row.at_ms,
        received_ms=one.received_ms,
        step_s=row.step_s,
        samples=row.samples,
        failed=row.failed,
        quality=int(row.quality),
        state=row.state.value if row.state is not None else None,
        preset=row.preset,
        values=dict(zip(COLUMN_NAMES, row.values, strict=True)),
    )
