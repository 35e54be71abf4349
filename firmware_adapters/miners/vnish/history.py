"""VNish `/metrics` → the machine's own last hours. Pure; raises nothing but `MalformedReply`.

Newest first on the wire, oldest first here. Times are the machine's clock, which may be wrong. The unit of
`hashrate` is taken to be `hr_measure`, as everywhere else; no source says so (miners.md §1.5).
"""

from firmware_adapters.miners.vnish.fields import Object, amount, as_page, child, children, number, text
from firmware_adapters.miners.vnish.parse import HASH_UNITS
from shared.details import History, HistoryMark, HistoryPoint

LONGEST_S = 259_200.0
"""How far back a machine remembers (72 h)."""
SHORTEST_STEP_S = 60.0
_LATEST_S = 1e11
"""Beyond this a time is not in seconds since 1970."""
_WORD = 64


def history(body: object, hash_unit: str | None) -> History:
    """Read `/metrics`; records without a time are left out. Raises `MalformedReply` if it is no object."""
    page = as_page(body, "/metrics")
    points = {at: _point(at, data, hash_unit) for at, data in _records(page, "metrics")}
    marks = [mark for at, data in _records(page, "annotations") if (mark := _mark(at, data)) is not None]
    return History(
        points=tuple(points[at] for at in sorted(points)),
        marks=tuple(sorted(marks, key=lambda mark: mark.at_ms)),
    )


def _records(page: Object, key: str) -> list[tuple[int, Object]]:
    found = []
    for record in children(page, key):
        at_s, data = number(record, "time"), child(record, "data")
        if at_s is not None and 0 < at_s < _LATEST_S and data is not None:
            found.append((round(at_s * 1000), data))
    return found


def _point(at_ms: int, data: Object, hash_unit: str | None) -> HistoryPoint:
    convert, rate = HASH_UNITS.get(hash_unit or ""), amount(data, "hashrate")
    return HistoryPoint(
        at_ms=at_ms,
        hashrate_ths=convert(rate) if convert is not None and rate is not None else None,
        power_w=amount(data, "power_consumption"),
        chip_temp_max_c=number(data, "chip_max_temp") or None,
        board_temp_max_c=number(data, "pcb_max_temp") or None,
        fan_duty_pct=amount(data, "fan_duty"),
    )


def _mark(at_ms: int, data: Object) -> HistoryMark | None:
    what = text(data, "type")
    if what is None:
        return None
    board = amount(data, "board_id")
    if board is None:
        board = amount(data, "chain_id")
    return HistoryMark(
        at_ms=at_ms,
        what=what[:_WORD].replace("_chain", "_board"),
        board=int(board) if board is not None and board < 1000 else None,
    )
