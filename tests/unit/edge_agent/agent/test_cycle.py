"""The policy cycle: the lease is its last word; what people are told is durable before anything is asked."""

import errno
from pathlib import Path

import pytest

from edge_agent import ipc
from edge_agent.agent.inference.model import LoadedModel
from edge_agent.agent.policies.face import Context, Decision
from edge_agent.agent.store.rows import Commit
from shared.artifacts.manifest import Scope
from shared.errors import StoreError
from support.agent import make_assignment, make_manifest, small_spec, tiny_onnx
from support.agent_bench import AgentBench, agent_bench

SPEC = small_spec()
DATA = tiny_onnx(SPEC)
SICK = {"m02": 3000.0}


async def install(b: AgentBench, **changes: object) -> None:
    """Put a model straight into the active slot."""
    manifest = make_manifest(DATA, SPEC, **changes)
    b.slots.arriving = manifest.sha256
    b.slots.put(DATA, manifest.sha256, make_assignment(manifest))
    b.keeper.engine.active = await b.keeper._moves.load(manifest.sha256)
    assert isinstance(b.keeper.engine.active, LoadedModel)


async def test_without_a_model_the_lease_is_renewed_and_nothing_is_asked(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(3)
        assert [m.cycle for m in b.said(ipc.Lease) if isinstance(m, ipc.Lease)] == [1, 2, 3]
        assert not b.said(ipc.Propose)
        assert not b.scores()


async def test_a_sick_miner_is_told_and_a_lower_step_proposed(tmp_path: Path) -> None:
    async with agent_bench(tmp_path, mode=ipc.Mode.ML_ACTIVE) as b:
        await install(b)
        await b.steps(4)
        assert not b.events()
        await b.steps(6, rpm=SICK)
        [alarm] = [e for e in b.events() if e.kind == "alarm"]
        assert alarm.device == "m02"
        [asked] = b.said(ipc.Propose)
        assert isinstance(asked, ipc.Propose)
        assert asked.proposal.actions[0].device == "m02"
        assert {row.device for row in b.scores() if row.score > row.threshold} == {"m02"}
        order = [type(m) for m in b.sent if isinstance(m, ipc.Propose | ipc.Lease)]
        assert order.index(ipc.Propose) < len(order) - 1, "the lease is renewed after the proposals"


async def test_the_lease_comes_often_enough_even_with_long_steps(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        assert b.cycle.every_s * 3 <= b.site.timing.lease_max_s
        for _ in range(3):
            await b.cycle.once()
        leases = [m for m in b.said(ipc.Lease) if isinstance(m, ipc.Lease)]
        assert [lease.ttl_s for lease in leases] == [b.site.timing.lease_max_s] * 3


async def test_scores_are_made_once_per_new_step(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await install(b)
        await b.steps(4)
        count = b.cycle.inferences
        for _ in range(5):
            await b.cycle.once()
        assert b.cycle.inferences == count
        assert b.cycle.miners == 4


async def test_a_policy_that_raises_sends_no_lease(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        def decide(self, context: Context) -> Decision:
            raise ZeroDivisionError

        def remember(self) -> bytes:
            return b""

        def recall(self, memory: bytes) -> None:
            raise AssertionError(memory)

    async with agent_bench(tmp_path) as b:
        b.cycle._policies = [Broken()]
        with pytest.raises(ZeroDivisionError):
            await b.cycle.once()
        assert not b.said(ipc.Lease)


async def test_without_a_disk_nothing_is_proposed(tmp_path: Path) -> None:
    """What could not be recorded is not asked for; the guardian's own rules do not need us."""
    async with agent_bench(tmp_path, mode=ipc.Mode.ML_ACTIVE) as b:
        await install(b)
        await b.steps(4)
        await b.steps(6, rpm=SICK, cycle=False)

        def refuse(commit: Commit) -> None:
            raise StoreError(f"disk full ({len(commit.scores)} scores)")

        commit, b.store.commit = b.store.commit, refuse
        leases = len(b.said(ipc.Lease))
        for _ in range(4):
            await b.steps(1, rpm=SICK)
        assert not b.said(ipc.Propose)
        assert len(b.said(ipc.Lease)) == leases + 4, "a full disk alone brings no site to its safe state"
        b.store.commit = commit
        await b.steps(1, rpm=SICK)
        alarms = [e for e in b.events() if e.kind == "alarm"]
        assert [e.device for e in alarms] == [None, "m02"], "both are told once the disk is back"
        assert alarms[0].key == "disk-refuses"


async def test_a_standing_alarm_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await install(b)
        await b.steps(4)
        await b.steps(6, rpm=SICK)
        assert [e.kind for e in b.events()] == ["alarm"]
    async with agent_bench(tmp_path, before=b) as b:
        await install(b)
        await b.steps(4, rpm=SICK)
        assert [e.kind for e in b.events()] == ["alarm"], "nobody is told twice"
        await b.steps(12)
        assert [e.kind for e in b.events()] == ["alarm", "alarm-cleared"]


@pytest.mark.parametrize(
    ("changes", "scored"),
    [
        ({}, 4),
        ({"scope": Scope(algorithms=("sha256d",))}, 4),
        ({"scope": Scope(algorithms=("scrypt",))}, 0),
        ({"scope": Scope(models=("S21 Pro",))}, 0),
        ({"thresholds": {"S19k Pro": 1.0}}, 4),
        ({"thresholds": {"S21 Pro": 1.0}}, 0),
    ],
)
async def test_only_miners_in_scope_are_scored(
    tmp_path: Path, changes: dict[str, object], scored: int
) -> None:
    async with agent_bench(tmp_path) as b:
        await install(b, **changes)
        await b.steps(5)
        assert b.cycle.miners == scored


async def test_a_site_of_unknown_mode_is_never_asked_anything(tmp_path: Path) -> None:
    async with agent_bench(tmp_path, mode=ipc.Mode.ML_ACTIVE) as b:
        await install(b)
        await b.steps(4)
        b.view.status = None
        await b.steps(8, rpm=SICK)
        assert [e.kind for e in b.events()] == ["alarm"]
        assert not b.said(ipc.Propose)


async def test_a_disk_that_refuses_a_swap_costs_no_lease_and_the_swap_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agent_bench(tmp_path) as b:
        manifest = make_manifest(DATA, SPEC)
        signed = make_assignment(manifest)
        b.slots.arriving = manifest.sha256
        b.slots.put(DATA, manifest.sha256, signed)
        await b.keeper._moves.start_shadow(signed, manifest)

        def full(_slots: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(b.slots, "set", full)
            await b.steps(8)
        assert len(b.said(ipc.Lease)) == 8, "a full disk is no reason to bring a site to its safe state"
        assert b.keeper.engine.active is None
        await b.steps(1)
        assert b.keeper.engine.active is not None


async def test_a_swap_that_cannot_be_reported_is_told_to_the_guardian_all_the_same(tmp_path: Path) -> None:
    """Else the guardian refuses the new model's proposals until one of the two is restarted."""
    async with agent_bench(tmp_path) as b:
        manifest = make_manifest(DATA, SPEC)
        signed = make_assignment(manifest)
        b.slots.arriving = manifest.sha256
        b.slots.put(DATA, manifest.sha256, signed)
        await b.keeper._moves.start_shadow(signed, manifest)
        await b.steps(3)
        assert b.keeper.engine.active is None

        def refuse(_commit: Commit) -> None:
            raise StoreError("disk full")

        commit, b.store.commit = b.store.commit, refuse
        await b.steps(5)
        assert b.keeper.engine.active is not None
        assert [m.swapped for m in b.said(ipc.Assign) if isinstance(m, ipc.Assign)][-1] is True
        assert len(b.said(ipc.Lease)) == 8
        b.store.commit = commit
        await b.steps(1)
        assert b.model_states() == ["shadow", "active"], "and the cloud hears of it once the disk is back"


async def test_scoring_goes_on_after_the_wall_clock_was_set_back(tmp_path: Path) -> None:
    """A gateway that started a day ahead: its model must not be blind until that day is over."""
    async with agent_bench(tmp_path) as b:
        await install(b)
        await b.steps(6)
        scored = len(b.rollups())
        b.clock.step_wall(-86_400_000)
        b.next_ms -= 86_400_000
        before = b.cycle.inferences
        await b.steps(8)
        assert b.cycle.inferences - before >= 6
        assert b.cycle.miners == 4
        assert len(b.rollups()) > scored
