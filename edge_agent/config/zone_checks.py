"""What one zone of the site file means."""

import itertools
import math
from collections import Counter
from types import MappingProxyType

from edge_agent.config.structs import (
    Contact,
    CoolingActuator,
    CoolingProof,
    Effect,
    FansAfterTrip,
    HighLimits,
    LowLimits,
    PointRef,
    SensorRole,
    SiteFile,
    Zone,
)
from shared.errors import ConfigError
from shared.ids import checked_id
from shared.telemetry import METRICS
from shared.units import Unit

Problem = tuple[str, str]

FEEDS: MappingProxyType[SensorRole, tuple[str, ...]] = MappingProxyType(
    {
        SensorRole.INLET_AIR: ("inlet_air_c",),
        SensorRole.WATER: ("water_c", "water_min_c"),
        SensorRole.FLOW: ("flow_m3h",),
        SensorRole.PRESSURE: ("pressure_pa",),
        SensorRole.DEW: ("dew_margin_c",),
    }
)
"""Which limits of a zone the probes of each role feed."""

_SENSOR_UNIT = {
    SensorRole.INLET_AIR: Unit.CELSIUS,
    SensorRole.WATER: Unit.CELSIUS,
    SensorRole.FLOW: Unit.CUBIC_METRE_PER_HOUR,
    SensorRole.PRESSURE: Unit.PASCAL,
    SensorRole.DEW: Unit.PERCENT,
}
_LIMIT_UNITS = {
    "chip_temp_c": Unit.CELSIUS,
    "board_temp_c": Unit.CELSIUS,
    "inlet_air_c": Unit.CELSIUS,
    "water_c": Unit.CELSIUS,
    "water_min_c": Unit.CELSIUS,
    "flow_m3h": Unit.CUBIC_METRE_PER_HOUR,
    "pressure_pa": Unit.PASCAL,
    "dew_margin_c": Unit.CELSIUS,
}
_WARM = (15.0, 120.0)
_PLAUSIBLE = {
    "chip_temp_c": _WARM,
    "board_temp_c": _WARM,
    "inlet_air_c": _WARM,
    "water_c": _WARM,
    "water_min_c": (1.0, 60.0),
    "flow_m3h": (0.1, 2000.0),
    "pressure_pa": (1.0, 2_000_000.0),
    "dew_margin_c": (0.1, 30.0),
}
_NEEDED_LIMITS = {"air": ("inlet_air_c",), "hydro": ("water_c", "flow_m3h")}


def check_zone(site: SiteFile, zone: Zone, key: str) -> list[Problem]:
    """What is wrong with one zone; `key` is its place in the file."""
    problems: list[Problem] = []
    needed = _NEEDED_LIMITS.get(zone.cooling)
    if needed is None:
        problems.append((f"{key}.cooling", f"is {zone.cooling!r}, expected 'air' or 'hydro'"))
    for name in zone.limits.__struct_fields__:
        limits = getattr(zone.limits, name)
        if limits is not None:
            problems += check_limits(limits, _PLAUSIBLE[name], _LIMIT_UNITS[name], f"{key}.limits.{name}")
        elif name in (needed or ()):
            text = f"is missing: a zone cooled by {zone.cooling} needs these limits, in {_LIMIT_UNITS[name]}"
            problems.append((f"{key}.limits.{name}", text))
    kinds = {str(device.id) for device in site.devices}
    problems += _check_proof(zone.cooling_proof, kinds, f"{key}.cooling_proof")
    for index, actuator in enumerate(zone.cooling_actuators):
        problems += _check_actuator(actuator, kinds, f"{key}.cooling_actuators[{index}]")
    problems += _check_sensors(zone, kinds, key)
    problems += _check_contacts(zone, kinds, key)
    if zone.bypass_key is not None:
        problems += check_point(zone.bypass_key, kinds, (Unit.FLAG,), f"{key}.bypass_key")
    return problems


def _check_actuator(actuator: CoolingActuator, devices: set[str], key: str) -> list[Problem]:
    problems: list[Problem] = []
    if actuator.device not in devices:
        problems.append((f"{key}.device", f"no device {actuator.device!r} in this file"))
    numbers = {name: getattr(actuator, name) for name in ("fail_safe", "low", "high", "off")}
    numbers = {name: value for name, value in numbers.items() if value is not None}
    problems += [
        (f"{key}.{name}", f"is {value}, must be a finite number")
        for name, value in numbers.items()
        if not math.isfinite(value)
    ]
    if not actuator.low < actuator.high:
        problems.append((f"{key}.low", "must be below high"))
    if not actuator.low <= actuator.fail_safe <= actuator.high:
        text = (
            f"is {actuator.fail_safe:g}, must lie within low and high: the fail-safe side must be reachable"
        )
        problems.append((f"{key}.fail_safe", text))
    return problems


