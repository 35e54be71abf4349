"""VNish pages → hash boards and chips. Pure; raises nothing but `MalformedReply`.

Boards stand in `/summary` (`chains`), their serial numbers in `/chains/factory-info`, where every field may
be null. Chips stand in `/boards` (1.3), `/chains` (1.2) or `/chips` (1.2.0), which differ in some names.
Chip grade grey is healthy, red does not hash; temperatures of 0 and pairs 0/0 are no data (miners.md §1.5).
"""

from collections.abc import Callable, Mapping, Sequence

from firmware_adapters.miners.vnish.fields import (
    Object,
    amount,
    as_object,
    as_page,
    child,
    children,
    number,
    text,
)
from firmware_adapters.miners.vnish.parse import BROKEN_BOARD, HASH_UNITS
from firmware_adapters.miners.vnish.temperatures import temperature_range
from shared.details import Board, Chip
from shared.errors import MalformedReply

CHIP_PAGES = ("/boards", "/chains", "/chips")
"""Newest first; which of them a firmware has is for a probe to find out."""
_MILLI = 1e-3


def boards(summary: object, factory: object, hash_unit: str | None) -> tuple[Board, ...]:
    """The boards of `/summary` by index, with what `/chains/factory-info` adds (None: nothing).

    Hashrates by `hash_unit` as in `parse.summary`. Raises `MalformedReply` if `/summary` is no object.
    """
    miner = child(as_page(summary, "/summary"), "miner")
    listed = children(miner, "chains") or children(miner, "boards")
    serials = _serials(factory, [_index(position, page) for position, page in enumerate(listed)])
    found: dict[int, Board] = {}
    for position, page in enumerate(listed):
        board = _board(position, page, serials, HASH_UNITS.get(hash_unit or ""))
        found.setdefault(board.index, board)
    return tuple(found[index] for index in sorted(found))


def _serials(factory: object, indexes: Sequence[int]) -> dict[int, str]:
    """Serial numbers by board; by place where that page counts from elsewhere and has as many boards."""
    listed = children(as_object(factory), "chains")
    words = [text(board, "serial") or "" for board in listed]
    own = [_index(position, board) for position, board in enumerate(listed)]
    if set(own) != set(indexes) and len(own) == len(indexes):
        own = list(indexes)
    return dict(zip(own, words, strict=True))


def _index(position: int, board: Object) -> int:
    own = amount(board, "id")
    return int(own) if own is not None and own < 1000 else position + 1


def _board(
    position: int, page: Object, serials: Mapping[int, str], convert: Callable[[float], float] | None
) -> Board:
    index = _index(position, page)
    chip, pcb = temperature_range({}, [page], "chip"), temperature_range({}, [page], "pcb")
    watts = amount(page, "power_consumption")
    return Board(
        index=index,
        working=works(text(child(page, "status"), "state")),
        hashrate_ths=_rate(page, "hashrate_rt", convert),
        hashrate_nominal_ths=_rate(page, "hashrate_ideal", convert),
        power_w=watts if watts is not None else amount(page, "power_usage"),
        chip_temp_max_c=chip.high,
        chip_temp_min_c=chip.low,
        board_temp_max_c=pcb.high,
        board_temp_min_c=pcb.low,
        water_in_c=_not_zero(page, "inlet_water_temp"),
        water_out_c=_not_zero(page, "outlet_water_temp"),
        frequency_mhz=amount(page, "frequency"),
        voltage_v=_scaled(page, "voltage", _MILLI),
        hw_errors=amount(page, "hw_errors"),
        chips=_answering(page),
        serial=serials.get(index, ""),
        fault=text(child(page, "status"), "description") or "",
    )


def works(state: str | None) -> bool | None:
    """Whether a board in `state` is in order; one that is stopped or starting is, "unknown" is unknown."""
    if state is None or state == "unknown":
        return None
    return state not in BROKEN_BOARD


def _rate(page: Object, key: str, convert: Callable[[float], float] | None) -> float | None:
    value = amount(page, key)
    return convert(value) if value is not None and convert is not None else None


def _scaled(page: Object, key: str, factor: float) -> float | None:
    value = amount(page, key)
    return value * factor if value is not None else None


def _not_zero(page: Object, key: str) -> float | None:
    value = number(page, key)
    return value if value else None


def _answering(page: Object) -> int | None:
    """Chips that hash; while a board starts all are red, and how many there are is not known yet."""
    statuses = child(page, "chip_statuses")
    counts = [amount(statuses, grade) for grade in ("grey", "orange")]
    known = [count for count in counts if count is not None and count < 1e6]
    answering = int(sum(known))
    return answering if known and (answering or text(child(page, "status"), "state") == "mining") else None


def chips(body: object, hash_unit: str | None) -> tuple[Chip, ...]:
    """The chips of any of `CHIP_PAGES`. Raises `MalformedReply` where it is none of their shapes."""
    if isinstance(body, list):
        listed = [page for item in body if (page := as_object(item)) is not None]
    elif isinstance(body, dict) and isinstance(body.get("chains"), list):
        listed = children(body, "chains")
    else:
        raise MalformedReply("chips: neither a list of boards nor /chips")
    convert = HASH_UNITS.get(hash_unit or "")
    found: dict[tuple[int, int], Chip] = {}
    for position, board in enumerate(listed):
        index = _index(position, board)
        for place, page in enumerate(children(board, "chips")):
            chip = _chip(index, place, page, convert)
            found.setdefault((index, chip.index), chip)
    return tuple(found[key] for key in sorted(found))


def _chip(board: int, place: int, page: Object, convert: Callable[[float], float] | None) -> Chip:
    own = amount(page, "id")
    errors = amount(page, "errs")
    rate = _rate(page, "hr", convert)
    return Chip(
        board=board,
        index=int(own) if own is not None and own < 100_000 else place,
        hashrate_ths=rate if rate is not None else _rate(page, "hashrate", convert),
        frequency_mhz=amount(page, "freq"),
        voltage_v=_scaled(page, "volt", _MILLI),
        temp_c=_not_zero(page, "temp"),
        errors=errors if errors is not None else amount(page, "errors"),
        grade=text(page, "grade") or text(page, "status") or "",
    )
