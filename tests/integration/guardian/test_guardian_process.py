"""The real guardian process against a simulated site: real VNish HTTP, Modbus and SNMP on loopback.

One story per process pair, because starting them costs seconds: a proposal, a trip, kill -9 in the middle,
a refused and a granted reset, the restart in batches; and a machine that lies.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.config import SiteFile
from edge_agent.guardian.operators.client import ask
from edge_agent.guardian.storage.journal import segments, verify
from shared.alarms import Event
from shared.clock import SystemClock
from shared.commands import (
    ActionOutcome,
    DoActions,
    Proposal,
    SetPreset,
    StartMining,
    StopMining,
)
from shared.errors import Unreachable
from shared.ids import CommandId
from shared.telemetry import MinerState
from support.guardian import ZONE, make_site, miner_id, signed_order
from support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MINERS = 4
CLI = (sys.executable, "-P", "-m", "shared.cli")
NET = "127.97"


def simulated(fault_port: int) -> Callable[[str], str]:
    """The test site as the simulator can serve it: addresses, real models, waits that a test can wait."""
    web, modbus, snmp = (free_port() for _ in range(3))

    def edit(text: str) -> str:
        text = text.replace('host = "127.0.0.1"\nport = 15020', f'host = "{NET}.200.1"\nport = {modbus}')
        text = text.replace('host = "127.0.0.1"\nport = 16100', f'host = "{NET}.210.1"\nport = {snmp}')
        text = re.sub(r'host = "127\.9\.1\.(\d+)"', rf'host = "{NET}.1.\1"', text)
        text = text.replace("port = 18080", f'port = {web}\nrack = "A"\ncredential = "miners"')
        for number in range(1, MINERS + 1):
            text = text.replace(f'id = "m-{number}"', f'id = "m-{number}"\nslot = {number}')
        text = text.replace('model = "s19"', 'model = "s19jpro"').replace('"2300"', '"1850"')
        for name, value in (
            ("poll_s", 0.5),
            ("proven_for_s", 3.0),
            ("settle_s", 5.0),
            ("restart_after_stop_s", 3.0),
            ("restart_window_s", 3.0),
        ):
            text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        simulator = f"[simulator]\nseed = 3\nretune_s = 3.0\ncold_start_s = 3.0\nfault_port = {fault_port}\n"
        return text + "\n" + simulator

    return edit


class Pair:
    """A simulator and a guardian, as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fault_port = free_port()
        self.api = f"http://127.0.0.1:{fault_port}"
        self.site: SiteFile = make_site(folder, MINERS, edit=simulated(fault_port))
        self.path = folder / "site.toml"
        self._logs = (folder / "log.txt").open("wb")
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.command("credential", "set", "miners", stdin="admin\n")
        self.simulator = self._start("simulate")
        self.guardian = self._start("guardian", "run")

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*CLI, *words, "--site", str(self.path)],
            stdout=self._logs,
            stderr=self._logs,
            env=self.environment,
        )

    def command(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [*CLI, "guardian", *words, "--site", str(self.path)],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
        )
        return done.stdout + done.stderr

    def kill(self) -> None:
        self.guardian.kill()
        self.guardian.wait(10)

    def start_guardian(self) -> None:
        self.guardian = self._start("guardian", "run")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, method=method, data=data)
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def truth(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", "/truth")
        return answer

    def status(self) -> ipc.ZoneStatus | None:
        with contextlib.suppress(Unreachable):
            answer = ask(Path(self.site.paths.operator_socket), ipc.StatusRequest())
            assert isinstance(answer, ipc.Status)
            return answer.zones[ZONE]
        return None

    async def until(
        self, holds: Callable[[ipc.ZoneStatus], bool], *, seconds: float = 40.0
    ) -> ipc.ZoneStatus:
        status = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    status = await asyncio.to_thread(self.status)
                    if status is not None and holds(status):
                        return status
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(
                f"not within {seconds} s; last {status}\n{(self.folder / 'log.txt').read_text()[-3000:]}"
            )

    async def until_true(self, holds: Callable[[], bool], *, seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(0.1)

    def events(self) -> list[Event]:
        lines = [
            line
            for path in segments(Path(self.site.paths.guardian_state) / "journal")
            for line in path.read_bytes().split(b"\n")[:-1]
        ]
        return [msgspec.json.decode(line, type=ipc.JournalEntry).event for line in lines]

    def stop(self) -> int:
        self.guardian.terminate()
        code = self.guardian.wait(15)
        self.simulator.terminate()
        self.simulator.wait(15)
        self._logs.close()
        return code


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    try:
        yield pair
    finally:
        if pair.guardian.poll() is None or pair.simulator.poll() is None:
            pair.stop()


class Agent:
    """Just enough of an agent."""

    def __init__(self, site: SiteFile) -> None:
        self._site = site

    async def __aenter__(self) -> "Agent":
        self._reader, self._writer = await asyncio.open_unix_connection(self._site.paths.guardian_socket)
        self._decoder = msgspec.msgpack.Decoder(ipc.FromGuardian)
        self.say(ipc.Lease(ttl_s=60.0, cycle=1))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def say(self, message: ipc.FromAgent) -> None:
        self._writer.write(ipc.encode_frame(message))

    async def result(self, command: str) -> ipc.Result:
        async with asyncio.timeout(60):
            while True:
                message = await ipc.read_frame(self._reader, self._decoder)
                assert message is not None
                if isinstance(message, ipc.Result) and message.id == command:
                    return message


def propose(preset: str, command: str) -> ipc.Propose:
    action = SetPreset(device=miner_id(1), preset=preset)
    proposal = Proposal(id=CommandId(command), policy="test", actions=(action,), reason="fan", ttl_s=60.0)
    return ipc.Propose(proposal=proposal)


async def test_a_trip_its_reset_and_kill_9_in_between(pair: Pair) -> None:
    await pair.until(lambda s: s.mode is ipc.Mode.LOCAL_AUTO and not s.inhibited, seconds=60)

    async with Agent(pair.site) as agent:
        running = pair.truth()["miners"]["m-1"]["preset"]
        ladder = ["1740", "1800", "1850", "2000", "2150", "2300", "2500", "2700", "2970", "3080"]
        lower = ladder[ladder.index(running) - 1]
        agent.say(propose(lower, "p-1"))
        result = await agent.result("p-1")
        assert result.outcome is ActionOutcome.APPLIED, result
        assert pair.truth()["miners"]["m-1"]["preset"] == lower

    pair.call(
        "POST", "/faults", {"name": "exhaust_fan_stopped", "target": ZONE, "severity": 1.0, "ramp_s": 0.5}
    )
    status = await pair.until(lambda s: s.mode is ipc.Mode.TRIPPED)
    assert [trip.interlock for trip in status.trips] == ["cooling-lost"]
    await pair.until_true(lambda: {m["state"] for m in pair.truth()["miners"].values()} == {"stopped"})
    assert pair.truth()["reported_chip_max_ever_c"] < 90.0
    assert pair.truth()["protection_fired"] == 0
    assert "refused: the cause is still present" in pair.command("reset", "--zone", ZONE, "--reason", "x")

    pair.kill()
    pair.start_guardian()
    status = await pair.until(lambda s: True)
    assert status.mode is ipc.Mode.TRIPPED, "latched through kill -9"
    assert {m["state"] for m in pair.truth()["miners"].values()} == {"stopped"}

    pair.call("DELETE", "/faults")
    reset = ipc.ResetTrip(zone=ZONE, reason="wall repaired", operator="ada")
    socket = Path(pair.site.paths.operator_socket)
    await pair.until_true(lambda: isinstance(ask(socket, reset), ipc.Done))
    await pair.until(lambda s: s.mode is ipc.Mode.LOCAL_AUTO and not s.restarting, seconds=90)
    assert all(m["power_w"] > 100 for m in pair.truth()["miners"].values())

    assert pair.stop() == 0
    titles = [event.title for event in pair.events()]
    assert sum("restart batch confirmed" in title for title in titles) >= 2
    good, broken = verify(Path(pair.site.paths.guardian_state) / "journal")
    assert (good == len(titles), broken) == (True, [])


async def test_signed_orders_and_a_machine_that_was_switched_off_by_them(pair: Pair) -> None:
    await pair.until(lambda s: s.mode is ipc.Mode.LOCAL_AUTO and not s.inhibited, seconds=60)
    clock = SystemClock()
    async with Agent(pair.site) as agent:
        stop = DoActions(actions=(StopMining(device=miner_id(2)), StopMining(device=miner_id(3))))
        signed = signed_order(stop, clock, counter=1, command="o-1")
        agent.say(ipc.Order(signed=signed))
        result = await agent.result("o-1")
        assert result.outcome is ActionOutcome.APPLIED
        assert [write.after for write in result.writes] == ["stopped", "stopped"]
        agent.say(ipc.Order(signed=signed))
        assert await agent.result("o-1") == result, "a repeated id returns the stored result"
        replay = signed_order(stop, clock, counter=1, command="o-2")
        agent.say(ipc.Order(signed=replay))
        assert (await agent.result("o-2")).command_state == "refused"
        agent.say(ipc.Order(signed=signed_order(stop, clock, counter=2, command="o-3")))
        again = await agent.result("o-3")
        assert again.outcome is ActionOutcome.APPLIED, "a 500 for already stopped is settled by reading"
        await pair.until(lambda s: miner_id(2) not in s.inhibited)
        await asyncio.sleep(3.0)  # restart_after_stop_s of this site
        start = DoActions(actions=(StartMining(device=miner_id(2)),))
        agent.say(ipc.Order(signed=signed_order(start, clock, counter=3, command="o-4")))
        started = await agent.result("o-4")
        assert started.outcome is ActionOutcome.APPLIED, started
        assert started.writes[0].before == MinerState.STOPPED

    pair.guardian.send_signal(signal.SIGTERM)
    assert pair.guardian.wait(15) == 0
    assert not Path(pair.site.paths.guardian_socket).exists()
    assert not Path(pair.site.paths.operator_socket).exists()
    states = {name: miner["state"] for name, miner in pair.truth()["miners"].items()}
    assert states["m-3"] == "stopped"
    assert "stopped" not in (states["m-1"], states["m-4"]), "leaving stops nobody"


def test_the_process_refuses_to_start_on_a_bad_file(tmp_path: Path) -> None:
    make_site(tmp_path)
    path = tmp_path / "site.toml"
    path.write_text(path.read_text().replace("trip = 75.0\n", "", 1))
    done = subprocess.run(
        [*CLI, "guardian", "run", "--site", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "zones[0].limits.board_temp_c.trip: is missing" in done.stderr
    assert "Traceback" not in done.stderr
