"""A local bypass (S16): two facts, a reason, an end; and what it never covers."""

import math
from pathlib import Path

import pytest

from edge_agent.guardian.interlocks import asks, bypass
from edge_agent.guardian.interlocks.asks import Answer, Denied, Granted
from edge_agent.guardian.interlocks.inputs import FeederClaim
from edge_agent.guardian.interlocks.state import durable, restored
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from support import zones
from support.guardian import WALL, ZONE, ZoneBench, make_site, miner_id

AIR = "inlet_air_c"


@pytest.fixture
def keyed(tmp_path: Path) -> ZoneBench:
    """A hall with contacts and a key switch."""
    return ZoneBench(make_site(tmp_path, edit=zones.edits(zones.CONTACTED, zones.KEY))).auto()


@pytest.fixture
def keyless(tmp_path: Path) -> ZoneBench:
    return ZoneBench(make_site(tmp_path, edit=zones.CONTACTED)).auto()


def put(zone: ZoneBench, answer: Answer) -> Answer:
    if isinstance(answer, Granted):
        zone.state = answer.state
        zone.findings += answer.found
    return answer


def ask(
    zone: ZoneBench,
    interlock: str = AIR,
    *,
    seconds: float = 900.0,
    by: str = "ada",
    reason: str = "probe swap",
) -> Answer:
    answer = asks.open_bypass(
        zone.state,
        zone.zone,
        zone.site.timing,
        interlock=interlock,
        seconds=seconds,
        by=by,
        reason=reason,
    )
    return put(zone, answer)


def confirm(zone: ZoneBench, interlock: str = AIR, *, by: str = "bob") -> Answer:
    return put(zone, asks.confirm_bypass(zone.state, zone.zone, interlock=interlock, by=by))


def close(zone: ZoneBench, interlock: str = AIR) -> Answer:
    return put(zone, asks.close_bypass(zone.state, ZONE, interlock=interlock, by="bob"))


def opened(zone: ZoneBench) -> ZoneBench:
    assert isinstance(ask(zone.key(True).step()), Granted)
    return zone.step()


class TestWithAKey:
    def test_a_turned_key_opens_it_at_once(self, keyed: ZoneBench) -> None:
        answer = ask(keyed.key(True).step())
        assert isinstance(answer, Granted)
        [told] = answer.found
        assert told.title == (
            "inlet_air_c of zone hall-1 is BYPASSED for 900 s (ada, confirmed by the key switch): "
            "probe swap; nothing is raised there meanwhile"
        )
        assert (told.kind, told.severity) == (EventKind.ALARM, Severity.HIGH)
        assert keyed.step().status.bypassed == {AIR: 900}

    def test_a_request_waits_five_minutes_for_the_key(self, keyed: ZoneBench) -> None:
        answer = ask(keyed)
        assert isinstance(answer, Granted)
        assert answer.found[0].title == (
            "ada asks to bypass inlet_air_c of zone hall-1 for 900 s: probe swap; waits for the key switch"
        )
        assert answer.found[0].kind is EventKind.ACTION
        assert not keyed.run(299).status.bypassed
        assert keyed.key(True).step().status.bypassed == {AIR: 900}
        assert "BYPASSED for 900 s" in keyed.titles(EventKind.ALARM)[-1]

    def test_and_no_longer(self, keyed: ZoneBench) -> None:
        ask(keyed)
        assert not keyed.run(300).key(True).run(5).status.bypassed
        assert keyed.titles(EventKind.ACTION)[-1] == (
            "The request of ada to bypass inlet_air_c of zone hall-1 ended: "
            "its second fact did not come in time"
        )

    @pytest.mark.parametrize(
        ("key", "words"), [(False, "the key was turned back"), (None, "the key is not known")]
    )
    def test_it_ends_with_the_key(self, keyed: ZoneBench, key: bool | None, words: str) -> None:
        assert not opened(keyed).key(key).step().status.bypassed
        assert keyed.titles(EventKind.ALARM_CLEARED) == [f"inlet_air_c of zone hall-1 acts again: {words}"]

    def test_another_persons_word_does_not_replace_the_key(self, keyed: ZoneBench) -> None:
        ask(keyed)
        assert confirm(keyed) == Denied("zone hall-1 has a key switch: turn it to open the bypass")

    def test_a_key_that_is_not_known_is_not_turned(self, keyed: ZoneBench) -> None:
        ask(keyed.key(None).step())
        assert not keyed.run(5).status.bypassed


