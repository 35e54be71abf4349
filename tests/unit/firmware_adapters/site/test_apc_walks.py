"""Both APC profiles against what three real PDUs answered.

The answers are excerpts of the walks of AP7902B, AP8641 and AP8932 in snmpsim-data 1.0.1 (BSD-2-Clause). All
three have both branches of the MIB, whose outlet codes are inverse to each other.
"""

import pytest

from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.transport.snmp import SnmpValue
from firmware_adapters.transport.snmp_memory import MemorySnmp
from shared.telemetry import MISSING

OLD, NEW = "1.3.6.1.4.1.318.1.1.12.", "1.3.6.1.4.1.318.1.1.26."


def outlets(states: str) -> dict[str, SnmpValue]:
    """Both branches of outlets that are on (1) or off (0); the new branch's state is the inverse code."""
    objects: dict[str, SnmpValue] = {}
    for n, on in enumerate(states, start=1):
        old, state = (1, 2) if on == "1" else (2, 1)
        objects |= {
            f"{OLD}3.3.1.1.4.{n}": old,
            f"{OLD}3.5.1.1.4.{n}": old,
            f"{NEW}9.2.3.1.5.{n}": state,
            f"{NEW}9.2.4.1.5.{n}": old,
        }
    return objects


def loads(watts: int, *tenths: int) -> dict[str, SnmpValue]:
    """The old branch: power, then phase 1 and two banks."""
    rows = {f"{OLD}2.3.1.1.2.{n}": value for n, value in enumerate(tenths, start=1)}
    banks = {f"{OLD}2.3.1.1.5.{n}": n - 1 for n in range(1, len(tenths) + 1)}
    return {f"{OLD}1.16.0": watts, **rows, **banks}


def meter(
    power: int, energy: int, apparent: int, factor: int, tenths: int, volts: int
) -> dict[str, SnmpValue]:
    """The new branch."""
    return {
        f"{NEW}4.3.1.5.1": power,
        f"{NEW}4.3.1.9.1": energy,
        f"{NEW}4.3.1.16.1": apparent,
        f"{NEW}4.3.1.17.1": factor,
        f"{NEW}6.3.1.5.1": tenths,
        f"{NEW}6.3.1.6.1": volts,
    }


NO_PROBE = {f"{NEW}10.2.2.1.8.1": -1, f"{NEW}10.2.2.1.10.1": -1}
AP7902B = outlets("1100") | loads(192, 16, 0, 11) | meter(-1, -1, -1, -1, 16, -1)
AP8641 = outlets("1111") | loads(1230, 66, 40, 25) | meter(121, 19516, 131, 94, 65, 201) | NO_PROBE
AP8641 |= {f"{NEW}9.4.3.1.6.{n}": value for n, value in enumerate((9, 5, 4, 7), start=1)}
AP8932 = outlets("1000") | loads(160, 14, 13, 0) | meter(16, 6426, 17, 95, 14, 121) | NO_PROBE
AP8932 |= {f"{NEW}6.3.1.7.1": 16}


async def read(profile: str, objects: dict[str, SnmpValue]) -> dict[str, float | None]:
    device = SnmpDevice(load_profile(profile), MemorySnmp(objects), timeout_s=1, may_write=True)
    return {name: reading.value for name, reading in (await device.read()).readings.items()}


@pytest.mark.parametrize(
    ("objects", "watts", "amperes", "states"),
    [(AP7902B, 192.0, 1.6, "1100"), (AP8641, 1230.0, 6.6, "1111"), (AP8932, 160.0, 1.4, "1000")],
    ids=["AP7902B", "AP8641", "AP8932"],
)
async def test_the_old_branch(
    objects: dict[str, SnmpValue], watts: float, amperes: float, states: str
) -> None:
    assert await read("apc-rpdu", objects) == {
        "power_w": watts,
        "current_a.1": amperes,
        **{f"outlet_on.{n}": float(on) for n, on in enumerate(states, start=1)},
    }


