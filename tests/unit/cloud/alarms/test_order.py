"""What is newest on a site follows from the order that its agent gave, and from no clock."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.ingest.decoding import Events, Refused
from cloud.kit.database import Database
from cloud.migrations import runner
from cloud.sites.intake import ZONE_STATUS
from cloud.sites.repository import running_model
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.rows import Commit
from shared.alarms import Event, EventKind
from shared.clock import ManualClock
from support.cloud import NOW_MS, SITE, Bench, batch, event, said

HOUR_MS = 3_600_000
START_MS = NOW_MS - 12 * HOUR_MS
CLEARS = {EventKind.CLEARED, EventKind.ALARM_CLEARED}
Deed = tuple[EventKind, str, int]
"""What happens, to which key or zone, and by how much the wall clock is stepped before (ms)."""
DEEDS = st.lists(
    st.tuples(
        st.sampled_from([EventKind.ALARM, EventKind.TRIPPED, *sorted(CLEARS), EventKind.SYSTEM]),
        st.sampled_from(["hall-a", "hall-b"]),
        st.sampled_from([-HOUR_MS, -1, 0, 1, 5_000, HOUR_MS]),
    ),
    min_size=1,
    max_size=12,
)


def happened(number: int, kind: EventKind, zone: str, at_ms: int, *, order: int = 0) -> Event:
    """An event of one zone's trip, or that zone's status; its number is its evidence."""
    key = f"{ZONE_STATUS}{zone}" if kind is EventKind.SYSTEM else f"trip/{zone}"
    made = event(number, kind, key=key, at_ms=at_ms, zone=zone, data={"number": number})
    return msgspec.structs.replace(made, order=order)


def recorded(deeds: Sequence[Deed]) -> list[Event]:
    """These events as the agent's store sends them, in the order in which they happened."""
    clock = ManualClock(utc_ms=START_MS)
    store = Store(Path(":memory:"), clock, outbox_bytes=2**30)
    for number, (kind, zone, step_ms) in enumerate(deeds):
        clock.step_wall(step_ms)
        store.commit(Commit(events=(happened(number, kind, zone, clock.utc_ms()),)))
    bodies = [row.body for row in store.fetch(store.waiting())]
    store.close()
    found: list[Event] = []
    for body in bodies:
        decoded = said(body, stream="ev")
        assert isinstance(decoded, Events)
        found.extend(decoded.events)
    return found


def pieces(events: Sequence[Event], sizes: Random) -> Iterator[list[Event]]:
    rest = list(events)
    while rest:
        size = sizes.randint(1, 4)
        yield rest[:size]
        rest = rest[size:]


async def tell(bench: Bench, *groups: Sequence[Event], epoch: str = "e1") -> None:
    for seq, group in enumerate(groups, start=1):
        await bench.commit(said(batch(group, seq, epoch=epoch), stream="ev"))


async def alarms(bench: Bench, columns: str) -> list[tuple[object, ...]]:
    return await bench.all(f"SELECT {columns} FROM alarms ORDER BY opened_place")


async def test_a_trip_that_is_latched_again_after_the_clock_was_set_back_is_open(bench: Bench) -> None:
    await tell(
        bench,
        [happened(1, EventKind.TRIPPED, "hall-a", START_MS, order=START_MS)],
        [happened(2, EventKind.CLEARED, "hall-a", START_MS + 600_000, order=START_MS + 600_000)],
        [happened(3, EventKind.TRIPPED, "hall-a", START_MS - HOUR_MS, order=START_MS + 600_001)],
    )
    assert await alarms(bench, "opened_ms, cleared_ms, count") == [
        (START_MS, START_MS + 600_000, 1),
        (START_MS - HOUR_MS, None, 1),
    ], "times are told as the site told them"


async def test_an_alarm_from_a_clock_that_was_ahead_is_cleared_once_that_was_repaired(bench: Bench) -> None:
    ahead = START_MS + HOUR_MS
    await tell(
        bench,
        [happened(1, EventKind.ALARM, "hall-a", ahead, order=ahead)],
        [happened(2, EventKind.ALARM_CLEARED, "hall-a", START_MS + 1, order=ahead + 1)],
    )
    assert await alarms(bench, "opened_ms, cleared_ms") == [(ahead, START_MS + 1)]


async def test_the_status_of_a_zone_does_not_freeze_when_the_clock_is_set_back(bench: Bench) -> None:
    await tell(
        bench,
        [happened(1, EventKind.SYSTEM, "hall-a", START_MS, order=START_MS)],
        [happened(2, EventKind.SYSTEM, "hall-a", START_MS - HOUR_MS, order=START_MS + 1)],
    )
    assert await bench.all("SELECT zone, at_ms FROM zone_status") == [("hall-a", START_MS - HOUR_MS)]