class TestWithoutAKey:
    def test_another_person_confirms(self, keyless: ZoneBench) -> None:
        answer = ask(keyless)
        assert isinstance(answer, Granted)
        assert "waits for another person's confirmation" in answer.found[0].title
        assert not keyless.step().status.bypassed
        confirmed = confirm(keyless)
        assert isinstance(confirmed, Granted)
        assert "(ada, confirmed by bob)" in confirmed.found[0].title
        assert keyless.step().status.bypassed == {AIR: 900}
        assert keyless.run(60).status.bypassed == {AIR: 840}, "no key is asked for meanwhile"

    def test_nobody_confirms_his_own_request(self, keyless: ZoneBench) -> None:
        ask(keyless)
        assert confirm(keyless, by="ada") == Denied("ada asked for it; another person has to confirm it")

    def test_there_must_be_a_request(self, keyless: ZoneBench) -> None:
        assert isinstance(confirm(keyless), Denied)
        ask(keyless)
        assert isinstance(confirm(keyless, "contact/leak"), Denied)

    def test_a_request_lapses(self, keyless: ZoneBench) -> None:
        ask(keyless)
        keyless.run(300)
        assert isinstance(confirm(keyless), Denied)

    def test_what_tripped_meanwhile_is_reset_first(self, keyless: ZoneBench) -> None:
        ask(keyless)
        keyless.probe(AIR, 1, 50.0).run(5)
        assert confirm(keyless) == Denied("inlet_air_c of zone hall-1 tripped meanwhile: reset it first")

    def test_a_key_point_of_nowhere_opens_nothing(self, keyless: ZoneBench) -> None:
        ask(keyless)
        assert not keyless.key(True).run(5).status.bypassed


class TestWhileOpen:
    def test_it_neither_sheds_nor_trips_and_inhibits_the_zone(self, keyed: ZoneBench) -> None:
        opened(keyed).probe(AIR, 1, 50.0).run(60)
        assert keyed.mode is Mode.LOCAL_AUTO
        assert not keyed.demands
        assert keyed.inhibited == dict.fromkeys(
            [*(miner_id(n) for n in (1, 2, 3, 4)), WALL], "inlet_air_c is bypassed"
        )
        assert keyed.status.levels == {AIR: "trip"}, "it is still shown"

    def test_its_probe_may_be_missing(self, keyed: ZoneBench) -> None:
        assert opened(keyed).probe(AIR, 1, None).run(60).mode is Mode.LOCAL_AUTO

    def test_all_others_act(self, keyed: ZoneBench) -> None:
        assert opened(keyed).contact("estop", True).step().mode is Mode.TRIPPED

    def test_a_contact_neither_trips_nor_holds_safe(self, tmp_path: Path) -> None:
        leak = zones.contact("leak", "water_leak", "trip", on_unknown="trip", fans="on")
        zone = ZoneBench(make_site(tmp_path, edit=zones.edits(leak, zones.contacts_device)))
        zone.run(1)
        ask(zone, "contact/leak")
        confirm(zone, "contact/leak")
        zone.contact("leak", True).run(30)
        assert zone.mode is Mode.LOCAL_AUTO
        zone.run(900)
        assert zone.mode is Mode.TRIPPED

    def test_safe_does_not_wait_for_it(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=zones.CONTACTED)).step()
        ask(zone)
        confirm(zone)
        assert zone.probe(AIR, 1, None).run(30).mode is Mode.LOCAL_AUTO

    def test_people_are_told_every_ten_minutes(self, keyed: ZoneBench) -> None:
        ask(keyed.key(True).step(), seconds=3600.0)
        keyed.findings.clear()
        keyed.run(599.5)
        assert not keyed.kinds(EventKind.ALARM)
        keyed.run(0.5)
        [told] = keyed.titles(EventKind.ALARM)
        assert told == "inlet_air_c of zone hall-1 is still BYPASSED, for 3000 s more: probe swap"
        assert len(keyed.run(600).titles(EventKind.ALARM)) == 2

    def test_it_ends_by_itself_and_the_danger_acts_at_once(self, keyed: ZoneBench) -> None:
        opened(keyed).probe(AIR, 1, 50.0).run(899)
        assert keyed.mode is Mode.LOCAL_AUTO
        keyed.run(1)
        assert keyed.mode is Mode.TRIPPED
        assert keyed.titles(EventKind.ALARM_CLEARED) == [
            "inlet_air_c of zone hall-1 acts again: its time is over"
        ]

    def test_anyone_may_close_it(self, keyed: ZoneBench) -> None:
        opened(keyed)
        answer = close(keyed)
        assert isinstance(answer, Granted)
        assert answer.found[0].title == "inlet_air_c of zone hall-1 acts again: closed by bob"
        assert not keyed.step().status.bypassed
        assert close(keyed) == Denied("inlet_air_c of zone hall-1 is not bypassed")

    def test_or_take_the_request_back(self, keyed: ZoneBench) -> None:
        ask(keyed)
        ask(keyed, "contact/door")
        answer = close(keyed)
        assert isinstance(answer, Granted)
        assert answer.found[0].title.endswith("ended: closed by bob")
        assert keyed.key(True).step().status.bypassed == {"contact/door": 900}

    def test_closing_one_leaves_the_other(self, keyed: ZoneBench) -> None:
        opened(keyed)
        assert isinstance(ask(keyed, "contact/door"), Granted)
        close(keyed)
        assert keyed.step().status.bypassed == {"contact/door": 900}

    def test_a_restart_ends_it(self, keyed: ZoneBench) -> None:
        again = ZoneBench(keyed.site, restored(durable(opened(keyed).state)))
        assert not again.key(True).run(5).status.bypassed


