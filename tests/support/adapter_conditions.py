"""Conditions that every adapter is brought into, whatever it speaks: what the suite needs to know of each.

A protocol that has no such thing says so with `Never`, which is read and shown instead of a test.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.clock import SystemClock
from shared.errors import Busy, DeviceError


@dataclass(frozen=True)
class Never:
    """The condition does not exist here, and why."""

    reason: str


@dataclass(kw_only=True)
class Slow:
    """Replies come late, within the deadline, and in pieces where the protocol has a stream."""

    begin: Callable[[], None]


@dataclass(kw_only=True)
class LostLogin:
    """The device forgets who is logged in between two uses: session, token, nonce, clock, connection."""

    begin: Callable[[], None]
    logins: Callable[[], int]
    """So many logins (or what stands for them) were tried since the device was made."""
    most: int = 1
    """So many may one use cost after the loss."""
    by_write: bool = False
    """Reads need no login, so it is a write that has to notice."""
    write_fails_once: bool = False
    """The write that notices the loss fails, typed: it may have been carried out, so it is not sent again."""
    refuse: Callable[[], None] | Never
    """Let no secret be good any more."""
    most_refused: int = 1
    """So many logins may `refuse` cost, however often the device is asked."""


@dataclass(kw_only=True)
class Overload:
    """The device is up and has no time for us: 429, exception "busy", no free connection."""

    begin: Callable[[], None]
    requests: Callable[[], int]
    """So many requests came since the device was made."""
    most: int | None = None
    """So many requests may one read send; None: those of a first read."""
    silent_writes: bool = False
    """A write cannot tell this from an acceptance, because the device closes after one without a word."""
    reads_only: bool = False
    """Writes are small enough to come through."""


@dataclass(kw_only=True)
class Conflict:
    """A write that the device refuses in its present state."""

    begin: Callable[[], None]
    do: Callable[[], Awaitable[object]]
    told: Callable[[], int]
    """So often came the write itself to the device."""
    changed: Callable[[], object]
    """What the write would change, as the device has it."""
    most: int = 1
    error: type[DeviceError] = Busy
    """What the adapter documents for it."""


@dataclass(kw_only=True)
class Reboot:
    """The device goes away in the middle of a reply and comes back changed."""

    cut: Callable[[], None]
    away: Callable[[], None]
    back: Callable[[], None]
    """Up again with other values, counters at zero, nobody logged in, and mining if it is a miner."""
    tells_uptime: bool = True


@dataclass(kw_only=True)
class Skew:
    """The device's own clock is wrong. Called with how far it is ahead, in s; negative is behind."""

    begin: Callable[[float], None]


@dataclass(kw_only=True)
class Conditions:
    """All of them; none may be left out."""

    slow: Slow | Never
    lost_login: LostLogin | Never
    overload: Overload | Never
    conflict: Conflict | Never
    reboot: Reboot | Never
    skew: Skew | Never


class WrongClock(SystemClock):
    """The clock of a device: monotonic as ours, its time of day may be anything."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def utc_ms(self) -> int:
        return super().utc_ms() + round(self.ahead_s * 1000)

    def set_ahead(self, seconds: float) -> None:
        """Be so far ahead of ours, in s; negative is behind."""
        self.ahead_s = seconds


class Heard:
    """An access log of one emulator."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def take(self, line: str) -> None:
        """One more request."""
        self.lines.append(line)

    def requests(self) -> int:
        """How many came."""
        return len(self.lines)

    def count(self, *words: str) -> int:
        """How many hold one of these words."""
        return sum(any(word in line for word in words) for line in self.lines)
