"""What stands on a site: one entry per device, read from the site file by every process that needs it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from shared.ids import DeviceId, ZoneId
from shared.telemetry import DeviceKind
from shared.units import Algorithm

MINER_FIRMWARES = (
    "vnish",
    "antminer",
    "luxos",
    "braiins",
    "whatsminer",
    "whatsminer-v3",
    "avalon",
    "axeos",
)
"""The adapters of miners. Here as well as with the adapters, because the agent, which may not know those,
reads the same site file and must refuse what the guardian refuses."""


class AcceptedFirmware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[firmware_accepted]]` of a site file: a version that our table does not know and that a person
    answers for.

    `firmware` is the exact text of `DeviceFacts.firmware`; it counts for every machine with that adapter.
    """

    adapter: str
    firmware: str
    by: str
    why: str

    @property
    def words(self) -> str:
        """For people: who accepted it and why."""
        return f"accepted by {self.by}: {self.why}"


def tells_whole_version(firmware: str) -> bool:
    """Whether a text names a firmware and its version; adapters write "?" for a part that is not told."""
    return bool(firmware.strip()) and "?" not in firmware


class DeviceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device: how it is reached and where it stands.

    `adapter` names the code (`vnish`, `modbus`, `snmp`), `profile` the data file of a Modbus or SNMP model
    (one that ships, or a file of the site's own). `host` is an address, or for `modbus-rtu` the device file
    of a serial line, which has no port but needs `serial`, such as `9600 8N1`. `credential` is a name in the
    guardian's encrypted store (never the secret). `rack` and `slot` place a miner in its container, `outlet`
    and `pdu` say what can cut its power. A miner must name its `algorithm`, `model`, `nominal_w` and
    `safe_preset` (what it may run on when nobody is in charge).
    """

    id: DeviceId
    kind: DeviceKind
    adapter: str
    host: str
    port: int = 0
    serial: str | None = None
    zone: ZoneId
    profile: str | None = None
    unit_id: int = 1
    credential: str | None = None
    model: str | None = None
    algorithm: Algorithm | None = None
    nominal_w: float | None = None
    safe_preset: str | None = None
    rack: str | None = None
    slot: int | None = None
    position: tuple[float, float, float] | None = None
    """Where it stands, x, y, z in m, from one corner of the site's own choice; z is up."""
    pdu: DeviceId | None = None
    outlet: int | None = None
    poll_s: float | None = None
    """Own cadence where the site's `timing.poll_s` is not right for this device."""
    mac: str | None = None
    """As a scan found it; a later scan knows the machine by it wherever it answers."""
    serial_number: str | None = None
    """The machine's own, for the same purpose."""
    firmware_accepted: tuple[AcceptedFirmware, ...] | msgspec.UnsetType = msgspec.UNSET
    """What the site accepts for this adapter. Never written per device: the guardian fills it in for the
    adapters that it opens, so it is unset in what agent and cloud are sent."""


def is_own_file(profile: str) -> bool:
    """Whether `profile` is a file of the site's own and not the name of one that ships."""
    return "/" in profile or profile.endswith(".toml")


def beside(devices: Iterable[DeviceEntry], base: Path) -> tuple[DeviceEntry, ...]:
    """The entries with profiles of the site's own found from `base`, the folder of the site file."""
    return tuple(
        msgspec.structs.replace(entry, profile=str((base / entry.profile).resolve()))
        if entry.profile is not None and is_own_file(entry.profile)
        else entry
        for entry in devices
    )


def accepting(entry: DeviceEntry, accepted: Iterable[AcceptedFirmware]) -> DeviceEntry:
    """The entry with those of the site's accepted versions that are of its adapter."""
    own = tuple(one for one in accepted if one.adapter == entry.adapter)
    return msgspec.structs.replace(entry, firmware_accepted=own) if own else entry


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[simulator]` table of a site file with `simulated = true`; no other process reads it."""

    seed: int = 1
    firmware: dict[str, str] = {}
    """Firmware version per device id; the other VNish machines get `default_firmware`."""
    default_firmware: str = "1.2.7"
    miner_password: str = "admin"
    """What the emulated miners accept (VNish ships with `admin`)."""
    pdu_community: str = "private"
    """SNMP community that the emulated PDUs accept for reading and writing (APC ships with `private`)."""
    outdoor_temp_c: float = 18.0
    retune_s: float = 150.0
    """Backend restart after a preset change (plant.md §1.5: 2-4 min on VNish); demos shorten it."""
    cold_start_s: float = 180.0
    ups_runtime_s: float = 6480.0
    """How long a full UPS feeds gateway and network (plant default: 108 min); demos shorten it."""
    fault_port: int = 0
    """Loopback port of the fault-injection API; 0 = none."""
