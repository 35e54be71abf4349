"""A device of the site's own, from two text files to readings: no Python is written for it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.guardian.points import check_points
from firmware_adapters.capabilities import PointControl
from firmware_adapters.registry import open_device
from firmware_adapters.simulator.site_file import load_site
from firmware_adapters.site.cli import main
from firmware_adapters.site.modbus_emulator import ModbusEmulator
from firmware_adapters.site.modbus_rtu_emulator import RtuEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from shared.errors import ConfigError
from shared.inventory import DeviceEntry
from support.site_devices import HOST

DOCS = Path(__file__).parents[4] / "docs"
VALUES = {"power_w": 123_000.0}

WRITABLE = """
[[points]]
name = "setpoint_c"
unit = "°C"
table = "holding"
address = 7
type = "int16"
scale = 0.1
low = 0.0
high = 60.0

[points.write]
low = 10.0
high = 40.0
settle_s = 5.0
fail_safe = 10.0
"""


def _block(document: str, starting: str) -> str:
    """The TOML block of a document that begins with `starting`."""
    blocks = re.findall(r"^```toml\n(.*?)^```", (DOCS / document).read_text(), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if block.startswith(starting))


def _site_with(folder: Path, device: str) -> Path:
    """The documented example site, with the documented device added to it and `my-meter.toml` beside it."""
    (folder / "my-meter.toml").write_text(_block("device-profiles.md", "schema = 1") + WRITABLE)
    site = folder / "site.toml"
    text = _block("site-file.md", "schema = 1")
    zone = re.search(r'\[\[zones\]\]\nid = "([^"]+)"', text)
    assert zone is not None
    site.write_text(text + "\n" + device.replace('"hall"', f'"{zone[1]}"'))
    return site


def _entry(site: Path) -> DeviceEntry:
    return next(entry for entry in config.load(site).devices if entry.id == "meter-2")


def _unit(site: Path, source: DictSource) -> ModbusUnit:
    return ModbusUnit(load_profile(str(site.parent / "my-meter.toml")), source)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Path, DictSource, ModbusEmulator]]:
    """The documented device answers at a free port, and the site file says so."""
    source = DictSource({**VALUES, "setpoint_c": 20.0})
    emulator = ModbusEmulator(HOST, 0, {})
    await emulator.start()
    device = _block("device-profiles.md", "[[devices]]")
    device = device.replace("10.0.3.7", HOST).replace("port = 502", f"port = {emulator.port}")
    site = _site_with(tmp_path, device)
    emulator.units[1] = _unit(site, source)
    yield site, source, emulator
    await emulator.stop()


async def test_two_text_files_make_a_device(served: tuple[Path, DictSource, ModbusEmulator]) -> None:
    site, source, _ = served
    assert main(["lint", str(site.parent / "my-meter.toml")]) == 0
    entry = _entry(site)
    assert entry.profile == str(site.parent / "my-meter.toml"), "a path starts at the site file"
    device = open_device(entry, None, timeout_s=1)
    assert (await device.read()).readings["power_w"].value == 123_000.0
    assert isinstance(device, PointControl)
    await device.write_point("setpoint_c", 15.0)
    assert source.writes == [("setpoint_c", 15.0)]
    assert (await device.read()).readings["setpoint_c"].value == 15.0
    await device.close()


async def test_the_guardian_knows_its_points_and_the_simulator_its_file(
    served: tuple[Path, DictSource, ModbusEmulator],
) -> None:
    site, _, _ = served
    check_points(config.load(site))
    text = site.read_text()
    feeder = re.search(r'device = "([^"]+)", point = "power_w"', text)
    assert feeder is not None
    site.write_text(text.replace(feeder[0], 'device = "meter-2", point = "power_limit_w"'))
    with pytest.raises(ConfigError, match="My meter has no point 'power_limit_w'"):
        check_points(config.load(site))
    simulated = text.replace("[site]", "[site]\nsimulated = true", 1)
    simulated = re.sub(r'host = "[^"]+"', 'host = "127.0.0.1"', simulated)
    ports = iter(range(15000, 16000))
    simulated = re.sub(r"^port = \d+", lambda _: f"port = {next(ports)}", simulated, flags=re.MULTILINE)
    site.write_text(simulated)
    found = {str(entry.id): entry.profile for entry in load_site(site).devices}
    assert found["meter-2"] == str(site.parent / "my-meter.toml")


def test_a_file_that_does_not_hold_stops_the_start_with_file_and_line(tmp_path: Path) -> None:
    site = _site_with(tmp_path, _block("device-profiles.md", "[[devices]]"))
    own = tmp_path / "my-meter.toml"
    own.write_text(own.read_text().replace('unit = "W"', 'unit = "kW"'))
    with pytest.raises(ConfigError, match=rf"{re.escape(str(own))}:\d+: power_w: unit: is 'kW'"):
        check_points(config.load(site))
    own.unlink()
    with pytest.raises(ConfigError, match=r"my-meter\.toml: cannot be read"):
        open_device(_entry(site), None, timeout_s=1)


async def test_the_same_file_on_a_serial_line(tmp_path: Path) -> None:
    device = _block("device-profiles.md", "[[devices]]").replace('"modbus"', '"modbus-rtu"')
    source = DictSource({**VALUES, "setpoint_c": 20.0})
    emulator = RtuEmulator({})
    await emulator.open_line()
    device = device.replace("10.0.3.7", emulator.path).replace("port = 502", 'serial = "19200 8E1"')
    site = _site_with(tmp_path, device)
    emulator.units[1] = _unit(site, source)
    line = open_device(_entry(site), None, timeout_s=1)
    assert (await line.read()).readings["power_w"].value == 123_000.0
    await line.close()
    await emulator.stop()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('adapter = "modbus"', 'adapter = "modbus-rtu"', None),
        ('host = "10.0.3.7"', 'host = "/dev/ttyUSB0"', "only adapter modbus-rtu"),
        ("port = 502", "", "port: is 0"),
        ("port = 502", 'port = 502\nserial = "9600 8N1"', "is for a host that is a device file"),
        ("port = 502", "port = 502\nposition = [1.0, 2.0, 0.5]", None),
        ("port = 502", "port = 502\nposition = [1.0, 2.0]", "position"),
        ("port = 502", "port = 502\nposition = [1.0, 2.0, nan]", "three finite numbers"),
    ],
)
def test_how_a_device_is_reached_and_where_it_stands_is_checked(
    tmp_path: Path, old: str, new: str, text: str | None
) -> None:
    device = _block("device-profiles.md", "[[devices]]")
    assert old in device
    site = _site_with(tmp_path, device.replace(old, new))
    if text is None:
        assert _entry(site).id == "meter-2"
    else:
        with pytest.raises(ConfigError, match=text):
            config.load(site)


def test_a_serial_line_has_no_port(tmp_path: Path) -> None:
    device = _block("device-profiles.md", "[[devices]]").replace('"modbus"', '"modbus-rtu"')
    device = device.replace("10.0.3.7", "/dev/ttyUSB0")
    with pytest.raises(ConfigError, match="a serial line has none"):
        config.load(_site_with(tmp_path, device))
