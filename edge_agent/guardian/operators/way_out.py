"""What a person types next: every answer that leaves a zone standing names it."""

from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.guardian.storage.journal import Journal
from edge_agent.ipc import Mode
from shared.ids import ZoneId

SEARCHED = 50_000
"""Journal entries that are looked through for who stopped a zone, newest first."""


def hand_back(zone: ZoneId) -> str:
    """The command that ends a safe-stop or manual work."""
    return f"minewarden guardian mode local-auto --zone {zone} --reason ..."


def after_reset(zone: ZoneId, answer: Granted) -> str:
    """What was reset, what stays and why, and how the zone goes on."""
    parts = [f"{len(answer.cleared)} trips reset"]
    if stay := answer.state.trips:
        parts.append(f"{len(stay)} trips stay latched")
        parts += [
            f"{trip.interlock} ({trip.device or 'whole zone'}): {trip.first_out}, "
            + ("cause still present: remove it first" if trip.cause_present else "cause gone: reset it too")
            for trip in stay
        ]
    return "; ".join([*parts, f"mode {answer.state.mode}", *_waiting(zone, answer)])


def after_mode(zone: ZoneId, asked: Mode, answer: Granted) -> str:
    """A zone that is handed back does not run yet: it says what it waits for."""
    handed = ["handed back"] if asked is Mode.LOCAL_AUTO else []
    if answer.state.mode is Mode.MANUAL:
        return f"mode manual; hand it back with: {hand_back(zone)}"
    return "; ".join([*handed, *_waiting(zone, answer), f"mode {answer.state.mode}"])


def _waiting(zone: ZoneId, answer: Granted) -> list[str]:
    if answer.state.mode is not Mode.SAFE:
        return []
    if answer.state.safe_why is SafeWhy.STOP:
        return [f"a safe-stop still holds it; hand it back with: {hand_back(zone)}"]
    return ["waits for proven cooling and then goes on by itself"]


def not_from(zone: ZoneId, mode: Mode, asked: Mode, denied: Denied) -> str:
    """A refused mode, and the way out of the mode that the zone is in."""
    ways = {
        Mode.TRIPPED: "reset its trips first: minewarden guardian trips",
        Mode.SAFE: "it goes on by itself once cooling is proven; "
        "'minewarden guardian status' says what it waits for",
        Mode.MANUAL: f"hand it back with: {hand_back(zone)}",
    }
    way = ways.get(mode, "it runs by itself already, there is nothing to hand back")
    return f"{denied.why}; {way}" if asked in (Mode.MANUAL, Mode.LOCAL_AUTO) else denied.why


def who_stopped(journal: Journal, zone: ZoneId) -> str | None:
    """Who stopped the zone last, and why, as the journal has it. Reads files: not for the event loop."""
    for number, entry in enumerate(journal.newest_first()):
        if number > SEARCHED:
            break
        if entry.event.key == f"safe-stop/{zone}":
            return entry.event.title
    return None
