"""Fewer and shorter pauses of the garbage collector, which stops every thread while it looks.

With 1,000 miners a full collection walks through a quarter of a million objects that live as long as the
process: 80 ms of processor time every three seconds, in whichever thread is at it, and that may be the
interlocks'. What stays is taken out of its sight, once at the start and once after the first sweeps, and it
looks less often: what makes cycles here is a few hundred small objects a second of the HTTP client.
"""

import gc

from shared.clock import Clock

SETTLED_AFTER_S = 60.0
"""By then every device was read and asked what it is."""
THRESHOLDS = (10_000, 20, 50)
"""New objects before a young collection, young ones before a middle one, middle ones before a full one."""


async def spare(clock: Clock) -> None:
    """Settle now and once more when the site is known; returns then."""
    gc.set_threshold(*THRESHOLDS)
    _settle()
    await clock.sleep(SETTLED_AFTER_S)
    _settle()


def _settle() -> None:
    """Take what is alive out of the collector's sight; without cycles first, or they would stay for ever."""
    gc.collect()
    gc.freeze()
