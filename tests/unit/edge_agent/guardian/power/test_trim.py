"""Orders on fleets that behave as real ones: restarts dip, labels promise too little, telemetry lags.

The numbers are those of the plant model in cool air: a step to another preset draws next to nothing for
seconds, and the lowest presets draw up to 15 % less than their labels (plant.md §1.5, miners.md §5).
"""

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guardian.interlocks.inputs import SensorInput
from edge_agent.guardian.power import curtailment
from edge_agent.guardian.power.orders import MinerSeen, PowerInput, PowerOrder, PowerState, Rules, Wish
from edge_agent.guardian.power.warming import Inlet
from edge_agent.ipc import StandingState
from shared.capabilities import Preset
from shared.commands import SetPreset
from shared.ids import CommandId, DeviceId

RULES = Rules(
    within_pct=2.0,
    within_w=1_000.0,
    confirm_for_s=5.0,
    jitter_s=10.0,
    window_s=30.0,
    window_w=6_000.0,
    change_s=20.0,
    restart_s=35.0,
    lag_s=3.0,
    obey_s=60.0,
)
LADDER = (1850, 2000, 2150, 2300, 2500, 2700)
STEPS = tuple(Preset(name=str(w), power_w=w, hashrate_ths=w / 27, tuned=True) for w in LADDER)
ORDER = PowerOrder(id=CommandId("c-1"), actor="ada", target_w=90_000.0, deadline_s=180.0, left_s=3_600.0)


class Machine:
    """Draws `bend` less than its label at the bottom of the ladder; a change is a restart of 8 s."""

    def __init__(self, number: int, chance: random.Random, bend: float) -> None:
        self.id = DeviceId(f"m-{number:02d}")
        self.preset = "2700"
        self.factor = chance.uniform(0.97, 1.03)
        self.bend = bend
        self.phase_s = chance.randrange(2)
        self.left_s = 0.0
        self.draws = True
        self.warming = False
        self.cooled = True
        self.changes = 0
        self.told: Wish | None = None
        self.told_s = 0.0
        self.seen = self.look()

    @property
    def steady_w(self) -> float:
        depth = (2700 - float(self.preset)) / (2700 - 1850)
        return float(self.preset) * self.factor * (1.0 - self.bend * depth)

    @property
    def power_w(self) -> float:
        if not self.draws:
            return 25.0
        if self.left_s > 5.0:
            return 200.0
        return self.steady_w * (0.6 if self.left_s > 2.0 else 1.0)

    def look(self) -> MinerSeen:
        return MinerSeen(
            device=self.id,
            heard=True,
            draws=self.draws,
            settling=self.draws and self.left_s > 0,
            power_w=self.power_w,
            hashrate_ths=float(self.preset) / 27 if self.left_s <= 0 else 0.0,
            preset=self.preset,
            steps=STEPS,
            nominal_w=2_750.0,
            cooled=self.cooled,
            warming=self.warming,
        )

    def obey(self, second: int) -> None:
        """A command takes a second or two; what the miner tells is polled every other second."""
        self.left_s = max(self.left_s - 1.0, 0.0)
        if self.told is not None and second >= self.told_s:
            if isinstance(self.told.action, SetPreset):
                if self.preset != self.told.action.preset:
                    self.preset, self.left_s = self.told.action.preset, 8.0
                    self.changes += 1
            else:
                self.draws = False
            self.told = None
        if second % 2 == self.phase_s:
            # The state is news at once, the preset only with its own, slower question.
            kept = self.seen.preset if second % 6 >= 2 else self.preset
            self.seen = msgspec.structs.replace(self.look(), preset=kept)


