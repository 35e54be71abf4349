"""The store: acks, priorities, quota with tombstones, epochs, damage."""

import sqlite3
from pathlib import Path

import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.opening import FILE_NAME, open_store
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from shared.errors import StoreError
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Ack, Batch, Tombstone
from support.agent import T0, rollup_row, some_event

CLOCK = ManualClock()


def make_store(folder: Path, *, outbox_bytes: int = 2**30) -> Store:
    return Store(folder / FILE_NAME, CLOCK, outbox_bytes=outbox_bytes)


def rows(step: int, count: int = 3) -> tuple[RollupRow, ...]:
    return tuple(rollup_row(f"m{n}", T0 + step * 5_000, power_w=step * 100 + n) for n in range(count))


def publish_all(store: Store) -> list[Batch | Tombstone]:
    found = store.fetch(store.waiting())
    store.mark_published(found)
    return [codec.decode(row.body, Batch | Tombstone) for row in found]  # type: ignore[arg-type]  # a union is fine


class TestAcks:
    def test_only_what_an_ack_covers_leaves(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        for step in range(5):
            store.commit(Commit(rollups=rows(step)))
        publish_all(store)
        ack = Ack(epoch=store.epoch, stream="rollup", upto=2, ranges=((4, 4),))
        outcome = store.apply_acks([ack])
        assert len(outcome.deleted) == 3
        assert [row.seq for row in store.fetch(store.waiting())] == [3, 5]
        assert store.totals()["rollup"].acked == 3
        assert not store.apply_acks([ack]).deleted, "the same ack again changes nothing"
        assert store.totals()["rollup"].acked == 3

    def test_an_ack_above_the_highest_published_number_is_refused(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1)))
        store.commit(Commit(rollups=rows(2)))
        store.mark_published(store.fetch(store.waiting()[:1]))
        for ack in (
            Ack(epoch=store.epoch, stream="rollup", upto=2),
            Ack(epoch=store.epoch, stream="rollup", upto=0, ranges=((1, 1), (2, 2))),
        ):
            outcome = store.apply_acks([ack])
            assert not outcome.deleted
            assert "only 1 was ever published" in outcome.refused[0].why
        assert len(store.waiting()) == 2

    def test_a_restored_file_lets_go_of_what_the_cloud_has_long_had(self, tmp_path: Path) -> None:
        """The cloud's ack covers more of the old epoch than this copy ever published."""
        store = make_store(tmp_path)
        for step in (1, 2):
            store.commit(Commit(rollups=rows(step)))
        store.mark_published(store.fetch(store.waiting()[:1]))
        old = store.epoch
        store.close()
        restored = make_store(tmp_path)
        outcome = restored.apply_acks([Ack(epoch=old, stream="rollup", upto=0, ranges=((1, 40), (60, 70)))])
        assert not outcome.refused
        assert len(outcome.deleted) == 1
        assert len(restored.waiting()) == 1, "what this copy never published stays"

    def test_a_refused_ack_takes_no_good_one_with_it(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1)))
        publish_all(store)
        foreign = Ack(epoch="elsewhere", stream="rollup", upto=1)
        outcome = store.apply_acks([foreign, Ack(epoch=store.epoch, stream="rollup", upto=1)])
        assert len(outcome.deleted) == 1
        assert "never had" in outcome.refused[0].why

    def test_the_published_mark_survives_a_restart(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1)))
        publish_all(store)
        old = store.epoch
        store.close()
        again = make_store(tmp_path)
        assert again.apply_acks([Ack(epoch=old, stream="rollup", upto=1)]).deleted
        assert again.all_epochs()["rollup"].recorded_rows == 3


