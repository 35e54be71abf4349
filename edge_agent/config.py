"""The site file: one TOML file for guardian and agent, loaded whole or not at all.

Safety limits have no defaults: a missing one is an error that names file, line and key. Every key carries
its unit in its name, so a wrong unit shows as an unknown key or as a value outside what is plausible.
The file names credentials, never secrets. `docs/site-file.md` explains each key with an example.
"""

import difflib
import itertools
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import ConfigError
from shared.ids import SiteId, ZoneId, checked_id
from shared.inventory import DeviceEntry, SimulatorSettings
from shared.telemetry import METRICS, DeviceKind
from shared.units import Unit

SCHEMA = 1


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are refused everywhere in the site file."""


class HighLimits(_Strict, frozen=True, kw_only=True):
    """Limits for a value that is dangerous when high: release < warn < shed < trip, with delays in s.

    `on_delay_s` is how long the value must stand above a limit before it counts, `off_delay_s` how long
    below `release` before the effect goes.
    """

    release: float
    warn: float
    shed: float
    trip: float
    on_delay_s: float
    off_delay_s: float


class LowLimits(_Strict, frozen=True, kw_only=True):
    """Limits for a value that is dangerous when low, the reverse: trip < shed < warn < release."""

    release: float
    warn: float
    shed: float
    trip: float
    on_delay_s: float
    off_delay_s: float


class ZoneLimits(_Strict, frozen=True, kw_only=True):
    """Limits of one zone: an air zone needs `inlet_air_c`, a hydro zone `water_c` and `flow_m3h`."""

    chip_temp_c: HighLimits
    board_temp_c: HighLimits
    inlet_air_c: HighLimits | None = None
    water_c: HighLimits | None = None
    flow_m3h: LowLimits | None = None


class CoolingProof(_Strict, frozen=True, kw_only=True):
    """How cooling is proven by feedback: this device's point at or above `proven_above`.

    Cooling is *lost* when the point is below `lost_below` (or unknown) for `lost_after_s`, and *proven*
    when it is above `proven_above` for `proven_for_s`. Units are those of the point.
    """

    device: str
    point: str
    lost_below: float
    proven_above: float
    lost_after_s: float
    proven_for_s: float


class CoolingActuator(_Strict, frozen=True, kw_only=True):
    """A cooling set-point the guardian drives to its fail-safe value (cooling fails on, S11)."""

    device: str
    point: str
    fail_safe: float


class Zone(_Strict, frozen=True, kw_only=True):
    """A container, room or aisle that shares air or water."""

    id: ZoneId
    cooling: str
    """`air` or `hydro`."""
    limits: ZoneLimits
    cooling_proof: CoolingProof
    cooling_actuators: tuple[CoolingActuator, ...] = ()
    columns: int = 12
    """Slots per rack row, for the heat map only."""


class Site(_Strict, frozen=True, kw_only=True):
    """Who this site is, and what it allows. `ml_may_raise` and `remote_reset` have no default."""

    id: SiteId
    name: str
    timezone: str
    ml_may_raise: bool
    remote_reset: bool
    simulated: bool = False


class Paths(_Strict, frozen=True, kw_only=True):
    """Folders and sockets. Relative paths start at the site file's folder."""

    guardian_state: str
    agent_state: str
    guardian_socket: str
    operator_socket: str
    keyring: str
    credentials_key: str
    """File with the master key of the guardian's credential store (systemd: LoadCredential)."""


class Timing(_Strict, frozen=True, kw_only=True):
    """Our own waits, in seconds; all safety-relevant, so none has a default."""

    poll_s: float
    request_timeout_s: float
    stale_after_s: float
    """Older than this: inhibit, alarm after 30 s more."""
    lost_after_s: float
    """Older than this: unknown, counts as running and hot."""
    step_s: int
    lease_max_s: float
    lease_hold_s: float
    """T1: no lease for this long → hold."""
    lease_safe_s: float
    """T2: no lease for this long → safe set-points."""
    settle_s: float
    """How long readings are expected to be odd after a preset change or start."""
    stop_confirm_s: float
    write_confirm_s: float
    restart_after_stop_s: float
    """Least time between a stop and the start that follows (miners.md §5.7: 120 s)."""
    restart_window_s: float
    restart_power_pct: float
    """At most this share of the site's nominal power is started per window (S08: 5 % per 30 s)."""
    preset_dwell_s: float
    """Least time between two preset changes of one miner."""


