"""The probes of a zone: they vote, and their vote stands against the zone's limits (S05, S06).

One `Group` per role. The names of its interlocks are those of the limits it feeds (`water_c` and
`water_min_c`). A trip is zone evidence and latches; it fires only while there is load, because pumps of a
hall that was emptied by an order stand still by right, and a level on the way keeps everything from rising.
"""

from collections.abc import Mapping

import msgspec

from edge_agent.config import SensorRole, Timing, Zone
from edge_agent.config.zone_checks import FEEDS
from edge_agent.guardian.interlocks import levels, stuck, voting
from edge_agent.guardian.interlocks.inputs import SensorInput, ZoneInput
from edge_agent.guardian.interlocks.levels import CLEAR, Level, Limits, Standing
from edge_agent.guardian.interlocks.stuck import Still
from edge_agent.guardian.interlocks.voting import WHOLE, Strength, Vote, vote


class Limit(msgspec.Struct, frozen=True):
    """State of one interlock of a group: where it stands, and the voted value (None: unknown)."""

    standing: Standing = CLEAR
    value: float | None = None


OPEN = Limit()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """State of the probes of one role. `heard`: any of them since the guardian started."""

    limits: dict[str, Limit] = {}
    stills: tuple[Still, ...] = ()
    strength: Strength = WHOLE
    heard: bool = False
    unknown_for_s: float = 0.0

    @property
    def unknown(self) -> bool:
        return self.strength.good == 0


UNHEARD = Group()

Groups = dict[SensorRole, Group]


def step(groups: Mapping[SensorRole, Group], inputs: ZoneInput, zone: Zone, dt: float) -> Groups:
    """All groups of the zone after `dt` seconds, in the order of `SensorRole`."""
    return {
        role: _stepped(groups.get(role, UNHEARD), role, _read(role, inputs, zone), zone, dt)
        for role in roles(zone)
    }


def roles(zone: Zone) -> tuple[SensorRole, ...]:
    """The roles that the zone has probes for."""
    named = {sensor.role for sensor in zone.sensors}
    return tuple(role for role in SensorRole if role in named)


def fed(role: SensorRole, zone: Zone) -> dict[str, Limits]:
    """Name → limits that the probes of this role feed in this zone."""
    found = {name: getattr(zone.limits, name) for name in FEEDS[role]}
    return {name: limits for name, limits in found.items() if limits is not None}


def _read(role: SensorRole, inputs: ZoneInput, zone: Zone) -> tuple[float | None, ...]:
    """One value per probe of the site file; what the input does not tell is unknown."""
    told = tuple(sensor.value for sensor in inputs.sensors.get(role, ()))
    count = sum(sensor.role is role for sensor in zone.sensors)
    return (*told, *(None,) * count)[:count]


def _stepped(
    group: Group, role: SensorRole, values: tuple[float | None, ...], zone: Zone, dt: float
) -> Group:
    stills = stuck.watch(group.stills, values, role, dt)
    good = tuple(None if still.stuck else value for still, value in zip(stills, values, strict=True))
    counted = vote(good, high_is_worse=True)
    heard = group.heard or counted.good > 0
    return Group(
        limits={
            name: _limit(group.limits.get(name, OPEN), good, limits, counted, dt)
            for name, limits in fed(role, zone).items()
        },
        stills=stills,
        strength=voting.count(group.strength, counted, dt),
        heard=heard,
        unknown_for_s=0.0 if counted.good or not heard else group.unknown_for_s + dt,
    )


def _limit(before: Limit, good: tuple[float | None, ...], limits: Limits, counted: Vote, dt: float) -> Limit:
    value = vote(good, high_is_worse=levels.excess(1.0, 0.0, limits) > 0).value
    standing = levels.step(
        before.standing,
        value,
        limits,
        dt,
        tighten=tightened(limits, alone=counted.alone),
        trip_after_s=limits.on_delay_s,
    )
    return Limit(standing, value)


def tightened(limits: Limits, *, alone: bool) -> float:
    """By how much these limits stand closer now, in their unit."""
    return limits.tighten or 0.0 if alone else 0.0


def lost(group: Group, timing: Timing) -> bool:
    """No probe of the role is known any more, for long enough to trip.

    A group that was never heard is no trip: a guardian that starts before the network does would otherwise
    need a person after every power cut. The zone stays SAFE with an alarm instead.
    """
    return group.heard and group.unknown_for_s >= timing.lost_after_s


def cause(group: Group, name: str) -> bool:
    """Whether what tripped this interlock is still there: not released, or not known."""
    return group.unknown or group.limits.get(name, OPEN).standing.level is not Level.NORMAL


def sheds(group: Group, role: SensorRole, zone: Zone, bypassed: frozenset[str]) -> str | None:
    """The name of the first interlock that wants every miner one step lower now, or None."""
    for name, limits in fed(role, zone).items():
        limit = group.limits[name]
        tighten = tightened(limits, alone=group.strength.alone)
        if name not in bypassed and levels.sheds(limit.standing, limit.value, limits, tighten):
            return name
    return None


def known(sensors: tuple[SensorInput, ...]) -> str:
    """The probes and what they read, for people."""
    return ", ".join(
        f"{sensor.device} {'unknown' if sensor.value is None else f'{sensor.value:g}'}" for sensor in sensors
    )
