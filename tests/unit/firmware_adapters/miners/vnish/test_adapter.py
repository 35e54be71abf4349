"""The adapter's own decisions: what is read when, what a preset write does, and the fallback to port 4028."""

import asyncio
import logging

import msgspec
import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish import adapter as module
from firmware_adapters.miners.vnish.adapter import (
    PRESET_EVERY,
    SETTINGS_EVERY,
    SLOW_EVERY,
    VnishAdapter,
    capabilities,
    open_device,
)
from firmware_adapters.miners.vnish.emulator import Switcher, VnishEmulator
from firmware_adapters.miners.vnish.emulator_socket import reply
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.session import API_KEY_USER
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from firmware_adapters.transport.line_json import MemoryLine
from shared.clock import ManualClock
from shared.errors import AuthFailed, Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Quality
from shared.units import Algorithm
from support.miners import Machine, s21_pro
from support.vnish import emulator_of, in_memory

ADMIN = Credential(user=None, secret="admin")
SWITCHER = Switcher(enabled=True, top_preset="4690", min_preset="2800", autochange_top_preset=True)


class Bench:
    """An adapter in front of an emulated machine, all in memory, with what went over the wire."""

    def __init__(self, machine: Machine | None = None, **options: object) -> None:
        self.clock = ManualClock()
        self.machine = machine or Machine()
        credential = options.pop("credential", ADMIN)
        self.emulator: VnishEmulator = emulator_of(self.machine, self.clock, **options)
        self.http = in_memory(self.emulator)
        self.adapter = VnishAdapter(
            self.http,
            credential,  # type: ignore[arg-type] # the tests hand a credential or None
            timeout_s=5,
            clock=self.clock,
        )

    def asked(self) -> list[str]:
        """Paths since the last call."""
        paths = [f"{r.method} {r.path.removeprefix('/api/v1')}" for r in self.http.requests]
        self.http.requests.clear()
        return paths


FAST = ["GET /status", "GET /summary"]


# ---------------------------------------------------------------- reading


async def test_a_read_is_two_requests_and_the_preset_and_identity_come_at_their_own_cadence() -> None:
    bench = Bench()
    for number in range(2 * SETTINGS_EVERY):
        await bench.adapter.read()
        asked = bench.asked()
        assert [page for page in asked if page in FAST] == FAST
        assert ("GET /info" in asked) == (number % SLOW_EVERY == 0)
        assert ("GET /perf-summary" in asked) == (number % PRESET_EVERY == 0)
        assert ("GET /settings" in asked) == (number % SETTINGS_EVERY == 0)
        assert ("POST /unlock" in asked) == (number == 0)
        assert len(asked) <= len(FAST) + (2 if number % SETTINGS_EVERY else 4)


async def test_between_its_turns_a_read_is_two_requests_and_nothing_else() -> None:
    bench = Bench()
    for _ in range(2):
        await bench.adapter.read()
    bench.asked()
    for number in range(2, 2 + SLOW_EVERY * PRESET_EVERY):
        await bench.adapter.read()
        asked = bench.asked()
        if number % SLOW_EVERY and number % PRESET_EVERY:
            assert asked == FAST


async def test_without_a_credential_the_settings_are_not_asked_for() -> None:
    bench = Bench(credential=None)
    assert (await bench.adapter.read()).preset_requested is None
    assert not [page for page in bench.asked() if "settings" in page or "unlock" in page]


async def test_a_preset_that_was_not_asked_for_is_unknown_and_not_remembered() -> None:
    bench = Bench()
    first, second = await bench.adapter.read(), await bench.adapter.read()
    assert (first.preset, first.readings["preset_w"].value) == ("2800", 2800)
    assert second.preset is None
    assert "preset_w" not in second.readings
    assert "uptime_s" in first.readings
    assert "uptime_s" not in second.readings


async def test_after_a_preset_write_every_read_asks_for_two_minutes() -> None:
    bench = Bench()
    await bench.adapter.read()
    await bench.adapter.set_preset("2550")
    await bench.adapter.read()
    assert (await bench.adapter.read()).preset == "2550"
    bench.clock.advance(119)
    assert (await bench.adapter.read()).preset == "2550"
    assert (await bench.adapter.read()).preset == "2550"
    bench.clock.advance(2)
    assert (await bench.adapter.read()).preset is None


