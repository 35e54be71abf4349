"""What goes by its age, and that a wrong clock deletes nothing (F28)."""

from pathlib import Path

import pytest

from edge_agent.agent.housekeeping import KEEP_ROLLUPS_S, Calendar, Housekeeping, keep_days
from edge_agent.agent.records import Records
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from shared.clock import ManualClock
from shared.ids import DeviceId
from shared.telemetry import DeviceKind
from support.agent import make_site, rollup_row, sweep

DAY_S = 86_400


class Bench:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = Store(folder / FILE_NAME, self.clock, outbox_bytes=2**30)
        self.raw = RawStore(folder / "raw", keep_bytes=2**30, segment_bytes=1)
        self.view = SiteView(make_site(folder))
        records = Records(self.store, self.raw, Writer(), self.view)
        self.keeping = Housekeeping(self.clock, records, self.view)
        now_ms = self.clock.utc_ms()
        for number in range(3):
            self.store.commit(Commit(rollups=(rollup_row("m1", now_ms + number),)))
            self.raw.append(sweep(1 + 4 * number, now_ms + number))

    @property
    def steps(self) -> int:
        return len(list(self.store.rollups_since(0)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_what_is_too_old_goes(bench: Bench) -> None:
    bench.clock.advance(KEEP_ROLLUPS_S + 10)
    await bench.keeping.once()
    assert bench.steps == 0
    assert len(bench.raw.files()) == 3, "raw frames are kept for fourteen days"
    assert len(bench.store.waiting()) == 3
    bench.clock.advance(8 * DAY_S)
    await bench.keeping.once()
    assert not bench.raw.files()
    assert len(bench.store.waiting()) == 3, "and what the cloud has not got for ninety"
    bench.clock.advance(90 * DAY_S)
    await bench.keeping.once()
    assert len(bench.store.waiting()) == 1, "a tombstone"


async def test_the_longest_time_that_a_device_of_a_kind_asks_for_counts(bench: Bench) -> None:
    bench.view.keep_days = {DeviceId("m01"): 30.0, DeviceId("m02"): 2.0, DeviceId("probe"): 3.0}
    found = keep_days(14.0, bench.view)
    assert (found[DeviceKind.MINER], found[DeviceKind.PROBE], found[DeviceKind.METER]) == (30.0, 3.0, 14.0)
    bench.clock.advance(20 * DAY_S)
    await bench.keeping.once()
    assert len(bench.raw.files()) == 3
    bench.clock.advance(11 * DAY_S)
    await bench.keeping.once()
    assert not bench.raw.files()


async def test_f28_a_clock_that_jumps_deletes_nothing(bench: Bench) -> None:
    bench.clock.advance(2 * 3600)
    await bench.keeping.once()
    bench.clock.step_wall(400 * DAY_S * 1000)
    await bench.keeping.once()
    bench.clock.advance(3600)
    await bench.keeping.once()
    assert bench.steps == 3
    assert len(bench.raw.files()) == 3
    bench.clock.step_wall(-400 * DAY_S * 1000)
    bench.clock.advance(2 * DAY_S)
    await bench.keeping.once()
    assert bench.steps == 3
    assert len(bench.raw.files()) == 3


def test_a_clock_must_have_gone_on_by_itself_first() -> None:
    clock = ManualClock()
    calendar = Calendar(clock)
    assert calendar.now_ms() is None
    clock.advance(3601)
    assert calendar.now_ms() == clock.utc_ms()
    clock.step_wall(3_600_000)
    assert calendar.now_ms() is None
    clock.advance(DAY_S - 10)
    assert calendar.now_ms() is None
    clock.advance(20)
    assert calendar.now_ms() == clock.utc_ms()
