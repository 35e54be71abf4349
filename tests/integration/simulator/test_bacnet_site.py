"""A simulated site with a cooling machine on BACnet/IP: read, written and broken as any other equipment."""

import asyncio

import msgspec
import pytest

from firmware_adapters.registry import open_device
from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.faults import FaultRequest
from firmware_adapters.simulator.site_file import parse_site
from firmware_adapters.site.bacnet import BacnetDevice
from shared.clock import ManualClock
from shared.errors import DeviceError, DeviceTimeout
from shared.inventory import DeviceEntry
from support.ports import free_port
from support.site_devices import site_tables

pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (pip install minewarden[bacnet])")
pytestmark = pytest.mark.slow


async def values(device: BacnetDevice) -> dict[str, float | None]:
    """One read; while the child is still starting, ask again as a poller does."""
    for _ in range(20):
        try:
            return {name: found.value for name, found in (await device.read()).readings.items()}
        except DeviceTimeout:
            continue
    raise AssertionError("the child did not come up")


async def test_a_cooling_machine_on_bacnet_is_a_door_of_the_plant_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plant_build, "SETTLE_S", 100.0)
    tables = site_tables(miners=2, miner_port=free_port(), modbus_port=free_port())
    hvac = next(device for device in tables["devices"] if device["id"] == "hvac-1")
    port = free_port()
    hvac |= {"adapter": "bacnet", "profile": "bacnet-hvac", "port": port}
    tables["devices"] = [device for device in tables["devices"] if device["kind"] != "pdu"]
    for device in tables["devices"]:
        device.pop("pdu", None)
        device.pop("outlet", None)
    simulator = Simulator(parse_site(tables, "site.toml"), clock=ManualClock())
    await simulator.start()
    driver = open_device(msgspec.convert(hvac, DeviceEntry), None, timeout_s=1.0)
    assert isinstance(driver, BacnetDevice)
    try:
        simulator.step(0.5)
        shown = await values(driver)
        truth = simulator.gear["hvac-1"].points()
        assert {"setpoint_c", "running", "air_temp_c.1", "air_temp_c.2"} <= shown.keys() & truth.keys()
        for name in shown.keys() & truth.keys():
            assert shown[name] == pytest.approx(truth[name], abs=0.01), name
        await driver.write_point("setpoint_c", 31.0)
        simulator.step(0.5)
        assert (await values(driver))["setpoint_c"] == 31.0
        assert simulator.gear["hvac-1"].points()["setpoint_c"] == 31.0
        assert [(write.device, write.point) for write in simulator.writes.since(0)] == [
            ("hvac-1", "setpoint_c")
        ]
        simulator.desk.inject(FaultRequest(name="network_drop", target="hvac-1"))
        with pytest.raises(DeviceError):
            await driver.read()
        with pytest.raises(ValueError, match="speaks BACnet"):
            simulator.desk.inject(FaultRequest(name="byte_order", target="hvac-1"))
        simulator.desk.clear_all()
        assert (await values(driver))["setpoint_c"] == 31.0
    finally:
        await driver.close()
        await simulator.stop()
        await asyncio.sleep(0)