async def test_a_failed_read_does_not_use_up_the_slow_turn() -> None:
    bench = Bench(traps=Traps(garbage=True))
    with pytest.raises(MalformedReply):
        await bench.adapter.read()
    bench.emulator.traps = Traps()
    assert (await bench.adapter.read()).preset == "2800"


async def test_state_algorithm_and_throttle_come_with_the_readings() -> None:
    bench = Bench(Machine(s21_pro(state=MinerState.AUTO_TUNING, throttle_pct=60)), version="1.3.4")
    seen = await bench.adapter.read()
    assert seen.state is MinerState.AUTO_TUNING
    assert seen.algorithm is Algorithm.SHA256D
    assert seen.readings["throttle_pct"].value == 60
    assert "throttle_pct" not in (await Bench().adapter.read()).readings


async def test_a_scrypt_machine_is_read_in_its_own_unit() -> None:
    bench = Bench(Machine(s21_pro(algorithm=Algorithm.SCRYPT, hashrate_ths=0.0165, boards=())))
    seen = await bench.adapter.read()
    assert seen.algorithm is Algorithm.SCRYPT
    assert seen.readings["hashrate_ths"].value == pytest.approx(0.0165)


async def test_a_perf_page_that_fails_costs_the_preset_and_not_the_read() -> None:
    bench = Bench()

    async def answer(request: HttpRequest) -> HttpReply:
        if request.path.endswith("/perf-summary"):
            return HttpReply(500, b'{"err":"no preset file"}')
        said = bench.emulator.answer(request.method, request.path, {}, request.body)
        return HttpReply(said.status, said.body)

    seen = await VnishAdapter(MemoryHttp(answer), None, timeout_s=5).read()
    assert seen.preset is None
    assert seen.readings["power_w"].value == 2790


async def test_miner_null_still_gives_the_state() -> None:
    seen = await Bench(
        Machine(s21_pro(state=MinerState.STARTING)), traps=Traps(miner_null=True)
    ).adapter.read()
    assert seen.state is MinerState.STARTING
    assert seen.readings["hashrate_ths"].quality is Quality.MISSING


# ---------------------------------------------------------------- fallback


