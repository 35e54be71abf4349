"""The adapter's own decisions: what is read when, what a preset write does, and the fallback to port 4028."""

import asyncio
import logging
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.emulator_wire import Stop
from firmware_adapters.miners.vnish import adapter as module
from firmware_adapters.miners.vnish.adapter import (
    AFTER_WRITE_S,
    VnishAdapter,
    capabilities,
    open_device,
)
from firmware_adapters.miners.vnish.emulator import Switcher, VnishEmulator
from firmware_adapters.miners.vnish.emulator_socket import reply
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.freshness import INFO_EVERY_S, PRESET_EVERY_S, SETTINGS_EVERY_S
from firmware_adapters.miners.vnish.session import API_KEY_USER
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from firmware_adapters.transport.line_json import MemoryLine
from shared.capabilities import Ability, DeviceFacts
from shared.clock import ManualClock
from shared.details import Fault
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Quality, Reading
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

    def pass_time(self, seconds: float) -> None:
        """The machine mines on for so long."""
        self.clock.advance(seconds)
        self.machine.set(state_time_s=self.machine.seen.state_time_s + seconds)


FAST = ["GET /status", "GET /summary"]
POLL_S = 10.0
HOUR_READS = 360


# ---------------------------------------------------------------- reading


async def test_a_read_is_two_requests_and_the_slower_pages_come_at_their_own_cadence() -> None:
    bench = Bench()
    counts: Counter[str] = Counter()
    for number in range(HOUR_READS):
        await bench.adapter.read()
        asked = bench.asked()
        assert [page for page in asked if page in FAST] == FAST
        counts.update(asked)
        assert ("GET /perf-summary" in asked) == (number * POLL_S % PRESET_EVERY_S == 0)
        assert ("GET /settings" in asked) == (number * POLL_S % SETTINGS_EVERY_S == 0)
        bench.pass_time(POLL_S)
    assert counts["GET /info"] == counts["POST /unlock"] == 1
    assert counts.total() / HOUR_READS < 2.25


async def test_between_its_turns_a_read_is_two_requests_and_nothing_else() -> None:
    bench = Bench()
    await bench.adapter.read()
    bench.asked()
    for _ in range(5):
        bench.pass_time(POLL_S)
        await bench.adapter.read()
        assert bench.asked() == FAST


async def test_a_machine_that_is_stopped_is_as_cheap() -> None:
    bench = Bench(Machine(s21_pro(state=MinerState.STOPPED, state_time_s=0)))
    await bench.adapter.read()
    bench.asked()
    for _ in range(5):
        bench.clock.advance(POLL_S)
        seen = await bench.adapter.read()
        assert bench.asked() == FAST
        assert seen.preset is None, "nothing proves it"


async def test_while_it_changes_its_state_every_read_asks_which_preset_runs() -> None:
    bench = Bench()
    await bench.adapter.read()
    for state, since_s in ((MinerState.RESTARTING, 3), (MinerState.RESTARTING, 13), (MinerState.MINING, 2)):
        bench.machine.set(state=state, state_time_s=since_s)
        bench.clock.advance(POLL_S)
        bench.asked()
        await bench.adapter.read()
        assert "GET /perf-summary" in bench.asked()


async def test_who_it_is_is_asked_again_after_an_hour_and_where_it_may_have_rebooted() -> None:
    bench = Bench()
    await bench.adapter.read()
    bench.asked()
    bench.pass_time(INFO_EVERY_S - 1)
    await bench.adapter.read()
    assert "GET /info" not in bench.asked()
    bench.pass_time(1)
    await bench.adapter.read()
    assert "GET /info" in bench.asked()
    bench.machine.set(state_time_s=5, uptime_s=60.0)
    await bench.adapter.read()
    assert "GET /info" in bench.asked(), "it mines for less long than before"


async def test_without_a_credential_the_settings_are_not_asked_for() -> None:
    bench = Bench(credential=None)
    assert (await bench.adapter.read()).preset_requested is None
    assert not [page for page in bench.asked() if "settings" in page or "unlock" in page]


