"""Which batches go next: a live lane, newest first, beside a rate-limited backlog lane. Pure.

After an outage people want to see *now* at once and the past soon; so new batches overtake the backlog, and
the backlog leaves oldest first at a bounded rate, no more of it at once than the cloud commits in a moment
(`pace.py`). What was sent and is not acked in time is sent again: a
PUBACK means nothing, the cloud may never have seen it (edge.md §0.2). While the cloud acks nothing, little is
sent at all, so that a broker is not filled with what nobody reads.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from edge_agent.agent.uplink.pace import Pace

BACKLOG_PER_S: Final = 50.0
MAX_UNACKED: Final = 800
"""More than this without an ack: the cloud does not commit; pouring on would only fill the broker."""
RESEND_S: Final = 30.0
_RESEND_CAP_S: Final = 300.0
_BURST_S: Final = 1.0


class Lanes:
    """Ids of outbox rows in three places: waiting live, waiting in the backlog, sent and unacked."""

    def __init__(
        self, *, now_s: float, backlog_per_s: float = BACKLOG_PER_S, resend_s: float = RESEND_S
    ) -> None:
        self._live: list[int] = []
        self._backlog: deque[int] = deque()
        self._sent: dict[int, float] = {}
        self._past: set[int] = set()
        self._pace = Pace()
        self._rate = backlog_per_s
        self._tokens = backlog_per_s * _BURST_S
        self._filled_s = now_s
        self._first_resend_s = resend_s
        self._resend_s = resend_s

    @property
    def backlog(self) -> int:
        return len(self._backlog)

    @property
    def unacked(self) -> int:
        return len(self._sent)

    def add_backlog(self, ids: Iterable[int]) -> None:
        """What was there when the connection came up, most urgent first."""
        self._backlog.extend(ids)

    def add_live(self, ids: Iterable[int]) -> None:
        """What was recorded since, most urgent and newest first; all of it overtakes what waits here."""
        self._live.extend(reversed(list(ids)))

    def take(self, now_s: float, *, live: int, past: int) -> tuple[list[int], list[int]]:
        """Ids to send now: up to `live` new ones, and up to `past` of the backlog or to be sent again.

        The caller says `sent` for each that it really sent, or puts all of them back.
        """
        new = [self._live.pop() for _ in range(min(live, len(self._live), MAX_UNACKED - self.unacked))]
        self._tokens = min(self._rate * _BURST_S, self._tokens + (now_s - self._filled_s) * self._rate)
        self._filled_s = now_s
        room = min(past, int(self._tokens))
        window = min(room, self._pace.window - len(self._past), len(self._backlog))
        old = [self._backlog.popleft() for _ in range(window)]
        self._past.update(old)
        if not old and not new:
            old = self._due(now_s, room)
        self._tokens -= len(old)
        return new, old

    def put_back(self, new: Iterable[int], old: Iterable[int]) -> None:
        """What was taken could not be sent: it goes to the head of its lane again."""
        self.add_live(new)
        unsent = [row_id for row_id in old if row_id not in self._sent]
        self._past.difference_update(unsent)
        self._backlog.extendleft(reversed(unsent))

    def sent(self, row_id: int, now_s: float) -> None:
        """It left, whatever became of it."""
        self._sent[row_id] = now_s

    def acked(self, ids: Iterable[int], now_s: float) -> None:
        """These left the outbox; the cloud is alive, so waiting times are short again."""
        for row_id in ids:
            sent_s = self._sent.get(row_id)
            if sent_s is not None and row_id in self._past:
                self._pace.acked(now_s - sent_s, now_s)
            self.forget(row_id)
            self._resend_s = self._first_resend_s

    def forget(self, row_id: int) -> None:
        """It is not in the outbox any more (acked over another connection, or dropped for lack of room)."""
        self._sent.pop(row_id, None)
        self._past.discard(row_id)

    def _due(self, now_s: float, limit: int) -> list[int]:
        """The oldest unacked ones, when they have waited long enough; each round waits twice as long."""
        due = [row_id for row_id, at_s in self._sent.items() if now_s - at_s >= self._resend_s]
        if 0 < len(due) <= limit:  # the last of this round
            self._resend_s = min(self._resend_s * 2, _RESEND_CAP_S)
        return due[:limit]
