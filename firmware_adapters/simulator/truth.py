"""What is really so on the simulated site: for tests and for the demo's proof, never for control."""

from collections.abc import Mapping

import msgspec
import numpy as np

from firmware_adapters.simulator.faults import FaultRequest
from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.machine import PlantFeed
from firmware_adapters.simulator.plant_build import BuiltPlant
from firmware_adapters.simulator.sensor_gear import Contacts
from shared.plant import MinerState
from shared.plant.ups import Ups


class MinerTruth(msgspec.Struct, frozen=True, kw_only=True):
    """Temperatures in °C; "reported" is what the firmware shows (board + 15 K), "true" the silicon.

    `protection_fired` counts how often the firmware's own 90 °C limit stopped the machine.
    """

    state: str
    preset: str
    power_w: float
    true_chip_max_c: float
    reported_chip_c: float
    reported_chip_max_ever_c: float
    protection_fired: int
    fan_rpm_min: float
    powered: bool


class ZoneTruth(msgspec.Struct, frozen=True, kw_only=True):
    """Cold and hot side in °C, drive and pump in per cent of full speed."""

    supply_c: float
    return_c: float
    drive_command_pct: float
    drive_actual_pct: float
    pump_actual_pct: float


class UpsTruth(msgspec.Struct, frozen=True, kw_only=True):
    """The one UPS: `runtime_s` at its load, to the second (its agent says whole minutes)."""

    on_battery: bool
    charge_pct: float
    runtime_s: float
    alive: bool


class SiteTruth(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /truth`. `reported_chip_max_ever_c` and `protection_fired` are those of the whole site."""

    time_s: float
    power_w: float
    reported_chip_max_ever_c: float
    protection_fired: int
    miners: dict[str, MinerTruth]
    zones: dict[str, ZoneTruth]
    faults: tuple[FaultRequest, ...]
    grid_on: bool
    ups: UpsTruth | None
    contacts: dict[str, dict[str, float]]
    """What each contact block shows, by device."""


def site_truth(
    built: BuiltPlant, feed: PlantFeed, gear: Mapping[str, Gear], faults: tuple[FaultRequest, ...]
) -> SiteTruth:
    """The truth now."""
    plant = built.plant
    return SiteTruth(
        time_s=round(plant.time_s, 3),
        power_w=round(plant.power_w, 1),
        reported_chip_max_ever_c=float(feed.reported_max_c.max()),
        protection_fired=int(plant.fleet.protection_trips.sum()),
        miners={name: _miner(feed, index) for name, index in built.miners.items()},
        zones={name: _zone(built, index) for name, index in built.zones.items()},
        faults=faults,
        grid_on=plant.grid_on,
        ups=None if plant.ups is None else _ups(plant.ups),
        contacts={name: dict(one.points()) for name, one in gear.items() if isinstance(one, Contacts)},
    )


def _ups(ups: Ups) -> UpsTruth:
    return UpsTruth(
        on_battery=ups.on_battery,
        charge_pct=round(ups.charge_pct, 2),
        runtime_s=round(60.0 * ups.minutes_left, 1),
        alive=ups.alive,
    )


def _miner(feed: PlantFeed, index: int) -> MinerTruth:
    fleet = feed.plant.fleet
    real = fleet.boards_exist[index]
    fans = fleet.fan_rpm[index][fleet.fans_exist[index]]
    model = fleet.models[index]
    return MinerTruth(
        state=MinerState(int(fleet.phases.state[index])).label,
        preset=model.presets[int(fleet.preset[index])].name,
        power_w=round(float(fleet.power_w[index]), 1),
        true_chip_max_c=round(float(np.max(fleet.chip_c[index][real])), 2),
        reported_chip_c=float(feed.seen.chip_out_c[index].max()),
        reported_chip_max_ever_c=float(feed.reported_max_c[index]),
        protection_fired=int(fleet.protection_trips[index]),
        fan_rpm_min=round(float(fans.min()), 0) if fans.size else 0.0,
        powered=bool(fleet.has_power[index]),
    )


def _zone(built: BuiltPlant, index: int) -> ZoneTruth:
    truth = built.plant.zones.truth(index)
    return ZoneTruth(
        supply_c=round(truth.supply_c, 2),
        return_c=round(truth.return_c, 2),
        drive_command_pct=truth.drive_command_pct,
        drive_actual_pct=round(truth.drive_actual_pct, 2),
        pump_actual_pct=truth.pump_actual_pct,
    )
