"""The table of faults: what was done to the real processes, what happened, and how long it took."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from support.processes import Moment

HEAD = """\
# Faults of real processes

What happens to a site when one of its processes, its disk, its network, its clock or a machine goes wrong.
Written by `python -m pytest tests/safety/processes --fault-table docs/fault-table.md`; do not edit by hand.

{site}
Times are seconds of the monotonic clock on a busy two-core machine. "Told" is from the loss of cooling (or
from the event that the row names) to the moment at which the last stop had reached its miner, "off" to the
moment at which the last miner made no heat, by the plant's own truth. The plant's share of "off" is about
4 s in which the exhaust wall coasts below its limit and 4 s in which the firmware shuts a miner down.
"""
COLUMNS = ("fault", "what happened", "last miner told, s", "last miner off, s", "also measured")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `also` are further times in s, or amounts as text."""

    fault: str
    happened: str
    moment: Moment | None = None
    also: Mapping[str, float | str] = {}


class FaultTable:
    """Rows in the order in which they were measured."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.site = ""

    def add(self, fault: str, happened: str, moment: Moment | None = None, **also: float | str) -> None:
        """Record one fault; keyword names become words (`kill_to_off` reads "kill to off")."""
        self.rows.append(Row(fault=fault, happened=happened, moment=moment, also=also))

    def markdown(self) -> str:
        """The table as a document."""
        lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        lines += [f"| {' | '.join(_cells(row))} |" for row in self.rows]
        return HEAD.format(site=self.site) + "\n" + "\n".join(lines) + "\n"

    def text(self) -> list[str]:
        """The table for a terminal, a few lines per fault."""
        lines: list[str] = []
        for row in self.rows:
            fault, happened, told, off, also = _cells(row)
            lines += [fault, f"    {happened}", f"    told {told} s, off {off} s; {also}"]
        return lines

    def write(self, path: Path) -> None:
        """Write the document."""
        path.write_text(self.markdown())


def _cells(row: Row) -> Sequence[str]:
    moment = row.moment
    told = "–" if moment is None else f"{moment.told_s:.1f}"
    off = "–" if moment is None else f"{moment.stopped_s:.1f}"
    also = [f"{name.replace('_', ' ')} {_amount(value)}" for name, value in row.also.items()]
    return row.fault, row.happened, told, off, "; ".join(also)


def _amount(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f} s"
