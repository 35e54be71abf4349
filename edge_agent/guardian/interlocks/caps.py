"""Power caps: what a phase, a PDU, a feeder or the site may draw (S18). Pure.

The points of a cap are added up and compared with its limits, in their own unit. Above `warn` nothing is
raised behind it; above `shed` miners are lowered, worst J/TH first, as many as the excess needs with what was
just asked counted as applied; above `trip` for `on_delay_s` the load behind it trips. An unknown meter
inhibits and is told after 30 s, but trips nothing: breakers stay the protection (docs/safety.md).
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from edge_agent.config import PowerCap, Timing
from edge_agent.guardian.interlocks import levels
from edge_agent.guardian.interlocks.inputs import FeederClaim, Finding, Frozen, MinerInput
from edge_agent.guardian.interlocks.levels import CLEAR, Level, Standing
from edge_agent.guardian.requests import CapView
from edge_agent.ipc import CapStatus
from shared.alarms import EventKind, Severity
from shared.ids import DeviceId, ZoneId
from shared.telemetry import METRICS

UNKNOWN_ALARM_S = 30.0
PATIENCE_S = 10.0
"""A miner that was asked to go down and got no command for so long is not counted on any more."""
STEP_SHARE = 0.07
"""What one step of a ladder saves of a miner's power where its ladder is not known (miners.md §5: steps of
100 to 300 W on machines of 3 kW)."""
OBEYED_SHARE = 0.5
"""A step counts as taken once the miner shows so much of what it was to save."""

Behind = Mapping[ZoneId, tuple[MinerInput, ...]]
"""Zone → the miners that hang on one cap."""


class CapInput(Frozen, frozen=True, kw_only=True):
    """One cap at one step: the sum of its points in their unit, None where any of them is unknown.

    `saves_w` is what one step down of each miner's own ladder saves (W), where that is known.
    """

    value: float | None
    saves_w: dict[DeviceId, float] = {}


class Ask(Frozen, frozen=True, kw_only=True):
    """One miner that was asked to go one step down."""

    saves_w: float
    from_w: float | None
    asked_s: float = 0.0
    left_s: float = 0.0
    """Until its command must have shown; 0 while none went out."""
    vain: bool = False
    """It did not go down when it was told, or could not be told: it is asked on, but not counted."""


class CapState(Frozen, frozen=True, kw_only=True):
    """What is remembered of one cap."""

    standing: Standing = CLEAR
    unknown_s: float = 0.0
    alarmed: bool = False
    asks: dict[DeviceId, Ask] = {}


CALM = CapState()


def step(
    state: CapState, given: CapInput, cap: PowerCap, behind: Behind, timing: Timing, dt: float
) -> tuple[CapState, dict[ZoneId, FeederClaim], list[Finding]]:
    """The cap after `dt` seconds, what it wants of each zone, and what people should know."""
    value = given.value
    unknown_s = state.unknown_s + dt if value is None else 0.0
    after = CapState(
        standing=levels.step(state.standing, value, cap.limits, dt, trip_after_s=cap.limits.on_delay_s),
        unknown_s=unknown_s,
        alarmed=unknown_s > UNKNOWN_ALARM_S,
        asks=state.asks,
    )
    asks, lower = _shed(after, given, cap, behind, timing, dt)
    after = msgspec.structs.replace(after, asks=asks)
    return after, _claims(after, value, cap, behind, lower), _told(cap, state, after, value)


# ---------------------------------------------------------------- who goes down


def _shed(
    state: CapState, given: CapInput, cap: PowerCap, behind: Behind, timing: Timing, dt: float
) -> tuple[dict[DeviceId, Ask], list[DeviceId]]:
    """The asks after this step, and the miners to lower now, worst first."""
    if state.standing.level is Level.NORMAL:
        return {}, []
    miners = {miner.device: miner for some in behind.values() for miner in some}
    asks = {
        device: ask
        for device, old in state.asks.items()
        if device in miners and (ask := _aged(old, miners[device], dt)) is not None
    }
    if given.value is None or not levels.sheds(state.standing, given.value, cap.limits):
        return {device: ask for device, ask in asks.items() if ask.left_s > 0 or ask.vain}, []
    # Down to `warn` and not just below `shed`: at its edge noise alone would ask for one miner after another.
    excess_w = (given.value - cap.limits.warn) * cap.w_per_unit
    excess_w -= sum(_credit_w(ask, miners[device]) for device, ask in asks.items())
    lower: list[DeviceId] = []
    for miner in worst_first(miners.values()):
        ask = asks.get(miner.device)
        if not _can_go_down(miner, timing) or (ask is not None and ask.left_s > 0):
            continue
        if ask is None and excess_w > 0:
            ask = Ask(saves_w=_saves_w(miner, given), from_w=miner.power_w)
            asks[miner.device] = ask
            excess_w -= ask.saves_w
        if ask is not None:
            lower.append(miner.device)
    return asks, lower


def _aged(ask: Ask, miner: MinerInput, dt: float) -> Ask | None:
    """The ask after `dt` seconds; None once the miner shows that it took the step, or stopped."""
    if not miner.draws_power:
        return None
    if miner.commanded:
        settle_s = max(command.settle_s for command in miner.commanded)
        return msgspec.structs.replace(ask, left_s=max(settle_s, dt), asked_s=0.0)
    if ask.left_s <= 0:
        asked_s = ask.asked_s + dt
        return msgspec.structs.replace(ask, asked_s=asked_s, vain=ask.vain or asked_s >= PATIENCE_S)
    left_s = max(ask.left_s - dt, 0.0)
    if left_s > 0:
        return msgspec.structs.replace(ask, left_s=left_s)
    if _fell_w(ask, miner) >= OBEYED_SHARE * ask.saves_w:
        return None
    return msgspec.structs.replace(ask, left_s=0.0, asked_s=0.0, vain=True)


def _credit_w(ask: Ask, miner: MinerInput) -> float:
    """What of an ask the meter does not show yet: in flight counts as applied, until it is seen."""
    return 0.0 if ask.vain else max(ask.saves_w - _fell_w(ask, miner), 0.0)


def _fell_w(ask: Ask, miner: MinerInput) -> float:
    if ask.from_w is None or miner.power_w is None:
        return 0.0
    return ask.from_w - miner.power_w


def _saves_w(miner: MinerInput, given: CapInput) -> float:
    known = given.saves_w.get(miner.device)
    return known if known is not None else STEP_SHARE * (miner.power_w or 0.0)


def _can_go_down(miner: MinerInput, timing: Timing) -> bool:
    """A miner that is not heard cannot be lowered, and cutting its outlet would be no shed."""
    return miner.age_s <= timing.stale_after_s and miner.draws_power


def worst_first(miners: Iterable[MinerInput]) -> list[MinerInput]:
    """By falling J/TH; an unknown one counts as the worst. Ties by name, so that the order is one order."""
    return sorted(miners, key=lambda miner: (-_j_per_th(miner), miner.device))


def _j_per_th(miner: MinerInput) -> float:
    """W per TH/s is J per TH."""
    if miner.power_w is None or miner.hashrate_ths is None or miner.hashrate_ths <= 0:
        return math.inf
    return miner.power_w / miner.hashrate_ths


# ---------------------------------------------------------------- claims and words


def _claims(
    state: CapState, value: float | None, cap: PowerCap, behind: Behind, lower: list[DeviceId]
) -> dict[ZoneId, FeederClaim]:
    tripping = levels.trips(state.standing, value, cap.limits)
    trip = f"{cap.id} {_shown(cap, value)}, trip limit {_shown(cap, cap.limits.trip)}" if tripping else None
    rank = {device: place for place, device in enumerate(lower)}
    claims: dict[ZoneId, FeederClaim] = {}
    for zone, miners in behind.items():
        here = [miner.device for miner in miners if miner.device in rank]
        claims[zone] = FeederClaim(
            cap=cap.id,
            miners=None if cap.pdu is None else frozenset(miner.device for miner in miners),
            inhibit=_inhibit(state, value, cap),
            lower=tuple(sorted(here, key=rank.__getitem__)),
            trip=trip,
            # What cannot be measured cannot be known to be gone.
            cause=value is None or state.standing.level is not Level.NORMAL,
        )
    return claims


def _inhibit(state: CapState, value: float | None, cap: PowerCap) -> str | None:
    """Words without numbers: a number would be a change of status at every step."""
    if value is None:
        return f"power cap {cap.id}: its meter is not known"
    if state.standing.level is not Level.NORMAL:
        return f"power cap {cap.id} ({state.standing.level.word})"
    return None


def _shown(cap: PowerCap, value: float | None) -> str:
    return "unknown" if value is None else f"{value:g} {_unit(cap)}"


def _unit(cap: PowerCap) -> str:
    return METRICS[cap.points[0].point.split(".")[0]].unit


def _told(cap: PowerCap, before: CapState, after: CapState, value: float | None) -> list[Finding]:
    found: list[Finding] = []
    was, now = before.standing.level, after.standing.level
    if now is Level.NORMAL and was is not Level.NORMAL:
        text = f"Power cap {cap.id} is back below its release limit"
        found.append(_finding(cap, EventKind.ALARM_CLEARED, Severity.LOW, text, value, cap.limits.release))
    elif now >= Level.SHED > was:
        text = f"Power cap {cap.id}: {_shown(cap, value)} is above {_shown(cap, cap.limits.shed)}; "
        text += "presets behind it are being lowered"
        found.append(_finding(cap, EventKind.SHED, Severity.HIGH, text, value, cap.limits.shed))
    elif now is Level.WARN and was is Level.NORMAL:
        text = f"Power cap {cap.id}: {_shown(cap, value)} is above {_shown(cap, cap.limits.warn)}; "
        text += "nothing is raised behind it"
        found.append(_finding(cap, EventKind.ALARM, Severity.LOW, text, value, cap.limits.warn))
    if after.alarmed is not before.alarmed:
        found.append(_unknown(cap, alarmed=after.alarmed))
    return found


def _finding(
    cap: PowerCap, kind: EventKind, severity: Severity, title: str, value: float | None, limit: float
) -> Finding:
    calm = kind is EventKind.ALARM_CLEARED
    return Finding(
        kind=kind,
        severity=severity,
        key=f"power-cap/{cap.id}",
        title=title,
        advice=""
        if calm
        else "Look at what else draws power there; lower the miners for good or raise the cap.",
        data={"value": value, "limit": limit},
    )


def _unknown(cap: PowerCap, *, alarmed: bool) -> Finding:
    points = ", ".join(f"{ref.device} {ref.point}" for ref in cap.points)
    return Finding(
        kind=EventKind.ALARM if alarmed else EventKind.ALARM_CLEARED,
        severity=Severity.HIGH if alarmed else Severity.LOW,
        key=f"power-cap-meter/{cap.id}",
        title=f"Power cap {cap.id} is blind: {points} not known; nothing is raised behind it"
        if alarmed
        else f"Power cap {cap.id} is measured again",
        advice="Check the meter's network and its address; the breakers are the only protection meanwhile."
        if alarmed
        else "",
    )


# ---------------------------------------------------------------- for the arbiter, and for people


def view(cap: PowerCap, value: float | None, devices: frozenset[DeviceId]) -> CapView:
    """The cap as the arbiter sees it. Raises in flight are the arbiter's own memory and come off there."""
    room_w = None if value is None else max(cap.limits.warn - value, 0.0) * cap.w_per_unit
    return CapView(id=cap.id, devices=devices, room_w=room_w, ramp_w_per_min=cap.ramp_w_per_min)


def status(cap: PowerCap, state: CapState, value: float | None) -> CapStatus:
    """The cap as people see it."""
    level = "unknown" if value is None else state.standing.level.word
    return CapStatus(value=value, level=level, limit=cap.limits.warn, unit=_unit(cap))
