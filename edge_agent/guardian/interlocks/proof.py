"""What counts as the feedback of cooling: several vote; one that stands still against its set-point is bad.

A dead fan whose drive repeats its last good speed looks well for ever. When the set-point of the same device
was moved by more than a tenth of its span and the feedback has not changed at all for `settle_s`, it counts
as unknown (S04), and cooling is lost `lost_after_s` later. Flags ("running") are let alone: they say the same
at every speed. So are set-points of another kind than the feedback: a fan need not turn faster for a warmer
set-point.
"""

from collections.abc import Sequence

import msgspec

from edge_agent.config import CoolingActuator, PointRef, Timing, Zone
from edge_agent.guardian.interlocks import stuck, voting
from edge_agent.guardian.interlocks.inputs import ZoneInput
from edge_agent.guardian.interlocks.stuck import Feedback, Setpoint
from edge_agent.guardian.interlocks.voting import WHOLE, Strength, vote
from shared.telemetry import METRICS
from shared.units import Unit


class Proof(msgspec.Struct, frozen=True):
    """State: each feedback, which of them are stuck, what they voted, and how many are good."""

    feedbacks: tuple[Feedback, ...] = ()
    stuck: tuple[bool, ...] = ()
    value: float | None = None
    strength: Strength = WHOLE


UNTOLD = Proof()


def step(proof: Proof, inputs: ZoneInput, zone: Zone, timing: Timing, dt: float) -> Proof:
    """The feedbacks after `dt` seconds; `value` is what cooling is judged by, None where it is unknown."""
    refs = feedbacks_of(zone)
    told = (inputs.cooling_value, *inputs.cooling_others, *(None,) * len(refs))[: len(refs)]
    known = (*proof.feedbacks, *(Feedback(),) * len(refs))
    feedbacks = tuple(
        stuck.follow(feedback, value, _setpoints(ref, zone.cooling_actuators, inputs.cooling_points), dt)
        for feedback, value, ref in zip(known, told, refs, strict=False)
    )
    still = tuple(feedback.apart_s >= timing.settle_s for feedback in feedbacks)
    values = tuple(None if is_stuck else value for value, is_stuck in zip(told, still, strict=True))
    counted = vote(values, high_is_worse=False)
    return Proof(feedbacks, still, counted.value, voting.count(proof.strength, counted, dt))


def feedbacks_of(zone: Zone) -> tuple[PointRef, ...]:
    """The proof's own point and the others, in the order of the site file."""
    proof = zone.cooling_proof
    return (PointRef(device=proof.device, point=proof.point), *proof.others)


def _setpoints(
    ref: PointRef, actuators: tuple[CoolingActuator, ...], points: Sequence[float | None]
) -> tuple[Setpoint, ...]:
    """The set-points that this feedback should follow."""
    values = (*points, *(None,) * len(actuators))
    return tuple(
        Setpoint(value, actuator.high - actuator.low)
        for actuator, value in zip(actuators, values, strict=False)
        if actuator.device == ref.device and _follows(ref, actuator)
    )


def _follows(ref: PointRef, actuator: CoolingActuator) -> bool:
    feedback, setpoint = _unit(ref.point), _unit(actuator.point)
    if feedback in (None, Unit.FLAG):
        return False
    return (feedback is Unit.CELSIUS) is (setpoint is Unit.CELSIUS)


def _unit(point: str) -> Unit | None:
    metric = METRICS.get(point.split(".", 1)[0])
    return None if metric is None else metric.unit
