"""From what was polled to what the core and the arbiter look at. Pure but for the lazy cache."""

import math
from collections.abc import Callable, Iterator, Mapping

import msgspec

from edge_agent.config import SiteFile, Zone
from edge_agent.guardian import sensing
from edge_agent.guardian.interlocks.inputs import Commanded, MinerInput, ModelClaim, ZoneInput
from edge_agent.guardian.polling.board import NEVER, Last
from edge_agent.guardian.requests import DeviceView, ZoneView
from edge_agent.ipc import Mode, ZoneStatus
from shared.capabilities import DeviceFacts
from shared.commands import Priority
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Reading

Snapshot = Mapping[DeviceId, Last]


def miners_by_zone(site: SiteFile) -> dict[ZoneId, tuple[DeviceId, ...]]:
    """Which miners stand where, in the order of the site file."""
    return {
        zone.id: tuple(d.id for d in site.devices if d.zone == zone.id and d.kind is DeviceKind.MINER)
        for zone in site.zones
    }


def zone_input(
    site: SiteFile,
    zone: Zone,
    miners: tuple[DeviceId, ...],
    snapshot: Snapshot,
    commanded: Mapping[DeviceId, tuple[Commanded, ...]],
    *,
    now_s: float,
    at_ms: int,
    lease_overdue_s: float,
    model: ModelClaim,
) -> ZoneInput:
    """One zone's inputs at `now_s`; temperatures are the maxima over usable readings."""
    fresh = sensing.Board(snapshot, now_s=now_s, max_age_s=site.timing.stale_after_s)
    last_known = sensing.Board(snapshot, now_s=now_s, max_age_s=site.timing.lost_after_s)
    told = sensing.setpoints(zone, last_known)
    return ZoneInput(
        miners=tuple(
            _miner(device, snapshot.get(device, NEVER), commanded.get(device, ()), now_s) for device in miners
        ),
        cooling_value=fresh.value(zone.cooling_proof.device, zone.cooling_proof.point),
        cooling_others=sensing.feedbacks(zone.cooling_proof.others, fresh),
        cooling_points=sensing.setpoints(zone, fresh),
        cooling_at_fail_safe=sensing.at_fail_safe(zone, told),
        cooling_at_off=sensing.at_off(zone, told),
        sensors=sensing.sensors(zone, fresh),
        contacts=sensing.contacts(zone, fresh),
        bypass_key=sensing.key(zone, fresh),
        lease_overdue_s=lease_overdue_s,
        model=model,
        at_ms=at_ms,
    )


def _miner(device: DeviceId, last: Last, commanded: tuple[Commanded, ...], now_s: float) -> MinerInput:
    good = last.good
    if good is None:
        return MinerInput(device=device, commanded=commanded)
    return MinerInput(
        device=device,
        age_s=now_s - good.at_s,
        state=last.state,
        chip_c=last.chip_c,
        board_c=last.board_c,
        power_w=last.power_w,
        hashrate_ths=last.hashrate_ths,
        commanded=commanded,
    )


class Trend(msgspec.Struct, frozen=True):
    """One zone: hottest chip that a miner tells (°C), and how far its temperature swung lately (K)."""

    chip_c: float | None = None
    swing_k: float | None = None


UNWATCHED = Trend()


def zone_view(zone: Zone, status: ZoneStatus, trend: Trend = UNWATCHED) -> ZoneView:
    """A zone as the arbiter sees it."""
    return ZoneView(
        mode=status.mode,
        cooling_proven=status.cooling_proven,
        tripped=status.mode is Mode.TRIPPED,
        hydro=zone.cooling == "hydro",
        cooling={(DeviceId(a.device), a.point): a for a in zone.cooling_actuators},
        chip_c=trend.chip_c,
        swing_k=trend.swing_k,
    )


def device_view(
    entry: DeviceEntry,
    last: Last,
    facts: DeviceFacts | None,
    status: ZoneStatus,
    *,
    now_s: float,
    preset_keeps_s: float,
    busy: Priority | None,
    busy_with: str = "",
    busy_stop: bool = False,
) -> DeviceView:
    """A device as the arbiter sees it. A preset that was told longer ago than `preset_keeps_s` is unknown."""
    good = last.good
    return DeviceView(
        entry=entry,
        facts=facts,
        age_s=math.inf if good is None else now_s - good.at_s,
        state=last.state,
        preset=last.preset if now_s - last.preset_at_s <= preset_keeps_s else None,
        chip_c=last.chip_c,
        points={} if good is None else _points(good.readings),
        inhibited=status.inhibited.get(entry.id),
        latched=any(trip.device == entry.id for trip in status.trips),
        stopped_for_s=None if last.stopped_since_s is None else now_s - last.stopped_since_s,
        busy=busy,
        busy_with=busy_with,
        busy_stop=busy_stop,
    )


def _points(readings: Mapping[str, Reading]) -> dict[str, float]:
    return {point: value for point, reading in readings.items() if (value := reading.usable) is not None}


class LazyViews(Mapping[DeviceId, DeviceView]):
    """Device views made when they are looked at: one proposal looks at one device of a thousand."""

    def __init__(
        self, devices: Mapping[DeviceId, DeviceEntry], make: Callable[[DeviceEntry], DeviceView]
    ) -> None:
        self._devices = devices
        self._make = make
        self._made: dict[DeviceId, DeviceView] = {}

    def __getitem__(self, device: DeviceId) -> DeviceView:
        view = self._made.get(device)
        if view is None:
            view = self._made[device] = self._make(self._devices[device])
        return view

    def __iter__(self) -> Iterator[DeviceId]:
        return iter(self._devices)

    def __len__(self) -> int:
        return len(self._devices)


def zone_statuses(
    site: SiteFile, statuses: Mapping[ZoneId, ZoneStatus], trends: Mapping[ZoneId, Trend]
) -> dict[ZoneId, ZoneView]:
    """All zones as the arbiter sees them."""
    return {zone.id: zone_view(zone, statuses[zone.id], trends[zone.id]) for zone in site.zones}
