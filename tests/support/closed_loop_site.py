"""A site of 48 miners for the closed loop: its site file, its plant and its equipment, drawn from a seed.

Two air zones and one water loop, as three containers of one mine would be. What an owner chooses (limits,
waits, who may raise) differs from episode to episode within what the loader accepts; the physics is
`shared.plant`, with weather from frost to heat wave.
"""

import dataclasses
import random
from pathlib import Path

from edge_agent import config
from edge_agent.config import SiteFile
from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.gear_build import make_gear
from firmware_adapters.simulator.plant_build import BuiltPlant
from shared.plant import (
    AirParams,
    FleetParams,
    HydroParams,
    MinerGroup,
    SitePlant,
    SiteSpec,
    TimingParams,
    ZoneSpec,
    load_ladders,
)
from shared.plant.ups import UpsParams
from shared.plant.weather import ClimateParams, WeatherSeries, constant_weather, synthetic_weather
from shared.telemetry import DeviceKind

PLANT_S = 2.0
"""One step of the physics, s; the plant is stable up to 5 s."""
SETTLE_S = 240.0
FEEDS = {"air-a": ("S19j Pro", 20), "air-b": ("S21 Pro", 16), "loop-h": ("S19 Pro Hyd", 12)}
HYDRO = "loop-h"
_SAFE_PRESET = {"S19j Pro": "2000", "S21 Pro": "2640", "S19 Pro Hyd": "3495"}
_NOMINAL_W = {"S19j Pro": 3080.0, "S21 Pro": 3520.0, "S19 Pro Hyd": 5150.0}
OUTLETS = 8
"""So many miners of the first zone hang on a switched PDU."""


def draw_site(rng: random.Random) -> SiteFile:
    """A site file as text, through the real loader, so that a new key or rule shows here at once."""
    trip_c = rng.choice((84.0, 88.0, 94.0, 99.0))
    text = _HEAD.format(
        may_raise=str(rng.random() < 0.8).lower(),
        may_stop=str(rng.random() < 0.3).lower(),
        poll_s=rng.choice((5.0, 8.0, 10.0)),
        stale_s=rng.choice((12.0, 20.0)),
        lost_s=rng.choice((24.0, 40.0)),
        settle_s=rng.choice((30.0, 60.0, 120.0)),
        stop_confirm_s=rng.choice((20.0, 30.0)),
        after_stop_s=rng.choice((30.0, 60.0, 120.0)),
        power_pct=rng.choice((5.0, 10.0, 25.0)),
        dwell_s=rng.choice((30.0, 60.0, 180.0)),
    )
    for zone in FEEDS:
        text += _zone(zone, trip_c, rng)
    for zone, (model, count) in FEEDS.items():
        text += _gear_entries(zone)
        text += "".join(_miner(zone, model, number) for number in range(1, count + 1))
    text += _cap(rng) + _MAINS
    return config.parse(text, Path("/nowhere/site.toml"))


def _limits(name: str, values: tuple[float, float, float, float], delay_s: float, tighten: str = "") -> str:
    """`values` are release, warn, shed, trip, in the unit of `name`."""
    named = zip(("release", "warn", "shed", "trip"), values, strict=True)
    lines = "".join(f"{key} = {value}\n" for key, value in named)
    return f"\n[zones.limits.{name}]\n{lines}on_delay_s = {delay_s}\noff_delay_s = {3 * delay_s}\n{tighten}"


def _below(trip_c: float) -> tuple[float, float, float, float]:
    return trip_c - 13.0, trip_c - 9.0, trip_c - 5.0, trip_c


def _zone(zone: str, trip_c: float, rng: random.Random) -> str:
    hydro = zone == HYDRO
    delay_s = rng.choice((0.0, 4.0, 8.0))
    text = f'\n[[zones]]\nid = "{zone}"\ncooling = "{"hydro" if hydro else "air"}"\n'
    text += _limits("chip_temp_c", _below(trip_c), delay_s)
    text += _limits("board_temp_c", _below(trip_c - 13.0), delay_s)
    if hydro:
        text += _limits("water_c", _below(rng.choice((50.0, 58.0))), 4.0)
        text += _limits("flow_m3h", (7.0, 6.0, 4.5, 3.0), 4.0)
    else:
        text += _limits("inlet_air_c", _below(rng.choice((47.0, 60.0))), 4.0, "tighten = 2.0\n")
    text += (
        f'\n[zones.cooling_proof]\ndevice = "{drives(zone)[-1]}"\npoint = "speed_pct"\nlost_below = 20.0\n'
        f"proven_above = 30.0\nlost_after_s = {rng.choice((2.0, 4.0, 8.0))}\n"
        f"proven_for_s = {rng.choice((5.0, 10.0, 30.0))}\n"
    )
    for drive in drives(zone):
        text += (
            f'\n[[zones.cooling_actuators]]\ndevice = "{drive}"\npoint = "speed_setpoint_pct"\n'
            "fail_safe = 100.0\nlow = 30.0\nhigh = 100.0\noff = 0.0\n"
        )
    probes = [("water_c", f"skid-{zone}", "water_temp_c.1"), ("flow_m3h", f"skid-{zone}", "flow_m3h")]
    if not hydro:
        probes = [("inlet_air_c", f"inlet-{zone}-{n}", "air_temp_c") for n in (1, 2)]
    for role, device, point in probes:
        text += f'\n[[zones.sensors]]\nrole = "{role}"\ndevice = "{device}"\npoint = "{point}"\n'
    for name, point, effect, unknown, fans in CONTACTS:
        text += (
            f'\n[[zones.contacts]]\nname = "{name}"\ndevice = "io-{zone}"\npoint = "{point}"\n'
            f'effect = "{effect}"\non_unknown = "{unknown}"\non_delay_s = 1.0\n{fans}'
        )
    return text


