"""The adapter in front of the emulator: what is asked when, modes, the socket behind, what is refused."""

import logging
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.antminer.adapter import SLOW_EVERY, AntminerAdapter, capabilities
from firmware_adapters.miners.antminer.control import AFTER_WRITE_S
from firmware_adapters.miners.antminer.emulator import AntminerEmulator
from firmware_adapters.miners.antminer.emulator_traps import Traps
from firmware_adapters.registry import open_device
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from firmware_adapters.transport.line_json import MemoryLine
from shared.capabilities import Ability
from shared.clock import ManualClock, SystemClock
from shared.details import PoolState
from shared.errors import AuthFailed, Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, MinerState
from support.antminer import ROOT, emulator_of, in_memory, opened
from support.line_fuzz import read_is_sound
from support.miners import Machine, board, on_loopback, s21_pro
from support.web_memory import spoiled

SLOW_IS_FINE = [HealthCheck.too_slow]
"""A shared machine that is busy draws slowly; that says nothing of what is tested."""

ALL = {one.ability for one in capabilities()}


class Scene:
    """A machine, its emulator and the adapter, without sockets."""

    def __init__(self, machine: Machine | None = None, *, key: Credential = ROOT, **options: object) -> None:
        self.clock = ManualClock()
        self.machine = machine or Machine()
        self.emulator: AntminerEmulator = emulator_of(self.machine, self.clock, **options)
        self.http = in_memory(self.emulator)
        self.adapter = AntminerAdapter(self.http, key, timeout_s=5, clock=self.clock)

    def asked(self) -> list[str]:
        """The pages that were asked for with a proof of the password, since the last call."""
        pages = [r.path.removeprefix("/cgi-bin/") for r in self.http.requests if "Authorization" in r.headers]
        self.http.requests.clear()
        return pages


def entry(host: str, port: int) -> DeviceEntry:
    return DeviceEntry(
        id=DeviceId("m"), kind=DeviceKind.MINER, adapter="antminer", host=host, port=port, zone=ZoneId("z")
    )


# ---------------------------------------------------------------- reading


async def test_a_read_is_one_page_and_the_rest_comes_at_its_own_cadence() -> None:
    scene = Scene()
    await scene.adapter.read()
    assert scene.asked() == ["stats.cgi", "get_miner_conf.cgi", "pools.cgi", "summary.cgi"]
    asked = []
    for _ in range(SLOW_EVERY - 1):
        await scene.adapter.read()
        asked.append(scene.asked())
    assert asked == [["stats.cgi"], ["stats.cgi", "pools.cgi"], ["stats.cgi"], ["stats.cgi", "pools.cgi"]]


async def test_the_first_read_tells_everything() -> None:
    view = s21_pro(last_share_age_s=7.0, shares_stale=2)
    seen = await Scene(Machine(view)).adapter.read()
    told = {name: found.value for name, found in seen.readings.items()}
    assert told["shares_accepted"] == 4057
    assert (told["shares_rejected"], told["shares_stale"], told["last_share_age_s"]) == (8, 2, 7)
    assert (seen.state, seen.preset, seen.preset_requested) == (MinerState.MINING, "normal", "normal")
    assert seen.faults == ()


async def test_what_was_not_asked_for_is_absent_and_not_remembered() -> None:
    scene = Scene()
    await scene.adapter.read()
    seen = await scene.adapter.read()
    assert "shares_accepted" not in seen.readings
    assert seen.preset_requested is None
    assert seen.faults is None


async def test_power_is_never_a_number() -> None:
    for view in (s21_pro(), s21_pro(power_metered=True), s21_pro(state=MinerState.STOPPED)):
        assert (await Scene(Machine(view)).adapter.read()).readings["power_w"] == MISSING


