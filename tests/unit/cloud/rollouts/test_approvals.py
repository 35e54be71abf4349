"""Two persons where a site or a roll-out asks for them, and the loud way round in an emergency."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts.manifest import Stage
from support.cloud import service
from support.rollouts import GOOD, Fleet, Outbound

SITES = ("site-1", "site-2", "site-3")


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with service(tmp_path) as running:
        found = Fleet(running, Outbound())
        await found.sites(*SITES)
        await found.model()
        yield found


async def wish(fleet: Fleet, site: str, *, second_approver: bool = True, **more: Any) -> dict[str, Any]:
    body = {"actor": "Ada", "canary": True, "second_approver": second_approver, **more}
    answer: dict[str, Any] = await fleet.running.post(f"/sites/{site}/model-settings", body, 200)
    return answer


async def running(fleet: Fleet, **changes: Any) -> str:
    """The id of a campaign that runs, without a second person for its start."""
    return str((await fleet.begin(**changes))["campaign"]["id"])


async def test_without_a_wish_one_person_is_enough(fleet: Fleet) -> None:
    campaign = await running(fleet)
    answer = await fleet.order(campaign, "promote")
    assert answer["approval"] is None
    assert (answer["campaign"]["ring"], answer["campaign"]["stage"]) == (0, "active")


async def test_a_start_waits_for_the_second_person(fleet: Fleet) -> None:
    await wish(fleet, "site-2")
    answer = await fleet.begin()
    assert answer["campaign"]["state"] == "proposed"
    assert answer["campaign"]["second_approver"]
    approval = answer["approval"]["id"]
    fleet.pass_s(60)
    await fleet.tick()
    assert fleet.outbound.sent == []
    assert "another person" in (await fleet.decide(approval, " ADA ", 403))["detail"]
    assert (await fleet.decide(approval, "Bo"))["state"] == "approved"
    assert len(fleet.outbound.sent) == 1
    view = await fleet.campaign(answer["campaign"]["id"])
    assert view["state"] == "running"
    started = next(step for step in view["history"] if step["what"] == "started")
    assert started["actor"] == "Ada and Bo"
    assert "is approved already" in (await fleet.decide(approval, "Cy", 409))["detail"]


async def test_a_roll_out_may_ask_by_itself(fleet: Fleet) -> None:
    assert (await fleet.begin(second_approver=True))["approval"]["action"] == "start"


async def test_the_same_person_under_another_spelling(fleet: Fleet) -> None:
    answer = await fleet.begin(second_approver=True)
    for name in ("Ada", "ada", " a d a", "\uff21\uff24\uff21", "Ada."):
        await fleet.decide(answer["approval"]["id"], name, 403)


async def test_a_promotion_by_two(fleet: Fleet) -> None:
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    (site,) = [one["site"] for one in (await fleet.campaign(campaign))["rings"][0]["sites"]]
    await fleet.report(site, "shadow")
    asked = await fleet.order(campaign, "promote")
    assert (asked["campaign"]["ring"], asked["campaign"]["stage"]) == (0, "shadow"), "not yet"
    again = await fleet.order(campaign, "promote")
    assert again["approval"]["id"] == asked["approval"]["id"], "asked twice is asked once"
    (waiting,) = (await fleet.campaign(campaign))["approvals"]
    assert (waiting["action"], waiting["asked_by"]) == ("promote", "Ada")
    await fleet.decide(asked["approval"]["id"], "Bo")
    view = await fleet.campaign(campaign)
    assert (view["ring"], view["stage"], view["approvals"]) == (0, "active", [])
    assert fleet.outbound.assigned()[site] == (1, Stage.ACTIVE)


async def test_what_has_moved_on_is_not_promoted_twice(fleet: Fleet) -> None:
    """The machine was faster than the second person: agreeing does nothing more."""
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    (site,) = [one["site"] for one in (await fleet.campaign(campaign))["rings"][0]["sites"]]
    asked = await fleet.order(campaign, "promote")
    await fleet.through([site], "shadow")
    found = await fleet.decide(asked["approval"]["id"], "Bo")
    assert (found["state"], "moved on" in found["detail"]) == ("void", True)
    view = await fleet.campaign(campaign)
    assert (view["ring"], view["stage"]) == (0, "active")


async def test_nobody_agreed_in_time(fleet: Fleet) -> None:
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    asked = await fleet.order(campaign, "rollback")
    fleet.pass_s(3601)
    await fleet.decide(asked["approval"]["id"], "Bo", 409)
    await fleet.tick()
    (found,) = (await fleet.running.get("/approvals?state=expired"))["items"]
    assert found["detail"] == "nobody agreed in time"
    assert (await fleet.campaign(campaign))["state"] == "running"


async def test_a_second_person_may_refuse(fleet: Fleet) -> None:
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    asked = await fleet.order(campaign, "rollback")
    assert (await fleet.decide(asked["approval"]["id"], "Bo", word="refuse"))["state"] == "refused"
    view = await fleet.campaign(campaign)
    assert view["state"] == "running"
    assert view["history"][0]["what"] == "disagreed"


async def test_a_rollback_by_two(fleet: Fleet) -> None:
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    asked = await fleet.order(campaign, "rollback")
    assert (await fleet.campaign(campaign))["state"] == "running"
    await fleet.decide(asked["approval"]["id"], "Bo")
    view = await fleet.campaign(campaign)
    assert view["state"] == "halted"
    assert view["why"] == "rolled back by Ada and Bo: a reason"
    assert {stage for _, stage in fleet.outbound.assigned().values()} == {Stage.WITHDRAWN}


async def test_an_emergency_is_done_at_once_and_told_loudly(fleet: Fleet) -> None:
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    await fleet.order(campaign, "rollback", 422, emergency=True, reason=" ")
    await fleet.order(campaign, "promote", 422, emergency=True)
    answer = await fleet.order(campaign, "rollback", emergency=True, reason="miners stop")
    assert answer["campaign"]["state"] == "halted"
    assert {stage for _, stage in fleet.outbound.assigned().values()} == {Stage.WITHDRAWN}
    assert answer["campaign"]["history"][-1]["what"] == "created"
    assert "emergency" in [step["what"] for step in answer["campaign"]["history"]]

    async def alarms() -> list[str]:
        open_ones = (await fleet.running.get("/alarms"))["items"]
        return [one["title"] for one in open_ones if "emergency" in one["key"]]

    assert await alarms() == ["Ada took miner-anomaly v1 back without a second person: miners stop"]
    review = answer["approval"]
    assert review["action"] == "review"
    await fleet.decide(review["id"], "Ada", 403)
    fleet.pass_s(7200)
    await fleet.decide(review["id"], "Bo")
    assert await alarms() == []


async def test_pausing_never_waits_and_resuming_does(fleet: Fleet) -> None:
    campaign = await running(fleet)
    await wish(fleet, "site-3")
    (site,) = [one["site"] for one in (await fleet.campaign(campaign))["rings"][0]["sites"]]
    assert (await fleet.order(campaign, "pause"))["campaign"]["why"] == "paused by Ada: a reason"
    await fleet.through([site], "shadow")
    assert (await fleet.campaign(campaign))["stage"] == "shadow", "a paused one does not go on"
    asked = await fleet.order(campaign, "resume")
    assert asked["campaign"]["state"] == "paused"
    await fleet.decide(asked["approval"]["id"], "Bo")
    await fleet.tick()
    assert (await fleet.campaign(campaign))["stage"] == "active"


async def test_a_paused_one_is_still_watched(fleet: Fleet) -> None:
    campaign = await running(fleet)
    (site,) = [one["site"] for one in (await fleet.campaign(campaign))["rings"][0]["sites"]]
    await fleet.order(campaign, "pause")
    await fleet.report(site, "rolled-back")
    await fleet.tick()
    assert (await fleet.campaign(campaign))["state"] == "halted"


async def test_orders_that_do_not_fit(fleet: Fleet) -> None:
    campaign = await running(fleet)
    assert "cannot resume" in (await fleet.order(campaign, "resume", 409))["detail"]
    await fleet.order(campaign, "rollback")
    for order in ("promote", "rollback", "pause", "resume"):
        assert "halted" in (await fleet.order(campaign, order, 409))["detail"]
    newest = (await fleet.running.get(f"/rollouts/record?campaign={campaign}"))["items"][0]
    assert (newest["what"], newest["actor"]) == ("not-allowed", "Ada")
    await fleet.order("nothing", "pause", 404)
    await fleet.order(campaign, "destroy", 422)


async def test_to_ask_no_more_takes_two(fleet: Fleet) -> None:
    """Otherwise one person alone could take the second one out of the way first."""
    assert (await wish(fleet, "site-1"))["approval"] is None
    asked = await wish(fleet, "site-1", second_approver=False)
    assert asked["settings"]["second_approver"]
    await fleet.decide(asked["approval"]["id"], "Ada", 403)
    await fleet.decide(asked["approval"]["id"], "Bo")
    settings = await fleet.running.get("/sites/site-1/model-settings")
    assert (settings["second_approver"], settings["changed_by"]) == (False, "Ada and Bo")
    assert (await wish(fleet, "site-1", canary=False))["approval"] is None
    assert (await wish(fleet, "site-1", canary=True))["approval"]["action"] == "settings"
    await fleet.running.get("/sites/atlantis/model-settings", 404)


async def test_an_assignment_by_hand_takes_two_as_well(fleet: Fleet) -> None:
    await wish(fleet, "site-1")
    body = {"site": "site-1", "name": "miner-anomaly", "version": 1, "stage": "active"}
    assert "`actor`" in (await fleet.running.post("/rollouts", body, 422))["detail"]
    await fleet.running.post("/rollouts", {**body, "actor": "Ada", "version": 9}, 404)
    asked = await fleet.running.post("/rollouts", {**body, "actor": "Ada"}, 202)
    assert fleet.outbound.sent == []
    await fleet.decide(asked["approval"]["id"], "Bo")
    assert fleet.outbound.assigned() == {"site-1": (1, Stage.ACTIVE)}
    newest = (await fleet.running.get("/rollouts/record"))["items"]
    assert [step["actor"] for step in newest if step["what"] == "assigned"] == ["Ada and Bo"]


async def test_a_proposed_one_can_be_dropped_by_one(fleet: Fleet) -> None:
    answer = await fleet.begin(second_approver=True)
    await fleet.order(answer["campaign"]["id"], "rollback")
    found = await fleet.decide(answer["approval"]["id"], "Bo")
    assert found["state"] == "void"
    assert fleet.outbound.sent == []


async def test_good_numbers_bring_it_on_without_anybody(fleet: Fleet) -> None:
    """The second person is for what people do; the machine follows the criteria that were agreed."""
    await wish(fleet, "site-3")
    answer = await fleet.begin()
    await fleet.decide(answer["approval"]["id"], "Bo")
    (site,) = [one["site"] for one in answer["campaign"]["rings"][0]["sites"]]
    await fleet.report(site, "shadow")
    fleet.pass_s(601)
    await fleet.report(site, "shadow-report", **GOOD)
    await fleet.tick()
    assert (await fleet.campaign(answer["campaign"]["id"]))["stage"] == "active"