CONTACTS = (
    ("estop", "estop_pressed", "trip", "inhibit", 'fans = "on"\n'),
    ("smoke", "smoke", "trip", "inhibit", 'fans = "off"\n'),
    ("leak", "water_leak", "trip", "alarm", 'fans = "leave"\n'),
    ("door", "door_open", "alarm", "alarm", ""),
)


def drives(zone: str) -> list[str]:
    """The cooling drives of a zone; the last one proves its cooling."""
    return [f"wall-{zone}", f"pump-{zone}"] if zone == HYDRO else [f"wall-{zone}"]


def _gear_entries(zone: str) -> str:
    entries = [(drive, "drive", "modbus", "danfoss-fc102") for drive in drives(zone)]
    entries.append((f"io-{zone}", "contacts", "modbus", "contacts"))
    if zone == HYDRO:
        entries.append((f"skid-{zone}", "probe", "modbus", "water-loop"))
    else:
        entries += [(f"inlet-{zone}-{n}", "probe", "modbus", "xy-md02") for n in (1, 2)]
    if zone == "air-a":
        entries.append(("pdu-1", "pdu", "snmp", "apc-rpdu2"))
        entries.append(("meter-1", "meter", "modbus", "eastron-sdm630"))
        entries.append(("ups-1", "ups", "snmp", "ups-mib"))
    text = ""
    for number, (device, kind, adapter, profile) in enumerate(entries, start=1):
        text += (
            f'\n[[devices]]\nid = "{device}"\nkind = "{kind}"\nadapter = "{adapter}"\nprofile = "{profile}"\n'
            f'host = "127.0.{ord(zone[-1])}.{number}"\nport = 15020\nzone = "{zone}"\n'
        )
        if device.startswith("pump-"):
            text += 'model = "pump"\n'
    return text


def _miner(zone: str, model: str, number: int) -> str:
    outlet = f'pdu = "pdu-1"\noutlet = {number}\n' if zone == "air-a" and number <= OUTLETS else ""
    return (
        f'\n[[devices]]\nid = "{zone}-{number:02d}"\nkind = "miner"\nadapter = "vnish"\nzone = "{zone}"\n'
        f'host = "127.9.{ord(zone[-1])}.{number}"\nport = 18080\nmodel = "{model.replace(" ", "").lower()}"\n'
        f'algorithm = "sha256d"\nnominal_w = {_NOMINAL_W[model]}\nsafe_preset = "{_SAFE_PRESET[model]}"\n'
        f'credential = "miners"\n{outlet}'
    )


def _cap(rng: random.Random) -> str:
    """A cap on the feeder: now and then so low that the site lives at it."""
    nominal_w = sum(count * _NOMINAL_W[model] for model, count in FEEDS.values())
    warn = round(rng.choice((0.8, 1.0, 1.5)) * nominal_w)
    shed, trip = round(warn * 1.08), round(warn * 1.5)
    zones = ", ".join(f'"{zone}"' for zone in FEEDS)
    return (
        f'\n[[power_caps]]\nid = "feeder"\npoints = [{{ device = "meter-1", point = "power_w" }}]\n'
        f"w_per_unit = 1.0\nramp_w_per_min = 30000.0\nzones = [{zones}]\n"
        f"\n[power_caps.limits]\nrelease = {round(warn * 0.95)}\nwarn = {warn}\nshed = {shed}\n"
        f"trip = {trip}\non_delay_s = 5.0\noff_delay_s = 15.0\n"
    )


