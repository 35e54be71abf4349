"""Alarms are a function of the set of events, whatever order they arrive in."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.alarms.episodes import fold
from shared.alarms import Event, EventKind
from support.cloud import NOW_MS, Bench, batch, event, migrated, said

KINDS = st.sampled_from(
    [EventKind.ALARM, EventKind.TRIPPED, EventKind.ALARM_CLEARED, EventKind.CLEARED, EventKind.MODE]
)


def told(kinds: Sequence[EventKind], *, times: Sequence[int] | None = None) -> list[Event]:
    return [
        event(number, kind, at_ms=NOW_MS - 100_000 + (times[number] if times else number) * 10)
        for number, kind in enumerate(kinds)
    ]


def test_an_episode_runs_from_raise_to_clear() -> None:
    events = told([EventKind.ALARM, EventKind.TRIPPED, EventKind.CLEARED, EventKind.ALARM])
    first, second = fold(events)
    assert (first.opened_ms, first.last_ms, first.cleared_ms) == tuple(e.at_ms for e in events[:3])
    assert (first.count, first.inbox, first.told.id) == (2, True, "e-1")
    assert (second.opened_ms, second.cleared_ms) == (events[3].at_ms, None)


def test_a_clearing_without_an_alarm_is_nothing() -> None:
    assert fold(told([EventKind.ALARM_CLEARED, EventKind.CLEARED, EventKind.MODE])) == []


def test_at_the_same_time_the_alarm_stands() -> None:
    (episode,) = fold(told([EventKind.ALARM, EventKind.ALARM_CLEARED], times=[0, 0]))
    assert episode.cleared_ms is None


def test_an_inhibit_is_no_matter_for_the_inbox_until_it_alarms() -> None:
    assert [e.inbox for e in fold(told([EventKind.INHIBITED]))] == [False]
    assert [e.inbox for e in fold(told([EventKind.INHIBITED, EventKind.ALARM, EventKind.SHED]))] == [True]


@given(st.lists(st.tuples(KINDS, st.integers(0, 6)), max_size=12), st.randoms(use_true_random=False))
def test_the_fold_does_not_see_the_order(told_: list[tuple[EventKind, int]], random: object) -> None:
    events = told([kind for kind, _ in told_], times=[time for _, time in told_])
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as object
    assert fold(events) == fold(shuffled)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(KINDS, st.integers(0, 8)), min_size=1, max_size=9),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
)
async def test_the_table_is_the_fold_of_all_events(
    told_: list[tuple[EventKind, int]], random: object, per_batch: int
) -> None:
    """Events arrive shuffled and in several batches; the alarms table equals one fold over all of them."""
    events = told([kind for kind, _ in told_], times=[time for _, time in told_])
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # as above
    with TemporaryDirectory() as folder:
        async with migrated(f"sqlite+aiosqlite:///{Path(folder) / 'cloud.db'}") as database:
            bench = Bench(database)
            for seq, start in enumerate(range(0, len(shuffled), per_batch), start=1):
                await bench.commit(said(batch(shuffled[start : start + per_batch], seq), stream="ev"))
            stored = await bench.all(
                "SELECT opened_ms, last_ms, cleared_ms, count, inbox, title FROM alarms ORDER BY opened_ms"
            )
    expected = [
        (
            e.opened_ms,
            e.last_ms,
            e.cleared_ms,
            e.count,
            int(e.inbox),
            next(x.title for x in events if x.id == e.told.id),
        )
        for e in fold(events)
    ]
    assert stored == expected
