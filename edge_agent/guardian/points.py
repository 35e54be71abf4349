"""Points that the site file names against what the devices' profiles offer, before anything runs.

A misspelt actuator point, or a fail-safe value that the profile does not let through, would otherwise show
only when a zone trips and its fans are to run.
"""

from edge_agent.config import SiteFile
from firmware_adapters.site.profile import Profile, load_profile
from shared.errors import ConfigError
from shared.ids import DeviceId


def check_points(site: SiteFile) -> None:
    """Raises `ConfigError` naming every cooling point that its device's profile cannot serve."""
    profiles = {entry.id: load_profile(entry.profile) for entry in site.devices if entry.profile is not None}
    problems: list[str] = []
    for zone in site.zones:
        proof = zone.cooling_proof
        known = profiles.get(DeviceId(proof.device))
        if known is not None and known.point(proof.point) is None:
            problems.append(f"zone {zone.id}: cooling_proof: {known.model} has no point {proof.point!r}")
        for actuator in zone.cooling_actuators:
            known = profiles.get(DeviceId(actuator.device))
            if known is not None and (why := _unwritable(known, actuator.point, actuator.fail_safe)):
                problems.append(f"zone {zone.id}: cooling_actuators: {why}")
    if problems:
        raise ConfigError("\n".join(problems))


def _unwritable(profile: Profile, name: str, value: float) -> str | None:
    point = profile.point(name)
    if point is None or point.write is None:
        return f"{profile.model} has no writable point {name!r}"
    rule = point.write
    if not rule.low <= value <= rule.high:
        return f"fail_safe of {name} is {value:g}, {profile.model} takes {rule.low:g} to {rule.high:g}"
    return None
