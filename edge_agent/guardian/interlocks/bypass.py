"""A local maintenance bypass (S16): two facts and a reason, an end of its own, and alarms until then.

The first fact is a person's request on the operator socket. The second is the zone's key switch, turned and
staying so; or, where the site has no key switch, the word of another person. While a bypass is open its
interlock neither sheds nor trips, and nothing in the zone is raised. Nothing of this is kept on the disk:
a guardian that starts has no bypass.
"""

import math

import msgspec

from edge_agent.config import Effect, Timing, Zone
from edge_agent.guardian.interlocks import contacts, probes

WAITS_S = 300.0
"""A request waits so long for its second fact."""
REMINDS_S = 600.0
"""While a bypass is open people are told this often."""

NEVER_POINTS = ("estop_pressed", "smoke")
"""Contacts that trip on these points protect people: nobody sets them aside."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits for its second fact."""

    interlock: str
    by: str
    reason: str
    seconds: float
    left_s: float = WAITS_S


class Bypass(msgspec.Struct, frozen=True, kw_only=True):
    """An open bypass. `second` is the person who confirmed it; None: the key switch did."""

    interlock: str
    by: str
    reason: str
    left_s: float
    second: str | None = None
    reminded_s: float = 0.0
    """Since people were last told."""


class Bypasses(msgspec.Struct, frozen=True, kw_only=True):
    """State of a zone's bypasses. `key` is what the key switch reads; None where it is not known."""

    open: tuple[Bypass, ...] = ()
    asked: tuple[Asked, ...] = ()
    key: bool | None = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(bypass.interlock for bypass in self.open)

    def of(self, interlock: str) -> Bypass | None:
        """The open bypass of this interlock."""
        return next((bypass for bypass in self.open if bypass.interlock == interlock), None)

    def request(self, interlock: str) -> Asked | None:
        """What waits for its second fact."""
        return next((asked for asked in self.asked if asked.interlock == interlock), None)


NONE = Bypasses()


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in one step, for the findings."""

    opened: tuple[Bypass, ...] = ()
    ended: tuple[tuple[Bypass, str], ...] = ()
    lapsed: tuple[Asked, ...] = ()
    reminded: tuple[Bypass, ...] = ()


def allowed(zone: Zone) -> tuple[str, ...]:
    """The interlocks of a zone that may be bypassed: its probes', and contacts that protect no people.

    Never those of chips and boards, of lost cooling, of several hot or of all blind miners, of caps.
    """
    limits = [name for role in probes.roles(zone) for name in probes.fed(role, zone)]
    protecting = {
        contact.name
        for contact in zone.contacts
        if contact.effect is Effect.TRIP and contact.point.split(".")[0] in NEVER_POINTS
    }
    names = [contacts.interlock(c.name) for c in zone.contacts if c.name not in protecting]
    return (*limits, *names)


def step(state: Bypasses, *, key: bool | None, has_key: bool, dt: float) -> tuple[Bypasses, News]:
    """The bypasses after `dt` seconds, with what the key switch reads now."""
    if not state.open and not state.asked:
        return (state if state.key is key else Bypasses(key=key)), News()
    asked = [msgspec.structs.replace(entry, left_s=entry.left_s - dt) for entry in state.asked]
    opened = tuple(opening(entry, None) for entry in asked if has_key and key is True and entry.left_s > 0)
    names = {bypass.interlock for bypass in opened}
    lapsed = tuple(entry for entry in asked if entry.left_s <= 0)
    standing, ended, reminded = [], [], []
    for bypass in state.open:
        left_s, reminded_s = bypass.left_s - dt, bypass.reminded_s + dt
        if left_s <= 0:
            ended.append((bypass, "its time is over"))
        elif bypass.second is None and key is not True:
            ended.append((bypass, "the key was turned back" if key is False else "the key is not known"))
        else:
            due = reminded_s >= REMINDS_S
            older = msgspec.structs.replace(bypass, left_s=left_s, reminded_s=0.0 if due else reminded_s)
            standing.append(older)
            reminded += [older] if due else []
    waiting = tuple(entry for entry in asked if entry.left_s > 0 and entry.interlock not in names)
    after = Bypasses(open=(*standing, *opened), asked=waiting, key=key)
    return after, News(opened=opened, ended=tuple(ended), lapsed=lapsed, reminded=tuple(reminded))


def opening(asked: Asked, second: str | None) -> Bypass:
    """The bypass that a request becomes with its second fact."""
    return Bypass(
        interlock=asked.interlock, by=asked.by, reason=asked.reason, left_s=asked.seconds, second=second
    )


def refusal(state: Bypasses, zone: Zone, timing: Timing, asked: Asked, latched: frozenset[str]) -> str | None:
    """Why a bypass cannot be asked for, as a sentence that says what to do; None where it can."""
    if not asked.reason.strip():
        return "a bypass needs a reason; give one with --reason"
    if asked.interlock not in allowed(zone):
        known = ", ".join(allowed(zone)) or "none"
        return f"{asked.interlock!r} of zone {zone.id} cannot be bypassed; what can: {known}"
    if not (math.isfinite(asked.seconds) and 0 < asked.seconds <= timing.bypass_max_s):
        return f"a bypass lasts above 0 and at most {timing.bypass_max_s:g} s here (timing.bypass_max_s)"
    if asked.interlock in latched:
        return f"{asked.interlock} of zone {zone.id} is tripped: reset it first"
    bypass = state.of(asked.interlock)
    if bypass is not None:
        return (
            f"{asked.interlock} is bypassed by {bypass.by} for {bypass.left_s:.0f} s more: close that first"
        )
    return None
