"""What the simulator reads of a site file: its devices, its zones' cooling and the `[simulator]` table.

Tolerant on purpose: guardian and `check-config` judge the rest of the file. It refuses a file without
`site.simulated = true`, and any host that is not a loopback address.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import ConfigError
from shared.inventory import DeviceEntry, SimulatorSettings, beside
from shared.telemetry import DeviceKind


class SimulatedZone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone's name and whether it is cooled by `air` or `hydro`."""

    id: str
    cooling: str


class SimulatedSite(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the simulator needs to know."""

    zones: tuple[SimulatedZone, ...]
    devices: tuple[DeviceEntry, ...]
    settings: SimulatorSettings

    @property
    def miners(self) -> tuple[DeviceEntry, ...]:
        return tuple(entry for entry in self.devices if entry.kind is DeviceKind.MINER)

    @property
    def gear(self) -> tuple[DeviceEntry, ...]:
        """Everything but miners."""
        return tuple(entry for entry in self.devices if entry.kind is not DeviceKind.MINER)


def load_site(path: Path) -> SimulatedSite:
    """Read a site file. Raises `ConfigError` naming the file and what is wrong."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    site = parse_site(raw, str(path))
    return msgspec.structs.replace(site, devices=beside(site.devices, path.parent))


def parse_site(raw: dict[str, Any], where: str) -> SimulatedSite:
    """The simulator's part of a site file's contents. Raises `ConfigError`."""
    if raw.get("site", {}).get("simulated") is not True:
        raise ConfigError(f"{where}: site.simulated is not true; a real site is never simulated")
    try:
        site = SimulatedSite(
            zones=msgspec.convert(raw.get("zones", []), tuple[SimulatedZone, ...]),
            devices=msgspec.convert(raw.get("devices", []), tuple[DeviceEntry, ...]),
            settings=msgspec.convert(raw.get("simulator", {}), SimulatorSettings),
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    problems = [f"{where}: {problem}" for problem in _problems(site)]
    if problems:
        raise ConfigError("\n".join(problems))
    return site


def _problems(site: SimulatedSite) -> list[str]:
    problems: list[str] = []
    zones = {zone.id for zone in site.zones}
    if not site.miners:
        problems.append("devices: no miner to simulate")
    taken: set[tuple[str, int, int]] = set()
    for entry in site.devices:
        name = f"device {entry.id}"
        if not _is_loopback(entry.host):
            problems.append(f"{name}: host {entry.host!r} is not a loopback address (127.x.y.z)")
        if entry.zone not in zones:
            problems.append(f"{name}: no zone {entry.zone!r} in this file")
        place = (entry.host, entry.port, entry.unit_id)
        if place in taken:
            problems.append(f"{name}: host, port and unit_id are those of another device")
        taken.add(place)
    return problems


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
