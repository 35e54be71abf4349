"""A running guardian stands between a person's tools and its devices: it is asked, they are not."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.guardian import make_site
from support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CLI = (sys.executable, "-P", "-m", "shared.cli")
NET = "127.96"
ENV = os.environ | {"OMP_NUM_THREADS": "1"}


def simulated(text: str) -> str:
    """The test site as the simulator can serve it."""
    web, modbus, snmp = (free_port() for _ in range(3))
    text = text.replace('host = "127.0.0.1"\nport = 15020', f'host = "{NET}.200.1"\nport = {modbus}')
    text = text.replace('host = "127.0.0.1"\nport = 15021', f'host = "{NET}.200.2"\nport = {modbus}')
    text = text.replace('host = "127.0.0.1"\nport = 16100', f'host = "{NET}.210.1"\nport = {snmp}')
    text = re.sub(r'host = "127\.9\.1\.(\d+)"', rf'host = "{NET}.1.\1"', text)
    text = text.replace("port = 18080", f"port = {web}")
    text = text.replace('model = "s19"', 'model = "s19jpro"').replace('"2300"', '"1850"')
    return f"{text}\n[simulator]\nseed = 3\n"


class Running:
    """A simulator and a guardian."""

    def __init__(self, folder: Path) -> None:
        self.site = make_site(folder, 2, edit=simulated)
        self.path = folder / "site.toml"
        self.folder = folder
        self._logs = (folder / "log.txt").open("wb")
        self.processes = [self._start("simulate"), self._start("guardian", "run")]

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        command = [*CLI, *words, "--site", str(self.path)]
        return subprocess.Popen(command, stdout=self._logs, stderr=self._logs, env=ENV)

    def tool(self, name: str, *words: str) -> tuple[int, str, str]:
        """One command: exit code, output, errors."""
        command = [*CLI, name, *words, "--site", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr

    async def until(self, code: int, *words: str) -> dict[str, Any]:
        """Ask again until the exit code is this one; what was said then."""
        said: tuple[int, str, str] = (-1, "", "")
        try:
            async with asyncio.timeout(60):
                while True:
                    said = await asyncio.to_thread(self.tool, "probe", *words, "--via-guardian", "--json")
                    if said[0] == code:
                        told: dict[str, Any] = json.loads(said[1])
                        return told
                    await asyncio.sleep(0.5)
        except TimeoutError:
            pytest.fail(f"{said}\n{(self.folder / 'log.txt').read_text()[-3000:]}")

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)
        self._logs.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    pair = Running(tmp_path)
    try:
        yield pair
    finally:
        pair.close()


async def test_the_guardian_is_asked_instead_of_its_devices(running: Running, tmp_path: Path) -> None:
    miner = running.site.miners[0]
    place = f"{miner.host}:{miner.port}"
    told = await running.until(0, place)
    assert told["identification"]["evidence"] == ["the site file of the running guardian says so"]
    assert told["sample"]["hashrate_ths"] > 50
    assert told["sample"]["state"] == "mining"
    code, _, why = await asyncio.to_thread(running.tool, "probe", place)
    assert (code, "it alone talks to its devices" in why) == (2, True)
    code, _, why = await asyncio.to_thread(running.tool, "scan", f"{NET}.1.0/29")
    assert (code, "it alone talks to its devices" in why) == (2, True)
    code, _, why = await asyncio.to_thread(
        running.tool, "scan", f"{NET}.1.0/29", "--port", str(miner.port), "--via-guardian"
    )
    assert (code, "2 hosts of the running site were left to its guardian" in why) == (0, True), why
    running.processes[0].terminate()
    gone = await running.until(1, place)
    assert gone["sample"] is None
    assert gone["not_read"][0]["why"].startswith("the guardian's newest read failed: ")
    code, shown, why = await asyncio.to_thread(
        running.tool, "scan", f"{NET}.1.0/29", "--port", str(miner.port), "--via-guardian"
    )
    assert (code, f"missing: {miner.id} at {place}" in shown) == (1, True), (shown, why)
