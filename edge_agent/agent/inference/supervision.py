"""Watches the model that acts, and takes it back by itself: no network and nobody asked.

A model that was swapped in is on trial until it has scored well for `shadow_cycles` cycles or the cloud
assigned it again; both too late, and it goes back. After that it is watched on. Each reason has a word of its
own in the report's `reason`: failure, latency, drift, outcome, errors, interventions, unconfirmed, expired
(and elsewhere crash, load, withdrawn, operator, keys).
"""

from typing import Final

import msgspec

from edge_agent.agent.events import Evidence
from edge_agent.agent.inference.acts import Acts, Tally
from edge_agent.agent.inference.engine import ModelRun
from edge_agent.agent.inference.memory import Trial
from edge_agent.agent.inference.model import LoadedModel
from edge_agent.agent.inference.transitions import Transitions
from edge_agent.config import SiteFile
from edge_agent.ipc import Outcome, Result
from shared.artifacts.manifest import Stage, Verified, ends_ms
from shared.clock import Clock
from shared.commands import Proposal

REPORT_EVERY_S: Final = 600.0
_SAVE_EVERY_S: Final = 60.0
OVER_FOR_S: Final = 600.0
"""How long the wall clock must say that a model's time is over."""


class _Since:
    """Counted since the last report."""

    def __init__(self) -> None:
        self.cycles = 0
        self.scored = 0
        self.alarms = 0


