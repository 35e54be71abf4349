"""Bringing miners back: who is allowed, what counts as started, who is given up, and the words of it."""

import msgspec
import pytest

from edge_agent.guardian.interlocks import findings, restart
from edge_agent.guardian.interlocks.inputs import Demand, DemandKind, Finding, MinerInput, ZoneInput
from edge_agent.guardian.interlocks.miners import CALM
from edge_agent.guardian.interlocks.state import SafeWhy, Trip, ZoneState
from edge_agent.ipc import Mode
from shared.commands import Priority
from shared.telemetry import MinerState
from support.guardian import ZONE, ZoneBench, miner_id

M1, M2, M3 = (miner_id(n) for n in (1, 2, 3))
STOPPED = msgspec.structs.replace(CALM, stopped=True)
TRIP = Trip(id="t", interlock="cooling-lost", at_ms=1, first_out="cooling lost")


def waiting(*, starts: int = 1, **fields: object) -> ZoneState:
    """Three miners wait; the starts of the first two are under way."""
    track = msgspec.structs.replace(STOPPED, starts=starts)
    state = ZoneState(
        mode=Mode.SAFE,
        safe_why=SafeWhy.RESET,
        miners={M1: track, M2: track, M3: STOPPED},
        pending=(M1, M2, M3),
        starting=(M1, M2),
    )
    return msgspec.structs.replace(state, **fields)


def miner(number: int, state: MinerState | None = MinerState.MINING, age_s: float = 0.5) -> MinerInput:
    return MinerInput(device=miner_id(number), age_s=age_s, state=state)


def step(zone: ZoneBench, state: ZoneState, *miners: MinerInput) -> tuple[ZoneState, list[Finding]]:
    return restart.step(state, ZoneInput(miners=miners, cooling_value=80.0), ZONE, zone.site.timing)


class TestAllowed:
    @pytest.mark.parametrize(
        ("mode", "why", "trips", "allowed"),
        [
            (Mode.LOCAL_AUTO, SafeWhy.START, (), True),
            (Mode.SAFE, SafeWhy.RESET, (), True),
            (Mode.SAFE, SafeWhy.STOP, (), False),
            (Mode.LOCAL_AUTO, SafeWhy.STOP, (), True),
            (Mode.MANUAL, SafeWhy.START, (), False),
            (Mode.TRIPPED, SafeWhy.START, (), False),
            (Mode.SAFE, SafeWhy.RESET, (TRIP,), False),
            (Mode.SAFE, SafeWhy.RESET, (msgspec.structs.replace(TRIP, device=M1),), True),
        ],
    )
    def test_neither_trip_nor_person_may_stand_against_it(
        self, mode: Mode, why: SafeWhy, trips: tuple[Trip, ...], allowed: bool
    ) -> None:
        assert restart.allowed(ZoneState(mode=mode, safe_why=why, trips=trips)) is allowed

    def test_where_it_is_not_no_start_counts_as_under_way(self, zone: ZoneBench) -> None:
        after, found = step(zone, waiting(mode=Mode.MANUAL), miner(1))
        assert (after.starting, after.pending, found) == ((), (M1, M2, M3), [])


class TestBatch:
    def test_is_told_once_all_of_it_runs_and_the_next_begins_at_nothing(self, zone: ZoneBench) -> None:
        after, found = step(zone, waiting(), miner(1))
        assert (after.batch, after.batches, after.starting, found) == (1, 0, (M2,), [])
        after, found = step(zone, after, miner(1), miner(2))
        assert found == [findings.batch_confirmed(ZONE, 2, 1)]
        assert (after.batch, after.batches, after.starting, after.pending) == (0, 1, (), (M3,))

    @pytest.mark.parametrize(
        ("seen", "runs"),
        [
            (miner(1), True),
            (miner(1, age_s=6.0), True),
            (miner(1, age_s=6.1), False),
            (miner(1, None), False),
            (miner(1, MinerState.STOPPED), False),
            (miner(1, MinerState.SHUTTING_DOWN), False),
            (miner(1, MinerState.UNKNOWN), False),
        ],
    )
    def test_a_start_is_confirmed_by_a_fresh_sample_that_draws_power(
        self, zone: ZoneBench, seen: MinerInput, runs: bool
    ) -> None:
        after, _ = step(zone, waiting(), seen)
        assert (M1 not in after.pending) is runs


class TestGivenUp:
    def test_after_three_attempts_it_has_the_time_of_the_third(self, zone: ZoneBench) -> None:
        after, found = step(zone, waiting(starts=3))
        assert (after.pending, found) == ((M1, M2, M3), [])

    def test_one_more_and_it_is_left_stopped_and_told(self, zone: ZoneBench) -> None:
        after, found = step(zone, waiting(starts=4))
        assert after.pending == (M3,)
        assert found == [findings.will_not_start(ZONE, M1, 3), findings.will_not_start(ZONE, M2, 3)]


class TestDemands:
    def test_a_start_says_why_and_yields_to_every_limit(self, zone: ZoneBench) -> None:
        zone.auto().stopped(1, 2).step()
        state = msgspec.structs.replace(zone.state, pending=(M1,))
        found = restart.demands(state, ZoneInput(miners=(), cooling_value=80.0), zone.zone)
        assert found == [
            Demand(
                kind=DemandKind.START,
                device=M1,
                priority=Priority.SAFE,
                why="restart after a stop by the guardian",
            )
        ]