class TestOutbox:
    def test_ids_of_acked_rows_are_never_given_out_again(self, tmp_path: Path) -> None:
        """A lane remembers the id it has come to; a re-used id would never be sent."""
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1)))
        [first] = store.waiting()
        publish_all(store)
        store.apply_acks([Ack(epoch=store.epoch, stream="rollup", upto=1)])
        store.commit(Commit(rollups=rows(2)))
        assert store.waiting(above=first)

    def test_events_come_first_and_newest_first_where_asked(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        for step in range(2):
            store.commit(Commit(rollups=rows(step), events=(some_event(step),)))
        newest = [(r.stream, r.seq) for r in store.fetch(store.waiting(newest=True))]
        oldest = [(r.stream, r.seq) for r in store.fetch(store.waiting())]
        assert newest == [("ev", 2), ("ev", 1), ("rollup", 2), ("rollup", 1)]
        assert oldest == [("ev", 1), ("ev", 2), ("rollup", 1), ("rollup", 2)]

    def test_each_opening_has_its_own_epoch_and_old_rows_keep_theirs(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1)))
        old = store.epoch
        store.close()
        again = make_store(tmp_path)
        again.commit(Commit(rollups=rows(2)))
        assert again.epoch != old
        assert [(r.epoch, r.seq) for r in again.fetch(again.waiting())] == [(old, 1), (again.epoch, 1)]

    def test_a_large_step_becomes_several_batches(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1, count=4_500)))
        batches = publish_all(store)
        assert [batch.count for batch in batches] == [2_000, 2_000, 500]
        assert sum(len(frame) for frame in store.rollups_since(0)) == 4_500

    def test_a_commit_is_all_or_nothing(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        with pytest.raises(StoreError):
            store.commit(Commit(rollups=rows(1), meta={"key": None}))  # type: ignore[dict-item]  # on purpose
        assert not store.waiting()
        assert not list(store.rollups_since(0))
        assert store.held_bytes == 0

    def test_old_rollups_go_and_the_outbox_stays(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        for step in range(4):
            store.commit(Commit(rollups=rows(step)))
        assert store.forget_rollups_before(T0 + 10_000) == 2
        assert {row.at_ms for frame in store.rollups_since(0) for row in frame} == {T0 + 10_000, T0 + 15_000}
        assert len(store.waiting()) == 4


class TestDamage:
    def test_a_damaged_file_is_set_aside_and_a_fresh_one_begins(self, tmp_path: Path) -> None:
        opened = open_store(tmp_path, CLOCK, outbox_bytes=2**20)
        for step in range(200):
            opened.store.commit(Commit(rollups=rows(step, 20)))
        opened.store.close()
        path = tmp_path / FILE_NAME
        data = bytearray(path.read_bytes())
        data[4096 : len(data) // 2] = b"\x5a" * (len(data) // 2 - 4096)
        path.write_bytes(data)
        again = open_store(tmp_path, CLOCK, outbox_bytes=2**20)
        assert again.quarantined is not None
        assert again.quarantined.read_bytes()[4096:] == bytes(data[4096:]), "what was there can be salvaged"
        assert again.why
        again.store.commit(Commit(rollups=rows(1)))
        assert len(again.store.waiting()) == 1
        assert again.store.epoch != opened.store.epoch

    def test_something_that_is_no_database_is_set_aside_too(self, tmp_path: Path) -> None:
        (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be looked at" * 100)
        opened = open_store(tmp_path, CLOCK, outbox_bytes=2**20)
        assert opened.quarantined is not None
        assert not opened.store.waiting()

    @pytest.mark.parametrize(
        "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_SHMSIZE], ids=str
    )
    def test_a_sound_file_stays_in_place_when_it_cannot_be_opened_now(
        self, tmp_path: Path, code: int
    ) -> None:
        """A full disk at start must not cost the outbox and the counters against replay."""
        store = make_store(tmp_path)
        store.commit(Commit(rollups=rows(1)))
        store.close()

        def refuse(_path: Path) -> sqlite3.Connection:
            error = sqlite3.OperationalError("not now")
            error.sqlite_errorcode = code
            raise error

        with pytest.raises(StoreError):
            open_store(tmp_path, CLOCK, outbox_bytes=2**20, connect=refuse)
        again = open_store(tmp_path, CLOCK, outbox_bytes=2**20)
        assert again.quarantined is None
        assert len(again.store.waiting()) == 1

    def test_a_file_that_somebody_else_holds_is_not_set_aside(self, tmp_path: Path) -> None:
        make_store(tmp_path).close()
        holder = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError):
            open_store(
                tmp_path, CLOCK, outbox_bytes=2**20, connect=lambda path: sqlite3.connect(path, timeout=0.0)
            )
        holder.close()
        assert [path.name for path in tmp_path.glob("*corrupt*")] == []

    def test_a_folder_that_cannot_be_written_is_an_error_and_not_a_loop(self, tmp_path: Path) -> None:
        (tmp_path / FILE_NAME).mkdir()
        with pytest.raises(StoreError):
            Store(tmp_path / FILE_NAME, CLOCK, outbox_bytes=2**20)

    def test_settings_that_durability_rests_on(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        assert store._one("PRAGMA synchronous") == 2
        assert store._one("PRAGMA journal_mode") == "wal"
        assert store._one("PRAGMA auto_vacuum") == 2
