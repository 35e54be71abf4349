"""What holds for every test.

A test's event loop does not count the time in which its process was not running (`support.fair_loop`).

Property tests try the same examples in every run, and none of them is held to a time.

A run then says something about the code and not about its luck. `make explore` looks for new examples:
`pytest --hypothesis-profile=explore`. What it finds becomes an `@example` or a test of its own.
"""

import asyncio

from hypothesis import HealthCheck, settings

from support.fair_loop import FairLoops

# How long an example takes, and how long it takes to make one, is a matter of the machine.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

asyncio.set_event_loop_policy(FairLoops())
