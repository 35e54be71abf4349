"""Attacks on the command path of real processes: each is refused, counted and visible; nothing acts.

The attacker may write `dn/cmd` of a site: he stole a login of the broker, and sometimes a key as well.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from shared.artifacts.signing import Purpose, Role, Signed, SigningKey
from shared.commands import (
    MAX_COMMAND_BYTES,
    CancelOrder,
    Curtail,
    DoActions,
    ResetTripOrder,
    SafeStopOrder,
    StandingCap,
    StopMining,
)
from shared.ids import CommandId, DeviceId, ZoneId
from shared.wire import codec, topics
from support.cloud import TOKEN
from support.cloud_broker import why_not
from support.command_world import ACME, Client, CommandWorld, command_world
from support.guardian import KEYS, SITE, ZONE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
STOP = DoActions(actions=(StopMining(device=DeviceId("m-1")),))
COMMAND_KEY = KEYS[Role.COMMAND]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandWorld]:
    with command_world(tmp_path_factory.mktemp("attacks")) as running:
        yield running


@pytest.fixture(scope="module")
def attacker(world: CommandWorld) -> Client:
    return world.client()


def refusals(world: CommandWorld) -> int:
    """What the guardian has counted."""
    status = world.site.whole_status()
    assert status is not None
    return status.refused.get("order", 0)


def agent_status(world: CommandWorld) -> Any:
    """What the gateway's own page shows."""
    url = f"http://127.0.0.1:{world.site.site.agent.status_port}/status.json"
    with urllib.request.urlopen(url, timeout=5) as reply:
        return json.load(reply)


def seen_in_audit(world: CommandWorld, command: str, words: str) -> None:
    """People find it: the refusal came up with the journal and stands in the audit."""
    world.until(
        lambda: any(
            item["hop"] in ("refused", "expired") and words in item["detail"]
            for item in world.audit(command=command)
        ),
        f"{command} is in the audit with {words!r}",
    )


def test_replayed(world: CommandWorld, attacker: Client) -> None:
    """The same bytes again, hours later or at once, are the same command: its stored answer, nothing done."""
    order = DoActions(actions=(StopMining(device=DeviceId("m-2")),))
    signed = world.signed(order, command="replay-1")
    world.send(attacker, signed)
    first = attacker.word("replay-1", "done", within_s=40)
    writes = [item for item in world.audit(command="replay-1") if item["hop"] == "write"]
    world.send(attacker, signed)
    again = attacker.word("replay-1", "done")
    assert (again.at_ms, again.outcome) == (first.at_ms, first.outcome), "the stored result, not a new one"
    world.until(lambda: world.audit(command="replay-1"), "the trail")
    after = [item for item in world.audit(command="replay-1") if item["hop"] == "write"]
    assert len(after) <= max(len(writes), 1), "no second write"


def test_replayed_under_a_new_id_with_the_old_counter(world: CommandWorld, attacker: Client) -> None:
    counter = world.counter()
    world.send(
        attacker, world.signed(CancelOrder(target=CommandId("none")), command="order-1", counter=counter)
    )
    attacker.word("order-1", "refused")
    newer = world.signed(STOP, command="order-2", counter=counter + 10, issued_ms=None, life_ms=30_000)
    world.send(attacker, newer)
    attacker.word("order-2", "done", within_s=40)
    world.send(attacker, world.signed(STOP, command="order-3", counter=counter + 5))
    refused = attacker.word("order-3", "refused")
    assert "was used before" in refused.detail
    seen_in_audit(world, "order-3", "was used before")


