"""Without a lease a miner goes down (S10), also where its ladder lacks the step that the site file names."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian import ladder
from shared.alarms import EventKind
from shared.capabilities import DeviceFacts, Preset
from support.guardian import LADDER, GuardianBench, make_site, miner_id

FACTS = DeviceFacts(model="s19", presets=LADDER)


def named(preset: str) -> Callable[[str], str]:
    return lambda text: text.replace('safe_preset = "2300"', f'safe_preset = "{preset}"')


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        ("2300", "2300"),
        ("2330", "2300"),
        ("9999", "3000"),
        ("2700", "2500"),  # listed, but never tuned
        ("1500", "2000"),  # nothing is so low
        ("eco", "2000"),
        ("nan", "2000"),
    ],
)
def test_what_a_safe_preset_means_on_this_ladder(wanted: str, means: str) -> None:
    assert ladder.safe(FACTS, wanted, hydro=False) == means


def test_a_step_that_needs_water_is_safe_under_water_only() -> None:
    wet = Preset(name="wet", power_w=2200.0, hashrate_ths=90.0, tuned=True, needs_liquid=True)
    facts = msgspec.structs.replace(FACTS, presets=(*LADDER, wet))
    assert ladder.safe(facts, "wet", hydro=True) == "wet"
    assert ladder.safe(facts, "wet", hydro=False) == "2000"


def test_a_ladder_without_a_usable_step_has_no_safe_one() -> None:
    assert ladder.safe(DeviceFacts(model="s19"), "2300", hydro=False) is None


@pytest.mark.parametrize(("wanted", "means"), [("2330", "2300"), ("eco", "2000")])
async def test_miners_go_down_without_a_lease_all_the_same(tmp_path: Path, wanted: str, means: str) -> None:
    bench = await GuardianBench(make_site(tmp_path, edit=named(wanted))).start()
    await bench.run(240.0, lease=False)
    assert {miner.preset for miner in bench.miners} == {means}
    await bench.close()


async def test_a_ladder_that_lacks_the_step_is_told_once_and_cleared(tmp_path: Path) -> None:
    bench = await GuardianBench(make_site(tmp_path, edit=named("2330"))).start()
    guardian, device = bench.guardian, miner_id(1)
    for _ in range(2):
        guardian._facts(device)
    told = [event.title for event in bench.events(EventKind.ALARM)]
    assert told == ["m-1 may not run its safe_preset '2330', it goes to '2300' instead"]
    link = guardian.links[device]
    assert link.facts is not None
    tuned = Preset(name="2330", power_w=2330.0, hashrate_ths=93.0, tuned=True)
    link.facts = msgspec.structs.replace(link.facts, presets=(*LADDER, tuned))
    guardian._facts(device)
    assert [event.key for event in bench.events(EventKind.ALARM_CLEARED)] == ["safe-preset/m-1"]
    await bench.close()


async def test_a_step_down_that_would_be_one_up_by_now_is_not_sent_again(tmp_path: Path) -> None:
    """Found by a million steps of the closed loop: permitted while nobody knew the running step."""
    bench = await GuardianBench(make_site(tmp_path, 1)).start()
    miner = bench.miners[0]
    miner.preset = ""  # no step of its ladder
    miner.ignores = True
    while not miner.writes:
        await bench.run(5.0, lease=False)
    assert miner.writes == ["2300"]
    miner.preset = "2000"
    await bench.run(600.0, lease=False)
    assert miner.writes == ["2300"]
    await bench.close()
