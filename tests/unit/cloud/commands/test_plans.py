"""Plan, then confirm: the site's own word first, the very order after it, once, and in time."""

import asyncio
from typing import Any

import msgspec
import pytest

from shared.artifacts.signing import Keyring
from shared.commands import (
    CommandState,
    DoActions,
    OrderPreview,
    PreviewOrder,
    PreviewStep,
    StopMining,
)
from shared.ids import DeviceId, SiteId
from shared.wire import topics
from support.cloud import NOW_MS, SITE, Service, state, told
from support.commands import Outbound, hear, word

STOP = {"order": "actions", "actions": [{"do": "stop", "device": "m-01"}]}
ASK = {"site": SITE, "order": STOP, "actor": "ann"}
CURTAIL = {"order": "curtail", "target_w": 1e6, "deadline_s": 600.0, "duration_s": 3600.0}
PREVIEW = OrderPreview(
    steps=(PreviewStep(action=StopMining(device=DeviceId("m-01")), saves_w=3000.0),),
    total_steps=1,
    now_w=1.2e6,
    expected_w=1.197e6,
    detail="fine",
)


@pytest.fixture
async def online(cloud: Service) -> None:
    await cloud.bench.commit(told(topics.state(SITE), state()))


async def plan(
    cloud: Service, outbound: Outbound, *, answer: CommandState | None = CommandState.DONE, **more: Any
) -> Any:
    """Ask for a plan; the site answers as soon as it is asked, or the request waits in vain."""
    asking = asyncio.create_task(cloud.post("/commands/plans", {**ASK, **more}, 201))
    before = len(outbound.sent)
    while len(outbound.sent) == before and not asking.done():
        await asyncio.sleep(0)
    if answer is not None and not asking.done():
        body = outbound.signed
        command = _id_of(body.payload)
        preview = PREVIEW if answer is CommandState.DONE else None
        await hear(cloud, word(command, answer, NOW_MS + 5, digest=body.digest, preview=preview))
    while not asking.done():
        cloud.bench.clock.advance(0.1)
        await asyncio.sleep(0.001)
    return await asking


def _id_of(payload: bytes) -> str:
    return str(msgspec.msgpack.decode(payload)["id"])


@pytest.mark.usefixtures("online")
async def test_the_sites_own_preview_comes_first(
    cloud: Service, outbound: Outbound, keyring: Keyring
) -> None:
    found = await plan(cloud, outbound)
    question = outbound.body(keyring)
    assert question.id == f"{found['id']}-p"
    assert question.order == PreviewOrder(of=DoActions(actions=(StopMining(device=DeviceId("m-01")),)))
    assert (found["state"], found["answered"], found["detail"]) == ("ready", True, "fine")
    assert found["preview"]["steps"] == [
        {"action": {"do": "stop", "device": "m-01"}, "saves_w": 3000.0, "words": ""}
    ]
    assert (await cloud.get("/commands"))["items"] == [], "a question is no command"


@pytest.mark.usefixtures("online")
async def test_confirming_signs_exactly_the_planned_order_under_the_plans_id(
    cloud: Service, outbound: Outbound, keyring: Keyring
) -> None:
    found = await plan(cloud, outbound)
    sent = await cloud.post(f"/commands/plans/{found['id']}/confirm", {"actor": "bob"}, 202)
    body = outbound.body(keyring)
    assert body.id == sent["id"] == found["id"]
    assert (body.order, body.actor) == (DoActions(actions=(StopMining(device=DeviceId("m-01")),)), "bob")
    trail = (await cloud.get(f"/commands/{sent['id']}"))["trail"]
    assert [(hop["hop"], hop["actor"]) for hop in trail if hop["hop"] != "planned"] == [
        ("asked", "ann"),
        ("confirmed", "bob"),
        ("signed", "bob"),
        ("sent", "bob"),
    ]
    assert (await cloud.get(f"/commands/plans/{found['id']}"))["state"] == "used"


@pytest.mark.usefixtures("online")
async def test_a_plan_is_used_once_and_expires(cloud: Service, outbound: Outbound) -> None:
    found = await plan(cloud, outbound)
    await cloud.post(f"/commands/plans/{found['id']}/confirm", {"actor": "bob"}, 202)
    again = await cloud.post(f"/commands/plans/{found['id']}/confirm", {"actor": "bob"}, 409)
    assert "confirmed before" in again["detail"]
    late = await plan(cloud, outbound)
    cloud.bench.clock.advance(120.0)
    assert (await cloud.get(f"/commands/plans/{late['id']}"))["state"] == "expired"
    sent = len(outbound.sent)
    refused = await cloud.post(f"/commands/plans/{late['id']}/confirm", {"actor": "bob"}, 409)
    assert "expired" in refused["detail"]
    assert len(outbound.sent) == sent


