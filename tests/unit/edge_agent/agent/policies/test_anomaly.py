"""The anomaly policy as a specification: when it speaks, when it asks, when it is silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.inference.model import Score
from edge_agent.agent.policies.anomaly import AnomalyPolicy, Rule, one_step_lower
from edge_agent.agent.policies.evidence import explain
from edge_agent.agent.policies.face import Context, Decision, MinerView
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from shared.capabilities import Preset
from shared.commands import ModelRef, SetPreset
from shared.features.spec import miner_spec
from shared.ids import DeviceId
from shared.telemetry import MinerState
from support.agent import LADDER, T0, ZONE

MODEL = ModelRef(name="miner-anomaly", version=3, sha256="0" * 64)
RULE = Rule(dwell_s=30, ttl_s=15)
ILL, CALM, ODD = 2.0, 0.1, 0.9


class Ward:
    """One miner under the policy; `cycle` scores it once, 5 s after the last time."""

    def __init__(self, *, mode: Mode | None = Mode.ML_ACTIVE, preset: str | None = "3000") -> None:
        self.policy = AnomalyPolicy(RULE)
        self.mode = mode
        self.preset = preset
        self.ladder: tuple[Preset, ...] = LADDER
        self.now_s = 1_000.0
        self.events: list[EventKind] = []
        self.presets: list[str] = []

    def cycle(self, score: float | None, *, times: int = 1, scored: bool = True) -> Decision:
        decision = Decision()
        for _ in range(times):
            decision = self.policy.decide(self._context(score, scored=scored))
            self.now_s += 5
            self.events += [event.kind for event in decision.events]
            for proposal in decision.proposals:
                [action] = proposal.actions
                assert isinstance(action, SetPreset)
                self.presets.append(action.preset)
        return decision

    def _context(self, score: float | None, *, scored: bool) -> Context:
        device = DeviceId("m01")
        found = Score(
            device=device,
            at_ms=T0,
            score=score or 0.0,
            threshold=1.0,
            top_feature="fan_response",
            against_peers=-0.3,
            evidence={"fan_response": 6.0},
        )
        miner = MinerView(
            device=device,
            zone=ZONE,
            mode=self.mode,
            state=MinerState.MINING,
            preset=self.preset,
            ladder=self.ladder,
            score=found if score is not None else None,
        )
        return Context(now_s=self.now_s, now_ms=T0, scored=scored, miners=(miner,), model=MODEL)


def test_two_ill_cycles_of_five_say_nothing_and_the_third_does() -> None:
    ward = Ward()
    ward.cycle(ILL, times=2)
    ward.cycle(CALM, times=2)
    assert not ward.events
    ward.cycle(ILL)
    assert ward.events == [EventKind.ALARM]


def test_the_alarm_says_what_is_seen_and_what_to_do() -> None:
    decision = Ward().cycle(ILL, times=3)
    [alarm] = decision.events
    assert alarm.title == "m01: fan speed low for its duty"
    assert "fan" in alarm.advice
    assert alarm.data["top_feature"] == "fan_response"
    assert alarm.data["residual_fan_response"] == 6.0
    assert alarm.data["version"] == 3


def test_it_asks_for_the_next_tuned_step_below_the_running_one() -> None:
    ward = Ward()
    decision = ward.cycle(ILL, times=3)
    assert ward.presets == ["2600"], "2800 is not tuned"
    [proposal] = decision.proposals
    assert proposal.model == MODEL
    assert proposal.confidence == pytest.approx(0.6)
    assert proposal.ttl_s == 15
    assert "fan speed low" in proposal.reason


@pytest.mark.parametrize("mode", [None, *(mode for mode in Mode if mode is not Mode.ML_ACTIVE)])
def test_outside_of_ml_active_it_speaks_but_does_not_ask(mode: Mode | None) -> None:
    ward = Ward(mode=mode)
    ward.cycle(ILL, times=10)
    assert ward.events == [EventKind.ALARM]
    assert not ward.presets


def test_it_waits_for_the_dwell_and_stops_after_two_steps() -> None:
    ward = Ward()
    ward.cycle(ILL, times=3)
    ward.preset = "2600"
    ward.cycle(ILL, times=5)
    assert ward.presets == ["2600"]
    ward.cycle(ILL, times=1)
    assert ward.presets == ["2600", "2200"]
    ward.preset = "2200"
    ward.cycle(ILL, times=30)
    assert ward.presets == ["2600", "2200"], "no step below the ladder, no third step"
    assert ward.events == [EventKind.ALARM], "one alarm, however long it stands"


def test_a_refused_proposal_is_made_again_once_after_the_dwell() -> None:
    ward = Ward()
    ward.cycle(ILL, times=40)
    assert ward.presets == ["2600", "2600"]


def test_it_clears_after_five_calm_cycles_and_not_on_the_edge() -> None:
    ward = Ward()
    ward.cycle(ILL, times=3)
    ward.cycle(ODD, times=20)
    assert EventKind.ALARM_CLEARED not in ward.events, "0.9 of the threshold is not yet calm"
    ward.cycle(CALM, times=4)
    ward.cycle(ODD)
    ward.cycle(CALM, times=4)
    assert EventKind.ALARM_CLEARED not in ward.events
    ward.cycle(CALM)
    assert ward.events == [EventKind.ALARM, EventKind.ALARM_CLEARED]


def test_alarm_and_clearing_share_a_key() -> None:
    ward = Ward()
    [alarm] = ward.cycle(ILL, times=3).events
    [cleared] = ward.cycle(CALM, times=5).events
    assert alarm.key == cleared.key


def test_a_miner_that_is_not_scored_keeps_its_alarm() -> None:
    """Stopped, restarting or silent: nobody knows whether it is well, so nothing is cleared."""
    ward = Ward()
    ward.cycle(ILL, times=3)
    ward.cycle(None, times=50)
    ward.cycle(CALM, times=50, scored=False)
    assert ward.events == [EventKind.ALARM]
    assert ward.policy.alarms == ("m01",)


def test_an_alarm_survives_a_restart_and_can_be_cleared_after_it() -> None:
    ward = Ward()
    ward.cycle(ILL, times=3)
    after = Ward(preset="2600")
    after.policy.recall(ward.policy.remember())
    after.cycle(ILL, times=3)
    assert not after.events, "people were told already"
    after.cycle(CALM, times=5)
    assert after.events == [EventKind.ALARM_CLEARED]


@given(st.lists(st.sampled_from([ILL, CALM, ODD, None]), max_size=60))
def test_alarms_and_clearings_alternate_and_proposals_only_go_down(scores: list[float | None]) -> None:
    ward = Ward()
    for score in scores:
        ward.cycle(score)
    assert all(kind is EventKind.ALARM for kind in ward.events[::2])
    assert all(kind is EventKind.ALARM_CLEARED for kind in ward.events[1::2])
    assert set(ward.presets) <= {"2600"}
    assert len(ward.presets) <= 2 * ward.events.count(EventKind.ALARM)


class TestLadder:
    def test_an_unknown_running_step_has_no_lower_one(self) -> None:
        assert one_step_lower(LADDER, None) is None
        assert one_step_lower(LADDER, "3100") is None
        assert one_step_lower((), "3000") is None

    def test_the_lowest_step_has_no_lower_one(self) -> None:
        assert one_step_lower(LADDER, "2200") is None

    @given(st.sampled_from(LADDER))
    def test_lower_is_lower_and_tuned(self, running: Preset) -> None:
        lower = one_step_lower(LADDER, running.name)
        assert lower is None or (lower.tuned and lower.power_w < running.power_w)


class TestEvidence:
    def score(self, feature: str, against_peers: float | None) -> Score:
        return Score(
            device=DeviceId("m01"),
            at_ms=T0,
            score=2,
            threshold=1,
            top_feature=feature,
            against_peers=against_peers,
            evidence={},
        )

    @pytest.mark.parametrize("feature", [feature.name for feature in miner_spec(60).features])
    def test_every_feature_of_the_spec_has_words_and_an_advice(self, feature: str) -> None:
        found = explain(self.score(feature, 1.0))
        assert " high " in found.what
        assert found.advice.endswith(".")
        assert feature not in found.what or "_" not in feature

    def test_without_peers_the_side_is_not_known(self) -> None:
        assert "unusual" in explain(self.score("fan_response", None)).what

    def test_a_feature_of_the_future_keeps_its_name(self) -> None:
        assert explain(self.score("coil_whine", 1.0)).what == "coil whine unusual"
