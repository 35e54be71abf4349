"""Contacts told as short scenes: emergency stop, smoke, leak, door; active, unknown, at rest again."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.inputs import DemandKind
from edge_agent.guardian.interlocks.state import durable, restored
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from shared.commands import Priority, SetPoint
from support import zones
from support.guardian import WALL, ZONE, ZoneBench, make_site


@pytest.fixture
def hall(tmp_path: Path) -> ZoneBench:
    return ZoneBench(make_site(tmp_path, edit=zones.CONTACTED)).auto()


def reset(zone: ZoneBench) -> Granted | Denied:
    answer = asks.reset(zone.state, ZONE, by="ada", reason="seen")
    if isinstance(answer, Granted):
        zone.state = answer.state
    return answer


class TestTrip:
    def test_at_once_where_it_has_no_delay(self, hall: ZoneBench) -> None:
        hall.contact("estop", True).step()
        assert (hall.mode, len(hall.stopping)) == (Mode.TRIPPED, 4)
        [trip] = hall.state.trips
        assert (trip.interlock, trip.id) == ("contact/estop", f"contact-estop-{ZONE}-{trip.at_ms}")
        assert trip.first_out == "estop is active (contacts-1 estop_pressed)"
        assert hall.status.levels == {"contact/estop": "active"}

    def test_also_without_load(self, hall: ZoneBench) -> None:
        assert hall.stopped().step().contact("estop", True).step().mode is Mode.TRIPPED

    def test_is_told_with_advice(self, hall: ZoneBench) -> None:
        hall.contact("estop", True).step()
        [trip] = hall.kinds(EventKind.TRIPPED)
        assert trip.severity is Severity.URGENT
        assert trip.advice.startswith("Go there and look")
        assert hall.titles(EventKind.ALARM) == ["Zone hall-1: estop is active; the zone is being stopped"]

    def test_is_reset_once_the_contact_is_at_rest(self, hall: ZoneBench) -> None:
        hall.contact("estop", True).step().stopped().step()
        assert isinstance(reset(hall), Denied)
        hall.contact("estop", None).run(60)
        assert isinstance(reset(hall), Denied), "not known is not at rest"
        hall.contact("estop", False).step()
        assert isinstance(reset(hall), Granted)

    def test_survives_a_restart_and_its_cause_with_it(self, hall: ZoneBench) -> None:
        hall.contact("estop", True).step()
        again = ZoneBench(hall.site, restored(durable(hall.state)))
        again.contact("estop", None).step()
        assert again.state.trips[0].cause_present
        again.contact("estop", False).step()
        assert not again.state.trips[0].cause_present

    def test_of_a_contact_that_left_the_file_can_be_reset(self, hall: ZoneBench, tmp_path: Path) -> None:
        hall.contact("estop", True).step()
        other = ZoneBench(make_site(tmp_path), restored(durable(hall.state))).step()
        assert not other.state.trips[0].cause_present


class TestFans:
    def fans(self, hall: ZoneBench) -> list[float]:
        found = [d.action for d in hall.demands if d.kind is DemandKind.COOLING]
        return [action.value for action in found if isinstance(action, SetPoint)]

    def test_leave_writes_nothing(self, hall: ZoneBench) -> None:
        assert not self.fans(hall.contact("estop", True).run(5))

    def test_smoke_stands_them_still_after_the_load_was_told_to_stop(self, hall: ZoneBench) -> None:
        hall.contact("smoke", True).step()
        assert len(hall.stopping) == 4
        assert not self.fans(hall), "first the stops go out"
        hall.step()
        kinds = [d.kind for d in hall.demands]
        assert kinds == [DemandKind.STOP] * 4 + [DemandKind.COOLING]
        [off] = [d for d in hall.demands if d.kind is DemandKind.COOLING]
        assert off.action == SetPoint(device=WALL, point="speed_setpoint_pct", value=0.0)
        assert (off.priority, off.device) == (Priority.TRIP, WALL)
        hall.at_off = True
        assert not self.fans(hall.step()), "what reads off is not written again"

    def test_fire_outranks_heat_and_heat_outranks_leave(self, hall: ZoneBench) -> None:
        hall.contact("estop", True).probe("inlet_air_c", 1, 50.0).run(5)
        assert self.fans(hall) == [100.0]
        assert self.fans(hall.contact("smoke", True).step()) == [0.0]

    def test_at_fail_safe_is_not_off(self, hall: ZoneBench) -> None:
        hall.at_fail_safe = True
        assert self.fans(hall.contact("smoke", True).run(2)) == [0.0]
        hall.at_off, hall.at_fail_safe = True, False
        assert self.fans(hall.contact("smoke", False).contact("estop", True).step()) == []

    def test_after_the_reset_they_run_before_anything_starts(self, hall: ZoneBench) -> None:
        hall.contact("smoke", True).run(2).stopped().cool(0).run(2)
        hall.contact("smoke", False).step()
        assert isinstance(reset(hall), Granted)
        assert self.fans(hall.step()) == [100.0]
        assert not hall.wanted(DemandKind.START)


class TestInhibit:
    def test_a_door_holds_raises_until_it_is_shut(self, hall: ZoneBench) -> None:
        hall.contact("door", True).step()
        assert set(hall.inhibited.values()) == {"contact door is active"}
        assert set(hall.inhibited) == {"m-1", "m-2", "m-3", "m-4", WALL}
        [alarm] = hall.kinds(EventKind.ALARM)
        assert alarm.severity is Severity.LOW, "a door wakes nobody"
        hall.contact("door", False).step()
        assert not hall.inhibited
        assert hall.titles(EventKind.ALARM_CLEARED) == ["Zone hall-1: door is at rest again"]
        assert hall.mode is Mode.LOCAL_AUTO

    def test_nothing_restarts_meanwhile(self, hall: ZoneBench) -> None:
        hall.contact("estop", True).step().stopped().contact("estop", False).step()
        assert isinstance(reset(hall), Granted)
        hall.contact("door", True).run(15)
        assert not hall.wanted(DemandKind.START)
        hall.contact("door", False).step()
        assert len(hall.wanted(DemandKind.START)) == 4


class TestAlarm:
    def test_a_leak_counts_after_its_delay_and_stops_nothing(self, hall: ZoneBench) -> None:
        hall.contact("leak", True).run(2.5)
        assert not hall.kinds(EventKind.ALARM)
        hall.run(0.5)
        [alarm] = hall.kinds(EventKind.ALARM)
        assert (alarm.severity, alarm.key) == (Severity.HIGH, f"contact/{ZONE}/leak")
        assert alarm.title == "Zone hall-1: leak is active"
        assert "contacts-1, water_leak" in alarm.advice
        assert not hall.inhibited
        assert not hall.demands

    @pytest.mark.parametrize("point", ["door_open", "door_open.2"])
    def test_a_door_wakes_nobody_whichever_of_several_it_is(self, tmp_path: Path, point: str) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=zones.CONTACTED))
        contacts = (
            msgspec.structs.replace(contact, point=point) if contact.name == "door" else contact
            for contact in zone.zone.contacts
        )
        zone.zone = msgspec.structs.replace(zone.zone, contacts=tuple(contacts))
        zone.auto().contact("door", True).step()
        [alarm] = zone.kinds(EventKind.ALARM)
        assert (alarm.severity, alarm.key) == (Severity.LOW, f"contact/{ZONE}/door")

    def test_a_splash_is_nothing(self, hall: ZoneBench) -> None:
        hall.contact("leak", True).run(2.5).contact("leak", False).step().contact("leak", True).run(2.5)
        assert not hall.kinds(EventKind.ALARM)


class TestUnknown:
    def test_trips_where_the_file_says_so_after_a_while(self, hall: ZoneBench) -> None:
        hall.contact("estop", None).run(5.5)
        assert hall.mode is Mode.LOCAL_AUTO
        assert set(hall.inhibited.values()) == {"contact estop is not known"}
        assert hall.status.levels == {"contact/estop": "unknown"}
        hall.run(0.5)
        assert hall.mode is Mode.TRIPPED
        assert hall.state.trips[0].first_out == (
            "it is not known any more whether estop is active (contacts-1 estop_pressed)"
        )
        assert "it counts as active" in hall.titles(EventKind.ALARM)[0]

    def test_inhibits_where_the_file_says_so(self, hall: ZoneBench) -> None:
        hall.contact("smoke", None).run(600)
        assert hall.mode is Mode.LOCAL_AUTO
        assert set(hall.inhibited.values()) == {"contact smoke is not known"}
        hall.contact("smoke", False).step()
        assert not hall.inhibited
        assert hall.titles(EventKind.ALARM_CLEARED) == ["Zone hall-1: smoke is known again"]

    def test_only_alarms_where_the_file_says_so(self, hall: ZoneBench) -> None:
        hall.contact("leak", None).run(6)
        assert not hall.inhibited
        [alarm] = hall.kinds(EventKind.ALARM)
        assert alarm.title == "Zone hall-1: it is not known whether leak is active"
        assert alarm.severity is Severity.HIGH
        assert alarm.key == f"contact-unknown/{ZONE}/leak"

    def test_what_was_active_stays_active(self, hall: ZoneBench) -> None:
        hall.contact("door", True).step().contact("door", None).step()
        assert set(hall.inhibited.values()) == {"contact door is active"}

    def test_what_was_on_its_way_goes_on_where_it_was(self, hall: ZoneBench) -> None:
        hall.contact("leak", True).run(2).contact("leak", None).run(1).contact("leak", True).run(1)
        assert hall.titles(EventKind.ALARM) == ["Zone hall-1: leak is active"]

    def test_never_heard_is_safe_and_no_trip(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=zones.CONTACTED))
        zone.contact("estop", None).run(120)
        assert (zone.mode, zone.state.trips) == (Mode.SAFE, ())
        assert zone.kinds(EventKind.ALARM)
        assert zone.contact("estop", False).step().mode is Mode.LOCAL_AUTO

    def test_a_harmless_contact_does_not_hold_safe(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=zones.CONTACTED))
        assert zone.contact("leak", None).contact("door", None).run(11).mode is Mode.LOCAL_AUTO

    def test_a_contact_that_the_input_leaves_out_is_unknown(self, hall: ZoneBench) -> None:
        del hall.contacts["smoke"]
        assert hall.step().status.levels == {"contact/smoke": "unknown"}
