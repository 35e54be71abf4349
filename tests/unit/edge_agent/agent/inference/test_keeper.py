"""A model's whole way, with everything that can go wrong on it; the probe child is real."""

import asyncio
import errno
import hashlib
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.agent.inference.slots import SlotMap
from edge_agent.agent.inference.supervision import OVER_FOR_S
from shared.artifacts.manifest import Manifest, Stage
from shared.artifacts.signing import Signed
from support.agent import STEP_S, make_assignment, make_manifest, small_spec, tiny_onnx, typical
from support.agent_bench import AgentBench, agent_bench
from support.model_bench import DATA, DATA2, SPEC, V1, V2, give, life, part, place, running


async def until(b: AgentBench, state: str, *, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while b.model_states().count(state) < count:
            await asyncio.sleep(0.01)


async def test_the_whole_way_and_a_second_version_after_it(tmp_path: Path) -> None:
    async with life(tmp_path) as b:
        await b.steps(4)
        await give(b, make_assignment(V1, counter=1), DATA)
        assert running(b) == (None, 1)
        await b.steps(2)
        assert running(b) == (None, 1)
        await b.steps(2)
        assert running(b) == (1, None)
        await give(b, make_assignment(V2, counter=2), DATA2)
        await b.steps(4)
        assert running(b) == (2, None)
        assert b.slots.current() == SlotMap(active=V2.sha256, previous=V1.sha256)
        assert b.model_states() == ["downloaded", "verified", "shadow", "active"] * 2
        swaps = [m for m in b.said(ipc.Assign) if isinstance(m, ipc.Assign) and m.swapped]
        assert len(swaps) == 2
        active = [e for e in b.events() if e.data.get("state") == "active"][-1]
        assert active.data["agreement"] == 1.0
        assert active.data["shadow_cycles"] == 3
        assert {row.version for row in b.scores()} == {1, 2}


async def test_a_restart_keeps_slots_and_full_windows(tmp_path: Path) -> None:
    spec = small_spec(window=6)
    data = tiny_onnx(spec)
    signed = make_assignment(make_manifest(data, spec))
    async with life(tmp_path) as b:
        await b.steps(8)
        await give(b, signed, data)
        await b.steps(4)
    async with life(tmp_path, before=b) as b:
        assert running(b) == (1, None)
        await b.keeper.greet_guardian()
        [claim] = b.said(ipc.Assign)
        assert isinstance(claim, ipc.Assign)
        assert claim.swapped
        await b.keeper.offer(signed)
        await b.steps(1)
        assert b.cycle.miners == 4, "windows were filled from the store, nobody waits for a new one"
        assert b.model_states() == ["downloaded", "verified", "shadow", "active"], "no new work"


async def test_shadow_stage_stays_in_the_shadow_until_it_is_promoted(tmp_path: Path) -> None:
    async with life(tmp_path) as b:
        await b.steps(4)
        await give(b, make_assignment(V1, counter=1, stage=Stage.SHADOW), DATA)
        await b.steps(6)
        assert running(b) == (None, 1)
        await give(b, make_assignment(V1, counter=2, stage=Stage.ACTIVE), DATA, until_state="shadow")
        await b.steps(1)
        assert running(b) == (1, None)


async def test_a_demoted_model_scores_on_but_does_not_act(tmp_path: Path) -> None:
    async with life(tmp_path) as b:
        await b.steps(4)
        await give(b, make_assignment(V1, counter=1), DATA)
        await b.steps(4)
        before = len(b.sent)
        await give(b, make_assignment(V1, counter=2, stage=Stage.SHADOW), DATA)
        told = [m for m in b.sent[before:] if isinstance(m, ipc.Assign | ipc.Unassign)]
        assert isinstance(told[0], ipc.Unassign), "first the guardian lets go, then it hears the new stage"
        assert isinstance(told[1], ipc.Assign)
        assert not told[1].swapped
        await b.steps(1)
        assert b.cycle.miners == 4


class TestRollback:
    async def two_versions(self, b: AgentBench, second: Manifest, data: bytes) -> None:
        await b.steps(4)
        await give(b, make_assignment(V1, counter=1), DATA)
        await b.steps(4)
        await give(b, make_assignment(second, counter=2), data)
        await b.steps(4)
        assert running(b) == (2, None)

    async def test_withdrawn_goes_back_to_the_one_before(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await self.two_versions(b, V2, DATA2)
            await b.keeper.offer(make_assignment(V2, counter=3, stage=Stage.WITHDRAWN))
            await until(b, "rolled-back")
            await until(b, "active", count=3)
            assert running(b) == (1, None)
            assert b.slots.current() == SlotMap(active=V1.sha256)
            async with asyncio.timeout(5):
                while not getattr(b.sent[-1], "swapped", False):
                    await asyncio.sleep(0.01)

    async def test_an_operator_on_site_can_go_back_without_a_network(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await self.two_versions(b, V2, DATA2)
            assert await b.keeper.rollback("operator")
            assert running(b) == (1, None)
            assert await b.keeper.rollback("operator")
            assert running(b) == (None, None)
            assert not await b.keeper.rollback("operator"), "nothing is left to go back from"
            assert b.said(ipc.Unassign)

    async def test_a_model_that_begins_to_fail_goes_back_and_the_lease_is_not_renewed(
        self, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            await self.two_versions(b, V2, DATA2)
            active = b.keeper.engine.active
            assert active is not None
            active.session._width = 3  # what a damaged runtime would do: every run fails from now on
            leases = len(b.said(ipc.Lease))
            await b.steps(1)
            assert running(b) == (1, None)
            assert len(b.said(ipc.Lease)) == leases, "that cycle was not completed"
            await b.steps(1)
            assert len(b.said(ipc.Lease)) == leases + 1
            event = next(e for e in b.events() if e.data.get("state") == "rolled-back")
            assert event.severity == "high"

    async def test_an_assignment_that_expires_ends_the_model(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(4)
            short = b.clock.utc_ms() + 60_000
            await give(b, make_assignment(V1, expires_ms=short), DATA)
            await b.steps(4)
            assert running(b) == (1, None)
            await b.steps(10)
            assert running(b) == (1, None), "not on the first word of a clock that may have jumped"
            await b.steps(round(OVER_FOR_S / STEP_S))
            assert running(b) == (None, None)
            assert "expired" in str(b.events()[-1].data["detail"])

    async def test_a_clock_that_jumps_a_year_and_is_put_right_costs_no_model(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await self.two_versions(b, V2, DATA2)
            b.clock.step_wall(365 * 86_400_000)
            await b.steps(round(OVER_FOR_S / STEP_S) - 2)
            b.clock.step_wall(-365 * 86_400_000)
            await b.steps(round(OVER_FOR_S / STEP_S) + 2)
            assert running(b) == (2, None)

    async def test_a_model_whose_own_assignment_ended_may_be_gone_back_to(self, tmp_path: Path) -> None:
        """Only what acts is signed anew; months later, and without a network, the way back must be open."""
        async with life(tmp_path) as b:
            await b.steps(4)
            soon = b.clock.utc_ms() + 3_600_000
            await place(b, make_assignment(V1, counter=1, expires_ms=soon), DATA)
            await b.steps(8)
            await place(b, make_assignment(V2, counter=2), DATA2)
            await b.steps(8)
            b.clock.step_wall(7_200_000)
            assert await b.keeper.rollback("a person asked")
            await b.steps(round(OVER_FOR_S / STEP_S) + 2)
            assert running(b) == (1, None)

    async def test_a_damaged_active_file_falls_back_at_start(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await self.two_versions(b, V2, DATA2)
            path = b.slots.load(V2.sha256).path
        path.write_bytes(path.read_bytes()[:-7] + b"damaged")
        async with life(tmp_path, before=b) as b:
            assert running(b) == (1, None)
            assert b.slots.current() == SlotMap(active=V1.sha256)

    async def test_with_both_files_damaged_the_site_runs_on_rules(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await self.two_versions(b, V2, DATA2)
            paths = [b.slots.load(sha).path for sha in (V1.sha256, V2.sha256)]
        for path in paths:
            path.write_bytes(b"")
        async with life(tmp_path, before=b) as b:
            assert running(b) == (None, None)
            assert b.slots.current() == SlotMap()
            await b.steps(1)
            assert b.said(ipc.Lease)


class TestRefusals:
    """The active model is untouched by every one of them."""

    async def refused(self, b: AgentBench, signed: Signed, data: bytes = b"") -> str:
        await give(b, signed, data, until_state="refused")
        return str(next(e for e in reversed(b.events()) if e.data.get("state") == "refused").data["why"])

    @pytest.mark.parametrize(
        ("manifest", "data", "why"),
        [
            (make_manifest(b"no model at all", SPEC), b"no model at all", "ONNX"),
            (make_manifest(tiny_onnx(SPEC, ops=["RandomNormalLike"]), SPEC), None, "RandomNormalLike"),
            (make_manifest(tiny_onnx(SPEC, scale=0.0), SPEC), None, "finite"),
            (make_manifest(tiny_onnx(SPEC, center=[9.0] * len(typical(SPEC))), SPEC), None, "off by"),
            (msgspec.structs.replace(V1, sha256="0" * 64), DATA, "hash"),
        ],
        ids=["not-onnx", "forbidden-op", "nan", "other-answers", "wrong-hash"],
    )
    async def test_a_bad_file(self, tmp_path: Path, manifest: Manifest, data: bytes | None, why: str) -> None:
        if data is None:
            by_hash = {
                hashlib.sha256(d).hexdigest(): d
                for d in (
                    tiny_onnx(SPEC, ops=["RandomNormalLike"]),
                    tiny_onnx(SPEC, scale=0.0),
                    tiny_onnx(SPEC, center=[9.0] * len(typical(SPEC))),
                )
            }
            data = by_hash[manifest.sha256]
        async with life(tmp_path) as b:
            await b.steps(2)
            assert why in await self.refused(b, make_assignment(manifest), data)
            assert running(b) == (None, None)
            assert b.slots.current() == SlotMap()
            assert not b.said(ipc.Assign), "the guardian never hears of it"

    async def test_a_refused_assignment_is_not_worked_on_again(self, tmp_path: Path) -> None:
        signed = make_assignment(make_manifest(b"no model at all", SPEC))
        async with life(tmp_path) as b:
            await self.refused(b, signed, b"no model at all")
            asked = len(b.asked)
            await b.keeper.offer(signed)
            assert b.keeper._offer is None
            assert len(b.asked) == asked
            async with asyncio.timeout(5):  # it is remembered after it was told
                while not b.keeper.memory.refused:
                    await asyncio.sleep(0.01)
        async with life(tmp_path) as b:
            await b.keeper.offer(signed)
            assert b.keeper._offer is None, "nor after a restart"

    async def test_a_replayed_assignment_after_a_restart(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(2)
            await give(b, make_assignment(V1, counter=1), DATA)
            await give(b, make_assignment(V2, counter=2), DATA2)
            async with asyncio.timeout(5):
                while b.keeper.memory.seen.counter < 2:
                    await asyncio.sleep(0.01)
        async with life(tmp_path, before=b) as b:
            assert "replayed" in await self.refused(b, make_assignment(V1, counter=1))

    async def test_a_candidate_that_calls_everybody_ill_is_dropped(self, tmp_path: Path) -> None:
        center = [value + 0.5 for value in typical(SPEC)]
        alarmist = tiny_onnx(SPEC, center=center)
        manifest = make_manifest(alarmist, SPEC, version=2, center=center)
        async with life(tmp_path) as b:
            await b.steps(4)
            await give(b, make_assignment(V1, counter=1), DATA)
            await b.steps(4)
            await give(b, make_assignment(manifest, counter=2), alarmist)
            await b.steps(4)
            assert running(b) == (1, None)
            assert "100%" in str(b.events()[-1].data["detail"])

    async def test_a_newer_offer_ends_a_download_that_goes_nowhere(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(2)
            await b.keeper.offer(make_assignment(V1, counter=1))
            async with asyncio.timeout(5):
                while not b.asked:
                    await asyncio.sleep(0.01)
            await b.keeper.offer(make_assignment(V2, counter=2))
            b.keeper.chunk(part(DATA[:-1] + b"x", V1.sha256, 0))  # wakes the fetch
            await give(b, make_assignment(V2, counter=2), DATA2)
            assert running(b) == (None, 2)


async def test_an_offer_that_the_disk_refuses_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends a retained assignment only at a connect, which may be weeks away."""
    async with agent_bench(tmp_path) as b:
        await b.steps(4)

        def full(*_args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(b.slots, "put", full)
            task = asyncio.create_task(b.keeper.run())
            await b.keeper.offer(make_assignment(V1, counter=1))
            async with asyncio.timeout(20):
                while not task.done():
                    _serve(b)
                    await asyncio.sleep(0.01)
            assert isinstance(task.exception(), OSError)
        task = asyncio.create_task(b.keeper.run())  # as the supervisor does
        async with asyncio.timeout(20):
            while "shadow" not in b.model_states():
                _serve(b)
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert running(b) == (None, 1)


def _serve(b: AgentBench) -> None:
    for request in b.asked:
        for number in request.chunks:
            b.keeper.chunk(part(DATA, request.sha256, number))
    b.asked.clear()
