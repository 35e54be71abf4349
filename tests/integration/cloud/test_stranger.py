"""docs/protocol.md lets somebody without our code speak to the cloud: its example is run as it stands."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.protocol_examples import protocol_example

pytestmark = pytest.mark.slow


def test_the_site_of_the_documentation_gets_its_row_committed(
    tmp_path: Path, broker: Broker, cloud: CloudProcess
) -> None:
    cloud.start()
    (tmp_path / "site.py").write_text(protocol_example("site.py"))
    words = [sys.executable, "-I", str(tmp_path / "site.py"), "127.0.0.1", str(broker.port), "elsewhere"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "committed\n"), done.stderr + cloud.log()[-2000:]
    path = cloud.folder / "data" / "cloud.db"
    numbers = "hashrate_ths_mean, power_w_mean, chip_temp_max_c_max"
    asked = f"SELECT device, {numbers}, state FROM rollup WHERE site = ?"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        assert list(database.execute(asked, ("elsewhere",))) == [("m-1", 188.2, 3290.0, None, "mining")]
