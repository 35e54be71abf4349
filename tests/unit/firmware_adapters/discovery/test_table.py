"""Machines as a table: out, in again the same, and whatever is wrong with one is said with its line."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.discovery.machine import Machine, by_address, numbered
from firmware_adapters.discovery.table import COLUMNS, from_csv, to_csv
from shared.errors import ConfigError

ONE = Machine(
    id="m-001",
    host="10.0.1.7",
    port=80,
    adapter="vnish",
    model="Antminer S21 Pro",
    firmware="1.3.4",
    mac="aa:bb:cc:00:00:01",
    serial="SN1",
    algorithm="sha256d",
    nominal_w=3510.0,
    safe_preset="2550",
    zone="hall",
    rack="A1",
    slot=3,
    evidence="the front page says AnthillOS; and more, with a comma",
)


def test_a_table_reads_back_as_it_was_written() -> None:
    other = msgspec.structs.replace(ONE, id="m-002", host="10.0.1.8", mac="aa:bb:cc:00:00:02")
    assert from_csv(to_csv([ONE, other]), "t.csv") == (ONE, other)


def test_a_spreadsheets_own_ways_are_read() -> None:
    text = "\ufeffMAC;Host;Port;Adapter;rack\r\nAABBCC000001;10.0.1.7;80;vnish;A1\r\n;;;;\r\n"
    (machine,) = from_csv(text, "t.csv")
    assert (machine.mac, machine.host, machine.port, machine.rack) == (
        "aa:bb:cc:00:00:01",
        "10.0.1.7",
        80,
        "A1",
    )


def test_a_cell_is_never_a_formula() -> None:
    evil = msgspec.structs.replace(ONE, model='=HYPERLINK("http://x")', rack="+1", serial="@a")
    text = to_csv([evil])
    assert "'=HYPERLINK" in text
    assert "'+1" in text
    assert "'@a" in text
    assert from_csv(text, "t.csv") == (evil,)


HEAD = "id,host,port,adapter,mac,algorithm,nominal_w,slot\n"
GOOD = "m-1,10.0.1.7,80,vnish,aa:bb:cc:00:00:01,sha256d,3250,1\n"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            GOOD + "m-2,10.0.1.8,80,vnish,AA-BB-CC-00-00-01,sha256d,3250,2\n",
            "t.csv:3: MAC aa:bb:cc:00:00:01 stands in line 2 already",
        ),
        (GOOD + "m-1,10.0.1.8,80,vnish,,,,\n", "t.csv:3: id m-1 stands in line 2 already"),
        (GOOD + "m-2,10.0.1.7,80,vnish,,,,\n", "t.csv:3: address 10.0.1.7:80 stands in line 2 already"),
        ("m-1,10.0.1.7,80,vinish,,,,\n", "t.csv:2: adapter 'vinish': expected one of"),
        ("m-1,10.0.1.7,99999,vnish,,,,\n", "t.csv:2: port '99999': expected 1 to 65535"),
        ("m-1,10.0.1.7,,vnish,,,,\n", "t.csv:2: port: expected 1 to 65535"),
        ("m-1,10.0.1.999,80,vnish,,,,\n", "t.csv:2: '10.0.1.999' is no host"),
        ("m-1,10.0.1.7:81,80,vnish,,,,\n", "t.csv:2: host '10.0.1.7:81': the port has a column of its own"),
        ("m-1,10.0.1.7,80,vnish,aa:bb,,,\n", "t.csv:2: mac 'aa:bb': expected six pairs"),
        ("m-1,10.0.1.7,80,vnish,,x11,,\n", "t.csv:2: algorithm 'x11': expected sha256d or scrypt"),
        ("m-1,10.0.1.7,80,vnish,,,3 kW,\n", "t.csv:2: nominal_w '3 kW': expected W as 3250"),
        ("m-1,10.0.1.7,80,vnish,,,nan,\n", "t.csv:2: nominal_w 'nan': expected W as 3250"),
        ("m-1,10.0.1.7,80,vnish,,,,top\n", "t.csv:2: slot 'top': expected 0 to 100000"),
        ("M 1,10.0.1.7,80,vnish,,,,\n", "t.csv:2: id 'M 1' is not a valid name"),
        ("m-1,10.0.1.7,80,vnish,,,,,,\n", "t.csv:2: 10 cells, the header has 8"),
        ('m-1,"10.0.1.7,80,vnish\n', "not CSV"),
        ("", "t.csv: no machine in it"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(rows: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_csv(HEAD + rows, "t.csv")
    assert says in str(refused.value)


def test_every_problem_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        from_csv(HEAD + "m-1,x y,0,nothing,,,,\nm-2,10.0.1.8,80,vnish,zz,,,\n", "t.csv")
    lines = str(refused.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["t.csv:2", "t.csv:2", "t.csv:2", "t.csv:3"]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("host,port\n", "t.csv:1: the column 'adapter' is missing"),
        ("host,port,adapter,colour\n", "t.csv:1: no column named 'colour'; known are id, host"),
        ("host,host,port,adapter\n", "t.csv:1: a column is named twice"),
        ("", "t.csv:1: the column 'host' is missing"),
    ],
)
def test_a_header_that_cannot_be_used(header: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_csv(header, "t.csv")
    assert says in str(refused.value)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=300) | st.text(max_size=200).map(lambda tail: HEAD + tail))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    try:
        machines = from_csv(text, "t.csv")
    except ConfigError:
        return
    assert all(machine.host and machine.adapter and 0 < machine.port < 65536 for machine in machines)


def test_the_columns_are_fields_of_a_machine() -> None:
    assert set(COLUMNS) <= set(Machine.__struct_fields__)


def test_machines_are_numbered_around_the_ids_that_are_taken() -> None:
    machines = (
        msgspec.structs.replace(ONE, id=""),
        msgspec.structs.replace(ONE, id="m-004"),
        msgspec.structs.replace(ONE, id=""),
        msgspec.structs.replace(ONE, id=""),
    )
    assert [one.id for one in numbered(machines, frozenset({"m-001"}))] == [
        "m-002",
        "m-004",
        "m-003",
        "m-005",
    ]


def test_addresses_are_sorted_as_numbers() -> None:
    hosts = ["10.0.0.10", "10.0.0.9", "miner-1", "9.0.0.1"]
    machines = [Machine(host=host, port=80, adapter="vnish") for host in hosts]
    assert [one.host for one in sorted(machines, key=by_address)] == [
        "9.0.0.1",
        "10.0.0.9",
        "10.0.0.10",
        "miner-1",
    ]
