"""Our SNMP links against net-snmp's own agent, v2c and v3, which plays an APC PDU by overrides."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.transport.snmp import open_link
from firmware_adapters.transport.snmp_user import access_of
from shared.errors import AuthFailed, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.telemetry import Quality
from support.ports import free_port

SNMPD = shutil.which("snmpd") or shutil.which("snmpd", path="/usr/sbin")
BASE = ".1.3.6.1.4.1.318.1.1.26."
OUTLETS = 12

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SNMPD is None, reason="snmpd is not installed (apt-get install snmpd)"),
]
backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
USERS = {
    "watch": ("sha correct-horse aes battery-staple", "rouser watch priv", "SHA", "AES"),
    "switch": ("sha256 correct-horse aes battery-staple", "rwuser switch priv", "SHA-256", "AES"),
    "long": ("sha512 correct-horse aes battery-staple", "rouser long priv", "SHA-512", "AES"),
    "signed": ("sha256 correct-horse", "rouser signed auth", "SHA-256", ""),
}
"""v3 users: secret as it is entered, snmpd's permission, and its names of the algorithms."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("snmpd")
    port = free_port()
    lines = [
        f"agentaddress udp:127.0.0.1:{port}",
        "dontLogTCPWrappersConnects yes",  # or each request is a line in a pipe that nobody reads
        "rocommunity public 127.0.0.1",
        "rwcommunity private 127.0.0.1",
        *(
            f'createUser {name} {auth} "correct-horse"' + (f' {cipher} "battery-staple"' if cipher else "")
            for name, (_, _, auth, cipher) in USERS.items()
        ),
        *(permission for _, permission, _, _ in USERS.values()),
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


@backends
async def test_walks_a_table_by_getbulk(port: int, backend: str) -> None:
    link = open_link("127.0.0.1", port, "public", max_oids=5, backend=backend)
    column = f"{BASE[1:]}9.2.3.1.5"
    assert await link.walk(column, timeout_s=1, max_rows=20) == {
        f"{column}.{n}": 1 + n % 2 for n in range(1, OUTLETS + 1)
    }
    everything = await link.walk("1.3.6.1.2.1.1", timeout_s=1, max_rows=200)
    assert "1.3.6.1.2.1.1.1.0" in everything
    assert all(oid.startswith("1.3.6.1.2.1.1.") for oid in everything)
    await link.close()


@backends
@pytest.mark.parametrize("user", USERS)
async def test_v3_users_read(port: int, backend: str, user: str) -> None:
    link = open_link("127.0.0.1", port, access_of(user, USERS[user][0]), backend=backend)
    device = SnmpDevice(load_profile("apc-rpdu2"), link, timeout_s=2.0, may_write=True)
    seen = (await device.read()).readings
    assert seen["power_w"].value == 1210.0
    assert sum(name.startswith("outlet_on.") for name in seen) == OUTLETS
    assert await link.walk(f"{BASE[1:]}9.2.3.1.5", timeout_s=2, max_rows=20)
    await device.close()


@backends
async def test_a_v3_user_switches_and_one_who_may_only_read_does_not(port: int, backend: str) -> None:
    command = f"{BASE[1:]}9.2.4.1.5.4"
    writer = open_link("127.0.0.1", port, access_of("switch", USERS["switch"][0]), backend=backend)
    await writer.set_integer(command, 2, timeout_s=2)
    assert await writer.get([command], timeout_s=2) == {command: 2}
    await writer.set_integer(command, 1, timeout_s=2)
    reader = open_link("127.0.0.1", port, access_of("watch", USERS["watch"][0]), backend=backend)
    with pytest.raises((AuthFailed, Unsupported)):
        await reader.set_integer(command, 2, timeout_s=2)
    assert await reader.get([command], timeout_s=2) == {command: 1}
    for link in (writer, reader):
        await link.close()


@backends
@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ("nobody", "sha256 correct-horse aes battery-staple"),
        ("switch", "sha256 wrong-horse aes battery-staple"),
        ("switch", "sha256 correct-horse aes wrong-staple"),
        ("switch", "sha256 correct-horse"),
    ],
)
async def test_v3_without_the_right_secrets_brings_nothing(
    port: int, backend: str, user: str, secret: str
) -> None:
    link = open_link("127.0.0.1", port, access_of(user, secret), backend=backend)
    with pytest.raises((AuthFailed, DeviceTimeout, MalformedReply)):
        await link.get([f"{BASE[1:]}4.3.1.5.1", f"{BASE[1:]}9.2.3.1.5.1"], timeout_s=0.5)
    await link.close()
