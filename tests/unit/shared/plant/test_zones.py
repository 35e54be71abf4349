"""Air containers and hydro loops on their own: balances, laws and commands."""

import numpy as np
import pytest

from shared.plant import AirParams, HydroParams, constant_weather
from shared.plant.air import AirZones
from shared.plant.hydro import HydroLoops

MILD = constant_weather(28.0, 45.0).at(0.0)


@pytest.mark.parametrize("dt_s", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("wall_pct", [85.0, 0.0])
def test_air_energy_balance(dt_s: float, wall_pct: float) -> None:
    zones = AirZones([AirParams(miners=48)])
    zones.wall.command(0, wall_pct)
    heat, flow = np.array([140e3]), np.array([8.2])
    cold_j, hot_j, steel_j = zones.stored_j_per_k
    for _ in range(100):
        before = cold_j * zones.cold_c + hot_j * zones.hot_c
        steel = zones.steel_c.copy()
        zones.advance(dt_s, MILD, heat, flow)
        stored = (cold_j * zones.cold_c + hot_j * zones.hot_c - before) / dt_s
        into_steel = steel_j * (zones.steel_c - steel) / dt_s
        explicit = steel_j * 0.0 + (zones.hot_c - steel) * 320.0
        assert into_steel == pytest.approx(explicit, rel=1e-6)
        assert heat == pytest.approx(zones.outside_w + stored + into_steel, rel=1e-6)


def test_pads_cool_towards_the_wet_bulb_and_dry_out_slowly() -> None:
    zones = AirZones([AirParams(miners=48)])
    heat, flow = np.array([140e3]), np.array([8.2])
    for _ in range(300):
        zones.advance(1.0, MILD, heat, flow)
    wet = zones.cold_c[0]
    assert MILD.wet_bulb_c < wet < MILD.dry_bulb_c - 3.0
    assert zones.water_kg_s[0] > 0.0
    zones.pump_lost[0] = 1.0
    for _ in range(60):
        zones.advance(1.0, MILD, heat, flow)
    assert zones.cold_c[0] < wet + 1.5
    for _ in range(3600):
        zones.advance(1.0, MILD, heat, flow)
    assert zones.cold_c[0] == pytest.approx(MILD.dry_bulb_c, abs=0.5)


def test_wall_power_is_cubic_and_the_drive_ramps() -> None:
    zones = AirZones([AirParams(miners=48, wall_start_pct=100.0, pads_wet=False)])
    full = zones.power_w[0]
    zones.wall.command(0, 50.0)
    zones.advance(1.0, MILD, np.zeros(1), np.zeros(1))
    assert zones.wall.actual_pct[0] == 95.0
    for _ in range(20):
        zones.advance(1.0, MILD, np.zeros(1), np.zeros(1))
    assert zones.power_w[0] == pytest.approx(full / 8.0)


@pytest.mark.parametrize("pct", [-1.0, 101.0, float("nan")])
def test_drives_refuse_nonsense(pct: float) -> None:
    zones = AirZones([AirParams(miners=48)])
    with pytest.raises(ValueError, match=r"0\.\.100"):
        zones.wall.command(0, pct)
    with pytest.raises(IndexError):
        zones.wall.command(1, 50.0)


def test_hydro_design_point() -> None:
    """plant.md §2.2c: 6.5 K at 1 MW and 150 m3/h, about 10 K of mean approach at full UA."""
    loop = HydroLoops([HydroParams(design_w=1e6)])
    loop.cooler_auto[:] = False
    loop.cooler.command(0, 100.0)
    for _ in range(1200):
        loop.advance(1.0, MILD, np.array([1e6]))
    rise, near = loop.return_c - loop.supply_c, loop.supply_c - 28.0
    assert rise == pytest.approx(6.5, rel=0.02)
    assert rise / np.log((near + rise) / near) == pytest.approx(10.0, rel=0.02)
    assert loop.outside_w == pytest.approx(1e6, rel=1e-3)


def test_ua_law() -> None:
    """UA follows the fan speed to the power 0.75."""
    approach = []
    for pct in (100.0, 50.0):
        loop = HydroLoops([HydroParams(design_w=1e6)])
        loop.cooler_auto[:] = False
        loop.cooler.command(0, pct)
        for _ in range(3000):
            loop.advance(1.0, MILD, np.array([1e6]))
        near, rise = loop.supply_c[0] - 28.0, loop.return_c[0] - loop.supply_c[0]
        approach.append(rise / np.log((near + rise) / near))
    assert approach[1] / approach[0] == pytest.approx(2.0**0.75, rel=0.02)


def test_the_skid_holds_its_setpoint_and_the_bypass_its_minimum() -> None:
    loop = HydroLoops([HydroParams(design_w=1e6)])
    for _ in range(1800):
        loop.advance(1.0, constant_weather(15.0, 60.0).at(0.0), np.array([1e6]))
    assert loop.supply_c[0] == pytest.approx(35.0, abs=0.5)
    loop.cooler_auto[:] = False
    loop.cooler.command(0, 100.0)
    for _ in range(1800):
        loop.advance(1.0, constant_weather(-10.0, 60.0).at(0.0), np.array([2e5]))
    assert 19.0 < loop.supply_c[0] < 25.0