CASES: dict[str, tuple[Any, str]] = {
    "expired": (
        lambda w: w.signed(STOP, command="a-expired", issued_ms=int(time.time() * 1000) - 90_000),
        "expired",
    ),
    "lives-too-long": (
        lambda w: w.signed(STOP, command="a-long", life_ms=3_600_000),
        "allowed are 1 to 60000",
    ),
    "from-the-future": (
        lambda w: w.signed(STOP, command="a-future", issued_ms=int(time.time() * 1000) + 50_000),
        "in the future",
    ),
    "foreign-site": (
        lambda w: w.signed(STOP, command="a-foreign", site="elsewhere"),
        "is for site 'elsewhere'",
    ),
    "unsigned": (
        lambda w: msgspec.structs.replace(w.signed(STOP, command="a-unsigned"), signatures=()),
        "signed by nobody",
    ),
    "unknown-key": (
        lambda w: w.signed(STOP, command="a-stranger", key=SigningKey.generate("stranger")),
        "signed by stranger",
    ),
    "own-key-under-a-known-name": (
        lambda w: w.signed(STOP, command="a-forged", key=SigningKey.generate(COMMAND_KEY.key_id)),
        "does not match",
    ),
    "wrong-role": (
        lambda w: w.signed(STOP, command="a-role", key=KEYS[Role.RELEASE]),
        "'command' is needed",
    ),
    "signed-for-another-purpose": (
        lambda w: KEYS[Role.COMMAND].sign(Purpose.ASSIGNMENT, w.signed(STOP, command="a-purpose").payload),
        "does not match",
    ),
    "an-operator-who-acts": (
        lambda w: w.signed(STOP, command="a-operator", key=KEYS[Role.OPERATOR]),
        "actions need the command key",
    ),
    "a-reset-by-the-cloud": (
        lambda w: w.signed(ResetTripOrder(zone=ZONE, reason="x"), command="a-reset", key=COMMAND_KEY),
        "operator's key only",
    ),
    "beyond-its-devices": (
        lambda w: w.signed(DoActions(actions=(StopMining(device=DeviceId("m-3")),)), command="a-device"),
        "does not reach device 'm-3'",
    ),
    "beyond-its-orders": (
        lambda w: w.signed(SafeStopOrder(zone=ZoneId(ZONE)), command="a-order"),
        "may not order 'safe-stop'",
    ),
    "more-than-it-reaches": (
        lambda w: w.signed(Curtail(target_w=1.0, deadline_s=60.0, duration_s=60.0), command="a-whole"),
        "and this touches more",
    ),
    "everybodys-caps": (
        lambda w: w.signed(StandingCap(cap_w=None), command="a-caps"),
        "may not order 'power-cap'",
    ),
    "somebody-elses-order": (
        lambda w: w.signed(CancelOrder(target=CommandId("theirs")), command="a-theirs"),
        "is not one of key 'acme-1'",
    ),
    "control-characters": (
        lambda w: w.signed(STOP, command="a-nul", actor="acme\0\x1b[31m"),
        "printable",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_counted_and_visible(world: CommandWorld, attacker: Client, name: str) -> None:
    make, words = CASES[name]
    signed: Signed = make(world)
    before = refusals(world)
    command = str(msgspec.msgpack.decode(signed.payload)["id"])
    world.send(attacker, signed)
    word = attacker.word(command, "refused", "expired")
    assert words in word.detail
    world.until(lambda: refusals(world) > before, "the guardian counts it")
    seen_in_audit(world, command, words)


def test_the_same_id_with_other_contents_changes_nothing_of_the_first(
    world: CommandWorld, attacker: Client
) -> None:
    """An attacker who knows the id of a command of the cloud cannot make it look refused."""
    sent = world.call(
        "/commands", {"site": SITE, "order": {"order": "renew", "target": "c-9"}, "actor": "ann"}, status=202
    )
    ended = world.ended(sent["id"])
    world.send(attacker, world.signed(STOP, command=sent["id"]))
    word = attacker.word(sent["id"], "refused")
    while "other contents" not in word.detail:
        word = attacker.word(sent["id"], "refused")
    world.until(
        lambda: any("other contents" in hop["detail"] for hop in world.command(sent["id"])["trail"]),
        "the trail shows the attempt",
    )
    after = world.command(sent["id"])
    assert (after["state"], after["detail"], after["source"]) == (ended["state"], ended["detail"], "cloud")
    strange = [hop for hop in after["trail"] if "other contents" in hop["detail"]]
    assert {hop["source"] for hop in strange} == {"unknown"}


UNUSABLE: dict[str, bytes] = {
    "malformed": b"\x00\xc1 nonsense",
    "empty": b"",
    "no-body": codec.encode(Signed(payload=b"\xc1", signatures=())),
    "a-wildcard-for-an-id": codec.encode(
        ACME.sign(
            Purpose.COMMAND,
            msgspec.msgpack.encode(
                {
                    "id": "+/#",
                    "site": SITE,
                    "issued_ms": 1,
                    "expires_ms": 2,
                    "counter": 1,
                    "actor": "x",
                    "order": {"order": "safe-stop"},
                }
            ),
        )
    ),
    "oversize": codec.encode(Signed(payload=b"\x00" * (MAX_COMMAND_BYTES + 1), signatures=())),
    "a-bomb": codec.encode(Signed(payload=b"\x00" * 4_000_000, signatures=()), compress=True),
    "beyond-the-limit-of-a-body": b"\x00" + b"\x00" * (4 * 1024 * 1024 + 1),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_messages_are_counted_and_the_agent_lives_on(
    world: CommandWorld, attacker: Client, name: str
) -> None:
    before = agent_status(world)["quarantine"].get("bad-message", 0)
    attacker.publish(topics.command(SITE), UNUSABLE[name])
    world.until(
        lambda: agent_status(world)["quarantine"].get("bad-message", 0) > before,
        "the gateway's page counts it",
    )
    assert world.site.agent is not None
    assert world.site.agent.poll() is None


def test_unusable_messages_are_told_to_the_cloud(world: CommandWorld, attacker: Client) -> None:
    attacker.publish(topics.command(SITE), b"\x00\xc1")
    world.until(
        lambda: any(
            item["key"] == "command-unusable" for item in world.call("/events?kind=refused")["items"]
        ),
        "the automation log says that somebody writes nonsense",
        within_s=75,
    )


def test_retained_is_never_passed_on(world: CommandWorld, attacker: Client) -> None:
    """A broker hands a retained command to a site that connects: it is dropped, whoever signed it."""
    signed = world.signed(STOP, command="kept-1")
    world.site.kill_agent()
    attacker.publish(topics.command(SITE), codec.encode(signed), retain=True)
    world.site.start_agent()
    try:
        world.until(
            lambda: agent_status_or_none(world) and "retained" in agent_status(world)["quarantine_last"],
            "the gateway's page says that a retained command came",
        )
        assert not [item for item in world.audit(command="kept-1") if item["hop"] == "write"]
    finally:
        attacker.publish(topics.command(SITE), b"", retain=True)


def agent_status_or_none(world: CommandWorld) -> Any:
    try:
        return agent_status(world)
    except OSError:
        return None


# ---------------------------------------------------------------- HTTP


BODIES: dict[str, tuple[str, bytes, int]] = {
    "not-json": ("/commands", b"{", 422),
    "not-an-object": ("/commands/plans", b"[]", 422),
    "deep": ("/commands", b"[" * 100_000, 400),
    "oversize": ("/commands", b'{"site":"' + b"x" * 1_100_000 + b'"}', 413),
    "an-unknown-order": ("/commands", b'{"site":"pit","actor":"x","order":{"order":"format-disk"}}', 422),
    "a-remote-reset": (
        "/commands",
        b'{"site":"pit","actor":"x","order":{"order":"reset-trip","zone":"hall-1","reason":"x"}}',
        422,
    ),
    "too-many-actions": (
        "/commands/plans",
        json.dumps(
            {
                "site": "pit",
                "actor": "x",
                "order": {"order": "actions", "actions": [{"do": "stop", "device": "m-1"}] * 501},
            }
        ).encode(),
        422,
    ),
    "infinite": (
        "/commands/plans",
        b'{"site":"pit","actor":"x","order":{"order":"curtail","target_w":1e999,"deadline_s":1,"duration_s":1}}',
        422,
    ),
    "a-nul-in-a-name": (
        "/commands",
        b'{"site":"pit","actor":"a\\u0000b","order":{"order":"safe-stop"}}',
        422,
    ),
    "confirm-of-nothing": ("/commands/plans/none/confirm", b'{"actor":"x"}', 404),
}


def refused_http(world: CommandWorld, status: int) -> int:
    """How many requests the cloud has refused with this status."""
    with urllib.request.urlopen(f"http://127.0.0.1:{world.cloud.port}/health/ready", timeout=10) as reply:
        counts: dict[str, int] = json.load(reply)["refused_http"]
    return counts.get(str(status), 0)


@pytest.mark.parametrize("name", BODIES)
def test_http_bodies_are_refused_with_a_problem(world: CommandWorld, name: str) -> None:
    path, body, status = BODIES[name]
    counted = refused_http(world, status)
    found = world.call(path, raw=body, status=status)
    assert found["title"]
    assert found["code"]
    assert refused_http(world, status) == counted + 1, "and seen by who looks after the cloud"


def test_http_without_the_token_is_refused(world: CommandWorld) -> None:
    url = f"http://127.0.0.1:{world.cloud.port}/api/v1/commands/plans"
    counted = refused_http(world, 401)
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json", **header})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value as reply:
            assert reply.code == 401
    assert refused_http(world, 401) == counted + 3
