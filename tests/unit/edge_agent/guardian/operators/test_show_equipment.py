"""Raw frames of site equipment: kept by the guardian, written by `diagnostics`, read back as they were."""

import asyncio
import json
import os
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.guardian.agents.peers import AgentUids, Peer
from edge_agent.guardian.operators.server import OperatorServer
from edge_agent.guardian.operators.show import show
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.capabilities import Telemetry
from firmware_adapters.discovery import diagnostics_cli, probe_cli
from firmware_adapters.discovery.recording import Provenance, write
from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusFault
from firmware_adapters.site.modbus_rtu_emulator import framed
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_session import Framing
from firmware_adapters.transport.snmp_memory import MemorySnmp
from firmware_adapters.transport.tape import Tape, taping
from shared.clock import ManualClock
from shared.errors import Busy
from shared.exchanges import KeptFailure
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.shown import DeviceShown, ShowDevice
from shared.telemetry import DeviceKind
from support.frames import replying
from support.site_devices import HOST, served_unit

NAME = "unit_1_input_1_2.raw"
PROFILE = load_profile("xy-md02")
LONG_S = 10.0
"""For what must not run into its time-out."""


def entry_of(name: str, *, unit: int = 1, adapter: str = "modbus", port: int = 502) -> DeviceEntry:
    return DeviceEntry(
        id=DeviceId(name),
        kind=DeviceKind.PROBE,
        adapter=adapter,
        host=HOST,
        port=port,
        zone=ZoneId("hall"),
        profile="xy-md02",
        unit_id=unit,
    )


def linked(entry: DeviceEntry, device: Telemetry, samples: Samples | None = None) -> DeviceLink:
    given = samples or Samples("boot", Board(), Ring())
    return DeviceLink(entry, device, given, ManualClock(), timeout_s=LONG_S)


def kept(link: DeviceLink) -> KeptFailure:
    found = link._samples.kept.of(link.device)
    assert found is not None
    return found


@asynccontextmanager
async def fed(reply: bytes, framing: Framing = Framing.TCP) -> AsyncIterator[ModbusDevice]:
    """A driver in front of a recorded frame."""
    async with replying(reply) as port:
        connection = ModbusConnection(HOST, port, framing=framing)
        try:
            yield ModbusDevice(PROFILE, connection, unit=1, timeout_s=LONG_S)
        finally:
            await connection.close()


@asynccontextmanager
async def guardian(
    folder: Path, links: Mapping[DeviceId, DeviceLink], samples: Samples
) -> AsyncIterator[None]:
    """An operator socket in front of the links, and a site file that names it."""
    entries = "".join(
        f'[[devices]]\nid = "{one.id}"\nkind = "{one.kind}"\nadapter = "{one.adapter}"\nhost = "{one.host}"\n'
        f'port = {one.port}\nunit_id = {one.unit_id}\nzone = "hall"\nprofile = "{one.profile}"\n'
        for one in (link.entry for link in links.values())
    )
    (folder / "site.toml").write_text(f'[paths]\noperator_socket = "o.sock"\n{entries}')

    async def answer(message: ipc.FromOperator, peer: Peer) -> ipc.ToOperator:
        assert isinstance(message, ShowDevice)
        return show(links, samples, message)

    server = OperatorServer(folder / "o.sock", answer, AgentUids())
    await server.start()
    try:
        yield
    finally:
        await server.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a short name, because a socket's path may have 107 characters only."""
    short = tmp_path / "s"
    short.mkdir()
    monkeypatch.chdir(short)
    return Path(os.curdir)


