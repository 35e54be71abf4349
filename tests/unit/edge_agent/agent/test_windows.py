"""Raw windows: around incidents by themselves, on request, each moment once, within bounds."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from edge_agent.agent.records import Records
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.quota import Pressure
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from edge_agent.agent.windows import AROUND_MS, SETTLE_MS, Windows
from shared.alarms import Event, EventKind, Severity
from shared.clock import ManualClock
from shared.errors import StoreError
from shared.frames import Frame, unpack
from shared.ids import DeviceId
from shared.telemetry import Sample
from shared.wire.envelope import RawWanted
from support.agent import make_site, rollup_row, sweep
from support.outbox import Cloud, drain


class Bench:
    """Ten minutes of raw samples of four miners every two seconds, and a clock at their end."""

    def __init__(self, folder: Path, *, fill: bool = True) -> None:
        self.clock = ManualClock()
        self.start_ms = self.clock.utc_ms() - 600_000
        self.store = Store(folder / FILE_NAME, self.clock, outbox_bytes=2**30)
        self.raw = RawStore(folder / "raw", keep_bytes=2**30, segment_bytes=20_000)
        self.records = Records(self.store, self.raw, Writer(), SiteView(make_site(folder)))
        self.windows = Windows(self.clock, self.records)
        if fill:
            for n in range(300):
                self.raw.append(sweep(1 + 4 * n, self.start_ms + n * 2_000))

    async def once(self) -> bool:
        """One turn, its waits for the rate limit passed over."""
        turn = asyncio.ensure_future(self.windows.once())
        while not turn.done():
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            self.clock.advance(0.5)
        return await turn

    def sent(self) -> list[Sample]:
        cloud = Cloud()
        drain(self.store, cloud)
        self.events = cloud.events()
        found = []
        for batch in cloud.batches:
            if batch.stream == "raw":
                frames = msgspec.msgpack.decode(batch.rows, type=list[Frame])
                samples = [sample for frame in frames for sample in unpack(frame)]
                assert batch.count == len(samples)
                found += samples
        return found

    def trip(self, at_ms: int, *, kind: EventKind = EventKind.TRIPPED, **more: object) -> Event:
        more.setdefault("severity", Severity.URGENT)
        return Event(id=f"{at_ms}", kind=kind, key="trip", at_ms=at_ms, title="x", **more)  # type: ignore[arg-type]  # keyword pass-through


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestAroundEvents:
    async def test_a_trip_brings_its_two_minutes_once_they_are_over(self, bench: Bench) -> None:
        at_ms = bench.clock.utc_ms() - 10_000
        await bench.records.emit(bench.trip(at_ms))
        assert not await bench.once(), "the minute after it is still to come"
        bench.clock.advance((AROUND_MS + SETTLE_MS) / 1000)
        assert await bench.once()
        samples = bench.sent()
        assert {s.at_ms for s in samples} == {
            bench.start_ms + n * 2_000
            for n in range(300)
            if at_ms - AROUND_MS <= bench.start_ms + n * 2_000 < at_ms + AROUND_MS
        }
        assert len(samples) == len({(s.boot, s.seq) for s in samples})
        assert not await bench.once()

    async def test_no_moment_is_sent_twice(self, bench: Bench) -> None:
        first = bench.start_ms + 100_000
        await bench.records.emit(bench.trip(first))
        assert await bench.once()
        await bench.records.emit(bench.trip(first + 30_000), bench.trip(first + 200_000))
        assert await bench.once()
        assert await bench.once()
        samples = bench.sent()
        assert len(samples) == len({(s.boot, s.seq) for s in samples})
        assert max(s.at_ms for s in samples) > first + 200_000

    async def test_windows_that_overlap_become_one(self, bench: Bench) -> None:
        await bench.records.emit(*(bench.trip(bench.start_ms + 100_000 + n * 10_000) for n in range(10)))
        assert await bench.once()
        assert not await bench.once()
        assert len({s.seq for s in bench.sent()}) == 4 * 105

    async def test_high_alarms_count_and_low_ones_and_the_stores_own_do_not(self, bench: Bench) -> None:
        at_ms = bench.start_ms + 100_000
        low = bench.trip(at_ms, kind=EventKind.ALARM, severity=Severity.LOW)
        own = msgspec.structs.replace(bench.trip(at_ms, kind=EventKind.ALARM), key="outbox-full")
        await bench.records.emit(low, own)
        assert not await bench.once()
        await bench.records.emit(bench.trip(at_ms, kind=EventKind.ALARM, severity=Severity.HIGH))
        assert await bench.once()

    async def test_a_restart_in_between_forgets_none(self, tmp_path: Path) -> None:
        before = Bench(tmp_path)
        await before.records.emit(before.trip(before.start_ms + 100_000))
        before.store.close()
        after = Bench(tmp_path, fill=False)
        await after.windows.open()
        assert await after.once()
        assert after.sent()

    async def test_an_event_that_could_not_be_recorded_is_planned_with_the_next(self, bench: Bench) -> None:
        commit, bench.store.commit = bench.store.commit, refuse
        with pytest.raises(StoreError):
            await bench.records.emit(bench.trip(bench.start_ms + 100_000))
        bench.store.commit = commit
        assert await bench.once()

    async def test_an_hour_full_of_alarms_is_bounded(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("edge_agent.agent.windows.BATCH_BYTES", 20_000)
        bench.windows._auto_left = 5_000
        await bench.records.emit(*(bench.trip(bench.start_ms + n * 100_000) for n in range(6)))
        while await bench.once():
            pass
        rows = bench.store.fetch(bench.store.waiting())
        assert 0 < sum(len(row.body) for row in rows if row.stream == "raw") <= 5_000


def refuse(_commit: Commit) -> None:
    raise StoreError("disk full")


class TestRequests:
    async def test_a_request_is_answered_with_its_devices_and_its_time(self, bench: Bench) -> None:
        wanted = RawWanted(
            id="w1",
            from_ms=bench.start_ms + 10_000,
            to_ms=bench.start_ms + 20_000,
            devices=(DeviceId("m02"), DeviceId("m03")),
        )
        await bench.windows.want(wanted)
        assert await bench.once()
        samples = bench.sent()
        assert {(s.device, s.at_ms - bench.start_ms) for s in samples} == {
            (device, at) for device in ("m02", "m03") for at in range(10_000, 20_000, 2_000)
        }
        assert samples == [
            s for n in range(300) for s in sweep(1 + 4 * n, bench.start_ms + n * 2_000) if s in samples
        ]
        [told] = [e for e in bench.events if e.key == "raw-window"]
        assert (told.data["id"], told.data["samples"], told.data["whole"]) == ("w1", 10, True)

    async def test_the_same_id_is_served_once_also_after_a_restart(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        wanted = RawWanted(id="w1", from_ms=bench.start_ms, to_ms=bench.start_ms + 4_000)
        for _ in range(3):
            await bench.windows.want(wanted)
        assert await bench.once()
        assert not await bench.once()
        bench.store.close()
        again = Bench(tmp_path, fill=False)
        await again.windows.open()
        await again.windows.want(wanted)
        assert not await again.once()

    async def test_a_request_that_waited_over_a_restart_is_served(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.windows.want(RawWanted(id="w1", from_ms=bench.start_ms, to_ms=bench.start_ms + 4_000))
        bench.store.close()
        again = Bench(tmp_path, fill=False)
        await again.windows.open()
        assert await again.once()
        assert len(again.sent()) == 8

    async def test_max_bytes_leaves_the_newest_out_and_says_so(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("edge_agent.agent.windows.BATCH_BYTES", 20_000)
        wanted = RawWanted(id="w1", from_ms=bench.start_ms, to_ms=bench.start_ms + 600_000, max_bytes=6_000)
        await bench.windows.want(wanted)
        assert await bench.once()
        rows = bench.store.fetch(bench.store.waiting())
        assert 0 < sum(len(row.body) for row in rows if row.stream == "raw") <= 6_000
        samples = bench.sent()
        assert [s.seq for s in samples] == list(range(1, len(samples) + 1)), "the oldest, without a gap"
        [told] = [e for e in bench.events if e.key == "raw-window"]
        assert told.data["whole"] is False
        assert "6000 bytes" in told.title

    async def test_a_time_that_is_not_kept_is_answered_too(self, bench: Bench) -> None:
        await bench.windows.want(RawWanted(id="w1", from_ms=1, to_ms=2))
        assert await bench.once()
        assert not bench.sent()
        assert "no raw samples are kept" in bench.events[-1].title

    async def test_too_many_requests_are_refused_with_an_answer(self, bench: Bench) -> None:
        for n in range(20):
            await bench.windows.want(RawWanted(id=f"w{n}", from_ms=1, to_ms=2))
        bench.sent()
        assert [e.data["id"] for e in bench.events] == ["w16", "w17", "w18", "w19"]

    async def test_it_waits_while_the_outbox_is_short_of_room(self, bench: Bench) -> None:
        await bench.windows.want(RawWanted(id="w1", from_ms=bench.start_ms, to_ms=bench.start_ms + 4_000))
        bench.store.pressure = Pressure.THINNING
        assert not await bench.once()
        bench.store.pressure = Pressure.NONE
        assert await bench.once()

    async def test_the_rate_is_bounded(self, bench: Bench) -> None:
        await bench.windows.want(RawWanted(id="w1", from_ms=bench.start_ms, to_ms=bench.start_ms + 600_000))
        turn = asyncio.ensure_future(bench.windows.once())
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert not turn.done(), "nothing more before the time for the first batch is over"
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)


async def test_events_of_the_store_reach_the_status_page(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fill=False)
    bench.store.limit_outbox(3_000)
    view = bench.records._view
    for n in range(100):
        await bench.records.commit(Commit(rollups=(rollup_row("m1", bench.start_ms + n * 5_000),)))
    assert "outbox-full" in {event.key for event in view.events}
