"""What persons and the site file may ask of a zone, and what they are told."""

import pytest

from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from support.guardian import ZONE, ZoneBench


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
        [told] = answer.found
        assert (told.kind, told.zone) == (EventKind.MODE, ZONE)
        assert told.data["cause"] == Cause.BAD_CONFIG

    def test_a_zone_that_works_by_itself_goes_on(self, zone: ZoneBench) -> None:
        assert refused(asks.distrust(zone.auto().state, ZONE)) == "zone hall-1 is local-auto anyway"


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
