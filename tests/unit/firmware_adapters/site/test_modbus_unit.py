"""The emulated unit, PDU by PDU, against the standard rather than against our driver."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from shared.errors import ConfigError
from support.site_devices import full_source


def probe() -> ModbusUnit:
    return ModbusUnit(load_profile("xy-md02"), DictSource({"air_temp_c": 23.4, "humidity_pct": 45.6}))


def answer(unit: ModbusUnit, request: str) -> str:
    return unit.answer(bytes.fromhex(request)).hex()


def test_reads_two_input_registers() -> None:
    assert answer(probe(), "04 0001 0002") == "040400ea01c8"


def test_negative_temperatures_are_twos_complement() -> None:
    unit = ModbusUnit(load_profile("xy-md02"), DictSource({"air_temp_c": -5.0, "humidity_pct": 1}))
    assert answer(unit, "04 0001 0001") == "0402ffce"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("04 0063 0001", "8402"),
        ("04 0001 0000", "8403"),
        ("04 0001 0003", "8403"),  # longer than this device can
        ("04 0001", "8403"),
        ("03 0001 0001", "8302"),
        ("2b 0e01", "ab01"),
        ("06 0001 0005", "8602"),
        ("05 0001 1234", "8503"),
    ],
)
def test_refusals_carry_the_standards_code(request_: str, code: str) -> None:
    assert answer(probe(), request_) == code


def test_coils_are_packed_from_the_lowest_bit() -> None:
    source = DictSource({"running": 1, "fault": 0, "setpoint_c": 20})
    unit = ModbusUnit(load_profile("carel-ir33"), source)
    assert answer(unit, "01 0036 0001") == "010101"
    assert answer(unit, "01 0005 0032") == "0107" + "00" * 6 + "02"


def test_writes_reach_the_source_in_its_own_unit() -> None:
    source = full_source(load_profile("danfoss-fc102"))
    unit = ModbusUnit(load_profile("danfoss-fc102"), source)
    assert answer(unit, "06 c359 2000") == "06c3592000"
    assert answer(unit, "10 c359 0001 02 4000") == "10c3590001"
    assert answer(unit, "06 c34f 043c") == "06c34f043c"
    assert source.writes == [("speed_setpoint_pct", 50.0), ("speed_setpoint_pct", 100.0)]
    assert source.registers == {49999: 0x043C}


def test_a_value_outside_the_bounds_is_refused() -> None:
    source = full_source(load_profile("danfoss-fc102"))
    assert answer(ModbusUnit(load_profile("danfoss-fc102"), source), "06 c359 5000") == "8603"
    assert source.writes == []


def test_coil_writes_single_and_many() -> None:
    source = DictSource({"running": 1, "fault": 0})
    unit = ModbusUnit(load_profile("carel-ir33"), source)
    assert answer(unit, "05 0036 0000") == "0500360000"
    assert answer(unit, "0f 0036 0001 01 01") == "0f00360001"
    assert source.writes == [("running", 0.0), ("running", 1.0)]


def test_an_inverted_coil_is_inverted_both_ways() -> None:
    source = DictSource({"running": 1, "fault": 0})
    unit = ModbusUnit(load_profile("carel-uc2se"), source)
    assert answer(unit, "01 0035 0001") == "010100"
    answer(unit, "05 0035 ff00")
    assert source.writes == [("running", 0.0)]


@given(st.binary(min_size=1, max_size=40))
def test_any_request_gets_a_reply_of_its_own_function(request_: bytes) -> None:
    reply = probe().answer(request_)
    assert reply[0] in (request_[0], request_[0] | 0x80)
    assert len(reply) >= 2


def test_needs_a_modbus_profile() -> None:
    with pytest.raises(ConfigError):
        ModbusUnit(load_profile("apc-rpdu2"), DictSource({}))
