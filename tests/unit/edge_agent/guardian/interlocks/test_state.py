"""A zone's state: why it is in SAFE in words, how a latch is told, and what of it survives a restart."""

import msgspec
import pytest

from edge_agent.guardian.interlocks.cooling import Cooling
from edge_agent.guardian.interlocks.miners import CALM
from edge_agent.guardian.interlocks.state import Durable, SafeWhy, Trip, ZoneState, durable, restored
from edge_agent.ipc import Mode, TripInfo
from support.guardian import ZONE, miner_id

HALL_TRIP = Trip(id="t-1", interlock="cooling-lost", at_ms=17, first_out="cooling lost", cause_present=False)
MINER_TRIP = msgspec.structs.replace(HALL_TRIP, id="t-2", interlock="chip-temp", device=miner_id(1))


class TestWords:
    @pytest.mark.parametrize(
        ("why", "words"),
        [
            (SafeWhy.START, "the guardian has started; goes on by itself once cooling is proven"),
            (SafeWhy.LEASE, "the agent is silent; goes on by itself once it is back and cooling is proven"),
            (SafeWhy.STOP, "stopped by a safe-stop; stands until a person hands it back"),
            (SafeWhy.RESET, "reset or handed back; goes on by itself once cooling is proven"),
        ],
    )
    def test_why_a_zone_is_in_safe_and_how_it_goes_on(self, why: SafeWhy, words: str) -> None:
        assert why.words == words


class TestTrip:
    def test_the_sockets_tell_all_of_it(self) -> None:
        assert HALL_TRIP.info(ZONE) == TripInfo(
            id="t-1",
            zone=ZONE,
            interlock="cooling-lost",
            at_ms=17,
            first_out="cooling lost",
            cause_present=False,
            device=None,
        )
        assert MINER_TRIP.info(ZONE).device == miner_id(1)


class TestDurable:
    KEPT = (
        *((mode, why) for mode in (Mode.MANUAL, Mode.TRIPPED) for why in SafeWhy),
        (Mode.SAFE, SafeWhy.STOP),
        (Mode.SAFE, SafeWhy.RESET),
    )
    """What people or trips decided; everything else starts anew."""

    @pytest.mark.parametrize("why", list(SafeWhy))
    @pytest.mark.parametrize("mode", list(Mode))
    def test_what_people_and_trips_decided_is_kept_and_nothing_else(self, mode: Mode, why: SafeWhy) -> None:
        kept = durable(ZoneState(mode=mode, safe_why=why))
        expected = (mode, why) if (mode, why) in self.KEPT else (Mode.SAFE, SafeWhy.START)
        assert (kept.mode, kept.safe_why) == expected

    def test_latches_and_who_is_to_come_back_are_kept_in_every_mode(self) -> None:
        for mode in Mode:
            state = ZoneState(mode=mode, trips=(MINER_TRIP,), pending=(miner_id(2),))
            kept = durable(state)
            assert (kept.trips, kept.pending) == ((MINER_TRIP,), (miner_id(2),))


class TestRestored:
    @pytest.mark.parametrize("mode", [Mode.SAFE, Mode.MANUAL, Mode.TRIPPED])
    @pytest.mark.parametrize("why", list(SafeWhy))
    def test_without_a_trip_it_is_the_mode_that_was_kept(self, mode: Mode, why: SafeWhy) -> None:
        state = restored(Durable(mode=mode, safe_why=why, pending=(miner_id(2),)))
        assert state == ZoneState(mode=mode, safe_why=why, pending=(miner_id(2),))

    def test_a_zones_trip_makes_it_tripped_whatever_was_kept(self) -> None:
        state = restored(Durable(mode=Mode.MANUAL, safe_why=SafeWhy.STOP, trips=(MINER_TRIP, HALL_TRIP)))
        assert (state.mode, state.safe_why) == (Mode.TRIPPED, SafeWhy.STOP)

    def test_a_miners_own_trip_does_not(self) -> None:
        assert restored(Durable(mode=Mode.MANUAL, trips=(MINER_TRIP,))).mode is Mode.MANUAL

    def test_a_cause_counts_as_present_until_it_is_seen_gone(self) -> None:
        state = restored(Durable(trips=(HALL_TRIP, MINER_TRIP)))
        present = [msgspec.structs.replace(trip, cause_present=True) for trip in (HALL_TRIP, MINER_TRIP)]
        assert list(state.trips) == present

    def test_nothing_else_outlives_a_restart(self) -> None:
        state = ZoneState(
            mode=Mode.SAFE,
            safe_why=SafeWhy.STOP,
            cooling=Cooling(good_for_s=60.0, proven=True),
            miners={miner_id(1): CALM},
            pending=(miner_id(1), miner_id(2)),
            starting=(miner_id(1),),
            batch=1,
            batches=2,
        )
        again = ZoneState(safe_why=SafeWhy.STOP, pending=(miner_id(1), miner_id(2)))
        assert restored(durable(state)) == again
