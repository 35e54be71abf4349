"""The JSON of a probe: held by a golden file, documented key by key, and honest about what is not known."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from firmware_adapters.capabilities import Observation
from firmware_adapters.discovery.examine import Examined, NotRead
from firmware_adapters.discovery.report import LISTS, SINGLES, Probed, as_json, missing
from firmware_adapters.discovery.words import duration, lines
from firmware_adapters.identify import Identification
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.counters import Step
from shared.details import Board, Chip, Fault, LogTail, Pool, PoolState
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm

ROOT = Path(__file__).resolve().parents[4]
GOLDEN = Path(__file__).with_name("probe.golden.json")
DOCS = (ROOT / "docs" / "discovery.md").read_text("utf-8")

SEEN = Observation(
    readings={
        "hashrate_ths": Reading(186.0),
        "power_w": Reading(2790.0, Quality.ESTIMATED),
        "chip_temp_max_c": Reading(65.0, Quality.ESTIMATED),
        "board_temp_max_c": Reading(None, Quality.SENSOR_ERROR),
        "psu_temp_c": MISSING,
        "fan_rpm.0": Reading(5880.0),
        "fan_rpm.1": MISSING,
        "shares_accepted": Reading(4057.0),
        "shares_rejected": Reading(8.0),
        "last_share_age_s": Reading(12.0),
        "uptime_s": Reading(791880.0),
    },
    state=MinerState.MINING,
    preset="2800",
    preset_requested="3160",
    algorithm=Algorithm.SHA256D,
    faults=(Fault(code="1002", words="one fan is slow"),),
)
FACTS = DeviceFacts(
    model="Antminer S21 Pro",
    firmware="1.2.7",
    mac="aa:bb:cc:00:00:01",
    serial="SN1",
    algorithm="sha256d",
    presets=(Preset(name="2800", power_w=2800, hashrate_ths=188, tuned=True),),
    capabilities=(
        Capability(ability=Ability.TELEMETRY),
        Capability(ability=Ability.THROTTLE, low=20.0, high=100.0, settle_s=80.0),
    ),
)
EXAMINED = Examined(
    adapter="vnish",
    host="10.0.1.7",
    port=80,
    at_ms=1_780_000_000_000,
    observation=SEEN,
    facts=FACTS,
    capabilities=FACTS.capabilities,
    boards=(
        Board(index=1, working=True, hashrate_ths=62.0, chips=65),
        Board(index=2, working=False, fault="no chain"),
    ),
    pools=(Pool(index=0, url="stratum+tcp://pool.example:3333", user="site.rig7", state=PoolState.ACTIVE),),
    chips=(
        Chip(board=1, index=0, hashrate_ths=0.95, temp_c=62.0),
        Chip(board=1, index=1, hashrate_ths=0.0, temp_c=55.0, grade="red"),
        Chip(board=1, index=2, temp_c=255.0),
        Chip(board=2, index=0, frequency_mhz=500.0),
    ),
    chips_at_ms=1_780_000_000_500,
    log=LogTail(
        name="status", at_ms=1_780_000_000_000, why="fault 1002 one fan is slow", text="fan 2\nslow\n"
    ),
    counted={"shares_accepted": Step(added=3.0, reset=False), "hw_errors": Step(added=None, reset=True)},
    counted_s=60.0,
    not_read=(NotRead(part="log miner", code="timeout", why="no whole answer before the deadline"),),
)
FOUND = Probed(
    host="10.0.1.7",
    port=80,
    identified=(
        Identification(
            adapter="vnish",
            confidence=0.99,
            evidence=('the front page says firmware "AnthillOS"',),
            model="Antminer S21 Pro",
            firmware="1.2.7",
            seen_before=True,
        ),
        Identification(adapter="antminer", confidence=0.5, evidence=("port 4028: mines with BMMiner",)),
    ),
    examined=EXAMINED,
    answered=True,
)


def test_the_whole_report_is_what_the_golden_file_says() -> None:
    """It was read by a person; a change of it is a change of what others rely on."""
    assert json.loads(json.dumps(as_json(FOUND))) == json.loads(GOLDEN.read_text("utf-8"))


def documented(title: str) -> set[str]:
    """The keys of the first table after a heading or a line."""
    after = DOCS.split(title, 1)[1]
    table = re.search(r"\n\|[^\n]*\|\n\|[-|]+\|\n((?:\|[^\n]*\|\n)+)", after)
    assert table is not None
    return set(re.findall(r"^\| `([a-z_]+)`", table[1], re.MULTILINE))


def test_every_key_is_documented_and_every_documented_key_is_there() -> None:
    told = as_json(FOUND)
    assert documented("### `--json`") == set(told)
    sample = told["sample"]
    assert isinstance(sample, dict)
    assert documented("The sample:") == set(sample)


def test_every_key_is_there_whatever_was_read() -> None:
    nothing = as_json(
        Probed(host="10.0.1.7", port=80, identified=(), silent={"GET :80/": "no answer in time"})
    )
    assert set(nothing) == set(as_json(FOUND))
    assert nothing["sample"] is None
    assert nothing["boards"] is None
    assert nothing["not_read"] == [{"part": "GET :80/", "code": "unreachable", "why": "no answer in time"}]
    bare = msgspec.structs.replace(EXAMINED, observation=Observation(readings={}))
    sample = as_json(msgspec.structs.replace(FOUND, examined=bare))["sample"]
    whole = as_json(FOUND)["sample"]
    assert isinstance(sample, dict)
    assert isinstance(whole, dict)
    assert set(sample) == set(whole)
    assert {name: value for name, value in sample.items() if value not in (None, [])} == {}


def test_what_is_not_known_says_why() -> None:
    why = {one.part: (one.code, one.why) for one in missing(FOUND)}
    assert why["log miner"] == ("timeout", "no whole answer before the deadline")
    assert why["board_temp_max_c"] == ("sensor-error", "the sensor is in error")
    assert why["psu_temp_c"] == ("missing", "the device has no value for it now")
    assert why["throttle_pct"] == ("not-told", "the device does not tell it")
    assert "hashrate_ths" not in why
    assert "preset_running" not in why
    known = {*SINGLES, *LISTS}
    assert set(why) - {"log miner"} < known


@pytest.mark.parametrize(
    ("hashrate", "power", "efficiency"),
    [(186.0, 2790.0, 15.0), (0.0, 2790.0, None), (186.0, None, None), (None, 2790.0, None)],
)
def test_joules_per_terahash_are_ours_or_unknown(
    hashrate: float | None, power: float | None, efficiency: float | None
) -> None:
    readings = {"hashrate_ths": Reading(hashrate), "power_w": Reading(power)}
    seen = Observation(readings={name: one for name, one in readings.items() if one.value is not None})
    told = as_json(
        msgspec.structs.replace(FOUND, examined=msgspec.structs.replace(EXAMINED, observation=seen))
    )
    assert told["sample"]["efficiency_j_per_th"] == efficiency  # type: ignore[index] # an object


def test_a_reading_that_may_not_be_used_is_no_number() -> None:
    odd = Observation(readings={"hashrate_ths": Reading(9e9, Quality.OUT_OF_RANGE)})
    told = as_json(
        msgspec.structs.replace(FOUND, examined=msgspec.structs.replace(EXAMINED, observation=odd))
    )
    assert told["sample"]["hashrate_ths"] is None  # type: ignore[index] # an object
    assert told["quality"]["hashrate_ths"] == "out-of-range"  # type: ignore[index] # an object


def test_the_words_hold_what_a_technician_looks_for() -> None:
    text = "\n".join(lines(FOUND))
    for part in (
        "10.0.1.7:80: Antminer S21 Pro, 1.2.7 (vnish)",
        'because the front page says firmware "AnthillOS"',
        "could also be antminer (50%): port 4028: mines with BMMiner",
        "hashing               yes",
        "2800, asked for 3160",
        "2,790 W (estimated)",
        "1002 one fan is slow",
        "does not work",
        "as site.rig7: active",
        "3 more in 60 s",
        "log miner: no whole answer before the deadline",
        "throttle            control; 20 to 100",
        "board 1               3 told, 1 dark (1), hottest 62 °C, spread 7 K",
        "board 2               1 told, dark unknown",
        "its log 'status', read at 2026-05-28 20:26:40 UTC because of: fault 1002 one fan is slow",
        "  | fan 2",
    ):
        assert part in text, part


def test_every_chip_has_its_line_where_that_is_asked_for() -> None:
    text = "\n".join(lines(FOUND, chips=True))
    for part in ("chip 0              0.95 TH/s, 62 °C", "chip 1              0 TH/s, 55 °C, red"):
        assert part in text, part
    assert "chip 1 " not in "\n".join(lines(FOUND))
    assert "255" not in text, "what cannot be true is not shown as a temperature"
    assert as_json(FOUND)["chip_map"] is None
    assert len(as_json(FOUND, chips=True)["chip_map"]) == 4  # type: ignore[arg-type] # a list


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (59.9, "59 s"),
        (61.0, "1 min 1 s"),
        (7500.0, "2 h 5 min"),
        (86_400.0, "1 day 0 h 0 min"),
        (791_880.0, "9 days 3 h 58 min"),
    ],
)
def test_a_time_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_words_have_the_time_up_in_days() -> None:
    assert any("uptime" in line and "9 days 3 h 58 min" in line for line in lines(FOUND))
