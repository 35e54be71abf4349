"""Groups of devices with cadences of their own: what a site may write, and what is refused."""

from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.config import SiteFile
from edge_agent.guardian.polling.cadence import groups, periods_s
from shared.errors import ConfigError
from shared.ids import DeviceId
from support.guardian import site_toml

PATH = Path("/etc/minewarden/site.toml")


def parsed(*blocks: str) -> SiteFile:
    return config.parse(site_toml() + "".join(f"\n[[cadences]]\n{block}\n" for block in blocks), PATH)


def refusal(*blocks: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(*blocks)
    return str(refused.value)


def test_without_groups_every_device_has_the_plain_cadences() -> None:
    site = parsed()
    assert groups(site) == {}
    assert {site.fast_s(miner) for miner in site.miners} == {site.timing.poll_s}


def test_a_group_that_names_nobody_is_for_all_and_has_documented_defaults() -> None:
    site = parsed('name = "all"')
    found = groups(site)
    assert set(found) == {device.id for device in site.devices}
    assert {(one.slow_s, one.rare_s, one.fast_s) for one in found.values()} == {(300.0, 600.0, None)}


def test_the_first_group_that_fits_counts() -> None:
    site = parsed('name = "one"\ndevices = ["m-2"]\nrare_s = 3600.0', 'name = "rest"\nadapters = ["vnish"]')
    found = groups(site)
    assert found[DeviceId("m-2")].name == "one"
    assert {found[miner.id].name for miner in site.miners if miner.id != "m-2"} == {"rest"}


def test_all_that_a_group_names_has_to_fit() -> None:
    text = refusal('name = "a"\nzones = ["hall-1"]\nadapters = ["vnish"]\ndevices = ["wall-1"]')
    assert "no device belongs to it" in text


def test_the_fast_cadence_of_a_group_stands_in_for_the_sites() -> None:
    site = parsed('name = "slow-boards"\ndevices = ["m-1", "wall-1"]\nfast_s = 4.5')
    found = periods_s(site, {})
    assert found[DeviceId("m-1")] == 4.5
    assert found[DeviceId("m-2")] == site.timing.poll_s
    assert found[DeviceId("wall-1")] == site.timing.safety_poll_s, "what decides trips keeps its cadence"


def test_a_devices_own_cadence_goes_before_that_of_its_group() -> None:
    text = site_toml().replace('id = "m-1"\n', 'id = "m-1"\npoll_s = 1.5\n')
    site = config.parse(text + '\n[[cadences]]\nname = "all"\nfast_s = 4.5\n', PATH)
    assert periods_s(site, {})[DeviceId("m-1")] == 1.5


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('zones = ["hall-9"]', "no zone 'hall-9' in this file"),
        ('adapters = ["luxus"]', "no device with adapter 'luxus' in this file"),
        ('devices = ["m-99"]', "no device 'm-99' in this file"),
        ("fast_s = 0.0", "expected above 0 and below timing.stale_after_s"),
        ("fast_s = 4000.0", "expected above 0 and below timing.stale_after_s"),
        ("fast_s = nan", "expected above 0 and below timing.stale_after_s"),
        ("slow_s = 1.0", "is 1, expected 10 to 86400 s"),
        ("slow_s = inf", "is inf, expected 10 to 86400 s"),
        ("rare_s = 20.0\nslow_s = 10.0", "is 20, expected 60 to 86400 s"),
        ("rare_s = nan", "is nan, expected 60 to 86400 s"),
        ("rare_s = 120.0", "must not be shorter than slow_s"),
        ("rarely_s = 1.0", "rarely_s"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(lines: str, sentence: str) -> None:
    assert sentence in refusal(f'name = "x"\n{lines}')


def test_a_group_behind_one_that_takes_all_its_devices_is_refused() -> None:
    assert "no device belongs to it, or each to a group before it" in refusal('name = "a"', 'name = "b"')


@pytest.mark.parametrize(
    ("name", "sentence"), [("", "name of a cadence"), ("All Of Us", "name of a cadence")]
)
def test_a_group_has_a_name_that_can_be_named(name: str, sentence: str) -> None:
    assert sentence in refusal(f'name = "{name}"')


def test_two_groups_of_one_name_are_refused() -> None:
    assert "'a' is used twice" in refusal('name = "a"\ndevices = ["m-1"]', 'name = "a"')
