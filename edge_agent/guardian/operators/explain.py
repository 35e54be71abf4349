"""What happened around a trip or an event, as text: the journal's word and the frozen inputs (S23).

Reads files, so it is called in a thread.
"""

from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.guardian.operators import frozen
from edge_agent.guardian.storage import capture
from edge_agent.guardian.storage.capture import Capture
from edge_agent.guardian.storage.journal import Journal
from edge_agent.ipc import JournalEntry
from shared.alarms import EventKind

AROUND_S = 60.0
MOST_LINES = 40
SEARCHED = 200_000
"""Journal entries that are looked through, newest first."""


def explain(journal: Journal, captures: Path, event: str) -> tuple[str, ...] | None:
    """Lines for a person, or None where neither journal nor captures know `event`.

    `event` is an event's id, a trip's id, or the id of a proposal or an order.
    """
    found, around, later = _look(journal, event)
    story = capture.find(captures, event.removeprefix("trip/"))
    if found is None and story is None:
        return None
    lines: list[str] = []
    if found is not None:
        lines += _told(found) + _provoked(found, around)
    if story is not None:
        lines += _first_out(story)
    if found is not None:
        if later:
            lines += ["", "What became of it:", *(_later(entry) for entry in later)]
        lines += ["", f"Journal from {AROUND_S:g} s before to {AROUND_S:g} s after:"]
        lines += [_line(entry, found.at_s) for entry in around]
    lines += (
        frozen.table(story) if story is not None else ["", "No inputs were frozen for this: only trips are."]
    )
    return tuple(lines)


def _is(entry: JournalEntry, event: str) -> bool:
    return event in (entry.event.id, entry.event.key.removeprefix("trip/"), entry.event.data.get("id"))


Found = tuple[JournalEntry | None, list[JournalEntry], list[JournalEntry]]


def _look(journal: Journal, event: str) -> Found:
    """The oldest entry about `event`, what stands around it, and the later entries about it."""
    hits: list[JournalEntry] = []
    recent: deque[JournalEntry] = deque(maxlen=MOST_LINES)
    after: list[JournalEntry] = []
    before: list[JournalEntry] = []
    for number, entry in enumerate(journal.newest_first()):
        if number > SEARCHED:
            break
        if _is(entry, event):
            hits.append(entry)
            after, before = list(recent), []
        elif hits and len(before) < MOST_LINES:
            before.append(entry)
        elif hits and hits[-1].event.id == event:
            break  # an event's own id stands once; an order's may recur days before
        recent.append(entry)
    if not hits:
        return None, [], []
    found = hits.pop()
    boot = found.event.id.split("-")[0]
    near = [
        entry
        for entry in (*reversed(before), found, *reversed(after))
        if abs(entry.at_s - found.at_s) <= AROUND_S and entry.event.id.split("-")[0] == boot
    ]
    first = max(near.index(found) - MOST_LINES // 2, 0)
    return found, near[first : first + MOST_LINES], hits[::-1][-MOST_LINES:]


def _provoked(found: JournalEntry, around: list[JournalEntry]) -> list[str]:
    """Whether a person tripped this on purpose: the last real proof test of the same interlock before it."""
    interlock, zone = found.event.data.get("interlock"), found.event.zone
    tests = [
        entry.event.title
        for entry in around
        if entry.seq < found.seq
        and entry.event.kind is EventKind.ACTION
        and entry.event.key == f"proof-test/{zone}"
        and entry.event.data.get("interlock") == interlock
    ]
    return [f"  from      a proof test: {tests[-1]}"] if tests and interlock else []


def _told(entry: JournalEntry) -> list[str]:
    event = entry.event
    lines = [
        event.title,
        f"  when      {_utc(entry.at_ms)} (entry {entry.seq}, event {event.id})",
        f"  kind      {event.kind}, {event.severity}" + (f", zone {event.zone}" if event.zone else ""),
    ]
    lines += [f"  {name:<9} {value}" for name, value in event.data.items() if value not in ("", None)]
    if event.advice:
        lines.append(f"  do        {event.advice}")
    return lines


def _first_out(story: Capture) -> list[str]:
    lines = ["", f"First out in zone {story.zone}, {_utc(story.at_ms)}:"]
    for trip, offset_s in zip(story.trips, story.offsets_s, strict=True):
        what = trip.device or "whole zone"
        lines.append(f"  +{offset_s:6.2f} s  {trip.interlock} ({what}): {trip.first_out}  [{trip.id}]")
    return lines


def _line(entry: JournalEntry, at_s: float) -> str:
    return f"  {entry.at_s - at_s:+7.2f} s  {entry.event.kind:<13} {entry.event.title}"


def _later(entry: JournalEntry) -> str:
    return f"  {_utc(entry.at_ms)}  {entry.event.kind:<13} {entry.event.title}  [{entry.event.id}]"


def _utc(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d} UTC"
