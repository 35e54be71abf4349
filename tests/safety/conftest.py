"""A site, a zone bench and a whole guardian for every test of the guardian."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.config import SiteFile
from support.guardian import GuardianBench, ZoneBench, make_site


@pytest.fixture
def site(tmp_path: Path) -> SiteFile:
    """A site that lets policies raise: what forbids a raise here is what the test is about."""
    return make_site(tmp_path, edit=lambda text: text.replace("ml_may_raise = false", "ml_may_raise = true"))


@pytest.fixture
def zone(site: SiteFile) -> ZoneBench:
    return ZoneBench(site)


@pytest.fixture
async def bench(site: SiteFile) -> AsyncIterator[GuardianBench]:
    bench = GuardianBench(site)
    await bench.start()
    yield bench
    await bench.close()
