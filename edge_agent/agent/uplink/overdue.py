"""Batches that the cloud passed over: each is sent again at a time of its own, ever more rarely. Pure.

Together they take a small share of the lane, however many they are, and nothing waits for them.
"""

import heapq
from typing import Final

FIRST_WAIT_S: Final = 60.0
"""After the first time that it was sent again; each wait is twice as long as the one before."""
LONGEST_WAIT_S: Final = 3_600.0
SHARE: Final = 0.1
"""Of the rate of the past."""
_MOST_TIMES: Final = 32
"""No need to count further: the wait is the longest long before."""


class Overdue:
    """Ids of rows that are sent again, and when; they stay until they are forgotten."""

    def __init__(self, *, now_s: float, per_s: float) -> None:
        self._rate = per_s * SHARE
        self._tokens = 1.0
        self._filled_s = now_s
        self._times: dict[int, int] = {}
        """How often each was sent again."""
        self._due: list[tuple[float, int]] = []
        """A heap; lines of what was forgotten go when they come up."""

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, row_id: object) -> bool:
        return row_id in self._times

    def add(self, row_id: int, due_s: float) -> None:
        """The cloud passed it over; it is sent again from then on."""
        self._times[row_id] = 0
        heapq.heappush(self._due, (due_s, row_id))

    def take(self, now_s: float, limit: int) -> list[int]:
        """At most one that may go again now; its next time is set here, so that no failure loses it."""
        self._tokens = min(1.0, self._tokens + (now_s - self._filled_s) * self._rate)
        self._filled_s = now_s
        while self._due and self._due[0][1] not in self._times:
            heapq.heappop(self._due)
        if limit < 1 or self._tokens < 1.0 or not self._due or self._due[0][0] > now_s:
            return []
        self._tokens -= 1.0
        row_id = self._due[0][1]
        wait_s = min(FIRST_WAIT_S * 2 ** self._times[row_id], LONGEST_WAIT_S)
        self._times[row_id] = min(self._times[row_id] + 1, _MOST_TIMES)
        heapq.heapreplace(self._due, (now_s + wait_s, row_id))
        return [row_id]

    def forget(self, row_id: int) -> None:
        """It is acked, or gone."""
        self._times.pop(row_id, None)