class Fleet:
    """A site of such machines, its meter a second late and noisy."""

    def __init__(
        self, miners: int = 48, *, seed: int = 1, bend: float = 0.14, noise: float = 0.0, base_w: float = 4e3
    ) -> None:
        self.chance = random.Random(seed)
        self.machines = [Machine(number, self.chance, bend) for number in range(miners)]
        self.noise, self.base_w = noise, base_w
        self.state = PowerState()
        self.meter_w = self.shown_w = self.real_w
        self.second = 0
        self.history: list[float] = []
        self.raises: list[tuple[int, float]] = []
        self.started: set[DeviceId] = set()

    @property
    def real_w(self) -> float:
        return self.base_w + sum(machine.power_w for machine in self.machines)

    def begin(self, order: PowerOrder) -> "Fleet":
        self.state = curtailment.begun(self.state, order)
        return self

    def run(self, seconds: int, look: Callable[[], None] = lambda: None) -> "Fleet":
        for _ in range(seconds):
            self.second += 1
            self.meter_w, late_w = self.real_w, self.meter_w
            self.shown_w = late_w * (1.0 + self.chance.uniform(-self.noise, self.noise))
            seen = {machine.id: machine.seen for machine in self.machines}
            site = PowerInput(meter_w=self.shown_w, miners=seen)
            self.state, output = curtailment.step(self.state, site, RULES, 1.0, at_ms=0)
            self._tell(output.wishes, output.bring_back)
            self.history.append(self.real_w)
            look()
        return self

    def _tell(self, wishes: tuple[Wish, ...], back: tuple[DeviceId, ...]) -> None:
        told = {wish.action.device: wish for wish in wishes}
        for machine in self.machines:
            wish = told.get(machine.id)
            if wish is not None and machine.told is None:
                machine.told, machine.told_s = wish, self.second + self.chance.randrange(1, 3)
                counted = machine.id in self.started  # a start counts with all it may draw
                if wish.back and isinstance(wish.action, SetPreset) and not counted:
                    watts = float(wish.action.preset) - float(machine.preset)
                    self.raises += [(self.second, watts)] if watts > 0 else []
            if machine.id in back:
                machine.draws, machine.left_s = True, 8.0
                self.started.add(machine.id)
                self.raises.append((self.second, 2_750.0))
            machine.obey(self.second)

    @property
    def changes(self) -> int:
        return sum(machine.changes for machine in self.machines)

    def order(self) -> PowerOrder:
        return self.state.orders[0]


def tolerance_w(target_w: float) -> float:
    return RULES.tolerance_w(target_w)


def test_labels_that_promise_too_little_do_not_make_the_first_cut_too_deep() -> None:
    """48 machines, 130 kW down to 90 kW: one plan by the labels, and more lowered while the first ones
    restarted, held this at 52 kW."""
    fleet = Fleet().begin(ORDER)
    assert 125e3 < fleet.real_w < 140e3
    fleet.run(60)
    assert fleet.order().state is StandingState.HOLDING
    lowest_w = fleet.base_w + sum(machine.steady_w for machine in fleet.machines)
    assert lowest_w >= 90e3 - 2_700
    assert all(machine.draws for machine in fleet.machines)  # presets reach it, whatever the labels say
    assert min(fleet.history[26:42]) >= 90e3 - 2_700  # before any trim
    assert (fleet.order().confirmed_s or 0.0) > 12.0  # the dip of the first cut confirms nothing
    assert fleet.real_w <= 90e3 + tolerance_w(90e3)


def test_a_deadline_too_near_for_two_cuts_is_met_and_then_trimmed() -> None:
    fleet = Fleet().begin(msgspec.structs.replace(ORDER, deadline_s=30.0)).run(30)
    assert fleet.order().confirmed_s is not None
    assert not fleet.order().late
    fleet.run(300)
    band = max(tolerance_w(90e3), 200.0)
    assert 90e3 - band <= fleet.real_w <= 90e3 + tolerance_w(90e3)


def test_a_standing_cap_gives_back_what_other_load_leaves() -> None:
    cap = PowerOrder(id=CommandId("cap"), actor="ada", target_w=110e3, cap=True)
    fleet = Fleet(base_w=20e3).begin(cap).run(200)
    changes = fleet.changes
    assert fleet.real_w <= 110e3
    fleet.base_w = 8e3
    fleet.run(400)
    assert fleet.changes > changes
    assert 110e3 * 0.98 - 2 * tolerance_w(110e3) <= fleet.real_w <= 110e3


def test_a_trim_keeps_to_the_ramp() -> None:
    order = msgspec.structs.replace(ORDER, ramp_w_per_min=20e3, deadline_s=600.0)
    fleet = Fleet(base_w=20e3).begin(order).run(400)
    fleet.raises.clear()
    fleet.state = msgspec.structs.replace(
        fleet.state, orders=(msgspec.structs.replace(fleet.order(), ramp_w_per_min=600.0),)
    )
    fleet.base_w = 8e3
    fleet.run(1_200)
    assert len(fleet.raises) >= 3
    for (at_s, watts), (next_s, _) in zip(fleet.raises, fleet.raises[1:], strict=False):
        assert next_s - at_s >= watts / 600.0 * 60.0, fleet.raises


