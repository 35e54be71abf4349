"""`minewarden agent model …` against a running agent whose broker is gone."""

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.agent.inference import cli
from edge_agent.agent.inference.lives import Death
from edge_agent.agent.inference.memory import MemoryFile, Trial
from edge_agent.agent.inference.slots import SlotMap, Slots
from support.agent import FakeGuardian, make_assignment, make_site
from support.model_bench import DATA, DATA2, V1, V2
from support.ports import free_port

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parents[3]


async def command(folder: Path, action: str) -> tuple[int, str]:
    """Exit code, and what it printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "edge_agent.agent",
        "model",
        action,
        "--site",
        str(folder / "site.toml"),
        env=os.environ | {"PYTHONPATH": str(REPO)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, out.decode()


def installed(folder: Path) -> tuple[Slots, int]:
    """A site whose V2 took over from V1; the port of its local page. Nobody listens at its broker's port."""
    port = free_port()
    site = make_site(folder, broker_port=free_port(), status_port=port)
    slots = Slots(Path(site.paths.agent_state) / "models")
    slots.put(DATA, V1.sha256, make_assignment(V1, counter=1))
    slots.arriving = V1.sha256
    slots.put(DATA2, V2.sha256, make_assignment(V2, counter=2))
    slots.set(SlotMap(active=V2.sha256, previous=V1.sha256))
    MemoryFile(slots.folder).change(trial=Trial(sha256=V2.sha256, confirmed=True), told_active=V2.sha256)
    return slots, port


@asynccontextmanager
async def agent(folder: Path, port: int) -> AsyncIterator[None]:
    """`minewarden agent run`, up and serving its page."""
    guardian = FakeGuardian(folder / "guardian.sock", make_site(folder, status_port=port).devices)
    await guardian.start()
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "edge_agent.agent",
            "run",
            "--site",
            str(folder / "site.toml"),
            env=os.environ | {"PYTHONPATH": str(REPO)},
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    await status(port)
                    break
                except OSError:
                    assert process.returncode is None, (folder / "agent.log").read_text()
                    await asyncio.sleep(0.1)
        yield
    finally:
        process.terminate()
        await process.wait()
        await guardian.stop()


async def status(port: int) -> dict[str, object]:
    def read() -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=5) as answer:
            return dict(json.load(answer)["model"])

    return await asyncio.to_thread(read)


def test_the_list_says_how_often_the_agent_ended_with_which_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slots, _ = installed(tmp_path)
    deaths = tuple(Death(sha256=V2.sha256, at_ms=n, ran_s=n, times=n) for n in (1, 2))
    MemoryFile(slots.folder).change(deaths=deaths)
    assert cli.run("list", make_site(tmp_path)) == 0
    active, previous = capsys.readouterr().out.splitlines()[1:]
    assert active.endswith("confirmed, unclean ends of the agent: 3")
    assert "unclean" not in previous, "none is counted with it"


async def test_pin_and_rollback_need_no_network(tmp_path: Path) -> None:
    slots, port = installed(tmp_path)
    async with agent(tmp_path, port):
        found = await command(tmp_path, "list")
        assert found[0] == 0
        assert "active" in found[1]
        assert "v2 (tiny), assigned for active, confirmed" in found[1]
        assert "keyring    the file of the site, " in found[1]
        assert await command(tmp_path, "unpin") == (1, "minewarden agent: nothing is pinned\n")
        assert await command(tmp_path, "pin") == (0, "pinned: miner-anomaly v2 is kept until 'unpin'\n")
        assert (await status(port))["pinned"] == "miner-anomaly v2"
        assert "pinned" in (await command(tmp_path, "list"))[1]
        assert await command(tmp_path, "rollback") == (0, "rolled back\n")
        assert slots.current() == SlotMap(active=V1.sha256)
        model = await status(port)
        assert model["pinned"] is None, "what a person takes back is not kept"
        assert model["active"] is not None
        assert await command(tmp_path, "rollback") == (0, "rolled back\n")
        assert await command(tmp_path, "rollback") == (1, "minewarden agent: no model is active\n")
        assert await command(tmp_path, "pin") == (
            1,
            "minewarden agent: no model is active, so there is nothing to keep\n",
        )
    code, words = await command(tmp_path, "rollback")
    assert code == 1
    assert "no agent here" in words


async def test_verify_looks_at_signatures_hash_and_self_test(tmp_path: Path) -> None:
    slots, _port = installed(tmp_path)
    code, words = await command(tmp_path, "verify")
    assert code == 0
    assert words.count("in order: miner-anomaly v") == 2
    path = slots.load(V1.sha256).path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    code, words = await command(tmp_path, "verify")
    assert code == 1
    assert "previous" in words
    assert "NOT in order" in words
    assert "hash" in words
    site = make_site(tmp_path)
    (tmp_path / "keyring.toml").write_text("keys = []\n")
    code, words = await command(tmp_path, "verify")
    assert code == 1
    assert words.count("NOT in order") == 2, "nobody's signature counts with an empty keyring"
    assert Path(site.paths.agent_state).is_dir()
