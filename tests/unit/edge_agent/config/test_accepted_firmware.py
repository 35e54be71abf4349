"""`[[firmware_accepted]]`: which version, on whose word and why; a line that does not say it is refused."""

from pathlib import Path

import msgspec
import pytest

from edge_agent import config
from shared.errors import ConfigError
from shared.inventory import AcceptedFirmware, accepting
from support.guardian import site_toml

PATH = Path("/etc/minewarden/site.toml")
GOOD = {"adapter": "vnish", "firmware": "Vnish 1.3.6", "by": "Ada", "why": "tried on m-1 for a week"}


def accepted(*lines: dict[str, str]) -> str:
    tables = [
        "\n[[firmware_accepted]]\n" + "\n".join(f"{k} = {v!r}" for k, v in line.items()) for line in lines
    ]
    return site_toml() + "\n".join(tables) + "\n"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        config.parse(text, PATH)
    return str(refused.value)


def test_the_lines_are_read_and_reach_the_devices_of_their_adapter() -> None:
    site = config.parse(accepted(GOOD, {**GOOD, "adapter": "luxos", "firmware": "2031.1.1.0-f"}), PATH)
    assert site.firmware_accepted[0] == AcceptedFirmware(**GOOD)
    miner, wall = site.miners[0], site.devices[0]
    assert accepting(miner, site.firmware_accepted).firmware_accepted == (AcceptedFirmware(**GOOD),)
    assert accepting(wall, site.firmware_accepted) is wall


def test_a_site_without_such_lines_accepts_nothing() -> None:
    assert config.parse(site_toml(), PATH).firmware_accepted == ()


def test_what_agent_and_cloud_are_sent_of_a_device_does_not_change() -> None:
    (plain, one) = (config.parse(text, PATH).devices for text in (site_toml(), accepted(GOOD)))
    assert msgspec.msgpack.encode(plain) == msgspec.msgpack.encode(one)


def test_a_line_for_a_version_that_our_table_knows_is_harmless() -> None:
    assert config.parse(accepted({**GOOD, "firmware": "Vnish 1.3.4"}), PATH).firmware_accepted


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("adapter", "vnihs", "no miner's firmware has an adapter 'vnihs'; did you mean 'vnish'?"),
        ("adapter", "modbus", "no miner's firmware has an adapter 'modbus'; known are vnish, antminer, "),
        ("firmware", "", "is empty, expected the version as 'minewarden probe' prints it"),
        ("firmware", "  ", "is empty, expected the version"),
        ("firmware", "Vnish ?", "'Vnish ?' does not tell the version; "),
        ("firmware", "? 1.3.6", "'? 1.3.6' does not tell the version; "),
        ("by", "", "is empty, expected the name of the person who answers for it"),
        ("why", " ", "is empty, expected what makes this person trust it"),
        ("why", "x" * 201, "expected one line of at most 200 characters"),
    ],
)
def test_a_line_that_does_not_say_it_all_is_refused_where_it_stands(key: str, value: str, words: str) -> None:
    text = accepted({**GOOD, key: value})
    line = text.splitlines().index(f"{key} = {value!r}", text.splitlines().index("[[firmware_accepted]]")) + 1
    said = refusal(text)
    assert f"{PATH}:{line}: firmware_accepted[0].{key}: {words}" in said


def test_a_text_of_several_lines_is_refused() -> None:
    text = accepted(GOOD).replace(f"why = {GOOD['why']!r}", 'why = "good\\nm-1: tripped"')
    assert "firmware_accepted[0].why: expected one line" in refusal(text)


@pytest.mark.parametrize("key", GOOD)
def test_none_of_the_four_may_be_missing(key: str) -> None:
    line = {name: value for name, value in GOOD.items() if name != key}
    assert f"firmware_accepted[0].{key}: is missing" in refusal(accepted(line))


def test_a_version_is_accepted_once() -> None:
    said = refusal(accepted(GOOD, {**GOOD, "by": "Bob"}))
    assert "firmware_accepted[1].firmware: 'Vnish 1.3.6' of 'vnish' is listed twice" in said
    other = {**GOOD, "adapter": "avalon"}
    assert len(config.parse(accepted(GOOD, other), PATH).firmware_accepted) == 2


@pytest.mark.parametrize("value", ["[]", '[{ adapter = "vnish", firmware = "V 9", by = "A", why = "b" }]'])
def test_a_device_has_no_list_of_its_own(value: str) -> None:
    text = site_toml().replace('id = "m-1"\n', f'id = "m-1"\nfirmware_accepted = {value}\n')
    assert "devices[3].firmware_accepted: is not written per device" in refusal(text)