@pytest.mark.parametrize(
    "order",
    [STOP, CURTAIL, {"order": "power-cap", "cap_w": 1.0}, {"order": "cancel", "target": "c-1"}],
    ids=lambda order: str(order["order"]),
)
async def test_power_without_a_plan_is_refused_and_says_how(
    cloud: Service, outbound: Outbound, order: dict[str, Any]
) -> None:
    found = await cloud.post("/commands", {**ASK, "order": order}, 409)
    assert (found["code"], found["type"]) == ("plan-needed", "/problems/plan-needed")
    assert "/api/v1/commands/plans/{id}/confirm" in found["detail"]
    assert outbound.sent == []


@pytest.mark.parametrize("order", [{"order": "safe-stop"}, {"order": "renew", "target": "c-1"}], ids=str)
async def test_what_needs_no_plan_has_none(cloud: Service, outbound: Outbound, order: dict[str, Any]) -> None:
    await cloud.post("/commands/plans", {**ASK, "order": order}, 422)
    await cloud.post("/commands", {**ASK, "order": order}, 202)


class TestBlind:
    async def test_an_offline_site_is_not_asked_and_a_blind_order_is_stated(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        found = await cloud.post("/commands/plans", ASK, 201)
        assert (found["state"], found["preview"], outbound.sent) == ("blind", None, [])
        assert "offline" in found["detail"]
        refused = await cloud.post(f"/commands/plans/{found['id']}/confirm", {"actor": "ann"}, 409)
        assert '"blind": true' in refused["detail"]
        await cloud.post(f"/commands/plans/{found['id']}/confirm", {"actor": "ann", "blind": True}, 202)
        trail = (await cloud.get(f"/commands/{found['id']}"))["trail"]
        assert [hop["detail"] for hop in trail if hop["hop"] == "confirmed"] == [
            "without a preview, as stated"
        ]

    async def test_without_a_broker_nothing_is_asked_and_nothing_confirmed(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        outbound.is_up = False
        found = await cloud.post("/commands/plans", ASK, 201)
        assert "broker is not connected" in found["detail"]
        body = {"actor": "ann", "blind": True}
        await cloud.post(f"/commands/plans/{found['id']}/confirm", body, 503)
        outbound.is_up = True
        await cloud.post(f"/commands/plans/{found['id']}/confirm", body, 202)

    @pytest.mark.usefixtures("online")
    async def test_a_silent_site_is_waited_for_a_while_and_its_late_answer_is_kept(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        found = await plan(cloud, outbound, answer=None)
        assert found["state"] == "blind"
        assert "did not answer within 5 s" in found["detail"]
        status = word(f"{found['id']}-p", CommandState.DONE, NOW_MS, preview=PREVIEW)
        await hear(cloud, status)
        assert (await cloud.get(f"/commands/plans/{found['id']}"))["state"] == "ready"

    @pytest.mark.usefixtures("online")
    async def test_a_refused_question_says_why(self, cloud: Service, outbound: Outbound) -> None:
        found = await plan(cloud, outbound, answer=CommandState.REFUSED)
        assert (found["state"], found["answered"], found["detail"]) == ("blind", True, "refused")

    @pytest.mark.usefixtures("online")
    async def test_only_the_asked_site_answers_and_only_to_this_question(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        found = await plan(cloud, outbound, answer=None)
        question = f"{found['id']}-p"
        await hear(cloud, word(question, CommandState.DONE, NOW_MS, preview=PREVIEW), SiteId("south"))
        await hear(cloud, word(question, CommandState.DONE, NOW_MS, preview=PREVIEW, digest="0" * 64))
        assert (await cloud.get(f"/commands/plans/{found['id']}"))["preview"] is None


async def test_what_is_not_there(cloud: Service, outbound: Outbound) -> None:
    await cloud.get("/commands/plans/none", 404)
    await cloud.post("/commands/plans/none/confirm", {"actor": "ann"}, 404)
    await cloud.post("/commands/plans", {**ASK, "site": "nowhere"}, 404)


@pytest.mark.parametrize(
    "change", [{"actor": ""}, {"actor": "a\0"}, {"actor": "x" * 201}, {"surprise": 1}], ids=repr
)
async def test_bodies_that_are_refused(cloud: Service, outbound: Outbound, change: dict[str, Any]) -> None:
    await cloud.post("/commands/plans", {**ASK, **change}, 422)
