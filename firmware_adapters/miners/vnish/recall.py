"""What a machine told of itself before, for the facts in which one page of it stays silent. Pure.

The guardian asks for facts every ten minutes, and half a minute after it got none. Facts without a ladder
would so cost ten minutes in which no preset can be lowered, and raise the alarm that the safe one is gone;
and which of its limits a machine has decides what may be declared. Neither the rungs nor the limits change
while the same firmware runs on without a reboot, so what it told then stands in for a page that is silent
now; should a person have tuned another rung, control asks for the ladder itself before it writes a preset.
After a reboot, or on another firmware or machine, nothing stands in: then the first silence is handed on, so
that the machine is asked again soon, and only the next one in a row is taken for "not told".
"""

from firmware_adapters.miners.vnish.parse import Identity
from shared.errors import DeviceError

BOOT_SLACK_S = 120.0
"""The time up counts whole minutes, and a request takes a while."""


class Recall:
    """One machine's last answers, page by page."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._booted_s: float | None = None
        self._pages: dict[str, object] = {}
        self._silent: set[str] = set()

    def look(self, found: Identity, now_s: float) -> None:
        """Who it is by `/info` at `now_s` (s, monotonic): what may have changed since is forgotten."""
        of = (found.model, found.firmware, found.mac)
        booted_s = None if found.uptime_s is None else now_s - found.uptime_s
        if of != self._of or not _same_boot(self._booted_s, booted_s):
            self._pages.clear()
        self._of, self._booted_s = of, booted_s

    def told(self, page: str, answer: object) -> None:
        """It answered."""
        self._pages[page] = answer
        self._silent.discard(page)

    def instead(self, page: str, failure: DeviceError) -> object | None:
        """What stands in for a page that failed; None: not told. Raises `failure`, see the module's text."""
        if page in self._pages:
            return self._pages[page]
        if page not in self._silent:
            self._silent.add(page)
            raise failure
        return None


def _same_boot(before_s: float | None, booted_s: float | None) -> bool:
    return before_s is not None and booted_s is not None and abs(booted_s - before_s) <= BOOT_SLACK_S
