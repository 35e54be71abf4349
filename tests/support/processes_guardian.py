"""The guardian's own command line with a wall clock that a test can step. Run as a program.

`python -P processes_guardian.py CLOCK_FILE run --site FILE`: UTC is the machine's plus the milliseconds that
stand in CLOCK_FILE at that moment. The monotonic clock is the machine's; nothing else differs from
`minewarden guardian`.
"""

import sys
from pathlib import Path

from edge_agent.guardian.cli import main
from shared.clock import SystemClock

_real_utc_ms = SystemClock.utc_ms


def step_clock_by(file: Path) -> None:
    """From now on every `SystemClock` of this process adds what stands in `file`."""

    def utc_ms(self: SystemClock) -> int:
        return _real_utc_ms(self) + int(file.read_text() or 0)

    SystemClock.utc_ms = utc_ms  # type: ignore[method-assign]  # the point of this program


if __name__ == "__main__":
    step_clock_by(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
