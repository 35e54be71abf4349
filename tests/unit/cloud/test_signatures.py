"""Where persons have tokens of their own, no write takes down another name than the token's."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.clock import ManualClock
from support.certified import certified_service
from support.cloud import NOW_MS, SITE, TOKEN, Service, born
from support.commands import Outbound

ADA = "ada-has-a-token-of-her-own"
STOP = {"order": "safe-stop"}
RENEWAL = {"order": "renew", "target": "order-1"}
PLANNED = {"order": "actions", "actions": [{"do": "stop", "device": "m-01"}]}
MODEL = {"name": "m", "version": 1}
WRITES: dict[str, dict[str, Any]] = {
    "post /api/v1/commands": {"site": SITE, "order": RENEWAL, "actor": "?"},
    "post /api/v1/commands/plans": {"site": SITE, "order": PLANNED, "actor": "?"},
    "post /api/v1/commands/plans/{plan}/confirm": {"actor": "?", "blind": True},
    "post /api/v1/rollouts": {"site": SITE, **MODEL, "stage": "shadow", "actor": "?"},
    "post /api/v1/campaigns": {**MODEL, "actor": "?"},
    "post /api/v1/campaigns/{campaign}/{order}": {"actor": "?"},
    "post /api/v1/approvals/{approval}/{word}": {"actor": "?"},
    "post /api/v1/sites/{site}/model-settings": {"canary": False, "second_approver": False, "actor": "?"},
    "post /api/v1/sites/{site}/raw-requests": {"from_ms": 0, "to_ms": 1, "actor": "?"},
    "post /api/v1/alarms/{alarm}/acknowledge": {"by": "?"},
    "post /api/v1/enrolments/{enrolment}/confirm": {"fingerprint": "f", "actor": "?"},
    "post /api/v1/enrolments/{enrolment}/refuse": {"actor": "?"},
    "post /api/v1/certificates": {"name": "acme", "sites": [SITE], "request_pem": "p", "actor": "?"},
    "post /api/v1/certificates/{serial}/revoke": {"actor": "?"},
}
"""Each write whose body names a person, with a body; the name goes where the question mark is."""
PARTS = {"{order}": "pause", "{word}": "approve", "{site}": SITE}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Service]:
    (tmp_path / "ada.token").write_text(ADA)
    people = '[[people]]\nname = "Ada"\ntoken_file = "ada.token"\n'
    async with certified_service(tmp_path, clock=ManualClock(utc_ms=NOW_MS), more=people) as running:
        await running.bench.commit(born())
        yield running


async def write(desk: Service, route: str, name: str, token: str) -> tuple[int, str]:
    method, path = route.split()
    for part, value in PARTS.items():
        path = path.replace(part, value)
    body = {key: name if value == "?" else value for key, value in WRITES[route].items()}
    reply = await desk.client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
    return reply.status_code, reply.text


def test_the_table_holds_every_write_that_names_a_person() -> None:
    api = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text())
    found = set()
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            ref = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            fields = api["components"]["schemas"].get(ref.rpartition("/")[2], {}).get("properties", {})
            if {"actor", "by"} & set(fields):
                found.add(f"{method} {path}")
    assert found == set(WRITES)


@pytest.mark.parametrize("route", WRITES)
async def test_another_name_than_the_tokens_is_refused(desk: Service, route: str) -> None:
    status, text = await write(desk, route, "Grace", ADA)
    assert (status, "this token is Ada's" in text) == (403, True), text
    status, text = await write(desk, route, "Ada", TOKEN)
    assert (status, "own token" in text) == (403, True), text


@pytest.mark.parametrize("route", WRITES)
async def test_the_own_name_is_not_what_is_refused(desk: Service, route: str) -> None:
    status, text = await write(desk, route, "ada", ADA)
    assert status not in (401, 403), text


@pytest.mark.parametrize(
    ("token", "claimed", "noted"),
    [
        (ADA, "Ada", "Ada"),
        (ADA, "Grace", "Ada"),
        (TOKEN, "Grace", "Grace (with the shared token)"),
        (TOKEN, "G" * 200, "G" * 170 + " (with the shared token)"),
    ],
)
async def test_a_safe_stop_is_refused_to_nobody_who_may_write(
    desk: Service, monkeypatch: pytest.MonkeyPatch, token: str, claimed: str, noted: str
) -> None:
    """Who pulls it is noted as well as it is known; an argument about names would cost hardware."""
    fake, link = Outbound(), desk.context.command_link
    monkeypatch.setattr(link, "send", fake.send)
    monkeypatch.setattr(type(link), "is_up", property(lambda _self: True))
    reply = await desk.client.post(
        "/api/v1/commands",
        json={"site": SITE, "order": STOP, "actor": claimed},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (reply.status_code, reply.json()["actor"]) == (202, noted), reply.text
