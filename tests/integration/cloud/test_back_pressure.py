"""A database that stands still: the broker holds back, and the cloud's memory stays what it was."""

from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest

from cloud.ingest.service import WINDOW
from shared.telemetry import RollupRow
from support import postgres
from support.cloud import NOW_MS, SITE, batch, row
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.cloud_site import FakeSite

pytestmark = pytest.mark.slow

ROWS = 1_000
BATCHES = WINDOW + 44
GROWTH_KIB = 220 * 1024
"""All of them decoded would be 1.5 kB a row: 450 MB."""


def resident_kib(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise AssertionError("the process is gone")


async def test_a_database_that_stands_still_does_not_fill_the_memory(
    broker: Broker, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    url = postgres_server.create()
    cloud = CloudProcess(tmp_path, broker.port, extra=f'database_url = "{url}"')
    numbers = dict.fromkeys(("power_w_mean", "hashrate_ths_mean", "chip_temp_max_c_mean"), 1000.25)
    template = [row(f"m-{n:04d}", NOW_MS, **numbers) for n in range(ROWS)]
    try:
        cloud.start()
        assert cloud.process is not None
        with FakeSite(broker.port) as site:
            site.add(1, batch(template[:1], 1))
            site.deliver_all()
            before = resident_kib(cloud.process.pid)
            other = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
            async with other.transaction():
                await other.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
                for seq in range(2, BATCHES + 2):
                    site.add(seq, batch(moved(template, seq), seq))
                site.send_pending()
                assert not site.wait(lambda: len(site.pending) < BATCHES, 6.0), "acked without a commit"
                assert resident_kib(cloud.process.pid) - before < GROWTH_KIB
            await other.close()
            assert site.wait(lambda: not site.pending, 240.0), "what waited is committed by itself"
            assert resident_kib(cloud.process.pid) - before < GROWTH_KIB
        found = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
        assert await found.fetchval("SELECT count(*) FROM rollup WHERE site = $1", SITE) == BATCHES * ROWS + 1
        await found.close()
    finally:
        cloud.close()


def moved(template: list[RollupRow], seq: int) -> list[RollupRow]:
    """The same devices another minute."""
    at_ms = NOW_MS - 60_000 * seq
    return [msgspec.structs.replace(found, at_ms=at_ms) for found in template]
