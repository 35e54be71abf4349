"""The outbox is bounded in bytes and in age: what goes first, what stays, and that every gap is explained."""

from pathlib import Path

import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.quota import OutboxFull, Pressure
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from shared.frames import pack
from shared.ids import DeviceId
from shared.telemetry import HistoryRow, RollupRow, ScoreRow
from shared.wire.envelope import Tombstone
from support.agent import T0, rollup_row, some_event, sweep
from support.outbox import Cloud, all_explained, drain

MINUTE = 60_000
START = T0 - T0 % MINUTE


def make_store(folder: Path, *, limit: int) -> Store:
    return Store(folder / FILE_NAME, ManualClock(), outbox_bytes=limit)


def rows(step: int, count: int = 20) -> tuple[RollupRow, ...]:
    return tuple(rollup_row(f"m{n}", START + step * 5_000, power_w=step * 100 + n) for n in range(count))


def fill(store: Store, steps: range, *, miners: int = 20, events: bool = False) -> None:
    for step in steps:
        store.commit(Commit(rollups=rows(step, miners), events=(some_event(step),) if events else ()))


def sent(store: Store) -> Cloud:
    cloud = Cloud()
    drain(store, cloud)
    return cloud


class TestThinning:
    def test_telemetry_becomes_minutes_before_any_of_it_is_dropped(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=60_000)
        fill(store, range(12 * 20))  # 20 minutes of 5-s rows
        assert store.pressure is Pressure.THINNING
        assert store.held_bytes <= 60_000
        cloud = sent(store)
        all_explained(store, cloud)
        assert {stone.reason for stone in cloud.stones} == {"thinned"}
        minutes = [row for row in cloud.rows() if row.step_s == 60]
        fine = [row for row in cloud.rows() if row.step_s == 5]
        assert minutes
        assert fine
        assert max(row.at_ms for row in minutes) < min(row.at_ms for row in fine), "the oldest first"
        told = {(row.device, row.at_ms // MINUTE) for row in (*minutes, *fine)}
        assert len(told) == 20 * 20, "no device misses a minute"
        keys = [(row.device, row.at_ms, row.step_s) for row in cloud.rows()]
        assert len(keys) == len(set(keys))

    def test_a_long_outage_leaves_few_tombstones(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=60_000)
        fill(store, range(12 * 60))
        cloud = sent(store)
        all_explained(store, cloud)
        assert 1 <= len(cloud.stones) <= 12

    def test_what_may_be_on_its_way_is_never_thinned(self, tmp_path: Path) -> None:
        """Nor is the rest of its minute, which would take the time of a row that the cloud has already."""
        store = make_store(tmp_path, limit=60_000)
        fill(store, range(24))
        out = store.fetch(store.waiting()[:6])
        store.mark_published(out)
        fill(store, range(24, 12 * 20))
        cloud = Cloud()
        for row in out:  # they arrive late, after everything was thinned
            cloud.take(row.body)
        drain(store, cloud)
        all_explained(store, cloud)
        assert {row.at_ms for row in cloud.rows() if row.step_s == 5} >= {
            START + n * 5_000 for n in range(12)
        }
        minutes = {row.at_ms for row in cloud.rows() if row.step_s == 60}
        assert START + MINUTE in minutes
        assert START not in minutes

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_minute_of_which_something_was_acked_is_never_thinned(
        self, tmp_path: Path, restarted: bool
    ) -> None:
        store, cloud = make_store(tmp_path, limit=60_000), Cloud()
        fill(store, range(1))
        drain(store, cloud)
        fill(store, range(1, 24))
        if restarted:
            store.close()
            store = make_store(tmp_path, limit=60_000)
        fill(store, range(24, 12 * 20))
        drain(store, cloud)
        all_explained(store, cloud)
        minutes = {row.at_ms for row in cloud.rows() if row.step_s == 60}
        assert START + MINUTE in minutes
        assert START not in minutes

    def test_a_minute_in_which_the_agent_started_becomes_one_row(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=60_000)
        fill(store, range(6))
        store.close()
        again = make_store(tmp_path, limit=60_000)
        fill(again, range(6, 12 * 20))
        cloud = sent(again)
        all_explained(again, cloud)
        first = [row for row in cloud.rows() if row.at_ms == START]
        assert len(first) == 20, "one row per device"
        assert {(row.step_s, row.samples) for row in first} == {(60, 12 * 2)}

    def test_minutes_that_stay_as_they_are_do_not_end_the_thinning_of_later_ones(
        self, tmp_path: Path
    ) -> None:
        store = make_store(tmp_path, limit=10**9)
        fill(store, range(12 * 40))
        store.mark_published(store.fetch(store.waiting()[: 12 * 15]))
        store.limit_outbox(store.held_bytes // 2)
        fill(store, range(12 * 40, 12 * 41))
        assert store.pressure is Pressure.THINNING

    def test_thinned_rows_keep_their_place_in_the_backlog(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=60_000)
        fill(store, range(24))
        backlog = store.waiting()
        fill(store, range(24, 12 * 20))
        assert store.fetch(backlog[:1]), "whoever had the old id in his list finds the minutes there"
        assert not store.fetch(backlog[1:12])

    def test_earlier_openings_are_thinned_without_a_new_number_of_theirs(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=10**9)
        fill(store, range(12 * 10))
        old = store.epoch
        store.close()
        again = make_store(tmp_path, limit=60_000)
        fill(again, range(12 * 10, 12 * 20))
        cloud = sent(again)
        all_explained(again, cloud)
        assert {seq for b in cloud.batches if b.epoch == old for seq in [b.seq]} <= set(range(1, 121))
        assert not [stone for stone in cloud.stones if stone.epoch == old]
        assert old in {stone.of_epoch for stone in cloud.stones}

    def test_rows_of_a_minute_are_not_thinned_but_dropped(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=20_000)
        for step in range(60):
            minute = tuple(
                RollupRow(
                    device=row.device,
                    at_ms=START + step * MINUTE,
                    step_s=60,
                    samples=6,
                    failed=0,
                    quality=row.quality,
                    values=row.values,
                )
                for row in rows(step)
            )
            store.commit(Commit(rollups=minute))
        assert store.pressure is Pressure.DROPPING
        cloud = sent(store)
        all_explained(store, cloud)
        assert {stone.reason for stone in cloud.stones} == {"outbox full"}


class TestOrder:
    def test_raw_history_and_scores_go_before_telemetry(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=60_000)
        for number in range(10):
            store.commit(
                Commit(
                    rollups=rows(number, 2),
                    raw=(pack(sweep(1 + 40 * number, START, miners=40)),),
                    history=tuple(
                        HistoryRow(device=DeviceId("m1"), at_ms=START + n, power_w=1.0 + n * number)
                        for n in range(40)
                    ),
                    scores=(score(number),),
                )
            )
        raw_held = store.held_bytes
        fill(store, range(12 * 20))
        cloud = sent(store)
        all_explained(store, cloud)
        assert raw_held < 60_000
        assert cloud.explained("raw") == 400, "counted in samples"
        assert cloud.explained("hist") == 400
        assert {stone.reason for stone in cloud.stones if stone.stream == "rollup"} == {"thinned"}

    def test_raw_goes_before_history_and_history_before_scores(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=12_000)
        store.commit(Commit(scores=(score(1),)))
        store.commit(Commit(history=(HistoryRow(device=DeviceId("m1"), at_ms=START),)))
        for number in range(30):
            store.commit(Commit(raw=(pack(sweep(1 + 4 * number, START + number * 2_000)),)))
        cloud = sent(store)
        all_explained(store, cloud)
        assert {stone.stream for stone in cloud.stones} == {"raw"}

    def test_events_are_never_dropped(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=90_000)
        fill(store, range(300), events=True)
        cloud = sent(store)
        all_explained(store, cloud)
        assert [e.id for e in cloud.events() if e.id.startswith("event-")] == [
            f"event-{n}" for n in range(300)
        ]

    def test_events_alone_may_use_the_reserve_and_are_refused_beyond_it(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=20_000)
        taken = take_until_full(store)
        assert store.pressure is Pressure.EVENTS
        assert 20_000 < store.held_bytes <= 25_500
        store.commit(Commit(rollups=rows(5_000, 1)))
        cloud = sent(store)
        all_explained(store, cloud)
        assert sum(e.id.startswith("event-") for e in cloud.events()) == taken, (
            "those that were taken are all there"
        )
        alarms = [e for e in cloud.events() if e.key == "outbox-full"]
        assert [e.data["level"] for e in alarms] == sorted(e.data["level"] for e in alarms)
        assert alarms[-1].severity == "urgent"


def take_until_full(store: Store) -> int:
    """Rows and an event per commit; how many were taken until one was refused."""
    for number in range(1_000):
        try:
            store.commit(Commit(rollups=rows(number, 1), events=(some_event(number),)))
        except OutboxFull:
            return number
    raise AssertionError("nothing was refused")


class TestAlarm:
    def test_it_is_raised_once_survives_a_restart_and_is_cleared_when_half_is_free(
        self, tmp_path: Path
    ) -> None:
        store = make_store(tmp_path, limit=60_000)
        fill(store, range(12 * 20))
        store.close()
        store = make_store(tmp_path, limit=60_000)
        assert store.pressure == Pressure.THINNING
        fill(store, range(12 * 20, 12 * 21))
        cloud = sent(store)
        assert [e.kind for e in cloud.events()] == ["alarm"]
        fill(store, range(12 * 21, 12 * 21 + 1))
        drain(store, cloud)
        assert [e.kind for e in cloud.events()] == ["alarm", "alarm-cleared"]
        assert store.pressure == Pressure.NONE


class TestAge:
    def test_what_is_too_old_goes_with_a_tombstone_and_events_stay(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=10**9)
        fill(store, range(10), events=True)
        assert store.expire(START + 25_000) == 5
        assert store.expire(START + 25_000) == 0
        cloud = sent(store)
        all_explained(store, cloud)
        assert [(s.reason, s.count) for s in cloud.stones] == [("too old", 100)]
        assert len(cloud.events()) == 10

    def test_what_may_be_on_its_way_does_not_hide_what_is_too_old_behind_it(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, limit=10**9)
        fill(store, range(600), miners=1)
        store.mark_published(store.fetch(store.waiting()[:300]))
        assert store.expire(START + 10**9) == 256
        assert store.expire(START + 10**9) == 44
        assert len(store.waiting()) == 300 + 1, "what may be on its way stays, and the tombstone"

    def test_a_tombstone_covers_no_number_that_is_still_here(self, tmp_path: Path) -> None:
        """The ack for such a tombstone would take a batch away that nobody has."""
        store = make_store(tmp_path, limit=10**9)
        for step in (0, 50, 1, 51, 2, 52):  # the wall clock was set back and forth
            store.commit(Commit(rollups=rows(step, 2)))
        store.expire(START + 100_000)
        cloud = Cloud()
        stones = [i for i in store.waiting() if i > 6]
        drain(store, cloud, ids=stones)
        assert len(store.waiting()) == 3
        drain(store, cloud)
        all_explained(store, cloud)


def test_a_rolled_back_commit_leaves_no_trace_of_what_it_would_have_dropped(tmp_path: Path) -> None:
    store = make_store(tmp_path, limit=60_000)
    fill(store, range(12 * 20))
    before = (store.held_bytes, store.waiting())
    with pytest.raises(Exception, match="NOT NULL"):
        store.commit(Commit(rollups=rows(999, 600), meta={"key": None}))  # type: ignore[dict-item]  # on purpose
    assert (store.held_bytes, store.waiting()) == before
    fill(store, range(12 * 20, 12 * 30))
    cloud = sent(store)
    all_explained(store, cloud)


def test_the_file_gives_back_what_it_does_not_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.agent.store.database._KEEP_FREE", 16)
    store = make_store(tmp_path, limit=10**9)
    fill(store, range(200), miners=200)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full = (tmp_path / FILE_NAME).stat().st_size
    drain(store, Cloud())
    store.forget_rollups_before(START + 10**9, steps=10_000)
    while store.shrink(1_000):
        pass
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / FILE_NAME).stat().st_size < full / 3


def score(number: int) -> ScoreRow:
    return ScoreRow(
        device=DeviceId("m1"), at_ms=START, model="m", version=1, score=number, threshold=1, top_feature="x"
    )


def test_a_tombstone_of_an_earlier_epoch_names_it() -> None:
    stone = Tombstone(
        epoch="b", stream="rollup", seq=1, first_seq=1, last_seq=2, from_ms=0, to_ms=1, count=3, reason="x"
    )
    assert stone.of_epoch is None