class TestRefused:
    @pytest.mark.parametrize("reason", ["", "   "])
    def test_without_a_reason(self, keyed: ZoneBench, reason: str) -> None:
        assert isinstance(ask(keyed, reason=reason), Denied)

    @pytest.mark.parametrize("seconds", [0.0, -1.0, 3600.1, math.inf, math.nan])
    def test_too_long_or_impossible(self, keyed: ZoneBench, seconds: float) -> None:
        answer = ask(keyed, seconds=seconds)
        assert answer == Denied("a bypass lasts above 0 and at most 3600 s here (timing.bypass_max_s)")

    def test_as_long_as_the_site_allows(self, keyed: ZoneBench) -> None:
        assert isinstance(ask(keyed, seconds=3600.0), Granted)

    @pytest.mark.parametrize(
        "interlock",
        [
            "chip-temp",
            "board-temp",
            "cooling-lost",
            "several-hot",
            "all-sensors-bad",
            "latch-file",
            "cap/feed",
            "contact/estop",
            "contact/smoke",
            "water_c",
            "nonsense",
        ],
    )
    def test_what_protects_people_or_single_machines(self, keyed: ZoneBench, interlock: str) -> None:
        answer = ask(keyed, interlock)
        assert answer == Denied(
            f"'{interlock}' of zone hall-1 cannot be bypassed; "
            "what can: inlet_air_c, contact/leak, contact/door"
        )

    def test_while_it_is_tripped(self, keyed: ZoneBench) -> None:
        keyed.probe(AIR, 1, 50.0).run(5)
        assert ask(keyed) == Denied("inlet_air_c of zone hall-1 is tripped: reset it first")

    def test_twice(self, keyed: ZoneBench) -> None:
        opened(keyed)
        assert ask(keyed) == Denied("inlet_air_c is bypassed by ada for 900 s more: close that first")

    def test_asking_again_replaces_the_request(self, keyed: ZoneBench) -> None:
        ask(keyed)
        keyed.run(200)
        ask(keyed, seconds=60.0, by="bob")
        keyed.run(200).key(True).step()
        assert keyed.status.bypassed == {AIR: 60}


def test_what_may_be_bypassed_follows_the_file(tmp_path: Path) -> None:
    site = make_site(tmp_path, edit=zones.hydro)
    assert bypass.allowed(site.zones[0]) == (
        AIR,
        "water_c",
        "water_min_c",
        "flow_m3h",
        "dew_margin_c",
    )


def test_a_smoke_contact_that_only_alarms_may_be_silenced(tmp_path: Path) -> None:
    smoke = zones.contact("smoke", "smoke", "alarm")
    site = make_site(tmp_path, edit=zones.edits(smoke, zones.contacts_device))
    assert bypass.allowed(site.zones[0]) == (AIR, "contact/smoke")


def test_a_cap_acts_whatever_is_bypassed(keyed: ZoneBench) -> None:
    opened(keyed).claim(FeederClaim(cap="feed", trip="feed 9 A, trip limit 8 A", cause=True)).step()
    assert keyed.mode is Mode.TRIPPED
