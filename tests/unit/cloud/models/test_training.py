"""Training jobs: rows out, a child process, and what it leaves becomes versions."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from cloud.models.training import Trainer
from cloud.training import datasets
from cloud.training.report import Candidate, Result, Rule
from shared.artifacts.manifest import Manifest
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed
from support.cloud import NOW_MS, SITE, Service, batch, birth, born, device, row, said, service
from support.manifests import draft

MINERS = [f"m-{number:02d}" for number in range(1, 11)]


CHILD = """
import pathlib, shutil, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
out = pathlib.Path(arguments["--out"])
(out.parent.parent.parent / "seen.txt").write_text(repr(arguments))
shutil.copy(arguments["--dataset"], out.parent.parent.parent / "seen.dataset")
print('{"stage": "training", "algorithm": "pca"}', flush=True)
print("not json", flush=True)
for file in pathlib.Path(%r).iterdir():
    shutil.copy(file, out)
sys.exit(%d)
"""


class Lab:
    """A cloud whose training child is a script of ours."""

    def __init__(self, running: Service, folder: Path) -> None:
        self.running = running
        self.folder = folder
        self.leaves = folder / "leaves"
        self.leaves.mkdir()

    def child_leaves(self, *candidates: tuple[str, bool], chosen: str | None) -> None:
        found = []
        for algorithm, accepted in candidates:
            data = f"onnx of {algorithm}".encode()
            (self.leaves / f"{algorithm}.onnx").write_bytes(data)
            manifest = draft(data, algorithm=algorithm)
            (self.leaves / f"{algorithm}.json").write_bytes(msgspec.json.encode(manifest))
            found.append(
                Candidate(
                    algorithm=algorithm,
                    accepted=accepted,
                    detail="accepted" if accepted else "refused by parity",
                    gate=(Rule(rule="parity", ok=accepted, detail="max 1e-7"),),
                    model=f"{algorithm}.onnx",
                    manifest=f"{algorithm}.json",
                )
            )
        result = Result(chosen=chosen, detail="said the child", candidates=tuple(found), data=None)
        (self.leaves / "result.json").write_bytes(msgspec.json.encode(result))

    def program(self, code: int = 0) -> Sequence[str]:
        return (sys.executable, "-c", CHILD % (str(self.leaves), code))

    def trainer(self, program: Sequence[str], timeout_s: float = 20.0) -> Trainer:
        context = self.running.context
        return Trainer(
            context.database,
            context.series,
            context.blobs,
            context.keys,
            context.clock,
            msgspec.structs.replace(context.config.training, timeout_s=timeout_s),
            self.folder / "work",
            on_changes=context.hub.publish,
            program=program,
        )

    async def train(self, program: Sequence[str], timeout_s: float = 20.0) -> dict[str, object]:
        """Run one job to its end; the job's view."""
        context = self.running.context
        trainer = self.trainer(program, timeout_s)
        job = await trainer.enqueue(SITE, ["pca"], 60)
        task = asyncio.create_task(trainer.run())
        while True:
            view: dict[str, object] = await self.running.get(f"/training/{job.id}")
            if view["state"] in ("done", "failed"):
                break
            await asyncio.sleep(0.02)
        # The job says done first; its work folder is cleared right after, in a thread.
        async with asyncio.timeout(10):
            while list((self.folder / "work").iterdir()):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert context is not None
        return view


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    async def idle(self: Trainer) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        # The service's own trainer stays idle; each test runs one with its own child.
        patch.setattr(Trainer, "run", idle)
        running_ = service(tmp_path)
        running = await running_.__aenter__()
        await asyncio.sleep(0)
    try:
        yield Lab(running, tmp_path)
    finally:
        await running_.__aexit__(None, None, None)


async def with_rows(lab: Lab, minutes: int = 20) -> None:
    rows = [
        row(name, NOW_MS - 60_000 * minute, power_w_mean=3000.0)
        for minute in range(1, minutes)
        for name in MINERS
    ]
    meter = row("meter-1", NOW_MS - 60_000, power_w_mean=1.0)
    devices = [device(name) for name in MINERS]
    await lab.running.bench.commit(born(birth(devices)), said(batch([*rows, meter])))


async def test_the_winner_is_registered_and_blessed(lab: Lab) -> None:
    await with_rows(lab)
    lab.child_leaves(("lstm-ae", False), ("pca", True), chosen="pca")
    view = await lab.train(lab.program())
    assert (view["state"], view["detail"]) == ("done", "said the child")
    models = {model["algorithm"]: model for model in (await lab.running.get("/models"))["items"]}
    assert (models["pca"]["version"], models["pca"]["status"]) == (2, "blessed")
    assert (models["lstm-ae"]["version"], models["lstm-ae"]["status"]) == (1, "rejected")
    assert models["lstm-ae"]["gate"] == [{"rule": "parity", "ok": False, "detail": "max 1e-7"}]
    assert models["pca"]["site"] == SITE
    file = await lab.running.client.get("/api/v1/models/miner-anomaly/2/file")
    assert file.content == b"onnx of pca"
    assert 'filename="miner-anomaly-v2.onnx"' in file.headers["content-disposition"]


