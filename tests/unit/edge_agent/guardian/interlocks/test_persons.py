"""What a person asks of a zone: what becomes of it, and every word of the answer."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.interlocks import asks, findings, zone_findings
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.bypass import Asked, Bypass
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.guardian.interlocks.state import NEW_MINER, SafeWhy
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from support.guardian import ZONE, ZoneBench, make_site, miner_id

NO_WAY = "from there no operator can go to local-auto"
HAND_BACK = "It stays stopped until someone on site hands it back with 'minewarden guardian mode'."


@pytest.fixture
def many(tmp_path: Path) -> ZoneBench:
    """Forty miners: two hot ones are no matter of the zone."""
    return ZoneBench(make_site(tmp_path, 40))


def granted(answer: Granted | Denied) -> Granted:
    assert isinstance(answer, Granted), answer
    return answer


def refused(answer: Granted | Denied) -> str:
    assert isinstance(answer, Denied), answer
    return answer.why


def moved(before: Mode, after: Mode, cause: Cause, detail: str) -> Finding:
    """What people read of a change of mode."""
    return findings.mode(ZONE, before, after, cause, detail)


def tripped(zone: ZoneBench) -> ZoneBench:
    """m-4 stood before; the fans fail and are back; everything else stopped."""
    zone.auto().stopped(4).step().cool(5).run(5).stopped().run(1).cool(100).run(1)
    assert zone.mode is Mode.TRIPPED
    return zone


def reset(zone: ZoneBench, trip: str | None = None, reason: str = "repaired") -> Granted | Denied:
    return asks.reset(zone.state, ZONE, by="ada", reason=reason, trip=trip)


class TestReset:
    def test_leads_to_safe_clears_and_tells_both(self, zone: ZoneBench) -> None:
        [trip] = tripped(zone).state.trips
        answer = granted(reset(zone))
        assert answer.cleared == (trip,)
        assert answer.found == (
            findings.cleared(ZONE, trip, "ada", "repaired"),
            moved(Mode.TRIPPED, Mode.SAFE, Cause.RESET, "by ada"),
        )
        after = answer.state
        assert (after.mode, after.safe_why, after.trips) == (Mode.SAFE, SafeWhy.RESET, ())
        assert after.pending == zone.state.pending == tuple(miner_id(n) for n in (1, 2, 3))

    def test_the_restart_begins_anew(self, zone: ZoneBench) -> None:
        tripped(zone)
        zone.state = msgspec.structs.replace(zone.state, batch=1, batches=2, starting=(miner_id(1),))
        after = granted(reset(zone)).state
        assert (after.batch, after.batches, after.starting) == (0, 0, ())

    def test_a_reset_that_leaves_the_zone_as_it_was_leaves_its_restart_alone(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).step().stopped(1).run(12)
        zone.state = msgspec.structs.replace(zone.state, batch=1, batches=2)
        answer = granted(reset(zone))
        assert (answer.state.mode, answer.state.batch, answer.state.batches) == (Mode.LOCAL_AUTO, 1, 2)
        assert [finding.kind for finding in answer.found] == [EventKind.CLEARED]
        assert answer.state.pending == (miner_id(1),)

    def test_forgets_the_heat_of_whom_it_frees_and_of_all_when_nothing_is_left(self, many: ZoneBench) -> None:
        """Else a miner's own trip of an hour ago would count towards "several miners" once more."""
        many.auto().hot(1, 89).step().hot(1, 65).stopped(1, 2).run(12)
        many.state = msgspec.structs.replace(
            many.state,
            miners={
                device: msgspec.structs.replace(track, over_trip_s=5.0, starts=2)
                for device, track in many.state.miners.items()
            },
        )
        assert {track.over_trip_s for track in granted(reset(many)).state.miners.values()} == {-1.0}
        many.hot(2, 89).mining(2).hot(2, 89).step()
        held = {trip.device: trip.id for trip in many.state.trips}
        after = granted(reset(many, held[miner_id(1)])).state.miners
        assert (after[miner_id(1)].over_trip_s, after[miner_id(1)].starts) == (-1.0, 0)
        assert all(after[miner_id(n)].over_trip_s >= 0 for n in (2, 3, 4))

    def test_one_latch_by_its_name_leaves_the_others(self, many: ZoneBench) -> None:
        many.auto().hot(1, 89).step().stopped(1).run(12)
        many.put(2, board_c=76.0).step().stopped(2).run(12)
        first, second = many.state.trips
        answer = granted(reset(many, second.id))
        assert (answer.cleared, answer.state.trips) == ((second,), (first,))

    def test_a_miner_with_two_latches_waits_for_both(self, zone: ZoneBench) -> None:
        zone.auto().put(1, chip_c=89.0, board_c=76.0).step().stopped(1).run(12)
        first, second = zone.state.trips
        once = granted(reset(zone, first.id)).state
        assert once.pending == ()
        assert granted(asks.reset(once, ZONE, by="ada", reason="x", trip=second.id)).state.pending == (
            miner_id(1),
        )

    def test_says_why_not(self, zone: ZoneBench) -> None:
        assert refused(reset(zone.auto(), reason=" ")) == "a reset needs a reason; give one with --reason"
        assert refused(reset(zone)) == "zone hall-1 has no latched trip"
        assert refused(reset(zone, "t-9")) == "zone hall-1 has no latched trip t-9"
        zone.put(1, chip_c=89.0, board_c=76.0).step()
        assert refused(reset(zone)) == (
            "the cause is still present, remove it first: chip-temp: chip-temp 89 °C, trip limit 88 °C; "
            "board-temp: board-temp 76 °C, trip limit 75 °C"
        )

    def test_a_safe_stop_outlives_it(self, zone: ZoneBench) -> None:
        zone.state = asks.safe_stop(tripped(zone).state, ZONE, by="ada", reason="smoke").state
        zone.run(1)
        assert granted(reset(zone)).state.safe_why is SafeWhy.STOP


