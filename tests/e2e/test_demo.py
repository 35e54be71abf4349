"""The end-to-end test: `minewarden demo`, as a person runs it, as real processes on loopback."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from firmware_adapters.simulator.demo.stages import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.alone]

DEMO = [sys.executable, "-P", "-m", "shared.cli", "demo", "--headless"]
DURATION_S = 480
"""What it may take; 200 s are usual on two idle cores. Nothing in the story is placed by it."""


def _mentioning(folder: Path) -> list[str]:
    """Command lines of processes that belong to the demo in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in words:
                found.append(words)
    return found


def test_the_whole_story_within_its_duration(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    folder = tmp_path / "demo"
    command = [*DEMO, "--duration", str(DURATION_S), "--report", str(report), "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DURATION_S + 150)
    print(done.stdout)
    logs = "\n".join(
        f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in folder.glob("logs/*.log")
    )
    assert report.is_file(), done.stdout + done.stderr + logs
    seen = json.loads(report.read_text())
    assert set(seen["stages"]) == set(STAGES)
    failed = {name: stage for name, stage in seen["stages"].items() if not stage["ok"]}
    assert not failed, f"{failed}\n{done.stderr}\n{logs}"
    assert done.returncode == 0
    assert seen["ok"] is True
    assert all(0 <= stage["at_s"] <= DURATION_S for stage in seen["stages"].values())
    with closing(sqlite3.connect(folder / "cloud" / "cloud.db")) as cloud:
        assert cloud.execute("SELECT topic, reason FROM quarantine").fetchall() == []
    assert seen["challenger"] is True, "with torch installed the challenger takes part"
    assert _mentioning(folder) == []


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    report = tmp_path / "report.json"
    command = [*DEMO, "--report", str(report), "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        watchdog = threading.Timer(240, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "all processes are up" in line:
                    break
            assert len(_mentioning(folder)) >= 5
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            process.wait()
        finally:
            watchdog.cancel()
    assert process.returncode == 1, "an interrupted scenario is not ok"
    assert json.loads(report.read_text())["ok"] is False
    assert _mentioning(folder) == []
