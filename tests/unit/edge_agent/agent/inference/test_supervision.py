"""A model that acts is taken back by itself: every reason, and none of them twice."""

import asyncio
import errno
from pathlib import Path

import pytest

from edge_agent import ipc
from edge_agent.agent.inference import memory
from edge_agent.agent.inference.admission import Seen
from edge_agent.agent.inference.slots import SlotMap
from edge_agent.agent.inference.supervision import REPORT_EVERY_S
from edge_agent.agent.inference.transitions import MAX_STARTS
from shared.artifacts.manifest import Stage
from shared.commands import ActionOutcome, Proposal, SetPreset
from shared.ids import CommandId, DeviceId
from support.agent import STEP_S, make_assignment, make_manifest, tiny_onnx
from support.agent_bench import AgentBench
from support.bad_models import nan_between
from support.model_bench import (
    DATA,
    DATA2,
    SPEC,
    V1,
    V2,
    give,
    killed_life,
    life,
    place,
    running,
    settings,
    two_versions,
    why_back,
)

DATA3 = tiny_onnx(SPEC, scale=0.07)
ACTION = SetPreset(device=DeviceId("m01"), preset="2600")


async def silence(b: AgentBench, seconds: float) -> None:
    """The guardian is gone: nothing to score, and the keeper's own loop goes on."""
    for _ in range(int(seconds / 5)):
        b.clock.advance(5.0)
        async with b.keeper._moves.lock:
            await b.keeper._pass_time()


def answered(b: AgentBench, number: int, outcome: ActionOutcome) -> None:
    """One proposal of the active model, and the guardian's answer."""
    active = b.keeper.engine.active
    assert active is not None
    command = CommandId(f"p{number}")
    b.keeper.proposed(
        Proposal(id=command, policy="anomaly", actions=(ACTION,), reason="ill", ttl_s=10, model=active.ref)
    )
    b.keeper.result(
        ipc.Result(id=command, outcome=outcome, detail="", asked=(ACTION,), applied=(ACTION,), at_ms=0)
    )


