"""A firmware version that nobody has tried is read, and nothing of it is commanded."""

import logging

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.capabilities import WRITES
from shared.clock import ManualClock
from support.guardian import FakeMiner


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            "Vnish 7.0.0",
            "firmware version 'Vnish 7.0.0' has never been seen: read-only, every control is refused",
        ),
        ("", "did not tell its firmware version: read-only until it does, every control is refused"),
    ],
)
async def test_control_is_refused_until_the_version_is_known(
    site: SiteFile, caplog: pytest.LogCaptureFixture, told: str, says: str
) -> None:
    miner = FakeMiner(site.miners[0])
    samples = Samples("b", Board(), Ring())
    link = DeviceLink(site.miners[0], miner, samples, ManualClock(), timeout_s=1.0)
    assert await link.read_facts()
    assert link.facts is not None
    assert {one.ability for one in link.facts.capabilities} & WRITES
    miner.firmware = told
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await link.read_facts()
    assert not {one.ability for one in link.facts.capabilities} & WRITES
    assert link.facts.capabilities, "it is still read"
    said = [one.message for one in caplog.records]
    assert said == [f"{site.miners[0].id}: {says}"], "once"
    assert (await link.read()).failure is None
