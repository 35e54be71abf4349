"""The physics of a mining site in vectorised numpy: pure, seeded, no I/O beyond reading its own data
files."""

from shared.plant.air import AirParams
from shared.plant.faults import Fault, FaultName
from shared.plant.fleet_params import FleetParams, Surroundings, open_air
from shared.plant.hydro import HydroParams
from shared.plant.ladders import MinerModel, Preset, load_ladders
from shared.plant.meter import MeterReading
from shared.plant.miner import MinerFleet
from shared.plant.observe import FleetObservation, FleetTruth
from shared.plant.sensors import ZoneReading, ZoneTruth
from shared.plant.site import AlgorithmTotals, SitePlant
from shared.plant.site_spec import MinerGroup, SiteSpec, ZoneSpec, demo_site, mixed_container
from shared.plant.states import FailureReason, MinerState, TimingParams
from shared.plant.tariff import TariffSeries, read_tariff_csv, synthetic_tariff
from shared.plant.weather import WeatherSeries, constant_weather, read_epw, synthetic_weather

__all__ = [
    "AirParams",
    "AlgorithmTotals",
    "FailureReason",
    "Fault",
    "FaultName",
    "FleetObservation",
    "FleetParams",
    "FleetTruth",
    "HydroParams",
    "MeterReading",
    "MinerFleet",
    "MinerGroup",
    "MinerModel",
    "MinerState",
    "Preset",
    "SitePlant",
    "SiteSpec",
    "Surroundings",
    "TariffSeries",
    "TimingParams",
    "WeatherSeries",
    "ZoneReading",
    "ZoneSpec",
    "ZoneTruth",
    "constant_weather",
    "demo_site",
    "load_ladders",
    "mixed_container",
    "open_air",
    "read_epw",
    "read_tariff_csv",
    "synthetic_tariff",
    "synthetic_weather",
]
