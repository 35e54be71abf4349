"""Every state that one zone can get into, and what holds in all of them (S07, S12, S15).

A breadth-first search with the real `zone.step` and `asks`: from every state every letter of
`search.alphabet`, every ask of a person, and a power cut. States are canonical (`search.abstraction`), so the
search ends.
"""

import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.interlocks import asks, restart
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.interlocks.inputs import Demand, DemandKind, Finding, MainsClaim, ZoneOutputs
from edge_agent.guardian.interlocks.modes import TABLE, Cause
from edge_agent.guardian.interlocks.stale import Sight
from edge_agent.guardian.interlocks.state import Durable, SafeWhy, Trip, ZoneState, durable, restored
from edge_agent.guardian.storage import durable as files
from edge_agent.ipc import Mode
from safety.search.abstraction import MAX_STARTS, canonical, key, limits_of
from safety.search.alphabet import DELAY_S, MINERS, START, WORLDS, Letter, World, possible
from shared.alarms import EventKind
from support.guardian import ZONE, make_site

BY = {"by": "ada", "reason": "x"}
Step = tuple[str, ZoneState]
"""What happened, and what came of it."""

_NOT_THE_CORES = {Cause.BAD_CONFIG, Cause.INPUTS_STALE, Cause.NO_CONFIDENCE}
"""Listed transitions that no step of a zone asks for."""


