"""F07: a store that is damaged in any way is set aside, what opens of it is saved, the rest is told."""

import random
import sqlite3
from pathlib import Path

import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.opening import FILE_NAME, Opened, open_store
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.store.salvage import salvage
from shared.clock import ManualClock
from shared.wire.envelope import Ack
from support.agent import T0, rollup_row, some_event
from support.outbox import Cloud, drain

CLOCK = ManualClock()
PAGE = 4096
STEPS = 120


def make(folder: Path) -> str:
    """A store with roll-ups, events and values, a third of it acked; returns its epoch."""
    store = Store(folder / FILE_NAME, CLOCK, outbox_bytes=2**30)
    for step in range(STEPS):
        rows = tuple(rollup_row(f"m{n}", T0 + step * 5_000, power_w=step * 100 + n) for n in range(40))
        events = (some_event(step),) if step % 10 == 0 else ()
        store.commit(Commit(rollups=rows, events=events, meta={"cursor": b"%d" % step}))
    first = store.waiting()[:60]
    drain(store, Cloud(), ids=first)
    epoch = store.epoch
    store.close()
    return epoch


def reopen(folder: Path) -> Opened:
    return open_store(folder, CLOCK, outbox_bytes=2**30)


def pages_of(path: Path, table: str) -> list[int]:
    """Leaf pages of a table, found by what stands in them."""
    data = path.read_bytes()
    marks = {"outbox": b"rollup", "meta": b"cursor"}
    return [n for n in range(1, len(data) // PAGE) if marks[table] in data[n * PAGE : (n + 1) * PAGE]]


def whole(folder: Path) -> set[str]:
    """Every batch that waits in a sound copy."""
    db = sqlite3.connect(folder / FILE_NAME)
    found = {f"{e}/{s}/{n}" for e, s, n in db.execute("SELECT epoch, stream, seq FROM outbox")}
    db.close()
    return found


def test_f07_a_zeroed_page_costs_what_stood_on_it_and_nothing_else(tmp_path: Path) -> None:
    epoch = make(tmp_path)
    before = whole(tmp_path)
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    page = random.Random(3).choice(pages_of(path, "outbox"))
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    opened = reopen(tmp_path)
    assert opened.quarantined is not None
    assert opened.salvaged is not None
    cloud = Cloud()
    drain(opened.store, cloud)
    after = {f"{b.epoch}/{b.stream}/{b.seq}" for b in cloud.batches}
    assert after < before
    assert len(after) > len(before) * 0.8
    assert opened.store.meta("cursor") == b"%d" % (STEPS - 1)
    covered = cloud.covered((epoch, "rollup"))
    lost = {int(name.rsplit("/")[-1]) for name in before - after}
    assert all(number in covered for number in lost), "each batch that is gone has its tombstone"
    assert {stone.reason for stone in cloud.stones} == {"store damaged"}
    assert {stone.of_epoch for stone in cloud.stones} == {epoch}
    assert opened.store.epoch != epoch


@pytest.mark.parametrize("seed", range(6))
def test_f07_flipped_bytes_anywhere_never_stop_the_start(tmp_path: Path, seed: int) -> None:
    make(tmp_path)
    before = whole(tmp_path)
    path = tmp_path / FILE_NAME
    dice = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(400):
        data[dice.randrange(100, len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    opened = reopen(tmp_path)
    cloud = Cloud()
    drain(opened.store, cloud)
    assert {f"{b.epoch}/{b.stream}/{b.seq}" for b in cloud.batches} <= before
    for batch in cloud.batches:
        assert batch.count >= 1, "and every one of them decodes"
    opened.store.commit(Commit(rollups=(rollup_row("m1", T0),)))
    drain(opened.store, cloud)
    assert (opened.store.epoch, "rollup") in cloud.received


def test_f07_a_truncated_wal_is_an_older_state_and_no_damage(tmp_path: Path) -> None:
    store = Store(tmp_path / FILE_NAME, CLOCK, outbox_bytes=2**30)
    for step in range(20):
        store.commit(Commit(rollups=(rollup_row("m1", T0 + step),), meta={"cursor": b"%d" % step}))
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        (copy / (FILE_NAME + suffix)).write_bytes((tmp_path / (FILE_NAME + suffix)).read_bytes())
    wal = copy / (FILE_NAME + "-wal")
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2 + 100])
    opened = reopen(copy)
    assert opened.quarantined is None
    cursor = int(opened.store.meta("cursor") or b"-1")
    assert 0 <= cursor < 19
    assert len(opened.store.waiting()) == cursor + 1, "rows and cursor are of one moment"
    store.close()


def test_f07_a_destroyed_wal_header_costs_the_wal_only(tmp_path: Path) -> None:
    make(tmp_path)
    before = whole(tmp_path)
    (tmp_path / (FILE_NAME + "-wal")).write_bytes(b"\x00\xff" * 5_000)
    opened = reopen(tmp_path)
    cloud = Cloud()
    drain(opened.store, cloud)
    assert {f"{b.epoch}/{b.stream}/{b.seq}" for b in cloud.batches} == before


@pytest.mark.parametrize("part", [0, 10, 100, 50_000])
def test_f07_a_file_that_was_cut_short(tmp_path: Path, part: int) -> None:
    make(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:part])
    opened = reopen(tmp_path)
    opened.store.commit(Commit(rollups=(rollup_row("m1", T0),)))
    assert opened.store.waiting()
    assert part == 0 or opened.quarantined is not None


def test_acks_for_salvaged_batches_are_believed(tmp_path: Path) -> None:
    epoch = make(tmp_path)
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    page = pages_of(path, "outbox")[-1]
    data[page * PAGE : (page + 1) * PAGE] = b"\x5a" * PAGE
    path.write_bytes(data)
    opened = reopen(tmp_path)
    store = opened.store
    rows = [row for row in store.fetch(store.waiting()) if row.epoch == epoch]
    assert rows
    store.mark_published(rows)
    outcome = store.apply_acks([Ack(epoch=epoch, stream="rollup", upto=10_000)])
    assert not outcome.refused
    assert not [row for row in store.fetch(store.waiting()) if (row.epoch, row.stream) == (epoch, "rollup")]


def test_a_restored_copy_uses_no_number_twice(tmp_path: Path) -> None:
    """The original went on after the copy was made; both talk to the same cloud."""
    cloud = Cloud()
    store = Store(tmp_path / FILE_NAME, CLOCK, outbox_bytes=2**30)
    for step in range(10):
        store.commit(Commit(rollups=(rollup_row("m1", T0 + 5_000 * step, power_w=step),)))
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old = (tmp_path / FILE_NAME).read_bytes()
    for step in range(10, 20):
        store.commit(Commit(rollups=(rollup_row("m1", T0 + 5_000 * step, power_w=step),)))
    drain(store, cloud)
    store.close()
    for name in (FILE_NAME, FILE_NAME + "-wal", FILE_NAME + "-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / FILE_NAME).write_bytes(old)
    restored = Store(tmp_path / FILE_NAME, CLOCK, outbox_bytes=2**30)
    for step in range(20, 25):
        restored.commit(Commit(rollups=(rollup_row("m1", T0 + 5_000 * step, power_w=step),)))
    assert restored.expire(T0 + 25_000) == 5, "and it gives some of the old ones up"
    drain(restored, cloud)
    told = [row.value("power_w_mean") for row in cloud.rows()]
    assert sorted(told) == [float(n) for n in range(25)], "each row once, whatever the copy sent again"
    [stone] = cloud.stones
    assert (stone.epoch, stone.of_epoch) == (restored.epoch, store.epoch)


def test_what_was_sent_before_the_damage_is_neither_thinned_nor_dropped_after_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    old = Store(source / FILE_NAME, CLOCK, outbox_bytes=2**30)
    for step in range(50):
        old.commit(Commit(rollups=(rollup_row("m1", T0 + step * 5_000),)))
    sent = old.waiting()[20:30]
    old.mark_published(old.fetch(sent))
    old.close()
    fresh = Store(tmp_path / FILE_NAME, CLOCK, outbox_bytes=2**30)
    salvage(source / FILE_NAME, fresh)
    assert fresh.expire(T0 + 10**9) == 40
    assert set(sent) <= set(fresh.waiting())
