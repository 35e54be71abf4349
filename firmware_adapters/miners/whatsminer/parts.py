"""Boards and pools of a Whatsminer, both APIs, and what they add to a sample. Pure; `MalformedReply` only.

Sources: as `parse`. A board may tell its average hashrate only (as recorded). That is shown only while all
boards together still make what the machine hashes now.
"""

import msgspec

from firmware_adapters.miners.cgminer import pool_state
from firmware_adapters.miners.fields import reading
from firmware_adapters.miners.whatsminer import parse
from firmware_adapters.miners.whatsminer.fields import Page, amount, page, section, text, truth
from firmware_adapters.miners.whatsminer.parse import Identity
from shared.capabilities import Capability, DeviceFacts
from shared.details import Board, Pool
from shared.errors import MalformedReply
from shared.telemetry import Reading
from shared.units import Algorithm, mhs_to_ths

_MOST_BOARDS = 16
_STEADY = 0.1
"""As much may the boards' averages and the hashrate of now differ, as a share of it [default]."""
COUNTED = ("shares_accepted", "shares_rejected", "shares_stale")
_NO_SENSOR_C = -40.0
_UNIX = 1e9
"""A smaller number of seconds is no date."""


def facts(found: Identity, capabilities: tuple[Capability, ...], *, default_password: bool) -> DeviceFacts:
    """The facts of a machine of either API."""
    return DeviceFacts(
        model=f"Whatsminer {found.model}".strip(),
        firmware=found.firmware,
        mac=found.mac,
        serial=found.serial,
        algorithm=Algorithm.SHA256D,
        capabilities=capabilities,
        default_password=default_password,
    )


def boards(
    body: object, boards_c: tuple[float, ...] = (), *, now_ths: float | None = None, off: bool | None = None
) -> tuple[Board, ...]:
    """The boards in `devs` or `edevs`; `boards_c` are their temperatures where only the summary has them.

    `now_ths`: what the machine hashes, TH/s. One that is `off` says nothing of which boards would work.
    Raises `MalformedReply` where the reply holds none such.
    """
    found = section(body, "devs", "edevs")
    if found is None:
        raise MalformedReply("devs: there are none in the reply")
    found = found[:_MOST_BOARDS]
    rates = _rates(found, now_ths)
    listed = [
        _board(said, position, boards_c[position] if position < len(boards_c) else None)
        for position, said in enumerate(found)
    ]
    listed = [
        msgspec.structs.replace(
            board, hashrate_ths=rate, working=None if off and not board.working else board.working
        )
        for board, rate in zip(listed, rates, strict=True)
    ]
    slots = [_index(said, "slot") for said in found]
    if None in slots or len(set(slots)) < len(slots):
        # Some versions print slot 0 for every board: then they count by `ASC`, and else by their order.
        slots = [_index(said, "asc", "id") for said in found]
    if None in slots or len(set(slots)) < len(slots):
        slots = list(range(len(found)))
    named = [msgspec.structs.replace(board, index=slot) for board, slot in zip(listed, slots, strict=True)]
    return tuple(sorted(named, key=lambda board: board.index))


def _board(said: Page, position: int, told_c: float | None) -> Board:
    told_c = told_c if told_c is None or told_c > _NO_SENSOR_C else None
    temperature = amount(said, "temperature") or told_c or None
    chips = amount(said, "effectivechips")
    return Board(
        index=position,
        working=_works(said, chips),
        hashrate_nominal_ths=parse.factory_ths(said),
        chip_temp_max_c=amount(said, "chiptempmax") or None,
        chip_temp_min_c=amount(said, "chiptempmin") or None,
        board_temp_max_c=temperature,
        board_temp_min_c=temperature,
        frequency_mhz=amount(said, "chipfrequency", "frequency", "freq") or None,
        hw_errors=amount(said, "hardwareerrors"),
        chips=int(chips) if chips is not None and chips <= 10_000 else None,
        serial=text(said, "pcbsn") or "",
    )


