"""The session and the probe child: what a model may answer, and what becomes of one that misbehaves."""

import asyncio
import errno
import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent.agent.inference.probe import (
    ADDRESS_BYTES,
    CPU_S,
    MEMORY_BYTES,
    MODEL_BYTES,
    ProbeReport,
    ProbeRequest,
    probe,
)
from edge_agent.agent.inference.session import CHUNK, ModelSession, self_test
from shared.artifacts.manifest import SelfTest
from shared.errors import ArtifactError
from support.agent import load_onnx, make_manifest, small_spec, tiny_onnx
from support.bad_models import allocation

SPEC = small_spec()
GOOD = tiny_onnx(SPEC)
COUNT = len(SPEC.features)


def session(data: bytes = GOOD) -> ModelSession:
    return ModelSession(data, width=SPEC.width, features=COUNT)


@pytest.mark.parametrize("n", [1, 7, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_chunks_and_padding_do_not_show_in_the_result(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, SPEC.width)).astype(np.float32)
    whole = session().run(x, deadline_s=5)
    single = np.concatenate([session().run(x[i : i + 1], deadline_s=5).score for i in (0, n - 1)])
    assert whole.score.shape == (n,)
    assert whole.residual.shape == (n, COUNT)
    assert np.array_equal(whole.score[[0, n - 1]], single)
    assert np.allclose(whole.score, whole.residual.max(axis=1))


@pytest.mark.parametrize("scale", [0.0])
def test_a_result_that_is_no_number_is_a_failure(scale: float) -> None:
    with pytest.raises(ArtifactError, match="finite"):
        session(tiny_onnx(SPEC, scale=scale)).run(np.zeros((2, SPEC.width), dtype=np.float32), deadline_s=5)


def test_bytes_that_are_no_model_are_a_failure() -> None:
    with pytest.raises(ArtifactError, match="does not load"):
        session(b"\x08\x08garbage")


def test_a_model_with_another_face_is_a_failure() -> None:
    model = load_onnx(GOOD)
    model.graph.output[0].name = "points"
    model.graph.node[4].output[0] = "points"
    with pytest.raises(ArtifactError, match="expected x"):
        session(model.SerializeToString())


def test_an_input_of_another_width_is_a_failure() -> None:
    wide = ModelSession(GOOD, width=SPEC.width + 1, features=COUNT)
    with pytest.raises(ArtifactError, match="does not run"):
        wide.run(np.zeros((1, SPEC.width + 1), dtype=np.float32), deadline_s=5)


class TestSelfTest:
    def check(self, **changes: object) -> float:
        manifest = make_manifest(GOOD, SPEC)
        changed = msgspec.structs.replace(manifest.self_test, **changes)
        return self_test(session(), msgspec.structs.replace(manifest, self_test=changed), deadline_s=5)

    def test_the_golden_vector_passes(self) -> None:
        assert self.check() <= 2e-3

    def test_another_answer_fails(self) -> None:
        with pytest.raises(ArtifactError, match="off by"):
            self.check(output=np.array([0.5], dtype="<f4").tobytes())

    def test_an_answer_of_nan_fails(self) -> None:
        with pytest.raises(ArtifactError, match="off by"):
            self.check(output=np.array([np.nan], dtype="<f4").tobytes())

    @pytest.mark.parametrize(
        "changes",
        [
            {"shape": (1, 3)},
            {"input": b"abc"},
            {"output_shape": (2,)},
            {"shape": (0, SPEC.width), "input": b"", "output": b"", "output_shape": (0,)},
        ],
    )
    def test_vectors_that_do_not_fit_fail(self, changes: dict[str, object]) -> None:
        with pytest.raises(ArtifactError):
            self.check(**changes)

    @pytest.mark.parametrize("atol", [0.0, -1.0, 10.0, float("inf"), float("nan")])
    def test_a_tolerance_that_proves_nothing_fails(self, atol: float) -> None:
        with pytest.raises(ArtifactError, match="proves nothing"):
            self.check(atol=atol)


class TestProbe:
    """The child process; each of these starts one."""

    async def ask(self, data: bytes, **changes: object) -> ProbeReport:
        manifest = make_manifest(data, SPEC)
        if "self_test" in changes:
            manifest = msgspec.structs.replace(manifest, self_test=changes["self_test"])
        request = ProbeRequest(model=data, manifest=manifest, width=SPEC.width, features=COUNT)
        return await probe(request, wall_s=float(str(changes.get("wall_s", 40))))

    async def test_a_good_model_passes_and_its_batch_and_its_memory_are_measured(self) -> None:
        """Of the child alone: this process, which it was forked from, is far larger."""
        found = await self.ask(GOOD)
        assert found.batch_ms > 0
        assert 0 < found.memory_bytes < 40e6

    async def test_a_model_that_needs_more_than_its_budget_is_refused_though_it_runs(self) -> None:
        assert (await self.ask(allocation(SPEC, 0.04))).memory_bytes < MODEL_BYTES
        with pytest.raises(ArtifactError, match=r"needs 1\d\d MB of memory, allowed are 134 MB"):
            await self.ask(allocation(SPEC, 0.07))

    async def test_a_model_that_answers_otherwise_is_named(self) -> None:
        wrong = SelfTest(
            shape=(1, SPEC.width),
            input=bytes(SPEC.width * 4),
            output=np.array([1e6], dtype="<f4").tobytes(),
            output_shape=(1,),
            atol=1e-3,
        )
        with pytest.raises(ArtifactError, match="off by"):
            await self.ask(GOOD, self_test=wrong)

    async def test_a_model_that_wants_all_memory_ends_its_child_only(self) -> None:
        model = load_onnx(GOOD)
        shape = numpy_helper.from_array(np.array([4 * 10**9], dtype=np.int64), "huge")
        model.graph.initializer.append(shape)
        model.graph.node.append(helper.make_node("Expand", ["scale", "huge"], ["big"]))
        model.graph.output.append(helper.make_tensor_value_info("big", TensorProto.FLOAT, [None]))
        with pytest.raises(ArtifactError):
            await self.ask(model.SerializeToString())

    async def test_a_child_that_does_not_come_back_is_ended(self) -> None:
        with pytest.raises(ArtifactError, match="did not end"):
            await self.ask(GOOD, wall_s=0.01)

    async def test_nothing_is_a_refusal(self) -> None:
        with pytest.raises(ArtifactError, match="does not load"):
            await self.ask(b"")

    async def test_a_child_can_open_neither_files_nor_sockets(self) -> None:
        """Asked of a real child, after the same call that a model meets."""
        script = (
            "import resource, socket, sys\n"
            "from edge_agent.agent.inference import probe\n"
            "probe._limit(); probe._close_the_door()\n"
            "def tried(what):\n"
            "    try: what()\n"
            "    except OSError as error: return str(error.errno)\n"
            "    return 'done'\n"
            "print(tried(socket.socket), tried(lambda: open('/etc/hostname')),"
            " tried(lambda: open('new', 'w')))\n"
            "for what in ('DATA', 'AS', 'CPU', 'FSIZE', 'CORE', 'NOFILE'):\n"
            "    print(what, *resource.getrlimit(getattr(resource, 'RLIMIT_' + what)))\n"
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate()
        tries, *limits = out.decode().splitlines()
        assert tries == " ".join([str(errno.EMFILE)] * 3)
        assert limits == [
            f"DATA {MEMORY_BYTES} {MEMORY_BYTES}",
            f"AS {ADDRESS_BYTES} {ADDRESS_BYTES}",
            f"CPU {CPU_S} {CPU_S}",
            "FSIZE 0 0",
            "CORE 0 0",
            "NOFILE 4 4",
        ]


async def test_the_runtime_keeps_no_book_for_its_maker(tmp_path: Path) -> None:
    """onnxruntime opens a database of usage data below the home folder and uploads it, unless told not to."""
    script = (
        "import os, edge_agent.agent.inference.session\n"
        "fds = '/proc/self/fd/'\n"
        "print([os.readlink(fds + f) for f in os.listdir(fds) if os.path.lexists(fds + f)])\n"
    )
    env = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert child.returncode == 0
    assert b"onnxruntime.db" not in out
    assert not list(tmp_path.iterdir())
