"""Attacks on the models of a gateway: each is refused, counted, told as an event, and the active one stays.

The keeper, the slots and the child that tests a model are the real ones; a few attacks go straight at the
child, because what it defends against is also refused before it.
"""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent import ipc
from edge_agent.agent.inference.probe import MEMORY_BYTES, ProbeReport, ProbeRequest, probe
from edge_agent.agent.inference.slots import SlotMap
from shared.artifacts.manifest import MAX_MODEL_BYTES, Manifest, Scope, SelfTest
from shared.artifacts.signing import Signature, Signed, SigningKey
from shared.errors import ArtifactError
from shared.ids import SiteId
from support import bad_models
from support.agent import KEYS, T0, make_assignment, make_manifest, tiny_onnx
from support.agent_bench import AgentBench
from support.model_bench import DATA, DATA2, SPEC, V1, V2, give, life, part, place, running

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AgentBench]:
    """V1 acts; the highest counter seen is 5."""
    async with life(tmp_path) as b:
        await b.steps(4)
        await place(b, make_assignment(V1, counter=5), DATA)
        await b.steps(8)
        assert running(b) == (1, None)
        yield b


async def refused(b: AgentBench, signed: Signed, data: bytes, where: str) -> str:
    """Offer it; why it was refused. Everything that must hold after any attack is checked here."""
    slots, said, scored = b.slots.current(), len(b.said(ipc.Assign)), b.cycle.inferences
    counted = b.keeper.refused.get(where, 0)
    await give(b, signed, data, until_state="refused")
    assert b.keeper.refused == {where: counted + 1}
    event = next(e for e in reversed(b.events()) if e.data.get("state") == "refused")
    assert event.data["reason"] == where
    assert b.slots.current() == slots == SlotMap(active=V1.sha256)
    assert running(b) == (1, None)
    assert len(b.said(ipc.Assign)) == said, "the guardian never heard of it"
    assert not list((b.slots.folder / "incoming").iterdir()) or where == "transfer"
    await b.steps(1)
    assert b.cycle.inferences == scored + 1, "the active model scores on"
    return str(event.data["why"])


def offered(data: bytes, *, counter: int = 6, **changes: object) -> Signed:
    return make_assignment(make_manifest(data, SPEC, version=2, **changes), counter=counter)  # type: ignore[arg-type]  # pass-through


class TestFiles:
    async def test_a_weight_in_another_file(self, site: AgentBench) -> None:
        data = bad_models.external_data(SPEC)
        assert "external data" in await refused(site, offered(data), data, "file")

    async def test_an_unknown_operator(self, site: AgentBench) -> None:
        data = bad_models.unknown_op(SPEC)
        assert "'Backdoor' is not allowed" in await refused(site, offered(data), data, "file")

    async def test_an_endless_loop(self, site: AgentBench) -> None:
        data = bad_models.endless(SPEC)
        assert "could loop" in await refused(site, offered(data), data, "file")

    async def test_an_allocation_of_six_gigabytes(self, site: AgentBench) -> None:
        """Allowed operators only, so that the child is what stops it."""
        data = bad_models.allocation(SPEC)
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert await refused(site, offered(data), data, "self-test")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb < 512 * 1024

    async def test_an_allocation_of_one_gigabyte(self, site: AgentBench) -> None:
        """More than the agent's unit may have in all, so the child must end before it has it."""
        data = bad_models.allocation(SPEC, 1.0)
        assert "allocate memory" in await refused(site, offered(data), data, "self-test")

    async def test_more_memory_than_a_model_may_need(self, site: AgentBench) -> None:
        """It loads, runs and tells the truth, but two of its kind would not fit into the agent's unit."""
        data = bad_models.allocation(SPEC, 0.07)
        assert "MB of memory" in await refused(site, offered(data), data, "self-test")

    async def test_endless_work_with_allowed_operators(self, site: AgentBench) -> None:
        data = bad_models.slow(SPEC)
        assert "terminate" in await refused(site, offered(data), data, "self-test")

    async def test_nan(self, site: AgentBench) -> None:
        data = tiny_onnx(SPEC, scale=0.0)
        assert "finite" in await refused(site, offered(data), data, "self-test")

    async def test_other_weights_than_the_self_test_knows(self, site: AgentBench) -> None:
        data = tiny_onnx(SPEC, center=bad_models.other_centre(SPEC))
        assert "off by" in await refused(site, offered(data), data, "self-test")

    async def test_self_test_vectors_that_prove_nothing(self, site: AgentBench) -> None:
        empty = SelfTest(shape=(0, SPEC.width), input=b"", output=b"", output_shape=(0,), atol=1e-3)
        data = DATA2
        assert "self-test" in await refused(site, offered(data, self_test=empty), data, "self-test")


