"""The demo's site file: guardian, agent and simulator accept it, and its limits leave the story room."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_agent import config
from edge_agent.guardian.points import check_points
from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.demo.files import ZONES, miner_ids, site_toml
from firmware_adapters.simulator.demo.layout import new_layout
from firmware_adapters.simulator.site_file import parse_site
from shared.clock import ManualClock
from shared.telemetry import DeviceKind


@pytest.fixture(scope="module")
def text() -> str:
    return site_toml(new_layout(Path("/nowhere"), cloud_port=None))


@pytest.fixture(scope="module")
def site(text: str) -> config.SiteFile:
    return config.parse(text, Path("/nowhere/site.toml"))


def test_every_point_is_one_that_its_device_has(site: config.SiteFile) -> None:
    check_points(site)


def test_the_interlocks_have_something_to_look_at(site: config.SiteFile) -> None:
    for zone in site.zones:
        assert len(zone.sensors) == 3
        effects = {contact.name: contact.effect for contact in zone.contacts}
        assert effects == {"estop": "trip", "smoke": "trip", "water-leak": "inhibit", "door": "alarm"}
        assert zone.bypass_key is not None
    kinds = {device.kind for device in site.devices}
    assert kinds == set(DeviceKind) - {DeviceKind.SOURCE}
    assert site.mains is not None
    assert site.curtailment is not None


def test_fans_stand_only_after_smoke(site: config.SiteFile) -> None:
    for zone in site.zones:
        fans = {contact.name: contact.fans for contact in zone.contacts if contact.fans is not None}
        assert fans == {"estop": "on", "smoke": "off"}
        assert all(actuator.off == 0.0 for actuator in zone.cooling_actuators)


def test_miners_are_numbered_through_the_containers(site: config.SiteFile) -> None:
    standing = {str(zone.id): [str(m.id) for m in site.miners if m.zone == zone.id] for zone in site.zones}
    assert standing == {zone: miner_ids(zone) for zone in ZONES}


def test_a_warm_site_runs_below_every_cap_and_not_far_below(
    text: str, site: config.SiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cap that a healthy demo touches would act in its story; one far away would show nothing."""
    monkeypatch.setattr(plant_build, "SETTLE_S", 100.0)
    raw: dict[str, Any] = tomllib.loads(text)
    simulator = Simulator(parse_site(raw, "site.toml"), clock=ManualClock())
    for _ in range(20):
        simulator.step(0.5)
    for cap in site.power_caps:
        drawn = sum(simulator.gear[ref.device].points()[ref.point] for ref in cap.points)
        assert 0.4 * cap.limits.trip < drawn < cap.limits.release, cap.id
