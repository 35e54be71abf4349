"""`get.device.info`: its parts by meaning, what is missing, and whatever else may come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.whatsminer_v3.parse import device_info
from shared.details import Fault
from shared.errors import MalformedReply

WHOLE = {
    "code": 0,
    "when": 1_700_000_000,
    "msg": {
        "network": {"mac": "C8:08:08:00:00:01", "hostname": "WhatsMiner"},
        "miner": {"working": "true", "type": "M50S++_VK50", "miner-sn": "HTM1", "power-limit-set": "3600"},
        "system": {"api": "3.0.1", "fwversion": "20250214.16.REL"},
        "power": {"mode": "Normal", "temp0": "32.5", "vin": "230"},
        "salt": "BQ5hoXV9",
        "error-code": [{"2010": "2025-01-01", "reason": "all pools are dead"}],
    },
}


def test_every_part_is_found() -> None:
    found = device_info(WHOLE)
    assert (found.switch.off, found.switch.mode) == (False, "normal")
    assert found.identity.model == "M50S++_VK50"
    assert found.identity.firmware == "20250214.16.REL"
    assert found.identity.mac == "c8:08:08:00:00:01"
    assert found.identity.serial == "HTM1"
    assert found.power_limit_w == 3600
    assert found.psu_temp_c == 32.5
    assert found.faults == (Fault(code="2010", words="pools: all pools are dead"),)


def test_what_is_missing_is_unknown() -> None:
    found = device_info({"msg": {}})
    assert found.switch.off is None
    assert found.faults is None
    assert found.power_limit_w is None
    assert found.psu_temp_c is None
    assert found.identity.model == ""
    assert device_info({"msg": {"error-code": []}}).faults == ()


@pytest.mark.parametrize(("word", "off"), [("false", True), ("true", False), (False, True), ("?", None)])
def test_working_is_a_word(word: object, off: bool | None) -> None:
    assert device_info({"msg": {"miner": {"working": word}}}).switch.off is off


@pytest.mark.parametrize("body", [None, [], {}, {"msg": "fail"}, {"msg": [1]}])
def test_no_message_is_malformed(body: object) -> None:
    with pytest.raises(MalformedReply):
        device_info(body)


WORDS = st.sampled_from(["msg", "miner", "power", "system", "network", "error-code", "working", "temp0"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_json_is_read_or_malformed(body: object) -> None:
    try:
        found = device_info({"msg": body})
    except MalformedReply:
        return
    assert found.power_limit_w is None or found.power_limit_w >= 0