_MAINS = """
[mains]
device = "ups-1"
on_battery_point = "on_battery"
runtime_point = "runtime_s"
on_delay_s = 5.0
restore_after_s = 30.0
stages = [{ runtime_below_s = 6000.0, stop = false }, { runtime_below_s = 3600.0, stop = true }]
"""


_HEAD = """\
schema = 1

[site]
id = "soak"
name = "Soak"
timezone = "UTC"
ml_may_raise = {may_raise}
ml_may_stop = {may_stop}
action_limits = "seeds"
remote_reset = false
simulated = true

[paths]
guardian_state = "guardian"
agent_state = "agent"
guardian_socket = "g.sock"
operator_socket = "o.sock"
keyring = "keyring.toml"
credentials_key = "master.key"

[timing]
poll_s = {poll_s}
safety_poll_s = 2.0
request_timeout_s = 1.0
stale_after_s = {stale_s}
lost_after_s = {lost_s}
step_s = 5
lease_max_s = 60.0
lease_hold_s = 30.0
lease_safe_s = 120.0
settle_s = {settle_s}
stop_confirm_s = {stop_confirm_s}
write_confirm_s = 40.0
restart_after_stop_s = {after_stop_s}
restart_window_s = 30.0
restart_power_pct = {power_pct}
preset_dwell_s = {dwell_s}
starts_per_hour = 20
bypass_max_s = 600.0
proof_test_every_s = 86400.0

[uplink]
broker_host = "127.0.0.1"
broker_port = 1883

[agent]
status_port = 8099
shadow_cycles = 5
score_every_s = 5.0
"""


# ---------------------------------------------------------------- plant


def draw_weather(rng: random.Random) -> WeatherSeries:
    """Frost, a mild day, a heat wave, or a stretch of a synthetic year somewhere between."""
    kind = rng.choice(("frost", "mild", "hot", "heat-wave", "days", "days"))
    if kind == "days":
        climate = ClimateParams(mean_c=rng.uniform(5.0, 28.0), day_k=rng.uniform(3.0, 12.0))
        return synthetic_weather(
            rng.randrange(1 << 30), days=3.0, start_day=rng.uniform(0.0, 360.0), params=climate
        )
    spans = {"frost": (-25.0, 0.0), "mild": (5.0, 22.0), "hot": (28.0, 36.0), "heat-wave": (38.0, 47.0)}
    return constant_weather(rng.uniform(*spans[kind]), rng.uniform(20.0, 90.0))


def draw_plant(site: SiteFile, rng: random.Random) -> BuiltPlant:
    """The physics behind `site`, warm and mining; some machines have rungs that were never tuned."""
    ladders = load_ladders()
    zones = []
    for zone, (model, count) in FEEDS.items():
        top = sum(not rung.modded_psu for rung in ladders[model].presets) - 1
        groups = [
            MinerGroup(
                model=model,
                count=1,
                preset=min(max(ladders[model].stock_preset + rng.randint(-4, 1), 0), top),
            )
            for _ in range(count)
        ]
        design_w = 1.15 * count * _NOMINAL_W[model]
        cooling = HydroParams(design_w=design_w) if zone == HYDRO else AirParams(miners=count)
        zones.append(ZoneSpec(name=zone, cooling=cooling, miners=groups))
    timing = TimingParams(retune_s=rng.choice((40.0, 90.0, 180.0)), cold_start_s=rng.choice((40.0, 120.0)))
    fleet = FleetParams(target_c=rng.choice((65.0, 70.0)), protect_c=rng.choice((90.0, 110.0)), timing=timing)
    weather = draw_weather(rng)
    spec = SiteSpec(zones=zones, weather=weather, fleet=fleet, max_substep_s=PLANT_S, ups=UpsParams())
    plant = SitePlant(spec, seed=rng.randrange(1 << 30))
    tuned = plant.fleet.tuned
    for miner in range(plant.fleet.n):
        if rng.random() < 0.3:
            tuned[miner, int(plant.fleet.preset[miner]) + 1 :] = False
    plant.settle(SETTLE_S)
    miners = [entry for zone in site.zones for entry in site.miners if entry.zone == zone.id]
    return BuiltPlant(
        plant,
        {str(entry.id): index for index, entry in enumerate(miners)},
        {str(zone.id): index for index, zone in enumerate(site.zones)},
    )


def change_weather(plant: SitePlant, weather: WeatherSeries) -> None:
    """Other weather from now on."""
    plant.spec = dataclasses.replace(plant.spec, weather=weather)


def gear_of(site: SiteFile, built: BuiltPlant) -> dict[str, Gear]:
    """Everything on the site that is no miner."""
    return {
        str(entry.id): make_gear(entry, built, site.devices)
        for entry in site.devices
        if entry.kind is not DeviceKind.MINER
    }
