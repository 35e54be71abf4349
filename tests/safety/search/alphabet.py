"""What can happen to a zone in one step, as tables that are easy to extend.

A *dimension* is one thing about the world, a *word* one way it can be; the first word of each is the good
one. A *letter* takes one word per dimension. A *world* is a site with some of the dimensions: all letters
with at most one bad word are tried from every state, and the pairs of bad words that the world lists. Worlds
exist because the product of everything with everything would never end; each holds what acts together.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from edge_agent.config import Contact, Effect, FansAfterTrip, PointRef, SensorRole, Zone
from edge_agent.guardian.interlocks.inputs import (
    Commanded,
    ContactInput,
    FeederClaim,
    MainsClaim,
    MinerInput,
    ModelClaim,
    SensorInput,
    ZoneInput,
)
from edge_agent.guardian.interlocks.state import ZoneState
from shared.ids import DeviceId
from shared.telemetry import MinerState

MINERS = (DeviceId("m-1"), DeviceId("m-2"))
STEP_S = 30.0
"""As long as the shortest fixed delay of the core."""
DELAY_S = 2 * STEP_S
"""Delays of the zone in the search: two steps, so that "not yet" and "long enough" both exist. Those of one
miner's temperature are one step, or the states would be too many; their tests are elsewhere."""
AGES_S = 600.0
"""Long enough for the core's longest fixed delay to run out within one step."""

COOL_C, TRIP_C = 65.0, 89.0
GOOD_FLOW, LOW_FLOW = 80.0, 5.0
GOOD_AIR_C, SHED_AIR_C, TRIP_AIR_C = 25.0, 41.0, 46.0
START = Commanded(settle_s=STEP_S, start=True)
SHED_STOP = Commanded(settle_s=STEP_S, shed_stop=True)
PROBE = DeviceId("probe-1")

Change = Callable[[ZoneInput], ZoneInput]
_replace = msgspec.structs.replace


def _same(inputs: ZoneInput) -> ZoneInput:
    return inputs


def _miner(*indices: int, **fields: object) -> Change:
    def change(inputs: ZoneInput) -> ZoneInput:
        miners = list(inputs.miners)
        for index in indices:
            miners[index] = _replace(miners[index], **fields)
        return _replace(inputs, miners=tuple(miners))

    return change


def _zone(**fields: object) -> Change:
    return lambda inputs: _replace(inputs, **fields)


def _air(value_c: float | None) -> Change:
    return _zone(sensors={SensorRole.INLET_AIR: (SensorInput(device=PROBE, value=value_c),)})


def _contact(name: str, *, active: bool | None) -> Change:
    def change(inputs: ZoneInput) -> ZoneInput:
        told = tuple(
            ContactInput(name=name, active=active) if contact.name == name else contact
            for contact in inputs.contacts
        )
        return _replace(inputs, contacts=told)

    return change


def _cap(**fields: object) -> Change:
    return _zone(feeders=(FeederClaim(cap="feeder", **fields),))


def _situations(*indices: int) -> dict[str, Change]:
    """The ways one miner, or both, can be seen."""
    stopped = {"state": MinerState.STOPPED, "chip_c": None, "board_c": None}
    return {
        "good": _same,
        "trip": _miner(*indices, chip_c=TRIP_C),
        "blind": _miner(*indices, chip_c=None, board_c=None),
        "stopped": _miner(*indices, **stopped),
        "lost": _miner(*indices, age_s=1e9),
    }


_TRIPS = {"trip": "1 MW, trip limit 1 MW", "cause": True, "inhibit": "power cap feeder (trip)"}

DIMENSIONS: Mapping[str, Mapping[str, Change]] = {
    "one": _situations(0),
    "other": _situations(1),
    "both": _situations(0, 1),
    "told": {
        "nothing": _same,
        "start one": _miner(0, commanded=(START,)),
        "start other": _miner(1, commanded=(START,)),
        "start both": _miner(0, 1, commanded=(START,)),
        "shed both": _miner(0, 1, commanded=(SHED_STOP,)),
    },
    "cooling": {
        "good": _same,
        "low": _zone(cooling_value=LOW_FLOW),
        "unknown": _zone(cooling_value=None),
    },
    "lease": {"good": _same, "lost": _zone(lease_overdue_s=1e6)},
    "model": {
        "none": _same,
        "shadow": _zone(model=ModelClaim.SHADOW),
        "active": _zone(model=ModelClaim.ACTIVE),
    },
    "air": {"good": _same, "shed": _air(SHED_AIR_C), "trip": _air(TRIP_AIR_C), "unknown": _air(None)},
    "estop": {
        "at rest": _same,
        "pressed": _contact("estop", active=True),
        "unknown": _contact("estop", active=None),
    },
    "door": {"shut": _same, "open": _contact("door", active=True)},
    "key": {"off": _same, "turned": _zone(bypass_key=True), "unknown": _zone(bypass_key=None)},
    "cap": {
        "good": _same,
        "inhibits": _cap(inhibit="power cap feeder (warn)", cause=True),
        "trips": _cap(**_TRIPS),
        "trips one": _cap(**_TRIPS, miners=frozenset(MINERS[:1])),
        "trips both": _cap(**_TRIPS, miners=frozenset(MINERS)),
    },
    "mains": {
        "there": _same,
        "hold": _zone(mains=MainsClaim.HOLD),
        "low": _zone(mains=MainsClaim.SAFE_PRESET),
        "gone": _zone(mains=MainsClaim.STOP),
    },
    "held": {
        "nobody": _same,
        "one": _zone(held=frozenset(MINERS[:1])),
        "both": _zone(held=frozenset(MINERS)),
    },
}

