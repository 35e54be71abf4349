"""Ladders differ from unit to unit; one step down always exists, and at the bottom it is a stop."""

import msgspec
import pytest

from edge_agent.guardian import ladder
from shared.capabilities import DeviceFacts, Preset
from shared.commands import SetPreset, StopMining
from shared.ids import DeviceId
from support.guardian import LADDER

M1 = DeviceId("m-1")
FACTS = DeviceFacts(model="s19", presets=LADDER)
STOP = StopMining(device=M1)


def names(*presets: Preset, hydro: bool = False) -> list[str]:
    facts = DeviceFacts(model="s19", presets=presets)
    return [preset.name for preset in ladder.usable(facts, hydro=hydro)]


def test_usable_are_tuned_steps_by_rising_power() -> None:
    assert names(*reversed(LADDER)) == ["2000", "2300", "2500", "3000"]


def test_water_and_modded_supplies_are_for_who_has_them() -> None:
    wet = msgspec.structs.replace(LADDER[0], name="wet", needs_liquid=True)
    modded = msgspec.structs.replace(LADDER[0], name="modded", needs_modded_psu=True)
    assert names(wet, modded) == []
    assert names(wet, modded, hydro=True) == ["wet"]


def test_equal_power_goes_by_name() -> None:
    twins = [msgspec.structs.replace(LADDER[0], name=name) for name in ("b", "a")]
    assert names(*twins) == ["a", "b"]


@pytest.mark.parametrize(("name", "index"), [("2000", 0), ("3000", 3), ("2700", None), (None, None)])
def test_where_a_step_stands(name: str | None, index: int | None) -> None:
    assert ladder.index_of(ladder.usable(FACTS, hydro=False), name) == index


@pytest.mark.parametrize(("name", "power_w"), [("2700", 2700), ("9", None), (None, None)])
def test_power_of_any_listed_step(name: str | None, power_w: float | None) -> None:
    assert ladder.power_of(FACTS, name) == power_w


@pytest.mark.parametrize(
    ("running", "below"), [("3000", "2500"), ("2700", "2500"), ("2300", "2000"), ("2000", None), (None, None)]
)
def test_one_step_down_or_a_stop(running: str | None, below: str | None) -> None:
    wanted = STOP if below is None else SetPreset(device=M1, preset=below)
    assert ladder.lower(M1, FACTS, running, hydro=False) == wanted


def test_a_miner_that_never_said_its_ladder_is_stopped() -> None:
    assert ladder.lower(M1, None, "2500", hydro=False) == STOP


def test_one_step_down_in_water_may_need_water() -> None:
    wet = msgspec.structs.replace(LADDER[-1], name="wet", power_w=2900, needs_liquid=True)
    facts = DeviceFacts(model="s19", presets=(*LADDER, wet))
    assert ladder.lower(M1, facts, "3000", hydro=True) == SetPreset(device=M1, preset="wet")
    assert ladder.lower(M1, facts, "3000", hydro=False) == SetPreset(device=M1, preset="2500")


# ---------------------------------------------------------------- the safe step on another ladder


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("2300", "2300"),
        ("2400", "2300"),
        ("2700", "2500"),
        ("2000.0", "2000"),
        ("1000", "2000"),
        ("9999", "3000"),
        ("eco", "2000"),
        ("nan", "2000"),
        ("inf", "2000"),
    ],
)
def test_the_safe_step_is_the_highest_usable_one_not_above_what_is_named(wanted: str, meant: str) -> None:
    assert ladder.safe(FACTS, wanted, hydro=False) == meant


def test_a_listed_step_that_may_not_run_counts_with_its_own_power() -> None:
    wet = msgspec.structs.replace(LADDER[0], name="eco", power_w=2350.0, needs_liquid=True)
    facts = DeviceFacts(model="s19", presets=(*LADDER, wet))
    assert ladder.safe(facts, "eco", hydro=False) == "2300"
    assert ladder.safe(facts, "eco", hydro=True) == "eco"


def test_one_of_the_very_power_of_a_listed_step_is_not_above_it() -> None:
    eco = msgspec.structs.replace(LADDER[0], name="eco", power_w=LADDER[1].power_w, tuned=False)
    assert ladder.safe(DeviceFacts(model="s19", presets=(*LADDER, eco)), "eco", hydro=False) == "2300"


def test_a_step_that_may_run_is_itself_and_no_other_of_its_power() -> None:
    twins = tuple(msgspec.structs.replace(LADDER[0], name=name) for name in ("a", "b"))
    assert ladder.safe(DeviceFacts(model="s19", presets=twins), "a", hydro=False) == "a"


@pytest.mark.parametrize(("nominal_ths", "share"), [(1.0, 0.5), (0.1, 5.0), (0.0, None)])
def test_a_share_is_told_of_any_hashrate_but_nothing(nominal_ths: float, share: float | None) -> None:
    """Miners of other algorithms have far less than 1 TH/s."""
    slow = Preset(name="low", power_w=2000, hashrate_ths=0.5, tuned=True)
    full = Preset(name="full", power_w=3000, hashrate_ths=nominal_ths, tuned=True)
    facts = DeviceFacts(model="l7", presets=(slow, full))
    assert ladder.share_of(facts, "low", 3000.0) == (None if share is None else pytest.approx(share))


def test_a_unit_without_a_usable_step_has_no_safe_one() -> None:
    assert ladder.safe(DeviceFacts(model="s19"), "2300", hydro=False) is None
