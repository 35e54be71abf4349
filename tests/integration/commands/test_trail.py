"""From the click to the read-back, over every process: one trail for whoever asks."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.commands import DoActions, StopMining
from shared.ids import DeviceId
from support.cloud_broker import why_not
from support.command_world import ACME, CommandWorld, command_world
from support.guardian import SITE
from support.protocol_examples import protocol_example

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
STOP_M3 = {"order": "actions", "actions": [{"do": "stop", "device": "m-3"}]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandWorld]:
    with command_world(tmp_path_factory.mktemp("commands")) as running:
        yield running


def plan(world: CommandWorld, order: object = STOP_M3, actor: str = "ann") -> dict[str, object]:
    found: dict[str, object] = world.call(
        "/commands/plans", {"site": SITE, "order": order, "actor": actor}, status=201
    )
    return found


def test_every_hop_of_a_planned_command_is_in_one_trail(world: CommandWorld) -> None:
    found = plan(world)
    assert found["state"] == "ready", found
    assert found["preview"]["steps"][0]["action"] == {"do": "stop", "device": "m-3"}  # type: ignore[index]  # JSON
    assert world.audit(command=str(found["id"]), source="cloud")[0]["hop"] == "planned"
    sent = world.call(f"/commands/plans/{found['id']}/confirm", {"actor": "bob"}, status=202)
    assert sent["id"] == found["id"]
    done = world.ended(str(sent["id"]))
    assert (done["state"], done["outcome"]) == ("done", "applied"), done
    world.until(
        lambda: "write" in [hop["hop"] for hop in world.command(str(sent["id"]))["trail"]],
        "the journal's events have come up",
    )
    trail = world.command(str(sent["id"]))["trail"]
    hops = [hop["hop"] for hop in trail]
    for hop in (
        "asked",
        "planned",
        "confirmed",
        "signed",
        "sent",
        "received",
        "accepted",
        "running",
        "write",
        "done",
    ):
        assert hop in hops, (hop, hops)
    assert hops.index("asked") < hops.index("planned") < hops.index("confirmed") < hops.index("signed")
    by_hop = {hop["hop"]: hop for hop in trail}
    assert (by_hop["asked"]["actor"], by_hop["asked"]["address"]) == ("ann", "127.0.0.1")
    assert by_hop["confirmed"]["actor"] == "bob"
    assert by_hop["write"]["data"]["result"] == "applied"
    assert by_hop["write"]["data"]["after"], "the read-back stands in the trail"


def test_a_plan_is_used_once_and_power_needs_one(world: CommandWorld) -> None:
    start = {"order": "actions", "actions": [{"do": "start", "device": "m-3"}]}
    refused = world.call("/commands", {"site": SITE, "order": start, "actor": "ann"}, status=409)
    assert refused["code"] == "plan-needed"
    assert "/api/v1/commands/plans" in refused["detail"]
    world.until(lambda: plan(world, start)["preview"]["refused"] == 0, "the site would start it")  # type: ignore[index]  # JSON
    found = plan(world, start)
    world.call(f"/commands/plans/{found['id']}/confirm", {"actor": "ann"}, status=202)
    again = world.call(f"/commands/plans/{found['id']}/confirm", {"actor": "ann"}, status=409)
    assert "confirmed before" in again["detail"]
    ended = world.ended(str(found["id"]))
    assert ended["outcome"] == "applied", ended["detail"]


def test_a_third_party_stops_what_it_may_and_the_cloud_sees_it(world: CommandWorld, tmp_path: Path) -> None:
    ACME.save(tmp_path / "acme.key")
    command = [sys.executable, "-P", "-m", "shared.cli", "command"]
    key = ["--key", str(tmp_path / "acme.key"), "--site", SITE, "--actor", "Acme night desk"]
    signed = subprocess.run(
        [*command, "sign", *key, "--stop", "m-1", "--out", str(tmp_path / "stop.signed")],
        capture_output=True,
        text=True,
        check=True,
    )
    sent = subprocess.run(
        [*command, "send", str(tmp_path / "stop.signed"), "--broker", f"127.0.0.1:{world.broker.port}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "m-1: applied" in sent.stdout
    name = signed.stdout.strip()
    world.until(lambda: world.audit(command=name), "the cloud sees a command that it did not send")
    world.until(lambda: world.command(name)["state"] == "done", "and its end")
    view = world.command(name)
    assert (view["source"], view["key"], view["actor"]) == ("third-party", "acme-1", "Acme night desk")
    assert view["order"] == {"order": "actions", "actions": [{"do": "stop", "device": "m-1"}]}
    world.until(
        lambda: {"signed", "accepted", "write", "done"}
        <= {hop["hop"] for hop in world.command(name)["trail"]},
        "its trail is whole",
    )
    assert not [item for item in world.call("/quarantine")["items"] if name in item["topic"]]
    # The same file again is the same command: its stored result, and nothing is done.
    again = subprocess.run(
        [*command, "send", str(tmp_path / "stop.signed"), "--broker", f"127.0.0.1:{world.broker.port}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    beyond = subprocess.run(
        [*command, "send", *key, "--stop", "m-3", "--broker", f"127.0.0.1:{world.broker.port}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert beyond.returncode == 1
    assert "does not reach device 'm-3'" in beyond.stdout


def test_the_example_of_the_documentation_works_as_it_stands(world: CommandWorld, tmp_path: Path) -> None:
    (tmp_path / "third_party.py").write_text(protocol_example("third_party.py"))
    ACME.save(tmp_path / "acme.key")
    words = ["127.0.0.1", str(world.broker.port), SITE, str(tmp_path / "acme.key"), "m-1"]
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "third_party.py"), *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    states = [line.split()[0] for line in done.stdout.splitlines()]
    assert states[0] == "received"
    assert states[-1] == "done", done.stdout
    assert world.audit(source="third-party", actor="Acme%20night%20desk")


def test_an_unsynchronised_clock_refuses_and_the_plan_says_so(world: CommandWorld) -> None:
    world.site.unsynchronised.touch()
    try:
        found = plan(world)
        assert found["state"] == "blind"
        assert "clock is not synchronised" in str(found["detail"])
        refused = world.call(f"/commands/plans/{found['id']}/confirm", {"actor": "ann"}, status=409)
        assert '"blind": true' in refused["detail"]
        world.call(f"/commands/plans/{found['id']}/confirm", {"actor": "ann", "blind": True}, status=202)
        ended = world.ended(str(found["id"]))
        assert ended["state"] == "refused"
        assert "clock is not synchronised" in ended["detail"]
    finally:
        world.site.unsynchronised.unlink()


def test_a_restarted_agent_still_tells_how_a_command_ended(world: CommandWorld) -> None:
    """kill -9 of the agent while the guardian works on an order: its end still reaches the trail."""
    client = world.client()
    order = DoActions(actions=(StopMining(device=DeviceId("m-2")),))
    world.site.manners(["m-2"], deaf_to_stop=True)
    try:
        world.send(client, world.signed(order, command="kill-1"))
        client.word("kill-1", "accepted")
        world.site.kill_agent()
        world.site.start_agent()
        client.word("kill-1", "done", within_s=60)
    finally:
        world.site.manners(["m-2"])
    world.until(lambda: world.command("kill-1")["state"] == "done", "the trail has its end", within_s=60)
    assert world.command("kill-1")["outcome"] in ("unconfirmed", "failed")


def test_a_person_on_site_cancels_what_the_cloud_has_ordered(world: CommandWorld) -> None:
    """Shown on site, ended by hand without the cloud's leave, and the trail says who and why."""
    start_ms = int(time.time() * 1000) + 3_600_000
    night = {"order": "schedule", "start_ms": start_ms, "end_ms": start_ms + 3_600_000, "what": STOP_M3}
    order = str(world.call(f"/commands/plans/{plan(world, night)['id']}/confirm", {"actor": "bob"})["id"])
    world.until(lambda: order in world.site.guardian_command("orders")[1], "it is shown on site")
    code, said = world.site.guardian_command("cancel", order, "--reason", "contract ended")
    assert (code, f"order {order} is cancelled" in said) == (0, True), said
    code, said = world.site.guardian_command("cancel", order, "--reason", "again")
    assert code == 1, said
    world.until(
        lambda: any("contract ended" in str(hop) for hop in world.command(order)["trail"]),
        "who cancelled it and why stands in the order's trail",
    )


