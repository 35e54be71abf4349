"""One AxeOS machine through its adapter: requests, throttling by the clock, fans, releases, statuses."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import WRITES, MiningControl, PauseControl
from firmware_adapters.miners.axeos.adapter import AxeosAdapter, open_device
from firmware_adapters.miners.axeos.emulator import AxeosEmulator, Traps
from firmware_adapters.registry import ADAPTERS
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.capabilities import Ability
from shared.clock import ManualClock
from shared.errors import AuthFailed, Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState
from support.miners import Machine
from support.subjects.axeos import bitaxe
from support.web_memory import failures, in_memory, replaying, spoiled


def opened(
    machine: Machine | None = None, *, version: str = "v2.9.0", **traps: object
) -> tuple[AxeosAdapter, AxeosEmulator, MemoryHttp]:
    known = Traps(**traps)  # type: ignore[arg-type] # named by the tests
    emulator = AxeosEmulator(machine or bitaxe(), clock=ManualClock(), version=version, traps=known)
    http = in_memory(emulator)
    return AxeosAdapter(http, timeout_s=2), emulator, http


async def test_a_read_is_one_request() -> None:
    adapter, _, http = opened()
    for _ in range(3):
        await adapter.read()
    assert [request.path for request in http.requests] == [
        "/api/system/info",
        "/api/system/asic",
        "/api/system/info",
        "/api/system/info",
    ]


@pytest.mark.parametrize(
    "reply", [HttpReply(500, b""), HttpReply(302, b""), HttpReply(200, b"<html>"), HttpReply(200, b"null")]
)
async def test_the_page_of_steps_is_asked_for_again_with_the_facts_and_not_after_a_no(
    reply: HttpReply,
) -> None:
    """A release that does not know the page sends whoever asks to its front page."""
    failing = [reply, HttpReply(404, b"")]
    _, emulator, _ = opened()

    async def answer(request: HttpRequest) -> HttpReply:
        if request.path.endswith("asic"):
            return failing.pop(0)
        said = emulator.answer(request.method, request.path, {}, b"")
        return HttpReply(said.status, said.body)

    adapter = AxeosAdapter(MemoryHttp(answer), timeout_s=2)
    for _ in range(2):
        seen = (await adapter.read()).readings
        assert seen["hashrate_ths"].value is not None
        assert "throttle_pct" not in seen
    assert len(failing) == 1, "one that may hang is not asked with every read"
    await adapter.facts()
    await adapter.read()
    assert failing == []


async def test_there_is_no_verb_that_stops_and_so_no_method() -> None:
    adapter, _, _ = opened()
    declared = {found.ability for found in (await adapter.facts()).capabilities}
    assert not {Ability.MINING, Ability.PAUSE, Ability.POWER_LIMIT} & declared
    assert not isinstance(adapter, MiningControl | PauseControl)


async def test_a_throttle_follows_the_clock_that_is_read() -> None:
    adapter, emulator, _ = opened()
    emulator.frequency_mhz = 420
    assert (await adapter.read()).readings["throttle_pct"].value == pytest.approx(80.0)
    for mhz in (525, 575):
        emulator.frequency_mhz = mhz
        assert (await adapter.read()).readings["throttle_pct"].value == 100.0


async def test_the_range_is_the_machines_own_steps() -> None:
    adapter, emulator, _ = opened()
    throttle = next(
        found for found in (await adapter.facts()).capabilities if found.ability is Ability.THROTTLE
    )
    assert (throttle.low, throttle.high) == (pytest.approx(100 * 400 / 525), 100.0)
    for percent, mhz in ((99, 500), (95, 485), (90.5, 475), (80, 400), (throttle.low or 0, 400), (100, 525)):
        await adapter.set_throttle(percent)
        assert emulator.frequency_mhz == mhz
        assert emulator.core_mv == 1150, "the voltage is left alone"


async def test_a_step_that_is_met_exactly_is_taken_and_sent_as_a_whole_number() -> None:
    info = {"ASICModel": "BM1370", "version": "v2.9.0", "frequency": 500}
    asic = {"defaultFrequency": 500, "frequencyOptions": [400, 425, 437.5, 500]}
    pages = {"/api/system/info": info, "/api/system/asic": asic}
    http = replaying(pages, after={"/api/system": None})
    adapter = AxeosAdapter(http, timeout_s=2)
    for percent, sent in ((85, b"425"), (87.5, b"437.5"), (87.4, b"425"), (100, b"500")):
        await adapter.set_throttle(percent)
        assert http.requests[-1].body == b'{"frequency":%s}' % sent


async def test_a_machine_without_a_step_below_its_default_cannot_be_throttled() -> None:
    info = {"ASICModel": "BM1370", "version": "v2.9.0", "frequency": 500}
    for asic in ({"defaultFrequency": 500, "frequencyOptions": [500, 525]}, {"frequencyOptions": [400]}, {}):
        http = replaying({"/api/system/info": info, "/api/system/asic": asic}, after={"/api/system": None})
        adapter = AxeosAdapter(http, timeout_s=2)
        declared = {found.ability for found in (await adapter.facts()).capabilities}
        assert Ability.FAN_MODE in declared
        assert Ability.THROTTLE not in declared
        with pytest.raises(Unsupported, match="no frequencies"):
            await adapter.set_throttle(100)


async def test_a_throttle_never_raises_the_clock_and_taking_it_back_does_not_overclock() -> None:
    adapter, emulator, _ = opened()
    emulator.frequency_mhz = 425
    await adapter.set_throttle(95)
    assert emulator.frequency_mhz == 425, "95 % of the default would have been more than it runs at"
    await adapter.set_throttle(100)
    assert emulator.frequency_mhz == 525


async def test_an_overclocked_machine_gets_back_what_it_had() -> None:
    adapter, emulator, _ = opened()
    emulator.frequency_mhz = 575
    await adapter.set_throttle(80)
    assert emulator.frequency_mhz == 450
    assert (await adapter.read()).readings["throttle_pct"].value == pytest.approx(100 * 450 / 575)
    await adapter.set_throttle(100)
    assert emulator.frequency_mhz == 575


async def test_fans_by_hand_and_by_itself() -> None:
    machine = bitaxe()
    adapter, _, http = opened(machine)
    await adapter.set_fan_mode("manual", 66.6)
    assert http.requests[-1].body == b'{"autofanspeed":0,"fanspeed":67}'
    assert (machine.seen.cooling, machine.seen.fan_duty_pct) == ("manual", 67)
    await adapter.set_fan_mode("auto")
    assert http.requests[-1].body == b'{"autofanspeed":1}'
    assert machine.seen.cooling == "auto"


@pytest.mark.parametrize("duty", [None, -1.0, 100.5, float("nan")])
async def test_a_fan_by_hand_needs_a_duty(duty: float | None) -> None:
    adapter, _, http = opened()
    with pytest.raises(Unsupported, match=r"0\.\.100 %"):
        await adapter.set_fan_mode("manual", duty)
    assert http.requests == []
    await adapter.set_fan_mode("manual", 0)
    assert http.requests[-1].body == b'{"autofanspeed":0,"fanspeed":0}'


async def test_overheat_mode_is_a_fault_and_off() -> None:
    machine = bitaxe()
    adapter, _, _ = opened(machine, power_fault="undervoltage")
    machine.set(state=MinerState.FAILURE)
    seen = await adapter.read()
    assert seen.state is MinerState.FAILURE
    assert [fault.code for fault in seen.faults or ()] == ["overheat_mode", "power_fault"]
    assert seen.readings["boards_working"].value == 0


async def test_a_release_that_nobody_has_seen_is_read_and_never_written_to() -> None:
    machine = bitaxe()
    adapter, _, http = opened(machine, version="v7.1.0")
    facts = await adapter.facts()
    assert not WRITES & {found.ability for found in facts.capabilities}
    assert (await adapter.read()).readings["power_w"].value == 17.25
    for write in (adapter.reboot(), adapter.set_throttle(90), adapter.set_fan_mode("auto")):
        with pytest.raises(Unsupported, match=r"v7\.1\.0 is unknown"):
            await write
    assert machine.commands == []
    assert {request.method for request in http.requests} == {"GET"}


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, Unsupported),
        (401, AuthFailed),
        (404, Unsupported),
        (405, Unsupported),
        (429, Busy),
        (500, Busy),
        (503, Busy),
        (302, MalformedReply),
    ],
)
async def test_every_status_is_a_typed_failure(status: int, failure: type[DeviceError]) -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(status, b"{}")

    with pytest.raises(failure):
        await AxeosAdapter(MemoryHttp(answer), timeout_s=1).read()


async def test_the_page_that_is_needed_hangs_and_the_read_ends_in_time() -> None:
    _, emulator, _ = opened()
    with pytest.raises(DeviceTimeout, match="in time"):
        await AxeosAdapter(in_memory(emulator, silent="info"), timeout_s=0.05).read()


async def test_the_other_page_hangs_and_the_read_tells_the_rest() -> None:
    _, emulator, _ = opened()
    adapter = AxeosAdapter(in_memory(emulator, silent="asic"), timeout_s=0.1)
    for _ in range(2):
        seen = await adapter.read()
        assert seen.readings["hashrate_ths"].value is not None
        assert "throttle_pct" not in seen.readings


async def test_the_registry_opens_it() -> None:
    assert ADAPTERS["axeos"] == open_device.__module__
    entry = DeviceEntry(id="b-1", kind=DeviceKind.MINER, adapter="axeos", host="127.0.0.1", port=80, zone="z")
    adapter = open_device(entry, None, timeout_s=1)
    assert adapter.kind is DeviceKind.MINER
    await adapter.close()


@given(spoil=spoiled(), writes=st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_bytes_come_every_failure_is_typed(
    spoil: Callable[[str, bytes], HttpReply | None], writes: bool
) -> None:
    http = in_memory(AxeosEmulator(bitaxe(), clock=ManualClock()), spoil=spoil)
    adapter = AxeosAdapter(http, timeout_s=2)
    tries = [adapter.facts, adapter.read, adapter.read, adapter.boards, adapter.pools]
    if writes:
        tries += [lambda: adapter.set_throttle(90), lambda: adapter.set_fan_mode("auto"), adapter.reboot]
    failed = asyncio.run(failures(tries))
    assert not {error.code for error in failed} & {"error", "device"}