async def test_a_preset_that_was_not_asked_for_is_told_while_the_machine_proves_that_it_runs() -> None:
    bench = Bench()
    first = await bench.adapter.read()
    bench.pass_time(POLL_S)
    second = await bench.adapter.read()
    assert (first.preset, first.readings["preset_w"]) == ("2800", Reading(2800.0))
    assert (second.preset, second.readings["preset_w"]) == ("2800", Reading(2800.0, Quality.ESTIMATED))
    uptime_s = first.readings["uptime_s"].value
    assert uptime_s is not None
    assert second.readings["uptime_s"] == Reading(uptime_s + POLL_S, Quality.ESTIMATED)


async def test_a_preset_that_somebody_else_changed_is_never_told_from_memory() -> None:
    """The machine restarts and mines again between two reads; nobody saw another state."""
    bench = Bench()
    assert (await bench.adapter.read()).preset == "2800"
    bench.machine.set(preset="2550", state_time_s=4)
    bench.clock.advance(PRESET_EVERY_S / 2)
    assert (await bench.adapter.read()).preset == "2550"


async def test_a_machine_without_a_clock_of_its_own_proves_nothing() -> None:
    bench = Bench()
    _without(bench, "miner_state_time")
    assert (await bench.adapter.read()).preset == "2800"
    bench.clock.advance(POLL_S)
    seen = await bench.adapter.read()
    assert (seen.preset, "preset_w" in seen.readings) == (None, False)
    bench.clock.advance(POLL_S)
    assert (await bench.adapter.read()).preset == "2800", "asked again sooner"


async def test_a_change_without_a_restart_is_noticed_within_a_minute() -> None:
    bench = Bench()
    await bench.adapter.read()
    bench.machine.set(preset="2550")
    bench.pass_time(PRESET_EVERY_S)
    assert (await bench.adapter.read()).preset == "2550"


async def test_a_preset_page_that_hangs_does_not_take_every_read_to_its_deadline() -> None:
    bench = Bench(credential=None)
    bench.adapter._web_s = 0.01
    _broken(bench, "/perf-summary", None)
    await bench.adapter.read()
    bench.asked()
    bench.pass_time(POLL_S)
    await bench.adapter.read()
    assert bench.asked() == FAST


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
    bench.asked()
    await bench.adapter.read()
    assert bench.asked() == FAST


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


async def test_what_was_asked_for_comes_beside_what_runs_and_after_each_write() -> None:
    bench = Bench(Machine(s21_pro(preset="2550")), traps=Traps(settings_ignored=True))
    bench.emulator.settings._requested = "3160"
    first, second = await bench.adapter.read(), await bench.adapter.read()
    assert (first.preset, first.preset_requested) == ("2550", "3160")
    assert second.preset_requested is None, "not asked, so unknown"
    await bench.adapter.set_preset("2800")
    seen = [await bench.adapter.read() for _ in range(2)]
    assert [(one.preset, one.preset_requested) for one in seen] == [("2550", "3160")] * 2


@pytest.mark.parametrize("traps", [Traps(settings_broken=True), Traps(lockout_s=60)])
async def test_settings_that_cannot_be_read_cost_only_themselves(traps: Traps) -> None:
    bench = Bench(traps=traps)
    seen = await bench.adapter.read()
    assert (seen.preset, seen.preset_requested) == ("2800", None)
    assert seen.readings["power_w"].value == 2790


async def test_settings_that_hang_cost_only_themselves() -> None:
    bench = Bench()
    whole = bench.http._answer

    async def answer(request: HttpRequest) -> HttpReply:
        if request.path.endswith("/settings"):
            await asyncio.Event().wait()
        found = await whole(request)
        assert isinstance(found, HttpReply)
        return found

    adapter = VnishAdapter(MemoryHttp(answer), ADMIN, timeout_s=0.2, clock=bench.clock)
    seen = await adapter.read()
    assert (seen.preset, seen.preset_requested) == ("2800", None)


async def test_faults_come_with_each_read() -> None:
    assert (await Bench().adapter.read()).faults == ()
    broken = s21_pro(state=MinerState.FAILURE, failure_code=1002, description="Failed to parse")
    assert (await Bench(Machine(broken)).adapter.read()).faults == (
        Fault(code="1002", words="Failed to parse"),
    )


async def test_a_machine_that_rebooted_is_logged_in_to_anew_without_a_refusal() -> None:
    bench = Bench()
    await bench.adapter.read()
    await bench.adapter.set_preset("2550")
    bench.machine.set(uptime_s=120.0)
    bench.clock.advance(AFTER_WRITE_S + 1)
    bench.machine.set(state_time_s=30)
    await bench.adapter.read()
    bench.asked()
    await bench.adapter.stop_mining()
    assert bench.asked() == ["POST /unlock", "POST /mining/stop"]