def test_an_outage_of_the_network_loses_no_word_and_local_deeds_come_into_the_same_trail(
    world: CommandWorld,
) -> None:
    """An order that ends while the broker is dead is told when it is back, and so is what a person did."""
    assert world.site.guardian is not None
    client = world.client()
    order = DoActions(actions=(StopMining(device=DeviceId("m-2")),))
    world.site.manners(["m-2"], deaf_to_stop=True)
    world.send(client, world.signed(order, command="wan-1"))
    client.word("wan-1", "accepted")
    world.broker.kill()
    world.site.manners(["m-2"])
    code, said = world.site.guardian_command("safe-stop", "--reason", "smell of smoke")
    assert code == 0, said
    late = world.call("/commands/plans", {"site": SITE, "order": STOP_M3, "actor": "ann"}, status=201)
    assert late["state"] == "blind", "without a broker nobody can be asked"
    world.broker.start()

    def deeds() -> list[dict[str, object]]:
        return [hop for hop in world.audit(site=SITE, source="local") if "smell of smoke" in hop["detail"]]

    world.until(deeds, "the local deed is back-filled", within_s=60)
    deed = deeds()[-1]
    assert deed["hop"] == "acted"
    assert deed["received_ms"] > deed["at_ms"]
    world.until(
        lambda: world.command("wan-1")["state"] == "done", "the end of the order came up", within_s=60
    )
    assert world.cloud.process is not None
    assert world.cloud.process.poll() is None
