"""How long to leave a failing device alone: doubling, bounded, with jitter so that they do not line up."""

import random

MAX_DOUBLINGS = 4


def pause_s(poll_s: float, failures: int, *, cap_s: float, jitter: random.Random) -> float:
    """Seconds until the next read after `failures` in a row (0: the plain cadence)."""
    if failures == 0:
        return poll_s
    longer = poll_s * 2.0 ** min(failures - 1, MAX_DOUBLINGS)
    return min(longer, max(cap_s, poll_s)) * jitter.uniform(0.8, 1.2)