class Search:
    """The reachable states, each with a shortest way to it."""

    def __init__(self, world: World) -> None:
        with tempfile.TemporaryDirectory() as folder:
            site = make_site(Path(folder), len(MINERS))
        self.world = world
        self.zone, self.timing = limits_of(world.site(site.zones[0]), site.timing, world.delay_s)
        self.alphabet = list(world.letters())
        self.states: dict[bytes, ZoneState] = {}
        self.came: dict[bytes, tuple[bytes | None, str]] = {}
        self.transitions = 0
        self.moves: Counter[tuple[Mode, str, Mode]] = Counter()

    def run(self) -> None:
        start = canonical(ZoneState(), self.world.delay_s)
        self.states[key(start)] = start
        self.came[key(start)] = (None, "start")
        waiting = deque([key(start)])
        while waiting:
            here = waiting.popleft()
            for name, after in self._after(self.states[here]):
                self.transitions += 1
                same = canonical(after, self.world.delay_s)
                there = key(same)
                if there not in self.states:
                    self.states[there] = same
                    self.came[there] = (here, name)
                    waiting.append(there)

    def way_to(self, state: ZoneState) -> str:
        """How to get there, for the message of a failure."""
        names: list[str] = []
        here: bytes | None = key(canonical(state, self.world.delay_s))
        while here is not None:
            here, name = self.came[here]
            names.append(name)
        return " → ".join(reversed(names))

    # ------------------------------------------------------------ what can happen

    def _after(self, before: ZoneState) -> list[Step]:
        found: list[Step] = [
            (one.name, self.step(before, one)[0]) for one in self.alphabet if possible(one, before)
        ]
        found += self._asked(before)
        found.append(("power cut", self._cut(before)))
        return found

    def step(self, before: ZoneState, one: Letter) -> tuple[ZoneState, ZoneOutputs]:
        """One step of the core, with everything checked that must hold after any step."""
        after, outputs, found = zone_step.step(before, one.inputs, self.zone, self.timing, one.dt)
        try:
            self._moved(before, after, found)
            self._safe(before, after, outputs, one)
        except AssertionError as error:
            error.add_note(f"the way there: {self.way_to(before)} → {one.name}")
            raise
        return after, outputs

    def _asked(self, before: ZoneState) -> list[Step]:
        found: list[Step] = []
        reset = asks.reset(before, ZONE, **BY)
        if isinstance(reset, Granted):
            assert reset.cleared
            assert not any(trip.cause_present for trip in reset.cleared), "reset with its cause present"
            assert _names(reset.state.trips) == _names(before.trips) - _names(reset.cleared)
            self._moved(before, reset.state, reset.found)
            found.append(("reset", reset.state))
        stopped = asks.safe_stop(before, ZONE, **BY)
        assert stopped.state.trips == before.trips, "a safe-stop clears no latch"
        self._moved(before, stopped.state, stopped.found)
        found.append(("safe-stop", stopped.state))
        for mode in Mode:
            answer = asks.set_mode(before, ZONE, mode, **BY)
            if isinstance(answer, Granted):
                assert not before.zone_trips, "nobody leaves tripped by choosing a mode"
                assert answer.state.trips == before.trips
                self._moved(before, answer.state, answer.found)
                found.append((f"mode {mode}", answer.state))
        return found + self._bypassed(before)

    def _bypassed(self, before: ZoneState) -> list[Step]:
        """What a person may do about the world's bypass."""
        if self.world.bypass is None:
            return []
        ask = {"interlock": self.world.bypass, "by": "ada"}
        answers = {
            "bypass open": asks.open_bypass(
                before, self.zone, self.timing, **ask, seconds=DELAY_S, reason="x"
            ),
            "bypass close": asks.close_bypass(before, ZONE, **ask),
        }
        found: list[Step] = []
        for name, answer in answers.items():
            if isinstance(answer, Granted):
                assert answer.state.trips == before.trips, "a bypass clears no latch"
                assert answer.state.mode is before.mode
                found.append((name, answer.state))
        return found

    def _cut(self, before: ZoneState) -> ZoneState:
        """A power cut: what is left is what a new process reads from the disk."""
        after = restored(files.unseal(files.seal(durable(before)), Durable))
        assert _names(after.trips) == _names(before.trips), "a crash loses no latch"
        assert (after.mode is Mode.TRIPPED) == bool(before.zone_trips)
        if before.mode is Mode.SAFE and before.safe_why is SafeWhy.STOP:
            assert (after.mode, after.safe_why) == (Mode.SAFE, SafeWhy.STOP), "a safe-stop survives"
        assert not after.cooling.proven
        return after

    # ------------------------------------------------------------ what must hold

    def _moved(self, before: ZoneState, after: ZoneState, found: tuple[Finding, ...]) -> None:
        """Only listed transitions, each told, and they lead from the mode before to the mode after."""
        mode = before.mode
        for finding in found:
            if finding.kind is not EventKind.MODE or finding.data["from"] == finding.data["to"]:
                continue
            cause = Cause(str(finding.data["cause"]))
            assert finding.data["from"] == mode
            assert TABLE[mode].get(cause) == finding.data["to"], "a transition that nobody listed"
            self.moves[mode, cause, TABLE[mode][cause]] += 1
            mode = TABLE[mode][cause]
        assert mode is after.mode, "a transition that nobody was told"

    def _safe(self, before: ZoneState, after: ZoneState, outputs: ZoneOutputs, one: Letter) -> None:
        assert _names(before.trips) <= _names(after.trips), "a step clears no latch"
        assert (after.mode is Mode.TRIPPED) == bool(after.zone_trips)
        assert outputs.durable == (durable(before) != durable(after)), "what must be on the disk is said"
        starts, stops = _wanted(outputs, DemandKind.START), _wanted(outputs, DemandKind.STOP)
        unseen_stopped = {device for device, track in after.miners.items() if not track.stopped}
        lost = {device for device, track in after.miners.items() if track.watch.sight is Sight.LOST}
        assert not starts & (stops | after.latched | unseen_stopped)
        assert stops >= after.latched & unseen_stopped, "a latched miner is stopped until it is seen stopped"
        if after.mode is Mode.TRIPPED:
            assert stops == unseen_stopped | lost, "tripped: what is not seen stopped now is asked to stop"
            assert not starts
        if after.mode is Mode.SAFE and after.safe_why is SafeWhy.STOP:
            assert stops - (lost & after.latched) == unseen_stopped - (lost & after.latched)
            assert not starts
        if starts:
            assert after.cooling.proven, "cooling before load"
            assert after.mode is not Mode.MANUAL
        for miner in one.inputs.miners:
            if miner.age_s > self.timing.stale_after_s:
                assert miner.device in outputs.status.inhibited, "stale is unsafe"
        if after.bypasses.open:
            assert not starts, "nothing is raised under a bypass"
            assert set(outputs.status.inhibited) >= set(MINERS)
        if one.inputs.mains is MainsClaim.STOP:
            assert stops == unseen_stopped | lost, "mains are gone: as after a trip"
        assert not starts & one.inputs.held
        if before.mode is Mode.SAFE and before.safe_why is SafeWhy.STOP:
            assert after.mode in (Mode.SAFE, Mode.TRIPPED), "a safe-stop ends by a person"

    # ------------------------------------------------------------ the way back

    def brought_back(self, start: ZoneState, known: set[bytes]) -> list[str] | None:
        """Whether a sound site and a patient person bring this state to LOCAL_AUTO without a latch.

        `known` are states of which that is known already. None: yes; else what was tried in vain.
        """
        state, tried, passed = start, [], []
        demands: tuple[Demand, ...] = ()
        for _ in range(40):
            if (here := key(canonical(state, self.world.delay_s))) in known or self._is_well(state):
                known.update(passed)
                return None
            passed.append(here)
            ready = state.trips and not any(trip.cause_present for trip in state.trips)
            if ready:
                answer = asks.reset(state, ZONE, **BY)
                assert isinstance(answer, Granted), "the cause is gone, and yet no reset"
                assert not answer.state.trips
                tripped = state.mode is Mode.TRIPPED
                assert answer.state.mode is (Mode.SAFE if tripped else state.mode)
                tried.append("reset")
                state = answer.state
            elif state.mode is Mode.MANUAL or (state.safe_why is SafeWhy.STOP and not state.zone_trips):
                answer = asks.set_mode(state, ZONE, Mode.LOCAL_AUTO, **BY)
                assert isinstance(answer, Granted)
                tried.append("hand back")
                state = answer.state
            one = self._obedient(state, demands)
            tried.append(one.name)
            state, outputs = self.step(state, one)
            demands = outputs.demands
        return tried

    @staticmethod
    def _is_well(state: ZoneState) -> bool:
        return state.mode is Mode.LOCAL_AUTO and not state.trips and not state.pending

    def _obedient(self, state: ZoneState, demands: tuple[Demand, ...]) -> Letter:
        """A sound world: cooling good, everything heard, miners do what was asked of them."""
        good = self.world.letter().inputs
        stopped = self.world.letter(both="stopped").inputs
        starts = {demand.device for demand in demands if demand.kind is DemandKind.START}
        stops = {demand.device for demand in demands if demand.kind is DemandKind.STOP}
        miners = []
        for running, standing in zip(good.miners, stopped.miners, strict=True):
            track = state.miners.get(running.device)
            if running.device in starts:
                miners.append(msgspec.structs.replace(running, commanded=(START,)))
            elif running.device in stops or (track is not None and track.stopped):
                miners.append(standing)
            else:
                miners.append(running)
        return Letter(name="as asked", inputs=msgspec.structs.replace(good, miners=tuple(miners)))


