"""Schedules and the time of day they go by (S19), and the book on the disk."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.power import book, schedules
from edge_agent.guardian.power.book import Book
from edge_agent.guardian.power.schedules import GIVE_UP_S, Scheduled
from edge_agent.guardian.power.wall import TRUST_AFTER_S, TrustedTime
from edge_agent.ipc import StandingState
from shared.alarms import EventKind
from shared.clock import ManualClock
from shared.commands import Curtail, DoActions, Schedule, StopMining
from shared.ids import CommandId, DeviceId

DAY_MS = 86_400_000
T0 = 1_780_000_000_000
STOP = StopMining(device=DeviceId("m-1"))


def window(start_s: float, end_s: float, what: Curtail | DoActions | None = None) -> Scheduled:
    schedule = Schedule(
        start_ms=T0 + round(start_s * 1000),
        end_ms=T0 + round(end_s * 1000),
        what=what or DoActions(actions=(STOP,)),
    )
    return Scheduled(id=CommandId("s-1"), actor="ada", schedule=schedule)


class Time:
    """A trusted time on a clock that is moved by hand."""

    def __init__(self, *, synchronised: bool = True) -> None:
        self.clock = ManualClock(utc_ms=T0)
        self.synchronised = synchronised
        self.trusted = TrustedTime(self.clock, lambda: self.synchronised)

    def after(self, seconds: float) -> int | None:
        """Seconds since T0 as trusted, looked at once a second on the way."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.trusted.now_ms()
        now_ms = self.trusted.now_ms()
        return None if now_ms is None else round((now_ms - T0) / 1000)


def test_time_goes_with_the_wall_clock() -> None:
    time = Time()
    assert time.after(0) == 0
    assert time.after(100) == 100


def test_a_clock_that_was_never_synchronised_knows_no_time() -> None:
    time = Time(synchronised=False)
    assert time.after(3600) is None
    time.synchronised = True
    assert time.after(0) == 3600


@pytest.mark.parametrize("jump_ms", [DAY_MS, -DAY_MS, 5_000])
def test_a_jump_is_followed_only_once_it_has_stood(jump_ms: int) -> None:
    time = Time()
    time.after(10)
    time.clock.step_wall(jump_ms)
    assert time.after(TRUST_AFTER_S - 1) == 10 + TRUST_AFTER_S - 1
    assert time.after(2) == 10 + TRUST_AFTER_S + 1 + jump_ms // 1000


def test_a_jump_that_is_undone_never_happened() -> None:
    time = Time()
    time.after(10)
    time.clock.step_wall(DAY_MS)
    time.after(300)
    time.clock.step_wall(-DAY_MS)
    assert time.after(1000) == 1310


def test_losing_synchronisation_keeps_the_time_that_was_known() -> None:
    time = Time()
    time.after(10)
    time.synchronised = False
    time.clock.step_wall(DAY_MS)
    assert time.after(5000) == 5010


def test_a_window_starts_and_ends() -> None:
    entry = window(100, 200)
    assert schedules.step((entry,), T0 + 99_999, 1.0).schedules == (entry,)
    out = schedules.step((entry,), T0 + 100_000, 1.0)
    (running,) = out.schedules
    assert out.starting == ("s-1",)
    assert (running.state, running.left_s) == (StandingState.RUNNING, 100.0)
    assert schedules.wanted(running) == (STOP,)
    (still,) = schedules.step((running,), T0 + DAY_MS, 99.0).schedules  # by seconds, not by the clock
    assert still.state is StandingState.RUNNING
    (back,) = schedules.step((still,), None, 1.0).schedules
    assert back.state is StandingState.RESTORING


def test_no_window_starts_without_a_time() -> None:
    entry = window(0, 200)
    assert schedules.step((entry,), None, 1.0).schedules == (entry,)


def test_a_window_begun_late_ends_when_it_was_to_end() -> None:
    (running,) = schedules.step((window(0, 200),), T0 + 150_000, 1.0).schedules
    assert running.left_s == 50.0


def test_a_window_that_was_missed_is_told() -> None:
    out = schedules.step((window(0, 200),), T0 + 200_000, 1.0)
    assert out.schedules[0].state is StandingState.ENDED
    assert [finding.kind for finding in out.found] == [EventKind.ALARM]


def test_a_curtailment_lasts_as_long_as_its_window() -> None:
    what = Curtail(target_w=5e3, deadline_s=60.0, duration_s=1.0, signal_s=30.0)
    out = schedules.step((window(0, 200, what),), T0 + 20_000, 1.0)
    assert out.schedules == ()
    (order,) = out.curtailments
    assert (order.id, order.left_s, order.target_w, order.signal_s) == ("s-1", 180.0, 5e3, 30.0)


def test_what_cannot_be_taken_back_is_given_up_and_told() -> None:
    (running,) = schedules.step((window(0, 10),), T0, 1.0).schedules
    (back,) = schedules.step((running,), T0, 11.0).schedules
    out = schedules.step((back,), T0, GIVE_UP_S)
    assert out.schedules[0].state is StandingState.ENDED
    assert [finding.kind for finding in out.found] == [EventKind.ALARM]


@pytest.mark.parametrize(
    ("entry", "now_ms", "count", "why"),
    [
        (window(0, 10), None, 0, "does not know the time"),
        (window(10, 10), T0, 0, "ends before it starts"),
        (window(-20, -10), T0, 0, "over already"),
        (window(32 * 86_400, 33 * 86_400), T0, 0, "31 days"),
        (window(0, 8 * 86_400), T0, 0, "longer than 7 days"),
        (window(0, 10), T0, 200, "200 schedules"),
    ],
)
def test_impossible_windows_are_refused(entry: Scheduled, now_ms: int | None, count: int, why: str) -> None:
    assert why in (schedules.refusal(entry.schedule, now_ms, count) or "")


def test_a_possible_window_is_taken() -> None:
    assert schedules.refusal(window(0, 10).schedule, T0, 0) is None


def test_the_book_survives_and_a_damaged_one_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "power-orders.json"
    assert book.load(path) == (book.EMPTY, "")
    kept = Book(schedules=(window(0, 10),))
    book.save(path, kept)
    assert book.load(path) == (kept, "")
    path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))
    found, why = book.load(path)
    assert found == book.EMPTY
    assert "hash" in why
    assert path.with_name("power-orders.json.damaged").exists()
    assert book.load(path) == (book.EMPTY, "")


def test_only_changes_of_structure_are_worth_a_write() -> None:
    kept = Book(schedules=(window(0, 10),))
    older = msgspec.structs.replace(kept.schedules[0], left_s=3.0)
    assert book.structure(kept) == book.structure(Book(schedules=(older,)))
    ended = msgspec.structs.replace(older, state=StandingState.ENDED)
    assert book.structure(kept) != book.structure(Book(schedules=(ended,)))
