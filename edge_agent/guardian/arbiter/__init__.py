"""The arbiter: narrows every wish to a permit, or refuses it with every limit that stands against it.

Pure: no I/O, no clock. Only this package can make a `Permit`, and the executor accepts nothing else; that
is the safety rule, and it is a type. Order of thought, one module each:

* `possible`: is the actuator known (S03), is the value sane and in its unit (S09, S14)
* `direction`: towards more heat or less cooling, or away from it
* `steps`: models and schedules move step by step (S08)
* `authority`: who may act in this mode and at this moment (S14, S15, S17)
* `policy`: how far and how fast models and schedules may go (the site's action limits)
* `raising`: may anything be raised at all (S04, S07, S10, S12), and under the power caps (S18)
* `rates`: dwell, staggered starts, starts per hour (S08)
* `decision`: puts them together, clamps last (S09), and alone makes permits
"""

from edge_agent.guardian.arbiter.decision import Permit, decide, note, still_allowed
from edge_agent.guardian.arbiter.direction import Direction

__all__ = ["Direction", "Permit", "decide", "note", "still_allowed"]