class Uplink(_Strict, frozen=True, kw_only=True):
    """The agent's way to the cloud."""

    broker_host: str
    broker_port: int
    keep_alive_s: int = 20
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class AgentSettings(_Strict, frozen=True, kw_only=True):
    """What only the agent needs."""

    status_port: int
    """Loopback port of the local status page."""
    shadow_cycles: int
    score_every_s: float
    raw_keep_mb: int = 2048
    outbox_keep_mb: int = 512
    flush_every_s: float = 2.0


class SiteFile(_Strict, frozen=True, kw_only=True):
    """The whole site file, checked."""

    schema: int
    site: Site
    paths: Paths
    timing: Timing
    uplink: Uplink
    agent: AgentSettings
    zones: tuple[Zone, ...]
    devices: tuple[DeviceEntry, ...]
    simulator: SimulatorSettings | None = None

    def zone(self, zone: ZoneId) -> Zone:
        """The zone of that id; KeyError where there is none."""
        for entry in self.zones:
            if entry.id == zone:
                return entry
        raise KeyError(zone)

    @property
    def miners(self) -> tuple[DeviceEntry, ...]:
        return tuple(device for device in self.devices if device.kind is DeviceKind.MINER)


def load(path: Path) -> SiteFile:
    """Read and check a site file. Raises `ConfigError` with `file:line: key: what is expected`."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    return parse(text, path)


def parse(text: str, path: Path) -> SiteFile:
    """Check a site file's text; `path` is for messages and for resolving relative paths."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    lines = _Lines(text, path)
    try:
        site = msgspec.convert(raw, SiteFile)
    except msgspec.ValidationError as error:
        raise ConfigError(lines.explain(error)) from error
    problems = [lines.at(key, message) for key, message in _check(site)]
    if problems:
        raise ConfigError("\n".join(problems))
    return msgspec.structs.replace(site, paths=_resolved(site.paths, path.parent))


def _resolved(paths: Paths, base: Path) -> Paths:
    fields = {name: str((base / value).resolve()) for name, value in msgspec.structs.asdict(paths).items()}
    return Paths(**fields)


# ---------------------------------------------------------------- meaning

Problem = tuple[str, str]

_LIMIT_UNITS = {
    "chip_temp_c": Unit.CELSIUS,
    "board_temp_c": Unit.CELSIUS,
    "inlet_air_c": Unit.CELSIUS,
    "water_c": Unit.CELSIUS,
    "flow_m3h": Unit.CUBIC_METRE_PER_HOUR,
}
_PLAUSIBLE = {Unit.CELSIUS: (15.0, 120.0), Unit.CUBIC_METRE_PER_HOUR: (0.1, 2000.0)}
_NEEDED_LIMITS = {"air": ("inlet_air_c",), "hydro": ("water_c", "flow_m3h")}


def _check(site: SiteFile) -> list[Problem]:
    problems: list[Problem] = []
    if site.schema != SCHEMA:
        problems.append(("schema", f"is {site.schema}, this version reads {SCHEMA}"))
    if site.simulator is not None and not site.site.simulated:
        problems.append(("simulator", "is only allowed with site.simulated = true"))
    problems += _check_ids(site)
    problems += _check_timing(site.timing)
    for index, zone in enumerate(site.zones):
        problems += _check_zone(site, zone, f"zones[{index}]")
    for index, device in enumerate(site.devices):
        problems += _check_device(site, device, f"devices[{index}]")
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
    ordered = [
        ("poll_s", "stale_after_s"),
        ("stale_after_s", "lost_after_s"),
        ("lease_hold_s", "lease_safe_s"),
    ]
    for low, high in ordered:
        if not getattr(timing, low) < getattr(timing, high):
            problems.append((f"timing.{high}", f"must be larger than timing.{low}"))
    if timing.restart_power_pct > 100:
        problems.append(("timing.restart_power_pct", "is a percentage, at most 100"))
    return problems


