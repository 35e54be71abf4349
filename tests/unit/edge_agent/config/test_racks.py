"""Racks of the site file: what does not fit is refused, what fits gets a position in the room."""

from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.config.racks import position_of
from shared.errors import ConfigError
from shared.ids import ZoneId
from support.guardian import site_toml

PATH = Path("/etc/minewarden/site.toml")
RACK = """
[[racks]]
id = "A"
zone = "hall-1"
position = [1.0, 2.0, 0.5]
rows = 3
slots = 8
slot_m = 0.45
row_m = 0.6
"""
SECOND = RACK.replace('"A"', '"B"')


def with_places(places: dict[int, str], racks: str = RACK) -> str:
    """A site of four miners, some with lines of their own; `racks` at the end."""
    text = site_toml()
    for number, lines in places.items():
        text = text.replace(f'id = "m-{number}"\n', f'id = "m-{number}"\n{lines}\n')
    return text + racks


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        config.parse(text, PATH)
    return str(refused.value)


def test_a_device_stands_where_its_slot_is_or_where_it_says_itself() -> None:
    own = 'rack = "A"\nslot = 2\nposition = [9.0, 9.0, 9.0]'
    site = config.parse(with_places({1: 'rack = "A"\nslot = 11', 2: own, 3: 'rack = "A"'}), PATH)
    positions = {str(device.id): device.position for device in site.miners}
    assert positions == {"m-1": (1.9, 2.0, 1.1), "m-2": (9.0, 9.0, 9.0), "m-3": None, "m-4": None}


@pytest.mark.parametrize(
    ("along", "eighth"),
    [("x", (4.15, 2.0, 0.5)), ("-x", (-2.15, 2.0, 0.5)), ("y", (1.0, 5.15, 0.5)), ("-y", (1.0, -1.15, 0.5))],
)
def test_a_row_runs_along_one_direction(along: str, eighth: tuple[float, float, float]) -> None:
    rack = config.Rack(
        id="A", zone=ZoneId("hall-1"), position=(1.0, 2.0, 0.5), rows=3, slots=8, slot_m=0.45, row_m=0.6,
        along=along,  # type: ignore[arg-type] # one of the four words
    )  # fmt: skip
    assert position_of(rack, 8) == eighth
    assert position_of(rack, 9) == (1.0, 2.0, 1.1), "the first of the row above"


@pytest.mark.parametrize(
    ("places", "racks", "words"),
    [
        ({1: 'rack = "a"'}, RACK, "no rack 'a' in this file; this file has A"),
        ({1: 'rack = "row-1"'}, RACK.replace('"A"', '"row-2"'), "did you mean 'row-2'?"),
        ({1: 'rack = "A"\nslot = 25'}, RACK, "is 25, rack 'A' has slots 1 to 24"),
        ({1: 'rack = "A"\nslot = 0'}, RACK, "is 0, rack 'A' has slots 1 to 24"),
        ({1: "slot = 3"}, RACK, "is in no rack: name the rack as well"),
        (
            {1: 'rack = "A"\nslot = 3', 4: 'rack = "A"\nslot = 3'},
            RACK,
            "3 of rack 'A' is taken by 'm-1'; two cannot stand there",
        ),
        ({1: 'rack = "A"\nslot = 3', 4: 'rack = "A"\nslot = 3'}, "", "is taken by 'm-1'"),
        ({}, RACK + RACK, "racks[1].id: rack 'A' is listed twice"),
        ({}, RACK.replace("hall-1", "hall-9"), "racks[0].zone: no zone 'hall-9' in this file"),
        ({}, RACK.replace("rows = 3", "rows = 0"), "racks[0].rows: is 0, expected 1 to 100"),
        (
            {},
            RACK.replace("slot_m = 0.45", "slot_m = 45.0"),
            "slot_m: is 45, expected above 0 and at most 5 m",
        ),
        ({}, RACK.replace("row_m = 0.6", "row_m = nan"), "row_m: is nan, expected above 0"),
        ({}, RACK.replace("[1.0,", "[inf,"), "racks[0].position: expected three finite numbers"),
        ({}, RACK.replace("[1.0, 2.0, 0.5]", "[1.0, 2.0]"), "racks[0].position: Expected"),
        ({}, RACK + 'along = "north"', "racks[0].along"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(places: dict[int, str], racks: str, words: str) -> None:
    said = refusal(with_places(places, racks))
    assert words in said
    assert said.startswith(f"{PATH}:"), "the line stands first"


def test_a_rack_of_another_zone_takes_nobody() -> None:
    text = with_places({1: 'rack = "A"\nslot = 1'}, RACK.replace("hall-1", "hall-2"))
    assert "'A' stands in zone 'hall-2', the device in 'hall-1'" in refusal(text)


def test_without_racks_the_words_are_labels_and_the_same_slot_may_be_in_two_racks() -> None:
    places = {1: 'rack = "left wall"\nslot = 900', 2: 'rack = "right wall"\nslot = 900'}
    site = config.parse(with_places(places, ""), PATH)
    assert [device.position for device in site.miners] == [None] * 4


def test_two_racks_have_their_own_slots() -> None:
    text = with_places({1: 'rack = "A"\nslot = 1', 2: 'rack = "B"\nslot = 1'}, RACK + SECOND)
    assert len(config.parse(text, PATH).racks) == 2
