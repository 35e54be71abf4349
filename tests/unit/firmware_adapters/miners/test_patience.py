"""How long a refused password waits: a minute, ten, and then a day each time."""

from firmware_adapters.miners.patience import Patience
from shared.clock import ManualClock


def test_each_refusal_waits_longer_and_the_last_wait_is_a_day() -> None:
    clock = ManualClock()
    patience = Patience(clock)
    assert patience.left_s == 0.0
    for wait_s in (60.0, 600.0, 86_400.0, 86_400.0):
        assert patience.refused() == wait_s
        clock.advance(wait_s - 0.5)
        assert patience.left_s == 0.5
        clock.advance(1.0)
        assert patience.left_s == 0.0


def test_a_password_that_is_taken_forgets_the_refusals() -> None:
    patience = Patience(ManualClock())
    assert [patience.refused() for _ in range(2)] == [60.0, 600.0]
    patience.accepted()
    assert patience.left_s == 0.0
    assert patience.refused() == 60.0


def test_a_machine_that_takes_no_password_now_is_not_a_wrong_password() -> None:
    clock = ManualClock()
    patience = Patience(clock)
    for _ in range(5):
        assert patience.put_off() == 60.0
        clock.advance(60.0)
    assert patience.refused() == 60.0