@pytest.mark.parametrize("seed", range(4))
def test_noise_of_one_percent_makes_no_oscillation(seed: int) -> None:
    fleet = Fleet(seed=seed, noise=0.01).begin(msgspec.structs.replace(ORDER, deadline_s=30.0)).run(400)
    changes = fleet.changes
    fleet.run(1_500)
    assert fleet.changes - changes <= 2
    assert fleet.state.trims_undone <= 1


def test_other_load_that_comes_and_goes_makes_trims_rarer() -> None:
    fleet = Fleet().begin(ORDER).run(200)
    counts = []
    for _ in range(6):
        before = fleet.changes
        for base_w in (4e3, 12e3):
            fleet.base_w = base_w
            fleet.run(60)
        counts.append(fleet.changes - before)
    assert sum(counts[3:]) <= sum(counts[:3])
    assert counts[-1] <= 1, counts


def test_nothing_is_trimmed_while_an_inlet_rises_or_cooling_is_not_proven() -> None:
    for field in ("warming", "cooled"):
        fleet = Fleet(base_w=20e3).begin(ORDER).run(150)
        for machine in fleet.machines:
            setattr(machine, field, field == "warming")
        fleet.raises.clear()
        fleet.base_w = 4e3
        fleet.run(200)
        assert fleet.raises == []
        for machine in fleet.machines:
            setattr(machine, field, field != "warming")
        fleet.run(100)
        assert fleet.raises


@given(
    miners=st.integers(10, 60),
    seed=st.integers(0, 1_000),
    bend=st.floats(0.0, 0.15),
    share=st.floats(0.75, 0.97),
    deadline_s=st.sampled_from([30.0, 60.0, 180.0]),
)
@settings(max_examples=15, deadline=None)
def test_held_within_the_band_and_never_above_it_for_longer_than_the_confirm_time(
    miners: int, seed: int, bend: float, share: float, deadline_s: float
) -> None:
    fleet = Fleet(miners, seed=seed, bend=bend)
    target_w = share * fleet.real_w
    fleet.begin(msgspec.structs.replace(ORDER, target_w=target_w, deadline_s=deadline_s))
    above = 0
    worst = 0

    def look() -> None:
        nonlocal above, worst
        above = above + 1 if fleet.real_w > target_w + tolerance_w(target_w) else 0
        if fleet.order().confirmed_s is not None:
            worst = max(worst, above)

    fleet.run(420, look)
    assert fleet.order().state is StandingState.HOLDING
    assert fleet.real_w <= target_w + tolerance_w(target_w)
    assert fleet.real_w >= target_w - max(tolerance_w(target_w), 300.0), (fleet.real_w, target_w)
    assert worst <= RULES.confirm_for_s + 2 * RULES.lag_s + 8.0 * 2, worst


def inlet(slope_k_per_min: float, *, seconds: int = 90, probes: int = 2) -> tuple[Inlet, float]:
    watched, chance = Inlet(), random.Random(3)
    for second in range(seconds):
        base_c = 22.0 + slope_k_per_min * second / 60.0
        told = tuple(
            SensorInput(device=DeviceId(f"p-{n}"), value=base_c + chance.gauss(0.0, 0.2))
            for n in range(probes)
        )
        watched.note({"inlet_air_c": told}, float(second))
    return watched, float(seconds - 1)


@pytest.mark.parametrize(
    ("slope", "rises"), [(0.0, False), (-3.0, False), (0.5, False), (1.5, True), (4.0, True)]
)
def test_an_inlet_that_rises_by_more_than_a_kelvin_per_minute_waits(slope: float, rises: bool) -> None:
    watched, now_s = inlet(slope)
    assert watched.rises(now_s) is rises


def test_an_unknown_inlet_waits_only_where_there_are_probes() -> None:
    assert Inlet().rises(0.0) is False
    watched, now_s = inlet(0.0, seconds=30)
    assert watched.rises(now_s) is True  # not known for a minute yet
    watched, now_s = inlet(0.0)
    watched.note({"inlet_air_c": (SensorInput(device=DeviceId("p-0"), value=None),)}, now_s + 1)
    assert watched.rises(now_s + 1) is True
    watched.note({}, now_s + 2)
    assert watched.rises(now_s + 2) is False
