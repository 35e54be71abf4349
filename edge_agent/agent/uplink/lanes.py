"""Which batches go next: a live lane, newest first, beside a rate-limited backlog lane. Pure.

After an outage people want to see *now* at once and the past soon; so new batches overtake the backlog, and
the backlog leaves oldest first at a bounded rate, no more of it at once than the cloud commits in a moment
(`pace.py`). What was sent and is not acked in time is sent again: a
PUBACK means nothing, the cloud may never have seen it (edge.md §0.2). While the cloud acks nothing, little is
sent at all, so that a broker is not filled with what nobody reads.

Some batches are never acked, because the cloud cannot keep them. Whatever the cloud passed over, acking what
was sent later, holds nothing back any more: it counts against no bound, and is sent again ever more rarely,
beside the rest, until it is acked or leaves the outbox (`overdue.py`).
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Self

from edge_agent.agent.uplink.overdue import Overdue
from edge_agent.agent.uplink.pace import SLOW_S, Pace

BACKLOG_PER_S: Final = 50.0
MAX_UNACKED: Final = 800
"""More than this without an ack: the cloud does not commit; pouring on would only fill the broker."""
RESEND_S: Final = 30.0
_RESEND_CAP_S: Final = 300.0
_BURST_S: Final = 1.0


class Lanes:
    """Ids of outbox rows in four places: waiting live, in the backlog, sent and unacked, and overdue.

    `overdue` comes from the lanes of the connection before: what the cloud passed over keeps its time.
    """

    def __init__(
        self,
        *,
        now_s: float,
        backlog_per_s: float = BACKLOG_PER_S,
        resend_s: float = RESEND_S,
        overdue: Overdue | None = None,
    ) -> None:
        self._live: list[int] = []
        self._backlog: deque[int] = deque()
        self._sent: dict[int, float] = {}
        """When each left last; in that order."""
        self._past: set[int] = set()
        """What of the backlog counts against the window."""
        self._overdue = overdue if overdue is not None else Overdue(now_s=now_s, per_s=backlog_per_s)
        self._answered_s = float("-inf")
        """When the newest that was acked had been sent."""
        self._pace = Pace()
        self._rate = backlog_per_s
        self._tokens = backlog_per_s * _BURST_S
        self._filled_s = now_s
        self._first_resend_s = resend_s
        self._resend_s = resend_s

    def next_connection(self, now_s: float) -> Self:
        """Empty lanes at the start of a connection, which know what the cloud passes over."""
        return type(self)(
            now_s=now_s, backlog_per_s=self._rate, resend_s=self._first_resend_s, overdue=self._overdue
        )

    @property
    def backlog(self) -> int:
        return len(self._backlog)

    @property
    def unacked(self) -> int:
        return len(self._sent) + len(self._overdue)

    def add_backlog(self, ids: Iterable[int]) -> None:
        """What was there when the connection came up, most urgent first."""
        self._backlog.extend(row_id for row_id in ids if row_id not in self._overdue)

    def add_live(self, ids: Iterable[int]) -> None:
        """What was recorded since, most urgent and newest first; all of it overtakes what waits here."""
        self._live.extend(reversed([row_id for row_id in ids if row_id not in self._overdue]))

    def take(self, now_s: float, *, live: int, past: int) -> tuple[list[int], list[int]]:
        """Ids to send now: up to `live` new ones, and up to `past` of the backlog or to be sent again.

        The caller says `sent` for each that it really sent, or puts all of them back.
        """
        self._pass_over(now_s)
        room = MAX_UNACKED - len(self._sent)
        new = [self._live.pop() for _ in range(min(live, len(self._live), room))]
        room -= len(new)
        self._tokens = min(self._rate * _BURST_S, self._tokens + (now_s - self._filled_s) * self._rate)
        self._filled_s = now_s
        limit = min(past, int(self._tokens))
        again = self._overdue.take(now_s, limit)
        window = min(limit - len(again), self._pace.window - len(self._past), len(self._backlog), room)
        old = [self._backlog.popleft() for _ in range(window)]
        self._past.update(old)
        if not old and not new:
            old = self._due(now_s, limit - len(again))
        self._tokens -= len(again) + len(old)
        return new, [*again, *old]

    def put_back(self, new: Iterable[int], old: Iterable[int]) -> None:
        """What was taken could not be sent: it goes to the head of its lane again.

        What is overdue has its next time already.
        """
        self.add_live(new)
        unsent = [row_id for row_id in old if row_id not in self._sent and row_id not in self._overdue]
        self._past.difference_update(unsent)
        self._backlog.extendleft(reversed(unsent))

    def sent(self, row_id: int, now_s: float) -> None:
        """It left, whatever became of it."""
        if row_id not in self._overdue:
            self._sent.pop(row_id, None)
            self._sent[row_id] = now_s

    def acked(self, ids: Iterable[int], now_s: float) -> None:
        """These left the outbox; the cloud is alive, so waiting times are short again."""
        for row_id in ids:
            sent_s = self._sent.get(row_id)
            if sent_s is not None:
                self._answered_s = max(self._answered_s, sent_s)
                if row_id in self._past:
                    self._pace.acked(now_s - sent_s, now_s)
            self.forget(row_id)
            self._resend_s = self._first_resend_s

    def forget(self, row_id: int) -> None:
        """It is not in the outbox any more (acked over another connection, or dropped for lack of room)."""
        self._sent.pop(row_id, None)
        self._past.discard(row_id)
        self._overdue.forget(row_id)

    def _pass_over(self, now_s: float) -> None:
        """What is overdue makes room for what comes after it.

        An ack for what was sent later says that the cloud goes on without it. With no such word the window
        still moves on after the time to send again, more narrowly; `MAX_UNACKED` bounds what that adds up to.
        """
        for row_id, sent_s in list(self._sent.items()):
            if sent_s + SLOW_S > self._answered_s:
                break  # and all behind it were sent later
            del self._sent[row_id]
            self._past.discard(row_id)
            self._overdue.add(row_id, sent_s + self._first_resend_s)
        for row_id in [i for i in self._past if now_s - self._sent.get(i, now_s) >= self._first_resend_s]:
            self._past.discard(row_id)
            self._pace.acked(now_s - self._sent[row_id], now_s)

    def _due(self, now_s: float, limit: int) -> list[int]:
        """The oldest unacked ones, when they have waited long enough; each round waits twice as long."""
        due = [row_id for row_id, at_s in self._sent.items() if now_s - at_s >= self._resend_s]
        if 0 < len(due) <= limit:  # the last of this round
            self._resend_s = min(self._resend_s * 2, _RESEND_CAP_S)
        return due[:limit]
