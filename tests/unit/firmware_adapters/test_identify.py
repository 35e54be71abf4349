"""Who a machine is, from what it says: recorded machines, look-alikes, and whatever else may be answered."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import WRITES
from firmware_adapters.identify import (
    RECOGNISERS,
    Findings,
    Page,
    Trust,
    clean_mac,
    identify,
    recogniser,
    version_seen,
)
from firmware_adapters.miners.known import covers, spans
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import ConfigError
from shared.inventory import MINER_FIRMWARES, AcceptedFirmware

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "recordings"


def recorded(folder: str, name: str) -> Any:
    """The object in a recording, or a skip that says which one is missing."""
    path = RECORDINGS / folder / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no recording {path}")
    return msgspec.json.decode(path.read_bytes())


def page(folder: str, name: str) -> Page:
    return Page(status=200, body=msgspec.json.encode(recorded(folder, name)))


def commands(folder: str, *names: str) -> Findings:
    return Findings(commands={name: recorded(folder, name) for name in names})


# ---------------------------------------------------------------- recorded machines


@pytest.mark.parametrize(
    ("adapter", "folder", "names", "model", "firmware", "mac"),
    [
        (
            "luxos",
            "luxos/v1",
            ("version", "stats", "summary", "config"),
            "Antminer S19k Pro",
            "2025.4.8.220305-57b389c7",
            "62:f7:5e:b7:10:46",
        ),
        (
            "antminer",
            "antminer-stock/v2020",
            ("version", "stats", "summary"),
            "Antminer S19 Pro",
            "Tue Dec 6 16:12:30 CST 2022",
            "",
        ),
        ("avalon", "avalon/v1", ("version", "stats"), "Avalon Q", "25052801_14a19a2", "aa:bb:cc:dd:ee:ff"),
        (
            "whatsminer",
            "whatsminer/v2",
            ("get_version", "summary", "get_miner_info", "devs"),
            "",
            "20230803.11.REL",
            "d4:01:02:03:04:05",
        ),
    ],
)
def test_a_recorded_machine_on_port_4028_is_told_apart(
    adapter: str, folder: str, names: tuple[str, ...], model: str, firmware: str, mac: str
) -> None:
    found = identify(commands(folder, *names))
    assert [one.adapter for one in found] == [adapter], "nothing else may claim it"
    best = found[0]
    assert best.confidence >= 0.75
    assert (best.model, " ".join(best.firmware.split()), best.mac) == (model, firmware, mac)
    assert best.seen_before is True
    assert all(best.evidence)


@pytest.mark.parametrize("version", ["25.07", "25.11"])
def test_a_recorded_braiins_machine_is_known_by_its_rest_pages(version: str) -> None:
    open_page = {"/api/v1/version": page(f"braiins/{version}", "version")}
    (guess,) = identify(Findings(pages=open_page))
    assert (guess.adapter, guess.model, guess.seen_before) == ("braiins", "", None)
    assert guess.confidence > 0.5
    details = {**open_page, "/api/v1/miner/details": page(f"braiins/{version}", "miner_details")}
    (sure,) = identify(Findings(pages=details))
    assert sure.confidence > 0.98
    assert "Antminer" in sure.model
    assert sure.firmware.endswith(f"{version}-plus") or version in sure.firmware
    assert sure.mac
    assert sure.seen_before is True


def test_a_recorded_bitaxe_is_known_by_its_chip() -> None:
    (best,) = identify(Findings(pages={"/api/system/info": page("bitaxe/2.0.0", "system_info")}))
    assert (best.adapter, best.firmware, best.mac) == (
        "axeos",
        "v2.4.5-3-gb5d1e36-dirty",
        "aa:bb:cc:dd:ee:ff",
    )
    assert "BM1368" in best.model
    assert best.seen_before is True


def test_another_makers_machine_with_the_same_system_page_is_no_antminer() -> None:
    body = b'{"minertype":"DG1+","macaddr":"aa:bb:cc:dd:ee:ff","Algorithm":"Scrypt"}'
    assert identify(Findings(pages={"/cgi-bin/get_system_info.cgi": Page(status=200, body=body)})) == ()


def test_an_avalon_is_known_by_its_brackets_whichever_module_is_the_first() -> None:
    stats = {"STATS": [{"STATS": 0, "ID": "AV70", "MM ID1": "Ver[8411812] Elapsed[9] MW[1 2]"}]}
    assert [one.adapter for one in identify(Findings(commands={"stats": stats}))] == ["avalon"]


def test_a_recorded_system_page_names_a_stock_antminer() -> None:
    system = page("antminer-stock/v2020", "system_info")
    (best,) = identify(Findings(pages={"/cgi-bin/get_system_info.cgi": system}))
    assert (best.adapter, best.model, best.serial) == ("antminer", "Antminer S21", "THQING0BDJAB024NF")
    assert best.mac == "", "the recording's address has an M in it, so it is none"


# ---------------------------------------------------------------- look-alikes


def typed(text: str) -> dict[str, Any]:
    return {"STATS": [{"Type": text, "BMMiner": "1.0.0"}]}


def test_vnish_on_a_bitmain_machine_is_not_taken_for_bitmains_own() -> None:
    (best,) = identify(Findings(commands={"stats": typed("Antminer S21 Pro (Vnish 1.2.7)")}))
    assert (best.adapter, best.model, best.firmware) == ("vnish", "Antminer S21 Pro", "1.2.7")


@pytest.mark.parametrize(
    "version",
    [
        {"VERSION": [{"BOSer": "boser-buildroot 0.1.0", "Type": "Antminer S19"}]},
        {"VERSION": [{"LUXminer": "2025.4.8.1-a", "Type": "Antminer S19"}]},
    ],
)
def test_who_mines_counts_more_than_who_built_the_machine(version: dict[str, Any]) -> None:
    assert "antminer" not in [one.adapter for one in identify(Findings(commands={"version": version}))]


def test_a_login_page_names_the_firmware_but_not_the_model() -> None:
    asking = Page(
        status=401, headers={"www-authenticate": 'Digest realm="antMiner Configuration", nonce="1"'}
    )
    (best,) = identify(Findings(pages={"/": asking}))
    assert (best.adapter, best.model) == ("antminer", "")
    assert 'Digest realm="antMiner Configuration"' in best.evidence[0]


def test_clues_of_two_firmwares_are_both_shown_the_likelier_first() -> None:
    mixed = Findings(
        pages={"/": Page(status=200, body=b"<title>AxeOS</title>")},
        commands={"version": {"VERSION": [{"PROD": "AvalonMiner 1246", "LVERSION": "21042001_4ec6bb0"}]}},
    )
    assert [one.adapter for one in identify(mixed)] == ["avalon", "axeos"]


def test_what_is_no_miner_is_not_named() -> None:
    printer = Findings(pages={"/": Page(status=200, body=b"<title>Printer</title>")})
    assert identify(printer) == ()
    assert identify(Findings()) == ()
    assert Findings().empty


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("adapter", "firmware", "seen"),
    [
        ("vnish", "1.2.0-beta10", True),
        ("vnish", "1.3.5", True),
        ("vnish", "Vnish 1.3.4", True),
        ("vnish", "1.2.8", False),
        ("vnish", "1.3.6", False),
        ("vnish", "1.3.99", False),
        ("vnish", "1.4.0", False),
        ("vnish", "3.9.0", False),
        ("luxos", "2025.4.8.220305-57b389c7", True),
        ("luxos", "2025.9.8.152528-e04420b4b", True),
        ("luxos", "2025.9.9.1-a", False),
        ("luxos", "2025.99.1", False),
        ("luxos", "2029.9.9.1", False),
        ("luxos", "LUX 2024", False),
        ("braiins", "2025-08-06-0-3881c51d-25.07-plus", True),
        ("braiins", "Braiins OS 2025-12-01-0-3881c51d-25.11-plus", True),
        ("braiins", "2026-01-06-0-3881c51d-26.01-plus", False),
        ("braiins", "2029-01-01-0-aaaa-29.12-plus", False),
        ("whatsminer", "20230803.11.REL", True),
        ("whatsminer", "20240624.18.REL", True),
        ("whatsminer", "20240625.01.REL", False),
        ("whatsminer", "20230231.11.REL", False),
        ("whatsminer", "20291231.99.REL", False),
        ("whatsminer-v3", "20250214.16.REL", True),
        ("whatsminer-v3", "20250801.16.REL", False),
        ("avalon", "25052801_14a19a2", True),
        ("avalon", "20210315_14a19a2", True),
        ("avalon", "25053001_14a19a2", False),
        ("avalon", "29123101_x", False),
        ("axeos", "v2.4.5-3-gb5d1e36-dirty", True),
        ("axeos", "AxeOS v2.9.0", True),
        ("axeos", "v2.10.0", False),
        ("axeos", "v2.99.0", False),
        ("axeos", "v9.0.0", False),
        ("axeos", "AxeOS ?", None),
        ("antminer", "FR-1.12(251009-S21)", True),
        ("antminer", "FR-1.13(251010-S21)", False),
        ("antminer", "Tue Dec  6 16:12:30 CST 2022", True),
        ("antminer", "Fri Oct 10 16:12:30 CST 2025", False),
        ("antminer", "Tue Dec 6 2029", False),
        ("antminer", "S21 of 2024", False),
        ("antminer", "", None),
        ("vnish", "", None),
        ("vnish", "Vnish ?", None),
        ("modbus", "1.0", None),
    ],
)
def test_a_version_that_was_never_seen_is_known_as_such(
    adapter: str, firmware: str, seen: bool | None
) -> None:
    assert version_seen(adapter, firmware) is seen


def test_a_version_never_seen_keeps_what_reads_and_loses_what_writes() -> None:
    able = tuple(
        Capability(ability=one) for one in (Ability.TELEMETRY, Ability.BOARDS, Ability.MINING, Ability.PRESET)
    )
    new = Trust(adapter="vnish").judged(DeviceFacts(model="S21", firmware="Vnish 2.0.0", capabilities=able))
    assert [one.ability for one in new.capabilities] == [Ability.TELEMETRY, Ability.BOARDS]
    assert not {one.ability for one in new.capabilities} & WRITES
    known = DeviceFacts(model="S21", firmware="Vnish 1.3.4", capabilities=able)
    assert Trust(adapter="vnish").judged(known) is known


@pytest.mark.parametrize("adapter", RECOGNISERS)
def test_a_machine_that_tells_no_version_is_read_only_and_says_so(adapter: str) -> None:
    able = tuple(Capability(ability=one) for one in (Ability.TELEMETRY, Ability.MINING))
    untold = Trust(adapter=adapter).judged(DeviceFacts(model="S21", capabilities=able))
    assert [one.ability for one in untold.capabilities] == [Ability.TELEMETRY]
    assert Trust(adapter=adapter).warnings("") == (
        "did not tell its firmware version: read-only until it does, every control is refused",
    )


def test_site_equipment_has_no_firmware_of_ours_and_keeps_its_control() -> None:
    wall = DeviceFacts(model="ir33", capabilities=(Capability(ability=Ability.SETPOINT),))
    assert Trust(adapter="modbus").judged(wall) is wall
    assert Trust(adapter="modbus").warnings("") == ()


# ---------------------------------------------------------------- versions that a site accepts


def ada(adapter: str, firmware: str) -> AcceptedFirmware:
    return AcceptedFirmware(adapter=adapter, firmware=firmware, by="Ada", why="a week on m-1")


def test_the_site_file_and_the_adapters_name_the_same_firmwares() -> None:
    assert set(MINER_FIRMWARES) == set(RECOGNISERS)


def test_an_accepted_version_keeps_its_control_and_is_told_with_the_person_who_answers_for_it() -> None:
    trust = Trust(adapter="vnish", accepted=(ada("vnish", "Vnish 1.3.6"),))
    new = DeviceFacts(model="S21", firmware="Vnish 1.3.6", capabilities=(Capability(ability=Ability.MINING),))
    assert trust.judged(new) is new
    assert trust.warnings("Vnish 1.3.6") == (
        "firmware version 'Vnish 1.3.6' is not in our table: accepted by Ada: a week on m-1",
    )
    assert version_seen("vnish", "Vnish 1.3.6") is False, "a person's word is not our having seen it"


@pytest.mark.parametrize("told", ["Vnish 1.3.7", "vnish 1.3.6", "Vnish 1.3.6 ", "Vnish 1.3.60", "1.3.6"])
def test_a_word_counts_for_the_very_text_that_it_was_given_for(told: str) -> None:
    assert not Trust(adapter="vnish", accepted=(ada("vnish", "Vnish 1.3.6"),)).allows(told)


def test_a_word_counts_for_its_adapter_only() -> None:
    assert not Trust(adapter="luxos", accepted=(ada("vnish", "2031.1.1"),)).allows("2031.1.1")


def test_a_word_for_a_version_of_our_table_changes_nothing_and_warns_of_nothing() -> None:
    trust = Trust(adapter="vnish", accepted=(ada("vnish", "Vnish 1.3.4"),))
    assert trust.allows("Vnish 1.3.4")
    assert trust.warnings("Vnish 1.3.4") == ()


@pytest.mark.parametrize("untold", ["", " ", "?", "AxeOS ?", "? ?", "? 9.9.9"])
@pytest.mark.parametrize("adapter", RECOGNISERS)
def test_what_is_not_told_is_never_commanded_whoever_answers_for_it(adapter: str, untold: str) -> None:
    trust = Trust(adapter=adapter, accepted=(ada(adapter, untold),))
    facts = DeviceFacts(model="S21", firmware=untold, capabilities=(Capability(ability=Ability.MINING),))
    assert trust.judged(facts).capabilities == ()
    assert "every control is refused" in trust.warnings(untold)[0]


# ---------------------------------------------------------------- the table of versions


def test_each_firmware_has_spans_and_knows_both_ends_of_them() -> None:
    assert {span.adapter for span in spans()} == set(RECOGNISERS)
    for span in spans():
        assert version_seen(span.adapter, span.oldest) is True, span
        assert version_seen(span.adapter, span.newest) is True, span
        assert span.source


def test_a_line_of_the_table_that_is_no_version_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"known\.toml: luxos: '2022\.1\.1' to .* are no versions"):
        covers("luxos", (2024, 1, 1), lambda _: None)


# ---------------------------------------------------------------- anything

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    "VERSION",
    "STATS",
    "STATUS",
    "SUMMARY",
    "CONFIG",
    "DEVDETAILS",
    "Msg",
    "msg",
    "Type",
    "miner",
    "system",
)
ODD = st.dictionaries(
    st.sampled_from(KEYS), ANYTHING | st.lists(st.dictionaries(st.sampled_from(KEYS), ANYTHING))
)


@settings(max_examples=60, deadline=None)
@given(
    commands=st.dictionaries(st.sampled_from(["version", "stats", "get_version", "config", "summary"]), ODD),
    frames=st.dictionaries(st.just("get.device.info"), ODD),
    bodies=st.dictionaries(
        st.sampled_from(["/", "/api/v1/info", "/api/system/info", "/api/v1/version", "/x"]),
        st.binary(max_size=80) | ODD.map(msgspec.json.encode),
    ),
)
def test_whatever_a_host_says_there_is_an_answer_and_no_exception(
    commands: dict[str, Any], frames: dict[str, Any], bodies: dict[str, bytes]
) -> None:
    pages = {path: Page(status=200, body=body) for path, body in bodies.items()}
    for one in identify(Findings(pages=pages, commands=commands, frames=frames)):
        assert 0 < one.confidence <= 0.99
        assert one.evidence
        assert len(one.model) < 200


def test_deep_nesting_is_no_object() -> None:
    assert Page(status=200, body=b"[" * 100_000).object() is None
    assert Page(status=200, body=b'{"a":' * 60_000).object() is None


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ("AA:BB:CC:DD:EE:FF", "aa:bb:cc:dd:ee:ff"),
        ("aabbccddeeff", "aa:bb:cc:dd:ee:ff"),
        ("aa-bb-cc-dd-ee-0f", "aa:bb:cc:dd:ee:0f"),
        ("02:55:97:22:3M:72", ""),
        ("00:00:00:00:00:00", ""),
        ("ff:ff:ff:ff:ff:ff", ""),
        ("aa:bb", ""),
        ("", ""),
    ],
)
def test_addresses_are_written_one_way(text: str, mac: str) -> None:
    assert clean_mac(text) == mac


def test_an_unknown_firmware_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no miner firmware named 'vinish'; known are .*antminer"):
        recogniser("vinish")


def test_every_recogniser_says_where_its_machines_answer() -> None:
    assert {name: recogniser(name).PORT for name in RECOGNISERS} == {
        "vnish": 80,
        "antminer": 80,
        "braiins": 80,
        "axeos": 80,
        "luxos": 4028,
        "whatsminer": 4028,
        "avalon": 4028,
        "whatsminer-v3": 4433,
    }
