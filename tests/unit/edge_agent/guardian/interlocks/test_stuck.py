"""Probes that stand still while siblings move; feedbacks that stand still while set-points move."""

import pytest

from edge_agent.config import SensorRole
from edge_agent.guardian.interlocks import stuck
from edge_agent.guardian.interlocks.stuck import Feedback, Setpoint, Still

AIR = SensorRole.INLET_AIR


def watched(role: SensorRole, *pieces: tuple[list[float | None], float]) -> tuple[Still, ...]:
    stills: tuple[Still, ...] = ()
    for values, seconds in pieces:
        stills = stuck.watch(stills, values, role, 0.0)
        stills = stuck.watch(stills, values, role, seconds)
    return stills


def flags(stills: tuple[Still, ...]) -> list[bool]:
    return [still.stuck for still in stills]


class TestSiblings:
    def test_nobody_moves_nobody_is_stuck(self) -> None:
        assert flags(watched(AIR, ([24.0, 24.1], 1e6))) == [False, False]

    @pytest.mark.parametrize(("seconds", "is_stuck"), [(599.0, False), (600.0, True)])
    def test_still_for_ten_minutes_while_another_moves(self, seconds: float, is_stuck: bool) -> None:
        assert flags(watched(AIR, ([24.0, 24.0], 0), ([24.0, 25.0], seconds))) == [is_stuck, False]

    @pytest.mark.parametrize(
        ("role", "before", "after", "is_stuck"),
        [
            (AIR, 24.0, 24.9, False),
            (AIR, 24.0, 25.0, True),
            (AIR, 24.0, 23.0, True),
            (SensorRole.WATER, 30.0, 30.9, False),
            (SensorRole.WATER, 30.0, 31.0, True),
            (SensorRole.DEW, 8.0, 9.0, True),
            (SensorRole.FLOW, 20.0, 20.9, False),
            (SensorRole.FLOW, 20.0, 21.0, True),
            (SensorRole.PRESSURE, 200_000.0, 190_000.0, True),
            (SensorRole.PRESSURE, 200_000.0, 190_001.0, False),
            (SensorRole.FLOW, 0.0, 0.0, False),
            (SensorRole.FLOW, 0.0, 0.09, False),
            (SensorRole.FLOW, 0.0, 0.1, True),
            (SensorRole.PRESSURE, 0.0, 0.0, False),
            (SensorRole.PRESSURE, 0.0, 999.0, False),
            (SensorRole.PRESSURE, 0.0, 1_000.0, True),
        ],
    )
    def test_how_far_is_clearly(self, role: SensorRole, before: float, after: float, is_stuck: bool) -> None:
        assert flags(watched(role, ([1.0, before], 0), ([1.0, after], 600)))[0] is is_stuck

    @pytest.mark.parametrize("role", SensorRole)
    def test_probes_that_all_read_nothing_contradict_nobody(self, role: SensorRole) -> None:
        """Pumps of an emptied hall stand by right: 0 and 0 is no move, also of a probe against itself."""
        assert flags(watched(role, ([0.0, 0.0, 0.0], 1e6))) == [False, False, False]
        assert flags(watched(role, ([0.0, None, None], 1e6))) == [False, False, False]

    def test_a_sibling_that_went_there_and_back_did_move(self) -> None:
        assert flags(watched(AIR, ([24.0, 24.0], 0), ([24.0, 26.0], 1), ([24.0, 24.0], 599))) == [True, False]

    def test_slow_creep_counts_from_where_it_began(self) -> None:
        pieces = [([24.0, 24.0 + n / 10], 60.0) for n in range(11)]
        assert flags(watched(AIR, *pieces))[0]

    def test_the_smallest_move_makes_it_good_again(self) -> None:
        assert flags(watched(AIR, ([24.0, 24.0], 0), ([24.0, 30.0], 600), ([24.1, 30.0], 1e6))) == [
            False,
            False,
        ]

    def test_silence_is_no_move(self) -> None:
        quiet = [([24.0, 24.0], 0.0), ([24.0, 26.0], 300.0), ([None, 26.0], 100.0)]
        assert flags(watched(AIR, *quiet, ([24.0, 26.0], 299.0)))[0] is False
        assert flags(watched(AIR, *quiet, ([24.0, 26.0], 300.0)))[0] is True

    def test_a_sibling_that_was_silent_counts_from_its_first_word(self) -> None:
        pieces = [([24.0, None], 300.0), ([24.0, 30.0], 300.0)]
        assert not flags(watched(AIR, *pieces))[0]
        assert flags(watched(AIR, *pieces, ([24.0, 31.0], 0.0)))[0]

    def test_alone_there_is_nothing_to_compare_with(self) -> None:
        assert flags(watched(AIR, ([24.0], 1e6))) == [False]


