"""What `explain` shows of a trip and of an order: the value that tripped first, and nothing made up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.operators import frozen
from edge_agent.guardian.operators.explain import AROUND_S, explain
from edge_agent.guardian.storage.capture import Capture
from edge_agent.guardian.storage.journal import Journal
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import TripInfo
from shared.alarms import EventKind, Severity
from shared.clock import ManualClock
from shared.ids import DeviceId, ZoneId
from shared.telemetry import DeviceKind, MinerState, Reading, Sample

HALL = ZoneId("hall-a")
AT_S = 1000.0


def told(device: str, kind: DeviceKind, offset_s: float, **readings: float) -> Sample:
    return Sample(
        device=DeviceId(device),
        kind=kind,
        at_s=AT_S + offset_s,
        at_ms=0,
        boot="b",
        seq=1,
        state=MinerState.MINING if kind is DeviceKind.MINER else None,
        readings={point.replace("__", "."): Reading(value) for point, value in readings.items()},
    )


def trip(interlock: str, first_out: str, device: str | None = None) -> TripInfo:
    return TripInfo(
        id="t-1",
        zone=HALL,
        interlock=interlock,
        at_ms=0,
        first_out=first_out,
        cause_present=True,
        device=None if device is None else DeviceId(device),
    )


def story(what: TripInfo, *samples: Sample, complete: bool = False, here: tuple[str, ...] = ()) -> Capture:
    return Capture(
        zone=HALL,
        at_s=AT_S,
        at_ms=0,
        trips=(what,),
        offsets_s=(0.0,),
        samples=samples,
        complete=complete,
        zone_devices=tuple(DeviceId(device) for device in here),
    )


def rows(capture: Capture) -> list[str]:
    """What the rows are of, in order."""
    return [line[2:36].strip() for line in frozen.table(capture)[3:-1]]


def cells(capture: Capture, row: str) -> list[str]:
    """One text a column, empty where the row has ended."""
    line = next(line for line in frozen.table(capture) if line.startswith(f"  {row} "))
    return [line[36 + 8 * n : 44 + 8 * n].strip() for n in range(len(frozen.COLUMNS_S))]


# ---------------------------------------------------------------- which rows


def test_the_point_that_tripped_is_the_first_row_on_a_site_full_of_gear() -> None:
    gear = [told(f"a-{n:02}", DeviceKind.DRIVE, -1, speed_pct=1.0, amps=2.0) for n in range(30)]
    wall = told("wall-a", DeviceKind.DRIVE, -1, amps=3.0, speed_pct=0.0)
    what = trip("cooling-lost", "cooling lost: wall-a speed_pct is 0, must be above 20")
    shown = rows(story(what, *gear, wall))
    assert shown[:3] == ["wall-a speed_pct", "wall-a amps", "a-00 speed_pct"]
    assert len(shown) == frozen.MOST_ROWS + 1
    assert shown[-1].startswith("… and 38 points more are frozen")


def test_a_contact_names_its_device_and_point() -> None:
    samples = [told(name, DeviceKind.CONTACTS, -1, di__1=0.0, di__2=1.0) for name in ("io-1", "io-10", "aa")]
    shown = rows(story(trip("contact/leak", "leak is active (io-1 di.2)"), *samples))
    assert shown[:3] == ["io-1 di.2", "io-1 di.1", "aa di.1"]
    assert "io-10 di.2" in shown[3:]


def test_a_miners_own_trip_shows_what_it_tripped_on() -> None:
    hot = told("m-1", DeviceKind.MINER, -1, power_w=3000.0, board_temp_max_c=80.0, chip_temp_max_c=85.0)
    probe = told("probe-1", DeviceKind.PROBE, -1, air_temp_c=24.0)
    shown = rows(story(trip("board-temp", "board-temp 80 °C, trip limit 75 °C", "m-1"), probe, hot))
    assert shown[:4] == ["m-1 board_temp_max_c", "m-1 power_w", "m-1 chip_temp_max_c", "probe-1 air_temp_c"]


def test_the_trips_zone_comes_before_other_zones() -> None:
    samples = [told(name, DeviceKind.PROBE, -1, air_temp_c=24.0) for name in ("a", "b", "c")]
    shown = rows(story(trip("all-sensors-bad", "no miner of the zone has told"), *samples, here=("c",)))
    assert shown == ["c air_temp_c", "a air_temp_c", "b air_temp_c"]


def test_a_cap_shows_the_meters_first() -> None:
    fan, meter = (
        told("a-fan", DeviceKind.DRIVE, -1, amps=3.0),
        told("meter-1", DeviceKind.METER, -1, power_w=9.0),
    )
    shown = rows(story(trip("cap/feeder", "feeder 990 W, trip limit 980 W"), fan, meter))
    assert shown == ["meter-1 power_w", "a-fan amps"]


# ---------------------------------------------------------------- no made-up cells


def test_the_future_stays_empty_and_what_is_old_is_unknown() -> None:
    what = trip("cooling-lost", "cooling lost: wall-a speed_pct is 0")
    wall = [told("wall-a", DeviceKind.DRIVE, at_s, speed_pct=80.0 + at_s) for at_s in (-10.0, -1.0, 2.5)]
    old = told("old", DeviceKind.PROBE, -45.0, air_temp_c=24.0)
    young = story(what, *wall, old)
    assert cells(young, "wall-a speed_pct") == ["?", "?", "70", "70", "70", "79", "79", "", "", "", ""]
    assert cells(young, "old air_temp_c")[:4] == ["?", "24", "?", "?"]


def test_a_whole_capture_does_not_carry_a_dead_device_on() -> None:
    what = trip("cooling-lost", "cooling lost: wall-a speed_pct is 0")
    dead = told("wall-a", DeviceKind.DRIVE, 1.0, speed_pct=5.0)
    miner = told("m-1", DeviceKind.MINER, 1.0, chip_temp_max_c=70.0)
    whole = story(what, dead, miner, complete=True)
    assert cells(whole, "wall-a speed_pct")[6:] == ["5", "5", "5", "5", "?"]
    assert cells(whole, "miners that draw power")[6:] == ["1", "1", "1", "1", "?"]


# ---------------------------------------------------------------- orders


class Notes:
    """A journal that somebody writes into."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.folder = folder
        self.journal = Journal(folder / "journal", self.clock, "boot")
        self.recorder = Recorder(self.journal, self.clock)

    def note(self, title: str, after_s: float = 0.0, **data: str) -> None:
        self.clock.advance(after_s)
        zone = HALL if "interlock" in data else None
        key = data.pop("key", "k")
        kind = EventKind.ACTION
        self.recorder.record(
            Finding(kind=kind, severity=Severity.LOW, key=key, title=title, zone=zone, data=dict(data))
        )
        self.journal.flush()

    def explained(self, event: str) -> list[str]:
        lines = explain(self.journal, self.folder / "captures", event)
        assert lines is not None
        return list(lines)


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    found = Notes(tmp_path)
    yield found
    found.journal.close()