def _check_sensors(zone: Zone, devices: set[str], key: str) -> list[Problem]:
    """A limit that nothing feeds would be an interlock that is switched off without a word."""
    problems: list[Problem] = []
    count = Counter(sensor.role for sensor in zone.sensors)
    voters = Counter((sensor.role, sensor.device, sensor.point) for sensor in zone.sensors)
    for index, sensor in enumerate(zone.sensors):
        where = f"{key}.sensors[{index}]"
        ref = PointRef(device=sensor.device, point=sensor.point)
        problems += check_point(ref, devices, (_SENSOR_UNIT[sensor.role],), where)
        if voters[sensor.role, sensor.device, sensor.point] > 1:
            problems.append((where, f"{sensor.point} of {sensor.device} is named twice: it has one vote"))
        if all(getattr(zone.limits, name) is None for name in FEEDS[sensor.role]):
            text = f"feeds no limits: add [zones.limits.{FEEDS[sensor.role][0]}]"
            problems.append((f"{where}.role", text))
    for role, names in FEEDS.items():
        for name in names:
            limits = getattr(zone.limits, name)
            if limits is None:
                continue
            if not count[role]:
                text = f'nothing feeds these limits: name a probe in [[zones.sensors]] with role = "{role}"'
                problems.append((f"{key}.limits.{name}", text))
            if count[role] > 1 and limits.tighten is None:
                text = "is missing: several probes feed these limits, say how much closer they stand with one"
                problems.append((f"{key}.limits.{name}.tighten", text))
    if count[SensorRole.DEW] and not count[SensorRole.WATER]:
        text = 'the dew-point margin needs the water\'s temperature: name a probe with role = "water_c"'
        problems.append((f"{key}.limits.dew_margin_c", text))
    return problems


_RANK = {Effect.ALARM: 0, Effect.INHIBIT: 1, Effect.TRIP: 2}


def _longest_delay(contact: Contact) -> tuple[int, str]:
    """How long a contact may wait (s), and why: enough against bounce, too little to make it useless."""
    if contact.point.split(".", 1)[0] == "estop_pressed":
        return 2, ": who presses an emergency stop does not wait"
    if contact.effect is Effect.TRIP:
        return 60, " for a contact that trips"
    return 3600, ""


def _check_contacts(zone: Zone, devices: set[str], key: str) -> list[Problem]:
    problems: list[Problem] = []
    names = Counter(contact.name for contact in zone.contacts)
    inputs = Counter((contact.device, contact.point) for contact in zone.contacts)
    key_input = None if zone.bypass_key is None else (zone.bypass_key.device, zone.bypass_key.point)
    for index, contact in enumerate(zone.contacts):
        where = f"{key}.contacts[{index}]"
        ref = PointRef(device=contact.device, point=contact.point)
        problems += check_point(ref, devices, (Unit.FLAG,), where)
        try:
            checked_id(contact.name, "contact name")
        except ConfigError as error:
            problems.append((f"{where}.name", str(error)))
        if names[contact.name] > 1:
            problems.append((f"{where}.name", f"contact name {contact.name!r} is used twice"))
        if inputs[contact.device, contact.point] > 1:
            problems.append((f"{where}.point", f"{contact.point} of {contact.device} is named twice"))
        if key_input == (contact.device, contact.point):
            text = f"{contact.point} of {contact.device} is the bypass key too: it cannot be two facts"
            problems.append((f"{where}.point", text))
        if _RANK[contact.on_unknown] > _RANK[contact.effect]:
            text = f"is {contact.on_unknown}, more than the contact itself does ({contact.effect})"
            problems.append((f"{where}.on_unknown", text))
        longest_s, why = _longest_delay(contact)
        if not 0 <= contact.on_delay_s <= longest_s:
            problems.append((f"{where}.on_delay_s", f"must be between 0 and {longest_s} s{why}"))
        if (contact.effect is Effect.TRIP) is (contact.fans is None):
            text = 'belongs to effect = "trip", which must say what happens to the fans: on, leave or off'
            problems.append((f"{where}.fans", text))
        if contact.fans is FansAfterTrip.OFF and any(a.off is None for a in zone.cooling_actuators):
            text = "is off, and a cooling actuator of this zone does not say what its off value is"
            problems.append((f"{where}.fans", text))
    return problems


