"""Commissioning as it happens: a simulated mixed site in one process, `scan` and `probe` in others."""

import json
import os
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mixed_site import FIRMWARES, PASSWORD, mixed_tables
from support.ports import free_port
from support.processes_site import dump_toml

pytestmark = pytest.mark.slow

NET = "127.88"
ENV = os.environ | {"OMP_NUM_THREADS": "1"}


def run(module: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", f"firmware_adapters.discovery.{module}", *argv],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=ENV,
    )


class Site:
    """A running simulator."""

    def __init__(self, folder: Path) -> None:
        self.fault_port = free_port()
        self.port = free_port()
        raw = mixed_tables(NET, port=self.port)
        raw["simulator"] |= {"fault_port": self.fault_port}
        self.path = folder / "site.toml"
        self.path.write_text(dump_toml(raw))
        self.password = folder / "password"
        self.password.write_text(PASSWORD)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "firmware_adapters.simulator.cli", "--site", str(self.path)],
            stdout=subprocess.PIPE,
            text=True,
            env=ENV,
        )
        assert self.process.stdout is not None
        assert "simulating" in self.process.stdout.readline()

    def writes(self) -> object:
        """What any device was told to do since the start."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.fault_port}/writes", timeout=10) as reply:
            return json.load(reply)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(tmp_path_factory.mktemp("mixed"))
    try:
        yield running
    finally:
        running.close()


def test_a_mixed_site_is_found_read_and_left_alone(site: Site, tmp_path: Path) -> None:
    out, table = tmp_path / "found.toml", tmp_path / "found.csv"
    scan = run(
        "scan_cli", f"{NET}.1.0/28", "--port", str(site.port), "--password-file", str(site.password),
        "--out", str(out), "--csv", str(table),
    )  # fmt: skip
    assert scan.returncode == 0, scan.stderr
    devices = tomllib.loads(out.read_text())["devices"]
    assert [one["adapter"] for one in devices] == list(FIRMWARES)
    assert all(one["mac"] for one in devices)
    for device in devices:
        user = ("--user", "root") if device["adapter"] in ("antminer", "braiins") else ()
        place = f"{device['host']}:{device['port']}"
        probe = run("probe_cli", place, "--password-file", str(site.password), *user, "--json")
        assert probe.returncode == 0, (device["adapter"], probe.stderr)
        told = json.loads(probe.stdout)
        assert told["identification"]["adapter"] == device["adapter"]
        assert told["sample"]["is_hashing"] is True, device["adapter"]
        assert told["device"]["mac"].lower() == device["mac"]
    assert site.writes() in ([], {"writes": []}), "nothing was written to any device"


def test_an_import_of_the_table_gives_the_same_site_file(site: Site, tmp_path: Path) -> None:
    out, table, again = tmp_path / "found.toml", tmp_path / "found.csv", tmp_path / "again.toml"
    argv = [f"{NET}.1.0/28", "--port", str(site.port), "--out", str(out), "--csv", str(table)]
    assert run("scan_cli", *argv).returncode == 0
    assert run("scan_cli", "--import", str(table), "--out", str(again)).returncode == 0
    assert tomllib.loads(again.read_text()) == tomllib.loads(out.read_text())
