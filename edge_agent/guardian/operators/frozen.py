"""The frozen inputs of a capture as a table: what tripped first, then what stands around it (S23)."""

import re
from collections.abc import Iterator, Mapping

from edge_agent.guardian.interlocks.state import BOARD, CAP, CHIP
from edge_agent.guardian.storage.capture import AFTER_S, Capture
from shared.ids import DeviceId
from shared.telemetry import DeviceKind, Sample

COLUMNS_S = (-60.0, -30.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STALE_S = 30.0
"""What a device told longer ago than this at a column is not known there any more."""
MOST_ROWS = 24

_MINER_POINTS = ("chip_temp_max_c", "power_w")
_HEAT = {CHIP: "chip_temp", BOARD: "board_temp"}
_POINTS_EACH = 8

ByDevice = Mapping[DeviceId, list[Sample]]
Row = tuple[DeviceId, str]


def table(story: Capture) -> list[str]:
    """Lines for a person; a column that nothing was frozen for any more stays empty."""
    by_device: dict[DeviceId, list[Sample]] = {}
    for sample in story.samples:
        by_device.setdefault(sample.device, []).append(sample)
    head = "".join(f"{at:+8.0f}" for at in COLUMNS_S)
    half = "" if story.complete else " (the minute after is still being recorded)"
    lines = ["", f"Inputs, s from the trip{half}:", f"  {'':<34}{head}"]
    columns = _columns(story)
    rows = list(dict.fromkeys(_rows(story, by_device)))
    for device, point in rows[:MOST_ROWS]:
        cells = [_cell(_last(by_device[device], at_s), point) for at_s in columns]
        lines.append(f"  {f'{device} {point}':<34}{''.join(cells)}")
    if len(rows) > MOST_ROWS:
        lines.append(f"  … and {len(rows) - MOST_ROWS} points more are frozen and not shown.")
    lines += _miners(by_device, columns)
    lines.append(f"  {len(story.samples)} samples of {len(by_device)} devices are frozen.")
    return lines


def _columns(story: Capture) -> list[float]:
    """The columns that lie before the end of what was frozen, on the guardian's clock (s)."""
    newest_s = max((sample.at_s for sample in story.samples), default=story.at_s)
    end_s = story.at_s + AFTER_S if story.complete else max(newest_s, story.at_s)
    return [story.at_s + at_s for at_s in COLUMNS_S if story.at_s + at_s <= end_s]


# ---------------------------------------------------------------- which rows, and in which order


def _rows(story: Capture, by_device: ByDevice) -> Iterator[Row]:
    """The points that tripped, their devices, the rest of the trip's zone, the rest of the site."""
    points = {device: _points(samples) for device, samples in by_device.items()}
    named: dict[DeviceId, None] = {}
    for trip in story.trips:
        if trip.device is not None and trip.device in by_device:
            named[trip.device] = None
            heat = _HEAT.get(trip.interlock)
            own = points[trip.device]
            yield from ((trip.device, point) for point in own if heat and point.startswith(heat))
        told = [device for device in by_device if _names(trip.first_out, device)]
        named |= dict.fromkeys(told)
        for device in told:
            yield from ((device, p) for p in points[device] if _names(trip.first_out, f"{device} {p}"))
        if trip.interlock.startswith(CAP):
            named |= dict.fromkeys(d for d, own in by_device.items() if own[0].kind is DeviceKind.METER)
    gear = sorted(device for device, own in by_device.items() if own[0].kind is not DeviceKind.MINER)
    here = [device for device in gear if device in story.zone_devices]
    for device in dict.fromkeys((*named, *here, *gear)):
        own = points[device]
        if by_device[device][0].kind is DeviceKind.MINER:
            own = [point for point in own if point in _MINER_POINTS]
        yield from ((device, point) for point in own[:_POINTS_EACH])


def _names(text: str, name: str) -> bool:
    """Whether `name` stands in `text` as a whole: `wall-1` is not named by `wall-10` or `old-wall-1`."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text) is not None


def _points(samples: list[Sample]) -> list[str]:
    return list(dict.fromkeys(point for sample in samples for point in sample.readings))


# ---------------------------------------------------------------- cells


def _last(samples: list[Sample], at_s: float) -> Sample | None:
    """What the device told last before `at_s`; None where it told nothing yet or too long ago."""
    known = [sample for sample in samples if sample.at_s <= at_s]
    return known[-1] if known and at_s - known[-1].at_s <= STALE_S else None


def _cell(last: Sample | None, point: str) -> str:
    value = None if last is None or last.failure is not None else last.usable(point)
    return f"{'?':>8}" if value is None else f"{value:8.4g}"


def _miners(by_device: ByDevice, columns: list[float]) -> list[str]:
    """The hottest chip over all miners, and how many are heard to draw power, at each column."""
    miners = [samples for samples in by_device.values() if samples[0].kind is DeviceKind.MINER]
    if not miners:
        return []
    chip, count = [], []
    for at_s in columns:
        last = [sample for samples in miners if (sample := _last(samples, at_s)) is not None]
        values = [value for sample in last for value in sample.values("chip_temp_max_c")]
        chip.append(f"{max(values):8.4g}" if values else f"{'?':>8}")
        heard = [sample for sample in last if sample.failure is None]
        drawing = sum(bool(sample.state and sample.state.draws_power) for sample in heard)
        count.append(f"{drawing:8d}" if heard else f"{'?':>8}")
    return [
        f"  {'hottest chip of ' + str(len(miners)) + ' miners, °C':<34}{''.join(chip)}",
        f"  {'miners that draw power':<34}{''.join(count)}",
    ]