class TestTransfer:
    async def test_truncated(self, site: AgentBench) -> None:
        """Every chunk is refused by its size, so it never becomes a file; a newer offer goes on."""
        assert "size or hash" in await refused(site, offered(DATA2), DATA2[:-9], "transfer")
        assert running(site) == (1, None)
        await give(site, make_assignment(V2, counter=7), DATA2)
        assert running(site) == (1, 2)

    async def test_chunks_that_were_damaged_on_the_way_are_asked_for_again(self, site: AgentBench) -> None:
        asked, answers = len(site.asked), [DATA2[:-1], DATA2[1:], DATA2]
        await site.keeper.offer(make_assignment(V2, counter=7))
        async with asyncio.timeout(30):
            while "shadow" not in site.model_states()[-1:]:
                for request in site.asked[asked:]:
                    data = answers.pop(0)
                    for number in request.chunks:
                        site.keeper.chunk(part(data, request.sha256, number))
                asked = len(site.asked)
                await asyncio.sleep(0.01)
        assert running(site) == (1, 2)
        assert not site.keeper.refused

    async def test_a_truncated_file_with_papers_for_what_is_left(self, site: AgentBench) -> None:
        data = DATA2[: len(DATA2) // 2]
        assert "cut short" in await refused(site, offered(data), data, "file")

    async def test_another_file_under_the_same_papers(self, site: AgentBench) -> None:
        swapped = DATA2[:-1] + bytes([DATA2[-1] ^ 1])
        assert "hash" in await refused(site, offered(DATA2), swapped, "transfer")

    @pytest.mark.parametrize("size", [0, -1, MAX_MODEL_BYTES + 1, 2**62])
    async def test_an_impossible_size(self, site: AgentBench, size: int) -> None:
        assert "bytes" in await refused(site, offered(DATA2, size=size), DATA2, "transfer")


class TestPapers:
    async def test_a_wrong_feature_hash(self, site: AgentBench) -> None:
        why = await refused(site, offered(DATA2, feature_spec_hash="0" * 64), DATA2, "manifest")
        assert "feature" in why

    async def test_an_older_version(self, site: AgentBench) -> None:
        old = make_manifest(DATA2, SPEC, version=0, scale=0.06)
        assert "not newer" in await refused(site, make_assignment(old, counter=6), DATA2, "papers")

    async def test_the_same_version_with_another_file(self, site: AgentBench) -> None:
        other = make_manifest(DATA2, SPEC, version=1, scale=0.06)
        assert "not newer" in await refused(site, make_assignment(other, counter=6), DATA2, "papers")

    async def test_an_expired_manifest(self, site: AgentBench) -> None:
        assert "expired" in await refused(site, offered(DATA2, expires_ms=T0), DATA2, "papers")

    async def test_an_expired_assignment(self, site: AgentBench) -> None:
        signed = make_assignment(V2, counter=6, expires_ms=T0)
        assert "expired" in await refused(site, signed, DATA2, "papers")

    async def test_a_replayed_counter(self, site: AgentBench) -> None:
        assert "replayed" in await refused(site, make_assignment(V2, counter=4), DATA2, "papers")

    async def test_a_swapped_signature(self, site: AgentBench) -> None:
        signed, other = make_assignment(V2, counter=6), make_assignment(V1, counter=7)
        swapped = Signed(payload=signed.payload, signatures=other.signatures)
        assert "does not match" in await refused(site, swapped, DATA2, "papers")

    async def test_a_blessing_by_the_assignment_key(self, site: AgentBench) -> None:
        """Who may choose among models must not be able to bless one."""
        signed = make_assignment(V2, counter=6, release=KEYS.assignment)
        assert "'release' is needed" in await refused(site, signed, DATA2, "papers")

    async def test_a_strangers_key_of_the_same_name(self, site: AgentBench) -> None:
        signed = make_assignment(V2, counter=6, release=KEYS.stranger)
        assert "does not match" in await refused(site, signed, DATA2, "papers")

    async def test_nobody_signed(self, site: AgentBench) -> None:
        unsigned = Signed(payload=make_assignment(V2, counter=6).payload, signatures=())
        assert "nobody" in await refused(site, unsigned, DATA2, "papers")

    async def test_a_signature_for_another_purpose(self, site: AgentBench) -> None:
        """A signed manifest offered as an assignment."""
        key = SigningKey.generate("x")
        bare = Signed(payload=b"\x80", signatures=(Signature(key_id=key.key_id, value=b"0" * 64),))
        assert "is needed" in await refused(site, bare, DATA2, "papers")

    async def test_another_sites_assignment(self, site: AgentBench) -> None:
        signed = make_assignment(V2, counter=6, site=SiteId("elsewhere"))
        assert "is for site" in await refused(site, signed, DATA2, "papers")

    async def test_a_model_that_is_meant_for_other_sites(self, site: AgentBench) -> None:
        signed = offered(DATA2, scope=Scope(sites=("elsewhere",)))
        assert "not meant for site" in await refused(site, signed, DATA2, "papers")

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"min_agent": "99.0"}, "needs agent 99.0"),
            ({"step_s": 60}, "steps of 60 s"),
            ({"thresholds": {"*": float("nan")}}, "thresholds"),
            ({"thresholds": {}}, "thresholds"),
            ({"sha256": "../../keyring.toml"}, "not a hash"),
        ],
    )
    async def test_papers_that_do_not_fit_this_gateway(
        self, site: AgentBench, changes: dict[str, object], why: str
    ) -> None:
        assert why in await refused(site, _misfit(changes), DATA2, "manifest")


