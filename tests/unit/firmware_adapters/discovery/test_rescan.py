"""A second scan against the site file: moved, new, missing, by what a machine is and not by its address."""

import ipaddress

from firmware_adapters.discovery.machine import Machine
from firmware_adapters.discovery.rescan import compare, lines
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

NET = ipaddress.ip_network("10.0.1.0/24")


def entry(number: int, *, host: str | None = None, mac: bool = True, serial: bool = False) -> DeviceEntry:
    return DeviceEntry(
        id=DeviceId(f"m-{number:03d}"),
        kind=DeviceKind.MINER,
        adapter="vnish",
        host=host or f"10.0.1.{number}",
        port=80,
        zone=ZoneId("hall"),
        mac=f"aa:bb:cc:00:00:{number:02x}" if mac else None,
        serial_number=f"SN{number}" if serial else None,
    )


def machine(number: int, *, host: str | None = None, mac: bool = True, serial: bool = False) -> Machine:
    return Machine(
        host=host or f"10.0.1.{number}",
        port=80,
        adapter="vnish",
        model="S21",
        mac=f"aa:bb:cc:00:00:{number:02x}" if mac else "",
        serial=f"SN{number}" if serial else "",
    )


def test_nothing_changed() -> None:
    changes = compare([entry(1), entry(2)], [machine(2), machine(1)], NET)
    assert len(changes.same) == 2
    assert lines(changes) == []


def test_moved_new_and_missing() -> None:
    changes = compare(
        [entry(1), entry(2), entry(3)], [machine(1), machine(2, host="10.0.1.77"), machine(9)], NET
    )
    assert [(one.entry.id, one.machine.host, one.by) for one in changes.moved] == [
        ("m-002", "10.0.1.77", "mac")
    ]
    assert [one.mac for one in changes.new] == ["aa:bb:cc:00:00:09"]
    assert [one.id for one in changes.missing] == ["m-003"]
    assert lines(changes) == [
        "moved: m-002 from 10.0.1.2:80 to 10.0.1.77:80 (same mac)",
        "new: 10.0.1.9:80 S21 aa:bb:cc:00:00:09",
        "missing: m-003 at 10.0.1.3:80 aa:bb:cc:00:00:03",
    ]


def test_two_that_swapped_their_addresses_have_both_moved() -> None:
    changes = compare([entry(1), entry(2)], [machine(1, host="10.0.1.2"), machine(2, host="10.0.1.1")], NET)
    assert len(changes.moved) == 2
    assert not changes.new
    assert not changes.missing


def test_a_machine_that_was_replaced_is_one_new_and_one_missing() -> None:
    changes = compare([entry(1)], [machine(9, host="10.0.1.1")], NET)
    assert [one.mac for one in changes.new] == ["aa:bb:cc:00:00:09"]
    assert [one.id for one in changes.missing] == ["m-001"]


def test_a_serial_number_serves_where_there_is_no_mac() -> None:
    changes = compare(
        [entry(1, mac=False, serial=True)], [machine(1, host="10.0.1.50", mac=False, serial=True)], NET
    )
    assert [one.by for one in changes.moved] == ["serial"]


def test_a_serial_number_that_two_machines_share_does_not_beat_the_mac() -> None:
    """Cloned firmware images repeat serial numbers."""
    known = entry(1, serial=True)
    other = Machine(host="10.0.1.60", port=80, adapter="vnish", mac="aa:bb:cc:00:00:77", serial="SN1")
    changes = compare([known], [other], NET)
    assert not changes.moved
    assert [one.id for one in changes.missing] == ["m-001"]


def test_an_address_alone_proves_nothing_and_is_said_so() -> None:
    changes = compare([entry(1, mac=False)], [machine(1)], NET)
    assert [one.id for one in changes.unproven] == ["m-001"]
    assert not changes.new
    assert "no MAC or serial number says it is the same" in lines(changes)[0]


def test_only_what_was_asked_can_be_missing() -> None:
    changes = compare([entry(1, host="10.0.2.1"), entry(2, host="miner-2")], [], NET)
    assert changes.missing == ()
    assert len(compare([entry(1, host="10.0.2.1")], [], None).missing) == 1


def test_equipment_that_is_no_miner_is_left_out() -> None:
    meter = DeviceEntry(
        id=DeviceId("meter"),
        kind=DeviceKind.METER,
        adapter="modbus",
        host="10.0.1.200",
        port=502,
        zone=ZoneId("h"),
    )
    assert compare([meter], [], NET).missing == ()