async def diagnosed(target: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """Where `minewarden diagnostics` wrote what the guardian kept of the device."""
    argv = [target, "--out", "d", "--site", "site.toml", "--via-guardian"]
    assert await asyncio.to_thread(diagnostics_cli.main, argv) == 0
    return Path(capsys.readouterr().err.removeprefix("saved: ").strip())


@pytest.mark.parametrize(
    "kind",
    [
        Misbehaviour.EXCEPTION,
        Misbehaviour.WRONG_TRANSACTION,
        Misbehaviour.WRONG_UNIT,
        Misbehaviour.WRONG_LENGTH,
        Misbehaviour.GARBAGE,
    ],
)
async def test_a_refused_frame_goes_from_the_wire_to_a_file_and_fails_again_from_there(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: Misbehaviour
) -> None:
    samples = Samples("boot", Board(), Ring())
    async with served_unit("xy-md02") as served:
        served.emulator.faults[1] = ModbusFault(kind)
        link = linked(entry_of("probe-1"), served.driver(timeout_s=LONG_S), samples)
        sample = await link.read()
    (exchange,) = kept(link).exchanges
    assert exchange.question == "unit 1 input 1+2"
    assert exchange.reply
    assert sample.failure
    assert exchange.failure.startswith(f"{sample.failure}: ")
    async with guardian(folder, {link.device: link}, samples):
        place = await diagnosed("probe-1", capsys)
    assert (place / NAME).read_bytes() == exchange.reply
    told = tomllib.loads((place / "PROVENANCE.toml").read_text())
    assert (told["adapter"], told["exchange"][0]["failure"]) == ("modbus", exchange.failure)
    async with fed((place / NAME).read_bytes()) as device:
        again = linked(entry_of("probe-1"), device)
        assert (await again.read()).failure == sample.failure
        assert kept(again).exchanges == (exchange,)


async def test_a_serial_frame_with_a_wrong_checksum_fails_again_from_its_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = framed(1, bytes.fromhex("04 04 00DC 01F4"))[:-1] + b"\0"
    samples = Samples("boot", Board(), Ring())
    async with fed(spoilt, Framing.RTU) as device:
        link = linked(entry_of("probe-1", adapter="modbus-rtu"), device, samples)
        assert (await link.read()).failure == "malformed"
    async with guardian(folder, {link.device: link}, samples):
        place = await diagnosed(HOST, capsys)
    assert place.parent.name == "modbus-rtu"
    assert (place / NAME).read_bytes() == spoilt
    async with fed((place / NAME).read_bytes(), Framing.RTU) as device:
        again = linked(entry_of("probe-1", adapter="modbus-rtu"), device)
        assert (await again.read()).failure == "malformed"
        assert kept(again).exchanges == kept(link).exchanges


async def test_a_good_frame_gives_the_same_numbers_from_its_file(tmp_path: Path) -> None:
    async with served_unit("xy-md02") as served:
        with taping(Tape()) as heard:
            seen = await served.driver(timeout_s=LONG_S).read()
    about = Provenance(adapter="modbus", model=PROFILE.model, firmware="", at="2026-11-22T10:00:00Z")
    place = write(tmp_path, list(heard.exchanges), about)
    async with fed((place / NAME).read_bytes()) as device:
        assert (await device.read()).readings == seen.readings


async def test_units_behind_one_gateway_each_keep_their_own_and_are_named_by_their_ids(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = Samples("boot", Board(), Ring())
    async with served_unit("xy-md02") as served:
        served.emulator.units[2] = served.emulator.units[1]
        links = {
            entry.id: linked(entry, served.driver(unit=entry.unit_id, timeout_s=LONG_S), samples)
            for entry in (entry_of(f"probe-{unit}", unit=unit) for unit in (1, 2))
        }
        assert [(await link.read()).failure for link in links.values()] == [None, None]
        served.emulator.faults |= {
            1: ModbusFault(Misbehaviour.EXCEPTION, code=4),
            2: ModbusFault(Misbehaviour.WRONG_TRANSACTION),
        }
        failures = [
            sample.failure for sample in await asyncio.gather(*(one.read() for one in links.values()))
        ]
    assert failures == ["busy", "malformed"]
    for unit, link in enumerate(links.values(), start=1):
        assert {one.question for one in kept(link).exchanges} == {f"unit {unit} input 1+2"}
    async with guardian(folder, links, samples):
        argv = [HOST, "--out", "d", "--site", "site.toml", "--via-guardian"]
        assert await asyncio.to_thread(diagnostics_cli.main, argv) == 2
        said = capsys.readouterr().err
        assert f"{HOST} is the address of several devices; name one of them: probe-1, probe-2" in said
        place = await diagnosed("probe-2", capsys)
    assert [path.name for path in place.glob("*.raw")] == ["unit_2_input_1_2.raw"]


async def test_an_address_with_many_devices_names_a_few_of_them() -> None:
    samples = Samples("boot", Board(), Ring())
    entries = [entry_of(f"probe-{unit:02}", unit=unit) for unit in range(1, 13)]
    idle = SnmpDevice(load_profile("apc-rpdu2"), MemorySnmp({}), timeout_s=1, may_write=False)
    links = {entry.id: linked(entry, idle, samples) for entry in entries}
    refused = show(links, samples, ShowDevice(host=HOST))
    assert isinstance(refused, ipc.Refused)
    assert refused.why.endswith("probe-09, probe-10 and 2 more")
    assert isinstance(show(links, samples, ShowDevice(device=entries[5].id)), DeviceShown)


async def test_a_frame_that_looks_like_a_password_is_handed_out_as_it_came() -> None:
    """Registers may hold any bytes; a changed one would be another frame. Text replies are still redacted."""
    text = b"\x00\x01\x00\x00\x00\x17\x01\x04\x14password=abc,user=xy"
    samples = Samples("boot", Board(), Ring())
    async with fed(text) as device:
        link = linked(entry_of("probe-1"), device, samples)
        await link.read()
    told = show({link.device: link}, samples, ShowDevice(device=link.device))
    assert isinstance(told, DeviceShown)
    assert told.kept is not None
    assert [one.reply for one in told.kept.exchanges] == [text]
    other = msgspec.structs.replace(kept(link), adapter="vnish")
    samples.kept.keep(other)
    told = show({link.device: link}, samples, ShowDevice(device=link.device))
    assert isinstance(told, DeviceShown)
    assert told.kept is not None
    assert b"password=redacted" in told.kept.exchanges[0].reply


async def test_snmp_answers_of_a_failed_read_are_saved_by_a_probe_as_they_were_decoded(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    types, exponents = "1.3.6.1.2.1.99.1.1.1.1", "1.3.6.1.2.1.99.1.1.1.2"
    samples = Samples("boot", Board(), Ring())
    memory = MemorySnmp({f"{types}.7": 8, f"{types}.8": 9})
    memory.failures.extend([None, Busy("the agent failed")])
    device = SnmpDevice(load_profile("entity-sensor"), memory, timeout_s=1, may_write=False)
    entry = msgspec.structs.replace(entry_of("room-1", adapter="snmp"), profile="entity-sensor")
    link = linked(entry, device, samples)
    assert (await link.read()).failure == "busy"
    async with guardian(folder, {link.device: link}, samples):
        argv = ["room-1", "--save", "d", "--site", "site.toml", "--via-guardian"]
        assert await asyncio.to_thread(probe_cli.main, argv) == 1
    said = capsys.readouterr().err
    place = Path(said.rpartition("saved: ")[2].strip())
    assert json.loads((place / f"walk_{types}.json").read_bytes()) == {f"{types}.7": 8, f"{types}.8": 9}
    assert not (place / f"walk_{exponents}.json").exists(), "it brought nothing"
    told = tomllib.loads((place / "PROVENANCE.toml").read_text())
    assert told["adapter"] == "snmp"
    assert told["exchange"][-1] == {
        "question": f"walk {exponents}",
        "name": f"walk_{exponents}",
        "failure": "busy: the agent failed",
    }