def _without(bench: Bench, key: str) -> None:
    """No page has this key any more."""
    whole = bench.http._answer

    async def answer(request: HttpRequest) -> HttpReply:
        found = await whole(request)
        assert isinstance(found, HttpReply)
        return HttpReply(found.status, found.body.replace(key.encode(), b"something_else"))

    bench.http._answer = answer


def _broken(bench: Bench, page: str, reply: HttpReply | None) -> None:
    """Answer one page with `reply`; None hangs."""
    whole = bench.http._answer

    async def answer(request: HttpRequest) -> HttpReply:
        found = await whole(request)
        assert isinstance(found, HttpReply)
        if not request.path.endswith(page):
            return found
        if reply is None:
            await asyncio.Event().wait()
        assert reply is not None
        return reply

    bench.http._answer = answer


def _failing(bench: Bench, page: str, failure: DeviceError) -> None:
    """The wire fails under one page."""
    whole = bench.http._answer

    async def answer(request: HttpRequest) -> HttpReply | DeviceError:
        return failure if request.path.endswith(page) else await whole(request)

    bench.http._answer = answer


BROKEN = [HttpReply(500, b'{"err":"x"}'), HttpReply(404, b""), HttpReply(200, b"{"), HttpReply(200, b"[]")]


@pytest.mark.parametrize("reply", BROKEN)
async def test_a_broken_identity_costs_what_only_it_tells(reply: HttpReply) -> None:
    bench = Bench()
    await bench.adapter.read()
    _broken(bench, "/info", reply)
    bench.machine.set(state_time_s=5)
    for _ in range(10):
        seen = await bench.adapter.read()
        assert seen.readings["hashrate_ths"].value == 186, "its unit is known from before"
        assert "uptime_s" not in seen.readings
    fresh = Bench()
    _broken(fresh, "/info", reply)
    seen = await fresh.adapter.read()
    assert (seen.readings["hashrate_ths"].value, seen.algorithm) == (None, None)
    assert (seen.state, seen.readings["chip_temp_max_c"].value) == (MinerState.MINING, 65)
    assert seen.readings["power_w"].value == 2790


@pytest.mark.parametrize("known", [False, True])
async def test_an_identity_that_hangs_costs_what_only_it_tells(known: bool) -> None:
    bench = Bench(credential=None)
    if known:
        await bench.adapter.read()
    bench.adapter._web_s = 0.02
    _broken(bench, "/info", None)
    bench.machine.set(state_time_s=5)
    seen = await bench.adapter.read()
    assert (seen.state, seen.readings["chip_temp_max_c"].value) == (MinerState.MINING, 65)
    assert seen.readings["hashrate_ths"].value == (186 if known else None), "its unit is never guessed"
    assert "uptime_s" not in seen.readings


@pytest.mark.parametrize("failure", [DeviceTimeout("x"), Unreachable("x")])
async def test_an_identity_page_that_fails_on_the_wire_does_not_fail_the_read(failure: DeviceError) -> None:
    bench = Bench()
    _failing(bench, "/info", failure)
    seen = await bench.adapter.read()
    assert seen.readings["power_w"].value == 2790
    assert (seen.preset, seen.preset_requested) == ("2800", None)


async def test_a_machine_that_does_not_say_who_it_is_is_asked_again_once_a_minute() -> None:
    bench = Bench()
    whole = bench.http._answer
    _failing(bench, "/info", DeviceTimeout("x"))
    asked = 0
    for _ in range(18):
        await bench.adapter.read()
        asked += bench.asked().count("GET /info")
        bench.pass_time(POLL_S)
    assert asked == 3
    bench.http._answer = whole
    seen = await bench.adapter.read()
    assert seen.readings["hashrate_ths"].value == 186


async def test_state_and_readings_are_asked_for_before_who_it_is() -> None:
    bench = Bench()
    await bench.adapter.read()
    assert bench.asked()[:3] == [*FAST, "GET /info"]


