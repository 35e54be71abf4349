"""A few writes are looked at every second; a thousand share the reads and leave time for the rest."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.guardian.actions.executor import READ_BACKS_PER_S
from shared.errors import Unreachable
from shared.telemetry import MinerState
from support.guardian import GuardianBench, make_site

MANY = 600


def large(text: str) -> str:
    """The site file with addresses for more than 255 miners."""
    return re.sub(r"127\.9\.1\.(\d+)", lambda m: f"127.9.{int(m[1]) // 250}.{int(m[1]) % 250 + 1}", text)


async def stopped(folder: Path, miners: int) -> GuardianBench:
    """A site whose miners were all told to stop and do not obey; nothing is polled any more."""
    bench = await GuardianBench(make_site(folder, miners, edit=large)).start()
    for miner in bench.miners:
        miner.ignores = True
    bench.polling = False
    bench.guardian.persons.safe_stop(None, by="ada", reason="test")
    await bench.run(1.0)
    assert all(miner.writes == ["stop"] for miner in bench.miners), "every command went out at once"
    return bench


@pytest.fixture
async def few(tmp_path: Path) -> AsyncIterator[GuardianBench]:
    bench = await stopped(tmp_path, 4)
    yield bench
    await bench.close()


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[GuardianBench]:
    bench = await stopped(tmp_path, MANY)
    yield bench
    await bench.close()


async def reads_in(bench: GuardianBench, seconds: float) -> int:
    before = sum(miner.reads for miner in bench.miners)
    await bench.run(seconds)
    return sum(miner.reads for miner in bench.miners) - before


async def test_few_are_looked_at_every_second(few: GuardianBench) -> None:
    assert 4 * 5 <= await reads_in(few, 6.0) <= 4 * 7


async def test_many_share_the_reads_and_none_is_forgotten(many: GuardianBench) -> None:
    before = {miner.entry.id: miner.reads for miner in many.miners}
    assert await reads_in(many, 8.0) <= 8.0 * READ_BACKS_PER_S * 1.25
    assert all(miner.reads > before[miner.entry.id] for miner in many.miners)


async def test_a_stop_that_did_not_arrive_is_tried_at_every_look(tmp_path: Path) -> None:
    """One lost packet on the way to a machine must not cost the ten seconds that a deaf one gets."""
    bench = await GuardianBench(make_site(tmp_path, 1)).start()
    miner = bench.miners[0]
    miner.fail_write = Unreachable("no connection in time")
    bench.guardian.persons.safe_stop(None, by="ada", reason="test")
    await bench.run(2.5)
    assert len(miner.writes) >= 2
    miner.fail_write = None
    await bench.run(1.5)
    assert miner.state is MinerState.STOPPED
    sent = len(miner.writes)
    await bench.run(15.0)
    assert len(miner.writes) == sent
    await bench.close()
