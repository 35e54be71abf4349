"""Voting of redundant feedbacks (S05), and how many of them are still good.

Three and more good ones: the median. Two: the worse. An even number: the worse of the two in the middle, so
that every count is one rule. One of several: its value, and whoever uses it tightens limits and inhibits.
"""

import math
from collections.abc import Iterable

import msgspec

from edge_agent.guardian.interlocks.stale import ALARM_AFTER_S


class Vote(msgspec.Struct, frozen=True):
    """The value that counts (None: none is good), and how many of how many were good."""

    value: float | None = None
    good: int = 0
    of: int = 0

    @property
    def alone(self) -> bool:
        """One good one of several: nothing would show if it lied."""
        return self.good == 1 and self.of > 1


def vote(values: Iterable[float | None], *, high_is_worse: bool) -> Vote:
    """The vote over these values, in their unit; None and what is not finite is bad."""
    told = tuple(values)
    good = sorted(value for value in told if value is not None and math.isfinite(value))
    if not good:
        return Vote(of=len(told))
    middle = len(good) // 2 if high_is_worse else (len(good) - 1) // 2
    return Vote(good[middle], len(good), len(told))


class Strength(msgspec.Struct, frozen=True):
    """State: how many are good now, for how long some were missing (s), and what was told of it."""

    good: int = 0
    of: int = 0
    short_for_s: float = 0.0
    told: int | None = None
    """The number of good ones that the alarm named; None where no alarm stands."""

    @property
    def alone(self) -> bool:
        return self.good == 1 and self.of > 1


WHOLE = Strength()


def count(strength: Strength, vote: Vote, dt: float) -> Strength:
    """The state after `dt` seconds: an alarm after 30 s, and again where one more falls out."""
    if vote.good == vote.of:
        return Strength(vote.good, vote.of)
    short_s = strength.short_for_s + dt
    told = strength.told
    if short_s >= ALARM_AFTER_S:
        told = vote.good if told is None else min(told, vote.good)
    return Strength(vote.good, vote.of, short_s, told)
