"""The circuit breaker: opens on a run of failures, probes once, waits longer, forgets on success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.breaker import CircuitBreaker
from shared.clock import ManualClock


def test_opens_at_the_threshold_and_not_before() -> None:
    breaker = CircuitBreaker("unit 1", ManualClock(), threshold=3)
    for _ in range(2):
        breaker.failed()
        assert breaker.admit()
    breaker.failed()
    assert breaker.is_open
    assert not breaker.admit()


def test_lets_exactly_one_probe_through_when_the_wait_is_over() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("unit 1", clock, threshold=1, base_s=1.0)
    breaker.failed()
    clock.advance(breaker.wait_s)
    assert breaker.admit()
    assert not breaker.admit()


def test_a_failure_may_open_it_at_once() -> None:
    breaker = CircuitBreaker("unit 1", ManualClock(), threshold=3)
    assert not breaker.is_failing
    breaker.failed(at_once=True)
    assert breaker.is_failing
    assert not breaker.admit()
    breaker.succeeded()
    assert not breaker.is_failing


def test_an_abandoned_probe_gives_its_turn_to_the_next() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("unit 1", clock, threshold=1)
    breaker.failed()
    clock.advance(5)
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.admit()


def test_success_closes_and_starts_over() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("unit 1", clock, threshold=1, base_s=1.0, max_s=30.0)
    for _ in range(6):
        breaker.failed()
    breaker.succeeded()
    assert breaker.admit()
    breaker.failed()
    assert breaker.wait_s <= 1.2


def test_waits_double_up_to_the_limit() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("unit 1", clock, threshold=1, base_s=1.0, max_s=30.0)
    waits = []
    for _ in range(8):
        breaker.failed()
        waits.append(breaker.wait_s)
        clock.advance(breaker.wait_s)
        assert breaker.admit()
    for attempt, wait_s in enumerate(waits):
        assert wait_s == pytest.approx(min(2.0**attempt, 30.0), rel=0.21)


@given(st.lists(st.sampled_from(["fail", "ok", "wait", "abandon"]), max_size=200))
def test_never_admits_more_probes_than_the_shortest_wait_allows(events: list[str]) -> None:
    """Whatever happens, an open breaker lets at most one request per 0.8 s through (1 s less jitter)."""
    clock = ManualClock()
    breaker = CircuitBreaker("any", clock, threshold=1, base_s=1.0)
    last_probe_s: float | None = None
    for event in events:
        if event == "wait":
            clock.advance(0.3)
        was_open = breaker.is_open
        if not breaker.admit():
            assert was_open
            continue
        now_s = clock.monotonic()
        if was_open and last_probe_s is not None and event == "fail":
            assert now_s - last_probe_s >= 0.79
        if event == "ok":
            breaker.succeeded()
            last_probe_s = None
        elif event == "abandon":
            breaker.abandoned()
        else:
            breaker.failed()
            last_probe_s = now_s
