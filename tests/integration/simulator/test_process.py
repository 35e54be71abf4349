"""The simulator as a process, read and driven through the real adapters over real sockets."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_adapters.capabilities import (
    Credential,
    MiningControl,
    Observation,
    OutletControl,
    PointControl,
    Telemetry,
    WatchdogControl,
)
from firmware_adapters.registry import open_device
from firmware_adapters.simulator.site_file import load_site
from shared.errors import DeviceError
from shared.telemetry import MinerState
from support.ports import free_port
from support.site_devices import site_tables

pytestmark = pytest.mark.slow


def toml(raw: dict[str, Any]) -> str:
    """Just enough TOML for a site file."""

    def table(values: dict[str, Any]) -> str:
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

    text = f"[site]\n{table(raw['site'])}\n[simulator]\n{table(raw['simulator'])}\n"
    text += "".join(f"[[zones]]\n{table(zone)}\n" for zone in raw["zones"])
    return text + "".join(f"[[devices]]\n{table(device)}\n" for device in raw["devices"])


class Running:
    """A simulator process and its API."""

    def __init__(self, path: Path, fault_port: int) -> None:
        self.site = load_site(path)
        self.api = f"http://127.0.0.1:{fault_port}"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "firmware_adapters.simulator.cli", "--site", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, method=method, data=data)
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def open(self, name: str) -> Telemetry:
        (entry,) = [entry for entry in self.site.devices if entry.id == name]
        settings = self.site.settings
        secrets = {"vnish": settings.miner_password, "snmp": settings.pdu_community}
        secret = secrets.get(entry.adapter)
        credential = None if secret is None else Credential(user=None, secret=secret)
        return open_device(entry, credential, timeout_s=2.0)

    def stop(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    miner_port, modbus_port, snmp_port, fault_port = (free_port() for _ in range(4))
    raw = site_tables(
        miners=5, net="127.84", miner_port=miner_port, modbus_port=modbus_port, snmp_port=snmp_port
    )
    raw["simulator"] |= {"fault_port": fault_port, "retune_s": 4.0, "cold_start_s": 4.0}
    ups = {"id": "ups-1", "kind": "ups", "adapter": "snmp", "profile": "ups-mib", "zone": "hall"}
    raw["devices"].append(ups | {"host": "127.84.202.1", "port": snmp_port})
    path = tmp_path / "site.toml"
    path.write_text(toml(raw))
    simulator = Running(path, fault_port)
    yield simulator
    simulator.stop(signal.SIGTERM)


async def until(device: Telemetry, what: Any, *, seconds: float = 15.0) -> Observation:
    """Read until `what(observation)` holds; the test fails at the deadline."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                seen = await device.read()
                if what(seen):
                    return seen
            except DeviceError:
                pass
            await asyncio.sleep(0.2)


