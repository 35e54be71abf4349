"""Which trips fire, with every word of theirs, and whether their causes are still there."""

import msgspec
import pytest

from edge_agent.guardian.interlocks import trips
from edge_agent.guardian.interlocks.inputs import FeederClaim, MinerInput, ZoneInput
from edge_agent.guardian.interlocks.levels import Level, Standing
from edge_agent.guardian.interlocks.miners import CALM
from edge_agent.guardian.interlocks.stale import Sight, Watch
from edge_agent.guardian.interlocks.state import (
    BOARD,
    CHIP,
    NEW_MINER,
    ZONE_BLIND,
    ZONE_HOT,
    MinerTrack,
    Trip,
    ZoneState,
)
from shared.ids import DeviceId
from shared.telemetry import MinerState
from support.guardian import ZONE, ZoneBench, miner_id

AT_MS = 1_780_000_000_123
M1 = miner_id(1)
TRIPPED = Standing(Level.TRIP)
OVER = "rack-1 20 A, trip limit 18 A"


def track(**fields: object) -> MinerTrack:
    return msgspec.structs.replace(CALM, **fields)


def told(**fields: object) -> MinerInput:
    well = MinerInput(device=M1, age_s=0.5, state=MinerState.MINING, chip_c=65.0, board_c=50.0)
    return msgspec.structs.replace(well, **fields)


def fired(zone: ZoneBench, state: ZoneState, *miners: MinerInput) -> tuple[Trip, ...]:
    inputs = ZoneInput(miners=miners, cooling_value=80.0, at_ms=AT_MS)
    return trips.fired(state, inputs, zone.zone, zone.site.timing)


def present(interlock: str, state: ZoneState, device: DeviceId | None = None) -> bool:
    trip = Trip(id="t", interlock=interlock, at_ms=1, first_out="x", device=device)
    [after] = trips.with_causes(msgspec.structs.replace(state, trips=(trip,)))
    return after.cause_present


class TestHotMiner:
    def test_at_its_very_limit_it_trips(self, zone: ZoneBench) -> None:
        state = ZoneState(miners={M1: track(chip=TRIPPED)})
        assert fired(zone, state, told(chip_c=88.0)) == (
            Trip(
                id=f"chip-temp-m-1-{AT_MS}",
                interlock=CHIP,
                at_ms=AT_MS,
                first_out="chip-temp 88 °C, trip limit 88 °C",
                device=M1,
            ),
        )

    def test_not_for_a_level_of_the_past(self, zone: ZoneBench) -> None:
        """The level stands until it is released; a new latch needs a value that is hot now."""
        state = ZoneState(miners={M1: track(chip=TRIPPED)})
        assert fired(zone, state, told(chip_c=87.9)) == ()
        assert fired(zone, state, told(chip_c=None)) == ()

    def test_not_a_second_time(self, zone: ZoneBench) -> None:
        state = ZoneState(miners={M1: track(chip=TRIPPED)})
        latched = msgspec.structs.replace(state, trips=fired(zone, state, told(chip_c=90.0)))
        assert fired(zone, latched, told(chip_c=90.0)) == ()


class TestCaps:
    def claimed(self, *claims: FeederClaim) -> ZoneState:
        return ZoneState(miners={M1: CALM, miner_id(2): CALM}, feeders=claims)

    def test_of_a_rack_latches_each_miner_there(self, zone: ZoneBench) -> None:
        rack = FeederClaim(cap="rack-1", miners=frozenset({M1}), trip=OVER, cause=True)
        assert fired(zone, self.claimed(rack)) == (
            Trip(
                id=f"cap-rack-1-m-1-{AT_MS}", interlock="cap/rack-1", at_ms=AT_MS, first_out=OVER, device=M1
            ),
        )

    def test_of_a_zone_latches_the_zone_once_however_often_it_claims(self, zone: ZoneBench) -> None:
        hall = FeederClaim(cap="hall", trip=OVER, cause=True)
        assert fired(zone, self.claimed(hall, hall)) == (
            Trip(id=f"cap-hall-{ZONE}-{AT_MS}", interlock="cap/hall", at_ms=AT_MS, first_out=OVER),
        )


class TestSeveral:
    @pytest.mark.parametrize(
        ("hot", "of", "trips_zone"),
        [
            (1, 4, False),
            (2, 4, True),
            (2, 19, True),
            (2, 20, False),
            (3, 20, True),
            (3, 1000, True),
        ],
    )
    def test_three_trip_the_zone_and_two_where_they_are_more_than_a_tenth(
        self, zone: ZoneBench, hot: int, of: int, trips_zone: bool
    ) -> None:
        state = ZoneState(
            miners={miner_id(n): track(over_trip_s=0.0) if n <= hot else CALM for n in range(1, of + 1)}
        )
        words = [trip.first_out for trip in fired(zone, state) if trip.interlock == ZONE_HOT]
        assert words == ([f"{hot} of {of} miners were above their trip limit"] if trips_zone else [])


class TestCauses:
    LOST = Watch(Sight.LOST)

    def test_a_trip_about_which_nothing_changed_is_the_same_one(self) -> None:
        trip = Trip(id="t", interlock="contact/gone", at_ms=1, first_out="x", cause_present=False)
        [after] = trips.with_causes(ZoneState(trips=(trip,)))
        assert after is trip

    @pytest.mark.parametrize(
        ("tracks", "still"),
        [
            ({M1: NEW_MINER}, True),
            ({M1: track(watch=LOST)}, True),
            ({M1: track(watch=LOST), miner_id(2): CALM}, False),
            ({M1: CALM}, False),
        ],
    )
    def test_a_blind_zone_is_blind_until_a_miner_that_runs_is_seen(
        self, tracks: dict[DeviceId, MinerTrack], still: bool
    ) -> None:
        assert present(ZONE_BLIND, ZoneState(miners=tracks)) is still

    @pytest.mark.parametrize(
        ("interlock", "seen", "still"),
        [
            (CHIP, track(chip=TRIPPED), True),
            (CHIP, track(board=TRIPPED), False),
            (BOARD, track(board=TRIPPED), True),
            (BOARD, track(chip=TRIPPED), False),
            (CHIP, CALM, False),
            (CHIP, track(watch=LOST), True),
            (CHIP, track(heard=False), True),
        ],
    )
    def test_a_miner_is_hot_until_its_own_value_is_released_and_seen(
        self, interlock: str, seen: MinerTrack, still: bool
    ) -> None:
        assert present(interlock, ZoneState(miners={M1: seen}), M1) is still
