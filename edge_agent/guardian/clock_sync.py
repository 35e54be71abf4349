"""Whether the wall clock is set by something better than a battery; signed expiry needs to know.

The kernel keeps the answer for whatever daemon disciplines the clock (chrony, ntpd, timesyncd): adjtimex(2)
returns TIME_ERROR while it is unsynchronised.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path

ClockSync = Callable[[], bool]

_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""Larger than any struct timex; all zero asks (modes = 0) and changes nothing."""


def system_clock_is_synchronised() -> bool:
    """True where timesyncd says so, or where the kernel's clock is disciplined."""
    return _TIMESYNCD.exists() or kernel_clock_is_disciplined()


def kernel_clock_is_disciplined() -> bool:
    """What adjtimex says; False also where it may not be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    state: int = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


def simulated_site_needs_no_sync() -> bool:
    """A simulated site runs on one machine with its cloud: there is only one clock."""
    return True
