"""A minute of the chaos run: `make soak-sync` plays an hour of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import cloud_broker, postgres

ROOT = Path(__file__).parents[3]
FIELDS = {
    "rows_made",
    "rows_committed",
    "rows_apart",
    "lost",
    "duplicated",
    "explained_by_tombstone",
    "faults",
}
FAULTS = (
    "agent-kill publish-confirmed",
    "agent-kill delete-before-commit",
    "cloud-kill commit-before-ack",
    "broker-kill",
    "black-hole",
    "disk-full",
    "restored-store",
    "clock-step",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(cloud_broker.why_not() is not None, reason="mosquitto is not installed"),
    pytest.mark.skipif(postgres.why_not() is not None, reason="PostgreSQL is not installed"),
]


def test_f02_f11_a_minute_of_chaos_loses_no_row_and_stores_none_twice(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-P", "-m", "support.chaos_run", "--report", str(report), "--seed", "7"]
    command += ["--duration", "240", "--keep", str(tmp_path / "kept")]
    for name in FAULTS:
        command += ["--only", name]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert set(found) == FIELDS
    assert found["lost"] == found["duplicated"] == found["explained_by_tombstone"] == 0
    assert found["rows_made"] == found["rows_committed"] > 400
    assert len(set(found["faults"]) & {*FAULTS, "link-flap", "duplicate-delivery", "agent-kill"}) >= 4
