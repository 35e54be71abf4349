"""What persons and the site file may ask of a zone, and what they are told."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.interlocks import asks, findings
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from support.guardian import ZONE, ZoneBench, make_site


def granted(answer: Granted | Denied) -> Granted:
    assert isinstance(answer, Granted), answer
    return answer


def refused(answer: Granted | Denied) -> str:
    assert isinstance(answer, Denied), answer
    return answer.why


class TestAnOlderSiteFileRuns:
    def test_nobody_works_by_hand_on_it(self, zone: ZoneBench) -> None:
        zone.state = granted(
            asks.set_mode(zone.auto().state, ZONE, Mode.MANUAL, by="ada", reason="repair")
        ).state
        answer = granted(asks.distrust(zone.state, ZONE))
        assert (answer.state.mode, answer.state.safe_why) == (Mode.SAFE, SafeWhy.RESET)
        assert answer.found == (findings.mode(ZONE, Mode.MANUAL, Mode.SAFE, Cause.BAD_CONFIG),)
        leaderless = msgspec.structs.replace(zone.state, safe_why=SafeWhy.LEASE)
        assert granted(asks.distrust(leaderless, ZONE)).state.safe_why is SafeWhy.RESET

    def test_a_zone_that_works_by_itself_goes_on(self, zone: ZoneBench) -> None:
        assert refused(asks.distrust(zone.auto().state, ZONE)) == "zone hall-1 is local-auto anyway"


class TestHeatOfTheZone:
    def tripped(self, tmp_path: Path) -> ZoneBench:
        zone = ZoneBench(make_site(tmp_path, 12)).auto()
        zone.hot(1, 90).hot(2, 90).hot(3, 90).run(2)
        assert [trip.interlock for trip in zone.state.zone_trips] == ["several-hot"]
        return zone

    def cleared(self, zone: ZoneBench, trip: str) -> ZoneBench:
        zone.state = granted(asks.reset(zone.state, ZONE, by="ada", reason="swept", trip=trip)).state
        return zone

    def test_its_latch_alone_is_reset_and_does_not_come_back_by_itself(self, tmp_path: Path) -> None:
        zone = self.tripped(tmp_path).stopped().run(30)
        [hot] = zone.state.zone_trips
        self.cleared(zone, hot.id).run(5)
        assert zone.mode is not Mode.TRIPPED
        assert zone.state.latched == {"m-1", "m-2", "m-3"}

    def test_a_miner_that_is_reset_leaves_the_others_counted(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, 40)).auto()
        zone.hot(1, 90).hot(2, 90).run(2)
        zone.stopped(1, 2).run(30)
        self.cleared(zone, zone.state.trips[0].id)
        assert [track.over_trip_s >= 0 for track in zone.state.miners.values()][:2] == [False, True]

    def test_a_burnt_miner_does_not_keep_the_zone_down_for_ever(self, tmp_path: Path) -> None:
        zone = self.tripped(tmp_path).stopped(*range(2, 13)).silent(1, age_s=7.0).run(30)
        assert zone.state.zone_trips[0].cause_present, "stale is not gone"
        zone.silent(1).run(30)
        assert not zone.state.zone_trips[0].cause_present
        own = next(trip for trip in zone.state.trips if trip.device == "m-1")
        assert own.cause_present, "what happened to it is not known: its own latch stays"
        assert refused(asks.reset(zone.state, ZONE, by="ada", reason="x", trip=own.id))

    def test_nor_in_safe_mode(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, 12)).auto().hot(1, 84).run(6)
        zone.silent(1).run(30)
        zone.lease_overdue_s = 1e9
        assert zone.run(2).mode is Mode.SAFE
        zone.lease_overdue_s = 0.0
        assert zone.run(30).mode is Mode.LOCAL_AUTO


class TestTheTableIsTheLastWord:
    @pytest.mark.parametrize("fans", [100.0, 0.0])
    def test_a_transition_that_it_does_not_list_does_not_happen(
        self, zone: ZoneBench, monkeypatch: pytest.MonkeyPatch, fans: float
    ) -> None:
        zone.auto()
        told = len(zone.kinds(EventKind.MODE))
        monkeypatch.setattr(zone_step, "next_mode", lambda mode, cause: None)
        zone.cool(fans).run(30)
        assert zone.mode is Mode.LOCAL_AUTO
        assert len(zone.kinds(EventKind.MODE)) == told