def _rates(found: list[Page], now_ths: float | None) -> list[float | None]:
    """What each board hashes now, TH/s."""
    rates = [parse.rate_now(said) for said in found]
    told = [_average(said) if rate is None else rate for said, rate in zip(found, rates, strict=True)]
    known = [rate for rate in told if rate is not None]
    steady = now_ths and len(known) == len(told) and abs(sum(known) - now_ths) <= _STEADY * now_ths
    return told if steady else rates


def _average(said: Page) -> float | None:
    ths, mhs = amount(said, "hashaverage"), amount(said, "mhsav")
    return ths if ths is not None else None if mhs is None else mhs_to_ths(mhs)


def _works(said: Page, chips: float | None) -> bool | None:
    """v2 says whether a board is alive; v3 only how many of its chips answer."""
    alive = text(said, "status")
    if alive is None:
        return None if chips is None else chips > 0
    return alive.lower() == "alive" and text(said, "enabled") in ("Y", None) and chips != 0


def _index(said: Page, *names: str) -> int | None:
    value = amount(said, *names)
    return int(value) if value is not None and value < _MOST_BOARDS else None


def readings_of_boards(found: tuple[Board, ...]) -> dict[str, Reading]:
    """What the boards add to a sample: board temperatures, and how many work."""
    known = [board.board_temp_max_c for board in found if board.board_temp_max_c is not None]
    readings = parse.span("board", parse.likely_c(known)) if known else {}
    states = [board.working for board in found]
    if states and None not in states:
        readings["boards_working"] = Reading(float(sum(state is True for state in states)))
    return readings


def pools(body: object) -> tuple[Pool, ...]:
    """The pools in their order. Raises `MalformedReply` where the reply holds none such."""
    found = section(body, "pools")
    if found is None:
        raise MalformedReply("pools: there are none in the reply")
    heads = section(body, "status") or [page(body) or {}]
    now_s = amount(heads[0] if heads else None, "when")
    return tuple(_pool(said, position, now_s) for position, said in enumerate(found))


def _pool(said: Page, position: int, now_s: float | None) -> Pool:
    number_of = amount(said, "pool", "id")
    share_s = amount(said, "lastsharetime")
    known = now_s is not None and share_s is not None and share_s >= _UNIX
    return Pool(
        index=int(number_of) if number_of is not None and number_of < 100 else position,
        url=text(said, "url") or "",
        user=text(said, "user", "account") or "",
        state=pool_state(text(said, "status") or "", active=truth(said, "stratumactive", "active")),
        accepted=amount(said, "accepted"),
        rejected=amount(said, "rejected"),
        stale=amount(said, "stale"),
        last_share_age_s=max((now_s or 0.0) - (share_s or 0.0), 0.0) if known else None,
    )


def beside_summary(told: dict[str, Reading], seen: dict[str, Reading] | None) -> dict[str, Reading]:
    """What the pools told, beside the readings of `seen`, the summary (None: it was refused).

    What a summary counts itself is not what the pools count, and the two must not take turns: so without a
    summary nobody knows which of them counted before.
    """
    if seen is None:
        return {point: value for point, value in told.items() if point not in COUNTED}
    return {point: value for point, value in told.items() if point not in seen}


def readings_of_pools(found: tuple[Pool, ...]) -> dict[str, Reading]:
    """Shares over all pools, as far as every one of them tells."""
    told: dict[str, Reading] = {}
    for point, counts in (
        ("shares_accepted", [pool.accepted for pool in found]),
        ("shares_rejected", [pool.rejected for pool in found]),
        ("shares_stale", [pool.stale for pool in found]),
    ):
        known = [count for count in counts if count is not None]
        if known and len(known) == len(counts):
            told[point] = reading(point, sum(known))
    ages = [pool.last_share_age_s for pool in found if pool.last_share_age_s is not None]
    if ages:
        told["last_share_age_s"] = reading("last_share_age_s", min(ages))
    return told