def _names(trips: tuple[Trip, ...]) -> set[tuple[str, str]]:
    return {(trip.interlock, trip.device or "") for trip in trips}


def _wanted(outputs: ZoneOutputs, kind: DemandKind) -> set[str]:
    return {demand.device for demand in outputs.demands if demand.kind is kind}


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: world.name)
def search(request: pytest.FixtureRequest) -> Iterator[Search]:
    started = time.perf_counter()
    whole = Search(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restart, "MAX_STARTS", MAX_STARTS)
        whole.run()
        print(
            f"\nmode search ({whole.world.name}): {len(whole.states)} states, "
            f"{whole.transitions} transitions with {len(whole.alphabet)} letters, "
            f"in {time.perf_counter() - started:.0f} s"
        )
        yield whole


pytestmark = pytest.mark.slow


def test_s15_only_listed_transitions_are_taken(search: Search) -> None:
    """And in the world of miners and models every one that a step or a person can take."""
    listed = {(mode, cause) for mode, row in TABLE.items() for cause in row if cause not in _NOT_THE_CORES}
    taken = {(mode, cause) for mode, cause, _ in search.moves}
    assert taken <= listed
    if "model" in search.world.words:
        assert listed - taken == {(Mode.ML_SHADOW, Cause.MODEL_INVALID)}


def test_s07_every_trip_is_resettable_once_its_cause_is_gone(search: Search) -> None:
    latched = [state for state in search.states.values() if state.trips]
    assert latched
    known: set[bytes] = set()
    for state in latched:
        tried = search.brought_back(state, known)
        assert tried is None, f"{search.way_to(state)}; then in vain: {tried}"
    print(f"mode search ({search.world.name}): all of {len(latched)} states with a latch lead to local-auto")


def test_every_state_leads_back_to_local_auto(search: Search) -> None:
    known: set[bytes] = set()
    for state in search.states.values():
        tried = search.brought_back(state, known)
        assert tried is None, f"{search.way_to(state)}; then in vain: {tried}"
