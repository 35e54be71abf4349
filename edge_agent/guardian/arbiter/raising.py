"""May anything be raised at all (S04, S07, S10, S12), and is there room under the power caps (S18)?"""

import math

from edge_agent.guardian import ladder
from edge_agent.guardian.requests import CapView, Context, DeviceView, Raise, Request, Source, ZoneView
from edge_agent.ipc import Mode
from shared.commands import AnyAction, Priority, SetPreset, StartMining

RAMP_WINDOW_S = 60.0


def forbidden(request: Request, view: DeviceView, zone: ZoneView, context: Context) -> list[str]:
    """What forbids any raise, whoever asks."""
    found: list[str] = []
    starting = isinstance(request.action, StartMining)
    if zone.tripped:
        found.append(f"zone {view.entry.zone} is tripped")
    if view.latched:
        found.append(f"{view.entry.id} has a latched trip")
    if view.inhibited is not None:
        found.append(f"{view.entry.id} is inhibited: {view.inhibited}")
    if not view.age_s <= context.timing.stale_after_s:
        found.append(f"{view.entry.id} was last heard more than {context.timing.stale_after_s:g} s ago")
    if not zone.cooling_proven:
        found.append(f"cooling of zone {view.entry.zone} is not proven")
    if context.lease_overdue_s >= context.timing.lease_hold_s and not (
        request.source is Source.RESTART or request.priority >= Priority.MANUAL
    ):
        found.append("no lease: nothing is raised while the agent is silent")
    if not context.journal_ok:
        found.append("the journal cannot store entries: nothing is raised before it can")
    if not starting and zone.mode is Mode.SAFE:
        found.append(f"zone {view.entry.zone} is in {Mode.SAFE}: nothing above the baseline")
    return found


# ---------------------------------------------------------------- power


def added_w(action: SetPreset | StartMining, view: DeviceView) -> float | None:
    """What a raise adds, in W of rated power and not of a moment's reading; None where it is not known.

    A miner that is tuning or coming up counts with its preset: `auto-tuning` and `initializing` draw full
    power (miners.md §1.7). One whose step is not known, or that stands still, counts as coming from nothing.
    """
    now_w = ladder.power_of(view.facts, view.preset) if view.facts is not None else None
    if isinstance(action, StartMining):
        return now_w if view.entry.nominal_w is None else view.entry.nominal_w
    wanted_w = ladder.power_of(view.facts, action.preset) if view.facts is not None else None
    stands = view.state is not None and not view.state.draws_power
    from_w = 0.0 if now_w is None or stands else now_w
    return None if wanted_w is None else wanted_w - from_w


def over_caps(action: AnyAction, view: DeviceView, context: Context) -> list[str]:
    """Every cap above this device that has no room for the raise, or whose ramp it would break."""
    caps = [cap for cap in context.caps if view.entry.id in cap.devices]
    if not caps or not isinstance(action, StartMining | SetPreset):
        return []
    wanted_w = added_w(action, view)
    if wanted_w is None:
        return [f"how much power {view.entry.id} would draw is not known, and caps stand above it"]
    return [sentence for cap in caps for sentence in _over(cap, wanted_w, context)]


def _over(cap: CapView, wanted_w: float, context: Context) -> list[str]:
    below = [entry for entry in context.memory.raises if entry.device in cap.devices]
    if cap.room_w is None:
        return [f"cap {cap.id}: its meter is not known, nothing is raised below it"]
    found: list[str] = []
    flying_w = sum(entry.watts for entry in below if in_flight(entry, context))
    if not wanted_w <= cap.room_w - flying_w:  # so that no number is no permit
        found.append(
            f"cap {cap.id} has room for {max(cap.room_w - flying_w, 0.0):.0f} W "
            f"({flying_w:.0f} W are on their way), not for {wanted_w:.0f} W"
        )
    ramped_w = sum(entry.watts for entry in below if context.now_s - entry.at_s < RAMP_WINDOW_S)
    if ramped_w != 0 and not ramped_w + wanted_w <= cap.ramp_w_per_min:
        found.append(
            f"cap {cap.id} rises by at most {cap.ramp_w_per_min:.0f} W per minute, "
            f"{ramped_w:.0f} W were raised in the last one"
        )
    return found


def in_flight(entry: Raise, context: Context) -> bool:
    """Whether the meters may not show this raise yet: until it settled, twice as long for a slow starter."""
    age_s = context.now_s - entry.at_s
    if age_s < entry.settle_s:
        return True
    view = context.devices.get(entry.device)
    slow = view is not None and view.state is not None and view.state.settling
    return slow and age_s < 2 * entry.settle_s


def noted(
    raises: tuple[Raise, ...],
    action: SetPreset | StartMining,
    view: DeviceView,
    context: Context,
    *,
    settle_s: float,
) -> tuple[Raise, ...]:
    """The raises in flight with this one; those that no limit looks at any more are let go."""
    kept = [entry for entry in raises if context.now_s - entry.at_s < max(2 * entry.settle_s, RAMP_WINDOW_S)]
    watts = added_w(action, view)
    return (
        *kept,
        Raise(
            at_s=context.now_s,
            device=view.entry.id,
            watts=math.inf if watts is None else max(watts, 0.0),
            settle_s=settle_s,
        ),
    )
