"""What the site file says about power: caps, mains and curtailment."""

import itertools
import math

from edge_agent.config.structs import Curtailment, Mains, PowerCap, SiteFile
from edge_agent.config.zone_checks import Problem, check_limits, check_point
from shared.errors import ConfigError
from shared.ids import checked_id
from shared.telemetry import METRICS
from shared.units import Unit

_DRAW = (Unit.WATT, Unit.AMPERE)
_MOST = {Unit.WATT: 1e9, Unit.AMPERE: 1e5}


def check_power(site: SiteFile) -> list[Problem]:
    """Everything that is wrong with the power tables, as (dotted key, sentence)."""
    devices = {str(device.id) for device in site.devices}
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, cap in enumerate(site.power_caps):
        key = f"power_caps[{index}]"
        problems += _check_cap(site, cap, devices, key)
        if cap.id in seen:
            problems.append((f"{key}.id", f"power cap {cap.id!r} is used twice"))
        seen.add(cap.id)
    if site.mains is not None:
        problems += _check_mains(site.mains, devices)
    if site.curtailment is not None:
        problems += _check_curtailment(site.curtailment, devices)
    return problems


def _check_cap(site: SiteFile, cap: PowerCap, devices: set[str], key: str) -> list[Problem]:
    problems: list[Problem] = []
    try:
        checked_id(cap.id, "power cap")
    except ConfigError as error:
        problems.append((f"{key}.id", str(error)))
    if not cap.points:
        problems.append((f"{key}.points", "names no point: a cap that nothing measures never acts"))
    for index, ref in enumerate(cap.points):
        problems += check_point(ref, devices, _DRAW, f"{key}.points[{index}]")
    if len(set(cap.points)) < len(cap.points):
        problems.append((f"{key}.points", "names a point twice: it would be added twice"))
    units = {m.unit for ref in cap.points if (m := METRICS.get(ref.point.split(".")[0])) is not None}
    unit = Unit.AMPERE if units == {Unit.AMPERE} else Unit.WATT
    if len(units) > 1:
        problems.append((f"{key}.points", "mixes watts and amperes; give each its own cap"))
    problems += check_limits(cap.limits, (0.1, _MOST[unit]), unit, f"{key}.limits")
    volts = unit is Unit.AMPERE
    if not (50.0 <= cap.w_per_unit <= 50_000.0 if volts else cap.w_per_unit == 1.0):
        text = f"is {cap.w_per_unit:g}: 1 for points in W, the phase voltage (50 to 50000) for points in A"
        problems.append((f"{key}.w_per_unit", text))
    if not (math.isfinite(cap.ramp_w_per_min) and cap.ramp_w_per_min > 0):
        problems.append((f"{key}.ramp_w_per_min", "must be a finite number above 0 W per minute"))
    if bool(cap.zones) is (cap.pdu is not None):
        problems.append((key, "needs either zones or pdu: whose load is it that is measured here?"))
    known = {zone.id for zone in site.zones}
    problems += [
        (f"{key}.zones", f"no zone {zone!r} in this file") for zone in cap.zones if zone not in known
    ]
    if cap.pdu is not None and cap.pdu not in devices:
        problems.append((f"{key}.pdu", f"no device {cap.pdu!r} in this file"))
    elif cap.pdu is not None and all(device.pdu != cap.pdu for device in site.devices):
        problems.append(
            (f"{key}.pdu", f"no miner of this file hangs on {cap.pdu!r}: nothing could be lowered")
        )
    return problems


def _check_mains(mains: Mains, devices: set[str]) -> list[Problem]:
    problems: list[Problem] = []
    for name, unit in (("on_battery_point", Unit.FLAG), ("runtime_point", Unit.SECOND)):
        metric = METRICS.get(getattr(mains, name).split(".")[0])
        if metric is None or metric.unit is not unit:
            problems.append((f"mains.{name}", f"is {getattr(mains, name)!r}, expected a point in {unit}"))
    if mains.device not in devices:
        problems.append(("mains.device", f"no device {mains.device!r} in this file"))
    problems += [
        (f"mains.{name}", "must be between 0 and 3600 s")
        for name in ("on_delay_s", "restore_after_s")
        if not 0 <= getattr(mains, name) <= 3600
    ]
    times = [stage.runtime_below_s for stage in mains.stages]
    if not times or not all(math.isfinite(t) and t > 0 for t in times):
        problems.append(("mains.stages", "needs at least one stage, each with a runtime above 0 s"))
    if not all(above > below for above, below in itertools.pairwise(times)):
        problems.append(("mains.stages", "must stand by falling runtime_below_s"))
    if mains.stages and not mains.stages[-1].stop:
        problems.append(("mains.stages", "the last stage must stop the miners: the battery ends"))
    return problems


def _check_curtailment(curtailment: Curtailment, devices: set[str]) -> list[Problem]:
    problems: list[Problem] = []
    if not curtailment.meter:
        problems.append(("curtailment.meter", "names no point: what cannot be measured cannot be proven"))
    for index, ref in enumerate(curtailment.meter):
        problems += check_point(ref, devices, (Unit.WATT,), f"curtailment.meter[{index}]")
    if len(set(curtailment.meter)) < len(curtailment.meter):
        problems.append(("curtailment.meter", "names a point twice: it would be added twice"))
    ranges = {
        "within_pct": (0.0, 20.0, "%"),
        "within_w": (0.0, 1e7, "W"),
        "confirm_for_s": (0.0, 600.0, "s"),
        "restore_jitter_s": (0.0, 3600.0, "s"),
    }
    for name, (low, high, unit) in ranges.items():
        value = getattr(curtailment, name)
        if not low <= value <= high:
            problems.append((f"curtailment.{name}", f"is {value:g}, expected {low:g} to {high:g} {unit}"))
    return problems
