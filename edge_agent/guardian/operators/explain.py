"""What happened around a trip or an event, as text: the journal's word and the frozen inputs (S23).

Reads files, so it is called in a thread.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.guardian.storage import capture
from edge_agent.guardian.storage.capture import Capture
from edge_agent.guardian.storage.journal import Journal
from edge_agent.ipc import JournalEntry
from shared.ids import DeviceId
from shared.telemetry import DeviceKind, Sample

AROUND_S = 60.0
MOST_LINES = 40
COLUMNS_S = (-60.0, -30.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SEARCHED = 200_000
"""Journal entries that are looked through, newest first."""

_MINER_POINTS = ("chip_temp_max_c", "power_w")
_ODD_POINTS_ROWS = 24


def explain(journal: Journal, captures: Path, event: str) -> tuple[str, ...] | None:
    """Lines for a person, or None where neither journal nor captures know `event`.

    `event` is an event's id, a trip's id, or the id of a proposal or an order.
    """
    found, around = _look(journal, event)
    story = capture.find(captures, event.removeprefix("trip/"))
    if found is None and story is None:
        return None
    lines: list[str] = []
    if found is not None:
        lines += _told(found)
    if story is not None:
        lines += _first_out(story)
    if found is not None:
        lines += ["", f"Journal from {AROUND_S:g} s before to {AROUND_S:g} s after:"]
        lines += [_line(entry, found.at_s) for entry in around]
    lines += _inputs(story) if story is not None else ["", "No inputs were frozen for this: only trips are."]
    return tuple(lines)


def _is(entry: JournalEntry, event: str) -> bool:
    return event in (entry.event.id, entry.event.key.removeprefix("trip/"), entry.event.data.get("id"))


def _look(journal: Journal, event: str) -> tuple[JournalEntry | None, list[JournalEntry]]:
    """The oldest entry about `event`, and what stands around it."""
    found: JournalEntry | None = None
    seen: list[JournalEntry] = []
    for number, entry in enumerate(journal.newest_first()):
        if found is not None and abs(entry.at_ms - found.at_ms) > AROUND_S * 1000 * 10:
            break
        if number > SEARCHED:
            break
        seen.append(entry)
        if _is(entry, event):
            found = entry
        elif found is None and len(seen) > 5_000:
            del seen[:2_500]
    if found is None:
        return None, []
    boot = found.event.id.split("-")[0]
    near = [
        entry
        for entry in reversed(seen)
        if abs(entry.at_s - found.at_s) <= AROUND_S and entry.event.id.split("-")[0] == boot
    ]
    where = near.index(found)
    first = max(where - MOST_LINES // 2, 0)
    return found, near[first : first + MOST_LINES]


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


def _utc(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d} UTC"


# ---------------------------------------------------------------- the frozen inputs


def _inputs(story: Capture) -> list[str]:
    by_device: dict[DeviceId, list[Sample]] = {}
    for sample in story.samples:
        by_device.setdefault(sample.device, []).append(sample)
    head = "".join(f"{at:+8.0f}" for at in COLUMNS_S)
    half = "" if story.complete else " (the minute after is still being recorded)"
    lines = ["", f"Inputs, s from the trip{half}:", f"  {'':<34}{head}"]
    named = {trip.device for trip in story.trips if trip.device is not None}
    shown = [
        device
        for device, samples in by_device.items()
        if samples[0].kind is not DeviceKind.MINER or device in named
    ]
    for device in sorted(shown, key=lambda device: (device not in named, device)):
        for point in _points(by_device[device]):
            row = _row(by_device[device], point, story.at_s)
            lines.append(f"  {f'{device} {point}':<34}{row}")
            if len(lines) > _ODD_POINTS_ROWS:
                break
    lines += _hottest(by_device, story.at_s)
    lines.append(f"  {len(story.samples)} samples of {len(by_device)} devices are frozen.")
    return lines


def _points(samples: Iterable[Sample]) -> list[str]:
    points: dict[str, None] = {}
    for sample in samples:
        keep = _MINER_POINTS if sample.kind is DeviceKind.MINER else tuple(sample.readings)
        points |= dict.fromkeys(point for point in keep if point in sample.readings)
    return list(points)[:8]


def _row(samples: list[Sample], point: str, at_s: float) -> str:
    """The point as last told at each column; `?` where it was not known."""
    cells = []
    for column_s in COLUMNS_S:
        known = [sample for sample in samples if sample.at_s <= at_s + column_s]
        if not known:
            cells.append(f"{'':>8}")
            continue
        last = known[-1]
        value = None if last.failure is not None else last.usable(point)
        cells.append(f"{'?':>8}" if value is None else f"{value:8.4g}")
    return "".join(cells)


def _hottest(by_device: Mapping[DeviceId, list[Sample]], at_s: float) -> list[str]:
    """The hottest chip over all miners, and how many are heard, at each column."""
    miners = [samples for samples in by_device.values() if samples[0].kind is DeviceKind.MINER]
    if not miners:
        return []
    chip, count = [], []
    for column_s in COLUMNS_S:
        last = [
            known[-1] for samples in miners if (known := [s for s in samples if s.at_s <= at_s + column_s])
        ]
        values = [value for sample in last for value in sample.values("chip_temp_max_c")]
        chip.append(f"{max(values):8.4g}" if values else f"{'?':>8}")
        count.append(f"{sum(s.failure is None and bool(s.state and s.state.draws_power) for s in last):8d}")
    return [
        f"  {'hottest chip of ' + str(len(miners)) + ' miners, °C':<34}{''.join(chip)}",
        f"  {'miners that draw power':<34}{''.join(count)}",
    ]
