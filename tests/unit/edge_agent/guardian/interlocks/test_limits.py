"""Caps, contacts, bypasses and demands exactly on their limits and one step beside them."""

import msgspec
import pytest

from edge_agent.config import Contact, Effect, HighLimits, PointRef, PowerCap, SiteFile
from edge_agent.guardian.interlocks import asks, bypass, caps, contacts
from edge_agent.guardian.interlocks.bypass import REMINDS_S, Asked, Bypass, Bypasses
from edge_agent.guardian.interlocks.caps import CALM, Ask, CapInput, CapState
from edge_agent.guardian.interlocks.contacts import ContactTrack
from edge_agent.guardian.interlocks.inputs import (
    Commanded,
    ContactInput,
    DemandKind,
    FeederClaim,
    MainsClaim,
    MinerInput,
)
from edge_agent.guardian.interlocks.levels import Level, Standing
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from shared.commands import Priority
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState
from support.guardian import ZONE, ZoneBench, miner_id

HALL = ZoneId("hall-1")
CAP = PowerCap(
    id="feeder",
    points=(PointRef(device="meter-1", point="power_w"),),
    limits=HighLimits(release=9_000, warn=10_000, shed=11_000, trip=13_000, on_delay_s=2.0, off_delay_s=5.0),
    w_per_unit=1.0,
    ramp_w_per_min=7_000.0,
    zones=(HALL,),
)
SHED = CapState(standing=Standing(Level.SHED, above_warn_s=9.0, above_shed_s=9.0))
M = {n: miner_id(n) for n in (1, 2, 3)}


def miner(number: int, **fields: object) -> MinerInput:
    """30 J/TH; the higher the number the worse."""
    told = MinerInput(
        device=miner_id(number),
        age_s=1.0,
        state=MinerState.MINING,
        power_w=3000.0,
        hashrate_ths=3000.0 / (30.0 + number),
    )
    return msgspec.structs.replace(told, **fields)


def shed(
    site: SiteFile, value: float | None, state: CapState, *miners: MinerInput, saves_w: float | None = 500.0
) -> tuple[CapState, FeederClaim]:
    """One step of half a second."""
    known = {} if saves_w is None else {entry.device: saves_w for entry in miners}
    given = CapInput(value=value, saves_w=known)
    after, claims, _ = caps.step(state, given, CAP, {HALL: miners}, site.timing, 0.5)
    return after, claims[HALL]


def asking(state: CapState = SHED, **asks_of: Ask) -> CapState:
    return msgspec.structs.replace(
        state, asks={DeviceId(k.replace("_", "-")): ask for k, ask in asks_of.items()}
    )


