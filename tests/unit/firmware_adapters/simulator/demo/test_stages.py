"""The report: a stage that was not seen is a failed stage."""

import pytest

from firmware_adapters.simulator.demo.stages import STAGES, Board
from shared.clock import ManualClock


def _board() -> tuple[Board, ManualClock]:
    clock = ManualClock()
    return Board(clock, quiet=True), clock


def test_ok_only_when_every_stage_is() -> None:
    board, _ = _board()
    for name in STAGES:
        assert not board.ok
        board.done(name, "seen")
    assert board.ok
    assert board.report()["ok"] is True


def test_what_was_not_reached_has_failed() -> None:
    board, _ = _board()
    board.done("polled", "61 devices")
    board.fail_open("the guardian died")
    report = board.report()
    assert report["ok"] is False
    assert report["stages"]["polled"]["ok"] is True
    assert report["stages"]["swapped"] == {"ok": False, "detail": "the guardian died", "at_s": 0.0}


def test_a_failed_stage_does_not_recover() -> None:
    board, _ = _board()
    board.done("swapped", "v1 refused", ok=False)
    board.done("swapped", "v2 active")
    assert board.report()["stages"]["swapped"]["ok"] is False


def test_time_counts_from_all_up() -> None:
    board, clock = _board()
    clock.advance(9)
    board.restart_clock()
    clock.advance(2.5)
    board.done("polled", "seen")
    assert board.report()["stages"]["polled"]["at_s"] == 2.5


def test_an_unknown_stage_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        _board()[0].done("pooled", "typo")
