"""Random histories of a zone, with crashes between any two steps (S04, S07, S12).

Hypothesis searches for a sequence that breaks an invariant and shrinks it; the same trace is also replayed
and must give the same result.
"""

import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.config import SensorRole, SiteFile
from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.interlocks.inputs import (
    Commanded,
    DemandKind,
    Finding,
    MinerInput,
    ModelClaim,
    SensorInput,
    ZoneInput,
    ZoneOutputs,
)
from edge_agent.guardian.interlocks.stale import Sight
from edge_agent.guardian.interlocks.state import Durable, ZoneState, durable, restored
from edge_agent.guardian.storage import durable as files
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from shared.telemetry import MinerState
from support.guardian import PROBE, ZONE, make_site, miner_id

_SITE: list[SiteFile] = []


def the_site() -> SiteFile:
    if not _SITE:
        with tempfile.TemporaryDirectory() as folder:
            _SITE.append(make_site(Path(folder)))
    return _SITE[0]


temperatures = st.one_of(st.none(), st.floats(20, 100).map(lambda c: round(c, 1)))
ages = st.sampled_from([0.5, 5.9, 6.1, 11.9, 12.1, 1e9])
numbers = st.integers(1, 4)
steps = st.sampled_from([0.25, 0.5, 1.0])


class CoreMachine(RuleBasedStateMachine):
    """One zone of four miners, its operator, its agent and its power supply."""

    @initialize()
    def begin(self) -> None:
        site = the_site()
        self.zone, self.timing = site.zones[0], site.timing
        self.state = ZoneState()
        self.disk = durable(self.state)
        self.miners = {
            miner_id(n): MinerInput(
                device=miner_id(n), age_s=0.5, state=MinerState.MINING, chip_c=65.0, board_c=50.0
            )
            for n in range(1, 5)
        }
        self.cooling: float | None = 80.0
        self.inlet_c: float | None = 24.0
        self.lease_overdue_s = 0.0
        self.model = ModelClaim.NONE
        self.commanded: dict[str, Commanded] = {}
        self.at_ms = 0
        self.outputs: ZoneOutputs | None = None
        self.inputs: ZoneInput | None = None
        self.found: tuple[Finding, ...] = ()
        self.open_trips: set[str] = set()
        self.before_modes = Mode.SAFE
        self.trace: list[tuple[ZoneState, ZoneInput, float, ZoneState, ZoneOutputs]] = []

    # ------------------------------------------------------------ what the world does

    @rule(n=numbers, chip=temperatures, board=temperatures)
    def a_miner_reads(self, n: int, chip: float | None, board: float | None) -> None:
        self._miner(n, chip_c=chip, board_c=board)

    @rule(n=numbers, state=st.sampled_from([None, *MinerState]))
    def a_miner_is(self, n: int, state: MinerState | None) -> None:
        self._miner(n, state=state)

    @rule(n=numbers, age_s=ages)
    def a_miner_was_heard(self, n: int, age_s: float) -> None:
        self._miner(n, age_s=age_s)

    @rule(value=st.one_of(st.none(), st.sampled_from([0.0, 19.9, 20.0, 39.9, 40.0, 100.0])))
    def cooling_reads(self, value: float | None) -> None:
        self.cooling = value

    @rule(value=st.one_of(st.none(), st.sampled_from([24.0, 33.0, 34.9, 35.0, 40.0, 45.0])))
    def the_inlet_probe_reads(self, value: float | None) -> None:
        self.inlet_c = value

    @rule(seconds=st.sampled_from([0.0, 29.0, 31.0, 121.0]))
    def lease(self, seconds: float) -> None:
        self.lease_overdue_s = seconds

    @rule(model=st.sampled_from(list(ModelClaim)))
    def assignment(self, model: ModelClaim) -> None:
        self.model = model

    @rule(n=numbers, start=st.booleans())
    def a_permit_went_out(self, n: int, start: bool) -> None:
        self.commanded[miner_id(n)] = Commanded(settle_s=20.0, start=start)

    def _miner(self, n: int, **fields: object) -> None:
        self.miners[miner_id(n)] = msgspec.structs.replace(self.miners[miner_id(n)], **fields)

    # ------------------------------------------------------------ what persons do

    @rule()
    def reset(self) -> None:
        causes = {trip.id: trip.cause_present for trip in self.state.trips}
        answer = asks.reset(self.state, ZONE, by="ada", reason="x")
        if isinstance(answer, Granted):
            assert not any(causes[trip.id] for trip in answer.cleared), "reset with its cause present"
            self.open_trips -= {trip.id for trip in answer.cleared}
            self.state = answer.state
            self.disk = durable(self.state)
        else:
            assert all(causes.values())

    @rule()
    def safe_stop(self) -> None:
        self.state = asks.safe_stop(self.state, ZONE, by="ada", reason="x").state
        self.disk = durable(self.state)

    @rule(mode=st.sampled_from(list(Mode)))
    def set_mode(self, mode: Mode) -> None:
        answer = asks.set_mode(self.state, ZONE, mode, by="ada", reason="x")
        if isinstance(answer, Granted):
            assert not self.state.zone_trips
            self.state = answer.state
            self.disk = durable(self.state)

    # ------------------------------------------------------------ time, and the power cut

    @rule(dt=steps, count=st.integers(1, 30))
    def time_passes(self, dt: float, count: int) -> None:
        for _ in range(count):
            self._step(dt)
            self.always()

    @rule()
    def power_cut(self) -> None:
        """Everything but the latch file is gone; the file is read as a new process would."""
        kept = files.unseal(files.seal(self.disk), Durable)
        self.state = restored(kept)
        assert {trip.id for trip in self.state.trips} == self.open_trips
        self.outputs = None

    def _step(self, dt: float) -> None:
        self.at_ms += round(dt * 1000)
        self.inputs = ZoneInput(
            miners=tuple(
                msgspec.structs.replace(m, commanded=(self.commanded[d],)) if d in self.commanded else m
                for d, m in self.miners.items()
            ),
            cooling_value=self.cooling,
            cooling_at_fail_safe=(False,),
            sensors={SensorRole.INLET_AIR: (SensorInput(device=PROBE, value=self.inlet_c),)},
            lease_overdue_s=self.lease_overdue_s,
            model=self.model,
            at_ms=self.at_ms,
        )
        self.commanded = {}
        before = self.state
        self.state, self.outputs, self.found = zone_step.step(before, self.inputs, self.zone, self.timing, dt)
        if self.outputs.durable:
            self.disk = durable(self.state)
        self.open_trips |= {f.key.removeprefix("trip/") for f in self.found if f.kind is EventKind.TRIPPED}
        self.trace = [*self.trace[-20:], (before, self.inputs, dt, self.state, self.outputs)]

    # ------------------------------------------------------------ what always holds

    @invariant()
    def always(self) -> None:
        if self.outputs is None or self.inputs is None:
            return
        demands = self.outputs.demands
        starts = {d.device for d in demands if d.kind is DemandKind.START}
        stops = {d.device for d in demands if d.kind is DemandKind.STOP}
        assert not starts & stops
        if self.outputs.status.mode is Mode.TRIPPED:
            tracks = self.state.miners.items()
            seen_stopped = {d for d, t in tracks if t.stopped and t.watch.sight is not Sight.LOST}
            assert stops == set(self.miners) - seen_stopped, "tripped: everything not seen stopped is stopped"
            assert not starts
            assert any(d.kind is DemandKind.COOLING for d in demands), "cooling fails on"
        if starts:
            assert self.state.cooling.proven
            assert not self.state.zone_trips
            assert self.state.mode is not Mode.MANUAL
            assert not starts & self.state.latched
        for device in self.state.latched:
            assert device in self.outputs.status.inhibited
        for miner in self.inputs.miners:
            if miner.age_s > self.timing.stale_after_s:
                assert miner.device in self.outputs.status.inhibited, "stale is unsafe"

    @invariant()
    def latches_stay_until_a_person_resets_them(self) -> None:
        assert {trip.id for trip in self.state.trips} == self.open_trips
        assert {trip.id for trip in self.disk.trips} == self.open_trips, "and they are on the disk"
        assert (self.state.mode is Mode.TRIPPED) == bool(self.state.zone_trips)

    @invariant()
    def the_same_trace_gives_the_same_result(self) -> None:
        for before, inputs, dt, after, outputs in self.trace[-2:]:
            state, again, _ = zone_step.step(before, inputs, self.zone, self.timing, dt)
            assert (state, again) == (after, outputs)


CoreMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCoreMachine = CoreMachine.TestCase
