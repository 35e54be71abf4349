"""What a site file means: limits in order, references that exist, nothing that switches an interlock off."""

import math

import msgspec

from edge_agent.config.agent_checks import check_agent
from edge_agent.config.cadence_checks import check_cadences
from edge_agent.config.firmware_checks import check_firmware
from edge_agent.config.power_checks import check_power
from edge_agent.config.racks import check_racks
from edge_agent.config.storage_checks import check_storage
from edge_agent.config.structs import SCHEMA, SiteFile, Timing
from edge_agent.config.zone_checks import Problem, check_zone
from shared.errors import ConfigError
from shared.ids import checked_id
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

_LONGEST_S = {
    "poll_s": 300.0,
    "safety_poll_s": 10.0,
    "request_timeout_s": 60.0,
    "stale_after_s": 600.0,
    "lost_after_s": 1800.0,
    "lease_max_s": 3600.0,
    "lease_hold_s": 3600.0,
    "lease_safe_s": 86_400.0,
    "settle_s": 3600.0,
    "stop_confirm_s": 300.0,
    "write_confirm_s": 3600.0,
    "restart_after_stop_s": 86_400.0,
    "restart_window_s": 3600.0,
    "preset_dwell_s": 86_400.0,
    "bypass_max_s": 86_400.0,
    "proof_test_every_s": 32 * 86_400.0,
}
"""Longer than this a time switches off what it belongs to, without a word."""

_LEAST_W, _MOST_W = 50.0, 50_000.0
"""What one miner may draw: home machines to hydro racks. Caps and start limits are counted with it."""


def check(site: SiteFile) -> list[Problem]:
    """Everything that is wrong with a site file whose shape is right, as (dotted key, sentence)."""
    problems: list[Problem] = []
    if site.schema != SCHEMA:
        problems.append(("schema", f"is {site.schema}, this version reads {SCHEMA}"))
    if site.simulator is not None and not site.site.simulated:
        problems.append(("simulator", "is only allowed with site.simulated = true"))
    problems += _check_ids(site)
    problems += _check_timing(site.timing)
    for index, zone in enumerate(site.zones):
        problems += check_zone(site, zone, f"zones[{index}]")
    for index, device in enumerate(site.devices):
        problems += _check_device(site, device, f"devices[{index}]")
    problems += _check_machines(site)
    problems += _check_actuators(site)
    problems += check_cadences(site)
    problems += check_firmware(site)
    problems += check_agent(site)
    problems += check_storage(site)
    problems += check_racks(site)
    return problems + check_power(site)


def _check_machines(site: SiteFile) -> list[Problem]:
    """A machine that stands in the file twice is counted twice, and ordered about by two names."""
    problems: list[Problem] = []
    first: dict[tuple[str, object], DeviceEntry] = {}
    for index, device in enumerate(site.devices):
        if device.kind is not DeviceKind.MINER:
            continue
        told = {
            "mac": "".join(char for char in (device.mac or "").lower() if char.isalnum()),
            "serial_number": device.serial_number,
            "host": (device.host, device.port),
        }
        for name, value in told.items():
            other = first.setdefault((name, value), device) if value else device
            if other is not device:
                shown = f"{device.host}:{device.port}" if name == "host" else getattr(device, name)
                text = f"{shown} is {other.id}'s already; is it one machine that moved?"
                problems.append((f"devices[{index}].{name}", text))
    return problems


def _check_actuators(site: SiteFile) -> list[Problem]:
    """A set-point belongs to one zone: two zones would drive it to two values, each against the other."""
    problems: list[Problem] = []
    zone_of = {str(device.id): device.zone for device in site.devices}
    seen: set[tuple[str, str]] = set()
    for z, zone in enumerate(site.zones):
        for a, actuator in enumerate(zone.cooling_actuators):
            key = f"zones[{z}].cooling_actuators[{a}]"
            point = (actuator.device, actuator.point)
            home = zone_of.get(actuator.device)
            if home is not None and home != zone.id:
                text = f"{actuator.device!r} stands in zone {home!r}; an actuator belongs to its own zone"
                problems.append((f"{key}.device", text))
            if point in seen:
                problems.append((f"{key}.point", f"{actuator.point!r} of {actuator.device!r} is named twice"))
            seen.add(point)
    return problems


