"""Enrolment over the API: bounded, confirmed by a person, loud about what exists already."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.identity.authority import BACKDATED_MS, Authority
from cloud.identity.registrar import BURST, REFILL_S
from cloud.identity.service import AHEAD_MS, MAX_WAITING, WAIT_MS
from cloud.kit.guard import OPEN_WRITES
from edge_agent.agent.identity.pair import Pair, read_certificate
from shared.clock import ManualClock
from shared.identity import fingerprint
from shared.ids import SiteId
from support.certified import certified_service
from support.cloud import AUTH, NOW_MS, Service, service
from support.identity import new_key, request_for

DAY_MS = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utc_ms=NOW_MS)


@pytest.fixture
async def desk(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Service]:
    async with certified_service(tmp_path, clock=clock) as running:
        yield running


@pytest.fixture
async def on_each_engine(tmp_path: Path, database_url: str, clock: ManualClock) -> AsyncIterator[Service]:
    async with certified_service(tmp_path, url=database_url, clock=clock) as running:
        yield running


async def ask(desk: Service, body: dict[str, Any], status: int = 202) -> Any:
    """As a stranger: without the token."""
    reply = await desk.client.post("/api/v1/enrolments", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


def body_for(site: str, key: Any = None, **changes: Any) -> dict[str, Any]:
    return {"request_pem": request_for(site, key or new_key()), "made_ms": NOW_MS, **changes}


def said(site: str, key: Any, **changes: Any) -> dict[str, Any]:
    return {"fingerprint": fingerprint(site, key.public_key()), "actor": "Ada", **changes}


async def test_a_confirmed_request_becomes_a_certificate_for_its_key(on_each_engine: Service) -> None:
    desk = on_each_engine
    key = new_key()
    asked = await ask(desk, body_for("north", key))
    assert (asked["state"], asked["certificate_pem"], asked["fingerprint"]) == ("waiting", None, None)
    done = await desk.post(f"/enrolments/{asked['id']}/confirm", said("north", key), 200)
    assert (done["state"], done["actor"], done["site_has_certificate"]) == ("issued", "Ada", True)
    fetched = await desk.get(f"/enrolments/{asked['id']}")
    pair = Pair(key, read_certificate(fetched["certificate_pem"]))
    pair.check(SiteId("north"), fetched["ca_pem"], NOW_MS)
    assert pair.span.start_ms == NOW_MS - BACKDATED_MS
    (item,) = (await desk.get("/certificates"))["items"]
    assert (item["serial"], item["role"], item["how"]) == (pair.serial, "site", "enrolment")
    assert (item["state"], item["days_left"], item["renewal_due"]) == ("live", 90, False)


async def test_a_wrong_fingerprint_signs_nothing(desk: Service) -> None:
    asked = await ask(desk, body_for("north"))
    reply = await desk.post(f"/enrolments/{asked['id']}/confirm", said("north", new_key()), 422)
    assert "did not come from that gateway" in reply["detail"]
    assert (await desk.get("/certificates"))["items"] == []
    assert (await desk.get(f"/enrolments/{asked['id']}"))["state"] == "waiting"


async def test_confirming_and_refusing_need_the_token_and_asking_does_not(desk: Service) -> None:
    key = new_key()
    asked = await ask(desk, body_for("north", key))
    for what, body in (("confirm", said("north", key)), ("refuse", {"actor": "Ada"})):
        reply = await desk.client.post(f"/api/v1/enrolments/{asked['id']}/{what}", json=body)
        assert reply.status_code == 401
    reply = await desk.client.post("/api/v1/certificates/00/revoke", json={"actor": "Ada"})
    assert reply.status_code == 401


async def test_the_same_key_asking_again_finds_its_request_before_and_after_the_decision(
    desk: Service,
) -> None:
    key = new_key()
    first, again = await ask(desk, body_for("north", key)), await ask(desk, body_for("north", key))
    assert again["id"] == first["id"]
    await desk.post(f"/enrolments/{first['id']}/confirm", said("north", key), 200)
    after = await ask(desk, body_for("north", key))
    assert (after["id"], after["state"]) == (first["id"], "issued")
    assert after["certificate_pem"].startswith("-----BEGIN CERTIFICATE")


async def test_two_keys_for_one_site_are_both_shown(desk: Service) -> None:
    await ask(desk, body_for("north"))
    await ask(desk, body_for("north"))
    items = (await desk.get("/enrolments"))["items"]
    assert [item["others_waiting"] for item in items] == [1, 1]


async def test_a_site_with_a_certificate_needs_replace_on_both_sides(on_each_engine: Service) -> None:
    desk = on_each_engine
    old, new = new_key(), new_key()
    first = await ask(desk, body_for("north", old))
    await desk.post(f"/enrolments/{first['id']}/confirm", said("north", old), 200)
    loud = await ask(desk, body_for("north", new), 409)
    assert "HAS a valid certificate" in loud["detail"]
    assert "--replace" in loud["detail"]
    second = await ask(desk, body_for("north", new, replace=True))
    assert second["site_has_certificate"]
    await desk.post(f"/enrolments/{second['id']}/confirm", said("north", new), 409)
    await desk.post(f"/enrolments/{second['id']}/confirm", said("north", new, replace=True), 200)
    states = [item["state"] for item in (await desk.get("/certificates?name=north"))["items"]]
    assert states == ["live", "revoked"]


async def test_an_expired_certificate_stands_in_nobodys_way(desk: Service, clock: ManualClock) -> None:
    key = new_key()
    first = await ask(desk, body_for("north", key))
    await desk.post(f"/enrolments/{first['id']}/confirm", said("north", key), 200)
    clock.step_wall(91 * DAY_MS)
    again = await ask(desk, body_for("north", new_key(), made_ms=clock.utc_ms()))
    assert (again["state"], again["site_has_certificate"]) == ("waiting", False)


async def test_a_decided_request_is_decided(desk: Service) -> None:
    key = new_key()
    asked = await ask(desk, body_for("north", key))
    told = await desk.post(f"/enrolments/{asked['id']}/refuse", {"actor": "Ada", "reason": "not ours"}, 200)
    assert (told["state"], told["reason"]) == ("refused", "not ours")
    reply = await desk.post(f"/enrolments/{asked['id']}/confirm", said("north", key), 409)
    assert "refused already. not ours" in reply["detail"]
    await desk.post("/enrolments/nothing/confirm", said("north", key), 404)


async def test_a_request_that_nobody_decided_expires(desk: Service, clock: ManualClock) -> None:
    key = new_key()
    asked = await ask(desk, body_for("north", key))
    clock.step_wall(WAIT_MS)
    assert (await desk.get("/enrolments?state=expired"))["items"][0]["id"] == asked["id"]
    await desk.post(f"/enrolments/{asked['id']}/confirm", said("north", key), 409)
    fresh = await ask(desk, body_for("north", key, made_ms=clock.utc_ms()))
    assert fresh["id"] != asked["id"]


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"made_ms": NOW_MS + AHEAD_MS + 1}, "clock is wrong"),
    ({"made_ms": NOW_MS - WAIT_MS - 1}, "days old"),
    ({"request_pem": request_for("minewarden-command")}, "reserved"),
    ({"request_pem": request_for("NORTH")}, "not a valid name"),
    ({"request_pem": "-----BEGIN CERTIFICATE REQUEST-----"}, "not a certificate request"),
    ({"request_pem": "x" * 9000}, "at most"),
    ({"request_pem": "\u0000"}, "match pattern"),
    ({"surprise": 1}, "Extra inputs"),
]


async def test_what_cannot_be_certified_is_refused_with_a_sentence(desk: Service) -> None:
    for changes, why in UNUSABLE:
        reply = await ask(desk, {**body_for("north"), **changes}, 422)
        assert why in reply["detail"]


async def test_strangers_are_bounded_in_size_rate_and_number(
    desk: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_large = {**body_for("north"), "request_pem": "x" * OPEN_WRITES["/api/v1/enrolments"]}
    assert (await ask(desk, too_large, 413))["code"] == "too-large"
    for number in range(BURST):
        await ask(desk, body_for(f"site-{number}"))
    assert (await ask(desk, body_for("north"), 429))["code"] == "too-many"
    clock.advance(REFILL_S)
    await ask(desk, body_for("north"))
    await ask(desk, body_for("south"), 429)
    monkeypatch.setattr("cloud.identity.service.MAX_WAITING", BURST + 1)
    clock.advance(REFILL_S)
    assert "wait for a person already" in (await ask(desk, body_for("south"), 429))["detail"]
    assert MAX_WAITING >= BURST


async def test_the_list_tells_what_the_screen_needs(desk: Service, clock: ManualClock) -> None:
    key = new_key()
    asked = await ask(desk, body_for("north", key))
    await desk.post(f"/enrolments/{asked['id']}/confirm", said("north", key), 200)
    clock.step_wall(61 * DAY_MS)
    (item,) = (await desk.get("/certificates"))["items"]
    assert (item["days_left"], item["renewal_due"], item["superseded"]) == (29, True, False)
    told = await desk.get("/identity")
    assert (told["enabled"], told["waiting"]) == (True, 0)
    clock.step_wall(30 * DAY_MS)
    assert (await desk.get("/certificates"))["items"][0]["state"] == "expired"


async def test_where_people_have_tokens_the_token_says_who_confirmed(
    tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "ada.token").write_text("ada-has-a-token-of-her-own")
    people = '[[people]]\nname = "Ada"\ntoken_file = "ada.token"\n'
    async with certified_service(tmp_path, clock=clock, more=people) as desk:
        key = new_key()
        asked = await ask(desk, body_for("north", key))
        await desk.post(f"/enrolments/{asked['id']}/confirm", said("north", key), 403)
        hers = {"Authorization": "Bearer ada-has-a-token-of-her-own"}
        for actor, status in (("Grace", 403), ("ada", 200)):
            reply = await desk.client.post(
                f"/api/v1/enrolments/{asked['id']}/confirm",
                json=said("north", key, actor=actor),
                headers=hers,
            )
            assert reply.status_code == status, reply.text
        assert (await desk.get(f"/enrolments/{asked['id']}"))["actor"] == "Ada"


async def test_a_cloud_without_an_authority_says_so(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        reply = await running.client.post("/api/v1/enrolments", json=body_for("north"), headers=AUTH)
        assert (reply.status_code, "no [identity]" in reply.text) == (409, True)
        assert (await running.get("/identity"))["enabled"] is False
        assert (await running.get("/enrolments"))["items"] == []
        assert (await running.get("/certificates"))["items"] == []


def test_the_authority_is_written_once_and_read_back(tmp_path: Path) -> None:
    made = Authority.create("Test CA", NOW_MS)
    made.save(tmp_path / "ca.crt", tmp_path / "ca.key")
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    assert Authority.load(tmp_path / "ca.crt", tmp_path / "ca.key").fingerprint == made.fingerprint
    assert "*****" in repr(made)
