"""What every adapter promises, whatever it speaks; `conftest.py` lists the subjects.

Driven by declared capabilities: a test of an ability that a device does not declare passes by asserting
that the adapter does not pretend to have it.
"""

import asyncio
import math

import pytest

from firmware_adapters.capabilities import (
    PROTOCOL_OF,
    MiningControl,
    OutletControl,
    PointControl,
    PresetControl,
    Telemetry,
)
from shared.capabilities import Ability
from shared.commands import AnyAction, SetPoint, SetPreset, StartMining, StopMining, SwitchOutlet
from shared.errors import DeviceError
from shared.telemetry import metric_of
from support.adapter_contract import Subject

pytestmark = pytest.mark.filterwarnings("error")


async def write(adapter: Telemetry, action: AnyAction) -> object:
    """The adapter method behind an action, with whatever it returns."""
    match action:
        case SetPreset():
            assert isinstance(adapter, PresetControl)
            return await adapter.set_preset(action.preset)
        case StopMining():
            assert isinstance(adapter, MiningControl)
            return await adapter.stop_mining()
        case StartMining():
            assert isinstance(adapter, MiningControl)
            return await adapter.start_mining()
        case SetPoint():
            assert isinstance(adapter, PointControl)
            return await adapter.write_point(action.point, action.value)
        case SwitchOutlet():
            assert isinstance(adapter, OutletControl)
            return await adapter.switch_outlet(action.outlet, action.on)


async def test_declared_is_implemented_and_nothing_else(subject: Subject) -> None:
    declared = {found.ability for found in (await subject.adapter.facts()).capabilities}
    for ability, protocol in PROTOCOL_OF.items():
        assert isinstance(subject.adapter, protocol) == (ability in declared), ability
    assert declared - set(PROTOCOL_OF) <= {Ability.PRESET_LIST}, "what has no Protocol cannot be implemented"


async def test_capabilities_say_what_the_guardian_needs(subject: Subject) -> None:
    facts = await subject.adapter.facts()
    abilities = [found.ability for found in facts.capabilities]
    assert len(abilities) == len(set(abilities))
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
    for name, begin in subject.faults.items():
        begin()
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeviceError) as caught:
            await subject.adapter.read()
        took_s = asyncio.get_running_loop().time() - started
        assert took_s < 2 * subject.timeout_s + 0.5, name
        assert caught.value.code not in ("error", "device"), name
        with pytest.raises(DeviceError):
            await subject.adapter.facts()
        subject.heal()
        assert (await subject.adapter.read()).readings, f"{name} is over"


async def test_every_failure_of_a_write_is_typed(subject: Subject) -> None:
    for name, begin in subject.faults.items():
        if name == "garbage":
            continue  # whatever a command's success says it is one, so garbage after it is no failure
        for action, _ in subject.writes.values():
            begin()
            with pytest.raises(DeviceError):
                await write(subject.adapter, action)
            subject.heal()


async def test_a_write_returns_no_truth_and_a_later_read_shows_it(subject: Subject) -> None:
    for name, (action, done) in subject.writes.items():
        assert await write(subject.adapter, action) is None, name
        assert done(), name
        await subject.adapter.read()


async def test_a_write_that_the_device_ignores_looks_the_same_until_it_is_read_back(subject: Subject) -> None:
    if subject.tamper is None:
        pytest.skip("this device cannot be made to ignore writes")
    action, done = next(iter(subject.writes.values()))
    before = (await subject.adapter.read()).preset
    subject.tamper()
    assert await write(subject.adapter, action) is None
    assert not done()
    assert (await subject.adapter.read()).preset == before


async def test_what_must_be_refused_is_and_the_device_was_told_nothing(subject: Subject) -> None:
    for name, (action, meaning) in subject.refusals.items():
        with pytest.raises(meaning):
            await write(subject.adapter, action)
        assert subject.commands() == [], name


async def test_many_at_once_on_one_device_all_come_through(subject: Subject) -> None:
    seen = await asyncio.gather(*(subject.adapter.read() for _ in range(6)), subject.adapter.facts())
    assert all(seen)


async def test_closing_never_raises_and_reading_afterwards_works(subject: Subject) -> None:
    await subject.adapter.close()
    await subject.adapter.close()
    assert (await subject.adapter.read()).readings
