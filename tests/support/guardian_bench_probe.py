"""`minewarden guardian run`, and notes of when each interlock turn was due, began and was done.

    python -P -m support.guardian_bench_probe TURNS_FILE guardian run --site FILE

The notes are written when the guardian ends: one line per turn, `due began done`, monotonic s.
"""

import sys
from array import array
from collections.abc import Callable
from pathlib import Path

from edge_agent.guardian import cli, cycle
from edge_agent.guardian.cycle import TURN_S, InterlockThread
from shared.clock import SystemClock


class Turns:
    """Three numbers per turn."""

    def __init__(self) -> None:
        self.numbers = array("d")
        self._clock = SystemClock()
        self._due_s: float | None = None

    def around(self, once: Callable[[InterlockThread], None]) -> Callable[[InterlockThread], None]:
        """`InterlockThread.once` with a look at the clock before and after; due by the thread's own rule."""

        def noted(thread: InterlockThread) -> None:
            began_s = self._clock.monotonic()
            due_s = began_s if self._due_s is None else self._due_s
            once(thread)
            done_s = self._clock.monotonic()
            self.numbers.extend((due_s, began_s, done_s))
            self._due_s = max(due_s + TURN_S, done_s - TURN_S)

        return noted

    def write(self, path: Path) -> None:
        """One line per turn."""
        rows = zip(*(iter(self.numbers),) * 3, strict=True)
        path.write_text("".join(f"{due} {began} {done}\n" for due, began, done in rows))


def main() -> int:
    """Run the guardian of the command line."""
    turns = Turns()
    cycle.InterlockThread.once = turns.around(cycle.InterlockThread.once)
    try:
        return cli.main(sys.argv[3:])
    finally:
        turns.write(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
