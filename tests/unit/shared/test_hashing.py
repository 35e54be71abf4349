"""Whether a miner hashes, as a truth table: state, hashrate and power, and unknown as a legal answer."""

import itertools

import pytest

from shared.hashing import is_hashing
from shared.telemetry import MinerState

RUNS = (MinerState.MINING, MinerState.AUTO_TUNING)
OFF = (MinerState.STOPPED, MinerState.FAILURE)
BETWEEN = (
    MinerState.INITIALIZING,
    MinerState.STARTING,
    MinerState.RESTARTING,
    MinerState.SHUTTING_DOWN,
    MinerState.UNKNOWN,
    None,
)
ALL = (*MinerState, None)

TABLE = [
    # states, hashrate TH/s, power W (of 3,250 nominal), answer
    (RUNS, 100.0, 3200.0, True),
    (RUNS, 100.0, None, True),
    (RUNS, None, 3200.0, True),
    (RUNS, 100.0, 150.0, True),  # between idle and work: power says nothing
    (RUNS, 100.0, 22.0, None),  # draws nothing: a left-over hashrate
    (RUNS, 0.0, 3200.0, None),
    (RUNS, 0.0, None, None),
    (RUNS, 0.0, 22.0, None),
    (RUNS, None, None, None),
    (RUNS, None, 22.0, None),
    (OFF, 0.0, 22.0, False),
    (OFF, 0.0, None, False),
    (OFF, None, 22.0, False),
    (OFF, 0.0, 150.0, False),
    (OFF, 0.0, 3200.0, None),
    (OFF, 100.0, 3200.0, None),
    (OFF, 100.0, 22.0, None),
    (OFF, None, None, None),
    (OFF, None, 3200.0, None),
    (BETWEEN, 100.0, 3200.0, True),
    (BETWEEN, 0.0, 22.0, False),
    (BETWEEN, 100.0, 22.0, None),
    (BETWEEN, 0.0, 3200.0, None),
    (BETWEEN, 0.0, 150.0, None),
    (BETWEEN, 100.0, None, None),
    (BETWEEN, 0.0, None, None),
    (BETWEEN, None, 3200.0, None),
    (BETWEEN, None, None, None),
]


@pytest.mark.parametrize(
    ("state", "hashrate_ths", "power_w", "answer"),
    [(state, *rest) for states, *rest in TABLE for state in states],
)
def test_two_of_three_must_agree_and_none_disagree(
    state: MinerState | None, hashrate_ths: float | None, power_w: float | None, answer: bool | None
) -> None:
    assert is_hashing(state, hashrate_ths, power_w, nominal_w=3250.0) is answer


@pytest.mark.parametrize(
    ("state", "hashrate_ths", "power_w", "answer"),
    [
        (MinerState.MINING, 100.0, 3200.0, True),
        (MinerState.UNKNOWN, 1.2, 15.0, True),  # a Bitaxe: 12.5 J/TH
        (MinerState.UNKNOWN, 100.0, 22.0, None),  # 0.2 J/TH: no machine can
        (MinerState.MINING, 100.0, 22.0, None),
        (MinerState.STOPPED, 0.0, 22.0, False),
        (MinerState.STOPPED, None, 22.0, None),
        (MinerState.UNKNOWN, 0.0, 22.0, None),
    ],
)
def test_without_a_rating_power_is_judged_by_what_a_terahash_costs(
    state: MinerState, hashrate_ths: float | None, power_w: float, answer: bool | None
) -> None:
    assert is_hashing(state, hashrate_ths, power_w) is answer


def test_knowing_more_never_turns_yes_into_no() -> None:
    """Losing one of the three may cost the answer, but never makes it the opposite one."""
    values = itertools.product(ALL, (0.0, 100.0), (22.0, 150.0, 3200.0))
    for state, hashrate, power in values:
        whole = is_hashing(state, hashrate, power, nominal_w=3250.0)
        for less in ((None, hashrate, power), (state, None, power), (state, hashrate, None)):
            part = is_hashing(*less, nominal_w=3250.0)
            assert whole is None or part is None or part is whole


def test_nothing_known_is_unknown_and_not_no() -> None:
    assert is_hashing(None, None, None) is None
