"""Anomaly policy: a miner that looks ill for long enough is reported and asked to run one step lower.

k of the last n scored cycles above the threshold raise the alarm; n calm cycles below a lower threshold clear
it. In ML_ACTIVE, and only there, each alarm also proposes the next lower *tuned* step of the miner's own
ladder, at most twice and never faster than the dwell. Lowering is the safe direction; the arbiter still
decides.
"""

from collections import deque

import msgspec

from edge_agent.agent.events import Evidence, event, new_id
from edge_agent.agent.inference.model import Score
from edge_agent.agent.policies.evidence import explain
from edge_agent.agent.policies.face import Context, Decision, MinerView
from edge_agent.ipc import Mode
from shared.alarms import Event, EventKind, Severity
from shared.capabilities import Preset
from shared.commands import Proposal, SetPreset
from shared.ids import CommandId, DeviceId


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of the policy. `clear_share` of the threshold is the hysteresis."""

    k: int = 3
    n: int = 5
    clear_share: float = 0.8
    dwell_s: float
    ttl_s: float
    max_steps: int = 2


class _Patient(msgspec.Struct, kw_only=True):
    """Memory of one miner."""

    verdicts: deque[bool]
    calm: int = 0
    alarm: str | None = None
    steps: int = 0
    proposed_s: float | None = None


class _Standing(msgspec.Struct, frozen=True):
    """What survives a restart: the alarms that people were told of."""

    alarms: dict[DeviceId, tuple[str, int]]


class AnomalyPolicy:
    """See the module's docstring."""

    def __init__(self, rule: Rule) -> None:
        self.name = "anomaly"
        self._rule = rule
        self._patients: dict[DeviceId, _Patient] = {}

    @property
    def alarms(self) -> tuple[DeviceId, ...]:
        """Miners whose alarm stands."""
        return tuple(device for device, patient in self._patients.items() if patient.alarm is not None)

    def decide(self, context: Context) -> Decision:
        """Update every miner that was scored in this cycle; the others keep what is known of them."""
        if not context.scored:
            return Decision()
        events: list[Event] = []
        proposals: list[Proposal] = []
        for miner in context.miners:
            if miner.score is None:
                continue
            patient = self._patients.setdefault(miner.device, _Patient(verdicts=deque(maxlen=self._rule.n)))
            events += self._judge(patient, miner, miner.score, context)
            if (proposal := self._propose(patient, miner, miner.score, context)) is not None:
                proposals.append(proposal)
        return Decision(proposals=tuple(proposals), events=tuple(events))

    def remember(self) -> bytes:
        """The standing alarms."""
        alarms = {d: (p.alarm, p.steps) for d, p in self._patients.items() if p.alarm is not None}
        return msgspec.msgpack.encode(_Standing(alarms))

    def recall(self, memory: bytes) -> None:
        """Take up standing alarms after a restart, so that they can be cleared and are not told twice."""
        for device, (key, steps) in msgspec.msgpack.decode(memory, type=_Standing).alarms.items():
            self._patients[device] = _Patient(
                verdicts=deque([True] * self._rule.k, maxlen=self._rule.n), alarm=key, steps=steps
            )

    # ------------------------------------------------------------ one miner

    def _judge(self, patient: _Patient, miner: MinerView, score: Score, context: Context) -> list[Event]:
        patient.verdicts.append(score.alarming)
        patient.calm = patient.calm + 1 if score.score < self._rule.clear_share * score.threshold else 0
        if patient.alarm is None and sum(patient.verdicts) >= self._rule.k:
            patient.alarm, patient.steps = f"anomaly:{miner.device}", 0
            return [self._alarm(patient.alarm, miner, score, context)]
        if patient.alarm is not None and patient.calm >= self._rule.n:
            key, patient.alarm = patient.alarm, None
            patient.verdicts.clear()
            return [self._cleared(key, miner, score, context)]
        return []

    def _alarm(self, key: str, miner: MinerView, score: Score, context: Context) -> Event:
        finding = explain(score)
        model = context.model
        data: Evidence = {
            "score": round(score.score, 4),
            "threshold": round(score.threshold, 4),
            "top_feature": score.top_feature,
            "preset": miner.preset,
            "model": model.name if model is not None else None,
            "version": model.version if model is not None else None,
        }
        data |= {f"residual_{name}": value for name, value in score.evidence.items()}
        return event(
            EventKind.ALARM,
            key,
            f"{miner.device}: {finding.what}",
            at_ms=context.now_ms,
            severity=Severity.HIGH,
            advice=finding.advice,
            device=miner.device,
            zone=miner.zone,
            data=data,
        )

    def _cleared(self, key: str, miner: MinerView, score: Score, context: Context) -> Event:
        return event(
            EventKind.ALARM_CLEARED,
            key,
            f"{miner.device} looks normal again",
            at_ms=context.now_ms,
            device=miner.device,
            zone=miner.zone,
            data={"score": round(score.score, 4), "threshold": round(score.threshold, 4)},
        )

    def _propose(
        self, patient: _Patient, miner: MinerView, score: Score, context: Context
    ) -> Proposal | None:
        rule = self._rule
        if patient.alarm is None or miner.mode is not Mode.ML_ACTIVE or not score.alarming:
            return None
        if patient.steps >= rule.max_steps:
            return None
        if patient.proposed_s is not None and context.now_s - patient.proposed_s < rule.dwell_s:
            return None
        lower = one_step_lower(miner.ladder, miner.preset)
        if lower is None:
            return None
        patient.proposed_s = context.now_s
        patient.steps += 1
        return Proposal(
            id=CommandId(new_id()),
            policy=self.name,
            actions=(SetPreset(device=miner.device, preset=lower.name),),
            reason=f"{explain(score).what} (score {score.score:.2f}, threshold {score.threshold:.2f})",
            ttl_s=rule.ttl_s,
            model=context.model,
            confidence=min(1.0, max(0.0, sum(patient.verdicts) / rule.n)),
        )


def one_step_lower(ladder: tuple[Preset, ...], running: str | None) -> Preset | None:
    """The strongest tuned step below the running one; None where that or the running step is unknown."""
    now = next((preset for preset in ladder if preset.name == running), None)
    if now is None:
        return None
    lower = [preset for preset in ladder if preset.tuned and preset.power_w < now.power_w]
    return max(lower, key=lambda preset: preset.power_w, default=None)
