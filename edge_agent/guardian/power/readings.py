"""From what was polled to what caps, mains and power orders look at. Pure."""

from collections.abc import Callable, Iterable, Mapping

from edge_agent.config import Mains, PointRef, PowerCap, Timing
from edge_agent.guardian import ladder
from edge_agent.guardian.interlocks.caps import CapInput
from edge_agent.guardian.interlocks.mains import MainsInput
from edge_agent.guardian.polling.board import NEVER
from edge_agent.guardian.views import Snapshot
from shared.capabilities import DeviceFacts
from shared.ids import DeviceId, ZoneId

FactsOf = Callable[[DeviceId], DeviceFacts | None]


def fresh(snapshot: Snapshot, ref: PointRef, now_s: float, max_age_s: float) -> float | None:
    """A point's value if it is usable and not older than `max_age_s`."""
    good = snapshot.get(DeviceId(ref.device), NEVER).good
    if good is None or now_s - good.at_s > max_age_s:
        return None
    return good.usable(ref.point)


def total(snapshot: Snapshot, refs: Iterable[PointRef], now_s: float, max_age_s: float) -> float | None:
    """The sum of some points in their unit; None where any of them is unknown: unknown is not zero."""
    values = [fresh(snapshot, ref, now_s, max_age_s) for ref in refs]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def cap_input(
    cap: PowerCap,
    fed: Mapping[ZoneId, frozenset[DeviceId]],
    snapshot: Snapshot,
    facts: FactsOf,
    hydro: frozenset[ZoneId],
    *,
    now_s: float,
    timing: Timing,
) -> CapInput:
    """One cap's input. Ladders are looked at only where the cap is over its `shed` limit."""
    value = total(snapshot, cap.points, now_s, timing.stale_after_s)
    if value is None or value < cap.limits.shed:
        return CapInput(value=value)
    saves_w: dict[DeviceId, float] = {}
    for zone, devices in fed.items():
        for device in devices:
            known = step_w(facts(device), snapshot.get(device, NEVER).preset, hydro=zone in hydro)
            if known is not None:
                saves_w[device] = known
    return CapInput(value=value, saves_w=saves_w)


def step_w(facts: DeviceFacts | None, preset: str | None, *, hydro: bool) -> float | None:
    """What one step down the ladder saves (W) by its labels; all of it on the lowest step: that is a stop."""
    if facts is None:
        return None
    now_w = ladder.power_of(facts, preset)
    if now_w is None:
        return None
    below = [step.power_w for step in ladder.usable(facts, hydro=hydro) if step.power_w < now_w]
    return now_w - max(below, default=0.0)


def mains_input(mains: Mains | None, snapshot: Snapshot, *, now_s: float, timing: Timing) -> MainsInput:
    """What the UPS says now."""
    if mains is None:
        return MainsInput()
    flag = fresh(
        snapshot, PointRef(device=mains.device, point=mains.on_battery_point), now_s, timing.stale_after_s
    )
    runtime = PointRef(device=mains.device, point=mains.runtime_point)
    return MainsInput(
        on_battery=None if flag is None else flag >= 0.5,
        runtime_s=fresh(snapshot, runtime, now_s, timing.stale_after_s),
    )
