"""Detection on the simulated plant, small; the fuller table is `python -m cloud.training.evaluate`."""

import math

import numpy as np
import pytest

from cloud.training import evaluate
from cloud.training.datasets import Windows
from cloud.training.evaluate import IN_A_ROW, FixedLimits, Line, alarms, at_budget, compare, judge, table
from cloud.training.scenario import SCENARIOS, Event, Played, Scenario, play
from cloud.training.simulated import Recording, device_of
from shared.features.spec import miner_spec
from shared.ids import DeviceId
from shared.plant import FaultName

SPEC = miner_spec(5)


def tiny(
    scores: dict[str, list[float]], events: tuple[Event, ...] = (), limit: dict[str, int] | None = None
) -> tuple[Played, np.ndarray]:
    """A played scenario made of given scores, one per 5 s step per device."""
    names = [DeviceId(name) for name, values in scores.items() for _ in values]
    ends = [5000 * i for values in scores.values() for i in range(len(values))]
    matrix = np.ones((len(names), SPEC.window, len(SPEC.columns)))
    test = Windows(SPEC, matrix, names, ends)
    seconds = 5.0 * max(len(values) for values in scores.values())
    scenario = Scenario(
        name="tiny", step_s=5, poll_s=1, train_s=0, test_s=seconds, events=events, varying_weather=False
    )
    played = Played(
        scenario=scenario,
        spec=SPEC,
        train=test,
        test=test,
        healthy=Recording(rows=[], models={}, truth=[]),
        start_ms=0,
        limit_ms={DeviceId(k): v for k, v in (limit or {}).items()},
    )
    return played, np.array([value for values in scores.values() for value in values])


def worn(at_s: float) -> Event:
    return Event(fault=FaultName.FAN_WEAR, miner=0, at_s=at_s, severity=1.0, ramp_s=1.0)


def test_an_alarm_needs_two_steps_in_a_row_and_counts_once() -> None:
    played, score = tiny({"m0000": [0, 9, 0, 9, 9, 9, 0, 9, 9]})
    assert IN_A_ROW == 2
    assert alarms(played.test, score, 1.0) == {"m0000": [20_000, 40_000]}


def test_lead_and_delay_count_from_when_an_alarm_is_known() -> None:
    played, score = tiny(
        {device_of(0): [0, 0, 0, 9, 9, 9, 9, 9], device_of(1): [0] * 8}, (worn(10.0),), {device_of(0): 60_000}
    )
    found, by_fault = judge(played, alarms(played.test, score, 1.0))
    # second step above begins at 20 s and is over at 25 s
    assert (found.delay_s, found.lead_s, found.before_limit) == (15.0, 35.0, (1, 1))
    assert (found.recall, found.per_miner_month) == (1.0, 0.0)
    assert by_fault == {"fan_wear": [True]}


def test_alarms_before_the_onset_and_on_well_machines_are_false() -> None:
    played, score = tiny({device_of(0): [9, 9, 0, 0, 0, 0], device_of(1): [0, 9, 9, 0, 0, 0]}, (worn(20.0),))
    found, _ = judge(played, alarms(played.test, score, 1.0))
    assert found.recall == 0.0
    assert math.isnan(found.lead_s)
    # two false alarms while 20 s of the one and 30 s of the other were watched
    assert found.per_miner_month == pytest.approx(2 * 30 * 86_400 / 50)


def test_a_late_alarm_is_not_before_the_limit() -> None:
    played, score = tiny({device_of(0): [0, 0, 0, 0, 9, 9]}, (worn(5.0),), {device_of(0): 15_000})
    found, _ = judge(played, alarms(played.test, score, 1.0))
    assert found.before_limit == (0, 1)
    assert found.lead_s < 0


def test_the_budget_decides_the_threshold() -> None:
    played, score = tiny({device_of(0): [0, 0, 0, 7, 7, 7], device_of(1): [0, 5, 5, 0, 0, 0]}, (worn(10.0),))
    assert at_budget(played, score, 0.0)[0].recall == 1.0
    assert at_budget(played, score, 0.0)[0].per_miner_month == 0.0
    noisy, score = tiny({device_of(0): [0, 0, 0, 7, 7, 7], device_of(1): [0, 9, 9, 0, 0, 0]}, (worn(10.0),))
    assert at_budget(noisy, score, 0.0)[0].recall == 0.0
    assert at_budget(noisy, score, 1e9)[0].recall == 1.0


def test_truth_begins_with_the_fault_and_is_not_adjusted() -> None:
    played, _ = tiny({device_of(0): [0] * 4, device_of(1): [0] * 4}, (worn(10.0),))
    assert played.ill().tolist() == [False, False, True, True, False, False, False, False]


@pytest.fixture(scope="module")
def lines() -> dict[str, Line]:
    demo = SCENARIOS["demo"]
    kept = tuple(event for event in demo.events if event.fault != FaultName.PSU)[:8]
    played = play(
        Scenario(
            name="short", step_s=5, poll_s=2.0, train_s=60.0, test_s=480.0, events=kept, varying_weather=False
        ),
        seed=5,
    )
    return {line.method: line for line in compare(played, ["pca"])}


def test_the_model_finds_every_fault_before_the_chip_limit(lines: dict[str, Line]) -> None:
    shipped = lines["pca"].as_shipped
    assert shipped is not None
    early, reached = shipped.before_limit
    assert reached >= 2
    assert early == reached
    assert shipped.lead_s > 60.0
    assert shipped.recall == 1.0
    assert shipped.per_miner_month == 0.0


def test_the_model_ranks_better_than_the_baseline_and_the_operators_rule(lines: dict[str, Line]) -> None:
    assert lines["pca"].auc_pr > lines["max-abs-z"].auc_pr
    assert lines["pca"].auc_pr > lines["fixed limits"].auc_pr + 0.1


def test_the_model_warns_earlier_than_the_operators_rule(lines: dict[str, Line]) -> None:
    ours, rule = lines["pca"].as_shipped, lines["fixed limits"].as_shipped
    assert ours is not None
    assert rule is not None
    assert ours.delay_s < 0.7 * rule.delay_s


def test_the_table_is_markdown_with_every_method(lines: dict[str, Line]) -> None:
    text = table(list(lines.values()))
    assert all(f"| {method} |" in text for method in lines)
    assert "point" not in text


def test_the_command_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played, _ = tiny({device_of(0): [0, 0, 0, 7, 7, 7], device_of(1): [0] * 6}, (worn(10.0),))
    monkeypatch.setattr(evaluate, "play", lambda *_args, **_kwargs: played)
    monkeypatch.setattr(evaluate, "compare", lambda *_args: [])
    assert evaluate.main(["--seeds", "2"]) == 0
    assert capsys.readouterr().out.count("Simulated faults, scenario demo") == 2


def test_fixed_limits_alarm_at_one() -> None:
    x = np.zeros((2, SPEC.window, len(SPEC.features)), dtype=np.float32)
    x[:, :, SPEC.names.index("hash_ratio")] = 1.0
    x[0, -1, SPEC.names.index("hash_ratio")] = 0.9
    x[1, -1, SPEC.names.index("chip_hot_c")] = 75.0
    assert FixedLimits(SPEC).score(x.reshape(2, -1)).score == pytest.approx([1.0, 1.0], abs=1e-5)
