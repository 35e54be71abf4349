"""Progress: a bar on a terminal, lines elsewhere, neither too often."""

import io

from firmware_adapters.discovery.progress import Progress
from shared.clock import ManualClock


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_is_drawn_over_itself() -> None:
    out, clock = Terminal(), ManualClock()
    progress = Progress(out, 4, clock, what="machines")
    for done in (1, 2):
        progress(done, 0)
    assert out.getvalue() == "", "not at once"
    clock.advance(0.2)
    progress(2, 1)
    progress(4, 3)
    progress.end()
    first, last = out.getvalue().lstrip("\r").split("\r")
    assert first == "[" + "#" * 15 + "." * 15 + "] 2/4, 1 machines "
    assert last == "[" + "#" * 30 + "] 4/4, 3 machines \n"


def test_lines_elsewhere_now_and_then_and_at_the_end() -> None:
    out, clock = io.StringIO(), ManualClock()
    progress = Progress(out, 100, clock, what="machines")
    for done in range(1, 100):
        clock.advance(0.3)
        progress(done, 2)
    progress(100, 2)
    progress.end()
    assert out.getvalue().splitlines() == [
        "34 of 100 asked, 2 machines",
        "68 of 100 asked, 2 machines",
        "100 of 100 asked, 2 machines",
    ]
