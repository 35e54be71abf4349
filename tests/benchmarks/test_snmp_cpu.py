"""What one GET of ten objects costs the poller: our link against pysnmp's own high-level API.

The agent is net-snmp's in a process of its own where it is installed, else our emulated one in another
process; its work is not counted.
"""

import asyncio
import contextlib
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from pysnmp.hlapi.v3arch import asyncio as hlapi

from firmware_adapters.transport.snmp import open_link
from firmware_adapters.transport.snmp_user import Access, UsmUser, access_of
from support.benchmark import Line, in_turns

SNMPD = shutil.which("snmpd") or shutil.which("snmpd", path="/usr/sbin")
COLUMN = "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5"
OIDS = [f"{COLUMN}.{n}" for n in range(1, 11)]
GETS = 100
V3 = access_of("watch", "sha correct-horse aes battery-staple")
ACCESSES: dict[str, Access] = {"v2c": "public", "v3": V3}

EMULATED = """
import asyncio, sys
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.transport.snmp_user import access_of

async def main():
    source = DictSource({f"outlet_on.{n}": 1.0 for n in range(1, 11)})
    user = access_of("watch", "sha correct-horse aes battery-staple")
    agent = SnmpAgent("127.0.0.1", int(sys.argv[1]), load_profile("apc-rpdu2"), source, users=(user,))
    await agent.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A port with an agent on it, and whose it is."""
    folder = tmp_path_factory.mktemp("snmpd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    if SNMPD is None:
        command, said, name = [sys.executable, "-c", EMULATED, str(port)], "ready", "emulated"
    else:
        command, said, name = _net_snmp(folder, port), "NET-SNMP version", "net-snmp"
    process = subprocess.Popen(
        command,
        env={"SNMP_PERSISTENT_DIR": str(folder), "MIBS": "", "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(said):
            break
    yield port, name
    process.terminate()
    process.wait(10)
    process.stdout.close()


def _net_snmp(folder: Path, port: int) -> list[str]:
    lines = [
        f"agentaddress udp:127.0.0.1:{port}",
        "dontLogTCPWrappersConnects yes",  # or each request is a line in a pipe that nobody reads
        "rocommunity public 127.0.0.1",
        'createUser watch SHA "correct-horse" AES "battery-staple"',
        "rouser watch priv",
        *(f"override .{oid} integer 2" for oid in OIDS),
    ]
    config = folder / "snmpd.conf"
    config.write_text("\n".join(lines) + "\n")
    return [str(SNMPD), "-f", "-Lo", "-C", "-c", str(config), "-I", "-smux", "-p", str(folder / "pid")]


def cpu_s() -> float:
    """CPU time of this process so far, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(runner: asyncio.Runner, get: Callable[[], Awaitable[int]]) -> float:
    """CPU per GET in ms; each must have brought all ten objects."""

    async def work() -> None:
        for _ in range(GETS):
            assert await get() == len(OIDS)

    began_s = cpu_s()
    runner.run(work())
    return (cpu_s() - began_s) * 1000 / GETS


@pytest.mark.parametrize("version", ACCESSES)
@pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
def test_cpu_of_a_get(
    agent: tuple[int, str], version: str, backend: str, report: Callable[[Line], None]
) -> None:
    port, whose = agent
    access = ACCESSES[version]
    with asyncio.Runner() as runner, contextlib.ExitStack() as after:
        link = open_link("127.0.0.1", port, access, max_oids=len(OIDS), backend=backend)
        after.callback(lambda: runner.run(link.close()))
        engine = hlapi.SnmpEngine()
        after.callback(engine.close_dispatcher)
        target = runner.run(hlapi.UdpTransportTarget.create(("127.0.0.1", port), timeout=2, retries=0))

        async def ours() -> int:
            found = await link.get(OIDS, timeout_s=2)
            return sum(value == 2 for value in found.values())

        async def peers() -> int:
            asked = [hlapi.ObjectType(hlapi.ObjectIdentity(oid)) for oid in OIDS]
            failure, status, _, found = await hlapi.get_cmd(
                engine, _credentials(access), target, hlapi.ContextData(), *asked, lookupMib=False
            )
            assert not failure
            assert not status
            return sum(int(value) == 2 for _, value in found)

        turns = in_turns(lambda: measured(runner, ours), lambda: measured(runner, peers), repeats=5)
    line = turns.line(
        f"snmp cpu {version} {backend}",
        unit="ms per GET",
        peer="pysnmp get_cmd, one engine, no MIB look-up",
        n=len(OIDS),
        more={"agent": whose},
    )
    report(line)


def _credentials(access: Access) -> object:
    if isinstance(access, UsmUser):
        return hlapi.UsmUserData(
            access.name,
            authKey=access.authentication_secret,
            privKey=access.privacy_secret,
            authProtocol=hlapi.usmHMACSHAAuthProtocol,
            privProtocol=hlapi.usmAesCfb128Protocol,
        )
    return hlapi.CommunityData(access)