class TestSafeStop:
    def test_is_told_and_leads_to_safe(self, zone: ZoneBench) -> None:
        answer = asks.safe_stop(zone.auto().state, ZONE, by="ada", reason="smoke")
        assert answer.found == (
            Finding(
                kind=EventKind.ACTION,
                severity=Severity.HIGH,
                key="safe-stop/hall-1",
                title="ada stopped zone hall-1: smoke",
                advice=HAND_BACK,
                zone=ZONE,
                data={"by": "ada", "reason": "smoke"},
            ),
            moved(Mode.LOCAL_AUTO, Mode.SAFE, Cause.SAFE_STOP, "by ada"),
        )
        assert (answer.state.mode, answer.state.safe_why) == (Mode.SAFE, SafeWhy.STOP)

    def test_of_a_zone_that_is_safe_or_tripped_changes_no_mode(self, zone: ZoneBench) -> None:
        for mode in (Mode.SAFE, Mode.TRIPPED):
            answer = asks.safe_stop(
                msgspec.structs.replace(zone.auto().state, mode=mode), ZONE, by="ada", reason="x"
            )
            assert (answer.state.mode, answer.state.safe_why) == (mode, SafeWhy.STOP)
            assert [finding.kind for finding in answer.found] == [EventKind.ACTION]
            zone.state = msgspec.structs.replace(zone.state, mode=Mode.LOCAL_AUTO)

    def test_remembers_who_ran_and_nobody_else(self, zone: ZoneBench) -> None:
        """m-1 runs, m-2 stands, m-3 is latched, m-4 was never heard."""
        zone.auto().stopped(2).hot(3, 89).step()
        never = zone.state.miners | {miner_id(4): NEW_MINER}
        zone.state = msgspec.structs.replace(zone.state, miners=never)
        assert asks.safe_stop(zone.state, ZONE, by="ada", reason="x").state.pending == (miner_id(1),)

    def test_ends_the_restart_that_is_under_way_and_calls_its_starts_back(self, zone: ZoneBench) -> None:
        zone.auto().stopped().step()
        zone.state = asks.bring_back(zone.state, (miner_id(1),))
        zone.step().command(1, start=True).step().stopped(1).step()
        zone.state = msgspec.structs.replace(zone.state, batch=1, batches=2)
        assert (zone.state.starting, zone.state.miners[miner_id(1)].starts) == ((miner_id(1),), 1)
        after = asks.safe_stop(zone.state, ZONE, by="ada", reason="x").state
        assert (after.starting, after.batch, after.batches) == ((), 0, 0)
        assert not after.miners[miner_id(1)].stopped, "it may be starting this very moment"


