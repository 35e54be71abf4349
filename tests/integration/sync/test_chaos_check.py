"""The checker of the chaos run itself: it must find what is missing, also of a time that was lived twice."""

import pytest

from shared.ids import DeviceId
from shared.telemetry import RollupRow
from support.agent import STEP_S
from support.chaos_check import Made, Stored, Verdict, compare, made
from support.chaos_site import POLL_MS, Jump, Story

START_MS = 1_700_000_000_000
SWEEPS = 200


@pytest.fixture(scope="module")
def lived() -> Made:
    """An hour ahead for a while, and then back to half a minute before it left."""
    jumps = [Jump(sweep=80, by_ms=3_600_000), Jump(sweep=100, by_ms=-3_600_000 - 80_000)]
    devices = (DeviceId("m-01"), DeviceId("m-02"))
    story = Story(seed=7, devices=devices, boot="b1", start_ms=START_MS, sweeps=SWEEPS, jumps=jumps)
    return made(story, step_s=STEP_S, poll_s=POLL_MS / 1000)


def verdict(lived: Made, rows: list[RollupRow], apart: list[RollupRow]) -> Verdict:
    stored = Stored(
        rows=rows,
        apart=apart,
        events=[],
        lost_samples=[],
        tombstoned_rows=0,
        duplicate_batches=0,
        quarantined_batches=0,
    )
    return compare(lived, stored, [], [])


def lives(lived: Made) -> tuple[list[RollupRow], list[RollupRow]]:
    """The first rows of all keys, and the others."""
    every = [[row for row, _ in lives] for lives in lived.rows.values()]
    return [rows[0] for rows in every], [row for rows in every for row in rows[1:]]


def test_a_run_that_kept_both_lives_is_good_whichever_came_first(lived: Made) -> None:
    first, again = lives(lived)
    assert len(again) > 10, "the story lives through some seconds twice"
    assert verdict(lived, first, again).good
    keys = {(row.device, row.at_ms): row for row in again}
    swapped = [keys.get((row.device, row.at_ms), row) for row in first]
    others = [row for row in first if (row.device, row.at_ms) in keys]
    found = verdict(lived, swapped, others)
    assert (found.good, found.rows_committed, found.rows_apart) == (True, lived.count, len(again))


def test_a_lost_row_of_either_life_is_found(lived: Made) -> None:
    first, again = lives(lived)
    assert verdict(lived, first, again[1:]).lost == 1
    assert verdict(lived, first, []).lost == len(again)
    assert verdict(lived, first[1:], again).lost == 1


def test_a_row_too_many_is_found(lived: Made) -> None:
    first, again = lives(lived)
    assert verdict(lived, first, [*again, again[0]]).duplicated == 1
    assert verdict(lived, [*first, first[0]], again).duplicated > 0
    moved = [row for row in first if (row.device, row.at_ms) != (again[0].device, again[0].at_ms)]
    assert verdict(lived, [*moved, again[0]], again[1:]).lost == 1
