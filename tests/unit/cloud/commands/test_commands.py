"""Commands: signed for one site and one minute, stored before they are sent, followed to the end."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.commands import schemas
from cloud.commands import service as commands
from cloud.kit.problems import Unavailable
from edge_agent.guardian.actions.orders import Orders
from shared.artifacts.signing import Keyring
from shared.clock import ManualClock
from shared.commands import (
    ActionOutcome,
    CommandBody,
    CommandState,
    DoActions,
    SafeStopOrder,
    SetPreset,
    WriteRecord,
    WriteResult,
)
from shared.errors import SecurityError
from shared.ids import DeviceId, SiteId
from support.cloud import AUTH, NOW_MS, SITE, Service
from support.commands import Outbound, hear, word

SAFE_STOP = {"site": SITE, "order": {"order": "safe-stop"}, "actor": "ann", "expires_s": 30}


async def confirmed(cloud: Service, order: dict[str, Any]) -> Any:
    """Planned for a site that is offline, so nobody is waited for, and confirmed with that stated."""
    plan = await cloud.post("/commands/plans", {"site": SITE, "order": order, "actor": "ann"}, 201)
    body = {"actor": "ann", "blind": True}
    return await cloud.post(f"/commands/plans/{plan['id']}/confirm", body, 202)


async def test_a_command_is_signed_for_this_site_and_minute(
    cloud: Service, outbound: Outbound, keyring: Keyring
) -> None:
    view = await cloud.post("/commands", SAFE_STOP, 202)
    topic, _, retain, expiry_s = outbound.sent[0]
    assert (topic, retain, expiry_s) == ("mw/1/north/dn/cmd", False, 30)
    body = outbound.body(keyring)
    assert (body.id, body.site, body.actor) == (view["id"], SITE, "ann")
    assert (body.issued_ms, body.expires_ms) == (NOW_MS, NOW_MS + 30_000)
    assert body.order == SafeStopOrder()
    assert (view["state"], view["detail"]) == ("sent", "the broker has it")
    assert [step["state"] for step in view["history"]] == ["sent"]


async def test_actions_keep_their_words(cloud: Service, outbound: Outbound, keyring: Keyring) -> None:
    order = {"order": "actions", "actions": [{"do": "set-preset", "device": "m-01", "preset": "2700"}]}
    view = await confirmed(cloud, order)
    assert outbound.body(keyring).order == DoActions(
        actions=(SetPreset(device=DeviceId("m-01"), preset="2700"),)
    )
    assert view["order"] == order


async def test_counters_rise_and_never_fall_behind_the_clock(
    cloud: Service, outbound: Outbound, keyring: Keyring
) -> None:
    counters = []
    for _ in range(3):
        await cloud.post("/commands", SAFE_STOP, 202)
        counters.append(outbound.body(keyring).counter)
    assert counters == [NOW_MS, NOW_MS + 1, NOW_MS + 2]
    cloud.bench.clock.step_wall(-3_600_000)
    await cloud.post("/commands", SAFE_STOP, 202)
    assert outbound.body(keyring).counter == NOW_MS + 3, "a clock that steps back re-uses no number"


async def test_words_of_the_site_in_any_order(cloud: Service, outbound: Outbound) -> None:
    view = await cloud.post("/commands", SAFE_STOP, 202)
    record = WriteRecord(
        action=SetPreset(device=DeviceId("m-01"), preset="2700"), result=WriteResult.APPLIED, detail="ok"
    )
    done = word(view["id"], CommandState.DONE, NOW_MS + 30, outcome=ActionOutcome.APPLIED, writes=(record,))
    await hear(cloud, done)
    await hear(cloud, word(view["id"], CommandState.ACCEPTED, NOW_MS + 10))
    await hear(cloud, word(view["id"], CommandState.RUNNING, NOW_MS + 20))
    await hear(cloud, done)
    found = await cloud.get(f"/commands/{view['id']}")
    assert (found["state"], found["outcome"]) == ("done", "applied")
    assert found["writes"][0]["action"] == {"do": "set-preset", "device": "m-01", "preset": "2700"}
    assert [step["state"] for step in found["history"]] == ["sent", "accepted", "running", "done"]


async def test_another_site_has_no_word(cloud: Service, outbound: Outbound) -> None:
    view = await cloud.post("/commands", SAFE_STOP, 202)
    await hear(cloud, word(view["id"], CommandState.DONE, NOW_MS), SiteId("south"))
    assert (await cloud.get(f"/commands/{view['id']}"))["state"] == "sent"
    assert len((await cloud.get("/quarantine"))["items"]) == 1


async def test_no_word_means_expired_until_a_late_word_comes(cloud: Service, outbound: Outbound) -> None:
    view = await cloud.post("/commands", SAFE_STOP, 202)

    async def sweep(now_ms: int) -> None:
        async with cloud.context.database.write() as session:
            await commands.expire(session, now_ms)

    await sweep(NOW_MS + 30_000)
    assert (await cloud.get(f"/commands/{view['id']}"))["state"] == "sent", "an answer may be under way"
    await sweep(NOW_MS + 60_000)
    found = await cloud.get(f"/commands/{view['id']}")
    assert (found["state"], found["detail"]) == ("expired", "no word from the site")
    await hear(cloud, word(view["id"], CommandState.DONE, NOW_MS + 20_000, outcome=ActionOutcome.APPLIED))
    assert (await cloud.get(f"/commands/{view['id']}"))["state"] == "done"


@pytest.mark.parametrize(
    "late", [CommandState.RECEIVED, CommandState.ACCEPTED, CommandState.RUNNING, CommandState.EXPIRED]
)
async def test_what_the_cloud_gave_up_is_what_the_site_says_later(
    cloud: Service, outbound: Outbound, late: CommandState
) -> None:
    view = await cloud.post("/commands", SAFE_STOP, 202)
    async with cloud.context.database.write() as session:
        await commands.expire(session, NOW_MS + 60_000)
    await hear(cloud, word(view["id"], late, NOW_MS + 5_000))
    found = await cloud.get(f"/commands/{view['id']}")
    assert (found["state"], found["detail"]) == (late, late.value)
    hops = [hop["hop"] for hop in found["trail"]]
    assert {"sent", late.value, "expired"} <= set(hops), "the trail keeps what was believed, too"
    assert hops.count("expired") == (2 if late is CommandState.EXPIRED else 1)


async def test_the_sites_own_expired_is_not_overridden_by_an_earlier_word(
    cloud: Service, outbound: Outbound
) -> None:
    view = await cloud.post("/commands", SAFE_STOP, 202)
    await hear(cloud, word(view["id"], CommandState.EXPIRED, NOW_MS + 31_000))
    await hear(cloud, word(view["id"], CommandState.RECEIVED, NOW_MS + 32_000))
    assert (await cloud.get(f"/commands/{view['id']}"))["state"] == "expired"


async def test_a_clock_that_ran_ahead_once_does_not_disable_later_orders(
    cloud: Service, outbound: Outbound, keyring: Keyring, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = cloud.bench.clock
    site_clock = ManualClock(utc_ms=NOW_MS)
    orders = Orders(tmp_path / "book", keyring, SITE, site_clock, lambda: True)
    clock.step_wall(30 * 86_400_000)
    await cloud.post("/commands", SAFE_STOP, 202)
    with pytest.raises(SecurityError, match="in the future"):
        orders.accept(outbound.signed)
    clock.step_wall(-30 * 86_400_000)
    await cloud.post("/commands", SAFE_STOP, 202)
    assert isinstance(orders.accept(outbound.signed), CommandBody)
    assert "more than a day ahead" in caplog.text


async def test_a_high_counter_that_the_site_took_goes_on(
    cloud: Service, outbound: Outbound, keyring: Keyring, tmp_path: Path
) -> None:
    """Both clocks ran ahead: a counter from the clock would be an old one to the guardian."""
    both = (cloud.bench.clock, ManualClock(utc_ms=NOW_MS))
    orders = Orders(tmp_path / "book", keyring, SITE, both[1], lambda: True)
    for clock in both:
        clock.step_wall(30 * 86_400_000)
    view = await cloud.post("/commands", SAFE_STOP, 202)
    orders.accept(outbound.signed)
    for clock in both:
        clock.step_wall(-30 * 86_400_000)
    await hear(cloud, word(view["id"], CommandState.ACCEPTED, NOW_MS))
    await cloud.post("/commands", SAFE_STOP, 202)
    assert isinstance(orders.accept(outbound.signed), CommandBody)


async def test_where_the_sites_word_was_lost_the_refusal_says_what_to_do(
    cloud: Service, outbound: Outbound, keyring: Keyring, tmp_path: Path
) -> None:
    both = (cloud.bench.clock, ManualClock(utc_ms=NOW_MS))
    orders = Orders(tmp_path / "book", keyring, SITE, both[1], lambda: True)
    for clock in both:
        clock.step_wall(30 * 86_400_000)
    await cloud.post("/commands", SAFE_STOP, 202)
    orders.accept(outbound.signed)
    for clock in both:
        clock.step_wall(-30 * 86_400_000)
    await cloud.post("/commands", SAFE_STOP, 202)
    with pytest.raises(SecurityError, match=r"remove .*book by hand"):
        orders.accept(outbound.signed)


async def test_nothing_is_signed_without_a_broker(cloud: Service, outbound: Outbound) -> None:
    outbound.is_up = False
    found = await cloud.post("/commands", SAFE_STOP, 503)
    assert "nothing was sent" in found["detail"]
    assert (await cloud.get("/commands"))["items"] == []


async def test_an_unconfirmed_publish_is_said_to_be_unconfirmed(cloud: Service, outbound: Outbound) -> None:
    outbound.fail = Unavailable("the broker gave no answer in 5 s")
    view = await cloud.post("/commands", SAFE_STOP, 202)
    assert (view["state"], view["detail"]) == (
        "sent",
        "sending is unconfirmed: the broker gave no answer in 5 s",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"expires_s": 61},
        {"expires_s": 0},
        {"actor": ""},
        {"order": {"order": "reset-trip", "zone": "hall-a", "reason": "x"}},
        {"order": {"order": "actions", "actions": []}},
        {"order": {"order": "actions", "actions": [{"do": "explode", "device": "m-01"}]}},
        {"order": {"order": "safe-stop", "zonee": "hall-a"}},
        {"surprise": 1},
    ],
)
async def test_orders_that_are_refused(cloud: Service, outbound: Outbound, change: dict[str, Any]) -> None:
    """A trip is never reset from the cloud; a command lives a minute at most; unknown words are refused."""
    await cloud.post("/commands", {**SAFE_STOP, **change}, 422)
    assert outbound.sent == []


async def test_not_a_number_is_no_set_point(cloud: Service, outbound: Outbound) -> None:
    body = (
        '{"site":"north","actor":"ann","order":{"order":"actions","actions":'
        '[{"do":"set-point","device":"d","point":"speed_setpoint_pct","value":NaN}]}}'
    )
    headers = {**AUTH, "Content-Type": "application/json"}
    reply = await cloud.client.post("/api/v1/commands", content=body, headers=headers)
    assert reply.status_code == 422
    assert outbound.sent == []


async def test_an_unknown_site(cloud: Service, outbound: Outbound) -> None:
    await cloud.post("/commands", {**SAFE_STOP, "site": "nowhere"}, 404)


ACTIONS: list[dict[str, Any]] = [
    {"do": "set-preset", "device": "m-01", "preset": "2700"},
    {"do": "stop", "device": "m-01"},
    {"do": "start", "device": "m-01"},
    {"do": "set-point", "device": "wall-a", "point": "speed_setpoint_pct", "value": 100.0},
    {"do": "outlet", "device": "pdu-1", "outlet": 3, "on": False},
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: str(action["do"]))
def test_the_api_speaks_the_words_of_the_site(action: dict[str, Any]) -> None:
    order = schemas.ActionsOrder.model_validate({"order": "actions", "actions": [action]})
    converted = msgspec.convert(order.model_dump(), type=DoActions)
    assert msgspec.json.decode(msgspec.json.encode(converted)) == {"order": "actions", "actions": [action]}


CURTAIL = {
    "order": "curtail",
    "target_w": 1e6,
    "deadline_s": 600.0,
    "duration_s": 3600.0,
    "ramp_w_per_min": None,
    "signal_s": 300.0,
}
POWER_ORDERS: list[dict[str, Any]] = [
    CURTAIL,
    {"order": "power-cap", "cap_w": None},
    {"order": "schedule", "start_ms": 1, "end_ms": 2, "what": CURTAIL, "revert": []},
    {"order": "cancel", "target": "c-1"},
    {"order": "renew", "target": "c-1"},
]


@pytest.mark.parametrize("order", POWER_ORDERS, ids=lambda order: str(order["order"]))
async def test_power_orders_reach_the_site_as_they_were_given(
    cloud: Service, outbound: Outbound, keyring: Keyring, order: dict[str, Any]
) -> None:
    if order["order"] == "renew":
        await cloud.post("/commands", {"site": SITE, "order": order, "actor": "desk"}, 202)
    else:
        await confirmed(cloud, order)
    assert msgspec.json.decode(msgspec.json.encode(outbound.body(keyring).order)) == order


async def test_a_curtailment_below_zero_is_refused(cloud: Service, outbound: Outbound) -> None:
    order = {**CURTAIL, "target_w": -1.0}
    await cloud.post("/commands", {"site": SITE, "order": order, "actor": "desk"}, 422)
    await cloud.post("/commands/plans", {"site": SITE, "order": order, "actor": "desk"}, 422)
    assert outbound.sent == []
