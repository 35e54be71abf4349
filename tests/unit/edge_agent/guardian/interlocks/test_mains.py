"""Mains lost and back: stages by runtime, silence, flicker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Mains, MainsStage
from edge_agent.guardian.interlocks import mains
from edge_agent.guardian.interlocks.inputs import Finding, MainsClaim
from edge_agent.guardian.interlocks.mains import MainsInput, MainsState
from shared.alarms import EventKind, Severity

MAINS = Mains(
    device="ups-1",
    on_battery_point="on_battery",
    runtime_point="runtime_s",
    on_delay_s=3.0,
    restore_after_s=20.0,
    stages=(
        MainsStage(runtime_below_s=600.0, stop=False),
        MainsStage(runtime_below_s=300.0, stop=True),
    ),
)


class Bench:
    """A UPS that says what it is told to say."""

    def __init__(self) -> None:
        self.state = MainsState()
        self.claim = MainsClaim.NONE
        self.found: list[Finding] = []

    def run(self, on: bool | None, seconds: float, runtime_s: float | None = None) -> MainsClaim:
        for _ in range(round(seconds * 2)):
            given = MainsInput(on_battery=on, runtime_s=runtime_s)
            self.state, self.claim, found = mains.step(self.state, given, MAINS, 0.5)
            self.found += found
        return self.claim

    def kinds(self) -> list[EventKind]:
        return [finding.kind for finding in self.found]


@pytest.fixture
def ups() -> Bench:
    bench = Bench()
    bench.run(False, 20)
    assert bench.claim is MainsClaim.NONE
    return bench


def test_a_start_holds_until_mains_were_seen_for_a_while() -> None:
    bench = Bench()
    assert bench.run(False, 19.5) is MainsClaim.HOLD
    assert bench.run(False, 0.5) is MainsClaim.NONE
    assert bench.found == []


def test_on_battery_counts_after_its_delay(ups: Bench) -> None:
    assert ups.run(True, 2.5, 1800) is MainsClaim.NONE
    assert ups.run(True, 0.5, 1800) is MainsClaim.HOLD
    assert ups.kinds() == [EventKind.ALARM]
    assert ups.found[0].severity is Severity.URGENT


def test_a_flicker_is_no_outage(ups: Bench) -> None:
    for _ in range(10):
        ups.run(True, 2.5, 100)
        assert ups.run(False, 0.5) is MainsClaim.NONE
    assert ups.found == []


def test_stages_come_with_the_runtime_and_stay_when_it_bounces(ups: Bench) -> None:
    assert ups.run(True, 5, 600) is MainsClaim.HOLD  # at the limit is not below it
    assert ups.run(True, 1, 599) is MainsClaim.SAFE_PRESET
    assert ups.run(True, 10, 5000) is MainsClaim.SAFE_PRESET
    assert ups.run(True, 1, 299) is MainsClaim.STOP
    assert ups.run(True, 600, 9000) is MainsClaim.STOP
    assert ups.kinds() == [EventKind.ALARM, EventKind.SHED, EventKind.SHED]


def test_no_stage_is_entered_before_the_outage_counts(ups: Bench) -> None:
    assert ups.run(True, 2.5, 10) is MainsClaim.NONE
    assert ups.run(True, 0.5, 10) is MainsClaim.STOP


def test_mains_must_be_back_for_a_while(ups: Bench) -> None:
    ups.run(True, 10, 200)
    assert ups.run(False, 19.5) is MainsClaim.STOP
    assert ups.run(True, 1, 900) is MainsClaim.STOP  # gone again: the wait starts anew
    assert ups.run(False, 19.5) is MainsClaim.STOP
    assert ups.run(False, 0.5) is MainsClaim.NONE
    assert ups.kinds()[-1] is EventKind.ALARM_CLEARED


def test_silence_on_mains_holds_and_never_stops(ups: Bench) -> None:
    assert ups.run(None, 0.5) is MainsClaim.HOLD
    assert ups.run(None, 29.5) is MainsClaim.HOLD
    assert ups.found == []
    assert ups.run(None, 100_000) is MainsClaim.HOLD
    assert ups.kinds() == [EventKind.ALARM]
    assert ups.run(False, 0.5) is MainsClaim.NONE
    assert ups.kinds() == [EventKind.ALARM, EventKind.ALARM_CLEARED]


def test_silence_on_battery_counts_the_runtime_down(ups: Bench) -> None:
    assert ups.run(True, 5, 700) is MainsClaim.HOLD
    assert ups.run(None, 99) is MainsClaim.HOLD
    assert ups.run(None, 2) is MainsClaim.SAFE_PRESET
    assert ups.run(None, 300) is MainsClaim.STOP


def test_a_battery_without_a_runtime_counts_as_the_first_stage(ups: Bench) -> None:
    assert ups.run(True, 4) is MainsClaim.SAFE_PRESET
    assert ups.run(True, 290) is MainsClaim.SAFE_PRESET
    assert ups.run(True, 15) is MainsClaim.STOP


def test_the_next_outage_starts_with_its_own_runtime(ups: Bench) -> None:
    ups.run(True, 10, 200)
    ups.run(False, 25)
    assert ups.run(True, 5, 1800) is MainsClaim.HOLD


ORDER = [MainsClaim.NONE, MainsClaim.HOLD, MainsClaim.SAFE_PRESET, MainsClaim.STOP]


@given(
    st.lists(
        st.tuples(st.sampled_from([True, False, None]), st.none() | st.floats(0, 2000), st.integers(1, 40)),
        max_size=40,
    )
)
def test_a_claim_falls_only_when_mains_are_back_or_heard(
    story: list[tuple[bool | None, float | None, int]],
) -> None:
    bench = Bench()
    bench.run(False, 20)
    back_s = 20.0
    for on, runtime_s, turns in story:
        for _ in range(turns):
            before = bench.claim
            bench.run(on, 0.5, runtime_s)
            back_s = back_s + 0.5 if on is False else 0.0
            if ORDER.index(bench.claim) < ORDER.index(before) and before is not MainsClaim.HOLD:
                assert back_s >= MAINS.restore_after_s
            if on is not False:
                assert bench.claim is not MainsClaim.NONE or bench.state.on_for_s < MAINS.on_delay_s
