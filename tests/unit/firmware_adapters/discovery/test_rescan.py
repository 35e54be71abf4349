"""A second scan against the site file: moved, new, missing, by what a machine is and not by its address."""

import ipaddress

from firmware_adapters.discovery.machine import Machine
from firmware_adapters.discovery.rescan import Looked, compare, lines
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

NET = ipaddress.ip_network("10.0.1.0/24")
HERE = Looked(asked=NET)


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
    changes = compare([entry(1), entry(2)], [machine(2), machine(1)], HERE)
    assert len(changes.same) == 2
    assert lines(changes) == []


def test_moved_new_and_missing() -> None:
    changes = compare(
        [entry(1), entry(2), entry(3)], [machine(1), machine(2, host="10.0.1.77"), machine(9)], HERE
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
    changes = compare([entry(1), entry(2)], [machine(1, host="10.0.1.2"), machine(2, host="10.0.1.1")], HERE)
    assert len(changes.moved) == 2
    assert not changes.new
    assert not changes.missing


def test_a_machine_that_was_replaced_is_one_new_and_one_missing() -> None:
    changes = compare([entry(1)], [machine(9, host="10.0.1.1")], HERE)
    assert [one.mac for one in changes.new] == ["aa:bb:cc:00:00:09"]
    assert [one.id for one in changes.missing] == ["m-001"]


def test_a_serial_number_serves_where_there_is_no_mac() -> None:
    changes = compare(
        [entry(1, mac=False, serial=True)], [machine(1, host="10.0.1.50", mac=False, serial=True)], HERE
    )
    assert [one.by for one in changes.moved] == ["serial"]


def test_a_serial_number_that_two_machines_share_does_not_beat_the_mac() -> None:
    """Cloned firmware images repeat serial numbers."""
    known = entry(1, serial=True)
    other = Machine(host="10.0.1.60", port=80, adapter="vnish", mac="aa:bb:cc:00:00:77", serial="SN1")
    changes = compare([known], [other], HERE)
    assert not changes.moved
    assert [one.id for one in changes.missing] == ["m-001"]


def test_an_address_alone_proves_nothing_and_is_said_so() -> None:
    changes = compare([entry(1, mac=False)], [machine(1)], HERE)
    assert [one.id for one in changes.unproven] == ["m-001"]
    assert not changes.new
    assert "no MAC or serial number says it is the same" in lines(changes)[0]


def test_only_what_was_asked_can_be_missing() -> None:
    changes = compare([entry(1, host="10.0.2.1"), entry(2, host="miner-2")], [], HERE)
    assert changes.missing == ()
    assert len(compare([entry(1, host="10.0.2.1")], [], Looked()).missing) == 1


def test_equipment_that_is_no_miner_is_left_out() -> None:
    meter = DeviceEntry(
        id=DeviceId("meter"),
        kind=DeviceKind.METER,
        adapter="modbus",
        host="10.0.1.200",
        port=502,
        zone=ZoneId("h"),
    )
    assert compare([meter], [], HERE).missing == ()


def test_on_a_running_site_a_moved_machine_is_known_though_nobody_asked_where_it_stood() -> None:
    looked = Looked(asked=NET, left_alone=frozenset({"10.0.1.1", "10.0.1.2"}))
    changes = compare([entry(1), entry(2)], [machine(1, host="10.0.1.99")], looked)
    assert [str(one.entry.id) for one in changes.moved] == ["m-001"]
    assert (changes.new, changes.missing) == ((), ())


def test_of_those_left_to_a_guardian_only_whom_it_cannot_reach_is_missing() -> None:
    there = frozenset({"10.0.1.1", "10.0.1.2"})
    looked = Looked(asked=NET, left_alone=there, silent=frozenset({DeviceId("m-002")}))
    assert [str(one.id) for one in compare([entry(1), entry(2)], [], looked).missing] == ["m-002"]


def test_what_answers_without_being_recognised_is_not_missing() -> None:
    changes = compare([entry(1)], [], Looked(asked=NET, unrecognised=frozenset({"10.0.1.1"})))
    assert changes.missing == ()
    assert lines(changes) == [
        "not recognised: m-001 at 10.0.1.1:80 answers, but not as a firmware that we know"
    ]


def test_a_machine_that_the_site_file_calls_by_name_has_not_moved() -> None:
    looked = Looked(asked=NET, names={"miner-1.lan": "10.0.1.1"})
    changes = compare([entry(1, host="miner-1.lan")], [machine(1)], looked)
    assert (changes.moved, changes.missing, len(changes.same)) == ((), (), 1)
    gone = compare([entry(1, host="miner-1.lan")], [], looked)
    assert [str(one.id) for one in gone.missing] == ["m-001"]
