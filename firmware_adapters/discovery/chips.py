"""A machine's chips per board, as a technician looks at them: how many, which are dark, how hot, how uneven.

A chip is dark where it tells a hashrate of 0; one that tells none is unknown and not dark. A machine that
does not mine has only dark ones. Temperatures that cannot be true (255 °C) do not count.
"""

from collections.abc import Iterable

import msgspec

from shared.details import Chip
from shared.telemetry import METRICS

_TEMP = METRICS["chip_temp_max_c"]


class BoardChips(msgspec.Struct, frozen=True, kw_only=True):
    """The chips of one board in a line. None: no chip tells it."""

    board: int
    told: int
    """So many chips are in the reply."""
    dark: tuple[int, ...] | None = None
    """Their indices."""
    hottest_c: float | None = None
    spread_k: float | None = None
    """Hottest less coolest, in kelvin."""
    hashrate_min_ths: float | None = None
    hashrate_max_ths: float | None = None


def by_board(chips: Iterable[Chip]) -> tuple[BoardChips, ...]:
    """One line per board, in the order of their indices."""
    boards: dict[int, list[Chip]] = {}
    for chip in chips:
        boards.setdefault(chip.board, []).append(chip)
    return tuple(_summed(board, boards[board]) for board in sorted(boards))


def _summed(board: int, chips: list[Chip]) -> BoardChips:
    rates = [chip.hashrate_ths for chip in chips if chip.hashrate_ths is not None]
    temps = [temp_c for chip in chips if (temp_c := believed_c(chip)) is not None]
    return BoardChips(
        board=board,
        told=len(chips),
        dark=tuple(chip.index for chip in chips if chip.hashrate_ths == 0.0) if rates else None,
        hottest_c=max(temps, default=None),
        spread_k=max(temps) - min(temps) if temps else None,
        hashrate_min_ths=min(rates, default=None),
        hashrate_max_ths=max(rates, default=None),
    )


def believed_c(chip: Chip) -> float | None:
    """Its temperature (°C) where that can be true."""
    likely = chip.temp_c is not None and _TEMP.low <= chip.temp_c <= _TEMP.high
    return chip.temp_c if likely else None