class TestCaps:
    def test_the_excess_is_what_stands_above_warn(self, site: SiteFile) -> None:
        miners = [miner(n) for n in (1, 2, 3)]
        assert shed(site, 11_000.0, SHED, *miners)[1].lower == (M[3], M[2])
        assert shed(site, 11_000.5, SHED, *miners)[1].lower == (M[3], M[2], M[1]), "half a watt is one step"

    def test_a_step_in_flight_counts_what_it_still_has_to_show(self, site: SiteFile) -> None:
        flying = Ask(saves_w=1500.0, from_w=3000.0, left_s=5.0)
        miners = [miner(1), miner(2), miner(3, power_w=2600.0)]
        assert shed(site, 11_200.0, asking(m_3=flying), *miners)[1].lower == (M[2],), (
            "1100 W to come, 100 W are missing"
        )
        shown = [miner(1), miner(2), miner(3, power_w=1000.0)]
        assert shed(site, 11_000.0, asking(m_3=flying), *shown)[1].lower == (M[2], M[1]), (
            "more than asked is no debt"
        )

    def test_a_vain_ask_counts_nothing(self, site: SiteFile) -> None:
        vain = Ask(saves_w=1500.0, from_w=3000.0, vain=True)
        assert shed(site, 11_000.0, asking(m_3=vain), miner(1), miner(2), miner(3))[1].lower == (
            M[3],
            M[2],
            M[1],
        )

    def test_the_last_watt_counts(self, site: SiteFile) -> None:
        """1000 W above `warn` are two steps of 499.5 W and one more; who failed or who obeyed gives none."""
        vain = Ask(saves_w=1500.0, from_w=3000.0, vain=True)
        miners = [miner(1), miner(2), miner(4)]
        _, claim = shed(site, 11_000.0, asking(m_3=vain), *miners, miner(3), saves_w=499.5)
        assert set(claim.lower) == {miner_id(n) for n in (1, 2, 3, 4)}
        done = Ask(saves_w=1500.0, from_w=3000.0, left_s=5.0)
        _, claim = shed(site, 11_000.0, asking(m_3=done), *miners, miner(3, power_w=1500.0), saves_w=499.5)
        assert set(claim.lower) == {miner_id(n) for n in (1, 2, 4)}

    def test_what_nobody_measured_is_still_to_come_as_a_whole(self, site: SiteFile) -> None:
        flying = Ask(saves_w=1500.0, from_w=None, left_s=5.0)
        assert shed(site, 11_500.0, asking(m_3=flying), miner(1), miner(3))[1].lower == ()

    def test_people_see_the_unit(self) -> None:
        assert caps.status(CAP, SHED, 11_500.0).unit == "W"

    def test_a_command_starts_the_wait_and_forgets_the_patience(self, site: SiteFile) -> None:
        old = asking(m_3=Ask(saves_w=2000.0, from_w=3000.0, asked_s=4.0))
        told = miner(3, commanded=(Commanded(settle_s=20.0), Commanded(settle_s=8.0)))
        assert shed(site, 11_200.0, old, told)[0].asks == {
            M[3]: Ask(saves_w=2000.0, from_w=3000.0, left_s=20.0)
        }
        quick = miner(3, commanded=(Commanded(settle_s=0.0),))
        assert shed(site, 11_200.0, old, quick)[0].asks[M[3]].left_s == 0.5, "at least until the next step"

    def test_patience_ends_on_its_very_second(self, site: SiteFile) -> None:
        near = asking(m_3=Ask(saves_w=2000.0, from_w=3000.0, asked_s=caps.PATIENCE_S - 1.0))
        after = shed(site, 11_200.0, near, miner(3))[0]
        assert after.asks[M[3]] == Ask(saves_w=2000.0, from_w=3000.0, asked_s=caps.PATIENCE_S - 0.5)
        assert shed(site, 11_200.0, after, miner(3))[0].asks[M[3]].vain

    @pytest.mark.parametrize(("shows_w", "vain"), [(2250.0, False), (2250.1, True)])
    def test_half_of_what_it_was_to_save_is_obeyed(self, site: SiteFile, shows_w: float, vain: bool) -> None:
        due = asking(m_3=Ask(saves_w=1500.0, from_w=3000.0, left_s=0.5, asked_s=3.0))
        asks_of = shed(site, 11_200.0, due, miner(3, power_w=shows_w), saves_w=100.0)[0].asks
        if vain:
            assert asks_of[M[3]] == Ask(saves_w=1500.0, from_w=3000.0, vain=True)
        else:
            assert asks_of[M[3]].saves_w == 100.0, "done, and asked for the next step"

    def test_a_step_of_unknown_size_is_a_share_of_what_the_miner_draws(self, site: SiteFile) -> None:
        after = shed(
            site, 11_900.0, SHED, miner(1), miner(2, power_w=None), miner(3, power_w=2000.0), saves_w=None
        )[0]
        assert {device: ask.saves_w for device, ask in after.asks.items()} == {
            M[1]: pytest.approx(210.0),
            M[2]: 0.0,
            M[3]: pytest.approx(140.0),
        }

    @pytest.mark.parametrize("value", [10_500.0, None])
    def test_below_shed_what_is_in_flight_or_vain_is_remembered_and_nothing_else(
        self, site: SiteFile, value: float | None
    ) -> None:
        flying = Ask(saves_w=1.0, from_w=1.0, left_s=1.0)
        vain = Ask(saves_w=1.0, from_w=1.0, vain=True)
        asked = Ask(saves_w=1.0, from_w=1.0)
        state = asking(m_1=flying, m_2=vain, m_3=asked)
        after, claim = shed(site, value, state, miner(1), miner(2), miner(3))
        assert (set(after.asks), claim.lower) == ({M[1], M[2]}, ())

    def test_a_sample_of_the_very_age_is_fresh(self, site: SiteFile) -> None:
        edge = miner(3, age_s=site.timing.stale_after_s)
        assert shed(site, 11_200.0, SHED, edge)[1].lower == (M[3],)

    def test_even_one_terahash_is_an_efficiency(self, site: SiteFile) -> None:
        """1 TH/s at 50 W is 50 J/TH: worse than 33, and better than an unknown one."""
        poor, blind = miner(1, power_w=50.0, hashrate_ths=1.0), miner(2, hashrate_ths=None)
        assert [m.device for m in caps.worst_first([miner(3), poor, blind])] == [M[2], M[1], M[3]]

    def test_the_time_without_a_meter_starts_with_the_first_unknown_step(self, site: SiteFile) -> None:
        assert shed(site, 8_000.0, CapState(unknown_s=7.0), miner(1))[0].unknown_s == 0.0
        assert shed(site, None, CALM, miner(1))[0].unknown_s == 0.5

    def test_the_arbiter_sees_the_cap_as_the_site_file_names_it(self) -> None:
        fed = frozenset({M[1]})
        view = caps.view(CAP, 9_400.0, fed)
        assert (view.id, view.devices, view.room_w, view.ramp_w_per_min) == ("feeder", fed, 600.0, 7_000.0)

    def test_blind_while_it_sheds_says_unknown(self, site: SiteFile) -> None:
        """A level that falls while the meter is silent cannot be; one that stands is told as it stands."""
        after, claims, found = caps.step(SHED, CapInput(value=None), CAP, {HALL: ()}, site.timing, 0.5)
        assert claims[HALL] == FeederClaim(
            cap="feeder", inhibit="power cap feeder: its meter is not known", cause=True
        )
        assert (found, after.standing) == ([], SHED.standing)


