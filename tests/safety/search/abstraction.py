"""States that cannot be told apart by what comes after are one state.

The core compares its timers with limits and with nothing else, so a timer above the largest limit that it is
compared with counts as being at that limit. Every timer has a bucket here; one without is an error and not a
guess, or the search would never end. What only words or LOWER demands depend on, and what the next step works
out anew, is left out.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import miners
from edge_agent.guardian.interlocks.bypass import Asked, Bypass
from edge_agent.guardian.interlocks.cooling import Cooling
from edge_agent.guardian.interlocks.levels import Level, Standing
from edge_agent.guardian.interlocks.probes import Group, Limit
from edge_agent.guardian.interlocks.proof import Proof
from edge_agent.guardian.interlocks.stale import Sight, Watch
from edge_agent.guardian.interlocks.state import ZONE_BLIND, MinerTrack, SafeWhy, Trip, ZoneState
from edge_agent.guardian.interlocks.voting import Strength
from edge_agent.ipc import Mode
from safety.search.alphabet import DELAY_S, MINERS, STEP_S

MAX_STARTS = 1
"""Instead of the core's three: the search sets it so."""


def _limits(delay_s: float) -> Mapping[str, float]:
    delayed = (
        *("low_for_s", "good_for_s", "above_warn_s", "above_shed_s", "above_trip_s", "below_s"),
        *("blind_for_s", "unknown_for_s", "shed_stop_s", "left_s", "seconds"),
    )
    steps = ("active_for_s", "settle_left_s")
    return {**dict.fromkeys(delayed, delay_s), **dict.fromkeys(steps, STEP_S)}


_LIMITS: Mapping[float, Mapping[str, float]] = {delay_s: _limits(delay_s) for delay_s in (STEP_S, DELAY_S)}
"""Delay of the world → timer → the largest limit that it is compared with."""
_COUNTS: Mapping[str, int] = {"starts": MAX_STARTS + 1, "batch": 1, "batches": 1, "good": 9, "of": 9}

_encoder = msgspec.msgpack.Encoder(order="deterministic")

Fields = dict[str, Any]


def limits_of(zone: Zone, timing: Timing, slow_s: float) -> tuple[Zone, Timing]:
    """The zone and timing of a site file with every delay at its bucket; `slow_s` is the world's."""
    heat: Fields = {}
    for name in zone.limits.__struct_fields__:
        if (limits := getattr(zone.limits, name)) is not None:
            delay_s = STEP_S if name in ("chip_temp_c", "board_temp_c") else slow_s
            heat[name] = msgspec.structs.replace(limits, on_delay_s=delay_s, off_delay_s=STEP_S)
    proof = msgspec.structs.replace(zone.cooling_proof, lost_after_s=slow_s, proven_for_s=slow_s)
    waits = {"stale_after_s": STEP_S, "lost_after_s": slow_s, "settle_s": STEP_S, "stop_confirm_s": 0.0}
    return (
        msgspec.structs.replace(
            zone, limits=msgspec.structs.replace(zone.limits, **heat), cooling_proof=proof
        ),
        msgspec.structs.replace(timing, **waits),
    )


# ---------------------------------------------------------------- what does not matter


def _standing(value: Standing, fields: Fields) -> None:
    """A level that is reached needs no delay any more."""
    for name, level in (("warn", Level.WARN), ("shed", Level.SHED), ("trip", Level.TRIP)):
        if value.level >= level:
            fields[f"above_{name}_s"] = 0.0


def _watch(value: Watch, fields: Fields) -> None:
    """Blind, stale and lost differ in words."""
    fields["sight"] = Sight.STALE if value.sight.unknown else Sight.FRESH


def _track(value: MinerTrack, fields: Fields) -> None:
    gone = value.over_trip_s >= miners.FORGET_TRIP_S
    fields["over_trip_s"] = -1.0 if value.over_trip_s < 0 else miners.FORGET_TRIP_S if gone else 0.0
    fields["shed_wait_s"] = 0.0


def _strength(value: Strength, fields: Fields) -> None:
    """One of one is as good as none of one: whether it is known is looked at anew in each step."""
    if value.of <= 1:
        fields |= {"good": 0, "of": 0}