def _check_ids(site: SiteFile) -> list[Problem]:
    problems: list[Problem] = []
    named = [("site.id", str(site.site.id), "site id")]
    named += [(f"zones[{i}].id", str(zone.id), "zone id") for i, zone in enumerate(site.zones)]
    named += [(f"devices[{i}].id", str(device.id), "device id") for i, device in enumerate(site.devices)]
    seen: set[tuple[str, str]] = set()
    for key, text, what in named:
        try:
            checked_id(text, what)
        except ConfigError as error:
            problems.append((key, str(error)))
        if (what, text) in seen:
            problems.append((key, f"{what} {text!r} is used twice"))
        seen.add((what, text))
    if not site.zones:
        problems.append(("zones", "a site needs at least one [[zones]] table"))
    return problems


def _check_timing(timing: Timing) -> list[Problem]:
    problems = [
        (f"timing.{name}", f"is {value}, must be above 0 s")
        for name, value in msgspec.structs.asdict(timing).items()
        if not value > 0
    ]
    problems += [
        (f"timing.{name}", f"is {value}, must be a finite number")
        for name, value in msgspec.structs.asdict(timing).items()
        if math.isinf(value)
    ]
    problems += [
        (f"timing.{name}", f"is {getattr(timing, name):g}, expected at most {most:g} s")
        for name, most in _LONGEST_S.items()
        if getattr(timing, name) > most
    ]
    ordered = [
        ("poll_s", "stale_after_s"),
        ("safety_poll_s", "stale_after_s"),
        ("stale_after_s", "lost_after_s"),
        ("lease_hold_s", "lease_safe_s"),
    ]
    for low, high in ordered:
        if not getattr(timing, low) < getattr(timing, high):
            problems.append((f"timing.{high}", f"must be larger than timing.{low}"))
    if timing.restart_power_pct > 100:
        problems.append(("timing.restart_power_pct", "is a percentage, at most 100"))
    return problems


def _check_device(site: SiteFile, device: DeviceEntry, key: str) -> list[Problem]:
    problems: list[Problem] = []
    if device.zone not in {zone.id for zone in site.zones}:
        problems.append((f"{key}.zone", f"no zone {device.zone!r} in this file"))
    problems += _check_place(device, key)
    if device.kind is DeviceKind.MINER:
        problems += [
            (f"{key}.{name}", f"is missing: a miner needs {name}")
            for name in ("model", "algorithm", "nominal_w", "safe_preset")
            if getattr(device, name) is None
        ]
        watts = device.nominal_w
        if watts is not None and not _LEAST_W <= watts <= _MOST_W:
            text = f"is {watts:g}, expected {_LEAST_W:g} to {_MOST_W:g} W (is it in kW?)"
            problems.append((f"{key}.nominal_w", text))
    if device.poll_s is not None and not 0 < device.poll_s < site.timing.stale_after_s:
        text = f"is {device.poll_s:g}, expected above 0 and below timing.stale_after_s"
        problems.append((f"{key}.poll_s", text))
    if device.adapter in ("modbus", "modbus-rtu", "snmp", "bacnet") and device.profile is None:
        problems.append((f"{key}.profile", f"is missing: an {device.adapter} device needs a profile"))
    if (device.pdu is None) != (device.outlet is None):
        problems.append((f"{key}.outlet", "pdu and outlet belong together"))
    if device.pdu is not None and device.pdu not in {entry.id for entry in site.devices}:
        problems.append((f"{key}.pdu", f"no device {device.pdu!r} in this file"))
    return problems


def _check_place(device: DeviceEntry, key: str) -> list[Problem]:
    """How it is reached: a port, or a serial line; and where it stands."""
    problems: list[Problem] = []
    if device.host.startswith("/"):
        if device.adapter != "modbus-rtu":
            problems.append((f"{key}.host", "is a device file, which only adapter modbus-rtu speaks through"))
        if device.serial is None:
            problems.append((f"{key}.serial", 'is missing: a serial line needs such as "9600 8N1"'))
        if device.port:
            problems.append((f"{key}.port", "is for addresses; a serial line has none"))
    elif not 0 < device.port < 65536:
        problems.append((f"{key}.port", f"is {device.port}, expected 1 to 65535"))
    if device.serial is not None and not device.host.startswith("/"):
        problems.append((f"{key}.serial", "is for a host that is a device file such as /dev/ttyUSB0"))
    if device.position is not None and not all(math.isfinite(value) for value in device.position):
        problems.append((f"{key}.position", "expected three finite numbers x, y, z in m"))
    return problems