async def test_a_sleeping_machine_is_stopped_and_what_wakes_is_starting() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    assert (await scene.adapter.read()).state is MinerState.STOPPED
    await scene.adapter.start_mining()
    scene.machine.set(state=MinerState.STARTING)
    seen = await scene.adapter.read()
    assert (seen.state, seen.preset_requested) == (MinerState.STARTING, "normal")
    scene.clock.advance(1000)
    assert (await scene.adapter.read()).state is MinerState.UNKNOWN, "too long to be starting still"


async def test_a_machine_that_ends_its_mining_process_in_sleep_is_stopped_too() -> None:
    scene = Scene(traps=Traps(silent_in_sleep=True))
    await scene.adapter.stop_mining()
    seen = await scene.adapter.read()
    assert seen.state is MinerState.STOPPED
    assert set(seen.readings.values()) == {MISSING}, "no number from a process that is not there"
    scene.emulator.mode = 0
    scene.emulator.traps = Traps()
    await scene.adapter.read()


async def test_a_mining_process_that_is_silent_without_reason_is_a_failed_read() -> None:
    scene = Scene(traps=Traps(silent_in_sleep=True))
    await scene.adapter.stop_mining()
    real = scene.http._answer

    async def contradict(request: HttpRequest) -> HttpReply:
        reply = await real(request)
        assert isinstance(reply, HttpReply)
        told = reply.body.replace(b'"bitmain-work-mode":"1"', b'"bitmain-work-mode":"0"')
        return HttpReply(reply.status, told, reply.headers)

    scene.http._answer = contradict
    with pytest.raises(Busy):
        await scene.adapter.read()


async def test_an_optional_page_that_fails_costs_its_points_only() -> None:
    scene = Scene()
    real = scene.http._answer

    async def answer(request: HttpRequest) -> HttpReply | DeviceError:
        broken = {"pools.cgi": HttpReply(200, b"<html>"), "summary.cgi": HttpReply(404, b"")}
        return broken.get(request.path.removeprefix("/cgi-bin/")) or await real(request)

    scene.http._answer = answer
    seen = await scene.adapter.read()
    assert "shares_accepted" not in seen.readings
    assert seen.faults is None
    assert seen.readings["hashrate_ths"].value == 186


# ---------------------------------------------------------------- facts, boards, pools, log


async def test_who_it_is() -> None:
    facts = await Scene().adapter.facts()
    assert (facts.model, facts.firmware) == ("Antminer S21 Pro", "Fri Mar 14 16:23:42 CST 2025")
    assert (facts.mac, facts.serial, facts.algorithm) == ("aa:bb:cc:00:00:01", "SN0001", "sha256d")
    assert {one.ability for one in facts.capabilities} == ALL
    assert facts.presets == (), "it tells no watts of its modes, so there is no ladder"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (Credential(user=None, secret="root"), True),
        (Credential(user="root", secret="root"), True),
        (Credential(user="root", secret="better"), False),
    ],
)
async def test_the_default_password_is_told(key: Credential, told: bool) -> None:
    scene = Scene(key=key, password=key.secret)
    assert (await scene.adapter.facts()).default_password is told


async def test_the_mac_comes_from_the_network_page_where_the_system_page_has_none() -> None:
    scene = Scene()
    real = scene.http._answer

    async def answer(request: HttpRequest) -> HttpReply:
        reply = await real(request)
        assert isinstance(reply, HttpReply)
        if request.path.endswith("system_info.cgi"):
            return HttpReply(reply.status, reply.body.replace(b'"macaddr":', b'"other":'), reply.headers)
        return reply

    scene.http._answer = answer
    assert (await scene.adapter.facts()).mac == "aa:bb:cc:00:00:01"