def _cooling(value: Cooling, fields: Fields) -> None:
    if value.lost:
        fields["low_for_s"] = 0.0


def _group(value: Group, fields: Fields) -> None:
    """One probe of a role contradicts nobody."""
    assert not any(still.contradicted for still in value.stills)
    fields["stills"] = ()


_DROPPED: Mapping[type, Fields] = {
    Trip: {"id": "", "first_out": "", "at_ms": 0},
    Limit: {"value": None},
    Strength: {"short_for_s": 0.0, "told": None},
    Proof: {"feedbacks": (), "stuck": (), "value": None},
    Group: {"stills": ()},
    Asked: {"left_s": 300.0},
    Bypass: {"reminded_s": 0.0},
    MinerTrack: {"over_trip_s": 0.0, "shed_wait_s": 0.0},
    ZoneState: {"silent_for_s": 0.0, "silent_alarmed": False, "feeders": ()},
}
_RULES: Mapping[type, Callable[[Any, Fields], None]] = {
    Standing: _standing,
    Watch: _watch,
    MinerTrack: _track,
    Cooling: _cooling,
    Strength: _strength,
    Group: _group,
}


# ---------------------------------------------------------------- canonical


def canonical(state: ZoneState, delay_s: float) -> ZoneState:
    """The state that stands for all that behave alike where delays are `delay_s` (s).

    Raises KeyError for a timer without a bucket.
    """
    dropped = _DROPPED[ZoneState]
    fields = {
        name: dropped[name] if name in dropped else _bucket(name, getattr(state, name), delay_s)
        for name in ZoneState.__struct_fields__
    }
    for name in ("pending", "starting"):
        fields[name] = tuple(sorted(fields[name]))
    fields["trips"] = _sorted(fields["trips"])
    if state.mode is not Mode.SAFE and state.safe_why is not SafeWhy.STOP:
        fields["safe_why"] = SafeWhy.RESET  # whatever leads back to SAFE says its own reason
    if any(trip.interlock == ZONE_BLIND for trip in state.trips):
        fields["blind_for_s"] = 0.0
    same = ZoneState(**fields)
    return min((same, _mirrored(same)), key=key)


def key(state: ZoneState) -> bytes:
    """To compare and to store."""
    return _encoder.encode(state)


def _bucket(name: str, value: Any, delay_s: float) -> Any:
    if value is None or isinstance(value, bool | str | Enum):
        return value
    if isinstance(value, msgspec.Struct):
        return _group_of(value, delay_s) if isinstance(value, Group) else _bucketed(value, delay_s)
    if isinstance(value, dict):
        return {inner: _bucket(inner, part, delay_s) for inner, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_bucket(name, part, delay_s) for part in value)
    return min(value, _LIMITS[delay_s][name] if isinstance(value, float) else _COUNTS[name])


@lru_cache(maxsize=100_000)
def _bucketed(value: msgspec.Struct, delay_s: float) -> msgspec.Struct:
    return _group_of(value, delay_s)


def _group_of(value: msgspec.Struct, delay_s: float) -> msgspec.Struct:
    dropped = _DROPPED.get(type(value), {})
    fields = {
        name: dropped[name] if name in dropped else _bucket(name, getattr(value, name), delay_s)
        for name in value.__struct_fields__
    }
    rule = _RULES.get(type(value))
    if rule is not None:
        rule(value, fields)
    return type(value)(**fields)


def _sorted(trips: tuple[Trip, ...] | list[Trip]) -> tuple[Trip, ...]:
    return tuple(sorted(trips, key=lambda trip: (trip.interlock, trip.device or "")))


_OTHER = {MINERS[0]: MINERS[1], MINERS[1]: MINERS[0]}


def _mirrored(state: ZoneState) -> ZoneState:
    """The same with the two miners changed for each other: nothing in the core depends on their names."""
    trips = [
        msgspec.structs.replace(trip, device=_OTHER[trip.device]) if trip.device else trip
        for trip in state.trips
    ]
    return msgspec.structs.replace(
        state,
        miners={device: state.miners[_OTHER[device]] for device in state.miners},
        trips=_sorted(trips),
        pending=tuple(sorted(_OTHER[device] for device in state.pending)),
        starting=tuple(sorted(_OTHER[device] for device in state.starting)),
    )