@pytest.mark.parametrize("reply", BROKEN)
async def test_a_broken_status_is_made_up_for_by_the_summary(reply: HttpReply) -> None:
    bench = Bench(Machine(s21_pro(state=MinerState.AUTO_TUNING, throttle_pct=70)), version="1.3.4")
    _broken(bench, "/status", reply)
    seen = await bench.adapter.read()
    assert seen.state is MinerState.AUTO_TUNING
    assert seen.readings["throttle_pct"].value == 70
    bench.emulator.traps = Traps(miner_null=True)
    with pytest.raises((Busy, MalformedReply, Unsupported)):
        await bench.adapter.read()


async def test_a_page_of_the_preset_that_hangs_costs_the_preset() -> None:
    bench = Bench()
    _broken(bench, "/perf-summary", None)
    adapter = VnishAdapter(bench.http, ADMIN, timeout_s=0.2, clock=bench.clock)
    seen = await adapter.read()
    assert (seen.preset, seen.readings["power_w"].value) == (None, 2790)


async def test_a_summary_that_is_refused_is_made_up_for_by_the_socket() -> None:
    bench = Bench()
    _broken(bench, "/summary", HttpReply(500, b'{"err":"starting"}'))
    socket = MemoryLine({"stats": stats_reply()})
    adapter = VnishAdapter(bench.http, ADMIN, timeout_s=5, socket=socket, clock=bench.clock)
    assert (await adapter.read()).readings["chip_temp_max_c"].value == 65


# ---------------------------------------------------------------- boards, chips, logs, history


@pytest.mark.parametrize(
    ("version", "page", "tried"),
    [("1.2.0-rc5", "/chips", 3), ("1.2.7", "/chains", 2), ("1.3.4", "/boards", 1)],
)
async def test_chips_are_looked_for_once_where_each_version_has_them(
    version: str, page: str, tried: int
) -> None:
    bench = Bench(version=version)
    await bench.adapter.read()
    bench.asked()
    assert len(await bench.adapter.chips()) == 3 * 65
    assert len(bench.asked()) == tried
    await bench.adapter.chips()
    assert bench.asked() == [f"GET {page}"]
    bench.emulator.version = "1.3.4"
    bench.emulator._v13, bench.emulator._first = True, False
    if version != "1.3.4":
        with pytest.raises(Unsupported):
            await bench.adapter.chips()
    assert len(await bench.adapter.chips()) == 3 * 65, "after an upgrade it is looked for again"


async def test_a_page_for_people_is_not_taken_for_chips() -> None:
    bench = Bench()
    whole = bench.http._answer

    async def answer(request: HttpRequest) -> HttpReply:
        found = await whole(request)
        assert isinstance(found, HttpReply)
        return HttpReply(200, b"<!doctype html>") if found.status == 404 else found

    bench.http._answer = answer
    assert len(await bench.adapter.chips()) == 3 * 65


async def test_boards_without_factory_info_have_no_serial_numbers() -> None:
    assert [found.serial for found in await Bench().adapter.boards()] == ["SN0001-1", "SN0001-2", "SN0001-3"]
    first = await Bench(version="1.2.0-beta10").adapter.boards()
    assert [(found.serial, found.power_w) for found in first] == [("", 900)] * 3


async def test_logs_are_the_declared_ones_and_the_end_of_long_ones() -> None:
    bench = Bench(version="1.3.4", traps=Traps(long_log=True))
    (logs,) = [f.choices for f in (await bench.adapter.facts()).capabilities if f.ability is Ability.LOGS]
    assert "hwscan" in logs
    for name in logs:
        told = await bench.adapter.log(name)
        assert told.endswith("state mining\n")
        assert len(told) <= 256 * 1024
    for other in ("*", "hwscan ", "../settings", ""):
        with pytest.raises(Unsupported, match="has no log"):
            await bench.adapter.log(other)
    with pytest.raises(Unsupported):
        await Bench().adapter.log("hwscan")


@pytest.mark.parametrize("version", ["1.2.0-rc5", "1.2.7", "1.3.4"])
async def test_a_gap_is_filled_from_the_machines_own_memory(version: str) -> None:
    bench = Bench(version=version)
    for _ in range(6):
        await bench.adapter.read()
        bench.clock.advance(600)
    told = await bench.adapter.history(3600.0, 600.0)
    ages_s = [(bench.clock.utc_ms() - point.at_ms) / 1000 for point in told.points]
    assert len(ages_s) == 7
    assert [old - new for old, new in pairwise(ages_s)] == [600.0] * 6
    assert ages_s[-1] < 600
    assert told.points[0].hashrate_ths == 186
    assert told.points[0].chip_temp_max_c == 65
    assert told.points[0].power_w == (None if "rc" in version else 2790)