class _Web:
    """A web server that fails as told."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure
        self.emulator = emulator_of(Machine(), ManualClock())

    async def answer(self, request: HttpRequest) -> HttpReply:
        if self.failure is not None:
            raise self.failure
        said = self.emulator.answer(request.method, request.path, {}, request.body)
        return HttpReply(said.status, said.body)


def stats_reply() -> bytes:
    return msgspec.json.encode(reply(s21_pro(), "1.2.7", b'{"command":"stats"}', 0)) + b"\x00"


@pytest.mark.parametrize("failure", [DeviceTimeout("hung"), Unreachable("refused"), MalformedReply("half")])
async def test_the_socket_answers_while_the_web_server_fails_and_that_is_logged_once(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    web = _Web(failure)
    adapter = VnishAdapter(
        MemoryHttp(web.answer), ADMIN, timeout_s=5, socket=MemoryLine({"stats": stats_reply()})
    )
    for _ in range(3):
        seen = await adapter.read()
        assert seen.state is MinerState.MINING
        assert seen.readings["chip_temp_max_c"].value == 65
        assert seen.preset is None
    web.failure = None
    await adapter.read()
    await adapter.read()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("socket", [None, MemoryLine({}), MemoryLine({"stats": b"{"})])
async def test_where_the_socket_fails_too_the_web_servers_failure_is_told(socket: MemoryLine | None) -> None:
    adapter = VnishAdapter(MemoryHttp(_Web(DeviceTimeout("hung")).answer), ADMIN, timeout_s=5, socket=socket)
    with pytest.raises(DeviceTimeout, match="hung"):
        await adapter.read()


async def test_a_refusal_is_not_papered_over_by_the_socket() -> None:
    line = MemoryLine({"stats": stats_reply()})
    adapter = VnishAdapter(MemoryHttp(_Web(AuthFailed("no")).answer), ADMIN, timeout_s=5, socket=line)
    with pytest.raises(AuthFailed):
        await adapter.read()
    assert line.asked == []


async def test_a_whole_read_has_one_deadline() -> None:
    async def never(_: HttpRequest) -> HttpReply:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(DeviceTimeout):
        await VnishAdapter(MemoryHttp(never), None, timeout_s=0.05).read()


# ---------------------------------------------------------------- presets


async def test_a_preset_change_is_posted_whole_and_brought_in_by_a_restart() -> None:
    bench = Bench()
    await bench.adapter.set_preset("2550")
    assert bench.machine.commands == ["preset 2550"]
    posts = [path for path in bench.asked() if path.startswith("POST")]
    assert posts == ["POST /unlock", "POST /settings", "POST /mining/restart"]


async def test_the_switchers_ceiling_and_floor_follow_the_preset() -> None:
    bench = Bench(Machine(s21_pro(preset="3160")), switcher=SWITCHER)
    await bench.adapter.set_preset("2550")
    held = bench.emulator.settings.switcher
    assert (held.top_preset, held.min_preset, held.autochange_top_preset) == ("2550", "2550", False)
    assert held.enabled
    await bench.adapter.set_preset("3160")
    assert bench.emulator.settings.switcher.top_preset == "3160"
    assert bench.machine.commands == ["preset 2550", "preset 3160"]


async def test_a_switcher_that_is_off_is_left_alone() -> None:
    bench = Bench(switcher=Switcher(enabled=False, top_preset="4690"))
    await bench.adapter.set_preset("2550")
    assert bench.emulator.settings.switcher.top_preset == "4690"


async def test_a_preset_is_lowered_even_where_the_switcher_cannot_be_read() -> None:
    bench = Bench()
    whole = bench.http._answer

    async def no_perf(request: HttpRequest) -> HttpReply:
        if request.path.endswith("/perf-summary"):
            return HttpReply(500, b"{}")
        found = await whole(request)
        assert isinstance(found, HttpReply)
        return found

    bench.http._answer = no_perf
    await bench.adapter.set_preset("2550")
    assert bench.machine.commands == ["preset 2550"]


@pytest.mark.parametrize(
    ("name", "why"), [("9000", "has no preset"), ("disabled", "no preset"), ("4690", "not tuned")]
)
async def test_a_rung_that_is_unknown_or_untuned_is_unsupported_and_nothing_is_posted(
    name: str, why: str
) -> None:
    bench = Bench()
    with pytest.raises(Unsupported, match=why):
        await bench.adapter.set_preset(name)
    assert not [path for path in bench.asked() if "settings" in path]
    assert bench.machine.commands == []


@pytest.mark.parametrize("state", [MinerState.STOPPED, MinerState.FAILURE, MinerState.SHUTTING_DOWN])
async def test_a_machine_that_does_not_mine_is_not_started_by_a_preset(state: MinerState) -> None:
    bench = Bench(Machine(s21_pro(state=state)))
    await bench.adapter.set_preset("2550")
    assert "POST /mining/restart" not in bench.asked()
    assert "start" not in bench.machine.commands


@pytest.mark.parametrize("state", [MinerState.STOPPED, MinerState.FAILURE, MinerState.SHUTTING_DOWN])
async def test_nor_by_a_firmware_that_asks_for_the_restart_all_the_same(state: MinerState) -> None:
    bench = Bench(Machine(s21_pro(state=state)))
    whole = bench.http._answer

    async def insist(request: HttpRequest) -> HttpReply:
        found = await whole(request)
        assert isinstance(found, HttpReply)
        is_write = (request.method, request.path) == ("POST", "/api/v1/settings")
        return HttpReply(200, b'{"restart_required":true,"reboot_required":false}') if is_write else found

    bench.http._answer = insist
    await bench.adapter.set_preset("2550")
    assert "POST /mining/restart" not in bench.asked()


async def test_a_preset_posted_to_a_machine_shutting_down_is_there_when_it_starts() -> None:
    bench = Bench(Machine(s21_pro(state=MinerState.SHUTTING_DOWN)))
    await bench.adapter.set_preset("2550")
    bench.machine.set(state=MinerState.STOPPED)
    await bench.adapter.start_mining()
    assert bench.machine.commands == ["preset 2550", "start"]


async def test_the_same_preset_again_restarts_nothing() -> None:
    bench = Bench()
    await bench.adapter.set_preset("2800")
    assert "POST /mining/restart" not in bench.asked()


async def test_a_restart_that_was_cut_off_is_made_up_for_by_asking_again() -> None:
    bench = Bench()
    whole = bench.http._answer

    async def no_restart(request: HttpRequest) -> HttpReply | DeviceTimeout:
        if request.path.endswith("/mining/restart"):
            return DeviceTimeout("cut")
        found = await whole(request)
        assert isinstance(found, HttpReply)
        return found

    bench.http._answer = no_restart
    with pytest.raises(DeviceTimeout):
        await bench.adapter.set_preset("2550")
    bench.http._answer = whole
    await bench.adapter.set_preset("2550")
    assert bench.machine.commands == ["preset 2550"]


async def test_settings_accepted_but_not_applied_show_in_the_next_read() -> None:
    bench = Bench(traps=Traps(settings_ignored=True))
    await bench.adapter.set_preset("2550")
    assert (await bench.adapter.read()).preset == "2800"


async def test_an_empty_settings_reply_is_settled_by_the_status() -> None:
    bench = Bench()
    whole = bench.http._answer

    async def empty(request: HttpRequest) -> HttpReply:
        found = await whole(request)
        assert isinstance(found, HttpReply)
        is_write = (request.method, request.path) == ("POST", "/api/v1/settings")
        return HttpReply(found.status, b"") if is_write else found

    bench.http._answer = empty
    await bench.adapter.set_preset("2550")
    assert bench.machine.commands == ["preset 2550"]


async def test_a_wanted_reboot_is_logged_and_not_done(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    whole = bench.http._answer

    async def reboot(request: HttpRequest) -> HttpReply:
        found = await whole(request)
        assert isinstance(found, HttpReply)
        wants = HttpReply(200, b'{"restart_required":false,"reboot_required":true}')
        return wants if (request.method, request.path) == ("POST", "/api/v1/settings") else found

    bench.http._answer = reboot
    await bench.adapter.set_preset("2550")
    assert "waits for a reboot" in caplog.text
    assert not [path for path in bench.asked() if "reboot" in path]


# ---------------------------------------------------------------- stop, start, facts


async def test_stop_and_start_do_and_conflicts_are_busy() -> None:
    bench = Bench()
    await bench.adapter.stop_mining()
    with pytest.raises(Busy, match="pause-mode"):
        await bench.adapter.stop_mining()
    assert (await bench.adapter.read()).state is MinerState.STOPPED
    await bench.adapter.start_mining()
    with pytest.raises(Busy, match="resume-mode"):
        await bench.adapter.start_mining()


async def test_facts_name_the_machine_and_its_ladder() -> None:
    facts = await Bench(version="1.3.4").adapter.facts()
    assert (facts.model, facts.firmware, facts.mac) == (
        "Antminer S21 Pro",
        "Vnish 1.3.4",
        "aa:bb:cc:00:00:01",
    )
    assert [rung.name for rung in facts.presets] == ["2550", "2800", "3160", "4690"]
    assert [found.ability for found in facts.capabilities] == [found.ability for found in capabilities()]
    assert facts.algorithm == "sha256d"


async def test_the_default_password_is_told() -> None:
    assert (await Bench().adapter.facts()).default_password
    ours = Credential(user=None, secret="ours")
    changed = Bench(password="ours", credential=ours)
    assert not (await changed.adapter.facts()).default_password
    assert sum("unlock" in path for path in changed.asked()) == 1, "the default was not even tried"


async def test_behind_an_api_key_the_default_password_is_looked_for_once_a_day() -> None:
    key = "k" * 32
    bench = Bench(api_keys=[key], credential=Credential(user=API_KEY_USER, secret=key))
    for _ in range(3):
        assert (await bench.adapter.facts()).default_password
    assert sum("unlock" in path for path in bench.asked()) == 1
    bench.clock.advance(module.PROBE_EVERY_S + 1)
    await bench.adapter.facts()
    assert sum("unlock" in path for path in bench.asked()) == 1


async def test_without_a_credential_the_ladder_is_unknown_and_the_rest_is_there() -> None:
    facts = await Bench(password="ours", credential=None).adapter.facts()
    assert facts.presets == ()
    assert facts.model == "Antminer S21 Pro"
    assert not facts.default_password


def test_a_broken_settings_file_does_not_stand_in_the_way_of_control() -> None:
    bench = Bench(traps=Traps(settings_broken=True))
    asyncio.run(bench.adapter.set_preset("2550"))
    assert bench.machine.commands == ["preset 2550"]


@pytest.mark.parametrize(("port", "socket_port"), [(80, 4028), (18080, 18081)])
async def test_the_socket_stands_beside_the_web_server(port: int, socket_port: int) -> None:
    entry = DeviceEntry(
        id=DeviceId("m1"),
        kind=DeviceKind.MINER,
        adapter="vnish",
        host="127.0.0.2",
        port=port,
        zone=ZoneId("z"),
    )
    adapter = open_device(entry, None, timeout_s=3)
    assert vars(adapter._socket)["_port"] == socket_port
    await adapter.close()
