"""What a zone's probes, contacts, feedbacks and key switch said, as the core's inputs. Pure.

A reading that is older than `stale_after_s`, or bad, is unknown (S04); what follows from that is the core's.
"""

from collections.abc import Mapping

from edge_agent.config import PointRef, SensorRole, Zone
from edge_agent.guardian import readback
from edge_agent.guardian.interlocks import dew_point
from edge_agent.guardian.interlocks.inputs import ContactInput, SensorInput
from edge_agent.guardian.interlocks.voting import vote
from edge_agent.guardian.polling.board import NEVER, Last
from shared.ids import DeviceId

Snapshot = Mapping[DeviceId, Last]


class Board:
    """One snapshot at one moment: the value of a point, or None where it is older than `max_age_s` (s)."""

    def __init__(self, snapshot: Snapshot, *, now_s: float, max_age_s: float) -> None:
        self._snapshot = snapshot
        self._now_s = now_s
        self._max_age_s = max_age_s

    def value(self, device: str, point: str) -> float | None:
        """In the point's unit."""
        good = self._snapshot.get(DeviceId(device), NEVER).good
        if good is None or self._now_s - good.at_s > self._max_age_s:
            return None
        return good.usable(point)

    def flag(self, device: str, point: str) -> bool | None:
        """A point that reads 0 or 1."""
        value = self.value(device, point)
        return None if value is None else value >= 0.5


def sensors(zone: Zone, board: Board) -> dict[str, tuple[SensorInput, ...]]:
    """Role → its probes in the order of the site file; humidities come out as margins to the dew point (K).

    The margin is that of the coldest water the probes vote for.
    """
    found: dict[str, list[SensorInput]] = {}
    for sensor in zone.sensors:
        if sensor.role is not SensorRole.DEW:
            value = board.value(sensor.device, sensor.point)
            found.setdefault(sensor.role, []).append(SensorInput(device=DeviceId(sensor.device), value=value))
    water_c = vote((probe.value for probe in found.get(SensorRole.WATER, ())), high_is_worse=False).value
    for sensor in zone.sensors:
        if sensor.role is SensorRole.DEW:
            air_c = board.value(sensor.device, air_beside(sensor.point))
            margin_k = dew_point.margin_k(water_c, air_c, board.value(sensor.device, sensor.point))
            found.setdefault(sensor.role, []).append(
                SensorInput(device=DeviceId(sensor.device), value=margin_k)
            )
    return {role: tuple(probes) for role, probes in found.items()}


def air_beside(humidity_point: str) -> str:
    """The point of the air temperature beside a humidity (`humidity_pct.2` → `air_temp_c.2`)."""
    _, dot, index = humidity_point.partition(".")
    return "air_temp_c" + dot + index


def contacts(zone: Zone, board: Board) -> tuple[ContactInput, ...]:
    """The zone's contacts in the order of the site file."""
    return tuple(
        ContactInput(name=contact.name, active=board.flag(contact.device, contact.point))
        for contact in zone.contacts
    )


def feedbacks(others: tuple[PointRef, ...], board: Board) -> tuple[float | None, ...]:
    """Further feedbacks of cooling, in the unit of the proof's point."""
    return tuple(board.value(ref.device, ref.point) for ref in others)


def key(zone: Zone, board: Board) -> bool | None:
    """What the maintenance key switch reads; None where there is none or it is not known."""
    ref = zone.bypass_key
    return None if ref is None else board.flag(ref.device, ref.point)


def setpoints(zone: Zone, board: Board) -> tuple[float | None, ...]:
    """What the cooling actuators say they were told, each in its point's unit."""
    return tuple(board.value(actuator.device, actuator.point) for actuator in zone.cooling_actuators)


def at_fail_safe(zone: Zone, told: tuple[float | None, ...]) -> tuple[bool, ...]:
    """Per cooling actuator, whether it reads its fail-safe value."""
    pairs = zip(zone.cooling_actuators, told, strict=True)
    return tuple(readback.at_point(value, actuator.fail_safe) for actuator, value in pairs)


def at_off(zone: Zone, told: tuple[float | None, ...]) -> tuple[bool, ...]:
    """Per cooling actuator, whether it reads the value that stands it still; false where it has none."""
    pairs = zip(zone.cooling_actuators, told, strict=True)
    return tuple(
        actuator.off is not None and readback.at_point(value, actuator.off) for actuator, value in pairs
    )
