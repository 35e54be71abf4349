"""A batch that does not decode any more is given up where it is fetched, and told of; the rest goes on.

SQLite keeps no checksum of a value: a flipped bit in a body opens well and passes every check of the file.
"""

import sqlite3
from pathlib import Path

import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from support.agent import T0, rollup_row
from support.outbox import Cloud, all_explained, drain


def make(folder: Path, *, limit: int = 2**30) -> Store:
    return Store(folder / FILE_NAME, ManualClock(), outbox_bytes=limit)


def filled(folder: Path, steps: int = 5, *, limit: int = 2**30) -> Store:
    store = make(folder, limit=limit)
    for step in range(steps):
        rows = tuple(rollup_row(f"m{n}", T0 + step * 5_000, power_w=step * 100 + n) for n in range(4))
        store.commit(Commit(rollups=rows))
    return store


def spoil(store: Store, row_id: int, *, byte: int = 40) -> None:
    """Flip one bit of a body, as a worn flash does."""
    (body,) = store._db.execute("SELECT body FROM outbox WHERE id = ?", (row_id,)).fetchone()
    bad = bytearray(body)
    bad[byte] ^= 4
    store._db.execute("UPDATE outbox SET body = ? WHERE id = ?", (bytes(bad), row_id))


def test_f07_one_flipped_bit_costs_one_batch_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    ids = store.waiting()
    spoil(store, ids[2])
    assert [row.id for row in store.fetch(ids)] == [*ids[:2], *ids[3:]]
    assert "1 batches are damaged and cannot be sent" in caplog.text
    cloud = Cloud()
    drain(store, cloud)
    all_explained(store, cloud)
    assert [(s.reason, s.first_seq, s.last_seq, s.count) for s in cloud.stones] == [
        ("store damaged", 3, 3, 4)
    ]
    assert not store.waiting()


@pytest.mark.parametrize("byte", range(8, 60, 4))
def test_a_damaged_tombstone_is_told_with_all_that_it_stood_for(tmp_path: Path, byte: int) -> None:
    store = filled(tmp_path)
    store.expire(T0 + 15_000)
    stone = store.waiting()[-1]
    spoil(store, stone, byte=byte)
    cloud = Cloud()
    drain(store, cloud)
    all_explained(store, cloud)
    assert not store.waiting()


def test_a_line_that_names_a_number_never_given_explains_nothing_and_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    ids = store.waiting()
    store._db.execute("UPDATE outbox SET seq = ? WHERE id = ?", (2**40, ids[1]))
    assert [row.id for row in store.fetch(ids)] == [ids[0], *ids[2:]]
    assert "1 batches are damaged and cannot be sent: 0 have tombstones" in caplog.text
    cloud = Cloud()
    drain(store, cloud)
    assert not cloud.stones, "a tombstone for that number would leave a gap that never closes"


def test_what_is_damaged_is_counted_out_of_the_room_that_is_used(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for row_id in store.waiting():
        spoil(store, row_id)
    assert not store.fetch(store.waiting())
    (held,) = store._db.execute("SELECT sum(length(body)) FROM outbox").fetchone()
    assert store.held_bytes == held


def test_a_ledger_that_does_not_say_what_was_sent_takes_all_of_it_for_sent(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.mark_published(store.fetch(store.waiting()[1:3]))
    store.close()
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.execute("UPDATE ledger SET sent = x'c1'")
    db.execute("UPDATE meta SET value = x'c1' WHERE key = 'outbox.minutes'")
    db.commit()
    db.close()
    store = make(tmp_path)
    assert store.expire(T0 + 10**9) == 2, "the first three may be on their way"
