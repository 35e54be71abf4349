"""A unit's ladder: which steps it may run, and what one step down is."""

import pytest

from edge_agent.guardian import ladder
from shared.capabilities import DeviceFacts, Preset
from shared.commands import AnyAction, SetPreset, StopMining
from shared.ids import DeviceId

M1 = DeviceId("m-1")


def step(power_w: float, name: str = "", **fields: bool) -> Preset:
    return Preset(name=name or f"{power_w:g}", power_w=power_w, hashrate_ths=1.0, **{"tuned": True, **fields})


FACTS = DeviceFacts(
    model="s19",
    presets=(
        step(3000),
        step(2000),
        step(2500, tuned=False),
        step(3500, needs_liquid=True),
        step(4000, needs_modded_psu=True),
        step(2300, "eco-b"),
        step(2300, "eco-a"),
    ),
)


def names(*, hydro: bool) -> list[str]:
    return [preset.name for preset in ladder.usable(FACTS, hydro=hydro)]


def test_usable_steps_are_tuned_fit_the_cooling_and_the_supply_and_rise_by_power() -> None:
    assert names(hydro=False) == ["2000", "eco-a", "eco-b", "3000"]
    assert names(hydro=True) == ["2000", "eco-a", "eco-b", "3000", "3500"]


@pytest.mark.parametrize(("name", "index"), [("2000", 0), ("3000", 3), ("2500", None), (None, None)])
def test_where_a_step_stands(name: str | None, index: int | None) -> None:
    assert ladder.index_of(ladder.usable(FACTS, hydro=False), name) == index


@pytest.mark.parametrize(("name", "watts"), [("2500", 2500), ("4000", 4000), ("9999", None), (None, None)])
def test_power_of_any_listed_step_usable_or_not(name: str | None, watts: float | None) -> None:
    assert ladder.power_of(FACTS, name) == watts


def test_two_steps_of_one_name_count_as_the_first() -> None:
    twice = DeviceFacts(model="s19", presets=(step(2000, "eco"), step(2300, "eco")))
    assert ladder.power_of(twice, "eco") == 2000
    assert ladder.index_of(twice.presets, "eco") == 0


@pytest.mark.parametrize(
    ("running", "hydro", "wanted"),
    [
        ("3000", False, SetPreset(device=M1, preset="eco-b")),
        ("2500", False, SetPreset(device=M1, preset="eco-b")),
        ("4000", True, SetPreset(device=M1, preset="3500")),
        ("4000", False, SetPreset(device=M1, preset="3000")),
        ("eco-b", False, SetPreset(device=M1, preset="2000")),
        ("2000", False, StopMining(device=M1)),
        ("custom", False, StopMining(device=M1)),
        (None, False, StopMining(device=M1)),
    ],
)
def test_one_step_down_or_a_stop_where_there_is_none(
    running: str | None, hydro: bool, wanted: AnyAction
) -> None:
    assert ladder.lower(M1, FACTS, running, hydro=hydro) == wanted


def test_a_unit_that_has_not_told_its_ladder_is_stopped() -> None:
    assert ladder.lower(M1, None, "3000", hydro=False) == StopMining(device=M1)
