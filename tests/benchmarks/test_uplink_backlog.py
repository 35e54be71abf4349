"""A day without WAN at 1,000 miners, caught up with: how long it takes, and what "now" pays for it.

1,440 batches of 1,000 rows lie in the outbox; a real mosquitto, the real cloud and a real PostgreSQL take
them while one more step is recorded every second (sixty times the real pace). Value: p99 of the time from a
new batch's commit on site to the cloud's ack for it, during the drain. Peer: the same once the backlog is
gone, in the same run. RSS is that of a process with store and uplink alone. A well-known gateway has no
such figure; what it loses on the way is quoted in `support/chaos_run.py`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support import cloud_broker, postgres
from support.agent import make_site
from support.benchmark import Line, machine, rounded
from support.chaos_backlog import in_a_process
from support.cloud_process import CloudProcess
from support.ports import free_port

MINERS = 1_000
MINUTES = int(os.environ.get("MINEWARDEN_BENCH_MINUTES", "1440"))
"""Less for a quick look; a line says how many rows it is about."""


@pytest.mark.skipif(cloud_broker.why_not() is not None, reason="mosquitto is not installed")
@pytest.mark.skipif(postgres.why_not() is not None, reason="PostgreSQL is not installed")
def test_uplink_backlog(tmp_path: Path, report: Callable[[Line], None]) -> None:
    with cloud_broker.broker(tmp_path) as broker, postgres.server() as server:
        (tmp_path / "cloud").mkdir()
        cloud = CloudProcess(tmp_path / "cloud", broker.port, extra=f'database_url = "{server.create()}"')
        try:
            cloud.start()
            make_site(tmp_path, miners=1, broker_port=broker.port, status_port=free_port())
            found = in_a_process(tmp_path, miners=MINERS, minutes=MINUTES)
        finally:
            cloud.close()
    during, after = np.array(found["during_s"]), np.array(found["after_s"])
    assert found["drain_s"] > 0
    assert len(during) >= 1
    value, peer = float(np.percentile(during, 99)), float(np.percentile(after, 99))
    rows = MINERS * MINUTES
    report(
        Line(
            benchmark="uplink backlog",
            value=rounded(value),
            unit="s",
            ratio=rounded(value / peer),
            peer="no backlog, same run",
            peer_value=rounded(peer),
            median_of=1,
            n=MINERS,
            machine=machine(),
            more={
                "backlog_rows": rows,
                "drain_s": rounded(found["drain_s"]),
                "drain_rows_per_s": rounded(rows / found["drain_s"]),
                "live_p50_s": rounded(float(np.percentile(during, 50))),
                "live_max_s": rounded(float(during.max())),
                "live_batches": len(during),
                "rss_before_mb": rounded(found["rss_before_kb"] / 1024),
                "rss_peak_mb": rounded(found["rss_peak_kb"] / 1024),
                "unknown_publishes": found["unknown"],
            },
        )
    )
