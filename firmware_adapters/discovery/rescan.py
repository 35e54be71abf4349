"""What changed on a site since its file was written: machines that moved, are new, or are not found any more.

A machine is known by its MAC, else by its serial number, and only where one side has neither by its address.
So two machines that swapped their addresses have both moved, and a machine that was replaced is one new and
one missing.
"""

from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from firmware_adapters.discovery.machine import Machine
from firmware_adapters.discovery.ranges import Network
from firmware_adapters.identify import clean_mac
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of the site file that answers elsewhere."""

    entry: DeviceEntry
    machine: Machine
    by: str
    """How it was known: `mac` or `serial`."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The difference. `missing` are only those that stand in the range that was asked."""

    same: tuple[tuple[DeviceEntry, Machine], ...] = ()
    moved: tuple[Moved, ...] = ()
    new: tuple[Machine, ...] = ()
    missing: tuple[DeviceEntry, ...] = ()
    unproven: tuple[DeviceEntry, ...] = ()
    """Found at their address, without a MAC or serial number to prove that they are the same."""


def compare(devices: Iterable[DeviceEntry], machines: Iterable[Machine], asked: Network | None) -> Changes:
    """See the module's text. `asked` None counts every entry as asked for."""
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
        if (machine.host, machine.port) == (entry.host, entry.port):
            same.append((entry, machine))
        else:
            moved.append(Moved(entry=entry, machine=machine, by=by))
    missing: list[DeviceEntry] = []
    unproven: list[DeviceEntry] = []
    for entry in rest:
        there = next((one for one in left if (one.host, one.port) == (entry.host, entry.port)), None)
        if there is not None and not _contradict(entry, there):
            left.remove(there)
            same.append((entry, there))
            unproven.append(entry)
        elif asked is None or _inside(entry.host, asked):
            missing.append(entry)
    return Changes(
        same=tuple(same),
        moved=tuple(moved),
        new=tuple(left),
        missing=tuple(missing),
        unproven=tuple(unproven),
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
    ]


def _at(entry: DeviceEntry) -> str:
    return f"{entry.host}:{entry.port}"
