"""From a site file's devices to a plant: which machine stands where, on which rung."""

import re
from collections.abc import Sequence

from firmware_adapters.simulator.site_file import SimulatedSite
from shared.errors import ConfigError
from shared.inventory import DeviceEntry
from shared.plant import (
    AirParams,
    FleetParams,
    HydroParams,
    MinerGroup,
    MinerModel,
    SitePlant,
    SiteSpec,
    TimingParams,
    ZoneSpec,
    constant_weather,
    load_ladders,
)
from shared.plant.ups import UpsParams
from shared.telemetry import DeviceKind
from shared.units import Algorithm

HUMIDITY_PCT = 50.0
TARGET_C = 70.0
"""Fan target of the emulated firmwares: 65 °C (VNish's default) leaves the fans of a full container at their
limit, so operators of such sites raise it (as `shared.plant.demo_site`)."""
SETTLE_S = 900.0


class BuiltPlant:
    """A plant and the way from device and zone names to its numbers."""

    def __init__(self, plant: SitePlant, miners: dict[str, int], zones: dict[str, int]) -> None:
        self.plant = plant
        self.miners = miners
        self.zones = zones


def model_named(text: str) -> MinerModel | None:
    """The plant's model behind a site file's word: "s19jpro", "S19j Pro" and "s19j-pro" are the same."""

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    return next((model for name, model in load_ladders().items() if plain(name) == plain(text)), None)


def build_plant(site: SimulatedSite) -> BuiltPlant:
    """The plant of a site, warm and in its steady state. Raises `ConfigError` for an unknown model."""
    order: list[DeviceEntry] = []
    zones: list[ZoneSpec] = []
    numbers: dict[str, int] = {}
    for zone in site.zones:
        inside = [entry for entry in site.miners if entry.zone == zone.id]
        if not inside:
            continue
        numbers[zone.id] = len(zones)
        groups = [_group(entry) for entry in inside]
        zones.append(ZoneSpec(name=zone.id, cooling=_cooling(zone.cooling, groups), miners=groups))
        order += inside
    settings = site.settings
    timing = TimingParams(retune_s=settings.retune_s, cold_start_s=settings.cold_start_s)
    spec = SiteSpec(
        zones=zones,
        weather=constant_weather(settings.outdoor_temp_c, HUMIDITY_PCT),
        fleet=FleetParams(target_c=TARGET_C, timing=timing),
        ups=_ups(site),
    )
    try:
        plant = SitePlant(spec, seed=settings.seed)
    except ValueError as error:
        raise ConfigError(f"the plant cannot be built: {error}") from error
    plant.settle(SETTLE_S)
    return BuiltPlant(plant, {str(entry.id): index for index, entry in enumerate(order)}, numbers)


def _ups(site: SimulatedSite) -> UpsParams | None:
    """The plant's one UPS, for a site that lists one; several entries show the same."""
    if not any(entry.kind is DeviceKind.UPS for entry in site.gear):
        return None
    base = UpsParams()
    load_wh = base.load_w * site.settings.ups_runtime_s / 3600.0
    return UpsParams(capacity_wh=load_wh / base.efficiency)


def _cooling(kind: str, groups: Sequence[MinerGroup]) -> AirParams | HydroParams:
    """Cooling sized for the zone's machines on their strongest rungs."""
    if kind == "air":
        return AirParams(miners=len(groups))
    ladders = load_ladders()
    return HydroParams(design_w=sum(ladders[group.model].presets[-1].power_w for group in groups))


def _group(entry: DeviceEntry) -> MinerGroup:
    model = model_named(entry.model or "")
    if model is None:
        known = ", ".join(load_ladders())
        raise ConfigError(f"device {entry.id}: no plant model {entry.model!r}; known are {known}")
    if entry.algorithm is not None and entry.algorithm is not Algorithm(model.algorithm):
        raise ConfigError(f"device {entry.id}: a {model.name} runs {model.algorithm}, not {entry.algorithm}")
    return MinerGroup(model=model.name, count=1, preset=_rung(entry, model))


def _rung(entry: DeviceEntry, model: MinerModel) -> int:
    """The rung nearest to the entry's rated power; the stock rung where it names none."""
    if entry.nominal_w is None:
        return model.stock_preset
    wanted = entry.nominal_w
    return min(range(len(model.presets)), key=lambda index: abs(model.presets[index].power_w - wanted))
