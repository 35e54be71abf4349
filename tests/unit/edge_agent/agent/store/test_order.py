"""The order of events: it never falls on one site, whatever its wall clock does."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.store.database import ORDER_KEY, Store
from edge_agent.agent.store.opening import FILE_NAME, open_store
from edge_agent.agent.store.rows import Commit
from shared.alarms import Event
from shared.clock import ManualClock
from shared.errors import StoreError
from support.agent import rollup_row, some_event
from support.outbox import Cloud, drain

HOUR_MS = 3_600_000


def open_at(folder: Path, clock: ManualClock, *, outbox_bytes: int = 2**30) -> Store:
    return Store(folder / FILE_NAME, clock, outbox_bytes=outbox_bytes)


def sent(store: Store) -> list[Event]:
    """The events that wait in the store, in the order of their batches."""
    cloud = Cloud()
    drain(store, cloud)
    return cloud.events()


def test_a_fresh_store_begins_at_the_wall_clock(tmp_path: Path) -> None:
    clock = ManualClock()
    store = open_at(tmp_path, clock)
    store.commit(Commit(events=(some_event(1),)))
    assert [event.order for event in sent(store)] == [clock.utc_ms()]


def test_events_of_one_commit_keep_their_order(tmp_path: Path) -> None:
    """A page of the guardian's journal is one commit; its entries' own times say nothing."""
    store = open_at(tmp_path, ManualClock())
    store.commit(Commit(events=tuple(some_event(number) for number in (3, 1, 2))))
    found = sent(store)
    assert [event.id for event in sorted(found, key=lambda event: event.order)] == [
        "event-3",
        "event-1",
        "event-2",
    ]


@given(st.lists(st.integers(-3 * HOUR_MS, 3 * HOUR_MS), min_size=1, max_size=20))
def test_the_order_rises_whatever_the_wall_clock_does(steps_ms: list[int]) -> None:
    clock = ManualClock()
    store = Store(Path(":memory:"), clock, outbox_bytes=2**30)
    walls = []
    for number, step_ms in enumerate(steps_ms):
        clock.step_wall(step_ms)
        walls.append(clock.utc_ms())
        store.commit(Commit(events=(some_event(2 * number), some_event(2 * number + 1))))
    orders = [event.order for event in sent(store)]
    assert orders == sorted(set(orders))
    assert all(order >= wall for order, wall in zip(orders[::2], walls, strict=True))
    store.close()


def test_the_order_survives_a_restart_with_the_clock_set_back(tmp_path: Path) -> None:
    clock = ManualClock()
    store = open_at(tmp_path, clock)
    store.commit(Commit(events=(some_event(1),)))
    (before,) = sent(store)
    store.close()
    clock.step_wall(-HOUR_MS)
    store = open_at(tmp_path, clock)
    store.commit(Commit(events=(some_event(2),)))
    assert [event.order for event in sent(store)] == [before.order + 1]


def test_what_a_failed_commit_gave_out_is_given_out_again(tmp_path: Path) -> None:
    store = open_at(tmp_path, ManualClock())
    store.commit(Commit(events=(some_event(1),)))
    (first,) = sent(store)
    with pytest.raises(StoreError):
        store.commit(Commit(events=(some_event(2),), meta={"bad": None}))  # type: ignore[dict-item]  # on purpose
    store.commit(Commit(events=(some_event(3),)))
    assert [event.order for event in sent(store)] == [first.order + 1]


def test_what_the_store_itself_has_to_say_stands_in_the_same_order(tmp_path: Path) -> None:
    clock = ManualClock()
    store = open_at(tmp_path, clock, outbox_bytes=20_000)
    store.commit(Commit(events=(some_event(1),)))
    clock.step_wall(-HOUR_MS)
    at_ms = clock.utc_ms()
    while not (told := store.commit(Commit(rollups=(rollup_row("m1", at_ms, power_w=1.0),))).events):
        at_ms += 5_000
    found = {event.id: event.order for event in sent(store)}
    assert found[told[0].id] == found["event-1"] + 1


@pytest.mark.parametrize("value", [b"nothing", b"-5", b"99999999999999999999"])
def test_a_value_that_is_no_order_stops_no_event(tmp_path: Path, value: bytes) -> None:
    """It may come out of a damaged file."""
    clock = ManualClock()
    store = open_at(tmp_path, clock)
    store.commit(Commit(meta={ORDER_KEY: value}))
    store.commit(Commit(events=(some_event(1),)))
    assert [event.order for event in sent(store)] == [clock.utc_ms()]


def test_a_salvaged_store_goes_on_where_the_damaged_one_was(tmp_path: Path) -> None:
    clock = ManualClock()
    store = open_at(tmp_path, clock)
    for number in range(200):
        store.commit(Commit(events=(some_event(number),)))
    last = max(event.order for event in sent(store))
    store.close()
    db = sqlite3.connect(tmp_path / FILE_NAME)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'rollup'").fetchone()
    db.close()
    data = bytearray((tmp_path / FILE_NAME).read_bytes())
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    (tmp_path / FILE_NAME).write_bytes(data)
    clock.step_wall(-HOUR_MS)
    opened = open_store(tmp_path, clock, outbox_bytes=2**30)
    assert opened.quarantined is not None
    opened.store.commit(Commit(events=(some_event(999),)))
    assert max(event.order for event in sent(opened.store)) == last + 1