async def test_boards_and_pools() -> None:
    scene = Scene()
    boards = await scene.adapter.boards()
    assert [(one.index, one.working, one.chips, one.serial) for one in boards] == [
        (index, True, 65, f"SN0001-{index}") for index in range(3)
    ]
    assert (boards[0].hashrate_ths, boards[0].hashrate_nominal_ths) == (62.0, 62.5)
    assert (boards[0].frequency_mhz, boards[0].hw_errors) == (470, 19)
    (pool,) = await scene.adapter.pools()
    assert (pool.index, pool.url, pool.user) == (0, "stratum+tcp://pool.invalid:3333", "site.worker")
    assert pool.state is PoolState.ACTIVE, "the first that lives, because the page does not say"
    assert (pool.accepted, pool.rejected, pool.stale) == (4057, 8, 0)


async def test_the_log() -> None:
    scene = Scene()
    assert "This is Antminer S21 Pro" in await scene.adapter.log("kernel")
    with pytest.raises(Unsupported, match="kernel"):
        await scene.adapter.log("../../etc/shadow")


# ---------------------------------------------------------------- control


async def test_a_mode_is_changed_by_the_whole_configuration() -> None:
    scene = Scene()
    before = scene.emulator.configuration(scene.machine.view())
    await scene.adapter.set_preset("low-power")
    assert scene.emulator.configuration(scene.machine.view()) == {**before, "bitmain-work-mode": "2"}
    assert (await scene.adapter.read()).preset == "low-power"


@pytest.mark.parametrize("numbers", [False, True])
async def test_the_mode_is_written_as_the_machine_writes_it(numbers: bool) -> None:
    scene = Scene(traps=Traps(mode_as_number=numbers))
    await scene.adapter.stop_mining()
    sent = next(request for request in scene.http.requests if b"miner-mode" in request.body)
    assert (b'"miner-mode":1' in sent.body) == numbers
    assert scene.machine.seen.state is MinerState.STOPPED


async def test_a_start_goes_back_to_the_mode_before() -> None:
    scene = Scene()
    await scene.adapter.set_preset("low-power")
    await scene.adapter.stop_mining()
    await scene.adapter.start_mining()
    assert scene.emulator.mode == 2, "a start that ends in more power than before would be a raise"


@pytest.mark.parametrize(
    ("safe", "mode"), [(None, 2), ("low-power", 2), ("sleep", 2), ("2800", 2), ("normal", 0)]
)
async def test_after_a_restart_a_sleeping_machine_wakes_in_what_the_site_calls_safe(
    safe: str | None, mode: int
) -> None:
    """It does not tell what it ran in before sleep, and normal might be a raise that nobody asked for."""
    scene = Scene()
    await scene.adapter.set_preset("low-power")
    await scene.adapter.stop_mining()
    restarted = AntminerAdapter(scene.http, ROOT, timeout_s=5, clock=scene.clock, safe_preset=safe)
    await restarted.read()
    await restarted.start_mining()
    assert scene.emulator.mode == mode


async def test_after_a_restart_a_running_machine_goes_back_to_the_mode_it_is_seen_in() -> None:
    scene = Scene()
    restarted = AntminerAdapter(scene.http, ROOT, timeout_s=5, clock=scene.clock, safe_preset="low-power")
    await restarted.stop_mining()
    await restarted.start_mining()
    assert scene.emulator.mode == 0


async def test_the_site_entry_says_what_is_safe() -> None:
    scene = Scene()
    opened_for_site = open_device(
        msgspec.structs.replace(entry("127.0.0.1", 80), safe_preset="normal"), ROOT, timeout_s=5
    )
    assert isinstance(opened_for_site, AntminerAdapter)
    assert opened_for_site._wakes_in == "normal"
    assert scene.adapter._wakes_in == "low-power"
    await opened_for_site.close()


async def test_choosing_a_mode_never_starts_a_machine() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    scene.machine.commands.clear()
    with pytest.raises(Busy, match="sleeps"):
        await scene.adapter.set_preset("normal")
    assert scene.machine.commands == []


async def test_a_start_of_a_machine_that_does_not_sleep_is_busy_and_restarts_nothing() -> None:
    scene = Scene()
    with pytest.raises(Busy):
        await scene.adapter.start_mining()
    assert scene.machine.commands == []


