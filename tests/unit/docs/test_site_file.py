"""docs/site-file.md names every key that the code reads, and its example is one that the code accepts."""

import re
from pathlib import Path

import msgspec
import pytest

from edge_agent import config
from shared.errors import ConfigError
from shared.inventory import AcceptedFirmware, DeviceEntry, SimulatorSettings
from shared.telemetry import DeviceKind

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "site-file.md").read_text()

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "Top level": config.SiteFile,
    "Site": config.Site,
    "Paths": config.Paths,
    "Timing": config.Timing,
    "Cadences": config.Cadence,
    "Uplink": config.Uplink,
    "Agent": config.AgentSettings,
    "Zones": config.Zone,
    "Limits": config.HighLimits,
    "Low limits": config.LowLimits,
    "Proof of cooling": config.CoolingProof,
    "Cooling actuators": config.CoolingActuator,
    "Sensors": config.ZoneSensor,
    "Contacts": config.Contact,
    "Racks": config.Rack,
    "Power caps": config.PowerCap,
    "Mains": config.Mains,
    "Stages": config.MainsStage,
    "Curtailment": config.Curtailment,
    "Points": config.PointRef,
    "Devices": DeviceEntry,
    "Accepted firmware": AcceptedFirmware,
    "Simulator": SimulatorSettings,
}


def section(title: str) -> str:
    """The text below a heading up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[1]


def rows(title: str) -> dict[str, str]:
    """First cell → second cell of the section's tables."""
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", section(title), re.MULTILINE))


def test_every_table_of_the_file_has_a_section() -> None:
    documented = {*SECTIONS.values(), config.ZoneLimits}
    in_code = {*config.Strict.__subclasses__(), DeviceEntry, AcceptedFirmware, SimulatorSettings}
    assert in_code == documented


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_has_a_row_and_every_row_is_a_key(title: str) -> None:
    described = set(rows(title))
    if title == "Limits":
        described -= set(config.ZoneLimits.__struct_fields__)
    assert described == set(SECTIONS[title].__struct_fields__)


def test_every_group_of_limits_is_named() -> None:
    assert set(config.ZoneLimits.__struct_fields__) <= set(rows("Limits"))


@pytest.mark.parametrize("title", SECTIONS)
def test_required_and_default_are_as_in_the_code(title: str) -> None:
    for field in msgspec.structs.fields(SECTIONS[title]):
        said = rows(title)[field.name]
        if field.required:
            assert "required" in said or "at least one" in said, f"{field.name} has no default in the code"
        elif field.default is msgspec.UNSET:
            assert "never written" in said, f"{field.name} is not a person's to set"
        elif field.default not in (None, msgspec.NODEFAULT) and not isinstance(field.default, tuple):
            value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert f"default {value}" in re.sub('[`"]', "", said), f"{field.name} has the default {value}"


def test_every_kind_of_device_is_named() -> None:
    assert all(f"`{kind}`" in section("Devices") for kind in DeviceKind)


def test_the_example_is_accepted_and_is_whole() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    site = config.parse(example, Path("/etc/minewarden/site.toml"))
    assert site.site.id == "north-1"
    assert site.paths.keyring == "/etc/minewarden/keyring.toml"
    assert set(DeviceKind) - {DeviceKind.HVAC, DeviceKind.SOURCE} == {device.kind for device in site.devices}
    assert site.power_caps
    assert site.mains is not None
    assert site.curtailment is not None
    assert site.zones[0].limits.chip_temp_c.trip == 88.0


def test_the_example_without_a_limit_is_refused() -> None:
    """So that the test above cannot pass with a parser that accepts anything."""
    (example,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    with pytest.raises(ConfigError, match="trip"):
        config.parse(example.replace("trip = 88.0\n", ""), Path("site.toml"))
