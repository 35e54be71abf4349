"""Each shipped profile, opened as the guardian opens it: what it declares is there, and nothing more."""

from importlib import import_module
from typing import cast

import pytest

from firmware_adapters.capabilities import PROTOCOL_OF, Credential, WatchdogControl
from firmware_adapters.registry import open_device
from firmware_adapters.site import modbus, snmp
from firmware_adapters.site.cli import protocol_of
from firmware_adapters.site.profile import load_profile, profile_names
from shared.capabilities import Ability, Capability
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry


def _declared(name: str) -> tuple[Capability, ...]:
    profile = load_profile(name)
    if profile.modbus is not None:
        return modbus.capabilities_of(profile)
    if profile.bacnet is not None:
        bacnet = import_module("firmware_adapters.site.bacnet")
        return cast("tuple[Capability, ...]", bacnet.capabilities_of(profile))
    return snmp.capabilities_of(profile, may_write=True)


@pytest.mark.parametrize("name", profile_names())
async def test_a_driver_does_what_its_profile_declares(name: str) -> None:
    profile = load_profile(name)
    entry = DeviceEntry(
        id=DeviceId("subject"),
        kind=profile.kind,
        adapter=protocol_of(profile).lower(),
        profile=name,
        host="127.0.0.1",
        port=9,
        zone=ZoneId("hall"),
    )
    device = open_device(entry, Credential(user=None, secret="not-a-default"), timeout_s=0.1)
    declared = {capability.ability for capability in _declared(name)}
    for ability in declared:
        assert isinstance(device, PROTOCOL_OF[ability]), ability
    assert isinstance(device, WatchdogControl) == (Ability.WATCHDOG in declared)
    assert (profile.watchdog is not None) == (Ability.WATCHDOG in declared)
    await device.close()


@pytest.mark.parametrize("name", profile_names())
def test_what_can_be_written_is_declared_with_its_bounds(name: str) -> None:
    profile = load_profile(name)
    declared = {point for capability in _declared(name) for point in capability.points}
    assert declared == {point.name for point in profile.writable}
    for capability in _declared(name):
        if capability.ability in (Ability.SETPOINT, Ability.OUTLETS, Ability.WATCHDOG):
            assert capability.low is not None
            assert capability.high is not None
            assert capability.low < capability.high
