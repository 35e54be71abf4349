"""The time-out of the device itself: armed, fed and read back over a socket; what a starved drive does."""

import math

import pytest

from firmware_adapters.capabilities import WatchdogControl
from firmware_adapters.site.modbus_emulator import ModbusEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.modbus_watchdog import ModbusWatchdogDevice
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import Profile, load_profile, parse_profile
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_memory import MemoryModbus
from firmware_adapters.transport.modbus_plan import Table
from shared.clock import ManualClock
from shared.errors import ConfigError, MalformedReply, Unsupported
from support.site_devices import HOST, full_source

FC102 = load_profile("danfoss-fc102")
POINT = "speed_setpoint_pct"

ANY_REQUEST = parse_profile(
    """
schema = 1
model = "Fan with a time-out"
kind = "drive"
about = "any request counts as a sign of life; time 0 is off"
source = "made up for this test"

[modbus]
word_order = "high-first"
max_registers = 10
max_bits = 0
gap = 0
single_connection = false

[watchdog]
about = "full speed when nobody speaks"
point = "speed_setpoint_pct"
address = 20
type = "uint16"
low = 1.0
high = 600.0

[[points]]
name = "speed_setpoint_pct"
unit = "%"
table = "holding"
address = 1
type = "uint16"
low = 0.0
high = 100.0

[points.write]
low = 0.0
high = 100.0
fail_safe = 100.0
settle_s = 1.0
""",
    "any-request.toml",
)


class Bench:
    """One emulated unit behind a socket, its clock, and a driver."""

    def __init__(self, profile: Profile) -> None:
        self.clock = ManualClock()
        self.source = full_source(profile)
        self.unit = ModbusUnit(profile, self.source, clock=self.clock)
        self.emulator = ModbusEmulator(HOST, 0, {1: self.unit})
        self.profile = profile

    async def __aenter__(self) -> "Bench":
        await self.emulator.start()
        self.link = ModbusConnection(HOST, self.emulator.port)
        self.driver = ModbusWatchdogDevice(self.profile, self.link, unit=1, timeout_s=0.5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.link.close()
        await self.emulator.stop()

    def wait(self, seconds: float) -> None:
        """Time passes on the drive; nobody speaks to it."""
        self.clock.advance(seconds)
        assert self.unit.watchdog is not None
        self.unit.watchdog.tick()


async def test_a_new_drive_is_not_armed_and_arming_reads_back() -> None:
    async with Bench(FC102) as bench:
        assert isinstance(bench.driver, WatchdogControl)
        assert await bench.driver.armed_s() is None
        assert await bench.driver.arm(12.5) is None
        assert await bench.driver.armed_s() == 12.5


async def test_a_starved_drive_runs_at_its_safe_speed_and_comes_back_when_fed() -> None:
    async with Bench(FC102) as bench:
        await bench.driver.arm(10.0)
        for _ in range(5):
            bench.wait(9.0)
            await bench.driver.feed()
        assert bench.source.fallen == {}
        bench.wait(10.1)
        assert bench.source.fallen == {POINT: 100.0}
        bench.wait(500.0)
        assert bench.unit.watchdog is not None
        assert bench.unit.watchdog.expired == 1
        await bench.driver.feed()
        assert bench.source.fallen == {}


async def test_reading_does_not_feed_a_drive_that_counts_control_words() -> None:
    async with Bench(FC102) as bench:
        await bench.driver.arm(10.0)
        bench.wait(9.0)
        await bench.driver.read()
        bench.wait(2.0)
        assert bench.source.fallen == {POINT: 100.0}


async def test_a_set_point_feeds_because_its_control_word_follows() -> None:
    async with Bench(FC102) as bench:
        await bench.driver.arm(10.0)
        bench.wait(9.0)
        await bench.driver.write_point(POINT, 60.0)
        bench.wait(9.0)
        assert bench.source.fallen == {}


async def test_a_drive_that_lost_its_action_reads_as_not_armed() -> None:
    async with Bench(FC102) as bench:
        await bench.driver.arm(10.0)
        await bench.link.write_register(1, 8039, 2, timeout_s=0.5)  # somebody chose "stop" at the keypad
        assert await bench.driver.armed_s() is None
        bench.wait(60.0)
        assert bench.source.fallen == {}


@pytest.mark.parametrize("profile", [FC102, ANY_REQUEST], ids=lambda profile: profile.model)
async def test_disarmed_a_machine_stays_as_it_is(profile: Profile) -> None:
    """Smoke: the fans were stopped on purpose, and nobody's death may start them."""
    async with Bench(profile) as bench:
        await bench.driver.arm(10.0)
        await bench.driver.disarm()
        assert await bench.driver.armed_s() is None
        bench.wait(600.0)
        assert bench.source.fallen == {}
        await bench.driver.arm(10.0)
        assert await bench.driver.armed_s() == 10.0


@pytest.mark.parametrize("seconds", [0.0, 0.9, 18000.1, math.nan, math.inf, -5.0])
async def test_a_time_that_the_device_does_not_take_is_refused_before_it_is_sent(seconds: float) -> None:
    async with Bench(FC102) as bench:
        with pytest.raises(Unsupported, match="1 to 18000 s"):
            await bench.driver.arm(seconds)
        assert bench.emulator.requests == 0


async def test_where_any_request_counts_reading_feeds() -> None:
    async with Bench(ANY_REQUEST) as bench:
        await bench.driver.arm(10.0)
        for _ in range(4):
            bench.wait(9.0)
            await bench.driver.read()
        bench.wait(9.0)
        await bench.driver.feed()
        bench.wait(9.0)
        assert bench.source.fallen == {}
        bench.wait(2.0)
        assert bench.source.fallen == {POINT: 100.0}
        assert await bench.driver.armed_s() == 10.0
        assert bench.source.fallen == {}


async def test_a_time_of_zero_is_off() -> None:
    async with Bench(ANY_REQUEST) as bench:
        await bench.driver.arm(10.0)
        await bench.link.write_register(1, 20, 0, timeout_s=0.5)
        assert await bench.driver.armed_s() is None
        bench.wait(60.0)
        assert bench.source.fallen == {}


async def test_a_time_out_that_reads_as_nonsense_is_a_failure_and_not_a_number() -> None:
    link = MemoryModbus()
    link.put(1, Table.HOLDING, 8029, 0xFFFF, 0xFFFF)
    link.put(1, Table.HOLDING, 8039, 4)
    with pytest.raises(MalformedReply, match="time-out"):
        await ModbusWatchdogDevice(FC102, link, unit=1, timeout_s=1).armed_s()


def test_a_profile_without_a_time_out_gets_no_such_driver() -> None:
    with pytest.raises(ConfigError, match=r"no \[watchdog\]"):
        ModbusWatchdogDevice(load_profile("xy-md02"), MemoryModbus(), unit=1, timeout_s=1)


def test_a_fallen_machine_comes_back_when_its_time_out_is_switched_off() -> None:
    clock = ManualClock()
    source = DictSource({POINT: 40.0})
    unit = ModbusUnit(ANY_REQUEST, source, clock=clock)
    unit.answer(bytes.fromhex("060014000a"))
    clock.advance(11.0)
    assert unit.watchdog is not None
    unit.watchdog.tick()
    assert source.fallen == {POINT: 100.0}
    unit.answer(bytes.fromhex("0600140000"))
    assert source.fallen == {}
