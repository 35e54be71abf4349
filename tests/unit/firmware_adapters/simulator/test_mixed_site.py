"""A mixed fleet: each miner of a site file is emulated as the firmware it names, and its adapter reads it."""

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.identify import RECOGNISERS
from firmware_adapters.registry import ADAPTERS, open_device
from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.miner_build import EMULATORS
from firmware_adapters.simulator.site_file import parse_site
from shared.errors import ConfigError
from shared.telemetry import MinerState
from support.mixed_site import PASSWORD, credential_of, mixed_tables


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the way to the steady state is enough here, and saves most of the time."""
    monkeypatch.setattr(plant_build, "SETTLE_S", 200.0)


def test_every_miner_firmware_has_an_emulator_an_adapter_and_a_recogniser() -> None:
    site_adapters = {"modbus", "modbus-rtu", "snmp", "bacnet"}
    assert set(EMULATORS) == set(RECOGNISERS) == set(ADAPTERS) - site_adapters


async def test_each_machine_is_read_by_the_adapter_that_its_entry_names() -> None:
    raw = mixed_tables("127.84")
    site = parse_site(raw, "site.toml")
    simulator = Simulator(site)
    await simulator.start()
    try:
        for entry in site.miners:
            device = open_device(entry, credential_of(entry.adapter), timeout_s=3.0)
            seen = await device.read()
            await device.close()
            true = simulator.machines[entry.id].view()
            assert seen.state in (MinerState.MINING, MinerState.AUTO_TUNING), entry.adapter
            hashrate = seen.readings["hashrate_ths"].usable
            assert hashrate == pytest.approx(true.hashrate_ths, rel=0.05), entry.adapter
    finally:
        await simulator.stop()


def test_a_firmware_that_nobody_emulates_is_refused_by_name() -> None:
    raw = mixed_tables("127.84")
    raw["devices"][0]["adapter"] = "epic"
    with pytest.raises(ConfigError, match="no emulator of 'epic'"):
        Simulator(parse_site(raw, "site.toml"))


def test_a_version_is_only_chosen_where_there_are_several() -> None:
    raw = mixed_tables("127.84")
    name = next(one["id"] for one in raw["devices"] if one["adapter"] == "whatsminer")
    raw["simulator"]["firmware"] = {name: "1.3.4"}
    with pytest.raises(ConfigError, match=f"{name} runs whatsminer, whose emulator has one version"):
        Simulator(parse_site(raw, "site.toml"))


def test_machines_take_the_sites_password() -> None:
    assert credential_of("braiins") == Credential(user="root", secret=PASSWORD)
