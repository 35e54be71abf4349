"""Which scores leave the site."""

import msgspec

from edge_agent.agent.inference.model import Score
from edge_agent.agent.scores import EVERY, ScoreLog
from shared.commands import ModelRef
from shared.ids import DeviceId
from support.agent import T0

MODEL = ModelRef(name="m", version=1, sha256="0" * 64)


def score(value: float, device: str = "m01") -> Score:
    return Score(
        device=DeviceId(device),
        at_ms=T0,
        score=value,
        threshold=1.0,
        top_feature="fan_response",
        against_peers=None,
        evidence={},
    )


def sent(log: ScoreLog, value: float, model: ModelRef = MODEL) -> bool:
    return bool(log.rows((score(value),), model))


def test_a_steady_miner_is_told_every_twelfth_cycle() -> None:
    log = ScoreLog()
    told = [sent(log, 0.5 + 0.02 * (n % 2)) for n in range(2 * EVERY + 1)]
    assert [n for n, yes in enumerate(told) if yes] == [0, EVERY, 2 * EVERY]


def test_a_change_over_five_percent_is_told() -> None:
    log = ScoreLog()
    assert [sent(log, value) for value in (0.500, 0.524, 0.526, 0.530)] == [True, False, True, False]


def test_crossing_the_threshold_is_always_told() -> None:
    log = ScoreLog()
    assert [sent(log, value) for value in (0.99, 1.01, 0.99)] == [True, True, True]


def test_a_new_version_is_told_for_everybody() -> None:
    log = ScoreLog()
    assert sent(log, 0.5)
    assert sent(log, 0.5, msgspec.structs.replace(MODEL, version=2))


def test_a_slow_drift_is_told_against_what_was_last_told() -> None:
    log = ScoreLog()
    told = [sent(log, 0.5 * 1.01**n) for n in range(10)]
    assert sum(told) == 2
