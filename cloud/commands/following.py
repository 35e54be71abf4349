"""What the site says about one command, until its last word or until nobody waits. No I/O of its own."""

from collections.abc import Callable, Iterator

from shared.clock import Clock
from shared.commands import ActionOutcome, CommandState, CommandStatus

LAST = frozenset({CommandState.DONE, CommandState.REFUSED, CommandState.EXPIRED})


class Follow:
    """Iterate for each new word; then `exit_code` and `last` say what it came to."""

    def __init__(self, word: Callable[[float], CommandStatus | None], clock: Clock, *, wait_s: float) -> None:
        """`word` waits for so many seconds at most and returns a word, or None."""
        self._word = word
        self._clock = clock
        self._until_s = clock.monotonic() + wait_s
        self.last: CommandStatus | None = None

    def __iter__(self) -> Iterator[CommandStatus]:
        seen: set[CommandState] = set()
        while (left_s := self._until_s - self._clock.monotonic()) > 0:
            status = self._word(left_s)
            if status is None or status.state in seen:
                continue
            seen.add(status.state)
            self.last = status
            yield status
            if status.state in LAST:
                return

    @property
    def exit_code(self) -> int:
        """0: done and applied, or taken and running on; 1: anything else, and where nothing was heard."""
        if self.last is None:
            return 1
        if self.last.state is CommandState.RUNNING:
            return 0
        done = self.last.state is CommandState.DONE
        return 0 if done and self.last.outcome is ActionOutcome.APPLIED else 1
