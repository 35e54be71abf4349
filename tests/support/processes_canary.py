"""The tests' simulator whose miners have the environment's CANARY_PASSWORD. Run as a program.

The firmware's own default is a word that stands in many a log; a password that a test looks for must be rare.
"""

import os
from collections.abc import Iterable

from firmware_adapters.miners.vnish.emulator_login import Logins
from shared.clock import Clock
from support import processes_simulator

_real = Logins.__init__


def _init(self: Logins, clock: Clock, _password: str, api_keys: Iterable[str]) -> None:
    _real(self, clock, os.environ["CANARY_PASSWORD"], api_keys)


if __name__ == "__main__":
    Logins.__init__ = _init  # type: ignore[method-assign]  # the point of this program
    processes_simulator.main()
