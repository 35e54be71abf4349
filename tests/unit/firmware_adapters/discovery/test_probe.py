"""One machine of each firmware, emulated on loopback: identified, read, and not changed."""

import json

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.probe import Look, adapter_port, probe
from firmware_adapters.discovery.probe_cli import exit_code
from firmware_adapters.discovery.report import LISTS, SINGLES, as_json, device_words, warnings
from firmware_adapters.discovery.words import lines
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.transport.read_only import ReadOnly
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError
from shared.telemetry import MinerState
from support.mixed_site import FIRMWARES, credential_of
from support.probe_fleet import fleet

CLOCK = SystemClock()


@pytest.mark.parametrize("adapter", FIRMWARES)
async def test_each_firmware_is_told_apart_read_and_left_as_it_was(adapter: str) -> None:
    async with fleet("127.85.0") as machines:
        one = machines[adapter]
        before = one.machine.seen
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(credential=credential_of(adapter)), CLOCK)
        assert one.machine.commands == [], "not one write"
        assert one.machine.seen == before
    assert found.identified[0].adapter == adapter
    assert found.identified[0].confidence >= 0.9
    assert exit_code(found) == 0
    assert found.examined is not None
    assert found.examined.warnings == (), "what the emulator calls itself is a version that is known"
    told = as_json(found)
    sample, quality = told["sample"], told["quality"]
    assert isinstance(sample, dict)
    assert isinstance(quality, dict)
    assert sample["hashrate_ths"] == pytest.approx(before.hashrate_ths, rel=0.01)
    assert sample["state"] in (MinerState.MINING, MinerState.AUTO_TUNING)
    assert sample["is_hashing"] is True
    assert sample["fan_rpm"]
    if sample["power_w"] is not None:
        assert sample["efficiency_j_per_th"] == pytest.approx(sample["power_w"] / sample["hashrate_ths"])
    assert set(quality) == {*SINGLES, *LISTS, "efficiency_j_per_th"}
    assert device_words(found)["mac"].lower() == before.mac.lower()
    assert json.loads(json.dumps(told)).keys() == told.keys()
    assert any(before.mac.lower() in line.lower() for line in lines(found))


@pytest.mark.parametrize("adapter", FIRMWARES)
async def test_without_a_password_nothing_logs_in_and_what_is_closed_is_said(adapter: str) -> None:
    async with fleet("127.85.1") as machines:
        one = machines[adapter]
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(), CLOCK)
        assert one.machine.commands == []
    assert found.identified[0].adapter == adapter
    assert found.examined is not None
    assert not found.examined.password_refused
    sent = [exchange.question for exchange in found.examined.exchanges]
    assert not [question for question in sent if question.startswith("POST")], "no login left this computer"
    if found.examined.observation is None:
        assert {one.code for one in found.examined.not_read} == {"auth"}
        assert exit_code(found) == 1


@pytest.mark.parametrize("adapter", sorted({"vnish", "antminer", "braiins"} & set(FIRMWARES)))
async def test_a_wrong_password_is_tried_once(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[str] = []
    heard = ReadOnly.http_said

    def counting(self: ReadOnly, method: str, path: str, headers: object, said: object) -> None:
        heard(self, method, path, headers, said)  # type: ignore[arg-type] # passed on as it came
        if self.refused_login is not None and (method == "POST" or headers):
            refusals.append(f"{method} {path}")

    monkeypatch.setattr(ReadOnly, "http_said", counting)
    async with fleet("127.85.2", adapters=(adapter,)) as machines:
        one = machines[adapter]
        wrong = Credential(user=credential_of(adapter).user, secret="not-this-one")
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(credential=wrong), CLOCK)
    assert len(refusals) == 1, refusals
    assert exit_code(found) == 1
    assert "the password was refused; it was tried once and is not tried again" in warnings(found)