class TestMode:
    @pytest.mark.parametrize(
        ("before", "asked", "cause"),
        [
            (Mode.LOCAL_AUTO, Mode.MANUAL, Cause.OPERATOR_MANUAL),
            (Mode.SAFE, Mode.MANUAL, Cause.OPERATOR_MANUAL),
            (Mode.MANUAL, Mode.LOCAL_AUTO, Cause.OPERATOR_AUTO),
        ],
    )
    def test_is_chosen_told_and_ends_every_reason_to_be_safe(
        self, zone: ZoneBench, before: Mode, asked: Mode, cause: Cause
    ) -> None:
        state = msgspec.structs.replace(zone.auto().state, mode=before, safe_why=SafeWhy.LEASE)
        answer = granted(asks.set_mode(state, ZONE, asked, by="ada", reason="work"))
        assert answer.found == (moved(before, asked, cause, "ada: work"),)
        assert (answer.state.mode, answer.state.safe_why) == (asked, SafeWhy.RESET)

    def test_handing_back_a_safe_stop_waits_for_proven_cooling(self, zone: ZoneBench) -> None:
        state = asks.safe_stop(zone.auto().state, ZONE, by="ada", reason="x").state
        answer = granted(asks.set_mode(state, ZONE, Mode.LOCAL_AUTO, by="bob", reason="done"))
        assert answer.found == (
            moved(Mode.SAFE, Mode.SAFE, Cause.OPERATOR_AUTO, "bob: done; waits for proven cooling"),
        )
        assert (answer.state.mode, answer.state.safe_why) == (Mode.SAFE, SafeWhy.RESET)

    @pytest.mark.parametrize(
        ("before", "why", "asked", "words"),
        [
            (Mode.SAFE, SafeWhy.LEASE, Mode.LOCAL_AUTO, "zone hall-1 is safe; " + NO_WAY),
            (Mode.TRIPPED, SafeWhy.STOP, Mode.LOCAL_AUTO, "zone hall-1 is tripped; " + NO_WAY),
            (Mode.LOCAL_AUTO, SafeWhy.STOP, Mode.LOCAL_AUTO, "zone hall-1 is local-auto; " + NO_WAY),
            (
                Mode.LOCAL_AUTO,
                SafeWhy.RESET,
                Mode.SAFE,
                "an operator can choose manual or local-auto, not safe",
            ),
        ],
    )
    def test_says_why_not(self, zone: ZoneBench, before: Mode, why: SafeWhy, asked: Mode, words: str) -> None:
        state = msgspec.structs.replace(zone.auto().state, mode=before, safe_why=why)
        assert refused(asks.set_mode(state, ZONE, asked, by="ada", reason="x")) == words


class TestBypasses:
    OPEN = Bypass(interlock="inlet_air_c", by="ada", reason="new probe", left_s=60.0, second="bob")
    ASKED = Asked(interlock="inlet_air_c", by="ada", reason="new probe", seconds=60.0)
    OTHER = Asked(interlock="door", by="eve", reason="work", seconds=30.0)

    def asked(self, zone: ZoneBench, *asked: Asked) -> ZoneBench:
        bypasses = msgspec.structs.replace(zone.auto().state.bypasses, asked=asked)
        zone.state = msgspec.structs.replace(zone.state, bypasses=bypasses)
        return zone

    def test_a_second_person_opens_it_and_other_requests_stay(self, zone: ZoneBench) -> None:
        self.asked(zone, self.OTHER, self.ASKED)
        answer = granted(asks.confirm_bypass(zone.state, zone.zone, interlock="inlet_air_c", by="bob"))
        assert answer.state.bypasses.open == (self.OPEN,)
        assert answer.state.bypasses.asked == (self.OTHER,)
        assert answer.found == (zone_findings.bypass_open(ZONE, self.OPEN),)

    def test_nobody_confirms_what_nobody_asked(self, zone: ZoneBench) -> None:
        assert refused(asks.confirm_bypass(zone.auto().state, zone.zone, interlock="door", by="bob")) == (
            "nobody asked to bypass door of zone hall-1; ask with 'bypass open' first"
        )

    def test_one_that_is_asked_for_can_be_taken_back(self, zone: ZoneBench) -> None:
        self.asked(zone, self.OTHER, self.ASKED)
        answer = granted(asks.close_bypass(zone.state, ZONE, interlock="inlet_air_c", by="eve"))
        assert answer.found == (zone_findings.bypass_refused(ZONE, self.ASKED, "closed by eve"),)
        assert answer.state.bypasses.asked == (self.OTHER,)
