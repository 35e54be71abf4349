"""What the core tells and asks for, word for word, where few scenes come by."""

import msgspec
import pytest

from edge_agent.config import Contact, Effect, Mains, MainsStage
from edge_agent.guardian.interlocks import demands, dew_point, findings, inhibits, mains, miners
from edge_agent.guardian.interlocks.inputs import DemandKind, Finding, MainsClaim, ZoneInput
from edge_agent.guardian.interlocks.mains import MainsInput, MainsState
from edge_agent.guardian.interlocks.state import SafeWhy, Trip, ZoneState
from edge_agent.ipc import Mode, ZoneStatus
from shared.alarms import EventKind, Severity
from shared.commands import Priority
from support.guardian import WALL, ZONE, ZoneBench, miner_id

UPS = Mains(
    device="ups-1",
    on_battery_point="on_battery",
    runtime_point="runtime_s",
    on_delay_s=3.0,
    restore_after_s=2.0,
    stages=(MainsStage(runtime_below_s=600.0, stop=False), MainsStage(runtime_below_s=300.0, stop=True)),
)


def trip(name: str, **fields: object) -> Trip:
    return msgspec.structs.replace(
        Trip(id=name, interlock="x", at_ms=1, first_out=f"{name} was first"), **fields
    )


class TestMains:
    def run(self, *pieces: tuple[bool | None, float | None, int]) -> tuple[MainsState, list[Finding]]:
        state, told = MainsState(), []
        for on, runtime_s, steps in pieces:
            for _ in range(steps):
                given = MainsInput(on_battery=on, runtime_s=runtime_s)
                state, _, found = mains.step(state, given, UPS, 0.5)
                told += found
        return state, told

    def test_what_the_ups_promised_is_known_from_the_first_step(self) -> None:
        assert self.run((False, None, 4), (True, 700.0, 1))[0].runtime_s == 700.0

    def test_a_ups_that_falls_silent_at_once_is_still_on_battery(self) -> None:
        state, _ = self.run((False, None, 4), (True, 700.0, 1), (None, None, 5))
        assert (state.on_for_s, state.lost, state.runtime_s) == (3.0, True, 697.5)

    def test_a_runtime_is_counted_down_to_nothing(self) -> None:
        assert self.run((True, 1.0, 1), (None, None, 20))[0].runtime_s == 0.0

    def test_a_loss_unsettles_and_mains_that_are_back_settle_everything(self) -> None:
        lost, told = self.run((False, None, 4), (True, 0.0, 6))
        assert (lost.lost, lost.settled, lost.stage) == (True, False, 2)
        assert told[0].title == "Mains are lost: the UPS carries the site, 0 s by its own estimate"
        assert told[1].title == "UPS runtime 0 s is below 300 s: all miners stop"
        back, _ = self.run((False, None, 4), (True, 0.0, 6), (False, None, 4))
        assert back == MainsState(off_for_s=2.0, settled=True)


class TestInhibits:
    LEAK = Contact(
        name="leak",
        device="io-1",
        point="di.1",
        effect=Effect.TRIP,
        on_unknown=Effect.INHIBIT,
        on_delay_s=1.0,
    )

    def test_a_contact_that_no_step_has_seen_yet_is_not_known(self, zone: ZoneBench) -> None:
        guarded = msgspec.structs.replace(zone.zone, contacts=(self.LEAK,))
        assert inhibits.of_zone(ZoneState(), guarded) == "contact leak is not known"
        assert inhibits.holds_safe(ZoneState(), guarded)

    def test_a_latched_miner_that_looks_well_is_inhibited_all_the_same(self, zone: ZoneBench) -> None:
        """One whose PDU tripped reads as any other until it is cut."""
        state = ZoneState(miners={miner_id(1): miners.CALM}, trips=(trip("t", device=miner_id(1)),))
        assert inhibits.all_of(state, zone.zone) == {miner_id(1): "latched trip"}


class TestDemands:
    def test_cooling_fails_on_and_says_so(self, zone: ZoneBench) -> None:
        zone.auto().cool(5).run(5)
        [fan] = [demand for demand in zone.demands if demand.kind is DemandKind.COOLING]
        assert (fan.device, fan.priority, fan.why) == (WALL, Priority.TRIP, "cooling fails on")

    def test_in_smoke_it_goes_off_and_says_so(self, zone: ZoneBench) -> None:
        actuators = tuple(msgspec.structs.replace(a, off=0.0) for a in zone.zone.cooling_actuators)
        smoke = msgspec.structs.replace(TestInhibits.LEAK, name="smoke", fans="off", on_unknown=Effect.ALARM)
        zone.zone = msgspec.structs.replace(zone.zone, cooling_actuators=actuators, contacts=(smoke,))
        zone.contacts = {"smoke": False}
        zone.auto().contact("smoke", active=True).run(3)
        [fan] = [demand for demand in zone.demands if demand.kind is DemandKind.COOLING]
        assert (fan.action.value, fan.why) == (0.0, "smoke: the load was told to stop, cooling goes off")

    def test_an_actuator_of_which_nothing_is_told_is_written(self, zone: ZoneBench) -> None:
        state = ZoneState(mode=Mode.TRIPPED, trips=(trip("t"),))
        told = ZoneInput(miners=(), cooling_value=None)
        found = demands.of_zone(state, state, told, zone.zone, zone.site.timing)
        assert [demand.device for demand in found] == [WALL]

    def test_without_a_lease_safe_presets_from_the_very_second(self, zone: ZoneBench) -> None:
        zone.lease_overdue_s = zone.site.timing.lease_safe_s
        zone.run(2)
        assert zone.state.safe_why is SafeWhy.LEASE
        lowered = [demand for demand in zone.demands if demand.kind is DemandKind.SAFE_PRESET]
        assert {demand.why for demand in lowered} == {"no lease: safe set-points"}
        assert len(lowered) == 4


class TestWords:
    def test_a_late_turn(self) -> None:
        assert findings.late(2.25) == Finding(
            kind=EventKind.ALARM,
            severity=Severity.HIGH,
            key="guardian/late",
            title="the interlocks came 2.2 s after their last turn; they should every 0.25 s",
            advice="Look at what else runs on this gateway; trips come later by as much.",
        )

    @pytest.mark.parametrize(
        ("trips", "first_out", "latched"),
        [
            ((), None, 0),
            ((trip("m", device=miner_id(1)),), None, 1),
            ((trip("m", device=miner_id(1)), trip("a"), trip("b")), "a was first", 1),
        ],
    )
    def test_a_zones_state_names_what_was_first(
        self, trips: tuple[Trip, ...], first_out: str | None, latched: int
    ) -> None:
        status = ZoneStatus(
            mode=Mode.TRIPPED, cooling_proven=False, trips=tuple(t.info(ZONE) for t in trips), inhibited={}
        )
        data = findings.zone_status(ZONE, status).data
        assert (data["first_out"], data["latched"]) == (first_out, latched)
        assert data["tripped"] is (first_out is not None)

    def test_very_dry_air_has_a_dew_point(self) -> None:
        assert dew_point.dew_point_c(20.0, 1.0) == pytest.approx(-38.0, abs=0.1)
        assert dew_point.dew_point_c(20.0, 0.0) is None


def test_on_battery_is_no_claim_of_its_own() -> None:
    assert mains.claim(MainsState(settled=True), MainsInput(on_battery=True), UPS) is MainsClaim.NONE
