"""Samples to rows over restarts: the same rows as without, whatever the moment of the crash."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.recorder import Cursor, Loss, Recorder, SetBack
from shared.telemetry import Reading, RollupRow, Sample
from support.agent import STEP_S, T0, miner_sample, sweep

START = T0 - T0 % 5_000


def stream(polls: int) -> list[Sample]:
    return [counting(s, n) for n in range(polls) for s in sweep(1 + 4 * n, START + n * 1_700)]


def counting(sample: Sample, poll: int) -> Sample:
    """The sample with counters that rise from poll to poll."""
    counters = {"shares_accepted": Reading(1000.0 + poll * poll), "hw_errors": Reading(10.0 + poll)}
    return msgspec.structs.replace(sample, readings={**sample.readings, **counters})


def by_key(row: RollupRow) -> tuple[str, int]:
    return row.device, row.at_ms


def plain(samples: list[Sample]) -> list[RollupRow]:
    recorder = Recorder(STEP_S, None)
    recorder.add(samples)
    return recorder.close(samples[-1].at_ms)


@given(
    polls=st.integers(4, 25),
    cuts=st.lists(st.integers(1, 100), max_size=6),
    commits=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_a_crash_anywhere_repeats_no_row_and_loses_none(
    polls: int, cuts: list[int], commits: list[bool]
) -> None:
    """Each life reads from the cursor to a cut, maybe commits, and dies; the last one reads to the end."""
    samples = stream(polls)
    committed: list[RollupRow] = []
    cursor: Cursor | None = None
    for cut, commit in zip([*sorted(cuts), len(samples)], [*commits[: len(cuts)], True], strict=True):
        recorder = Recorder(STEP_S, cursor)
        boot, seq = recorder.seen
        seen = [s for s in samples[:cut] if s.boot != boot or s.seq > seq]
        assert not recorder.add(seen)
        rows = recorder.close(seen[-1].at_ms) if seen else []
        if commit and rows:
            committed += rows
            cursor = recorder.cursor
    keys = [(row.device, row.at_ms) for row in committed]
    assert len(keys) == len(set(keys))
    assert sorted(committed, key=by_key) == sorted(plain(samples), key=by_key), "to the last number"


def test_a_jump_is_counted_to_the_sample() -> None:
    recorder = Recorder(STEP_S, None)
    assert recorder.add([miner_sample("m01", 7, START)]) == [], "a fresh store has nothing to miss"
    [loss] = recorder.add([miner_sample("m01", 12, START + 100)])
    assert (loss.first_seq, loss.last_seq, loss.count) == (8, 11, 4)


def test_a_new_boot_whose_first_samples_are_gone_is_a_loss_too() -> None:
    recorder = Recorder(STEP_S, Cursor(boot="boot-1", seq=50, step_ms=START))
    [loss] = recorder.add([miner_sample("m01", 3, START + 60_000, boot="boot-2")])
    assert loss == Loss(boot="boot-2", first_seq=1, last_seq=2, at_ms=START + 60_000)


def test_the_same_sample_twice_counts_once() -> None:
    recorder = Recorder(STEP_S, None)
    samples = sweep(1, START)
    recorder.add(samples)
    recorder.add(samples)
    [row, *_] = recorder.close(START + 20_000)
    assert row.samples == 1


def test_the_cursor_stays_before_the_open_step() -> None:
    recorder = Recorder(STEP_S, None)
    recorder.add(stream(5))  # 0, 1.7, 3.4 | 5.1, 6.8 s
    recorder.close(START + 6_800)
    cursor = recorder.cursor
    assert (cursor.boot, cursor.seq, cursor.step_ms) == ("boot-1", 12, START)


def test_a_wall_clock_set_back_while_running_does_not_hold_the_cursor() -> None:
    recorder = Recorder(STEP_S, None)
    recorder.add(stream(4))
    back = START - 3_600_000
    for n in range(12):
        recorder.add(sweep(17 + 4 * n, back + n * 1_700))
    recorder.close(back + 20_000)
    assert recorder.cursor.seq >= 16 + 4 * 6, "what came before the jump is behind the cursor"


def test_a_wall_clock_set_back_by_an_hour_still_gives_rows_after_a_restart() -> None:
    recorder = Recorder(STEP_S, Cursor(boot="boot-1", seq=10, step_ms=START))
    back = START - 3_600_000
    recorder.add([miner_sample("m01", 11, back)])
    assert [row.at_ms for row in recorder.close(back + 20_000)] == [back]


def test_steps_stay_whole_after_the_wall_clock_was_set_back() -> None:
    """A step must not be closed at each flush only because a time that was wrong lies ahead of it."""
    recorder = Recorder(STEP_S, None)
    recorder.add(stream(4))
    back = START - 3_600_000
    assert recorder.add([miner_sample("m01", 17, back)]) == []
    assert recorder.newest_ms == back
    rows = recorder.close(recorder.newest_ms)
    assert {row.at_ms for row in rows} == {START, START + 5_000}, "steps from before the jump are over"
    recorder.add([miner_sample("m01", 18, back + 2_000)])
    recorder.add([miner_sample("m01", 19, back + 9_000)])
    (row,) = recorder.close(recorder.newest_ms)
    assert (row.at_ms, row.samples) == (back, 2)
    assert recorder.late == 0
    assert recorder.cursor.seq == 18


def test_a_wall_clock_set_back_is_told_once_with_both_times() -> None:
    recorder = Recorder(STEP_S, None)
    recorder.add(stream(4))
    before = recorder.newest_ms
    back = START - 3_600_000
    for n in range(5):
        recorder.add(sweep(17 + 4 * n, back + n * 1_700))
    assert recorder.set_backs() == [SetBack(boot="boot-1", seq=17, before_ms=before, after_ms=back)]
    assert recorder.set_backs() == []


def test_a_wall_clock_that_goes_forward_or_trembles_is_not_told() -> None:
    recorder = Recorder(STEP_S, None)
    for n, at_ms in enumerate((START, START + 3_600_000, START + 3_590_000, START + 3_600_500), 1):
        recorder.add([miner_sample("m01", n, at_ms)])
    assert recorder.set_backs() == []


def test_a_wall_clock_that_was_set_back_while_the_agent_was_away_is_told() -> None:
    """A gateway without a battery for its clock comes up in the past."""
    recorder = Recorder(STEP_S, Cursor(boot="boot-1", seq=10, step_ms=START))
    back = START - 3_600_000
    recorder.add([miner_sample("m01", 1, back, boot="boot-2"), miner_sample("m01", 2, back, boot="boot-2")])
    assert recorder.set_backs() == [SetBack(boot="boot-2", seq=1, before_ms=START, after_ms=back)]


def test_seconds_that_are_lived_twice_after_a_restart_give_their_rows_twice() -> None:
    """What is known of the time before the restart says nothing about samples from after a jump."""
    recorder = Recorder(STEP_S, Cursor(boot="boot-1", seq=10, step_ms=START))
    recorder.add([miner_sample("m01", 11, START + 5_000), miner_sample("m01", 12, START + 3_600_000)])
    recorder.close(START + 3_700_000)
    lived = START - 10_000
    recorder.add([miner_sample("m01", 13, lived), miner_sample("m01", 14, lived + 20_000)])
    rows = recorder.close(lived + 20_000)
    assert ([found.at_ms for found in rows], recorder.repeated) == ([lived], 0)


def uncut(samples: list[Sample]) -> list[RollupRow]:
    """The rows of one life that sees every sample when it comes."""
    recorder = Recorder(STEP_S, None)
    rows: list[RollupRow] = []
    for sample in samples:
        assert not recorder.add([sample])
        rows += recorder.close(sample.at_ms)
    return rows


@pytest.mark.parametrize("hours", [6, -6])
@pytest.mark.parametrize("back", [True, False])
def test_f28_a_crash_around_a_jump_of_the_clock_loses_no_sample(hours: int, *, back: bool) -> None:
    """Rows from before a jump are committed while the first samples after it lie in an open step."""
    jumped = [
        counting(msgspec.structs.replace(s, at_ms=s.at_ms + (hours * 3_600_000 if away else 0)), n)
        for n in range(18)
        for s in sweep(1 + 4 * n, START + n * 1_700)
        if (away := 4 <= n < (11 if back else 18)) is not None
    ]
    want = uncut(jumped)
    for cut in range(1, len(jumped)):
        first = Recorder(STEP_S, None)
        rows: list[RollupRow] = []
        for sample in jumped[:cut]:
            assert not first.add([sample])
            rows += first.close(sample.at_ms)
        second = Recorder(STEP_S, first.cursor if rows else None)
        boot, seq = second.seen
        assert not second.add([s for s in jumped if s.boot != boot or s.seq > seq])
        rows += second.close(jumped[-1].at_ms)
        assert sorted(rows, key=by_key) == sorted(want, key=by_key), cut
