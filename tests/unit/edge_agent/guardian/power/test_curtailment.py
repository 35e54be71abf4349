"""The state machine of power orders, without I/O: what holds whatever miners, meter and cooling do."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.power import book, curtailment
from edge_agent.guardian.power.book import Book
from edge_agent.guardian.power.orders import (
    MinerSeen,
    PowerInput,
    PowerOrder,
    PowerOutput,
    PowerState,
    Rules,
)
from edge_agent.guardian.power.restore import jitter_s
from edge_agent.ipc import StandingState
from shared.capabilities import Preset
from shared.commands import SetPreset, StopMining
from shared.ids import CommandId, DeviceId

RULES = Rules(
    within_pct=2.0,
    within_w=100.0,
    confirm_for_s=5.0,
    jitter_s=20.0,
    window_s=30.0,
    window_w=3_000.0,
    change_s=20.0,
    restart_s=60.0,
    lag_s=3.0,
    obey_s=60.0,
)
STEPS = tuple(Preset(name=str(w), power_w=w, hashrate_ths=w / 25, tuned=True) for w in (2000, 2500, 3000))
ORDER = PowerOrder(
    id=CommandId("c-1"), actor="ada", target_w=9_000.0, deadline_s=120.0, left_s=600.0, end_ms=1
)


class Site:
    """Miners that obey at once, a meter that adds up, and zones that restart what they are given."""

    def __init__(self, miners: int = 6) -> None:
        self.state = PowerState()
        self.miners = {
            DeviceId(f"m-{n}"): MinerSeen(
                device=DeviceId(f"m-{n}"),
                heard=True,
                draws=True,
                power_w=2500.0,
                hashrate_ths=100.0,
                preset="2500",
                steps=STEPS,
                nominal_w=3000.0,
                cooled=True,
            )
            for n in range(miners)
        }
        self.deaf: set[DeviceId] = set()
        self.known = True
        self.base_w = 1000.0
        self.found: list[Finding] = []
        self.output = PowerOutput()
        self.raised: list[tuple[float, DeviceId]] = []
        self.now_s = 0.0

    @property
    def real_w(self) -> float:
        return self.base_w + sum((m.power_w or 0.0) if m.draws else 30.0 for m in self.miners.values())

    def put(self, device: str, **fields: object) -> None:
        self.miners[DeviceId(device)] = msgspec.structs.replace(self.miners[DeviceId(device)], **fields)

    def begin(self, order: PowerOrder = ORDER) -> "Site":
        self.state = curtailment.begun(self.state, order)
        return self

    def run(self, seconds: int) -> "Site":
        for _ in range(seconds):
            self.now_s += 1.0
            given = PowerInput(meter_w=self.real_w if self.known else None, miners=dict(self.miners))
            self.state, self.output = curtailment.step(self.state, given, RULES, 1.0, at_ms=0)
            self.found += self.output.found
            self._obey()
        return self

    def _obey(self) -> None:
        for wish in self.output.wishes:
            device = wish.action.device
            if device in self.deaf:
                continue
            if wish.back:
                self.raised.append((self.now_s, device))
            if isinstance(wish.action, SetPreset):
                self.put(device, preset=wish.action.preset, power_w=float(wish.action.preset))
            elif isinstance(wish.action, StopMining):
                self.put(device, draws=False, power_w=30.0)
        for device in self.output.bring_back:
            self.raised.append((self.now_s, device))
            preset = self.miners[device].preset or "2500"
            self.put(device, draws=True, power_w=float(preset))

    def order(self, command: str = "c-1") -> PowerOrder:
        return next(order for order in self.state.orders if order.id == command)


def test_down_confirmed_held_and_back() -> None:
    site = Site().begin().run(30)
    assert site.order().state is StandingState.HOLDING
    assert 5.0 <= (site.order().confirmed_s or 0.0) <= 20.0
    assert site.real_w <= 9_180
    assert site.state.held
    site.run(570)
    assert site.order().state is StandingState.RESTORING
    site.run(300)
    assert site.order().state is StandingState.ENDED
    assert site.real_w == 16_000
    assert site.state.goals == {}
    assert site.state.idle


def test_within_the_tolerance_nothing_is_done() -> None:
    site = Site().begin(msgspec.structs.replace(ORDER, target_w=15_800.0)).run(30)
    assert site.order().state is StandingState.HOLDING
    assert site.state.goals == {}


def test_a_cap_has_no_tolerance_above_it() -> None:
    cap = PowerOrder(id=CommandId("cap"), actor="ada", target_w=15_900.0, cap=True)
    site = Site().begin(cap).run(30)
    assert site.real_w <= 15_900
    assert site.order("cap").state is StandingState.HOLDING


def test_nothing_comes_back_before_cooling_is_proven() -> None:
    site = Site().begin().run(300)
    for device in site.miners:
        site.put(device, cooled=False)
    low_w = site.real_w
    site.run(600)
    assert site.order().state is StandingState.RESTORING
    assert site.real_w == low_w
    assert site.raised == []
    for device in site.miners:
        site.put(device, cooled=True)
    site.run(300)
    assert site.real_w == 16_000


def test_what_comes_back_is_bounded_per_window_and_spread_by_jitter() -> None:
    site = Site(12).begin().run(600)
    site.raised.clear()
    site.run(600)
    assert site.real_w == 31_000
    times = [at_s for at_s, _ in site.raised]
    for at_s in times:
        assert sum(at_s <= other < at_s + 30 for other in times) <= 6  # presets of 500 W, or one start
    assert len(set(times)) > 4


def test_jitter_is_the_same_at_every_try_and_differs_by_miner() -> None:
    waits = [jitter_s(CommandId("c-1"), DeviceId(f"m-{n}"), 60.0) for n in range(200)]
    assert waits == [jitter_s(CommandId("c-1"), DeviceId(f"m-{n}"), 60.0) for n in range(200)]
    assert all(0 <= wait < 60 for wait in waits)
    assert min(waits) < 5
    assert max(waits) > 55
    assert waits[0] != jitter_s(CommandId("c-2"), DeviceId("m-0"), 60.0)


def test_a_miner_that_a_person_or_a_trip_has_is_neither_told_nor_brought_back() -> None:
    site = Site().begin(msgspec.structs.replace(ORDER, target_w=10_000.0)).run(30)
    stopped = next(device for device, m in site.miners.items() if not m.draws)
    lowered = next(device for device, g in site.state.goals.items() if g.want is not None)
    site.put(stopped, taken="it has a latched trip")
    site.put(lowered, taken="its zone is manual", preset="3000", power_w=3000.0)
    site.run(20)
    assert site.miners[lowered].preset == "3000"
    site.raised.clear()
    site.run(900)
    assert lowered not in {device for _, device in site.raised}


def test_an_unknown_meter_confirms_nothing_and_lowers_once() -> None:
    site = Site().begin().run(1)
    site.known = False
    site.run(110)
    assert site.order().state is StandingState.RUNNING
    assert site.order().confirmed_s is None
    assert 6_000 <= site.real_w <= 9_180


def test_deaf_miners_are_replaced() -> None:
    site = Site()
    site.deaf = {DeviceId("m-0"), DeviceId("m-1")}
    site.begin().run(150)
    assert site.real_w <= 9_180
    assert site.order().state is StandingState.HOLDING
    assert (site.order().confirmed_s or 0.0) > RULES.obey_s  # only then are they known to be deaf


def test_a_higher_target_lets_some_come_back_and_a_lower_one_calls_them_back() -> None:
    cap = PowerOrder(id=CommandId("cap"), actor="ada", target_w=14_000.0, cap=True)
    site = Site().begin(cap).run(60).begin().run(600)
    assert site.real_w <= 9_180
    site.run(200)
    assert 9_180 < site.real_w <= 14_000
    assert site.order().state is StandingState.ENDED
    site.begin(msgspec.structs.replace(ORDER, id=CommandId("c-3"))).run(60)
    assert site.real_w <= 9_180


def test_another_cap_takes_the_place_of_the_old_one() -> None:
    site = Site()
    for number, watts in enumerate((12_000.0, 15_000.0)):
        order = PowerOrder(id=CommandId(f"cap-{number}"), actor="ada", target_w=watts, cap=True)
        site.begin(order).run(200)
    assert site.order("cap-0").state is StandingState.ENDED
    assert 12_000 < site.real_w <= 15_000


def test_a_ramp_bounds_how_fast_load_falls() -> None:
    site = Site(20)  # 51 kW
    order = msgspec.structs.replace(ORDER, target_w=30_000.0, ramp_w_per_min=6_000.0, deadline_s=600.0)
    site.begin(order)
    for second in range(1, 260):
        site.run(1)
        assert site.real_w >= 51_000 - 100.0 * second - 2_500, second
    assert site.real_w <= 30_600


def test_the_state_survives_the_disk_and_lowers_again_what_a_power_cut_brought_back() -> None:
    site = Site().begin().run(60)
    kept = msgspec.json.decode(msgspec.json.encode(Book(power=site.state)), type=Book)
    assert kept.power == site.state
    site.state = book.resumed(kept.power, None)
    for device in site.miners:
        site.put(device, draws=True, power_w=2500.0, preset="2500")
    site.run(30)
    assert site.real_w <= 9_180
    assert site.order().state is StandingState.HOLDING
    site.run(900)
    assert site.real_w == 16_000


@pytest.mark.parametrize(("now_ms", "left_s"), [(None, 540.0), (400_000, 200.0), (0, 540.0)])
def test_what_is_left_after_a_power_cut_is_never_more_than_before(now_ms: int | None, left_s: float) -> None:
    order = msgspec.structs.replace(ORDER, left_s=540.0, end_ms=600_000)
    after = book.resumed(PowerState(orders=(order,)), now_ms)
    assert after.orders[0].left_s == left_s


EVENTS = st.sampled_from(["meter", "silent", "climb", "start", "cool", "take", "crash", "cancel"])


@given(st.lists(st.tuples(EVENTS, st.integers(0, 5), st.integers(1, 40)), max_size=15))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_wishes_stay_in_bounds_and_everything_comes_back(
    story: list[tuple[str, int, int]],
) -> None:
    """While an order runs only trims go up, none is for a taken miner, and nothing is forgotten."""
    site = Site().begin()
    for event, number, seconds in story:
        device = DeviceId(f"m-{number}")
        match event:
            case "meter":
                site.known = not site.known
            case "silent":
                site.put(device, heard=not site.miners[device].heard)
            case "climb":
                site.put(device, draws=True, preset="3000", power_w=3000.0)
            case "start":
                site.put(device, draws=True, power_w=2500.0)
            case "cool":
                site.put(device, cooled=not site.miners[device].cooled)
            case "take":
                site.put(device, taken=None if site.miners[device].taken else "its zone is manual")
            case "crash":
                site.state = book.resumed(site.state, None)
            case _:
                site.state = curtailment.cancelled(site.state, CommandId("c-1"), "x") or site.state
        for _ in range(seconds):
            site.run(1)
            running = any(order.active for order in site.state.orders)
            for wish in site.output.wishes:
                assert site.miners[wish.action.device].taken is None
                # Only a trim, which begins where the meter stands below the target.
                assert not (running and wish.back) or site.real_w <= 9_000
            if not site.known:
                assert site.order().state is not StandingState.HOLDING or site.order().confirmed_s is not None
    for device in site.miners:
        site.put(device, heard=True, cooled=True, taken=None)
    site.known = True
    site.run(2600)
    assert site.state.goals == {}
    assert all(miner.draws for miner in site.miners.values())
    assert site.order().state in (StandingState.ENDED, StandingState.CANCELLED)