class TestTheChildAlone:
    """What would happen if the checks before it had a hole."""

    def asked(self, data: bytes) -> ProbeRequest:
        manifest: Manifest = make_manifest(data, SPEC)
        return ProbeRequest(model=data, manifest=manifest, width=SPEC.width, features=len(SPEC.features))

    async def ask(self, data: bytes) -> None:
        await probe(self.asked(data))

    async def answer(self, data: bytes) -> ProbeReport:
        """Its own words: only the child knows its own peak (what a parent counts starts at the parent's)."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", probe.__module__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await child.communicate(msgspec.msgpack.encode(self.asked(data)))
        return msgspec.msgpack.decode(out, type=ProbeReport)

    async def test_an_endless_loop_is_ended_by_its_deadline(self) -> None:
        with pytest.raises(ArtifactError):
            await self.ask(bad_models.endless(SPEC))

    async def test_external_data_is_not_read(self) -> None:
        with pytest.raises(ArtifactError):
            await self.ask(bad_models.external_data(SPEC))

    @pytest.mark.parametrize("gigabytes", [1.0, 6.0])
    async def test_gigabytes_are_refused_without_taking_them(self, gigabytes: float) -> None:
        report = await self.answer(bad_models.allocation(SPEC, gigabytes))
        assert report.why
        assert 0 < report.memory_bytes < MEMORY_BYTES

    async def test_noise_is_no_model(self) -> None:
        noise = np.random.default_rng(1).bytes(100_000)
        with pytest.raises(ArtifactError):
            await self.ask(noise)


def _misfit(changes: dict[str, object]) -> Signed:
    return make_assignment(msgspec.structs.replace(V2, **changes), counter=6)
