"""What runs well does not end because nobody signed it again; what was taken back does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.artifacts.manifest import Stage
from support.cloud import service
from support.rollouts import Fleet, Outbound

DAY_MS = 86_400_000


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with service(tmp_path) as running:
        found = Fleet(running, Outbound())
        await found.sites("north", "south")
        await found.model()
        yield found


async def assign(fleet: Fleet, site: str, stage: str = "active") -> None:
    body = {"site": site, "name": "miner-anomaly", "version": 1, "stage": stage}
    await fleet.running.post("/rollouts", body, 201)


def later(fleet: Fleet, days: float) -> None:
    fleet.running.bench.clock.step_wall(round(days * DAY_MS))


async def test_with_a_third_left_it_is_said_again(fleet: Fleet) -> None:
    await assign(fleet, "north")
    await assign(fleet, "south", "shadow")
    later(fleet, 59)
    assert await fleet.worker.renew() == 0
    later(fleet, 2)
    assert await fleet.worker.renew() == 2
    assert len(fleet.outbound.sent) == 4
    assert fleet.outbound.assigned() == {"north": (1, Stage.ACTIVE), "south": (1, Stage.SHADOW)}
    assert await fleet.worker.renew() == 0
    whats = [step["what"] for step in (await fleet.running.get("/rollouts/record"))["items"]]
    assert whats == ["renewed", "renewed", "assigned", "assigned"]


async def test_what_was_taken_back_ends(fleet: Fleet) -> None:
    await assign(fleet, "north")
    await assign(fleet, "south")
    await assign(fleet, "south", "withdrawn")
    await fleet.report("north", "rolled-back")
    later(fleet, 80)
    assert await fleet.worker.renew() == 0


async def test_what_may_not_run_any_more_ends(fleet: Fleet) -> None:
    await assign(fleet, "north")
    later(fleet, 366)
    assert await fleet.worker.renew() == 0


async def test_a_roll_out_knows_its_own_assignment_again(fleet: Fleet) -> None:
    campaign = (await fleet.begin(sites=["north"], criteria={"offline_after_s": 7_776_000}))["campaign"]
    await fleet.report("north", "shadow")
    later(fleet, 61)
    assert await fleet.worker.renew() == 1
    await fleet.hear("north")
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert view["rings"][0]["sites"][0]["standing"] == "silent"
    assert not view["held"]
