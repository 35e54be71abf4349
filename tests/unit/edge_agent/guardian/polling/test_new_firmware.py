"""A firmware version that nobody has tried is read, and nothing of it is commanded."""

import logging

import msgspec
import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.capabilities import WRITES
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock
from support.guardian import FakeMiner


class Updated(FakeMiner):
    """A miner that tells its firmware version."""

    version = "Vnish 1.3.4"

    async def facts(self) -> DeviceFacts:
        return msgspec.structs.replace(await super().facts(), firmware=self.version)


async def test_control_is_refused_until_the_version_is_known(
    site: SiteFile, caplog: pytest.LogCaptureFixture
) -> None:
    miner = Updated(site.miners[0])
    samples = Samples("b", Board(), Ring())
    link = DeviceLink(site.miners[0], miner, samples, ManualClock(), timeout_s=1.0)
    assert await link.read_facts()
    assert link.facts is not None
    assert {one.ability for one in link.facts.capabilities} & WRITES
    miner.version = "Vnish 7.0.0"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await link.read_facts()
    assert not {one.ability for one in link.facts.capabilities} & WRITES
    assert link.facts.capabilities, "it is still read"
    said = [one.message for one in caplog.records]
    assert said == [
        f"{site.miners[0].id}: firmware version 'Vnish 7.0.0' has never been seen: "
        "read-only, every control is refused"
    ], "once"
    assert (await link.read()).failure is None
