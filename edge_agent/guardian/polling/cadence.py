"""How often each device is read by itself, before `pace` hurries it and `backoff` spares it.

Three cadences, by what is asked: *fast* is the read that control needs, *slow* boards and pools, *rare* what
a device is and its chips. The site file may set each for a group of devices (`[[cadences]]`).

Miners are many and slow to heat up as a group: they keep their group's fast cadence, or `timing.poll_s`. What
speaks for a whole zone or the whole site is one device each, and a second more is a second of everything
behind it: it is read at `timing.safety_poll_s` and never backed off from. A sensor that only tells people
something is read as often as its profile says that it is worth (`interval_s`). A device's own `poll_s` in the
site file goes before all.
"""

from collections.abc import Iterator, Mapping

from edge_agent.config import Cadence, SiteFile, Zone
from firmware_adapters.site.profile import Profile
from shared.ids import DeviceId

Profiles = Mapping[DeviceId, Profile]


def urgent_devices(site: SiteFile) -> frozenset[DeviceId]:
    """Proofs of cooling, probes with a role, contacts, bypass keys, meters of caps and of orders, the UPS."""
    return frozenset(DeviceId(name) for name in _named(site))


def periods_s(site: SiteFile, profiles: Profiles) -> dict[DeviceId, float]:
    """Device → seconds between two reads while it answers and nothing goes on.

    A profile's interval slows nothing down that control needs: what decides trips keeps its cadence, what is
    commanded is read at its group's fast cadence at least.
    """
    urgent, commanded = urgent_devices(site), _commanded(site)
    found = dict[DeviceId, float]()
    for entry in site.devices:
        period_s = site.timing.safety_poll_s if entry.id in urgent else site.fast_s(entry)
        worth_s = profiles[entry.id].interval_s if entry.id in profiles else None
        if worth_s is not None and entry.id not in urgent:
            period_s = min(worth_s, period_s) if entry.id in commanded else worth_s
        found[entry.id] = entry.poll_s or period_s
    return found


def groups(site: SiteFile) -> dict[DeviceId, Cadence]:
    """Device → the group that it is in, for those that are in one."""
    told = ((entry.id, site.cadence_of(entry)) for entry in site.devices)
    return {device: group for device, group in told if group is not None}


def too_slow(site: SiteFile, profiles: Profiles) -> Iterator[str]:
    """Devices whose values are, by their own profile, older than what an interlock still believes.

    Reading such a device more often would bring the same old value under a new time.
    """
    limit_s = site.timing.stale_after_s
    for device in sorted(urgent_devices(site)):
        worth_s = profiles[device].interval_s if device in profiles else None
        if worth_s is not None and worth_s > limit_s:
            yield (
                f"device {device}: its profile has a new value every {worth_s:g} s, and an interlock needs "
                f"one that is not older than timing.stale_after_s = {limit_s:g} s; use a faster sensor "
                "there, or correct interval_s in a profile of your own"
            )


def kept_days(profiles: Profiles) -> dict[DeviceId, float]:
    """Device → for how long its raw values are worth keeping (days), where its profile says so."""
    return {
        device: profile.retention_days
        for device, profile in profiles.items()
        if profile.retention_days is not None
    }


def _commanded(site: SiteFile) -> frozenset[DeviceId]:
    """What is written to, so that its read-back must come soon."""
    actuators = {DeviceId(each.device) for zone in site.zones for each in zone.cooling_actuators}
    return frozenset(actuators | {entry.pdu for entry in site.devices if entry.pdu is not None})


def _named(site: SiteFile) -> Iterator[str]:
    for zone in site.zones:
        yield from _of_zone(zone)
    for cap in site.power_caps:
        yield from (point.device for point in cap.points)
    if site.mains is not None:
        yield site.mains.device
    if site.curtailment is not None:
        yield from (point.device for point in site.curtailment.meter)


def _of_zone(zone: Zone) -> Iterator[str]:
    yield zone.cooling_proof.device
    yield from (other.device for other in zone.cooling_proof.others)
    yield from (sensor.device for sensor in zone.sensors)
    yield from (contact.device for contact in zone.contacts)
    if zone.bypass_key is not None:
        yield zone.bypass_key.device