def test_an_order_that_lived_for_hours_begins_at_its_beginning(notes: Notes) -> None:
    notes.note("the meter read 900 kW")
    notes.note("ada curtails to 100 kW", 5.0, id="c-1")
    notes.note("something else", 5.0)
    for _ in range(30):
        notes.note("noise", 3 * AROUND_S)
    notes.note("the meter confirmed", 600.0, id="c-1")
    for _ in range(30):
        notes.note("noise", 3 * AROUND_S)
    notes.note("the order ended", 3600.0, id="c-1")
    lines = notes.explained("c-1")
    assert lines[0] == "ada curtails to 100 kW"
    later = lines.index("What became of it:")
    assert "the meter confirmed" in lines[later + 1]
    assert "the order ended" in lines[later + 2]
    around = lines[next(n for n, line in enumerate(lines) if line.startswith("Journal from")) :]
    assert [line.split()[-1] for line in around[1:4]] == ["kW", "kW", "else"]
    assert not any("noise" in line for line in lines)


def test_a_trip_tells_that_a_person_provoked_it(notes: Notes) -> None:
    notes.note(
        "ada proves cooling-lost of zone hall-a for real: yearly", key="proof-test/hall-a", interlock="x"
    )
    notes.note("hall-a tripped", 4.0, key="trip/t-9", interlock="x")
    notes.note("hall-a tripped again", 4.0, key="trip/t-10", interlock="other")
    assert any("from      a proof test: ada proves" in line for line in notes.explained("t-9"))
    assert not any("from      a proof test" in line for line in notes.explained("t-10"))
