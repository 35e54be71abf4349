"""Which devices decide trips by themselves: read at `timing.safety_poll_s`, and never backed off from.

Miners are many and slow to heat up as a group: they keep `timing.poll_s`. What speaks for a whole zone or the
whole site is one device each, and a second more is a second of everything behind it.
"""

from collections.abc import Iterator

from edge_agent.config import SiteFile, Zone
from shared.ids import DeviceId


def urgent_devices(site: SiteFile) -> frozenset[DeviceId]:
    """Proofs of cooling, probes with a role, contacts, bypass keys, meters of caps and of orders, the UPS."""
    return frozenset(DeviceId(name) for name in _named(site))


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