async def test_events_from_before_the_field_are_folded_by_time_beside_those_with_it(bench: Bench) -> None:
    raised = happened(1, EventKind.ALARM, "hall-a", START_MS)
    cleared = happened(2, EventKind.ALARM_CLEARED, "hall-a", START_MS + 1, order=START_MS + 90_000)
    again = happened(3, EventKind.ALARM, "hall-a", START_MS + 60_000)
    await tell(bench, [cleared], [again], [raised])
    assert await alarms(bench, "opened_ms, cleared_ms, count") == [(START_MS, START_MS + 1, 2)]


@pytest.mark.parametrize("order", [-1, 2**63])
def test_an_impossible_order_is_refused_with_its_batch(order: int) -> None:
    found = said(batch([happened(1, EventKind.ALARM, "hall-a", START_MS, order=order)]), stream="ev")
    assert isinstance(found, Refused)
    assert found.batch is not None


def outcome_on_site(events: Sequence[Event]) -> tuple[dict[str, bool], dict[str, int]]:
    """Which keys are open, and the newest status of each zone, to who saw it all happen."""
    open_keys: dict[str, bool] = {}
    status: dict[str, int] = {}
    for one in events:
        number = one.data["number"]
        assert isinstance(number, int)
        if one.kind is EventKind.SYSTEM:
            status[str(one.zone)] = number
        elif one.kind not in CLEARS or one.key in open_keys:
            open_keys[one.key] = one.kind not in CLEARS
    return open_keys, status


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(DEEDS, st.randoms(use_true_random=False))
async def test_f28_any_order_of_arrival_and_any_clock_give_the_state_of_the_site(
    sqlite_template: Path, deeds: list[Deed], mix: Random
) -> None:
    """The live lane runs beside a backlog of any age, and the wall clock is stepped at will."""
    events = recorded(deeds)
    shuffled = list(events)
    mix.shuffle(shuffled)
    told = list(pieces(shuffled, mix))  # a draw may end the example: none while the database is open
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.db"
        path.write_bytes(sqlite_template.read_bytes())
        database = Database(f"sqlite+aiosqlite:///{path}")
        try:
            bench = Bench(database)
            await tell(bench, *told)
            rows = await bench.all("SELECT key, cleared_ms, count FROM alarms ORDER BY key, opened_place")
            zones = await bench.all("SELECT zone, json_extract(data, '$.number') FROM zone_status")
        finally:
            await database.close()
    open_keys, status = outcome_on_site(events)
    newest = {str(key): cleared_ms is None for key, cleared_ms, _ in rows}
    assert (newest, dict(zones)) == (open_keys, status)
    assert sum(int(count) for _, _, count in rows) == sum(
        one.kind in (EventKind.ALARM, EventKind.TRIPPED) for one in events
    ), "each raising event is in one episode"


async def test_the_newest_word_about_a_model_is_the_sites_last_one(bench: Bench) -> None:
    """Rolled back after the clock was set back: the version does not run any more."""
    words = [("active", START_MS, START_MS), ("rolled-back", START_MS - HOUR_MS, START_MS + 1)]
    made = [
        msgspec.structs.replace(
            event(number, EventKind.MODEL, at_ms=at_ms, data={"name": "m", "version": 3, "state": state}),
            order=order,
        )
        for number, (state, at_ms, order) in enumerate(words)
    ]
    await tell(bench, made[:1])
    async with bench.database.read() as session:
        assert await running_model(session, SITE) is not None
    await tell(bench, made[1:], epoch="e2")
    async with bench.database.read() as session:
        assert await running_model(session, SITE) is None


async def test_an_alarm_from_before_the_upgrade_is_cleared_after_it(bench: Bench) -> None:
    """Its place is its time: that was the order until then."""
    await tell(bench, [happened(1, EventKind.ALARM, "hall-a", START_MS)])
    await tell(bench, [happened(2, EventKind.SYSTEM, "hall-a", START_MS)], epoch="e2")
    await runner.downgrade(bench.database, "0014")
    await runner.upgrade(bench.database)
    assert await alarms(bench, "opened_ms, opened_place") == [(START_MS, START_MS)]
    later = [
        happened(3, EventKind.ALARM_CLEARED, "hall-a", START_MS + 5, order=START_MS + 9),
        happened(4, EventKind.SYSTEM, "hall-a", START_MS + 6, order=START_MS + 10),
    ]
    await tell(bench, later, epoch="e3")
    assert await alarms(bench, "opened_ms, cleared_ms, count") == [(START_MS, START_MS + 5, 1)]
    assert await bench.all("SELECT at_ms FROM zone_status") == [(START_MS + 6,)]
