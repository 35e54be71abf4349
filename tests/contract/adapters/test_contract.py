"""What every adapter promises, whatever it speaks; `conftest.py` lists the subjects.

Driven by declared capabilities: a test of an ability that a device does not declare passes by asserting
that the adapter does not pretend to have it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from firmware_adapters.capabilities import (
    PROTOCOL_OF,
    WRITES,
    BoardTelemetry,
    ChipTelemetry,
    HistoryReader,
    LogReader,
    PoolLogin,
    PoolTelemetry,
)
from shared.capabilities import Ability
from shared.errors import DeviceError, Unsupported
from shared.telemetry import metric_of
from support.adapter_contract import FAULTS, Subject

pytestmark = pytest.mark.filterwarnings("error")


POOL = PoolLogin(url="stratum+tcp://pool.invalid:3333", user="owner.rig")

_TRIES: dict[Ability, Callable[[Any], Awaitable[object]]] = {
    Ability.BOARDS: lambda device: device.boards(),
    Ability.CHIPS: lambda device: device.chips(),
    Ability.POOLS: lambda device: device.pools(),
    Ability.LOGS: lambda device: device.log("system"),
    Ability.HISTORY: lambda device: device.history(3600.0, 900.0),
    Ability.PRESET: lambda device: device.set_preset("any"),
    Ability.POWER_LIMIT: lambda device: device.set_power_limit(2000.0),
    Ability.MINING: lambda device: device.stop_mining(),
    Ability.PAUSE: lambda device: device.pause_mining(),
    Ability.THROTTLE: lambda device: device.set_throttle(60.0),
    Ability.FAN_MODE: lambda device: device.set_fan_mode("auto"),
    Ability.COOLING_TARGET: lambda device: device.set_cooling_target(60.0),
    Ability.POOL_SWITCH: lambda device: device.switch_pool(0),
    Ability.PRESET_SWITCHER: lambda device: device.set_switcher_bounds(floor="any"),
    Ability.POOL_SETTING: lambda device: device.set_pools([POOL]),
    Ability.RESTART: lambda device: device.restart_mining(),
    Ability.REBOOT: lambda device: device.reboot(),
    Ability.LOCATE: lambda device: device.locate(on=True),
    Ability.SETPOINT: lambda device: device.write_point("any", 1.0),
    Ability.RELEASE: lambda device: device.release_point("any"),
    Ability.OUTLETS: lambda device: device.switch_outlet(1, on=True),
    Ability.WATCHDOG: lambda device: device.arm(30.0),
}
"""How an ability is used that a device has in its class and does not declare."""


async def test_declared_is_implemented_and_nothing_else(subject: Subject) -> None:
    declared = {found.ability for found in (await subject.adapter.facts()).capabilities}
    assert declared - set(PROTOCOL_OF) <= {Ability.PRESET_LIST}, "what has no Protocol cannot be implemented"
    before = list(subject.commands())
    for ability, protocol in PROTOCOL_OF.items():
        if not isinstance(subject.adapter, protocol):
            assert ability not in declared, ability
        elif ability not in declared:
            # One class serves every version of a firmware; a machine that cannot do it says so and is told
            # nothing.
            with pytest.raises(Unsupported):
                await _TRIES[ability](subject.adapter)
    assert list(subject.commands()) == before
    assert {write.ability for write in subject.writes.values()} == declared & WRITES, "each is tried here"


async def test_capabilities_say_what_the_guardian_needs(subject: Subject) -> None:
    facts = await subject.adapter.facts()
    abilities = [found.ability for found in facts.capabilities]
    # A set-point is declared for each point by itself, because each has bounds of its own.
    once = [
        (found.ability, found.points if found.ability is Ability.SETPOINT else ())
        for found in facts.capabilities
    ]
    assert len(once) == len(set(once))
    for found in facts.capabilities:
        assert math.isfinite(found.settle_s)
        assert found.settle_s > 0 or not found.restarts_mining
    if Ability.PRESET_LIST in abilities:
        assert facts.presets
        watts = [rung.power_w for rung in facts.presets]
        assert watts == sorted(watts)
        assert len({rung.name for rung in facts.presets}) == len(facts.presets)


async def test_a_read_says_what_the_device_knows_in_known_points(subject: Subject) -> None:
    seen = await subject.adapter.read()
    for name, found in seen.readings.items():
        metric = metric_of(name)
        if found.value is not None:
            assert metric.low <= found.value <= metric.high, name
        assert (found.value is not None) == found.quality.usable, name
    told = {name: seen.readings[name].value for name in subject.truth()}
    assert told == pytest.approx(subject.truth())


async def test_unknown_stays_unknown(subject: Subject) -> None:
    await subject.adapter.read()
    hidden = subject.hide()
    seen = await subject.adapter.read()
    for name in hidden:
        found = seen.readings.get(name)
        assert found is None or (found.value is None and not found.quality.usable), name


async def test_every_failure_of_a_read_is_typed_in_time_and_forgotten_when_over(subject: Subject) -> None:
    await subject.adapter.read()
    assert set(FAULTS) <= set(subject.faults)
    for name, begin in subject.faults.items():
        begin()
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeviceError) as caught:
            await subject.adapter.read()
        took_s = asyncio.get_running_loop().time() - started
        assert took_s < 2 * subject.timeout_s + 5.0, name
        assert caught.value.code not in ("error", "device"), name
        if subject.facts_from_file:
            assert (await subject.adapter.facts()).capabilities
        else:
            with pytest.raises(DeviceError):
                await subject.adapter.facts()
        subject.heal()
        assert (await subject.adapter.read()).readings, f"{name} is over"


async def test_what_happens_in_mid_run_costs_no_read(subject: Subject) -> None:
    await subject.adapter.read()
    for name, begin in subject.nuisances.items():
        begin()
        for _ in range(3):
            seen = await subject.adapter.read()
            told = {point: seen.readings[point].value for point in subject.truth()}
            assert told == pytest.approx(subject.truth(), nan_ok=True), name
        subject.heal()


async def test_what_it_tells_of_its_parts_is_in_known_ranges(subject: Subject) -> None:
    adapter = subject.adapter
    declared = {found.ability: found for found in (await adapter.facts()).capabilities}
    if isinstance(adapter, BoardTelemetry) and Ability.BOARDS in declared:
        boards = await adapter.boards()
        assert boards
        assert [board.index for board in boards] == sorted({board.index for board in boards})
    if isinstance(adapter, PoolTelemetry) and Ability.POOLS in declared:
        assert await adapter.pools()
    if isinstance(adapter, ChipTelemetry) and Ability.CHIPS in declared:
        chips = await adapter.chips()
        assert chips
        assert len({(chip.board, chip.index) for chip in chips}) == len(chips)
    if isinstance(adapter, LogReader) and Ability.LOGS in declared:
        for name in declared[Ability.LOGS].choices:
            assert isinstance(await adapter.log(name), str)
        with pytest.raises(Unsupported):
            await adapter.log("no such log")
    if isinstance(adapter, HistoryReader) and Ability.HISTORY in declared:
        told = await adapter.history(3600.0, 900.0)
        times = [point.at_ms for point in told.points]
        assert times == sorted(times)


async def test_every_failure_of_a_write_is_typed(subject: Subject) -> None:
    for name, begin in subject.faults.items():
        if name == "garbage":
            continue  # whatever a command's success says it is one, so garbage after it is no failure
        begin()
        # All at once, so that a device that hangs costs one time-out and not one per command.
        told = await asyncio.gather(
            *(write.do() for write in subject.writes.values()), return_exceptions=True
        )
        subject.heal()
        for command, failure in zip(subject.writes, told, strict=True):
            assert isinstance(failure, DeviceError), f"{name}: {command}: {failure!r}"


async def test_a_write_returns_no_truth_and_a_later_read_shows_it(subject: Subject) -> None:
    for name, write in subject.writes.items():
        assert await write.do() is None, name
        assert write.done(), name
        await subject.adapter.read()


async def test_a_write_that_the_device_ignores_looks_the_same_until_it_is_read_back(subject: Subject) -> None:
    if subject.tamper is None:
        pytest.skip("this device cannot be made to ignore writes")
    write = next(iter(subject.writes.values()))
    before = (await subject.adapter.read()).preset
    subject.tamper()
    assert await write.do() is None
    assert not write.done()
    assert (await subject.adapter.read()).preset == before


async def test_what_must_be_refused_is_and_the_device_was_told_nothing(subject: Subject) -> None:
    for name, (do, meaning) in subject.refusals.items():
        with pytest.raises(meaning):
            await do()
        assert subject.commands() == [], name


async def test_many_at_once_on_one_device_all_come_through(subject: Subject) -> None:
    seen = await asyncio.gather(*(subject.adapter.read() for _ in range(6)), subject.adapter.facts())
    assert all(seen)


async def test_closing_never_raises_and_reading_afterwards_works(subject: Subject) -> None:
    await subject.adapter.close()
    await subject.adapter.close()
    assert (await subject.adapter.read()).readings