async def test_of_a_three_phase_pdu_the_old_branch_tells_phases_and_leaves_out_banks() -> None:
    """Rows 1 to 3 are phases (bank number 0), the rows after them banks: parts of these."""
    rows = {f"{OLD}2.3.1.1.2.{n}": tenths for n, tenths in enumerate((30, 40, 50, 30, 40, 50), start=1)}
    banks = {f"{OLD}2.3.1.1.5.{n}": bank for n, bank in enumerate((0, 0, 0, 1, 2, 3), start=1)}
    assert await read("apc-rpdu", {f"{OLD}1.16.0": 2800, **rows, **banks}) == {
        "power_w": 2800.0,
        "current_a.1": 3.0,
        "current_a.2": 4.0,
        "current_a.3": 5.0,
    }


async def test_of_a_three_phase_pdu_the_new_branch_tells_each_phase() -> None:
    phases = {
        f"{NEW}6.3.1.{column}.{n}": value
        for column, row in {5: (30, 40, 50), 6: (229, 230, 231), 7: (65, 88, 110)}.items()
        for n, value in enumerate(row, start=1)
    }
    seen = await read("apc-rpdu2", {f"{NEW}4.3.1.5.1": 263, **phases})
    assert seen["power_w"] == 2630.0
    assert [seen[f"current_a.{n}"] for n in (1, 2, 3)] == [3.0, 4.0, 5.0]
    assert [seen[f"voltage_v.{n}"] for n in (1, 2, 3)] == [229.0, 230.0, 231.0]
    assert [seen[f"line_power_w.{n}"] for n in (1, 2, 3)] == [650.0, 880.0, 1100.0]


async def test_the_new_branch_of_one_that_meters_each_outlet() -> None:
    assert await read("apc-rpdu2", AP8641) == {
        "power_w": 1210.0,
        "energy_kwh": 1951.6,
        "apparent_power_va": 1310.0,
        "power_factor": 0.94,
        "current_a.1": 6.5,
        "voltage_v.1": 201.0,
        "air_temp_c.1": None,
        "humidity_pct.1": None,
        "outlet_current_a.1": 0.9,
        "outlet_current_a.2": 0.5,
        "outlet_current_a.3": 0.4,
        "outlet_current_a.4": 0.7,
        **{f"outlet_on.{n}": 1.0 for n in range(1, 5)},
    }


async def test_the_new_branch_of_one_that_meters_as_a_whole() -> None:
    seen = await read("apc-rpdu2", AP8932)
    assert (seen["power_w"], seen["energy_kwh"], seen["current_a.1"]) == (160.0, 642.6, 1.4)
    assert seen["line_power_w.1"] == 160.0
    assert not {"line_power_w.2", "current_a.2", "voltage_v.2"} & seen.keys(), "one phase: no second one"
    assert [seen[f"outlet_on.{n}"] for n in range(1, 5)] == [1.0, 0.0, 0.0, 0.0]


async def test_minus_one_means_that_this_model_does_not_measure_it() -> None:
    device = SnmpDevice(load_profile("apc-rpdu2"), MemorySnmp(AP7902B), timeout_s=1, may_write=True)
    seen = (await device.read()).readings
    for name in ("power_w", "energy_kwh", "apparent_power_va", "power_factor", "voltage_v.1"):
        assert seen[name] == MISSING, name
    assert seen["current_a.1"].value == 1.6
    assert [seen[f"outlet_on.{n}"].value for n in range(1, 5)] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("profile", "command"), [("apc-rpdu", OLD + "3.3"), ("apc-rpdu2", NEW + "9.2.4")])
async def test_both_branches_are_commanded_in_the_same_codes(profile: str, command: str) -> None:
    link = MemorySnmp(AP8641)
    device = SnmpDevice(load_profile(profile), link, timeout_s=1, may_write=True)
    await device.switch_outlet(2, on=False)
    await device.switch_outlet(2, on=True)
    column = ".1.1.4.2" if profile == "apc-rpdu" else ".1.5.2"
    assert link.sets == [(command + column, 2), (command + column, 1)]
