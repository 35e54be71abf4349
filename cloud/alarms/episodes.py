"""Alarms are folded from events: an episode runs from the first raising event of a key to its clearing one.

Pure, and a function of the set of events alone: whatever order they arrive in, the fold over them sorted
by their place on the site is the same. Times are only told: a clock that was set back makes them run
backwards, and neither clears an alarm nor keeps one open.
"""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from shared.alarms import EventKind

RAISING = frozenset((EventKind.TRIPPED, EventKind.ALARM, EventKind.INHIBITED, EventKind.SHED))
CLEARING = frozenset((EventKind.CLEARED, EventKind.ALARM_CLEARED, EventKind.RELEASED))
INBOX = frozenset((EventKind.TRIPPED, EventKind.ALARM))
"""What a person should act on; inhibits and sheds release by themselves and stay out of the inbox."""
CONDITIONS = RAISING | CLEARING


class Told(Protocol):
    """What the fold needs of an event (an `Event`, or a row of the events table).

    `place` is its place among the site's events, `at_ms` its time by the site's clock.
    """

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def place(self) -> int: ...


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One episode of a key: `told` is its newest raising event, which gives it its words."""

    opened_ms: int
    opened_place: int
    last_ms: int
    cleared_ms: int | None
    cleared_place: int | None
    count: int
    inbox: bool
    told: Told


def fold(events: Iterable[Told]) -> list[Episode]:
    """The episodes in these events of one key, oldest first.

    At one and the same place a clearing counts before a raising: when in doubt the alarm stands.
    """
    episodes: list[Episode] = []
    for event in sorted(events, key=lambda item: (item.place, item.kind not in CLEARING, item.id)):
        current = episodes[-1] if episodes and episodes[-1].cleared_ms is None else None
        if event.kind in CLEARING:
            if current is not None:
                episodes[-1] = msgspec.structs.replace(
                    current, cleared_ms=event.at_ms, cleared_place=event.place
                )
        elif event.kind in RAISING:
            inbox = event.kind in INBOX
            if current is None:
                episodes.append(
                    Episode(
                        opened_ms=event.at_ms,
                        opened_place=event.place,
                        last_ms=event.at_ms,
                        cleared_ms=None,
                        cleared_place=None,
                        count=1,
                        inbox=inbox,
                        told=event,
                    )
                )
            else:
                episodes[-1] = msgspec.structs.replace(
                    current,
                    last_ms=event.at_ms,
                    count=current.count + 1,
                    inbox=inbox or current.inbox,
                    told=event,
                )
    return episodes
