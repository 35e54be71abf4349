"""Several ingest processes on one broker and one PostgreSQL: nothing lost, nothing twice."""

import asyncio
import contextlib
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cloud.kit.database import Database
from shared.ids import SiteId
from support import postgres
from support.cloud import NOW_MS, batch, row
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.cloud_site import FakeSite

pytestmark = pytest.mark.slow

ROWS = 20
PER_SITE = 80
SITES = (SiteId("north"), SiteId("south"))


def payload(seq: int) -> bytes:
    rows = [row(f"m-{n:02d}", NOW_MS - 60_000 * seq, power_w_mean=float(seq)) for n in range(ROWS)]
    return batch(rows, seq)


@contextlib.contextmanager
def worker(cloud: CloudProcess, number: int) -> Iterator[subprocess.Popen[bytes]]:
    process = cloud.start_worker(number)
    try:
        while f"ingest worker {number} of" not in cloud.log():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.1)  # ends early only where the process does
                raise AssertionError(cloud.log())
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    async def ask() -> list[tuple[Any, ...]]:
        database = Database(url)
        async with database.read() as session:
            found = [tuple(line) for line in (await session.execute(text(sql))).all()]
        await database.close()
        return found

    return asyncio.run(ask())


def test_two_workers_and_one_of_them_is_killed(
    broker: Broker, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    """Every batch is sent at least twice, so workers meet the same ones; kill -9 strikes in between."""
    url = postgres_server.create()
    cloud = CloudProcess(tmp_path, broker.port, extra=f'database_url = "{url}"\ningest_workers = 3')
    chance = random.Random(5)
    try:
        cloud.start()
        with worker(cloud, 2) as second, worker(cloud, 3) as third:
            with FakeSite(broker.port, SITES[0]) as north, FakeSite(broker.port, SITES[1]) as south:
                for site in (north, south):
                    assert site.wait(lambda site=site: site.is_connected(), 10.0)  # type: ignore[misc]  # binds the site
                    for seq in range(1, PER_SITE + 1):
                        site.add(seq, payload(seq))
                both = [(site, body) for site in (north, south) for body in site.pending.values()] * 2
                chance.shuffle(both)
                for number, (site, body) in enumerate(both):
                    site.publish(f"mw/1/{site.site}/up/t/rollup", body)
                    if number == len(both) // 2:
                        second.kill()
                north.deliver_all()
                south.deliver_all()
            assert second.wait(20) != 0
            assert third.poll() is None
        assert third.returncode == 0
        assert query(
            url, "SELECT site, count(*), count(DISTINCT (device, at_ms)) FROM rollup GROUP BY 1"
        ) == [(site, PER_SITE * ROWS, PER_SITE * ROWS) for site in SITES]
        ledger = query(
            url, "SELECT site, batches, rows, received::text FROM ledger WHERE stream = 'rollup' ORDER BY 1"
        )
        assert ledger == [(site, PER_SITE, PER_SITE * ROWS, f"[[1,{PER_SITE}]]") for site in SITES]
        assert query(url, "SELECT count(*) FROM quarantine") == [(0,)]
        assert "ingest worker 3 ends: 0 rows" not in cloud.log(), "the work was not shared"
        assert "cannot commit" not in cloud.log()
    finally:
        cloud.close()


def test_from_one_process_to_several_and_back(
    broker: Broker, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    """The first process keeps its session with the broker; what it listened to before must not stay in it."""
    url = postgres_server.create()
    done = 0
    for workers in (1, 2, 1):
        cloud = CloudProcess(
            tmp_path, broker.port, extra=f'database_url = "{url}"\ningest_workers = {workers}'
        )
        try:
            cloud.start()
            with FakeSite(broker.port) as site:
                assert site.wait(lambda site=site: site.is_connected(), 10.0)  # type: ignore[misc]  # as above
                for seq in range(done + 1, done + 11):
                    site.add(seq, payload(seq))
                done += 10
                site.send_pending()
                assert site.wait(lambda site=site: not site.pending, 20.0)  # type: ignore[misc]  # as above
            assert cloud.stop() == 0
        finally:
            cloud.close()
        ((batches, duplicates),) = query(url, "SELECT batches, duplicate_batches FROM ledger")
        assert (batches, duplicates) == (done, 0), f"with {workers} workers something came twice"