async def test_a_stop_is_asked_again_of_a_machine_that_ignored_it() -> None:
    scene = Scene(traps=Traps(settings_ignored=True))
    await scene.adapter.stop_mining()
    assert (await scene.adapter.read()).state is MinerState.MINING
    scene.emulator.traps = Traps()
    await scene.adapter.stop_mining()
    assert (await scene.adapter.read()).state is MinerState.STOPPED


async def test_a_refusal_inside_a_good_reply_is_busy() -> None:
    scene = Scene(traps=Traps(settings_refused=True))
    with pytest.raises(Busy, match="Request error"):
        await scene.adapter.stop_mining()


async def test_a_stop_lasts_over_a_reboot() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    await scene.adapter.reboot()
    assert scene.http.requests[-1].method == "GET", "as the page itself asks for it"
    assert (await scene.adapter.read()).state is MinerState.STOPPED


async def test_blinking() -> None:
    scene = Scene()
    for on in (True, False):
        await scene.adapter.locate(on=on)
        assert scene.machine.seen.locating is on


async def test_the_mode_is_read_back_after_a_write() -> None:
    scene = Scene()
    for _ in range(2):
        await scene.adapter.read()
    await scene.adapter.set_preset("low-power")
    scene.asked()
    await scene.adapter.read()
    assert "get_miner_conf.cgi" in scene.asked()
    scene.clock.advance(AFTER_WRITE_S + 1)
    await scene.adapter.read()
    assert "get_miner_conf.cgi" not in scene.asked()


async def test_a_build_without_modes_declares_none_and_refuses_them() -> None:
    scene = Scene(traps=Traps(no_modes=True))
    declared = {one.ability for one in (await scene.adapter.facts()).capabilities}
    assert declared == ALL - {Ability.MINING, Ability.PRESET}
    for command in (
        scene.adapter.stop_mining(),
        scene.adapter.start_mining(),
        scene.adapter.set_preset("normal"),
    ):
        with pytest.raises(Unsupported):
            await command
    await scene.adapter.locate(on=True)
    assert scene.machine.commands == ["locate on"]


async def test_a_build_never_seen_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_adapters.miners.antminer.emulator_pages.BUILD", "AM-2041.3")
    scene = Scene()
    for command in (scene.adapter.stop_mining(), scene.adapter.reboot(), scene.adapter.locate(on=True)):
        with pytest.raises(Unsupported, match="not known"):
            await command
    assert scene.machine.commands == []
    declared = {one.ability for one in (await scene.adapter.facts()).capabilities}
    assert declared == {Ability.TELEMETRY, Ability.BOARDS, Ability.POOLS, Ability.LOGS}
    assert (await scene.adapter.read()).readings["hashrate_ths"].value == 186


# ---------------------------------------------------------------- the socket behind


async def test_the_socket_answers_while_the_web_server_fails_and_that_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    emulator = emulator_of(Machine())
    async with opened(emulator, "127.9.1.1", timeout_s=2.0) as adapter:
        await adapter.read()
        emulator.traps = Traps(hang=True)
        for _ in range(2):
            seen = await adapter.read()
            assert seen.readings["hashrate_ths"].value == 186
            assert seen.readings["chip_temp_max_c"].value == 65
            assert (seen.state, seen.preset) == (MinerState.MINING, None)
        emulator.traps = Traps()
        assert (await adapter.read()).preset == "normal"
    words = [record.message for record in caplog.records if "antminer" in record.name]
    assert [text.partition(",")[0] for text in words] == [
        "antminer: reading port 4028",
        "antminer: the web server answers again",
    ]