def followed(*pieces: tuple[float | None, list[float | None], float]) -> float:
    feedback = Feedback()
    for value, setpoints, seconds in pieces:
        feedback = stuck.follow(feedback, value, [Setpoint(s, 100.0) for s in setpoints], seconds)
    return feedback.apart_s


class TestFeedback:
    def test_apart_counts_while_the_set_point_is_elsewhere(self) -> None:
        assert followed((80.0, [80.0], 1), (80.0, [60.0], 5), (80.0, [60.0], 5)) == 10.0

    @pytest.mark.parametrize(("setpoint", "apart_s"), [(90.0, 0.0), (90.1, 5.0), (70.0, 0.0), (69.9, 5.0)])
    def test_a_tenth_of_the_span_is_no_move(self, setpoint: float, apart_s: float) -> None:
        assert followed((80.0, [80.0], 1), (80.0, [setpoint], 5)) == apart_s

    def test_any_move_of_the_feedback_is_an_answer(self) -> None:
        assert followed((80.0, [80.0], 1), (80.0, [60.0], 5), (79.9, [60.0], 50), (79.9, [60.0], 50)) == 0.0

    def test_a_set_point_that_comes_back_takes_it_back(self) -> None:
        assert followed((80.0, [80.0], 1), (80.0, [60.0], 5), (80.0, [80.0], 1)) == 0.0

    def test_unknown_set_points_say_nothing(self) -> None:
        assert followed((80.0, [None], 1), (80.0, [None], 99)) == 0.0
        assert followed((80.0, [80.0], 1), (80.0, [None], 99)) == 0.0

    def test_a_set_point_counts_from_when_it_is_first_known(self) -> None:
        assert followed((80.0, [None], 1), (80.0, [60.0], 9)) == 0.0
        assert followed((80.0, [None], 1), (80.0, [60.0], 9), (80.0, [30.0], 9)) == 9.0

    def test_a_torn_read_is_one_change(self) -> None:
        """The new speed was read before the old set-point: the next sample is no stuck fan."""
        torn = ((80.0, [80.0], 9.0), (100.0, [80.0], 0.25), (100.0, [100.0], 1.0))
        assert followed(*torn, (100.0, [100.0], 99.0)) == 0.0
        assert followed(*torn, (100.0, [None], 1.0), (100.0, [100.0], 99.0)) == 0.0

    def test_after_a_while_a_set_point_belongs_to_itself(self) -> None:
        settled = ((80.0, [80.0], 1.0), (80.0, [80.0], stuck.SAME_CHANGE_S - 0.25))
        assert followed(*settled, (80.0, [60.0], 0.25)) == 0.25
        assert followed(*settled, (80.0, [60.0], 0.2)) == 0.0

    def test_of_several_set_points_every_known_one_must_have_moved(self) -> None:
        """Two fans behind one address: the second alone was told more, the first turns as before."""
        assert followed((80.0, [80.0, 50.0], 1), (80.0, [80.0, 90.0], 7)) == 0.0
        assert followed((80.0, [80.0, 50.0], 1), (80.0, [60.0, 90.0], 7)) == 7.0
        assert followed((80.0, [80.0, None], 1), (80.0, [60.0, None], 7)) == 7.0

    def test_without_set_points_nothing_is_expected(self) -> None:
        assert followed((80.0, [], 1), (80.0, [], 1e6)) == 0.0

    def test_an_unknown_feedback_starts_anew(self) -> None:
        assert followed((80.0, [80.0], 1), (None, [60.0], 50), (80.0, [60.0], 1), (80.0, [60.0], 50)) == 0.0
