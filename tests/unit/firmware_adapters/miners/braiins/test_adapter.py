"""One Braiins OS machine through its adapter: cadence, closed pages, limits, fans, releases, defaults."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import WRITES, Credential
from firmware_adapters.miners.braiins.adapter import BraiinsAdapter, open_device
from firmware_adapters.miners.braiins.emulator import BraiinsEmulator, Traps
from firmware_adapters.registry import ADAPTERS
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.capabilities import Ability
from shared.clock import ManualClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, MinerState
from support.miners import Machine
from support.web_memory import failures, in_memory, spoiled


def opened(
    machine: Machine | None = None, *, password: str = "kept", version: str = "25.11", **traps: object
) -> tuple[BraiinsAdapter, BraiinsEmulator, MemoryHttp, ManualClock]:
    clock = ManualClock()
    known = Traps(**traps)  # type: ignore[arg-type] # named by the tests
    emulator = BraiinsEmulator(
        machine or Machine(), clock=clock, version=version, password=password, traps=known
    )
    http = in_memory(emulator)
    key = Credential(user="root", secret=password)
    return BraiinsAdapter(http, key, timeout_s=2, clock=clock), emulator, http, clock


def asked(http: MemoryHttp) -> list[str]:
    """The pages asked since the last time, without logins."""
    paths = [request.path.removeprefix("/api/v1/") for request in http.requests]
    http.requests.clear()
    return [path for path in paths if path != "auth/login"]


async def test_what_is_asked_when() -> None:
    adapter, _, http, _ = opened()
    await adapter.facts()
    assert asked(http)[-3:] == ["miner/details", "version", "configuration/constraints"]
    always = ["miner/details", "miner/stats", "cooling/state", "miner/hw/hashboards"]
    target, rare = "performance/tuner-state", ["configuration/miner", "miner/errors"]
    turns = [[*always, target, *rare], always, [*always, target], always, [*always, target], [*always, *rare]]
    for pages in turns:
        await adapter.read()
        assert asked(http) == pages


async def test_a_cooling_target_is_read_back_soon_and_rarely_afterwards() -> None:
    adapter, _, _, clock = opened()
    assert (await adapter.read()).readings["setpoint_c"].value == 60
    assert "setpoint_c" not in (await adapter.read()).readings
    await adapter.set_cooling_target(52)
    assert (await adapter.read()).readings["setpoint_c"].value == 52
    await adapter.set_fan_mode("manual", 90)
    assert (await adapter.read()).readings["setpoint_c"] == MISSING, "by hand there is none"
    clock.advance(121)
    assert "setpoint_c" not in (await adapter.read()).readings


async def test_a_target_that_was_not_asked_for_is_not_remembered() -> None:
    adapter, _, _, clock = opened()
    assert (await adapter.read()).readings["power_limit_w"].value == 2800
    assert "power_limit_w" not in (await adapter.read()).readings
    await adapter.set_power_limit(2600)
    for _ in range(3):
        assert (await adapter.read()).readings["power_limit_w"].value == 2600
    clock.advance(121)
    assert "power_limit_w" not in (await adapter.read()).readings


async def test_a_machine_whose_pages_are_closed_while_stopped_reads_as_stopped_and_unknown() -> None:
    machine = Machine()
    adapter, _, _, _ = opened(machine, closed_when_stopped=True)
    await adapter.stop_mining()
    seen = await adapter.read()
    assert seen.state is MinerState.STOPPED
    for point in ("hashrate_ths", "power_w", "board_temp_max_c"):
        assert seen.readings[point] == MISSING
    assert seen.readings["fan_rpm.0"].value == 5880, "the fans are told all the same"
    with pytest.raises(Busy):
        await adapter.boards()
    await adapter.start_mining()
    assert (await adapter.read()).readings["hashrate_ths"].value is not None


async def test_a_machine_that_pauses_is_stopped_and_not_started_is_another_thing() -> None:
    adapter, emulator, _, _ = opened()
    await adapter.pause_mining()
    assert (await adapter.read()).state is MinerState.STOPPED
    page = emulator.details(emulator.machine.view())
    assert isinstance(page, dict)
    assert page["status"] == 3
    await adapter.resume_mining()
    assert (await adapter.read()).state is MinerState.MINING
    await adapter.stop_mining()
    with pytest.raises(Busy):
        await adapter.resume_mining()


async def test_a_machine_that_starts_up_is_not_stopped() -> None:
    machine = Machine()
    machine.set(state=MinerState.STARTING, state_time_s=30)
    adapter, _, _, _ = opened(machine)
    assert (await adapter.read()).state is MinerState.INITIALIZING


async def test_stopping_a_stopped_machine_is_accepted_or_busy_as_the_machine_has_it() -> None:
    adapter, emulator, _, _ = opened()
    await adapter.stop_mining()
    await adapter.stop_mining()
    emulator.traps = Traps(conflict_is_500=True)
    with pytest.raises(Busy):
        await adapter.stop_mining()


async def test_the_power_target_is_a_closed_loop_in_the_machines_own_range() -> None:
    machine = Machine()
    adapter, _, _, _ = opened(machine)
    facts = await adapter.facts()
    limit = next(found for found in facts.capabilities if found.ability is Ability.POWER_LIMIT)
    assert (limit.closed_loop, limit.low, limit.high) == (True, 2550.0, 3160.0)
    await adapter.set_power_limit(2600)
    assert machine.seen.power_limit_w == 2600
    assert machine.seen.preset == "2550"
    await adapter.set_power_limit(3160)
    assert (machine.seen.power_limit_w, machine.seen.preset) == (3160, "3160"), "up as well as down"
    await adapter.set_power_limit(2600.9)
    assert machine.seen.power_limit_w == 2600, "at most what was asked"
    for watts in (2549, 3161, float("nan"), -1):
        with pytest.raises(Unsupported, match=r"outside 2550\.\.3160 W"):
            await adapter.set_power_limit(watts)


async def test_ranges_are_asked_for_even_without_the_facts_and_only_once() -> None:
    adapter, _, http, _ = opened()
    await adapter.read()
    asked(http)
    await adapter.set_power_limit(2600)
    await adapter.set_power_limit(2700)
    assert asked(http).count("configuration/constraints") == 1


async def test_changing_the_fans_keeps_the_thresholds_of_its_own_protection() -> None:
    adapter, emulator, _, _ = opened()
    hot, dangerous = {"degree_c": 80.0}, {"degree_c": 90.0}
    await adapter.set_cooling_target(55)
    auto = {
        "target_temperature": {"degree_c": 55},
        "hot_temperature": hot,
        "dangerous_temperature": dangerous,
    }
    assert emulator.commands.cooling == {"auto": auto}
    await adapter.set_fan_mode("manual", 70)
    manual = {"fan_speed_ratio": 0.7, "hot_temperature": hot, "dangerous_temperature": dangerous}
    assert emulator.commands.cooling == {"manual": manual}
    await adapter.set_fan_mode("auto")
    auto = {
        "target_temperature": {"degree_c": 60},
        "hot_temperature": hot,
        "dangerous_temperature": dangerous,
    }
    assert emulator.commands.cooling == {"auto": auto}, "the target is the machine's default again"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (HttpReply(503, b""), Busy),
        (HttpReply(404, b""), Unsupported),
        (HttpReply(200, b"[]"), MalformedReply),
        (HttpReply(200, b"{}"), Unsupported),
        (HttpReply(200, b'{"temperature": {"auto": {"target_temperature": {"degree_c": 60}}}}'), Unsupported),
    ],
)
async def test_where_those_thresholds_are_not_told_nothing_is_sent(
    said: HttpReply, error: type[DeviceError]
) -> None:
    """A command without them would drop what the operator set."""
    _, emulator, _, clock = opened()
    http = in_memory(
        emulator, spoil=lambda path, _body: said if path.endswith("configuration/miner") else None
    )
    adapter = BraiinsAdapter(http, Credential(user="root", secret="kept"), timeout_s=2, clock=clock)
    for command in (
        adapter.set_cooling_target(55.0),
        adapter.set_fan_mode("manual", 70.0),
        adapter.set_fan_mode("auto"),
    ):
        with pytest.raises(error):
            await command
    assert not [request for request in http.requests if request.method == "PUT"]


async def test_the_one_threshold_that_is_set_is_kept() -> None:
    adapter, emulator, _, _ = opened()
    emulator.commands.cooling = {"manual": {"fan_speed_ratio": 0.5, "hot_temperature": {"degree_c": 75.0}}}
    await adapter.set_cooling_target(55)
    assert emulator.commands.cooling == {
        "auto": {"target_temperature": {"degree_c": 55}, "hot_temperature": {"degree_c": 75.0}}
    }


async def test_the_mode_without_protection_is_not_offered() -> None:
    adapter, emulator, http, _ = opened()
    before = emulator.commands.cooling
    with pytest.raises(Unsupported, match="auto, manual"):
        await adapter.set_fan_mode("disabled", 50)
    assert emulator.commands.cooling is before
    assert asked(http) == []


@pytest.mark.parametrize("options", [{"api_major": 2}, {"version": "31.01"}])
async def test_a_release_that_nobody_has_seen_is_read_and_never_written_to(
    options: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    adapter, _, http, _ = opened(machine, **options)  # type: ignore[arg-type] # one of two, by name
    with caplog.at_level(logging.WARNING):
        facts = await adapter.facts()
        await adapter.facts()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not WRITES & {found.ability for found in facts.capabilities}
    assert (await adapter.read()).readings["power_w"].value == 2790
    for write in (adapter.stop_mining, adapter.pause_mining, adapter.reboot):
        with pytest.raises(Unsupported, match="unknown"):
            await write()
    with pytest.raises(Unsupported):
        await adapter.set_power_limit(2600)
    assert machine.commands == []
    assert not [request for request in http.requests if request.method == "PUT"]


async def test_a_write_before_the_facts_asks_for_the_release_first() -> None:
    machine = Machine()
    adapter, _, http, _ = opened(machine)
    await adapter.locate(on=True)
    await adapter.locate(on=False)
    assert asked(http)[1:] == ["miner/details", "version", "actions/locate", "actions/locate"]
    assert machine.commands == ["locate on", "locate off"]


@pytest.mark.parametrize(("password", "default"), [("", True), ("root", True), ("kept", False)])
async def test_a_default_password_is_told(password: str, default: bool) -> None:
    adapter, _, _, _ = opened(password=password)
    assert (await adapter.facts()).default_password is default


async def test_the_one_page_that_is_needed_hangs_and_the_read_ends_in_time() -> None:
    _, emulator, _, clock = opened()
    http = in_memory(emulator, silent="miner/details")
    adapter = BraiinsAdapter(http, Credential(user=None, secret="kept"), timeout_s=0.05, clock=clock)
    with pytest.raises(DeviceTimeout, match="in time"):
        await adapter.read()


@pytest.mark.parametrize(
    "page", ["hashboards", "cooling/state", "tuner-state", "configuration/miner", "miner/errors"]
)
async def test_any_other_page_that_hangs_costs_what_it_tells(page: str) -> None:
    _, emulator, _, clock = opened()
    http = in_memory(emulator, silent=page)
    adapter = BraiinsAdapter(http, Credential(user=None, secret="kept"), timeout_s=0.5, clock=clock)
    seen = await adapter.read()
    assert seen.state is MinerState.MINING
    assert seen.readings["hashrate_ths"].value is not None
    assert seen.readings["power_w"].value is not None


@pytest.mark.parametrize("body", [b"null", b"[]", b"<html>", b"{}", b""])
@pytest.mark.parametrize("page", ["hashboards", "cooling/state", "tuner-state", "configuration/miner"])
async def test_any_other_page_that_talks_nonsense_costs_what_it_tells(page: str, body: bytes) -> None:
    _, emulator, _, clock = opened()
    whole = in_memory(emulator)._answer

    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(200, body) if page in request.path else await whole(request)

    http = MemoryHttp(answer)
    adapter = BraiinsAdapter(http, Credential(user=None, secret="kept"), timeout_s=5, clock=clock)
    assert (await adapter.read()).readings["hashrate_ths"].value is not None


async def test_the_registry_opens_it() -> None:
    assert ADAPTERS["braiins"] == open_device.__module__
    entry = DeviceEntry(
        id="m-1", kind=DeviceKind.MINER, adapter="braiins", host="127.0.0.1", port=80, zone="z"
    )
    adapter = open_device(entry, None, timeout_s=1)
    assert adapter.kind is DeviceKind.MINER
    await adapter.close()


@given(spoil=spoiled(), writes=st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_bytes_come_every_failure_is_typed(
    spoil: Callable[[str, bytes], HttpReply | None], writes: bool
) -> None:
    machine, clock = Machine(), ManualClock()
    http = in_memory(BraiinsEmulator(machine, clock=clock, password="kept"), spoil=spoil)
    adapter = BraiinsAdapter(http, Credential(user=None, secret="kept"), timeout_s=2, clock=clock)
    tries = [adapter.facts, adapter.read, adapter.read, adapter.boards, adapter.pools]
    if writes:
        tries += [lambda: adapter.set_power_limit(2600), lambda: adapter.set_fan_mode("auto")]
    failed = asyncio.run(failures(tries))
    assert not {error.code for error in failed} & {"error", "device"}