def _check_zone(site: SiteFile, zone: Zone, key: str) -> list[Problem]:
    problems: list[Problem] = []
    needed = _NEEDED_LIMITS.get(zone.cooling)
    if needed is None:
        problems.append((f"{key}.cooling", f"is {zone.cooling!r}, expected 'air' or 'hydro'"))
    for name in zone.limits.__struct_fields__:
        limits = getattr(zone.limits, name)
        if limits is not None:
            problems += _check_limits(limits, name, f"{key}.limits.{name}")
        elif name in (needed or ()):
            text = f"is missing: a zone cooled by {zone.cooling} needs these limits, in {_LIMIT_UNITS[name]}"
            problems.append((f"{key}.limits.{name}", text))
    kinds = {str(device.id) for device in site.devices}
    problems += _check_proof(zone.cooling_proof, kinds, f"{key}.cooling_proof")
    for index, actuator in enumerate(zone.cooling_actuators):
        if actuator.device not in kinds:
            where = f"{key}.cooling_actuators[{index}].device"
            problems.append((where, f"no device {actuator.device!r} in this file"))
        if not math.isfinite(actuator.fail_safe):
            where = f"{key}.cooling_actuators[{index}].fail_safe"
            problems.append((where, f"is {actuator.fail_safe}, must be a finite number"))
    return problems


_TOLD = ("speed_setpoint_pct", "setpoint_c", "fan_duty_pct")
"""Points that repeat a command: they stay good while the fan behind them stands (S12)."""


def _check_proof(proof: CoolingProof, devices: set[str], key: str) -> list[Problem]:
    """Limits that can never be reached would switch the interlock off without a word."""
    problems: list[Problem] = []
    if proof.device not in devices:
        problems.append((f"{key}.device", f"no device {proof.device!r} in this file"))
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
    name = proof.point.split(".")[0]
    metric = METRICS.get(name)
    if metric is None:
        return [*problems, (f"{key}.point", f"unknown point {proof.point!r}")]
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


def _check_limits(limits: HighLimits | LowLimits, what: str, key: str) -> list[Problem]:
    problems: list[Problem] = []
    order = ("release", "warn", "shed", "trip")
    if isinstance(limits, LowLimits):
        order = order[::-1]
    values = [getattr(limits, name) for name in order]
    if not all(low < high for low, high in itertools.pairwise(values)):
        shown = ", ".join(f"{name} = {value:g}" for name, value in zip(order, values, strict=True))
        problems.append((key, f"limits out of order: expected {' < '.join(order)}, found {shown}"))
    least, most = _PLAUSIBLE[_LIMIT_UNITS[what]]
    for name, value in zip(order, values, strict=True):
        if not least <= value <= most:
            hint = " (is it in °F?)" if _LIMIT_UNITS[what] is Unit.CELSIUS else ""
            text = f"is {value:g}, expected {least:g} to {most:g} {_LIMIT_UNITS[what]}{hint}"
            problems.append((f"{key}.{name}", text))
    problems += [
        (f"{key}.{name}", "must be between 0 and 3600 s")
        for name in ("on_delay_s", "off_delay_s")
        if not 0 <= getattr(limits, name) <= 3600
    ]
    return problems