async def test_a_history_is_in_the_machines_own_time_and_names_what_happened() -> None:
    bench = Bench(traps=Traps(clock_skew_s=-7200.0))
    await bench.adapter.read()
    await bench.adapter.stop_mining()
    bench.clock.advance(60)
    await bench.adapter.read()
    told = await bench.adapter.history(3600.0, 60.0)
    assert [mark.what for mark in told.marks] == ["stop"]
    assert bench.clock.utc_ms() - told.points[-1].at_ms == pytest.approx(7_200_000, abs=60_000)


@pytest.mark.parametrize(
    ("span", "step", "asked"),
    [
        (3600.0, 900.0, "time_slice=3600&step=900"),
        (1e9, 60.0, "time_slice=259200&step=260"),
        (0.5, 0.1, "time_slice=60&step=60"),
    ],
)
async def test_a_history_never_asks_for_more_than_a_reply_holds(span: float, step: float, asked: str) -> None:
    bench = Bench()
    await bench.adapter.history(span, step)
    assert bench.asked()[-1] == f"GET /metrics?{asked}"


@pytest.mark.parametrize("span", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_history_of_nothing_is_unsupported(span: float) -> None:
    with pytest.raises(Unsupported):
        await Bench().adapter.history(span, 60.0)


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


@pytest.mark.parametrize(
    "failure", [DeviceTimeout("hung"), Unreachable("closed"), Unsupported("404"), MalformedReply("no JSON")]
)
async def test_whatever_the_web_server_fails_with_the_socket_tells_sample_and_boards(
    failure: DeviceError,
) -> None:
    socket = MemoryLine({"stats": stats_reply()})
    adapter = VnishAdapter(MemoryHttp(_Web(failure).answer), None, timeout_s=5, socket=socket)
    seen = await adapter.read()
    assert seen.readings["hashrate_ths"].value is not None
    assert [one.index for one in await adapter.boards()] == [1, 2, 3]


async def test_a_scrypt_machines_hashrate_is_not_guessed_from_the_socket() -> None:
    web = _Web(None)
    web.emulator = emulator_of(Machine(s21_pro(algorithm=Algorithm.SCRYPT)), ManualClock())
    socket = MemoryLine({"stats": stats_reply()})
    adapter = VnishAdapter(MemoryHttp(web.answer), None, timeout_s=5, socket=socket)
    await adapter.read()
    web.failure = DeviceTimeout("hung")
    seen = await adapter.read()
    assert seen.readings["hashrate_ths"].value is None
    assert seen.readings["chip_temp_max_c"].value == 65
    assert seen.faults == ()


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


async def test_machines_with_the_same_ladder_keep_one_between_them() -> None:
    """Of five thousand, each would keep 3 kB for as long as it is polled."""
    first, second = await Bench().adapter.facts(), await Bench().adapter.facts()
    assert first.presets
    assert first.presets is second.presets


# ---------------------------------------------------------------- facts of a machine that is half silent


SILENT = [DeviceTimeout("x"), Unreachable("x"), Busy("x"), MalformedReply("x")]
LADDER = "/autotune/presets"


async def _asked_again(bench: Bench, failures: int) -> DeviceFacts:
    for _ in range(failures):
        with pytest.raises(DeviceError):
            await bench.adapter.facts()
    return await bench.adapter.facts()


def abilities_of(facts: DeviceFacts) -> set[Ability]:
    return {found.ability for found in facts.capabilities}


@pytest.mark.parametrize("failure", [*SILENT, Unsupported("x")])
async def test_a_silent_ladder_is_the_one_that_it_told_in_this_boot(failure: DeviceError) -> None:
    bench = Bench()
    told = await bench.adapter.facts()
    _failing(bench, LADDER, failure)
    bench.clock.advance(600)
    bench.machine.set(uptime_s=bench.machine.seen.uptime_s + 600)
    assert await bench.adapter.facts() == told


@pytest.mark.parametrize("failure", [*SILENT, Unsupported("x")])
async def test_a_ladder_that_nobody_was_told_is_asked_for_again_and_then_empty(failure: DeviceError) -> None:
    bench = Bench()
    _failing(bench, LADDER, failure)
    facts = await _asked_again(bench, 1)
    assert facts.presets == ()
    assert Ability.MINING in abilities_of(facts), "it can be told to stop"
    assert not abilities_of(facts) & {Ability.PRESET, Ability.PRESET_LIST, Ability.POWER_LIMIT}
    assert not facts.default_password, "nobody was let in, so nobody knows"


async def test_after_a_reboot_an_old_ladder_is_not_told() -> None:
    bench = Bench()
    await bench.adapter.facts()
    _failing(bench, LADDER, DeviceTimeout("x"))
    bench.clock.advance(600)
    bench.machine.set(uptime_s=60.0)
    assert (await _asked_again(bench, 1)).presets == ()


@pytest.mark.parametrize("failure", SILENT)
async def test_without_a_model_page_there_is_no_ability_whose_span_it_tells(failure: DeviceError) -> None:
    bench = Bench(version="1.3.4")
    whole = bench.http._answer
    _failing(bench, "/model", failure)
    facts = await _asked_again(bench, 1)
    assert len(facts.presets) == 4
    assert not abilities_of(facts) & {Ability.POWER_LIMIT, Ability.COOLING_TARGET, Ability.FAN_MODE}
    bench.http._answer = whole
    assert abilities_of(await bench.adapter.facts()) > abilities_of(facts)
    _failing(bench, "/model", failure)
    assert Ability.POWER_LIMIT in abilities_of(await bench.adapter.facts()), "told before, in this boot"


@pytest.mark.parametrize("failure", [*SILENT, Unsupported("x")])
async def test_facts_do_not_need_the_summary(failure: DeviceError) -> None:
    bench = Bench(version="1.3.4")
    _failing(bench, "/summary", failure)
    facts = await bench.adapter.facts()
    assert len(facts.presets) == 4
    assert Ability.FAN_MODE in abilities_of(facts), "control looks how it is cooled before it writes"


async def test_who_it_is_has_to_be_told() -> None:
    bench = Bench()
    await bench.adapter.facts()
    _failing(bench, "/info", DeviceTimeout("x"))
    for _ in range(3):
        with pytest.raises(DeviceTimeout):
            await bench.adapter.facts()


async def test_a_refused_login_is_not_a_silent_page() -> None:
    bench = Bench(password="ours")
    for _ in range(3):
        with pytest.raises(AuthFailed):
            await bench.adapter.facts()


@pytest.mark.parametrize("failure", SILENT)
async def test_whether_the_default_password_opens_stands_while_the_machine_does_not_say(
    failure: DeviceError,
) -> None:
    key = "k" * 32
    bench = Bench(api_keys=[key], credential=Credential(user=API_KEY_USER, secret=key))
    assert (await bench.adapter.facts()).default_password
    bench.clock.advance(module.PROBE_EVERY_S + 1)
    whole = bench.http._answer
    _failing(bench, "/unlock", failure)
    assert (await bench.adapter.facts()).default_password
    bench.http._answer = whole
    bench.asked()
    assert (await bench.adapter.facts()).default_password
    assert "POST /unlock" in bench.asked(), "asked again with the next facts"


async def test_a_machine_that_is_locked_is_not_asked_about_the_default_password() -> None:
    key = "k" * 32
    bench = Bench(api_keys=[key], credential=Credential(user=API_KEY_USER, secret=key))
    bench.adapter._session.locked_for(3600)
    assert not (await bench.adapter.facts()).default_password
    assert "POST /unlock" not in bench.asked()
    bench.clock.advance(3601)
    assert (await bench.adapter.facts()).default_password


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


async def test_firmware_that_was_never_seen_is_warned_of_once_and_still_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(version="1.4.0")
    for _ in range(3):
        facts = await bench.adapter.facts()
        assert (await bench.adapter.read()).readings["power_w"].value == 2790
    assert facts.firmware == "Vnish 1.4.0"
    assert [record.getMessage() for record in caplog.records] == [
        "vnish runs Vnish 1.4.0, which was never tested: read only"
    ]


async def test_a_machine_that_is_locked_by_another_is_not_tried() -> None:
    bench = Bench()
    for _ in range(5):
        with pytest.raises(Stop):
            bench.emulator.logins.unlock("guess", None)
    await bench.adapter.read()
    with pytest.raises(AuthFailed, match="locked"):
        await bench.adapter.stop_mining()
    assert not [path for path in bench.asked() if "unlock" in path]
