"""A set of batch numbers kept as closed intervals: the ledger behind exactly-once ingest.

Batches arrive in any order (a live lane beside a backlog lane, shared subscriptions), so "what was
committed" is a set and not a high-water mark. Immutable: `add` returns a new set.
"""

from collections.abc import Iterable, Iterator
from typing import Self

from shared.errors import WireError

MAX_RANGES_PER_ACK = 32
"""An acknowledgement carries at most this many ranges (contracts, `dn/ack`)."""


class IntervalSet:
    """Sorted, disjoint, non-touching closed intervals of positive batch numbers."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if first < 1 or last < first:
                raise WireError(f"interval [{first}, {last}] is not 1 <= first <= last")
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self._ranges = tuple(merged)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        return self._ranges

    @property
    def upto(self) -> int:
        """The highest number N such that 1..N are all in; 0 where 1 is missing."""
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] == 1 else 0

    def add(self, first: int, last: int | None = None) -> Self:
        """This set with `first..last` added."""
        return type(self)((*self._ranges, (first, first if last is None else last)))

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self._ranges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __len__(self) -> int:
        """How many numbers are in (not how many intervals)."""
        return sum(last - first + 1 for first, last in self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"IntervalSet({list(self._ranges)})"
