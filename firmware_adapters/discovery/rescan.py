"""What changed on a site since its file was written: machines that moved, are new, or are not found any more.

A machine is known by its MAC, else by its serial number, and only where one side has neither by its address.
So two machines that swapped their addresses have both moved, and a machine that was replaced is one new and
one missing. Where a guardian runs the site nobody else asks its machines: one of them has moved when it is
found at an address that is not the site's, and is missing when its guardian cannot reach it.
"""

from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from firmware_adapters.discovery.machine import Machine
from firmware_adapters.discovery.ranges import Network
from firmware_adapters.identify import clean_mac
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of the site file that answers elsewhere."""

    entry: DeviceEntry
    machine: Machine
    by: str
    """How it was known: `mac` or `serial`."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """Where machines were looked for, by address, and what else is known of a place without a machine."""

    asked: Network | None = None
    """None counts every entry as asked for."""
    unrecognised: frozenset[str] = frozenset()
    """Something answers there, but no firmware that we know."""
    left_alone: frozenset[str] = frozenset()
    """Nobody asked there: a running guardian does."""
    silent: frozenset[DeviceId] = frozenset()
    """Of those left alone, the devices that their guardian cannot reach."""
    names: dict[str, str] = {}
    """Addresses of the hosts that the site file calls by a name."""

    def address(self, entry: DeviceEntry) -> str:
        return self.names.get(entry.host, entry.host)

    def is_missing(self, entry: DeviceEntry) -> bool:
        """Whether a machine that was not found should have been."""
        address = self.address(entry)
        if address in self.left_alone:
            return entry.id in self.silent
        return self.asked is None or _inside(address, self.asked)


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The difference. `missing` are only those that stand in the range that was asked."""

    same: tuple[tuple[DeviceEntry, Machine], ...] = ()
    moved: tuple[Moved, ...] = ()
    new: tuple[Machine, ...] = ()
    missing: tuple[DeviceEntry, ...] = ()
    unproven: tuple[DeviceEntry, ...] = ()
    """Found at their address, without a MAC or serial number to prove that they are the same."""
    unrecognised: tuple[DeviceEntry, ...] = ()
    """Something answers at their address that nobody recognised: perhaps they, hanging."""


def compare(devices: Iterable[DeviceEntry], machines: Iterable[Machine], looked: Looked) -> Changes:
    """See the module's text."""
    entries = [entry for entry in devices if entry.kind is DeviceKind.MINER]
    left = list(machines)
    same: list[tuple[DeviceEntry, Machine]] = []
    moved: list[Moved] = []
    rest: list[DeviceEntry] = []
    for entry in entries:
        machine, by = _match(entry, left)
        if machine is None:
            rest.append(entry)
            continue
        left.remove(machine)
        if (machine.host, machine.port) == (looked.address(entry), entry.port):
            same.append((entry, machine))
        else:
            moved.append(Moved(entry=entry, machine=machine, by=by))
    missing: list[DeviceEntry] = []
    unproven: list[DeviceEntry] = []
    unrecognised: list[DeviceEntry] = []
    for entry in rest:
        place = (looked.address(entry), entry.port)
        there = next((one for one in left if (one.host, one.port) == place), None)
        if there is not None and not _contradict(entry, there):
            left.remove(there)
            same.append((entry, there))
            unproven.append(entry)
        elif place[0] in looked.unrecognised:
            unrecognised.append(entry)
        elif looked.is_missing(entry):
            missing.append(entry)
    return Changes(
        same=tuple(same),
        moved=tuple(moved),
        new=tuple(left),
        missing=tuple(missing),
        unproven=tuple(unproven),
        unrecognised=tuple(unrecognised),
    )


def _match(entry: DeviceEntry, machines: list[Machine]) -> tuple[Machine | None, str]:
    mac = clean_mac(entry.mac or "")
    for machine in machines:
        if mac and machine.mac == mac:
            return machine, "mac"
    for machine in machines:
        if entry.serial_number and machine.serial == entry.serial_number and not _contradict(entry, machine):
            return machine, "serial"
    return None, ""


def _contradict(entry: DeviceEntry, machine: Machine) -> bool:
    """Whether both tell a MAC, or both a serial number, and they differ."""
    mac = clean_mac(entry.mac or "")
    if mac and machine.mac:
        return mac != machine.mac
    return bool(entry.serial_number and machine.serial and entry.serial_number != machine.serial)


def _inside(host: str, asked: Network) -> bool:
    try:
        return ip_address(host) in asked
    except ValueError:
        return False


def lines(changes: Changes) -> list[str]:
    """The difference for people, one line each; empty where nothing changed."""
    return [
        *(
            f"moved: {one.entry.id} from {_at(one.entry)} to {one.machine.place} (same {one.by})"
            for one in changes.moved
        ),
        *(f"new: {one.place} {one.model or one.adapter} {one.mac}".rstrip() for one in changes.new),
        *(f"missing: {one.id} at {_at(one)} {one.mac or ''}".rstrip() for one in changes.missing),
        *(
            f"not proven: {one.id} answers at {_at(one)}, but no MAC or serial number says it is the same"
            for one in changes.unproven
        ),
        *(
            f"not recognised: {one.id} at {_at(one)} answers, but not as a firmware that we know"
            for one in changes.unrecognised
        ),
    ]


def _at(entry: DeviceEntry) -> str:
    return f"{entry.host}:{entry.port}"
