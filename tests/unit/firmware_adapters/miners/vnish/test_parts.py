"""Boards, chips, pools, history and settings: by meaning, in every shape that a version gave them."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.emulated import MinerView, PoolView
from firmware_adapters.miners.vnish import abilities, emulator_ladder, emulator_old
from firmware_adapters.miners.vnish import boards as parts
from firmware_adapters.miners.vnish import emulator_pages as pages
from firmware_adapters.miners.vnish import settings as wishes
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.history import history
from firmware_adapters.miners.vnish.pools import pools, share_age_s, shares
from shared.details import HistoryMark, HistoryPoint, PoolState
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState
from shared.units import Algorithm
from support.miners import board, s21_pro


def wire(page: object) -> object:
    """A page as it comes off the wire."""
    return msgspec.json.decode(msgspec.json.encode(page))


def summary(view: MinerView, traps: Traps | None = None) -> object:
    return wire(pages.summary(view, "1.2.7", traps or Traps(), v13=False))


# ---------------------------------------------------------------- boards


def test_a_board_reads_in_our_units_with_its_serial_number() -> None:
    view = s21_pro(boards=(board(), board(water_in_c=31.0, water_out_c=40.0)))
    first, second = parts.boards(summary(view), wire(pages.factory_info(view)), "GH/s")
    assert (first.index, first.working, first.hashrate_ths, first.hashrate_nominal_ths) == (1, True, 62, 62.5)
    assert (first.power_w, first.frequency_mhz, first.voltage_v, first.hw_errors) == (900, 470, 12.8, 19)
    assert (first.chip_temp_min_c, first.chip_temp_max_c) == (54, 65)
    assert (first.board_temp_min_c, first.board_temp_max_c) == (39, 50)
    assert (first.chips, first.serial, first.fault) == (65, "SN0001-1", "")
    assert (first.water_in_c, first.water_out_c) == (None, None)
    assert (second.water_in_c, second.water_out_c) == (31, 40)


def test_a_dead_board_has_no_temperatures_and_says_why() -> None:
    page = summary(s21_pro(boards=(board(working=False),)))
    page["miner"]["chains"][0]["status"]["description"] = "chain break"  # type: ignore[index] # as made
    (dead,) = parts.boards(page, None, "GH/s")
    assert (dead.working, dead.fault, dead.serial) == (False, "chain break", "")
    assert dead.chip_temp_max_c is dead.board_temp_max_c is dead.chips is None


@pytest.mark.parametrize(
    ("state", "works"),
    [
        ("mining", True),
        ("initializing", True),
        ("stopped", True),
        ("failure", False),
        ("disconnected", False),
        ("disabled", False),
        ("unknown", None),
        (None, None),
    ],
)
def test_whether_a_board_works(state: str | None, works: bool | None) -> None:
    assert parts.works(state) is works


def test_chips_of_a_starting_board_are_not_counted_as_dead() -> None:
    (starting,) = parts.boards(summary(s21_pro(state=MinerState.STARTING, boards=(board(),))), None, "GH/s")
    assert starting.chips is None
    page = {"miner": {"chains": [{"chip_statuses": {"grey": 59, "orange": 6, "red": 2}}]}}
    assert parts.boards(page, None, "GH/s")[0].chips == 65
    dead = {"chip_statuses": {"grey": 0, "orange": 0, "red": 126}, "status": {"state": "mining"}}
    assert parts.boards({"miner": {"chains": [dead]}}, None, "GH/s")[0].chips == 0


def test_a_beta_board_tells_watts_and_sensors_its_own_way() -> None:
    view = s21_pro(boards=(board(),))
    page = emulator_old.summary(pages.summary(view, "1.2.0-beta10", Traps(), v13=False), view, beta=True)
    (beta,) = parts.boards(wire(page), None, "GH/s")
    assert (beta.power_w, beta.chip_temp_max_c, beta.board_temp_min_c) == (900, 65, 39)


def test_factory_info_may_be_null_everywhere() -> None:
    page = summary(s21_pro())
    for factory in (None, {}, {"chains": None}, {"chains": [{"id": None, "serial": None}]}, [], "x"):
        assert [found.serial for found in parts.boards(page, factory, "GH/s")] == ["", "", ""]


def test_serial_numbers_that_are_counted_from_elsewhere_go_by_place() -> None:
    page = summary(s21_pro())
    shifted = {"chains": [{"id": number, "serial": f"S{number}"} for number in range(3)]}
    assert [found.serial for found in parts.boards(page, shifted, "GH/s")] == ["S0", "S1", "S2"]
    fewer = {"chains": [{"id": 3, "serial": "third"}]}
    assert [found.serial for found in parts.boards(page, fewer, "GH/s")] == ["", "", "third"]


def test_no_boards_in_failure() -> None:
    assert parts.boards(summary(s21_pro(state=MinerState.FAILURE)), None, "GH/s") == ()
    assert parts.boards({"miner": None}, None, "GH/s") == ()


# ---------------------------------------------------------------- chips


@pytest.mark.parametrize("oldest", [False, True])
def test_chips_of_both_shapes(oldest: bool) -> None:
    view = s21_pro(boards=(board(), board(working=False)), chips_per_board=4)
    listed = emulator_ladder.board_chips(view, Traps())
    page = emulator_old.chips(listed, view, temperatures=False) if oldest else listed
    found = parts.chips(wire(page), "GH/s")
    assert [(chip.board, chip.index) for chip in found] == [(b, c) for b in (1, 2) for c in range(4)]
    first = found[0]
    assert first.hashrate_ths == pytest.approx(62 / 4)
    assert (first.frequency_mhz, first.errors, first.grade) == (470, 4, "grey")
    assert (first.temp_c, first.voltage_v) == ((None, None) if oldest else (54, 3.2))
    assert found[-1].grade == "red"


def test_a_chip_at_zero_degrees_says_nothing() -> None:
    (chip,) = parts.chips([{"id": 3, "chips": [{"id": 7, "temp": 0, "hr": -1}]}], "GH/s")
    assert (chip.board, chip.index, chip.temp_c, chip.hashrate_ths) == (3, 7, None, None)


@pytest.mark.parametrize("body", [None, {}, "x", {"chains": None}, 3])
def test_what_is_no_list_of_chips_is_malformed(body: object) -> None:
    with pytest.raises(MalformedReply):
        parts.chips(body, "GH/s")


# ---------------------------------------------------------------- pools


def test_pools_in_the_firmwares_order_and_which_one_it_works_for() -> None:
    spare = PoolView(url="stratum+tcp://spare.invalid:1", user="b", shares_accepted=5, shares_stale=1)
    dead = PoolView(url="stratum+tcp://dead.invalid:1", alive=False)
    view = s21_pro(other_pools=(spare, dead), pool=1, shares_stale=2, last_share_age_s=75.0)
    found = pools(summary(view))
    assert [(pool.index, pool.state, pool.ours) for pool in found] == [
        (0, PoolState.STANDBY, True),
        (1, PoolState.ACTIVE, True),
        (2, PoolState.DEAD, True),
        (3, PoolState.STANDBY, False),
    ]
    assert (found[1].url, found[1].user, found[1].accepted, found[1].stale) == (spare.url, "b", 5, 1)
    assert [pool.last_share_age_s for pool in found] == [None, 75, None, None]
    listed = summary(view)["miner"]["pools"]  # type: ignore[index] # as made
    counted = {name: reading.value for name, reading in shares(listed).items()}
    assert counted == {
        "shares_accepted": 4062,
        "shares_rejected": 8,
        "shares_stale": 3,
        "last_share_age_s": 75,
    }


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["working"], [PoolState.ACTIVE]),
        (["working", "working"], [PoolState.UNKNOWN] * 2),
        (["active", "working"], [PoolState.ACTIVE, PoolState.STANDBY]),
        (["rejecting", "disabled"], [PoolState.REJECTING, PoolState.DISABLED]),
        (["asleep", None], [PoolState.UNKNOWN] * 2),
    ],
)
def test_the_words_for_a_pools_state(words: list[str | None], state: list[PoolState]) -> None:
    listed = [{"status": word, "pool_type": "UserPool"} for word in words]
    assert [pool.state for pool in pools({"miner": {"pools": listed}})] == state


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("0:00:12", 12.0),
        ("3:05", 185.0),
        ("1:02:03", 3723.0),
        ("26:00:00", 93_600.0),
        ("1d 02:03:04", 93_784.0),
        ("2 days, 0:00:01", 172_801.0),
        ("12s", 12.0),
        ("2h 5m", 7500.0),
        ("1 day", 86_400.0),
        ("", None),
        ("never", None),
        ("5", None),
        ("-1:00", None),
        ("²:55", None),
    ],
)
def test_the_age_of_a_share_as_text(words: str, seconds: float | None) -> None:
    assert share_age_s(words) == seconds


@pytest.mark.parametrize(
    ("said", "accepted", "age_s"),
    [
        ("0", 5, None),
        ("0:00:00", 5, 0.0),
        ("0:00:00", 0, None),
        ("17", 5, 17.0),
        (17, 5, 17.0),
        ("1790000000", 5, None),
        (None, 5, None),
        (-4, 5, None),
    ],
)
def test_a_pool_without_a_share_and_a_date_tell_no_age(
    said: object, accepted: int, age_s: float | None
) -> None:
    page = {"miner": {"pools": [{"accepted": accepted, "ls_time": said}]}}
    assert pools(page)[0].last_share_age_s == age_s


def test_shares_of_a_machine_without_pools_are_unknown() -> None:
    assert shares(()) == dict.fromkeys(("shares_accepted", "shares_rejected", "shares_stale"), MISSING)


# ---------------------------------------------------------------- history


def _record(time: object, **data: object) -> dict[str, object]:
    return {"time": time, "data": data}


def test_history_is_turned_oldest_first_in_our_units() -> None:
    page = {
        "timezone": "GMT",
        "metrics": [
            _record(
                1_780_000_900,
                hashrate=186_000.0,
                pcb_max_temp=50,
                chip_max_temp=65,
                fan_duty=90,
                power_consumption=2790,
            ),
            _record(1_780_000_000, hashrate=0.0, pcb_max_temp=0, chip_max_temp=0, fan_duty=0),
        ],
        "annotations": [
            _record(1_780_000_950, type="disable_board", board_id=2),
            _record(1_780_000_100, type="enable_chain", chain_id=1),
            _record(1_780_000_050, type="start"),
        ],
    }
    told = history(page, "GH/s")
    assert told.points == (
        HistoryPoint(at_ms=1_780_000_000_000, hashrate_ths=0.0, fan_duty_pct=0.0),
        HistoryPoint(
            at_ms=1_780_000_900_000,
            hashrate_ths=186.0,
            power_w=2790,
            chip_temp_max_c=65,
            board_temp_max_c=50,
            fan_duty_pct=90,
        ),
    )
    assert told.marks == (
        HistoryMark(at_ms=1_780_000_050_000, what="start"),
        HistoryMark(at_ms=1_780_000_100_000, what="enable_board", board=1),
        HistoryMark(at_ms=1_780_000_950_000, what="disable_board", board=2),
    )
    assert history(page, None).points[1].hashrate_ths is None
    assert history(page, "MH/s").points[1].hashrate_ths == pytest.approx(0.186)


@pytest.mark.parametrize("time", [None, 0, -5, "soon", 1e300, True])
def test_a_record_without_a_time_is_left_out(time: object) -> None:
    assert history({"metrics": [_record(time, hashrate=1.0)]}, "GH/s").points == ()


# ---------------------------------------------------------------- settings, limits


def test_what_the_settings_ask_for() -> None:
    misc = {"power_limit": 2700, "power_limit_enabled": True}
    page = {"miner": {"misc": misc, "overclock": {"preset": "2550", "preset_switcher": {"enabled": True}}}}
    told = wishes.wanted(page)
    assert (told.preset, told.power_limit_w, told.switcher) == ("2550", 2700, {"enabled": True})
    for off in ({"power_limit": 2700, "power_limit_enabled": False}, {"power_limit": 2700}, {}, None):
        assert wishes.wanted({"miner": {"misc": off}}).power_limit_w is None
    assert wishes.wanted({"miner": {"cooling": {"mode": {"name": "immers"}}}}).cooling == "immers"
    with pytest.raises(MalformedReply):
        wishes.wanted(None)


def test_limits_are_what_the_model_page_says() -> None:
    told = abilities.limits(wire(pages.model(s21_pro(), v13=True)))
    assert told == abilities.Limits(
        target_low_c=20, target_high_c=90, duty_low_pct=10, power_limit_high_w=6000
    )
    assert abilities.limits(wire(pages.model(s21_pro(), v13=False))).power_limit_high_w is None
    assert abilities.limits(None) == abilities.Limits()


# ---------------------------------------------------------------- any reply


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["miner", "chains", "pools", "id", "chips", "metrics", "time", "data", "ls_time"])
        | st.text(max_size=6),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


@given(_anything, _anything, st.sampled_from(["GH/s", "MH/s", None]))
@settings(max_examples=200, deadline=None)
def test_whatever_comes_there_are_parts_or_malformed(body: object, other: object, unit: str | None) -> None:
    wrapped = {"miner": body}
    for page in (body, wrapped):
        for parse in (
            lambda page: parts.boards(page, other, unit),
            lambda page: parts.chips(page, unit),
            lambda page: history(page, unit),
            pools,
            wishes.wanted,
        ):
            try:
                told = parse(page)
            except MalformedReply:
                continue
            _finite(msgspec.to_builtins(told))
    _finite(msgspec.to_builtins(abilities.limits(body)))


@given(st.text(max_size=80))
def test_no_age_is_negative_or_endless(words: str) -> None:
    age_s = share_age_s(words)
    assert age_s is None or (math.isfinite(age_s) and age_s >= 0)


def _finite(value: object) -> None:
    if isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, dict):
        for inner in value.values():
            _finite(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _finite(inner)


def test_scrypt_chips_are_in_megahash() -> None:
    view = s21_pro(algorithm=Algorithm.SCRYPT, boards=(board(hashrate_ths=0.004),), chips_per_board=2)
    found = parts.chips(wire(emulator_ladder.board_chips(view, Traps())), "MH/s")
    assert found[0].hashrate_ths == pytest.approx(0.002)