def check_point(ref: PointRef, devices: set[str], units: tuple[Unit, ...], key: str) -> list[Problem]:
    """Whether a point names a device of the file and a known metric in one of `units`."""
    problems: list[Problem] = []
    if ref.device not in devices:
        problems.append((f"{key}.device", f"no device {ref.device!r} in this file"))
    metric = METRICS.get(ref.point.split(".")[0])
    if metric is None:
        problems.append((f"{key}.point", f"unknown point {ref.point!r}"))
    elif metric.unit not in units:
        text = f"{ref.point} is in {metric.unit}, expected {' or '.join(units)}"
        problems.append((f"{key}.point", text))
    return problems


_TOLD = ("speed_setpoint_pct", "setpoint_c", "fan_duty_pct")
"""Points that repeat a command: they stay good while the fan behind them stands (S12)."""


def _check_proof(proof: CoolingProof, devices: set[str], key: str) -> list[Problem]:
    """Limits that can never be reached would switch the interlock off without a word."""
    problems: list[Problem] = []
    if proof.device not in devices:
        problems.append((f"{key}.device", f"no device {proof.device!r} in this file"))
    metric = METRICS.get(proof.point.split(".")[0])
    told = [PointRef(device=proof.device, point=proof.point), *proof.others]
    if len(set(told)) < len(told):
        problems.append((f"{key}.others", "names a feedback twice: it has one vote"))
    for index, other in enumerate(proof.others):
        problems += check_point(other, devices, (metric.unit,) if metric else (), f"{key}.others[{index}]")
    numbers = {name: getattr(proof, name) for name in ("lost_below", "proven_above")}
    numbers |= {name: getattr(proof, name) for name in ("lost_after_s", "proven_for_s")}
    problems += [
        (f"{key}.{name}", f"is {value}, must be a finite number")
        for name, value in numbers.items()
        if not math.isfinite(value)
    ]
    if not proof.lost_below < proof.proven_above:
        problems.append((f"{key}.lost_below", "must be below proven_above"))
    problems += [
        (f"{key}.{name}", "must be above 0 s")
        for name in ("lost_after_s", "proven_for_s")
        if not numbers[name] > 0
    ]
    problems += [
        (f"{key}.{name}", f"is {numbers[name]:g}, expected at most 3600 s")
        for name in ("lost_after_s", "proven_for_s")
        if numbers[name] > 3600
    ]
    name = proof.point.split(".")[0]
    if metric is None:
        return [*problems, (f"{key}.point", f"unknown point {proof.point!r}")]
    if metric.unit is Unit.CELSIUS:
        text = f"{proof.point} is a temperature: heat would prove cooling; name a speed, flow or pressure"
        problems.append((f"{key}.point", text))
    if name in _TOLD:
        text = f"{proof.point} is what the device was told and proves nothing; name what it measures"
        problems.append((f"{key}.point", text))
    if proof.lost_below <= metric.low:
        text = f"is {proof.lost_below:g}, and {name} can never be below {metric.low:g}: cooling is never lost"
        problems.append((f"{key}.lost_below", text))
    if proof.proven_above > metric.high:
        text = f"is {proof.proven_above:g}, and {name} can never be above {metric.high:g}"
        problems.append((f"{key}.proven_above", text))
    return problems


def check_limits(
    limits: HighLimits | LowLimits, plausible: tuple[float, float], unit: Unit, key: str
) -> list[Problem]:
    """Order, plausible range (in `unit`) and delays of one set of limits."""
    problems: list[Problem] = []
    order = ("release", "warn", "shed", "trip")
    if isinstance(limits, LowLimits):
        order = order[::-1]
    values = [getattr(limits, name) for name in order]
    if not all(low < high for low, high in itertools.pairwise(values)):
        shown = ", ".join(f"{name} = {value:g}" for name, value in zip(order, values, strict=True))
        problems.append((key, f"limits out of order: expected {' < '.join(order)}, found {shown}"))
    least, most = plausible
    for name, value in zip(order, values, strict=True):
        if not least <= value <= most:
            hint = " (is it in °F?)" if unit is Unit.CELSIUS else ""
            problems.append((f"{key}.{name}", f"is {value:g}, expected {least:g} to {most:g} {unit}{hint}"))
    problems += [
        (f"{key}.{name}", "must be between 0 and 3600 s")
        for name in ("on_delay_s", "off_delay_s")
        if not 0 <= getattr(limits, name) <= 3600
    ]
    room = abs(limits.trip - limits.release)
    if limits.tighten is not None and not 0 < limits.tighten < room:
        problems.append((f"{key}.tighten", f"is {limits.tighten:g}, expected above 0 and below {room:g}"))
    return problems