async def test_a_version_that_was_never_seen_is_read_but_offers_no_control() -> None:
    async with fleet("127.85.3", adapters=("vnish",)) as machines:
        one = machines["vnish"]
        one.emulator.version = "1.9.0"  # type: ignore[attr-defined] # the emulator of VNish has one
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(credential=credential_of("vnish")), CLOCK)
    told = as_json(found)
    assert told["identification"]["version_seen_before"] is False  # type: ignore[index] # an object
    assert any("never been seen: read-only" in warning for warning in warnings(found))
    assert not [one for one in told["capabilities"] if one["writes"]]  # type: ignore[attr-defined, index] # a list
    assert exit_code(found) == 0


async def test_a_hung_web_server_leaves_the_socket() -> None:
    async with fleet("127.85.4", adapters=("vnish",)) as machines:
        one = machines["vnish"]
        one.emulator.traps = Traps(garbage=True)  # type: ignore[attr-defined] # web pages are nonsense
        async with Asker(reply_s=1.0) as asker:
            found = await probe(asker, one.host, one.port, Look(timeout_s=1.0), CLOCK)
    assert found.identified[0].adapter == "vnish"


async def test_a_machine_that_is_gone_is_unreachable() -> None:
    async with fleet("127.85.5", adapters=("vnish",)) as machines:
        one = machines["vnish"]
        one.machine.set(reachable=False)
        async with Asker(connect_s=0.5, reply_s=1.0) as asker:
            found = await probe(asker, one.host, one.port, Look(), CLOCK)
            named = await probe(asker, one.host, one.port, Look(adapter="vnish", timeout_s=0.5), CLOCK)
    assert found.identified == ()
    assert exit_code(found) == 3
    assert "nothing answers" in lines(found)[0]
    assert exit_code(named) == 3


async def test_a_firmware_that_the_user_names_is_spoken_to_whatever_the_clues_say() -> None:
    async with fleet("127.85.6", adapters=("vnish", "axeos")) as machines:
        one = machines["axeos"]
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(adapter="vnish", timeout_s=1.0), CLOCK)
            with pytest.raises(ConfigError, match="no miner firmware named 'modbus'"):
                await probe(asker, one.host, one.port, Look(adapter="modbus"), CLOCK)
    told = as_json(found)["identification"]
    assert isinstance(told, dict)
    assert (told["adapter"], told["named_by_user"], told["confidence"]) == ("vnish", True, 0.0)
    assert [other["adapter"] for other in told["others"]] == ["axeos"]
    assert exit_code(found) == 1


async def test_a_second_look_tells_what_was_counted_and_what_began_anew() -> None:
    clock = ManualClock()
    async with fleet("127.85.7", adapters=("axeos",)) as machines:
        one = machines["axeos"]

        async def sleeps(seconds: float) -> None:
            clock.advance(seconds)
            one.machine.set(shares_accepted=one.machine.seen.shares_accepted + 7, shares_rejected=0)
            one.machine.set(uptime_s=one.machine.seen.uptime_s + seconds)

        clock.sleep = sleeps  # type: ignore[method-assign] # time passes at the machine as well
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(again_after_s=60.0), clock)
    counted = as_json(found)["counted"]
    assert isinstance(counted, dict)
    assert counted["over_s"] == 60.0
    assert counted["shares_accepted"] == {"added": 7.0, "reset": False}
    assert counted["shares_rejected"] == {"added": None, "reset": True}
    assert any("began anew in 60 s" in line for line in lines(found))


@pytest.mark.parametrize(
    ("adapter", "asked", "port"),
    [
        ("vnish", None, 80),
        ("luxos", None, 4028),
        ("luxos", 80, 4028),
        ("vnish", 4028, 80),
        ("whatsminer-v3", 4028, 4433),
        ("vnish", 18080, 18080),
        ("avalon", 18080, 18080),
    ],
)
def test_a_real_machines_own_port_is_used_unless_another_is_named(
    adapter: str, asked: int | None, port: int
) -> None:
    assert adapter_port(adapter, asked) == port
