"""The time-out of an emulated unit: its registers, and what happens when nobody feeds it.

As on the drives it copies, the count begins with the first keep-alive after arming, and a keep-alive that
comes late ends the fall: the machine goes back to what it was told.
"""

from collections.abc import Callable

from firmware_adapters.site.codec import WordOrder, number_to_words, to_raw, words_to_number
from firmware_adapters.site.point_source import PointSource
from firmware_adapters.site.profile import Watchdog
from shared.clock import Clock

OFF = 0


class UnitWatchdog:
    """`expired` counts how often the machine fell to its safe side."""

    def __init__(
        self,
        rules: Watchdog,
        safe: float,
        *,
        order: WordOrder,
        source: PointSource,
        clock: Clock,
        revert: Callable[[int], float] | None = None,
    ) -> None:
        """`safe` is the value that the time-out drives `rules.point` to; with `revert`, what that makes of
        the word in the rules' revert register."""
        self._rules = rules
        self._safe = safe
        self._order = order
        self._source = source
        self._clock = clock
        raw = to_raw(rules.low if rules.action is not None else OFF, scale=rules.scale, offset=0.0)
        self.cells = dict(enumerate(number_to_words(raw, rules.type, order), start=rules.address))
        if rules.action is not None:
            self.cells[rules.action.address] = OFF
        self._revert = revert
        if rules.revert is not None:
            self.cells[rules.revert] = 0
        self.cells |= {step.address: OFF for step in rules.prepare}
        self._feeders = {step.address: step.value for step in rules.keep_alive}
        self._fed_s: float | None = None
        self._fallen = False
        self.expired = 0

    @property
    def timeout_s(self) -> float:
        """What the register holds now."""
        words = [self.cells[address] for address in range(self._rules.span.address, self._rules.span.end)]
        return words_to_number(words, self._rules.type, self._order) * self._rules.scale

    @property
    def armed(self) -> bool:
        """Whether anything would follow the time-out."""
        action = self._rules.action
        return self.timeout_s > 0 and (action is None or self.cells[action.address] == action.value)

    def asked(self) -> None:
        """Any request came in; counts where the rules name no keep-alive."""
        self.tick()
        if not self._feeders:
            self._feed()

    def wrote(self, address: int, value: int) -> bool:
        """A register was written; True when it is one of the time-out's own."""
        if self._feeders.get(address) == value:
            self._feed()
        if address not in self.cells:
            return False
        self.cells[address] = value
        if not self.armed:
            self._fed_s = None
            self._recover()
        return True

    def tick(self) -> None:
        """Fall to the safe side if the time is over."""
        if self._fallen or self._fed_s is None or not self.armed:
            return
        if self._clock.monotonic() - self._fed_s > self.timeout_s:
            self._fallen = True
            self.expired += 1
            self._source.fall_back(self._rules.point, self._falls_to())

    def _falls_to(self) -> float:
        if self._rules.revert is None or self._revert is None:
            return self._safe
        return self._revert(self.cells[self._rules.revert])

    def _feed(self) -> None:
        self._fed_s = self._clock.monotonic()
        self._recover()

    def _recover(self) -> None:
        if self._fallen:
            self._fallen = False
            self._source.fall_back(self._rules.point, None)