class TestTrial:
    async def test_a_model_that_scores_well_is_confirmed_and_stays(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            trial = b.keeper.supervision.trial
            assert trial is not None
            assert not trial.confirmed
            await b.steps(4)
            assert b.keeper.memory.trial is not None
            assert b.keeper.memory.trial.confirmed
            await silence(b, 10_000)
            assert running(b) == (2, None)

    async def test_without_scores_it_is_not_confirmed_in_time_and_goes_back(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await silence(b, 3_500)
            assert running(b) == (2, None)
            await silence(b, 200)
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "unconfirmed"
            await silence(b, 10_000)
            assert running(b) == (1, None), "the one before was confirmed long ago and has no trial"

    async def test_a_restart_does_not_begin_the_trial_anew(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await silence(b, 3_400)
        async with life(tmp_path, before=b) as b:
            await silence(b, 300)
            assert running(b) == (1, None)

    async def test_a_second_assignment_confirms_too(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await give(b, make_assignment(V2, counter=3), DATA2, until_state="active")
            await silence(b, 10_000)
            assert running(b) == (2, None)

    async def test_f28_a_stepped_wall_clock_neither_ends_nor_prolongs_it(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            b.clock.step_wall(86_400_000)
            await silence(b, 100)
            b.clock.step_wall(-2 * 86_400_000)
            await silence(b, 100)
            assert running(b) == (2, None)


class TestReasons:
    async def test_nan_on_the_data_of_one_bad_day(self, tmp_path: Path) -> None:
        data = nan_between(SPEC, "fan_weakest", 0.1, 0.45)
        bad = make_manifest(data, SPEC, version=2)
        async with life(tmp_path) as b:
            await two_versions(b, bad, data)
            await b.steps(6)
            assert running(b) == (2, None)
            await b.steps(2, rpm={"m02": 1_000.0})
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "failure"
            assert "finite" in str(why_back(b)["why"])

    async def test_a_latency_over_the_budget(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            active = b.keeper.engine.active
            assert active is not None
            for _ in range(10):
                active.latencies.add(1_500.0)
            await b.steps(1)
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "latency"

    async def test_a_candidate_over_the_budget_never_acts(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            candidate = b.keeper.engine.candidate
            assert candidate is not None
            for _ in range(20):
                candidate.latencies.add(1_500.0)
            await b.steps(1)
            assert running(b) == (None, None)
            assert b.events()[-1].data["reason"] == "latency"

    async def test_the_guardian_steps_in_more_often_than_before(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(4)
            for number in range(40):
                answered(b, number, ActionOutcome.APPLIED)
            await place(b, make_assignment(V2, counter=2), DATA2)
            await b.steps(3)
            assert running(b) == (2, None)
            await b.steps(1)
            for number in range(100, 108):
                answered(b, number, ActionOutcome.REJECTED)
            await b.steps(1)
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "interventions"
            assert "before at 0 of 40" in str(why_back(b)["why"])

    async def test_actions_that_fail(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await b.steps(1)
            for number in range(8):
                answered(b, number, ActionOutcome.UNCONFIRMED if number < 4 else ActionOutcome.APPLIED)
            await b.steps(1)
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "errors"

    async def test_a_measured_outcome_that_worsens(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await b.steps(1)
            for number in range(3):
                answered(b, number, ActionOutcome.APPLIED)
                outcome = ipc.Outcome(
                    id=CommandId(f"p{number}"),
                    action=ACTION,
                    before=ipc.Effect(j_per_th=25.0),
                    after=ipc.Effect(j_per_th=34.0),
                    window_s=60,
                    at_ms=0,
                )
                await b.pipeline.handle(outcome)
            await b.steps(1)
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "outcome"

    async def test_drift(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            active = b.keeper.engine.active
            assert active is not None
            monkeypatch.setattr(type(active.drift), "alarm", property(lambda _self: "chip_hot_c moved"))
            await b.steps(1)
            assert why_back(b)["reason"] == "drift"

    async def test_a_model_that_brings_the_agent_down_is_not_loaded_again(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
        for n in range(MAX_STARTS):
            async with killed_life(tmp_path, before=b) as b:
                assert running(b) == (2, None), f"start {n + 1}"
        async with killed_life(tmp_path, before=b) as b:
            assert running(b) == (1, None)
            assert why_back(b)["reason"] == "crash"
            assert b.slots.current() == SlotMap(active=V1.sha256)

    async def test_restarts_of_a_model_that_runs_are_not_held_against_it(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
        for _ in range(2 * MAX_STARTS):
            async with killed_life(tmp_path, before=b) as b:
                await b.steps(3)
                assert running(b) == (2, None)
        for _ in range(2 * MAX_STARTS):
            async with life(tmp_path, before=b) as b:  # an orderly stop right after each start
                assert running(b) == (2, None)


class TestCrashes:
    """Kills right after the start: nobody can see which model it was."""

    async def starts(self, b: AgentBench, folder: Path, count: int) -> tuple[list[object], list[object]]:
        """So many lives that are killed at once: what ran in each, and (version, state, reason) as told."""
        found: list[object] = []
        for _ in range(count):
            async with killed_life(folder, before=b) as b:
                found.append(running(b))
                data = [event.data for event in b.events() if event.kind == "model"]
        return found, [(d["version"], d["state"], d.get("reason")) for d in data]

    async def test_the_candidate_goes_first_and_the_active_model_stays(self, tmp_path: Path) -> None:
        retained = make_assignment(V2, counter=2)
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(8)
            await place(b, retained, DATA2)
        found, told = await self.starts(b, tmp_path, MAX_STARTS + 1)
        assert found == [(1, 2)] * MAX_STARTS + [(1, None)]
        assert told[-1] == (2, "refused", "crash")
        assert b.slots.current() == SlotMap(active=V1.sha256)
        async with life(tmp_path, before=b) as b:
            await b.keeper.offer(retained)
            assert b.keeper._offer is None, "what the broker retains does not bring it back"
            await b.steps(4)
            assert running(b) == (1, None)
            assert "rolled-back" not in b.model_states(), "it was not the active one"
            await give(b, make_assignment(V2, counter=3), DATA2)
            assert running(b) == (1, 2), "a new assignment does"

    async def test_a_candidate_alone_goes_too(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
        found, told = await self.starts(b, tmp_path, 3 * MAX_STARTS)
        assert found == [(None, 1)] * MAX_STARTS + [(None, None)] * (2 * MAX_STARTS)
        assert told == [(1, "shadow", None), (1, "refused", "crash")], "and is told once"

    async def test_what_was_never_accepted_is_refused_too(self, tmp_path: Path) -> None:
        """Killed between the shadow and the note that its assignment was taken."""
        retained = make_assignment(V1, counter=1)
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, retained, DATA)
            b.keeper._moves.memory.change(seen=Seen())
        await self.starts(b, tmp_path, MAX_STARTS + 1)
        async with life(tmp_path, before=b) as b:
            await b.keeper.offer(retained)
            assert b.keeper._offer is None

    async def test_the_active_model_goes_back_where_it_goes_on_without_the_candidate(
        self, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            third = make_manifest(DATA3, SPEC, version=3, scale=0.07)
            await place(b, make_assignment(third, counter=3), DATA3)
            assert running(b) == (2, 3)
        found, told = await self.starts(b, tmp_path, 2 * MAX_STARTS)
        assert found == [(2, 3)] * MAX_STARTS + [(2, None)] * MAX_STARTS
        found, told = await self.starts(b, tmp_path, 1)
        assert found == [(1, None)]
        assert (2, "rolled-back", "crash") in told

    async def test_a_candidate_must_run_for_a_while_whatever_the_active_one_has_proved(
        self, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(8)
            assert b.keeper.memory.starts == 0
            await place(b, make_assignment(V2, counter=2, stage=Stage.SHADOW), DATA2)
            await b.steps(1)
            assert b.keeper.memory.starts == 1, "the active one does not speak for it"
            await b.steps(3)
            assert b.keeper.memory.starts == 0

    async def test_restarts_of_two_models_that_run_are_not_held_against_them(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(8)
            await place(b, make_assignment(V2, counter=2, stage=Stage.SHADOW), DATA2)
        for _ in range(2 * MAX_STARTS):
            async with killed_life(tmp_path, before=b) as b:
                await b.steps(3)
                assert running(b) == (1, 2)


class TestNoPingPong:
    async def test_a_rolled_back_version_needs_a_new_assignment(self, tmp_path: Path) -> None:
        retained = make_assignment(V2, counter=2)
        async with life(tmp_path) as b:
            await two_versions(b)
            assert await b.keeper.rollback("operator")
            await b.keeper.offer(retained)
            await b.steps(2)
            assert running(b) == (1, None)
        (tmp_path / "agent.sqlite").unlink()  # the store is lost, what the models need to know is not in it
        async with life(tmp_path, before=b) as b:
            await b.keeper.offer(retained)
            assert b.keeper._offer is None
            await b.steps(2)
            assert running(b) == (1, None)
            await give(b, make_assignment(V2, counter=3), DATA2)
            await b.steps(4)
            assert running(b) == (2, None)

    async def test_rolling_back_twice_ends_on_rules_and_not_at_the_bad_one(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            assert await b.keeper.rollback("operator")
            assert await b.keeper.rollback("operator")
            await b.keeper.offer(make_assignment(V2, counter=2))
            await b.steps(3)
            assert running(b) == (None, None)
            assert b.slots.current() == SlotMap()


class TestPin:
    async def test_a_pinned_version_stays_whatever_the_cloud_assigns(self, tmp_path: Path) -> None:
        newer = make_assignment(V2, counter=2)
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(4)
            pin = await b.keeper.pin()
            assert pin is not None
            assert (pin.name, pin.version) == ("miner-anomaly", 1)
            await b.keeper.offer(newer)
            async with asyncio.timeout(5):
                while not any("waits" in e.data for e in b.events()):
                    await asyncio.sleep(0.01)
            await b.steps(4)
            assert running(b) == (1, None)
            assert not b.asked or b.asked[-1].sha256 == V1.sha256, "it was not even fetched"
        async with life(tmp_path, before=b) as b:
            assert b.keeper.memory.pin is not None, "over a restart"
            await b.keeper.offer(newer)
            async with asyncio.timeout(5):
                while b.keeper._waiting is None:
                    await asyncio.sleep(0.01)
            assert len([e for e in b.events() if "waits" in e.data]) <= 2
            assert await b.keeper.unpin()
            await give(b, newer, DATA2)
            await b.steps(4)
            assert running(b) == (2, None)
            assert not await b.keeper.unpin()

    async def test_a_candidate_waits_in_the_shadow_while_another_is_pinned(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(4)
            await place(b, make_assignment(V2, counter=2), DATA2)
            await b.keeper.pin()
            await b.steps(6)
            assert running(b) == (1, 2)

    async def test_a_pin_does_not_hold_against_a_withdrawal_or_a_failure(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await b.keeper.pin()
            await b.keeper.offer(make_assignment(V2, counter=3, stage=Stage.WITHDRAWN))
            async with asyncio.timeout(5):
                while running(b) != (1, None):
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                while b.keeper.memory.pin is not None:
                    await asyncio.sleep(0.01)

    async def test_with_no_model_there_is_nothing_to_pin(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            assert await b.keeper.pin() is None


class TestReports:
    async def test_numbers_go_out_every_ten_minutes(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(4)
            await place(b, make_assignment(V2, counter=2, stage=Stage.SHADOW), DATA2)
            for number in range(10):
                answered(b, number, ActionOutcome.REJECTED if number < 3 else ActionOutcome.APPLIED)
            await b.steps(round(REPORT_EVERY_S / STEP_S) + 2, rpm={"m03": 3_000.0})
            found = {
                str(e.data["state"]): e.data
                for e in b.events()
                if str(e.data.get("state")).endswith("-report")
            }
            shadow, active = found["shadow-report"], found["active-report"]
            assert (shadow["version"], active["version"]) == (2, 1)
            assert shadow["cycles"] == pytest.approx(120, abs=8)
            assert shadow["agreement"] == 1.0
            assert shadow["alarm_agreement"] == 1.0
            assert shadow["alarm_rate"] == pytest.approx(0.25, abs=0.02)
            assert shadow["correlation"] == pytest.approx(1.0, abs=1e-3)
            assert float(str(shadow["difference_p99"])) > 0
            assert active["intervention_rate"] == 0.3
            assert active["answered"] == 10
            assert active["errors"] == 0
            assert active["alarm_rate"] == pytest.approx(0.25, abs=0.02)
            assert 0 <= float(str(active["latency_p99_ms"])) < 1_000

    async def test_status_says_pin_trial_and_refusals(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            await give(b, make_assignment(V1, counter=1), b"x" * len(DATA), until_state="refused")
            assert b.keeper.refused == {"transfer": 1}
            settings(b, confirm_within_s=1.0)
            assert b.keeper.supervision.trial is None


async def test_a_disk_that_refuses_does_not_keep_a_bad_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no say from the first moment; what is to be written is written when the disk takes it."""
    async with life(tmp_path) as b:
        await two_versions(b)

        def full(*_args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(memory, "durable_write", full)
            assert await b.keeper.rollback("operator")
            assert running(b) == (None, None)
            assert b.said(ipc.Unassign)
            leases = len(b.said(ipc.Lease))
            await b.steps(2)
            assert len(b.said(ipc.Lease)) == leases + 2, "and the site's lease goes on"
            assert b.slots.current().active == V2.sha256
        await b.steps(2)
        assert running(b) == (1, None)
        assert b.slots.current() == SlotMap(active=V1.sha256)
        assert why_back(b)["reason"] == "operator"
