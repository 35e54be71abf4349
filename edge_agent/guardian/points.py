"""What the site file names against what adapters and profiles offer, before anything runs.

A misspelt probe would leave its zone SAFE for ever; a misspelt actuator point, or a value that the profile
does not let through, would show only when a zone trips and its fans are to run.
"""

from collections.abc import Iterator, Mapping

from edge_agent.config import CoolingActuator, PointRef, SensorRole, SiteFile, Zone
from edge_agent.guardian.polling.cadence import too_slow
from edge_agent.guardian.sensing import air_beside
from firmware_adapters import registry
from firmware_adapters.site.profile import Profile, load_profile
from shared.errors import ConfigError
from shared.ids import DeviceId


def profiles_of(site: SiteFile) -> dict[DeviceId, Profile]:
    """The profile of each device that has one, as its unit of a chain has it; each file is read once.

    Raises `ConfigError` for adapters and profiles that do not exist or do not belong together.
    """
    loaded: dict[str, Profile] = {}
    problems: list[str] = []
    for name, first in {entry.profile: entry.id for entry in reversed(site.devices) if entry.profile}.items():
        try:
            loaded[name] = load_profile(name)
        except ConfigError as error:
            problems.append(f"device {first}: profile: {error}")
    for entry in site.devices:
        why = registry.misfit(entry, loaded.get(entry.profile or ""))
        problems += [] if why is None else [f"device {entry.id}: {why}"]
    if problems:
        raise ConfigError("\n".join(problems))
    return {
        entry.id: loaded[entry.profile].for_unit(entry.unit_id) for entry in site.devices if entry.profile
    }


def check_points(site: SiteFile, profiles: Mapping[DeviceId, Profile] | None = None) -> None:
    """Raises `ConfigError` naming every point, and every value, that its device's profile cannot serve."""
    profiles = profiles_of(site) if profiles is None else profiles
    problems: list[str] = [*too_slow(site, profiles), *_unknown_outlets(site, profiles)]
    for where, ref in _read_points(site):
        profile = profiles.get(DeviceId(ref.device))
        if profile is not None and profile.point(ref.point) is None:
            problems.append(f"{where}: {profile.model} has no point {ref.point!r}")
    for zone in site.zones:
        for actuator in zone.cooling_actuators:
            profile = profiles.get(DeviceId(actuator.device))
            if profile is not None:
                problems += [f"zone {zone.id}: cooling_actuators: {why}" for why in _bad(profile, actuator)]
    if problems:
        raise ConfigError("\n".join(problems))


def _unknown_outlets(site: SiteFile, profiles: Mapping[DeviceId, Profile]) -> Iterator[str]:
    """A last resort that nothing stands behind would show only when a stop cannot be confirmed."""
    for entry in site.devices:
        profile = profiles.get(entry.pdu) if entry.pdu is not None else None
        point = profile.point(f"outlet_on.{entry.outlet}") if profile is not None else None
        if profile is not None and (point is None or point.write is None):
            why = f"{profile.model} {entry.pdu} has no switched outlet {entry.outlet}"
            yield f"device {entry.id}: outlet: {why}"


def _read_points(site: SiteFile) -> Iterator[tuple[str, PointRef]]:
    """Every point that is only read, and where the site file names it."""
    for zone in site.zones:
        for key, ref in _zone_points(zone):
            yield f"zone {zone.id}: {key}", ref
    for cap in site.power_caps:
        for ref in cap.points:
            yield f"power cap {cap.id}", ref
    mains = site.mains
    if mains is not None:
        for point in (mains.on_battery_point, mains.runtime_point):
            yield "mains", PointRef(device=mains.device, point=point)
    if site.curtailment is not None:
        for ref in site.curtailment.meter:
            yield "curtailment: meter", ref


def _zone_points(zone: Zone) -> Iterator[tuple[str, PointRef]]:
    proof = zone.cooling_proof
    yield "cooling_proof", PointRef(device=proof.device, point=proof.point)
    for ref in proof.others:
        yield "cooling_proof: others", ref
    for sensor in zone.sensors:
        yield f"sensors: {sensor.role}", PointRef(device=sensor.device, point=sensor.point)
        if sensor.role is SensorRole.DEW:
            yield f"sensors: {sensor.role}", PointRef(device=sensor.device, point=air_beside(sensor.point))
    for contact in zone.contacts:
        yield f"contacts: {contact.name}", PointRef(device=contact.device, point=contact.point)
    if zone.bypass_key is not None:
        yield "bypass_key", zone.bypass_key


def _bad(profile: Profile, actuator: CoolingActuator) -> list[str]:
    """What of an actuator its profile cannot write: the fail-safe side, the clamps (S09), standing still."""
    name = actuator.point
    point = profile.point(name)
    if point is None or point.write is None:
        return [f"{profile.model} has no writable point {name!r}"]
    rule = point.write
    values = {key: getattr(actuator, key) for key in ("fail_safe", "low", "high", "off")}
    return [
        f"{key} of {name} is {value:g}, {profile.model} takes {rule.low:g} to {rule.high:g}"
        for key, value in values.items()
        if value is not None and not rule.low <= value <= rule.high
    ]
