"""How far a long piece of work is: a bar on a terminal, a line now and then where output goes to a file."""

from typing import TextIO

from shared.clock import Clock

_WIDTH = 30
_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 10.0


class Progress:
    """Write to `out` while `done` of `total` grow; `what` is counted besides (machines found)."""

    def __init__(self, out: TextIO, total: int, clock: Clock, *, what: str) -> None:
        self._out = out
        self._total = max(total, 1)
        self._clock = clock
        self._what = what
        self._is_bar = out.isatty()
        self._shown_s = clock.monotonic()

    def __call__(self, done: int, found: int) -> None:
        """Show it, if it is time."""
        now_s = self._clock.monotonic()
        every_s = _BAR_EVERY_S if self._is_bar else _LINE_EVERY_S
        if done < self._total and now_s - self._shown_s < every_s:
            return
        self._shown_s = now_s
        if self._is_bar:
            filled = _WIDTH * done // self._total
            bar = "#" * filled + "." * (_WIDTH - filled)
            self._out.write(f"\r[{bar}] {done}/{self._total}, {found} {self._what} ")
        else:
            self._out.write(f"{done} of {self._total} asked, {found} {self._what}\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._is_bar:
            self._out.write("\n")
            self._out.flush()
