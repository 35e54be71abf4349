"""Faster while something goes on, for a tenth of the devices at most."""

import msgspec
import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.polling.pace import AT_LEAST, Pace, Warm, warm_of
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, MinerState, Quality, Reading, Sample
from support.guardian import miner_id
from support.polling import Rig

ZONE = ZoneId("hall-1")
WARM = {ZONE: Warm(chip_c=74.0, board_c=60.0)}


def entry(number: int = 1) -> DeviceEntry:
    return DeviceEntry(
        id=DeviceId(f"m-{number}"), kind=DeviceKind.MINER, adapter="vnish", host="h", port=80, zone=ZONE
    )


def sample(
    *,
    chip: Reading = MISSING,
    board: Reading = MISSING,
    state: MinerState | None = MinerState.MINING,
    failure: str | None = None,
) -> Sample:
    return Sample(
        device=DeviceId("m-1"),
        kind=DeviceKind.MINER,
        at_s=0.0,
        at_ms=0,
        boot="b",
        seq=1,
        state=state,
        readings={"chip_temp_max_c": chip, "board_temp_max_c": board},
        failure=failure,
    )


def test_the_limits_are_the_site_files_own(site: SiteFile) -> None:
    limits = site.zones[0].limits
    assert warm_of(site) == {
        site.zones[0].id: Warm(chip_c=limits.chip_temp_c.release, board_c=limits.board_temp_c.release)
    }


@pytest.mark.parametrize(
    ("seen", "faster"),
    [
        (sample(chip=Reading(73.9), board=Reading(59.9)), False),
        (sample(chip=Reading(74.0)), True),
        (sample(chip=Reading(74.0, Quality.ESTIMATED)), True),
        (sample(board=Reading(60.0)), True),
        (sample(), False),
        (sample(chip=Reading(None, Quality.SENSOR_ERROR)), False),
        (sample(chip=Reading(90.0, Quality.STUCK)), False),
        (sample(state=None), False),
        *((sample(state=state), state.settling) for state in MinerState),
        (sample(chip=Reading(90.0), failure="timeout"), False),
    ],
)
def test_warm_or_in_transition(seen: Sample, faster: bool) -> None:
    assert Pace(WARM, 1).period_s(entry(), seen, 10.0) == (5.0 if faster else 10.0)


def test_a_zone_without_limits_hurries_nobody() -> None:
    assert Pace({}, 1).period_s(entry(), sample(chip=Reading(90.0)), 10.0) == 10.0


def test_a_hot_day_does_not_double_the_load() -> None:
    pace = Pace(WARM, 1000)
    hot = sample(chip=Reading(80.0))
    periods = [pace.period_s(entry(number), hot, 10.0) for number in range(1000)]
    assert periods.count(5.0) == 100
    assert len(pace.hurried) == 100
    assert pace.period_s(entry(0), sample(), 10.0) == 10.0
    assert pace.period_s(entry(999), hot, 10.0) == 5.0, "whose turn is over makes room"
    assert pace.period_s(entry(1), sample(failure="timeout"), 10.0) == 10.0
    assert len(pace.hurried) == 99


def test_on_a_small_site_a_few_may_always_hurry() -> None:
    pace = Pace(WARM, 10)
    periods = [pace.period_s(entry(number), sample(chip=Reading(80.0)), 10.0) for number in range(10)]
    assert periods.count(5.0) == AT_LEAST


class TestPoller:
    async def test_a_warm_miner_is_read_twice_as_often_until_it_is_cool(self, site: SiteFile) -> None:
        rig = Rig(site)
        warm, cool = rig.fakes[miner_id(1)], rig.fakes[miner_id(2)]
        warm.chip_c = 75.0
        await rig.poll(60.0, warm=warm_of(site))
        assert 50 <= warm.reads <= 62
        assert 25 <= cool.reads <= 31
        warm.chip_c, before = 65.0, warm.reads
        await rig.poll(60.0, warm=warm_of(site))
        assert 25 <= warm.reads - before <= 32

    async def test_a_miner_that_starts_is_read_twice_as_often(self, site: SiteFile) -> None:
        rig = Rig(site)
        rig.fakes[miner_id(1)].state = MinerState.STARTING
        await rig.poll(60.0)
        assert 50 <= rig.fakes[miner_id(1)].reads <= 62

    async def test_its_own_cadence_counts_in_both(self, site: SiteFile) -> None:
        rig = Rig(site)
        rig.links[miner_id(1)].entry = msgspec.structs.replace(site.miners[0], poll_s=8.0)
        rig.fakes[miner_id(1)].state = MinerState.STARTING
        await rig.poll(60.0)
        assert 12 <= rig.fakes[miner_id(1)].reads <= 16
