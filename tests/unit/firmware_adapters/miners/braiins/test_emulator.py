"""The emulated REST API against the recorded one: the same pages, keys and kinds of value."""

from typing import Any

import msgspec
import pytest

from firmware_adapters.miners.braiins.emulator import API, TOKEN_LIFETIME_S, BraiinsEmulator, Traps
from firmware_adapters.miners.emulated import PoolView
from shared.clock import ManualClock
from shared.telemetry import MinerState
from support.miners import Machine
from support.web_memory import recorded

PAGES = {
    "miner_details": "miner/details",
    "miner_stats": "miner/stats",
    "miner_errors": "miner/errors",
    "miner_hw_hashboards": "miner/hw/hashboards",
    "cooling_state": "cooling/state",
    "performance_tuner_state": "performance/tuner-state",
    "configuration_miner": "configuration/miner",
    "actions_locate": "actions/locate",
    "pools": "pools",
    "network": "network",
    "version": "version",
}
ONLY_RECORDED = {"miner_details.psu_info"}
"""What no reader of ours looks at."""
ONLY_EMULATED = {
    # by the vendor's message definitions; the recordings had it removed
    "configuration_miner.temperature",
    # 25.11 has them, the machine with 25.07 did not
    "pools[].uid",
    "miner_errors.errors[].error_codes[]",
}


class Shell:
    """Requests to one emulator, logged in."""

    def __init__(self, version: str = "25.11", **traps: object) -> None:
        self.machine = Machine()
        self.machine.set(
            last_share_age_s=5.0, other_pools=(PoolView(url="stratum+tcp://spare.invalid:3333"),)
        )
        self.clock = ManualClock()
        known = Traps(**traps)  # type: ignore[arg-type] # named by the tests
        self.emulator = BraiinsEmulator(self.machine, clock=self.clock, version=version, traps=known)
        status, page = self.ask("POST", "auth/login", {"username": "root", "password": ""})
        assert status == 200
        self.token = page["token"]

    def ask(self, method: str, name: str, body: object = None) -> tuple[int, Any]:
        headers = {"Authorization": getattr(self, "token", "")}
        sent = b"" if body is None else msgspec.json.encode(body)
        said = self.emulator.answer(method, API + name, headers, sent)
        return said.status, msgspec.json.decode(said.body)


def shape(value: Any, at: str) -> dict[str, str]:
    """Every key path with the kind of its value; null is any kind, so it is left out below."""
    if isinstance(value, dict):
        found = {at: "object"}
        for key, inner in value.items():
            found |= shape(inner, f"{at}.{key}")
        return found
    if isinstance(value, list):
        found = {at: "list"}
        for inner in value:
            found |= shape(inner, f"{at}[]")
        return found
    kinds = {bool: "flag", int: "number", float: "number", str: "text", type(None): "null"}
    return {at: kinds[type(value)]}


def under(path: str, roots: set[str]) -> bool:
    return any(path == root or path.startswith((f"{root}.", f"{root}[")) for root in roots)


@pytest.mark.parametrize("version", ["25.07", "25.11"])
def test_every_page_has_the_recorded_shape(version: str) -> None:
    real = recorded(f"braiins/{version}")
    shell = Shell(version)
    assert set(real) == set(PAGES)
    for name, path in PAGES.items():
        if name == "miner_errors":
            shell.machine.set(state=MinerState.FAILURE, failure_code=3, description="too hot")
        status, page = shell.ask("GET", path)
        shell.machine.set(state=MinerState.MINING)
        assert status == 200
        said, ours = shape(real[name], name), shape(page, name)
        missing = {at for at in said if not under(at, ONLY_RECORDED)} - set(ours)
        nullable = {at for at, kind in shape(page, name).items() if kind == "null"}
        assert not {at for at in missing if not under(at, nullable)}, name
        extra = {at for at in ours if not under(at, ONLY_EMULATED)} - set(said)
        nulls = {at for at, kind in said.items() if kind == "null"}
        assert not {at for at in extra if not under(at, nulls)}, name
        for at in set(said) & set(ours):
            assert said[at] == ours[at] or "null" in (said[at], ours[at]), at


def test_nothing_but_login_and_version_is_told_without_a_token() -> None:
    shell = Shell()
    shell.token = "wrong"
    assert shell.ask("GET", "version")[0] == 200
    for name in ("miner/details", "pools", "no/such/page"):
        assert shell.ask("GET", name)[0] == 401
    assert shell.ask("PUT", "actions/stop")[0] == 401
    assert shell.ask("POST", "auth/login", {"username": "root", "password": "x"})[0] == 401
    assert shell.ask("POST", "auth/login", [])[0] == 401
    assert shell.machine.commands == []


def test_a_token_ends_with_its_lifetime_and_with_a_reboot() -> None:
    shell = Shell()
    shell.clock.advance(TOKEN_LIFETIME_S - 1)
    assert shell.ask("GET", "pools")[0] == 200
    shell.clock.advance(2)
    assert shell.ask("GET", "pools")[0] == 401
    other = Shell()
    assert other.ask("PUT", "actions/reboot")[0] == 200
    assert other.ask("GET", "pools")[0] == 401
    assert other.machine.commands == ["reboot 3"]


def test_what_it_does_not_know_and_what_makes_no_sense_is_refused_and_changes_nothing() -> None:
    shell = Shell()
    assert shell.ask("GET", "no/such/page")[0] == 404
    assert shell.ask("POST", "actions/stop")[0] == 405
    for body in (None, {}, {"watt": 1}, {"watt": 99_999}, {"watt": "?"}, []):
        assert shell.ask("PUT", "performance/power-target", body)[0] == 400
    for body in (None, {}, {"auto": {}}, {"manual": {"fan_speed_ratio": 2}}, {"disabled": {}}):
        assert shell.ask("PUT", "cooling/mode", body)[0] == 400
    assert shell.ask("PUT", "actions/locate", {"on": True})[0] == 400
    said = shell.emulator.answer("PUT", f"{API}actions/locate", {"Authorization": shell.token}, b"{")
    assert said.status == 400
    assert shell.machine.commands == []


def test_stop_and_pause_are_different_states_that_know_each_other() -> None:
    shell = Shell()

    def status() -> int:
        page = shell.ask("GET", "miner/details")[1]
        return int(page["status"])

    assert (status(), shell.ask("PUT", "actions/resume")) == (2, (200, True))
    assert shell.ask("PUT", "actions/pause") == (200, False)
    assert (status(), shell.ask("PUT", "actions/pause")) == (3, (200, True))
    assert shell.ask("PUT", "actions/start") == (200, True), "a paused process does run"
    assert shell.ask("PUT", "actions/stop") == (200, False)
    assert (status(), shell.ask("PUT", "actions/stop")) == (1, (200, True))
    assert shell.ask("PUT", "actions/pause")[0] == shell.ask("PUT", "actions/resume")[0] == 503
    assert shell.ask("PUT", "actions/start") == (200, False)
    assert status() == 2
    assert shell.machine.commands == ["stop", "start"]


def test_the_front_page_names_the_firmware() -> None:
    said = Shell().emulator.answer("GET", "/", {}, b"")
    assert b"Braiins" in said.body
    assert Shell().emulator.answer("GET", "/cgi-bin/x", {}, b"").status == 404
