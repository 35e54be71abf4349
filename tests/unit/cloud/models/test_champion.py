"""Who is the champion of a site: what it was assigned last and still stands, never what was taken back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.models import repository
from support.cloud import service
from support.rollouts import GOOD, Fleet, Outbound


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with service(tmp_path) as running:
        found = Fleet(running, Outbound())
        await found.sites("north", "south")
        yield found


async def champion(fleet: Fleet, site: str = "north") -> int | None:
    async with fleet.context.database.read() as session:
        found = await repository.champion(session, site)
        return found.version if found is not None else None


async def assign(fleet: Fleet, version: int, stage: str = "active", site: str = "north") -> None:
    body = {"site": site, "name": "miner-anomaly", "version": version, "stage": stage}
    await fleet.running.post("/rollouts", body, 201)


async def test_without_any_model(fleet: Fleet) -> None:
    assert await champion(fleet) is None


async def test_what_was_assigned_last_else_what_was_trained_here(fleet: Fleet) -> None:
    await fleet.model()
    await fleet.model()
    assert await champion(fleet) == 2
    await assign(fleet, 1)
    assert await champion(fleet) == 1
    assert await champion(fleet, "south") is None


async def test_a_withdrawn_version_is_never_the_champion(fleet: Fleet) -> None:
    """Neither by an earlier assignment, nor as the newest that was trained here."""
    await fleet.model()
    await fleet.model()
    await assign(fleet, 1)
    await assign(fleet, 2)
    await assign(fleet, 2, "withdrawn")
    assert await champion(fleet) == 1
    await assign(fleet, 1, "withdrawn")
    assert await champion(fleet) is None
    await assign(fleet, 2)
    assert await champion(fleet) == 2, "assigned anew, it stands again"


@pytest.mark.parametrize("word", ["rolled-back", "refused", "withdrawn"])
async def test_nor_one_that_the_site_took_back(fleet: Fleet, word: str) -> None:
    await fleet.model()
    await fleet.model()
    await assign(fleet, 1)
    await fleet.report("north", "active", 1)
    await assign(fleet, 2)
    await fleet.report("north", "active", 2)
    assert await champion(fleet) == 2
    fleet.pass_s(1)
    await fleet.report("north", word, 2)
    assert await champion(fleet) == 1
    fleet.pass_s(1)
    await fleet.report("north", "active-report", 2, **GOOD)
    assert await champion(fleet) == 1, "numbers are not a word"
    await fleet.report("north", "active", 2)
    assert await champion(fleet) == 2


async def test_nor_one_whose_roll_out_was_halted_elsewhere(fleet: Fleet) -> None:
    await fleet.model()
    await assign(fleet, 1)
    await fleet.model()
    campaign = (await fleet.begin(version=2, sites=["south"]))["campaign"]
    assert await champion(fleet, "south") == 2
    await fleet.report("south", "rolled-back", 2)
    await fleet.tick()
    assert (await fleet.campaign(campaign["id"]))["state"] == "halted"
    assert await champion(fleet) == 1, "not version 2, although it is the newest that was trained here"
    assert await champion(fleet, "south") is None


async def test_a_version_that_fell_is_no_baseline(fleet: Fleet) -> None:
    """What the sites would go back to is never something that was taken back before."""
    for version in (1, 2):
        await fleet.model()
        await assign(fleet, version)
        await fleet.report("north", "active", version)
        await fleet.report("north", "active-report", version, **{**GOOD, "intervention_rate": version / 10})
    fleet.pass_s(1)
    await fleet.report("north", "rolled-back", 2)
    await fleet.model()
    campaign = (await fleet.begin(version=3, sites=["north"]))["campaign"]
    ((site,),) = [ring["sites"] for ring in campaign["rings"]]
    assert (site["before"], site["intervention_before"]) == (1, 0.1)
