"""Braiins OS pages → boards, pools, faults: what is read rarely.

Pure; raises nothing but `MalformedReply`.
"""

from datetime import UTC, datetime

from firmware_adapters.miners.braiins import parse
from firmware_adapters.miners.fields import (
    Object,
    amount,
    as_page,
    child,
    children,
    flag,
    number,
    objects,
    text,
)
from shared.details import Board, Fault, Pool, PoolState
from shared.errors import MalformedReply
from shared.telemetry import MinerState

MAX_FAULTS = 32
RECENT_S = 900.0
"""An error of a machine that works, or was stopped, is over after this [default]."""
_OLDEST_S = 1_640_995_200.0
"""2022 in UTC: an earlier entry is by a clock that has not been set, and started in 2015 with the machine."""
_UNSET_S = 1_420_070_400.0
"""2015 in UTC."""
_WELL = (MinerState.MINING, MinerState.STOPPED)


def boards(body: object, *, hashing: bool) -> tuple[Board, ...]:
    """`miner/hw/hashboards` by index. Raises `MalformedReply` if it is no object."""
    found: dict[int, Board] = {}
    for place, board in enumerate(children(as_page(body, "miner/hw/hashboards"), "hashboards")):
        own = number(board, "id")
        index = int(own) if own is not None and 0 <= own < 1000 else place
        found.setdefault(index, _board(index, board, hashing=hashing))
    return tuple(found[index] for index in sorted(found))


def _board(index: int, board: Object, *, hashing: bool) -> Board:
    spans = parse.board_span(board)
    hertz, chips = amount(board, "current_frequency", "hertz"), amount(board, "chips_count")
    stats = child(board, "stats")
    return Board(
        index=index,
        working=parse.working(board, hashing=hashing),
        hashrate_ths=parse.hashrate_now(stats),
        hashrate_nominal_ths=parse.rate_ths(child(stats, "nominal_hashrate")),
        chip_temp_max_c=parse.chip_temp(board),
        board_temp_max_c=max(spans, default=None),
        board_temp_min_c=min(spans, default=None),
        frequency_mhz=hertz / 1e6 if hertz is not None else None,
        voltage_v=amount(board, "current_voltage", "volt"),
        chips=int(chips) if chips is not None else None,
        serial=text(board, "serial_number") or "",
    )


def pools(body: object, utc_ms: int) -> tuple[Pool, ...]:
    """`pools`: all pools of all groups in the firmware's order; `utc_ms` is our clock.

    Raises `MalformedReply` if it is neither a list of groups nor an object with one.
    """
    if isinstance(body, dict):
        body = body.get("pool_groups", body.get("groups"))
    if not isinstance(body, list):
        raise MalformedReply("pools: not a list of groups")
    members = [pool for group in objects(body) for pool in children(group, "pools")]
    return tuple(_pool(index, pool, utc_ms) for index, pool in enumerate(members))


def _pool(index: int, pool: Object, utc_ms: int) -> Pool:
    stats = child(pool, "stats")
    return Pool(
        index=index,
        url=text(pool, "url") or "",
        user=text(pool, "user") or "",
        state=_pool_state(pool),
        accepted=amount(stats, "accepted_shares"),
        rejected=amount(stats, "rejected_shares"),
        stale=amount(stats, "stale_shares"),
        last_share_age_s=parse.share_age_s(stats, utc_ms),
    )


def _pool_state(pool: Object) -> PoolState:
    if flag(pool, "enabled") is False:
        return PoolState.DISABLED
    if flag(pool, "alive") is False:
        return PoolState.DEAD
    active = flag(pool, "active")
    if active is None:
        return PoolState.UNKNOWN
    if active:
        return PoolState.ACTIVE
    return PoolState.STANDBY if flag(pool, "alive") else PoolState.UNKNOWN


def faults(body: object, details: parse.Details, utc_ms: int) -> tuple[Fault, ...]:
    """What of `miner/errors` is wrong now, each error once, the newest last; `utc_ms` is our clock.

    The page is a record since the firmware was installed, by a clock that may have stood at 2015, and repeats
    one error by the hundred; so each stands once, with the time of its last entry in its words. An entry
    counts for `RECENT_S`, and all since the machine started count while it neither mines nor was stopped:
    they may be why. One without a time that can be read counts. Raises `MalformedReply` if it is no object.
    """
    last: dict[tuple[str, str], str] = {}
    for error in children(as_page(body, "miner/errors"), "errors"):
        when = text(error, "timestamp") or ""
        if _is_over(when, details, utc_ms / 1000.0):
            continue
        told = text(error, "message") or ""
        coded = [code for code in children(error, "error_codes") if text(code, "code")]
        for code in coded:
            _note(last, (text(code, "code") or "", text(code, "reason") or told), when)
        if not coded and told:
            _note(last, ("", told), when)
    newest = list(last.items())[-MAX_FAULTS:]
    return tuple(
        Fault(code=code, words=f"{words} (last {when})" if when else words) for (code, words), when in newest
    )


def _is_over(when: str, details: parse.Details, now_s: float) -> bool:
    """Whether an entry of that time (ISO 8601) is history; False where nobody can tell."""
    try:
        at = datetime.fromisoformat(when)
    except ValueError:
        return False
    at_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    uptime_s = details.uptime_s
    if at_s < _OLDEST_S:
        # Written before the clock was set: so long after a start, at the earliest after the present one.
        return uptime_s is not None and uptime_s - (at_s - _UNSET_S) > RECENT_S and details.state in _WELL
    counts_s = RECENT_S
    if details.state not in _WELL:
        if uptime_s is None:
            return False
        counts_s = max(RECENT_S, uptime_s + RECENT_S)
    return now_s - at_s > counts_s


def _note(last: dict[tuple[str, str], str], key: tuple[str, str], when: str) -> None:
    """Remember the latest entry of an error, and put it at the end."""
    last.pop(key, None)
    last[key] = when
