"""Cooling proven and cooling lost, by feedback and never by command (S12).

*Lost*: the proof point stands below `lost_below`, or is unknown, for `lost_after_s`. *Proven*: it stands at
or above `proven_above` for `proven_for_s`. Between the two limits nothing changes. Units are the point's.
"""

import msgspec

from edge_agent.config import CoolingProof


class Cooling(msgspec.Struct, frozen=True):
    """State: how long the proof stood low or good, in s, and what follows from it."""

    low_for_s: float = 0.0
    good_for_s: float = 0.0
    proven: bool = False
    lost: bool = False


UNPROVEN = Cooling()


def step(cooling: Cooling, value: float | None, proof: CoolingProof, dt: float) -> Cooling:
    """The state after `dt` seconds with this feedback. A low or unknown value unproves at once."""
    if value is None or value < proof.lost_below:
        low_s = cooling.low_for_s + dt
        return Cooling(low_for_s=low_s, lost=cooling.lost or low_s >= proof.lost_after_s)
    if value >= proof.proven_above:
        good_s = cooling.good_for_s + dt
        return Cooling(good_for_s=good_s, proven=cooling.proven or good_s >= proof.proven_for_s)
    return Cooling(proven=cooling.proven, lost=cooling.lost)
