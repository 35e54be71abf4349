"""What a simulated site consists of, and the container that tests and demos use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.plant.air import AirParams
from shared.plant.fleet_params import FleetParams
from shared.plant.hydro import HydroParams
from shared.plant.ladders import load_ladders
from shared.plant.meter import MeterParams
from shared.plant.tariff import TariffSeries
from shared.plant.ups import UpsParams
from shared.plant.weather import WeatherSeries, constant_weather


@dataclass(frozen=True, kw_only=True, slots=True)
class MinerGroup:
    """`count` machines of one model (a name in the ladders) on one rung; `preset` None means the stock
    rung."""

    model: str
    count: int
    preset: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneSpec:
    """A zone: its cooling (the parameter type says which kind) and its miners in slot order."""

    name: str
    cooling: AirParams | HydroParams
    miners: Sequence[MinerGroup]

    @property
    def size(self) -> int:
        """Number of miners."""
        return sum(group.count for group in self.miners)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSpec:
    """A whole site. `hazard_speed` 0 switches random failures off, 1 is real life, more makes training
    data."""

    zones: Sequence[ZoneSpec]
    weather: WeatherSeries
    tariff: TariffSeries | None = None
    fleet: FleetParams = field(default_factory=FleetParams)
    meter: MeterParams = field(default_factory=MeterParams)
    ups: UpsParams | None = None
    hazard_speed: float = 0.0
    max_substep_s: float = 1.0


def mixed_container(
    name: str = "c1",
    *,
    s19j_pro: int = 24,
    s21_pro: int = 23,
    l9: int = 1,
    s19j_preset: str = "2700",
    s21_preset: str = "2980",
    l9_preset: str = "3000",
) -> ZoneSpec:
    """One air container; by default 48 miners and about 140 kW, on rungs that leave the fans some headroom
    [default].

    Raises:
        KeyError: a preset that the model's ladder does not have.
    """
    ladders = load_ladders()
    groups = [
        MinerGroup(model=model, count=count, preset=ladders[model].preset_index(preset))
        for model, count, preset in (
            ("S19j Pro", s19j_pro, s19j_preset),
            ("S21 Pro", s21_pro, s21_preset),
            ("L9", l9, l9_preset),
        )
        if count
    ]
    return ZoneSpec(name=name, cooling=AirParams(miners=s19j_pro + s21_pro + l9), miners=groups)


def demo_site(weather: WeatherSeries | None = None, *, fleet: FleetParams | None = None) -> SiteSpec:
    """One mixed container on a mild day (28 deg C, 45 % RH, pads wet) with a UPS; target 70 deg C as an
    operator of such a site would set it, because 65 deg C leaves the fans at their limit [default]."""
    return SiteSpec(
        zones=[mixed_container()],
        weather=weather or constant_weather(28.0, 45.0),
        fleet=fleet or FleetParams(target_c=70.0),
        ups=UpsParams(),
    )
