"""Persons with tokens of their own: what takes two persons takes two tokens, whatever names are written."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.config import load
from cloud.kit.people import same_person
from shared.errors import ConfigError
from support.cloud import TOKEN, configure, service
from support.rollouts import Fleet, Outbound

PEOPLE = 'people = [{name = "Ada", token_file = "ada"}, {name = "Bo", token_file = "bo"}]'


def tokens(folder: Path, **texts: str) -> None:
    for name, text in {"ada": "a" * 24, "bo": "b" * 24, **texts}.items():
        (folder / name).write_text(text + "\n")


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    tokens(tmp_path)
    async with service(tmp_path, extra=PEOPLE) as running:
        found = Fleet(running, Outbound())
        await found.sites("north")
        await found.model()
        yield found


async def post(fleet: Fleet, token: str, path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
    reply = await fleet.running.client.post(
        f"/api/v1{path}", json=body, headers={"Authorization": f"Bearer {token}"}
    )
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_two_persons_are_two_tokens(fleet: Fleet) -> None:
    ada, bo = "a" * 24, "b" * 24
    body = {"name": "miner-anomaly", "version": 1, "actor": "Ada", "second_approver": True}
    refused = await post(fleet, TOKEN, "/campaigns", body, 403)
    assert "own token" in refused["detail"]
    refused = await post(fleet, bo, "/campaigns", body, 403)
    assert "this token is Bo's" in refused["detail"]
    asked = await post(fleet, ada, "/campaigns", body, 201)
    path = f"/approvals/{asked['approval']['id']}/approve"
    await post(fleet, ada, path, {"actor": "Bo"}, 403)
    await post(fleet, ada, path, {"actor": "Ada"}, 403)
    await post(fleet, TOKEN, path, {"actor": "Bo"}, 403)
    assert fleet.outbound.sent == []
    assert (await post(fleet, bo, path, {"actor": "bo"}, 200))["decided_by"] == "Bo"
    assert len(fleet.outbound.sent) == 1


async def test_what_one_person_may_do_still_takes_a_token(fleet: Fleet) -> None:
    body = {"site": "north", "name": "miner-anomaly", "version": 1, "stage": "shadow"}
    await post(fleet, "c" * 24, "/rollouts", body, 401)
    await post(fleet, "", "/rollouts", body, 401)
    await post(fleet, "a" * 24, "/rollouts", body, 201)
    await post(fleet, TOKEN, "/rollouts", body, 201)


@pytest.mark.parametrize(
    ("texts", "people", "why"),
    [
        ({"bo": "a" * 24}, PEOPLE, "share a token"),
        ({"bo": TOKEN}, PEOPLE, "share a token"),
        ({"bo": "short"}, PEOPLE, "5 characters"),
        ({}, 'people = [{name = "Ada", token_file = "missing"}]', "cannot be read"),
        ({}, PEOPLE.replace('"Bo"', '"ada "'), "a name that is no other's"),
        ({}, PEOPLE.replace('"Bo"', '" "'), "needs a name"),
    ],
)
def test_tokens_that_prove_nothing(tmp_path: Path, texts: dict[str, str], people: str, why: str) -> None:
    tokens(tmp_path, **texts)
    with pytest.raises(ConfigError, match=why):
        load(configure(tmp_path, extra=people)).people_tokens()


def test_names_of_one_person() -> None:
    assert same_person("Ada", " a.d a")
    assert not same_person("Ada", "Adam")
    assert not same_person("!", "?")
