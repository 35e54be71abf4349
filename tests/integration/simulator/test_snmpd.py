"""Our SNMP links against net-snmp's own agent, which plays an APC PDU by overrides."""

import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.transport.snmp import open_link
from shared.errors import DeviceError, DeviceTimeout, Unsupported
from shared.telemetry import Quality

SNMPD = shutil.which("snmpd") or shutil.which("snmpd", path="/usr/sbin")
BASE = ".1.3.6.1.4.1.318.1.1.26."
OUTLETS = 12

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SNMPD is None, reason="snmpd is not installed (apt-get install snmpd)"),
]
backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("snmpd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    lines = [
        f"agentaddress udp:127.0.0.1:{port}",
        "rocommunity public 127.0.0.1",
        "rwcommunity private 127.0.0.1",
        f"override {BASE}4.3.1.5.1 integer 121",
        *(f"override {BASE}9.2.3.1.5.{n} integer {1 + n % 2}" for n in range(1, OUTLETS + 1)),
        *(f"override -rw {BASE}9.2.4.1.5.{n} integer 1" for n in range(1, OUTLETS + 1)),
    ]
    config = folder / "snmpd.conf"
    config.write_text("\n".join(lines) + "\n")
    agent = subprocess.Popen(
        [str(SNMPD), "-f", "-Lo", "-C", "-c", str(config), "-I", "-smux", "-p", str(folder / "pid")],
        env={"SNMP_PERSISTENT_DIR": str(folder), "MIBS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert agent.stdout is not None
    for line in agent.stdout:
        if line.startswith("NET-SNMP version"):
            break
    yield port
    agent.terminate()
    agent.wait(10)
    agent.stdout.close()


def pdu(port: int, backend: str, *, community: str = "private", max_oids: int = 30) -> SnmpDevice:
    link = open_link("127.0.0.1", port, community, max_oids=max_oids, backend=backend)
    return SnmpDevice(load_profile("apc-rpdu2"), link, timeout_s=1.0, may_write=True)


@backends
@pytest.mark.parametrize("max_oids", [1, 7, 30])
async def test_reads_the_pdu_that_net_snmp_plays(port: int, backend: str, max_oids: int) -> None:
    device = pdu(port, backend, max_oids=max_oids)
    seen = (await device.read()).readings
    assert seen["power_w"].value == 1210.0
    assert [seen[f"outlet_on.{n}"].value for n in range(1, OUTLETS + 1)] == [
        float(n % 2) for n in range(1, OUTLETS + 1)
    ]
    assert set(seen) == {"power_w"} | {f"outlet_on.{n}" for n in range(1, OUTLETS + 1)}
    assert all(reading.quality is Quality.GOOD for reading in seen.values())
    assert "Linux" in (await device.facts()).firmware
    await device.close()


@backends
async def test_sets_the_command_object(port: int, backend: str) -> None:
    device = pdu(port, backend)
    await device.switch_outlet(2, on=False)
    link = open_link("127.0.0.1", port, "public", backend=backend)
    command = f"{BASE[1:]}9.2.4.1.5.2"
    assert await link.get([command], timeout_s=1) == {command: 2}
    await device.switch_outlet(2, on=True)
    assert await link.get([command], timeout_s=1) == {command: 1}
    await link.close()
    await device.close()


@backends
async def test_a_read_only_community_and_a_read_only_object_are_refused(port: int, backend: str) -> None:
    reader = pdu(port, backend, community="public")
    with pytest.raises(DeviceError):
        await reader.switch_outlet(1, on=False)
    link = open_link("127.0.0.1", port, "private", backend=backend)
    with pytest.raises(Unsupported):
        await link.set_integer(f"{BASE[1:]}4.3.1.5.1", 5, timeout_s=1)
    await link.close()
    await reader.close()


@backends
async def test_a_wrong_community_is_silence(port: int, backend: str) -> None:
    device = pdu(port, backend, community="guess")
    with pytest.raises(DeviceTimeout):
        await device.read()
    await device.close()


@backends
async def test_replies_larger_than_a_datagram_should_be_are_halved(port: int, backend: str) -> None:
    """200 times sysDescr overflows gufo's buffer in one reply; halving must end with every value."""
    link = open_link("127.0.0.1", port, "public", max_oids=200, backend=backend)
    oids = [f"1.3.6.1.2.1.1.9.1.3.{n}" for n in range(1, 11)] + ["1.3.6.1.2.1.1.1.0"] * 150
    found = await link.get(oids, timeout_s=2)
    assert len(found) == 11
    await link.close()