async def until_silent(device: Telemetry, *, seconds: float = 10.0) -> None:
    """Read until the device cannot be talked to; the test fails at the deadline."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await device.read()
            except DeviceError:
                return
            await asyncio.sleep(0.1)


async def test_every_device_answers_its_own_adapter(running: Running) -> None:
    assert running.ready.startswith("simulating 5 miners and 7 devices")
    for entry in running.site.devices:
        device = running.open(entry.id)
        seen = await device.read()
        assert seen.readings, entry.id
        assert all(reading.quality.usable for reading in seen.readings.values()), entry.id
        await device.close()


async def test_what_is_written_shows_in_later_reads_of_other_devices(running: Running) -> None:
    """Cooling, an outlet and a stop, each confirmed by a device that was not written to."""
    wall, pdu, meter = running.open("wall-1"), running.open("pdu-1"), running.open("meter-1")
    miner, other = running.open("m-01"), running.open("m-03")
    assert isinstance(wall, PointControl)
    assert isinstance(pdu, OutletControl)
    assert isinstance(miner, MiningControl)
    before_w = (await meter.read()).readings["power_w"].value
    await wall.write_point("speed_setpoint_pct", 90.0)
    await until(wall, lambda seen: (seen.readings["speed_pct"].value or 0) > 89)
    await miner.stop_mining()
    await until(miner, lambda seen: seen.state is MinerState.STOPPED)
    await pdu.switch_outlet(3, on=False)
    await until(pdu, lambda seen: seen.readings["outlet_on.3"].value == 0.0)
    await until_silent(other)
    assert before_w is not None
    await until(meter, lambda seen: (seen.readings["power_w"].value or 1e9) < before_w - 3000)
    for device in (wall, pdu, meter, miner, other):
        await device.close()


async def test_faults_come_and_go_over_the_api(running: Running) -> None:
    wall = running.open("wall-1")
    posted = running.call("POST", "/faults", {"name": "exhaust_fan_stopped", "target": "hall"})
    assert posted["severity"] == 1.0
    await until(wall, lambda seen: seen.readings["speed_pct"].value == 0.0)
    assert [fault["name"] for fault in running.call("GET", "/truth")["faults"]] == ["exhaust_fan_stopped"]
    running.call("DELETE", "/faults", {"name": "exhaust_fan_stopped", "target": "hall"})
    await until(wall, lambda seen: (seen.readings["speed_pct"].value or 0) > 5)
    running.call("POST", "/faults", {"name": "network_drop", "target": "meter-1"})
    meter = running.open("meter-1")
    with pytest.raises(DeviceError):
        await meter.read()
    running.call("DELETE", "/faults")
    await until(meter, lambda seen: True)
    for device in (wall, meter):
        await device.close()
    health = running.call("GET", "/health")
    assert health["ok"]
    assert health["lag_s"] == 0.0


async def test_mains_lost_and_smoke_as_the_guardian_reads_them(running: Running) -> None:
    ups, contacts, wall = running.open("ups-1"), running.open("contacts-1"), running.open("wall-1")
    on_mains = (await ups.read()).readings
    assert on_mains["on_battery"].value == 0.0
    assert on_mains["runtime_s"].value == 6480.0
    running.call("POST", "/faults", {"name": "grid_lost", "target": "site"})
    running.call("POST", "/faults", {"name": "smoke", "target": "contacts-1"})
    seen = await until(ups, lambda seen: seen.readings["on_battery"].value == 1.0)
    assert (seen.readings["input_voltage_v.1"].value, seen.readings["battery_low"].value) == (0.0, 0.0)
    inputs = (await contacts.read()).readings
    assert {name for name, reading in inputs.items() if reading.value == 1.0} == {"smoke"}
    await until_silent(wall)
    running.call("DELETE", "/faults")
    await until(ups, lambda seen: seen.readings["on_battery"].value == 0.0)
    await until(wall, lambda seen: seen.readings["running"].value == 1.0)
    for device in (ups, contacts, wall):
        await device.close()


async def test_a_bench_can_time_the_way_from_a_changed_register_to_a_write(running: Running) -> None:
    inlet, wall = running.open("inlet-1"), running.open("wall-1")
    assert isinstance(wall, PointControl)
    fault = {"name": "sensor_value", "target": "inlet-1", "point": "air_temp_c", "value": 47.5}
    changed_s = running.call("POST", "/faults", fault)["at_s"]
    assert (await inlet.read()).readings["air_temp_c"].value == 47.5
    await wall.write_point("speed_setpoint_pct", 100.0)
    (write,) = running.call("GET", "/writes?since=0")
    assert (write["device"], write["point"], write["value"]) == ("wall-1", "speed_setpoint_pct", 100.0)
    assert 0.0 < write["at_s"] - changed_s < 5.0
    assert running.call("GET", f"/writes?since={write['seq']}") == []
    with pytest.raises(urllib.error.HTTPError) as caught:
        running.call("GET", "/writes?since=-1")
    caught.value.close()
    for device in (inlet, wall):
        await device.close()


async def test_a_drive_whose_master_died_cools_by_itself(running: Running) -> None:
    wall = running.open("wall-1")
    assert isinstance(wall, PointControl)
    assert isinstance(wall, WatchdogControl)
    await wall.write_point("speed_setpoint_pct", 30.0)
    await wall.arm(1.5)
    assert await wall.armed_s() == 1.5
    await wall.close()  # and nobody feeds it
    async with asyncio.timeout(15):
        while running.call("GET", "/truth")["zones"]["hall"]["drive_command_pct"] != 100.0:
            await asyncio.sleep(0.2)
    assert await wall.armed_s() == 1.5
    await wall.feed()
    await wall.disarm()
    assert await wall.armed_s() is None
    assert running.call("GET", "/truth")["zones"]["hall"]["drive_command_pct"] == pytest.approx(30.0, abs=0.1)
    await wall.close()


BAD_BODIES = (
    b"{",
    b'{"name":"gremlins","target":"m-01"}',
    b'{"name":"fan_wear","target":"m-01","sevrity":1}',
    b'{"name":"fan_wear","target":"m-01","severity":7}',
)


def test_a_bad_request_is_a_problem_and_harms_nothing(running: Running) -> None:
    for body in BAD_BODIES:
        request = urllib.request.Request(running.api + "/faults", method="POST", data=body)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=5)
        with caught.value as error:
            assert error.code == 400, body
            assert error.headers["content-type"] == "application/problem+json"
    assert running.call("GET", "/faults") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stops_cleanly_with_connections_open_and_leaves_no_socket(
    running: Running, number: signal.Signals
) -> None:
    devices = [running.open(entry.id) for entry in running.site.devices]
    for device in devices:
        await device.read()
    assert running.stop(number) == 0
    for entry in running.site.devices:
        if entry.adapter != "snmp":
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((entry.host, entry.port), timeout=1)
    for device in devices:
        await device.close()


def test_a_site_that_cannot_be_simulated_exits_2_and_a_taken_port_1(tmp_path: Path, running: Running) -> None:
    def exit_of(path: Path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "firmware_adapters.simulator.cli", "--site", str(path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stderr

    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[site]\nsimulated = false\n")
    code, said = exit_of(wrong)
    assert code == 2
    assert "never simulated" in said
    code, said = exit_of(tmp_path / "site.toml")
    assert code == 1
    assert "cannot listen" in said