Pair = tuple[str, tuple[str, ...], str, tuple[str, ...]]
_STARTS = ("start one", "start other", "start both")


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One step's inputs, by name, and how long the step is in s."""

    name: str
    inputs: ZoneInput
    dt: float = STEP_S


@dataclass(frozen=True, kw_only=True)
class World:
    """What is varied together. `words` are dimension → bad words (all where none are named)."""

    name: str
    words: Mapping[str, tuple[str, ...]]
    pairs: tuple[Pair, ...] = ()
    contacts: tuple[Contact, ...] = ()
    has_probe: bool = False
    bypass: str | None = None
    """The interlock that persons may ask to bypass."""
    delay_s: float = STEP_S
    """Of cooling, probes and blindness: `DELAY_S` in the world that is about them, or the states multiply."""
    good: ZoneInput = field(init=False)

    def __post_init__(self) -> None:
        miners = tuple(
            MinerInput(device=device, age_s=0.5, state=MinerState.MINING, chip_c=COOL_C, board_c=50.0)
            for device in MINERS
        )
        good = ZoneInput(
            miners=miners,
            cooling_value=GOOD_FLOW,
            cooling_at_fail_safe=(False,),
            contacts=tuple(ContactInput(name=contact.name, active=False) for contact in self.contacts),
            bypass_key=False if self.bypass else None,
        )
        object.__setattr__(self, "good", _air(GOOD_AIR_C)(good) if self.has_probe else good)

    def site(self, zone: Zone) -> Zone:
        """The zone of the test site with what this world has and without what it has not."""
        key = PointRef(device="wall-1", point="bypass_key") if self.bypass else None
        sensors = tuple(s for s in zone.sensors if s.role is SensorRole.INLET_AIR)[: int(self.has_probe)]
        assert bool(sensors) is self.has_probe, "the test site has an inlet probe"
        return _replace(zone, contacts=self.contacts, bypass_key=key, sensors=sensors)

    def letter(self, **words: str) -> Letter:
        """The letter with these words, and the good one everywhere else: `letter(cooling="low")`."""
        inputs = self.good
        for dimension, word in words.items():
            inputs = DIMENSIONS[dimension][word](inputs)
        return Letter(name=" ".join(f"{d}:{w}" for d, w in words.items()) or "good", inputs=inputs)

    def letters(self) -> Iterator[Letter]:
        """The whole alphabet."""
        yield self.letter()
        yield Letter(name="ten minutes", inputs=self.good, dt=AGES_S)
        for dimension, words in self.words.items():
            for word in words or list(DIMENSIONS[dimension])[1:]:
                yield self.letter(**{dimension: word})
        for first, words, second, others in self.pairs:
            for one, other in itertools.product(words, others):
                yield self.letter(**{first: one, second: other})


def possible(one: Letter, state: ZoneState) -> bool:
    """A start goes out only to a miner that is seen stopped: the arbiter sees to that."""
    return all(
        state.miners[miner.device].stopped
        for miner in one.inputs.miners
        if any(command.start for command in miner.commanded) and miner.device in state.miners
    )


MODES = World(
    name="modes, lease, model",
    words={"one": ("trip",), "both": ("trip", "stopped", "lost"), "cooling": (), "lease": (), "model": ()},
    pairs=(
        ("both", ("stopped",), "cooling", ("low",)),
        ("both", ("stopped",), "lease", ("lost",)),
        ("both", ("stopped",), "told", ("start both",)),
        ("both", ("lost",), "lease", ("lost",)),
        ("cooling", ("low",), "lease", ("lost",)),
    ),
)

MINERS_AND_COOLING = World(
    name="miners and cooling",
    delay_s=DELAY_S,
    words={"one": ("trip",), "both": ("stopped", "lost"), "cooling": ("low",), "told": ("shed both",)},
    pairs=(("both", ("stopped",), "told", ("start one", "start both")),),
)

PROBES_AND_CONTACTS = World(
    name="probes, contacts, bypass",
    words={"both": ("stopped", "lost"), "air": (), "estop": (), "door": (), "key": (), "cooling": ("low",)},
    pairs=(
        ("both", ("stopped",), "air", ("trip", "unknown")),
        ("both", ("stopped",), "estop", ("pressed", "unknown")),
        ("both", ("stopped",), "told", ("start both",)),
        ("key", ("turned",), "air", ("trip", "unknown")),
        ("key", ("turned",), "both", ("stopped",)),
    ),
    contacts=(
        Contact(
            name="estop",
            device="wall-1",
            point="estop_pressed",
            effect=Effect.TRIP,
            on_unknown=Effect.TRIP,
            on_delay_s=STEP_S,
            fans=FansAfterTrip.LEAVE,
        ),
        Contact(
            name="door",
            device="wall-1",
            point="door_open",
            effect=Effect.INHIBIT,
            on_unknown=Effect.ALARM,
            on_delay_s=STEP_S,
        ),
    ),
    has_probe=True,
    bypass="inlet_air_c",
)

POWER = World(
    name="caps, mains, orders",
    words={"both": ("stopped", "lost"), "cap": (), "mains": (), "held": (), "cooling": ("low",), "lease": ()},
    pairs=(
        ("both", ("stopped",), "cap", ("trips", "trips one")),
        ("both", ("stopped",), "mains", ("hold", "gone")),
        ("both", ("stopped",), "held", ("one", "both")),
        ("both", ("stopped",), "told", _STARTS),
        ("one", ("stopped",), "mains", ("gone",)),
        ("cap", ("trips",), "mains", ("gone",)),
    ),
)

WORLDS = (MODES, MINERS_AND_COOLING, PROBES_AND_CONTACTS, POWER)