def _check_device(site: SiteFile, device: DeviceEntry, key: str) -> list[Problem]:
    problems: list[Problem] = []
    if device.zone not in {zone.id for zone in site.zones}:
        problems.append((f"{key}.zone", f"no zone {device.zone!r} in this file"))
    if not 0 < device.port < 65536:
        problems.append((f"{key}.port", f"is {device.port}, expected 1 to 65535"))
    if device.kind is DeviceKind.MINER:
        problems += [
            (f"{key}.{name}", f"is missing: a miner needs {name}")
            for name in ("model", "algorithm", "nominal_w", "safe_preset")
            if getattr(device, name) is None
        ]
    if device.adapter in ("modbus", "snmp") and device.profile is None:
        problems.append((f"{key}.profile", f"is missing: an {device.adapter} device needs a profile"))
    if (device.pdu is None) != (device.outlet is None):
        problems.append((f"{key}.outlet", "pdu and outlet belong together"))
    if device.pdu is not None and device.pdu not in {entry.id for entry in site.devices}:
        problems.append((f"{key}.pdu", f"no device {device.pdu!r} in this file"))
    return problems


# ---------------------------------------------------------------- where in the file


class _Lines:
    """Finds the line of a dotted key, so that an error points at the text and not at a data structure."""

    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._line_of: dict[str, int] = {}
        counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*\[\[([\w.\"-]+)\]\]", line):
                name = self._indexed(header[1], counts)
                parent, _, leaf = name.rpartition(".")
                counts[name] = counts.get(name, -1) + 1
                table = f"{parent}.{leaf}".lstrip(".") + f"[{counts[name]}]"
                self._line_of[table] = number
            elif header := re.match(r"\s*\[([\w.\"-]+)\]", line):
                table = self._indexed(header[1], counts)
                self._line_of[table] = number
            elif key := re.match(r"\s*([\w\"-]+(?:\.[\w\"-]+)*)\s*=", line):
                name = key[1].replace('"', "")
                self._line_of[f"{table}.{name}".lstrip(".")] = number
                for inline in re.findall(r"[{,]\s*([\w-]+)\s*=", line):
                    self._line_of.setdefault(f"{table}.{name}.{inline}".lstrip("."), number)

    @staticmethod
    def _indexed(header: str, counts: dict[str, int]) -> str:
        """`zones.limits` inside the second [[zones]] is `zones[1].limits`."""
        parts: list[str] = []
        for part in header.replace('"', "").split("."):
            parts.append(part)
            joined = ".".join(parts)
            is_last = len(parts) == header.count(".") + 1
            if joined in counts and not is_last:
                parts[-1] = f"{part}[{counts[joined]}]"
        return ".".join(parts)

    def at(self, key: str, message: str) -> str:
        """`file:line: key: message`, with the line of the nearest enclosing key that the file has."""
        probe = key
        while probe and probe not in self._line_of:
            probe = re.sub(r"(\.[^.\[]+|\[\d+\]|^[^.\[]+)$", "", probe)
        line = self._line_of.get(probe)
        where = f"{self._path}:{line}" if line else f"{self._path}"
        return f"{where}: {key}: {message}"

    def explain(self, error: msgspec.ValidationError) -> str:
        text = str(error)
        found = re.search(r" - at `\$\.?([^`]*)`$", text)
        key, message = (found[1], text[: found.start()]) if found else ("", text)
        key = key.replace("[...]", "")
        if unknown := re.search(r"unknown field `([^`]+)`", message):
            key = f"{key}.{unknown[1]}".lstrip(".")
            message = "unknown key; " + self._suggest(unknown[1])
        elif missing := re.search(r"missing required field `([^`]+)`", message):
            key = f"{key}.{missing[1]}".lstrip(".")
            message = "is missing, and safety-relevant keys have no default"
        return self.at(key or "(top level)", message)

    @staticmethod
    def _suggest(name: str) -> str:
        known = {field for struct in _all_structs() for field in struct.__struct_fields__}
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
        return f"did you mean '{close[0]}'?" if close else "remove it, or see docs/site-file.md"


def _all_structs() -> list[Any]:
    return [*_Strict.__subclasses__(), DeviceEntry, SimulatorSettings]