async def test_a_refused_password_still_leaves_the_socket() -> None:
    emulator = emulator_of(Machine(), password="changed")
    async with opened(emulator, "127.9.1.2", timeout_s=10.0) as adapter:
        assert (await adapter.read()).readings["board_temp_max_c"].value == 50
        with pytest.raises(AuthFailed):
            await adapter.facts()
        with pytest.raises(AuthFailed):
            await adapter.stop_mining()


async def test_where_both_fail_the_web_servers_failure_is_raised() -> None:
    async def refuse(_request: HttpRequest) -> MalformedReply:
        return MalformedReply("nonsense")

    adapter = AntminerAdapter(MemoryHttp(refuse), ROOT, timeout_s=5, socket=MemoryLine({}))
    with pytest.raises(MalformedReply, match="nonsense"):
        await adapter.read()


async def test_a_read_has_one_deadline_over_all_its_pages() -> None:
    emulator = emulator_of(Machine(), SystemClock(), traps=Traps(slow_s=0.25))
    async with opened(emulator, "127.9.1.3", timeout_s=0.6) as adapter:
        adapter._socket = None
        with pytest.raises(DeviceTimeout):
            await adapter.read()


async def test_the_registry_puts_the_socket_beside_the_web_server() -> None:
    emulator = emulator_of(Machine(), SystemClock())
    async with on_loopback({"127.9.1.4": emulator}, beside=True) as (port, socket_port):
        assert socket_port == port + 1
        adapter = open_device(entry("127.9.1.4", port), ROOT, timeout_s=10.0)
        assert (await adapter.read()).preset == "normal"
        emulator.traps = Traps(garbage=True)
        seen = await adapter.read()
        assert (seen.preset, seen.readings["hashrate_ths"].value) == (None, 186)
        await adapter.close()


# ---------------------------------------------------------------- pages that are damaged, or poor


async def test_a_page_without_the_model_is_read_with_the_name_that_was_asked_for_once() -> None:
    wet = board(water_in_c=33.0, water_out_c=41.0, chip_temp_max_c=None, chip_temp_min_c=None)
    scene = Scene(Machine(s21_pro(model="Antminer S19 Pro Hyd.", boards=(wet,), fans=())))
    real = scene.http._answer

    async def nameless(request: HttpRequest) -> HttpReply:
        reply = await real(request)
        assert isinstance(reply, HttpReply)
        return HttpReply(reply.status, reply.body.replace(b'"type":"Antminer', b'"sort":"'), reply.headers)

    scene.http._answer = nameless
    for _ in range(2):
        assert (await scene.adapter.read()).readings["chip_temp_max_c"] == MISSING, "water is no chip"
    assert scene.asked().count("get_system_info.cgi") == 1
    assert (await scene.adapter.boards())[0].water_out_c == 41


async def test_a_long_log_is_read_to_its_end() -> None:
    emulator = emulator_of(Machine())
    emulator.log = "x" * 400_000 + " the end"
    async with on_loopback({"127.9.1.5": emulator}) as (port, _):
        adapter = open_device(entry("127.9.1.5", port), ROOT, timeout_s=2.0)
        assert isinstance(adapter, AntminerAdapter)
        told = await adapter.log("kernel")
        await adapter.close()
    assert told.endswith("the end")
    assert len(told) == 256 * 1024


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(spoiled(), st.booleans())
async def test_damaged_pages_end_in_typed_failures_and_readings_that_can_be(
    spoil: Callable[[str, bytes], HttpReply | None], sleeps: bool
) -> None:
    machine = Machine(s21_pro(state=MinerState.STOPPED if sleeps else MinerState.MINING))
    adapter = AntminerAdapter(in_memory(emulator_of(machine), spoil), ROOT, timeout_s=5, clock=ManualClock())
    await read_is_sound(
        adapter,
        adapter.boards,
        adapter.pools,
        lambda: adapter.log("kernel"),
        adapter.stop_mining,
        adapter.start_mining,
        lambda: adapter.set_preset("low-power"),
        lambda: adapter.locate(on=True),
        adapter.reboot,
    )