async def test_what_is_blessed_is_the_manifest_with_version_and_times(lab: Lab) -> None:
    await with_rows(lab)
    lab.child_leaves(("pca", True), chosen="pca")
    await lab.train(lab.program())
    blessed = await lab.running.bench.one("SELECT blessed FROM models")
    signed = msgspec.msgpack.decode(blessed, type=Signed)
    key = lab.running.context.keys.release
    assert key is not None
    entry = PublicKeyEntry(id=key.key_id, role=Role.RELEASE, public=key.public_text)
    Keyring((entry,)).verify(Purpose.MANIFEST, signed, Role.RELEASE)
    manifest = msgspec.msgpack.decode(signed.payload, type=Manifest)
    assert (manifest.version, manifest.issued_ms) == (1, NOW_MS)
    assert manifest.expires_ms == NOW_MS + 365 * 86_400_000


async def test_the_child_gets_the_miners_rows_and_the_champion(lab: Lab) -> None:
    await with_rows(lab)
    lab.child_leaves(("pca", True), chosen="pca")
    await lab.train(lab.program())
    assert "--champion" not in (lab.folder / "seen.txt").read_text()
    found = datasets.read(lab.folder / "seen.dataset")
    assert {entry.device for entry in found.rows} == set(MINERS), "no meters"
    assert found.models["m-01"] == "s21pro"  # type: ignore[index]  # a plain word is a device id here
    await lab.train(lab.program())
    assert "--champion" in (lab.folder / "seen.txt").read_text()
    versions = [model["version"] for model in (await lab.running.get("/models"))["items"]]
    assert sorted(versions) == [1, 2]


async def test_minutes_bound_the_rows(lab: Lab) -> None:
    await with_rows(lab, minutes=90)
    lab.child_leaves(("pca", True), chosen="pca")
    await lab.train(lab.program())
    found = datasets.read(lab.folder / "seen.dataset")
    assert min(entry.at_ms for entry in found.rows) == NOW_MS - 3_600_000


async def test_a_run_in_which_nothing_passed_is_a_failure_with_its_reason(lab: Lab) -> None:
    await with_rows(lab)
    lab.child_leaves(("pca", False), chosen=None)
    view = await lab.train(lab.program(code=3))
    assert (view["state"], view["detail"]) == ("failed", "said the child")
    (model,) = (await lab.running.get("/models"))["items"]
    assert model["status"] == "rejected"


async def test_a_site_without_rows(lab: Lab) -> None:
    await lab.running.bench.commit(born())
    view = await lab.train(lab.program())
    assert view["state"] == "failed"
    assert "no rows" in str(view["detail"])


@pytest.mark.parametrize(
    ("program", "said_"),
    [
        (
            (sys.executable, "-c", "import sys; sys.stderr.write('no memory'); sys.exit(9)"),
            "code 9: no memory",
        ),
        ((sys.executable, "-c", 'print(\'{"stage":"failed","detail":"no libraries"}\')'), "no libraries"),
    ],
)
async def test_a_child_that_dies_is_quoted(lab: Lab, program: Sequence[str], said_: str) -> None:
    await with_rows(lab)
    view = await lab.train(program)
    assert view["state"] == "failed"
    assert said_ in str(view["detail"])


async def test_a_child_that_takes_too_long_is_ended(lab: Lab) -> None:
    await with_rows(lab)
    view = await lab.train((sys.executable, "-c", "import signal; signal.pause()"), timeout_s=0.3)
    assert "took longer" in str(view["detail"])


async def test_a_file_that_is_not_the_manifests_is_refused(lab: Lab) -> None:
    await with_rows(lab)
    lab.child_leaves(("pca", True), chosen="pca")
    (lab.leaves / "pca.onnx").write_bytes(b"something else")
    view = await lab.train(lab.program())
    assert view["state"] == "failed"
    assert (await lab.running.get("/models"))["items"] == []


async def test_jobs_that_ran_when_the_process_died_are_ended(lab: Lab) -> None:
    await with_rows(lab)
    trainer = lab.trainer(lab.program())
    job = await trainer.enqueue(SITE, [], None)
    await trainer._note(job, state="running")
    task = asyncio.create_task(trainer.run())
    while (view := await lab.running.get(f"/training/{job.id}"))["state"] == "running":
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "restarted" in view["detail"]


async def test_requests_over_the_api(lab: Lab) -> None:
    await with_rows(lab)
    view = await lab.running.post("/training", {"site": SITE, "algorithms": ["pca"], "minutes": 5}, 202)
    assert (view["state"], view["algorithms"]) == ("queued", ["pca"])
    await lab.running.post("/training", {"site": "nowhere"}, 404)
    await lab.running.post("/training", {"site": SITE, "algorithms": ["magic"]}, 422)
    for _ in range(7):
        await lab.running.post("/training", {"site": SITE}, 202)
    await lab.running.post("/training", {"site": SITE}, 409)
    assert len((await lab.running.get("/training"))["items"]) == 8


def test_the_server_never_imports_torch() -> None:
    code = "import cloud.app, sys; assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
