"""What a person did on site, read from the journal's events: who, and why.

Local deeds need no cloud and wait for none; they come up with the journal, after an outage of days as well,
and take their place in the trail by the time at which they happened. Pure.
"""

import re

import msgspec

from shared.alarms import Event, EventKind


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """`command` is set where the deed is part of a signed order, which is then no local one."""

    by: str
    reason: str = ""
    command: str | None = None


_MODE = re.compile(r"\(local operator [^:]+: (?P<by>[^:]+): (?P<reason>.*)\)$", re.DOTALL)
_BYPASS = (
    re.compile(r"^(?P<by>.+?) asks to bypass .*? s: (?P<reason>.*); waits for ", re.DOTALL),
    re.compile(r" is BYPASSED for \d+ s \((?P<by>.+?), confirmed by .*?\): (?P<reason>.*); ", re.DOTALL),
    re.compile(r": closed by (?P<by>.+)$", re.DOTALL),
)
_ORDER = re.compile(r"^(?P<by>.*) \(order (?P<command>[a-z0-9][a-z0-9._-]{0,62})\)$", re.DOTALL)
_CANCELLED = re.compile(r"^Power order \S+ cancelled by (?P<by>.+?): (?P<reason>.*)$", re.DOTALL)


def deed(event: Event) -> Deed | None:
    """The deed that an event tells of; None where no person did it, or nobody knows who."""
    by = event.data.get("by")
    if isinstance(by, str) and by:
        return _of_order(by, str(event.data.get("reason") or ""))
    if event.kind is EventKind.MODE:
        return _found(_MODE.search(event.title))
    if event.key.startswith("bypass/"):
        return next((told for rule in _BYPASS if (told := _found(rule.search(event.title)))), None)
    if event.key.startswith("power-order/"):
        told = _found(_CANCELLED.search(event.title))
        return None if told is None or told.reason == "signed order" else told
    return None


def _of_order(by: str, reason: str) -> Deed:
    ordered = _ORDER.match(by)
    if ordered is None:
        return Deed(by=by, reason=reason)
    return Deed(by=ordered["by"], reason=reason, command=ordered["command"])


def _found(match: "re.Match[str] | None") -> Deed | None:
    if match is None:
        return None
    words = match.groupdict()
    return Deed(by=words["by"], reason=words.get("reason") or "")
