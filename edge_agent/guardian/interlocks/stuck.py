"""Probes that stand still while their siblings move, and feedbacks that stand still while they should move.

A frozen transmitter repeats its last good value for ever; it is fresh, in range and wrong (S04). Two kinds of
evidence that a value should have moved: another probe of the same group moved clearly (`Still`), or the
set-point of the machine whose feedback it is was moved (`Feedback`). Nothing is said of a value that nothing
contradicts.
"""

from collections.abc import Sequence

import msgspec

from edge_agent.config import SensorRole

STUCK_AFTER_S = 600.0
"""No change at all for so long (miners.md §5.7), while the others moved."""
SETPOINT_MOVES_SHARE = 0.10
"""A set-point counts as moved beyond this share of its span (`high` - `low`)."""

_MOVES_BY = {SensorRole.INLET_AIR: 1.0, SensorRole.WATER: 1.0, SensorRole.DEW: 1.0}
"""K. Probes resolve 0.1 K and scatter by 0.1 to 0.2 K (plant.md §2.2): 1 K is a change and no noise."""
_MOVES_SHARE = 0.05
"""Flow and pressure: the share of the value at which the still one stopped moving."""
_MOVES_AT_LEAST = {SensorRole.FLOW: 0.1, SensorRole.PRESSURE: 1_000.0}
"""m³/h and Pa: what counts as moved near zero, where a share of the value is nothing (a pump that stands)."""


class Still(msgspec.Struct, frozen=True):
    """State of one probe: its value, for how long it has not changed (s), and what the others read then."""

    value: float | None = None
    for_s: float = 0.0
    siblings: tuple[float | None, ...] = ()
    contradicted: bool = False
    """Another one moved clearly meanwhile."""

    @property
    def stuck(self) -> bool:
        return self.contradicted and self.for_s >= STUCK_AFTER_S


FRESH = Still()


def watch(
    stills: Sequence[Still], values: Sequence[float | None], role: SensorRole, dt: float
) -> tuple[Still, ...]:
    """One group of probes after `dt` seconds with these raw values, in the order of the site file.

    One mover is evidence enough. Where it is the one that lies, the others are doubted only while they really
    do not change by the smallest digit: they count again as soon as there is something to see.
    """
    known = [*stills, *(FRESH,) * (len(values) - len(stills))]
    siblings = tuple(values)
    return tuple(
        _watched(still, value, siblings, role, dt) for still, value in zip(known, values, strict=False)
    )


def _watched(
    still: Still, value: float | None, siblings: tuple[float | None, ...], role: SensorRole, dt: float
) -> Still:
    if value is None:
        return still  # what comes back with the value it left with has not moved
    if value != still.value:
        return Still(value, 0.0, siblings)
    then = tuple(now if old is None else old for old, now in zip(still.siblings, siblings, strict=True))
    moved = any(
        old is not None and now is not None and abs(now - old) >= _clearly(role, old)
        for old, now in zip(then, siblings, strict=True)
    )
    return Still(value, min(still.for_s + dt, STUCK_AFTER_S), then, still.contradicted or moved)


def _clearly(role: SensorRole, value: float) -> float:
    """By how much a value has to change to have moved, in its unit."""
    by = _MOVES_BY.get(role)
    return by if by is not None else max(_MOVES_SHARE * abs(value), _MOVES_AT_LEAST[role])


SAME_CHANGE_S = 5.0
"""A set-point that is told so soon after its feedback changed belongs to that change: a device is read
register by register, so one sample may hold the new speed beside the old set-point."""


class Setpoint(msgspec.Struct, frozen=True):
    """What one set-point of the machine reads now (None: unknown), and its span, in its own unit."""

    value: float | None
    span: float


class Feedback(msgspec.Struct, frozen=True):
    """State of one feedback: its value, the set-points that belong to it, how long they differ (s), and for
    how long the value has stood (s, counted up to `SAME_CHANGE_S`)."""

    value: float | None = None
    setpoints: tuple[float | None, ...] = ()
    apart_s: float = 0.0
    stood_s: float = 0.0


def follow(feedback: Feedback, value: float | None, setpoints: Sequence[Setpoint], dt: float) -> Feedback:
    """The state after `dt` seconds. A set-point that comes back to where it was takes its evidence back.

    Of several set-points every known one must have moved: which of them drives this feedback is not told.
    """
    told = tuple(setpoint.value for setpoint in setpoints)
    if value is None:
        return Feedback()
    if value != feedback.value or len(told) != len(feedback.setpoints):
        return Feedback(value, told)
    stood_s = min(feedback.stood_s + dt, SAME_CHANGE_S)
    same_change = stood_s < SAME_CHANGE_S
    then = tuple(
        now if old is None or (same_change and now is not None) else old
        for old, now in zip(feedback.setpoints, told, strict=True)
    )
    moved = [
        abs(setpoint.value - old) > SETPOINT_MOVES_SHARE * setpoint.span
        for old, setpoint in zip(then, setpoints, strict=True)
        if old is not None and setpoint.value is not None
    ]
    apart_s = feedback.apart_s + dt if moved and all(moved) else 0.0
    return Feedback(value, then, apart_s, stood_s)
