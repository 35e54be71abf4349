"""VNish pools of `/summary` → pools, and a sample's share counters. Pure; raises only `MalformedReply`.

A fee's pool is not the owner's: it is listed as not ours and its shares count nowhere. "working" is a
pool that answers while another is "active"; where none is called active, the only one that works is the one.
"""

import re
from collections.abc import Sequence
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.vnish.fields import (
    Object,
    amount,
    as_page,
    child,
    children,
    reading,
    text,
    total,
)
from shared.details import Pool, PoolState
from shared.telemetry import Reading

_STATES = MappingProxyType(
    {
        "active": PoolState.ACTIVE,
        "working": PoolState.STANDBY,
        "offline": PoolState.DEAD,
        "rejecting": PoolState.REJECTING,
        "disabled": PoolState.DISABLED,
    }
)
_FEES = ("DevFee", "HotelFee")
"""The developer's, and in the document of 1.2.0 whoever houses the machine."""
_COUNTERS = tuple((word, f"shares_{word}") for word in ("accepted", "rejected", "stale"))
_CLOCK = re.compile(r"(?:(\d{1,5})\s*d(?:ays?)?,?\s*)?(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2})", re.ASCII)
_PARTS = re.compile(r"(\d{1,9})\s*([dhms])[a-z]*,?\s*", re.ASCII)
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_OLDEST_S = 1e8
"""A plain number above this is a date and not an age; without the machine's clock it says nothing."""


def pools(body: object) -> tuple[Pool, ...]:
    """All pools of `/summary` in the firmware's order, `index` as its `id`. Raises `MalformedReply`."""
    listed = children(child(as_page(body, "/summary"), "miner"), "pools")
    found = tuple(_pool(position, pool) for position, pool in enumerate(listed))
    states = [pool.state for pool in found if pool.ours]
    if PoolState.ACTIVE in states:
        return found
    told = PoolState.ACTIVE if states.count(PoolState.STANDBY) == 1 else PoolState.UNKNOWN
    return tuple(
        msgspec.structs.replace(pool, state=told) if pool.ours and pool.state is PoolState.STANDBY else pool
        for pool in found
    )


def _pool(position: int, pool: Object) -> Pool:
    number = amount(pool, "id")
    return Pool(
        index=int(number) if number is not None and number < 1000 else position,
        url=text(pool, "url") or "",
        user=text(pool, "user") or "",
        state=_STATES.get(text(pool, "status") or "", PoolState.UNKNOWN),
        accepted=amount(pool, "accepted"),
        rejected=amount(pool, "rejected"),
        stale=amount(pool, "stale"),
        last_share_age_s=_age(pool),
        ours=text(pool, "pool_type") not in _FEES,
    )


def _age(pool: Object) -> float | None:
    """Seconds since the pool's last share. A bare "0" is what a pool without any share shows."""
    plain = amount(pool, "ls_time")
    if plain is not None:
        return plain if 0 < plain < _OLDEST_S else None
    if not amount(pool, "accepted"):
        return None
    return share_age_s(text(pool, "ls_time") or "")


def share_age_s(words: str) -> float | None:
    """Seconds in "0:00:12", "3:05" (m:ss), "1d 02:03:04" or "2h 5m"; None for anything else."""
    match = _CLOCK.fullmatch(words)
    if match is not None:
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    lowered = words.strip().lower()
    if len(lowered) > 64 or not lowered or _PARTS.sub("", lowered):
        return None
    return sum(float(count) * _SECONDS[unit] for count, unit in _PARTS.findall(lowered))


def shares(listed: Sequence[Object]) -> dict[str, Reading]:
    """The counters of a sample over the owner's pools, and how long ago the newest share was.

    Straight from the pools of `/summary`, because every read does this.
    """
    own = [pool for pool in listed if pool.get("pool_type") not in _FEES]
    counted = {
        name: reading(name, total([count for pool in own if (count := amount(pool, word)) is not None]))
        for word, name in _COUNTERS
    }
    ages = [age_s for pool in own if (age_s := _age(pool)) is not None]
    if ages:
        counted["last_share_age_s"] = reading("last_share_age_s", min(ages))
    return counted
