"""A version goes through the sites ring by ring, and comes back from all of them when it must."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts.manifest import Scope, Stage
from support.cloud import NOW_MS, service
from support.rollouts import GOOD, Fleet, Outbound

TEN = tuple(f"site-{number}" for number in range(10))


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Ten sites, on SQLite."""
    async with ten_sites(tmp_path) as found:
        yield found


@pytest.fixture
async def either(database_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Ten sites, on each engine: for what leans on SQL."""
    async with ten_sites(tmp_path, database_url) as found:
        yield found


@contextlib.asynccontextmanager
async def ten_sites(folder: Path, url: str | None = None) -> AsyncIterator[Fleet]:
    """Ten sites and a broker that keeps what it gets."""
    async with service(folder, url=url) as running:
        found = Fleet(running, Outbound())
        await found.sites(*TEN)
        yield found


def ring(view: dict[str, Any], number: int) -> list[str]:
    return [site["site"] for site in view["rings"][number]["sites"]]


def standing(view: dict[str, Any], site: str) -> str:
    (found,) = [one for ring in view["rings"] for one in ring["sites"] if one["site"] == site]
    return str(found["standing"])


def words(view: dict[str, Any]) -> list[str]:
    return [step["what"] for step in reversed(view["history"])]


async def test_ten_sites_in_four_rings(either: Fleet) -> None:
    await either.model()
    campaign = (await either.begin())["campaign"]
    assert [len(one["sites"]) for one in campaign["rings"]] == [1, 2, 2, 5]
    given: list[str] = []
    for number in range(4):
        sites = ring(campaign, number)
        given += sites
        assert either.outbound.assigned().keys() == set(given), "only this ring is new"
        await either.hear(*TEN)
        await either.through(sites, "shadow")
        assert {either.outbound.assigned()[site] for site in sites} == {(1, Stage.ACTIVE)}
        await either.hear(*TEN)
        await either.report(given, "active-report", **GOOD)
        await either.through(sites, "active")
    view = await either.campaign(campaign["id"])
    assert (view["state"], view["held"]) == ("done", False)
    assert view["why"] == "ring 4, active: 5 of 5 sites held every criterion"
    assert words(view) == ["created", "started", *["advanced"] * 7, "done"]
    assert all(one["state"] == "done" and one["good"] == len(one["sites"]) for one in view["rings"])
    assert either.outbound.assigned() == dict.fromkeys(TEN, (1, Stage.ACTIVE))
    sent = len(either.outbound.sent)
    await either.tick()
    assert len(either.outbound.sent) == sent == 20, "two assignments for each site, none twice"


async def test_silence_is_not_success(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin())["campaign"]
    (site,) = ring(campaign, 0)
    await fleet.report(site, "shadow")
    for _ in range(5):
        fleet.pass_s(1500)
        await fleet.hear(*TEN)
        await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert (view["ring"], view["stage"], view["state"]) == (0, "shadow", "running")
    assert standing(view, site) == "silent"
    assert "no numbers for more than 1 h" in view["why"]


async def test_numbers_of_before_count_for_nothing(fleet: Fleet) -> None:
    """A site that ran the version in the shadow yesterday has not soaked today."""
    await fleet.model()
    await fleet.report(TEN, "shadow")
    await fleet.report(TEN, "shadow-report", **GOOD)
    fleet.pass_s(10_000)
    await fleet.hear(*TEN)
    campaign = (await fleet.begin())["campaign"]
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert standing(view, ring(view, 0)[0]) == "coming"


async def test_a_bad_model_is_halted_at_the_first_ring(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin())["campaign"]
    (site,) = ring(campaign, 0)
    await fleet.through([site], "shadow", alarm_rate=0.6)
    view = await fleet.campaign(campaign["id"])
    assert view["state"] == "halted"
    assert view["why"] == (
        f"1 of 1 sites of ring 1 went wrong: {site}: alarm rate 60.0%, at most 5.0% is allowed"
    )
    assert fleet.outbound.assigned() == {site: (1, Stage.WITHDRAWN)}
    assert standing(view, site) == "returning"
    (alarm,) = [one for one in (await fleet.running.get("/alarms"))["items"] if "halted" in one["title"]]
    assert (alarm["severity"], alarm["cleared_ms"]) == ("high", None)
    fleet.pass_s(1)
    await fleet.report(site, "withdrawn")
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert (standing(view, site), view["held"]) == ("returned", False)
    (alarm,) = [
        one
        for one in (await fleet.running.get("/alarms?state=all"))["items"]
        if one["key"].startswith("rollout/")
    ]
    assert alarm["cleared_ms"] is not None
    for _ in range(3):
        fleet.pass_s(3600)
        await fleet.through([site], "active")
    assert (await fleet.campaign(campaign["id"]))["state"] == "halted", "a halt is final"


@pytest.mark.parametrize("state", ["rolled-back", "refused"])
async def test_sites_of_all_rings_go_back_to_what_they_ran(either: Fleet, state: str) -> None:
    await either.model()
    for site in TEN:
        body = {"site": site, "name": "miner-anomaly", "version": 1, "stage": "active"}
        await either.running.post("/rollouts", body, 201)
    await either.report(TEN, "active")
    await either.model()
    campaign = (await either.begin(version=2))["campaign"]
    first, second = ring(campaign, 0), ring(campaign, 1)
    await either.through(first, "shadow", version=2)
    await either.hear(*TEN)
    await either.through(first, "active", version=2)
    await either.report(second[:1], state, 2, detail="it is no good")
    await either.tick()
    view = await either.campaign(campaign["id"])
    assert view["state"] == "halted"
    assert f"{second[0]}: it says {state}: it is no good" in view["why"]
    now = either.outbound.assigned()
    assert {now[site] for site in (*first, second[1])} == {(2, Stage.WITHDRAWN)}
    assert now[second[0]] == (1, Stage.ACTIVE), "it let go by itself, so version 1 stands retained again"
    await either.report([*first, second[1]], "rolled-back", 2)
    await either.tick()
    assert either.outbound.assigned() == dict.fromkeys(TEN, (1, Stage.ACTIVE))
    view = await either.campaign(campaign["id"])
    assert {standing(view, site) for site in (*first, *second)} == {"returned"}


async def test_a_few_bad_sites_go_back_and_the_others_go_on(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin(shares=[1.0], criteria={"max_bad_share": 0.1}))["campaign"]
    bad, *fine = ring(campaign, 0)
    await fleet.report(TEN, "shadow")
    fleet.pass_s(601)
    await fleet.report(fine, "shadow-report", **GOOD)
    await fleet.report(bad, "shadow-report", **{**GOOD, "latency_p99_ms": 9000.0})
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert (view["state"], view["stage"]) == ("running", "active")
    now = fleet.outbound.assigned()
    assert {now[site] for site in fine} == {(1, Stage.ACTIVE)}
    assert now[bad] == (1, Stage.WITHDRAWN)
    assert "bad" in words(view)


async def test_a_late_site_catches_up_alone(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin(shares=[1.0], criteria={"min_reporting": 0.8}))["campaign"]
    late, *prompt = ring(campaign, 0)
    await fleet.through(prompt, "shadow")
    assert fleet.outbound.assigned()[late] == (1, Stage.SHADOW), "silent sites are not taken along"
    assert fleet.outbound.assigned()[prompt[0]] == (1, Stage.ACTIVE)
    await fleet.through([late], "shadow")
    assert fleet.outbound.assigned()[late] == (1, Stage.ACTIVE)
    assert "caught-up" in words(await fleet.campaign(campaign["id"]))


async def test_a_site_that_is_offline_holds_the_roll_out_until_it_is_back(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin())["campaign"]
    (site,) = ring(campaign, 0)
    fleet.pass_s(1900)
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert (view["state"], view["held"]) == ("running", True)
    assert f"{site} is offline: nothing was heard of it for more than 30 min" in view["why"]
    await fleet.hear(site)
    await fleet.tick()
    assert not (await fleet.campaign(campaign["id"]))["held"]
    assert words(await fleet.campaign(campaign["id"]))[-2:] == ["held", "goes-on"]


async def test_a_person_who_steps_in_holds_it(fleet: Fleet) -> None:
    await fleet.model()
    await fleet.model()
    campaign = (await fleet.begin(version=2))["campaign"]
    (site,) = ring(campaign, 0)
    by_hand = {"site": site, "name": "miner-anomaly", "version": 1, "stage": "shadow", "actor": "Bo"}
    await fleet.running.post("/rollouts", by_hand, 201)
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert view["held"]
    assert f"{site} is given something else by hand" in view["why"]
    await fleet.order(campaign["id"], "rollback")
    assert fleet.outbound.assigned()[site] == (1, Stage.SHADOW), "what a person put there stands"


async def test_reports_that_are_late_and_mixed_up_count_the_same(either: Fleet) -> None:
    """A backlog brings a broken criterion after good numbers: it halts all the same."""
    await either.model()
    campaign = (await either.begin())["campaign"]
    (site,) = ring(campaign, 0)
    await either.report(site, "shadow")
    await either.report(site, "shadow-report", **GOOD)
    await either.report(site, "shadow-report", **{**GOOD, "agreement": 0.2, "cycles": 30})
    await either.report(site, "shadow-report", **{**GOOD, "agreement": 0.1, "cycles": 3})
    await either.tick()
    view = await either.campaign(campaign["id"])
    assert view["state"] == "halted"
    assert "agreement 20.0%" in view["why"], "three cycles are noise, thirty are not"


async def test_what_a_site_makes_up_is_unknown(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin())["campaign"]
    (site,) = ring(campaign, 0)
    await fleet.report(site, "shadow")
    fleet.pass_s(601)
    nonsense = {"alarm_rate": None, "latency_p99_ms": "fast", "errors": True, "agreement": -1}
    await fleet.report(site, "shadow-report", **{**GOOD, **nonsense})
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert standing(view, site) == "young"
    assert "its alarm rate, its latency, its errors" in view["why"]


async def test_one_intervention_in_two_is_not_half(either: Fleet) -> None:
    await either.model()
    campaign = (await either.begin(stages=["active"], criteria={"max_intervention_rise": 0.1}))["campaign"]
    (site,) = ring(campaign, 0)
    await either.through([site], "active", answered=2, intervention_rate=0.5, errors=0)
    assert (await either.campaign(campaign["id"]))["ring"] == 1
    await either.report(site, "active-report", **{**GOOD, "answered": 100, "intervention_rate": 0.5})
    await either.tick()
    view = await either.campaign(campaign["id"])
    assert view["state"] == "halted"
    assert "the guardian stepped in at 50.0%, before it was 0.0%" in view["why"]


async def test_a_site_without_proposals_was_not_stepped_in_on(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin(stages=["active"]))["campaign"]
    (site,) = ring(campaign, 0)
    for _ in range(3):  # an acting version's reports say how many cycles were new
        await fleet.report(
            site, "active-report", **{**GOOD, "cycles": 8, "answered": 0, "intervention_rate": None}
        )
    fleet.pass_s(601)
    await fleet.tick()
    assert (await fleet.campaign(campaign["id"]))["ring"] == 1


# ---------------------------------------------------------------- what is refused, and seen


async def test_requests_that_mean_nothing(fleet: Fleet) -> None:
    await fleet.model()
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"version": 9}, 404, "there is no model"),
        ({"sites": ["site-1", "atlantis"]}, 404, "atlantis"),
        ({"rings": [["site-1"], ["site-1"]]}, 422, "one ring only"),
        ({"rings": [["site-1"]], "sites": ["site-1"]}, 422, "not both"),
        ({"shares": [0.5]}, 422, "end with 1"),
        ({"shares": [0.1, 0.5, 1], "soak_s": [1, 2]}, 422, "2 times for 3 rings"),
        ({"stages": ["active", "shadow"]}, 422, "shadow and then active"),
        ({"soak_s": -1}, 422, "soak_s"),
        ({"criteria": {"min_agreement": 2}}, 422, "min_agreement"),
        ({"criteria": {"min_agrement": 0.5}}, 422, "min_agrement"),
        ({"actor": " "}, 422, "actor"),
    ]
    for changes, status, why in cases:
        assert why in (await fleet.begin(status, **changes))["detail"]
    assert fleet.outbound.sent == []


async def refused(fleet: Fleet, why: str, **changes: Any) -> None:
    """The request is refused, nothing is sent, and the record tells it."""
    answer = await fleet.begin(409, **changes)
    assert why in answer["detail"]
    assert fleet.outbound.sent == []
    newest = (await fleet.running.get("/rollouts/record"))["items"][0]
    assert (newest["what"], newest["actor"]) == ("not-allowed", "Ada")
    assert why in newest["detail"]
    assert (await fleet.running.get("/campaigns"))["items"] == []


async def test_an_unblessed_version(fleet: Fleet) -> None:
    await fleet.model(accepted=False, chosen=False)
    await refused(fleet, "is rejected, and only a blessed one may run")


async def test_an_expired_manifest(fleet: Fleet) -> None:
    await fleet.model()
    fleet.running.bench.clock.step_wall(366 * 86_400_000)
    await refused(fleet, "has expired")


async def test_a_manifest_that_expires_on_the_way(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin())["campaign"]
    fleet.running.bench.clock.step_wall(366 * 86_400_000)
    await fleet.tick()
    view = await fleet.campaign(campaign["id"])
    assert (view["state"], view["why"]) == ("halted", "the blessing of this version has expired")


async def test_sites_out_of_scope(fleet: Fleet) -> None:
    await fleet.model(scope=Scope(sites=("site-1", "site-2")))
    await refused(fleet, "is not meant for site-3", sites=["site-1", "site-3"])
    campaign = (await fleet.begin())["campaign"]
    assert {site for number in range(2) for site in ring(campaign, number)} == {"site-1", "site-2"}


async def test_no_site_is_in_two_at_once(fleet: Fleet) -> None:
    await fleet.model()
    await fleet.begin(sites=["site-1"])
    await fleet.model()
    answer = await fleet.begin(409, version=2)
    assert "'site-1' is in roll-out" in answer["detail"]


async def test_an_older_version_than_a_site_runs(fleet: Fleet) -> None:
    await fleet.model()
    await fleet.model()
    newer = {"site": "site-4", "name": "miner-anomaly", "version": 2, "stage": "active"}
    await fleet.running.post("/rollouts", newer, 201)
    assert "has version 2 already" in (await fleet.begin(409))["detail"]


async def test_a_report_about_another_sites_model(either: Fleet) -> None:
    """A site that speaks for a version it never got is seen and does not count."""
    await either.model()
    campaign = (await either.begin())["campaign"]
    (site,) = ring(campaign, 0)
    (liar, *_) = ring(campaign, 3)
    await either.report(liar, "shadow")
    await either.report(liar, "rolled-back", detail="to stop it")
    either.pass_s(601)
    await either.report(liar, "shadow-report", **GOOD)
    await either.tick()
    view = await either.campaign(campaign["id"])
    assert (view["state"], view["ring"], view["stage"]) == ("running", 0, "shadow")
    assert standing(view, site) == "coming"
    assert view["strangers"] == [liar]


async def test_one_that_asked_never_to_be_a_canary_is_last(fleet: Fleet) -> None:
    await fleet.model()
    for site in TEN[:4]:
        body = {"actor": "Ada", "canary": False, "second_approver": False}
        await fleet.running.post(f"/sites/{site}/model-settings", body, 200)
    campaign = (await fleet.begin())["campaign"]
    early = {site for number in range(3) for site in ring(campaign, number)}
    assert not early & set(TEN[:4])
    assert set(TEN[:4]) <= set(ring(campaign, 3))
    await fleet.order(campaign["id"], "rollback")
    answer = await fleet.begin(409, rings=[["site-0"], ["site-5"]])
    assert "asked never to be a canary" in answer["detail"]


async def test_numbers_are_shown(fleet: Fleet) -> None:
    await fleet.model()
    campaign = (await fleet.begin())["campaign"]
    (site,) = ring(campaign, 0)
    await fleet.report(site, "shadow")
    await fleet.report(site, "shadow-report", **{**GOOD, "latency_p99_ms": 80.0, "cycles": 30})
    await fleet.report(site, "shadow-report", **GOOD)
    (shown,) = (await fleet.campaign(campaign["id"]))["rings"][0]["sites"]
    assert shown["newest"]["latency_p99_ms"] == 12.0
    assert shown["worst"]["latency_p99_ms"] == 80.0
    assert (shown["reached_ms"], shown["soaked_ms"]) == (NOW_MS, NOW_MS + 600_000)
    assert shown["standing"] == "soaking"
    assert (await fleet.running.get("/campaigns/nothing", 404))["code"] == "not-found"
