"""The feedback of cooling: several vote, and one that stands still against its set-point is no feedback."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from support import zones
from support.guardian import ZONE, ZoneBench, make_site


def walls(count: int) -> zones.Edit:
    """Further walls whose speed proves cooling too."""
    devices = "".join(
        f'\n[[devices]]\nid = "wall-{n}"\nkind = "drive"\nadapter = "modbus"\nprofile = "danfoss-fc102"\n'
        f'host = "127.0.0.1"\nport = {15400 + n}\nzone = "hall-1"\n'
        for n in range(2, count + 1)
    )
    named = ", ".join(f'{{ device = "wall-{n}", point = "speed_pct" }}' for n in range(2, count + 1))
    return zones.edits(
        zones.replaced("lost_below = 20.0\n", f"lost_below = 20.0\nothers = [{named}]\n"),
        lambda text: text + devices,
    )


@pytest.fixture
def three(tmp_path: Path) -> ZoneBench:
    zone = ZoneBench(make_site(tmp_path, edit=walls(3)))
    zone.cooling_others = (80.0, 80.0)
    return zone.auto()


@pytest.fixture
def two(tmp_path: Path) -> ZoneBench:
    zone = ZoneBench(make_site(tmp_path, edit=walls(2)))
    zone.cooling_others = (80.0,)
    return zone.auto()


class TestVotes:
    def test_one_dead_wall_of_three_is_not_lost_cooling(self, three: ZoneBench) -> None:
        assert three.cool(0.0).run(60).mode is Mode.LOCAL_AUTO

    def test_two_of_three_are(self, three: ZoneBench) -> None:
        three.cooling_others = (0.0, 80.0)
        assert three.cool(5.0).run(4).mode is Mode.TRIPPED
        assert three.state.trips[0].first_out == ("cooling lost: wall-1 speed_pct is 5, must be above 20")

    def test_of_two_the_worse_counts(self, two: ZoneBench) -> None:
        two.cooling_others = (5.0,)
        assert two.run(4).mode is Mode.TRIPPED

    def test_one_left_inhibits_and_alarms(self, three: ZoneBench) -> None:
        three.cooling_others = (None, None)
        three.run(31)
        assert three.mode is Mode.LOCAL_AUTO
        assert set(three.inhibited.values()) == {"only one feedback of cooling is left"}
        [alarm] = three.kinds(EventKind.ALARM)
        assert (alarm.key, alarm.severity) == (f"cooling-feedback/{ZONE}", Severity.HIGH)
        assert "1 of 3 feedbacks of cooling are good" in alarm.title

    def test_none_left_is_lost(self, three: ZoneBench) -> None:
        three.cooling_others = (None, None)
        three.cool(None).run(4)
        assert three.mode is Mode.TRIPPED
        assert "is unknown" in three.state.trips[0].first_out

    def test_inputs_that_name_no_others_leave_them_unknown(self, three: ZoneBench) -> None:
        three.cooling_others = ()
        assert set(three.step().inhibited.values()) == {"only one feedback of cooling is left"}

    def test_a_single_feedback_that_falls_silent_is_lost_cooling_and_no_second_alarm(
        self, zone: ZoneBench
    ) -> None:
        zone.auto().stopped().step().cool(None).run(60)
        assert not zone.kinds(EventKind.ALARM)


class TestStandsStill:
    def still(self, zone: ZoneBench, *, told: float = 60.0) -> ZoneBench:
        zone.cooling_points = (80.0,)
        zone.auto()
        zone.cooling_points = (told,)
        return zone

    def test_against_its_set_point_it_is_unknown_and_cooling_is_lost(self, zone: ZoneBench) -> None:
        self.still(zone).run(19.5)
        assert zone.state.cooling.proven
        zone.run(0.5)
        assert not zone.state.cooling.proven
        [alarm] = zone.kinds(EventKind.ALARM)
        assert alarm.title == (
            "wall-1: speed_pct has not moved although its set-point was moved; it does not count any more"
        )
        assert zone.run(4).mode is Mode.TRIPPED
        assert zone.state.trips[0].first_out == (
            "cooling lost: wall-1 speed_pct is unknown (a feedback stands still although its set-point was "
            "moved), must be above 20"
        )

    def test_a_fan_that_follows_is_good(self, zone: ZoneBench) -> None:
        self.still(zone).run(5).cool(60.0).run(600)
        assert zone.mode is Mode.LOCAL_AUTO

    def test_a_small_change_needs_no_answer(self, zone: ZoneBench) -> None:
        assert self.still(zone, told=70.0).run(600).mode is Mode.LOCAL_AUTO

    def test_a_change_is_small_against_what_the_set_point_can_do(self, tmp_path: Path) -> None:
        """From 50 to 100 %, a tenth is 5 %."""
        zone = ZoneBench(make_site(tmp_path, edit=zones.replaced("low = 0.0\n", "low = 50.0\n")))
        assert self.still(zone, told=74.0).run(30).state.proof.stuck == (True,)

    def test_so_may_be_a_feedback_of_many_parts(self, zone: ZoneBench) -> None:
        proof = msgspec.structs.replace(zone.zone.cooling_proof, point="fan_rpm.2.left")
        zone.zone = msgspec.structs.replace(zone.zone, cooling_proof=proof)
        assert self.still(zone).run(30).state.proof.stuck == (True,)

    def test_it_counts_again_once_it_moves(self, zone: ZoneBench) -> None:
        self.still(zone).stopped().run(30).cool(61.0).step()
        assert zone.titles(EventKind.ALARM_CLEARED) == ["wall-1: speed_pct moves again and counts again"]

    def test_the_trip_can_be_reset_once_the_fan_answers(self, zone: ZoneBench) -> None:
        self.still(zone).run(30)
        assert zone.state.trips[0].cause_present
        zone.cool(100.0).step()
        assert not zone.state.trips[0].cause_present

    def test_a_set_point_of_another_device_says_nothing(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=walls(2)))
        zone.cooling_others = (80.0,)
        self.still(zone).run(30)
        assert zone.state.proof.stuck == (True, False)

    @pytest.mark.parametrize(
        ("point", "moves"), [("running", False), ("speed_pct", True), ("frequency_hz", True)]
    )
    def test_a_flag_says_the_same_at_every_speed(self, tmp_path: Path, point: str, moves: bool) -> None:
        edit = zones.edits(
            zones.replaced('point = "speed_pct"', f'point = "{point}"'),
            zones.replaced("lost_below = 20.0\nproven_above = 40.0", "lost_below = 0.5\nproven_above = 1.0"),
        )
        zone = ZoneBench(make_site(tmp_path, edit=edit)).cool(1.0)
        self.still(zone).run(30)
        assert zone.state.proof.stuck == (moves,)

    def test_a_set_point_of_another_kind_says_nothing(self, tmp_path: Path) -> None:
        edit = zones.edits(
            zones.replaced('point = "speed_setpoint_pct"', 'point = "setpoint_c"'),
        )
        zone = ZoneBench(make_site(tmp_path, edit=edit))
        assert self.still(zone).run(60).mode is Mode.LOCAL_AUTO

    def test_an_actuator_point_that_nobody_knows_is_no_feedbacks_business(self, tmp_path: Path) -> None:
        edit = zones.replaced('point = "speed_setpoint_pct"', 'point = "moon_phase"')
        zone = ZoneBench(make_site(tmp_path, edit=edit))
        assert self.still(zone).run(30).state.proof.stuck == (True,)