class Supervision:
    """Judges each cycle. Callers hold the transitions' lock."""

    def __init__(self, clock: Clock, site: SiteFile, moves: Transitions) -> None:
        self._clock = clock
        self._settings = site.agent
        self._moves = moves
        self._acts: Acts | None = None
        self._since = _Since()
        self._life_cycles = 0
        """Good cycles of the active model in this life of the agent."""
        self._seen_s = clock.monotonic()
        self._saved_s = 0.0
        self._over_since_s: float | None = None
        self._report_due_s = clock.monotonic() + REPORT_EVERY_S

    # ------------------------------------------------------------ what others hand in

    def proposed(self, proposal: Proposal) -> None:
        """A policy's proposal went to the guardian."""
        if self._acts is not None:
            self._acts.proposed(proposal)

    def result(self, result: Result) -> None:
        """The guardian answered a proposal."""
        if self._acts is not None:
            self._acts.result(result, self._clock.monotonic())

    def outcome(self, outcome: Outcome) -> None:
        """The guardian measured what an applied action did."""
        if self._acts is not None:
            self._acts.outcome(outcome, self._clock.monotonic())

    @property
    def trial(self) -> Trial | None:
        """Of the active model; None where none acts."""
        return self._moves.memory.now.trial if self._moves.engine.active is not None else None

    def confirmed_by_cloud(self, sha256: str) -> None:
        """The cloud assigned the active model once more: it saw what it wanted to see."""
        self._adopt()
        if (trial := self.trial) is not None and trial.sha256 == sha256:
            self._confirm(trial)

    # ------------------------------------------------------------ each cycle

    async def after(self, run: ModelRun | None) -> None:
        """Judge the active model by its cycle; takes it back where it must go."""
        self._adopt()
        await self._judge(run)
        if self._moves.memory.now.starts and self._ran_for_a_while():
            self._moves.memory.change(starts=0)

    async def _judge(self, run: ModelRun | None) -> None:
        active = self._moves.engine.active
        if active is None or run is None or run.ref != active.ref:
            return
        if run.failure:
            await self._moves.roll_back(run.failure, reason="failure")
            return
        if run.scores:
            self._count(run)
        if (verdict := self._verdict(active)) is not None:
            await self._moves.roll_back(verdict[1], reason=verdict[0])

    async def pass_time(self) -> None:
        """A trial ends by time even when nothing is scored; reports go out on time."""
        self._adopt()
        await self._moves.finish()
        if (active := self._moves.engine.active) is not None and (why := self._overdue()):
            await self._moves.roll_back(why, reason="unconfirmed")
        if self._clock.monotonic() >= self._report_due_s:
            self._report_due_s = self._clock.monotonic() + REPORT_EVERY_S
            await self._report(active)

    def _adopt(self) -> None:
        """Take up another active model: whoever moved it, and whatever was killed in between."""
        now_s = self._clock.monotonic()
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        active, memory = self._moves.engine.active, self._moves.memory
        if active is None:
            self._acts = None
            return
        if self._acts is not None and self._acts.ref == active.ref:
            self._age(passed_s)
            return
        trial = memory.now.trial
        if trial is None or trial.sha256 != active.ref.sha256:
            proven = active.ref.sha256 in memory.now.proven
            before = self._acts.tally if self._acts is not None and not proven else Tally()
            trial = Trial(sha256=active.ref.sha256, confirmed=proven, before=before)
            memory.change(trial=trial)
        self._acts, self._since, self._life_cycles = Acts(active.ref, trial.before), _Since(), 0

    def _age(self, passed_s: float) -> None:
        trial, memory = self.trial, self._moves.memory
        if trial is None or trial.confirmed:
            return
        older = msgspec.structs.replace(trial, elapsed_s=trial.elapsed_s + passed_s)
        if older.elapsed_s - self._saved_s >= _SAVE_EVERY_S or self._saved_s > older.elapsed_s:
            self._saved_s = older.elapsed_s
            memory.change(trial=older)
        else:
            memory.now = msgspec.structs.replace(memory.now, trial=older)

    def _count(self, run: ModelRun) -> None:
        self._since.cycles += 1
        self._since.scored += len(run.scores)
        self._since.alarms += sum(score.alarming for score in run.scores)
        self._life_cycles += 1
        memory, trial = self._moves.memory, self.trial
        if trial is None or trial.confirmed:
            return
        trial = msgspec.structs.replace(trial, good_cycles=trial.good_cycles + 1)
        memory.now = msgspec.structs.replace(memory.now, trial=trial)
        if trial.good_cycles >= self._settings.shadow_cycles:
            self._confirm(trial)

    def _ran_for_a_while(self) -> bool:
        """Whether every model that is loaded has, in this life: one alone does not speak for the other."""
        engine, enough = self._moves.engine, self._settings.shadow_cycles
        return (engine.active is None or self._life_cycles >= enough) and (
            engine.candidate is None or engine.shadow.cycles >= enough
        )

    def _confirm(self, trial: Trial) -> None:
        memory = self._moves.memory
        confirmed = msgspec.structs.replace(memory.now, trial=msgspec.structs.replace(trial, confirmed=True))
        memory.set(confirmed.with_proven(trial.sha256))

    # ------------------------------------------------------------ verdicts

    def _verdict(self, active: LoadedModel) -> tuple[str, str] | None:
        """(reason, sentence) for taking it back, or None."""
        acts, now_s = self._acts, self._clock.monotonic()
        found = [
            ("expired", self._expired(active)),
            ("latency", active.latencies.over(self._settings.model_budget_ms)),
            ("drift", active.drift.alarm),
        ]
        if acts is not None:
            found += [
                ("outcome", acts.worsened(now_s)),
                ("errors", acts.failing(now_s)),
                ("interventions", acts.overruled()),
            ]
        return next(((reason, why) for reason, why in found if why), None)

    def _expired(self, active: LoadedModel) -> str:
        """Its time is over by a clock that says so for a while: one that jumped is put right in minutes."""
        now_s, until_ms = self._clock.monotonic(), self._moves.memory.now.seen.until_ms
        papers = Verified(assignment=active.assignment, manifest=active.manifest)
        if self._clock.utc_ms() < ends_ms(papers, until_ms):
            self._over_since_s = None
            return ""
        if self._over_since_s is None:
            self._over_since_s = now_s
        return "its assignment has expired" if now_s - self._over_since_s >= OVER_FOR_S else ""

    def _overdue(self) -> str:
        trial, within_s = self.trial, self._settings.confirm_within_s
        if trial is None or trial.confirmed or trial.elapsed_s < within_s:
            return ""
        return (
            f"{trial.good_cycles} of {self._settings.shadow_cycles} good cycles and no second assignment "
            f"within {within_s:g} s"
        )

    # ------------------------------------------------------------ reports

    async def _report(self, active: LoadedModel | None) -> None:
        candidate, shadow = self._moves.engine.candidate, self._moves.engine.shadow
        if candidate is not None:
            figures = shadow.figures() | self._figures_of(candidate) | {"errors": 0}
            detail = f"{shadow.cycles} cycles in the shadow"
            await self._moves.report(candidate.manifest, "shadow-report", detail, figures=figures)
        if active is not None and self._moves.engine.active is active:
            figures, self._since = self.figures(active), _Since()
            acting = "acts" if active.assignment.stage is Stage.ACTIVE else "scores"
            detail = f"{acting}, {figures['cycles']} cycles since the last report"
            await self._moves.report(active.manifest, "active-report", detail, figures=figures)

    def figures(self, active: LoadedModel) -> Evidence:
        """Of the active model: cycles and alarms since the last report, actions since it acts."""
        since, tally = self._since, self._acts.tally if self._acts is not None else Tally()
        rate = tally.intervention_rate
        trial = self.trial
        data: Evidence = {
            "cycles": since.cycles,
            "scored": since.scored,
            "alarms": since.alarms,
            "alarm_rate": round(since.alarms / since.scored, 4) if since.scored else None,
            "answered": tally.answered,
            "errors": tally.failed,
            "intervention_rate": round(rate, 4) if rate is not None else None,
            "confirmed": trial.confirmed if trial is not None else None,
        }
        return data | self._figures_of(active)

    def _figures_of(self, model: LoadedModel) -> Evidence:
        p99 = model.latencies.p99_ms
        data: Evidence = {"latency_p99_ms": round(p99, 3) if p99 is not None else None}
        return data | model.drift.figures()
