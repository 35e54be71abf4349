"""An order to a machine on a version that our table lacks is refused, or obeyed on a person's word."""

import asyncio
import logging
from pathlib import Path

import pytest

from edge_agent.guardian.operators.show import show
from firmware_adapters.capabilities import WRITES
from firmware_adapters.discovery.report import warnings
from firmware_adapters.discovery.via_guardian import as_probed
from shared.commands import ActionOutcome, DoActions, StopMining
from shared.shown import DeviceShown, ShowDevice
from shared.telemetry import MinerState
from support.guardian import GuardianBench, make_site, miner_id, signed_order

ACCEPTED = """
[[firmware_accepted]]
adapter = "vnish"
firmware = "Vnish 1.3.6"
by = "Ada"
why = "a week on m-1"
"""
STOP = DoActions(actions=(StopMining(device=miner_id(1)),))


async def upgraded(folder: Path, firmware: str, *, accepted: bool) -> GuardianBench:
    """A guardian whose first miner was given this firmware."""
    bench = GuardianBench(make_site(folder, edit=lambda text: text + ACCEPTED * accepted))
    bench.miner(1).firmware = firmware
    return await bench.start()


async def stop(bench: GuardianBench) -> ActionOutcome:
    """What became of an order to stop the first miner."""
    before = set(bench.guardian.desk._background)
    bench.guardian.intake.order(signed_order(STOP, bench.clock))
    taking = bench.guardian.desk._background - before
    for _ in range(400):
        await asyncio.wait(taking, timeout=0.02)
        await bench.run(0.25)
        if bench.results("c-1"):
            break
    [result] = bench.results("c-1")
    return result.outcome


async def test_an_order_to_a_version_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    bench = await upgraded(tmp_path, "Vnish 1.3.6", accepted=False)
    assert await stop(bench) is ActionOutcome.REJECTED
    assert bench.miner(1).writes == []
    await bench.close()


async def test_an_order_to_a_version_that_the_site_accepts_is_carried_out(tmp_path: Path) -> None:
    bench = await upgraded(tmp_path, "Vnish 1.3.6", accepted=True)
    assert await stop(bench) is ActionOutcome.APPLIED
    assert bench.miner(1).state is MinerState.STOPPED
    await bench.close()


@pytest.mark.parametrize("firmware", ["", "Vnish ?", "Vnish 1.3.7"])
async def test_a_word_for_one_version_is_none_for_another_or_for_one_that_is_not_told(
    tmp_path: Path, firmware: str
) -> None:
    bench = await upgraded(tmp_path, firmware, accepted=True)
    assert await stop(bench) is ActionOutcome.REJECTED
    assert bench.miner(1).writes == []
    await bench.close()


async def test_a_machine_that_leaves_the_accepted_version_is_read_only_again(tmp_path: Path) -> None:
    bench = await upgraded(tmp_path, "Vnish 1.3.6", accepted=True)
    link = bench.guardian.links[miner_id(1)]
    bench.miner(1).firmware = "Vnish 1.3.7"
    assert await link.read_facts()
    assert link.facts is not None
    assert not {one.ability for one in link.facts.capabilities} & WRITES
    await bench.close()


async def test_each_start_says_on_whose_word_which_version_is_commanded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = GuardianBench(make_site(tmp_path, edit=lambda text: text + ACCEPTED))
    with caplog.at_level(logging.WARNING):
        bench.guardian._began()
    said = "vnish firmware 'Vnish 1.3.6' may be commanded, accepted by Ada: a week on m-1"
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING] == [said]
    await bench.close()


async def test_a_probe_through_the_guardian_says_it_too(tmp_path: Path) -> None:
    bench = await upgraded(tmp_path, "Vnish 1.3.6", accepted=True)
    guardian = bench.guardian
    told = show(guardian.links, guardian.samples, ShowDevice(device=miner_id(1)))
    assert isinstance(told, DeviceShown)
    said = "firmware version 'Vnish 1.3.6' is not in our table: accepted by Ada: a week on m-1"
    assert warnings(as_probed(told)) == [said]
    await bench.close()


async def test_what_agents_are_sent_of_the_devices_does_not_change(tmp_path: Path) -> None:
    bench = await upgraded(tmp_path, "Vnish 1.3.6", accepted=True)
    sent = [device for frame in bench.guardian.inventory() for device in frame.devices]
    assert {device.firmware_accepted or None for device in sent} == {None}
    await bench.close()