class TestContacts:
    CONTACT = Contact(
        name="leak",
        device="io-1",
        point="di.1",
        effect=Effect.TRIP,
        on_unknown=Effect.INHIBIT,
        on_delay_s=1.0,
    )

    def step(self, site: SiteFile, track: ContactTrack, active: bool | None) -> ContactTrack:
        told = (ContactInput(name="leak", active=active),)
        return contacts.step({"leak": track}, told, (self.CONTACT,), site.timing, 0.5)["leak"]

    def test_an_active_one_counts_up_to_its_delay_and_was_heard(self, site: SiteFile) -> None:
        once = self.step(site, ContactTrack(), active=True)
        assert once == ContactTrack(True, 0.5, acting=False, heard=True)
        twice = self.step(site, once, active=True)
        assert (
            twice == self.step(site, twice, active=True) == ContactTrack(True, 1.0, acting=True, heard=True)
        )

    def test_at_rest_everything_is_forgotten(self, site: SiteFile) -> None:
        acting = ContactTrack(True, 1.0, acting=True, heard=True)
        assert self.step(site, acting, active=False) == ContactTrack(False, heard=True)

    def test_unknown_keeps_what_it_was(self, site: SiteFile) -> None:
        acting = ContactTrack(True, 1.0, acting=True, heard=True)
        assert self.step(site, acting, active=None) == ContactTrack(None, 1.0, 0.5, acting=True, heard=True)


class TestBypasses:
    ASKED = Asked(interlock="inlet_air_c", by="ada", reason="new probe", seconds=60.0, left_s=1.0)
    KEYED = Bypass(interlock="inlet_air_c", by="ada", reason="new probe", left_s=60.0)

    def test_a_request_lapses_when_its_time_is_over_key_or_not(self) -> None:
        waiting = Bypasses(asked=(self.ASKED,), key=False)
        after, news = bypass.step(waiting, key=False, has_key=True, dt=0.5)
        assert (len(after.asked), news.lapsed) == (1, ())
        after, news = bypass.step(after, key=True, has_key=True, dt=0.5)
        assert (after.asked, after.open, news.opened) == ((), (), ())
        assert [entry.interlock for entry in news.lapsed] == ["inlet_air_c"]

    def test_the_key_is_remembered_with_and_without_anything_open(self) -> None:
        for state in (Bypasses(), Bypasses(asked=(self.ASKED,)), Bypasses(open=(self.KEYED,))):
            assert bypass.step(state, key=True, has_key=True, dt=0.1)[0].key is True
        calm = Bypasses(key=True)
        assert bypass.step(calm, key=True, has_key=True, dt=0.1)[0] is calm

    def test_an_open_one_ends_on_its_last_second(self) -> None:
        state = Bypasses(open=(msgspec.structs.replace(self.KEYED, left_s=1.0),), key=True)
        after, news = bypass.step(state, key=True, has_key=True, dt=0.5)
        assert (len(after.open), news.ended) == (1, ())
        after, news = bypass.step(after, key=True, has_key=True, dt=0.5)
        assert after.open == ()
        assert [why for _, why in news.ended] == ["its time is over"]

    def test_people_are_reminded_of_every_one_and_the_wait_begins_anew(self) -> None:
        due = msgspec.structs.replace(self.KEYED, left_s=1e4, reminded_s=REMINDS_S - 0.5)
        state = Bypasses(open=(due, msgspec.structs.replace(due, interlock="door")), key=True)
        after, news = bypass.step(state, key=True, has_key=True, dt=0.5)
        assert [entry.interlock for entry in news.reminded] == ["inlet_air_c", "door"]
        assert [entry.reminded_s for entry in after.open] == [0.0, 0.0]

    def test_protecting_contacts_are_known_by_the_kind_of_their_point(self, zone: ZoneBench) -> None:
        smoke = Contact(
            name="detector",
            device="io-1",
            point="smoke.2",
            effect=Effect.TRIP,
            on_unknown=Effect.TRIP,
            on_delay_s=0.0,
        )
        leak = msgspec.structs.replace(smoke, name="leak", point="leak.2")
        bare = msgspec.structs.replace(zone.zone, contacts=(smoke, leak), sensors=())
        assert bypass.allowed(bare) == ("contact/leak",)

    def refusal(self, zone: ZoneBench, **fields: object) -> str | None:
        asked = msgspec.structs.replace(self.ASKED, **fields)
        return bypass.refusal(Bypasses(), zone.zone, zone.site.timing, asked, frozenset())

    def test_says_why_not(self, zone: ZoneBench) -> None:
        assert self.refusal(zone, reason=" ") == "a bypass needs a reason; give one with --reason"
        assert self.refusal(zone, seconds=0.5) is None
        assert self.refusal(zone, seconds=0.0) is not None
        zone.zone = msgspec.structs.replace(zone.zone, sensors=())
        assert self.refusal(zone) == "'inlet_air_c' of zone hall-1 cannot be bypassed; what can: none"


class TestDemands:
    def test_a_safe_stop_asks_with_the_word_of_safe_mode(self, zone: ZoneBench) -> None:
        zone.state = asks.safe_stop(zone.auto().state, ZONE, by="ada", reason="x").state
        zone.step()
        stops = [d for d in zone.demands if d.kind is DemandKind.STOP]
        assert {(d.priority, d.why) for d in stops} == {(Priority.SAFE, "safe-stop")}

    def test_the_next_step_down_waits_to_the_end(self, zone: ZoneBench) -> None:
        zone.auto().claim(FeederClaim(cap="feed", lower=(M[1],))).command(1, settle_s=1.0).step()
        assert zone.lowered == []
        assert zone.step().lowered == []
        assert zone.step().lowered == ["m-1"]

    def test_on_battery_a_manual_zone_keeps_its_presets(self, zone: ZoneBench) -> None:
        zone.state = msgspec.structs.replace(zone.auto().state, mode=Mode.MANUAL)
        zone.mains = MainsClaim.SAFE_PRESET
        assert not zone.step().demands
        assert not zone.kinds(EventKind.TRIPPED)
