"""An adversarial agent in closed loop with the plant, shortened; the long run is `make soak-safety`.

What counts as a violation is defined in `support.closed_loop_monitor`. The second half proves that the
harness can find one: with a part of the guardian broken on purpose, each rule must speak up.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.guardian import arbiter, ladder
from edge_agent.guardian.actions.executor import Executor
from edge_agent.guardian.arbiter import Permit, authority, decision, possible, raising, rates
from edge_agent.guardian.interlocks import demands, quality, trips
from edge_agent.guardian.interlocks.inputs import DemandKind
from edge_agent.guardian.requests import Context, Refusal, Request, Source
from edge_agent.ipc import Mode
from firmware_adapters.capabilities import Observation
from shared.commands import Priority, SetPreset, SwitchOutlet, WriteResult
from shared.ids import CommandId, DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Sample
from support import closed_loop, closed_loop_run
from support.closed_loop import Episode, EpisodeResult, MemoryLatches, Plan
from support.closed_loop_adversary import STRATEGIES
from support.closed_loop_devices import changed
from support.closed_loop_faults import FAULTS, FIRMWARE_FAULTS
from support.closed_loop_miners import straight
from support.guardian import ZONE, ZoneBench

pytestmark = pytest.mark.slow

SHOWN = 5


def sound(result: EpisodeResult) -> None:
    """No violation; the first few are shown with what replays them."""
    assert not result.violations, f"episode {result.number}: {result.violations[:SHOWN]}"


# ---------------------------------------------------------------- it holds


def test_some_hundred_steps_of_everything() -> None:
    result = Episode(3, 0, Plan(steps=600, fault_every_s=12.0)).run()
    sound(result)
    assert result.interventions > 50, "an adversary that is never refused tests nothing"
    assert sum(result.faults.values()) > 20


@pytest.mark.parametrize("number", range(4))
def test_several_sites_weathers_and_faults(number: int) -> None:
    result = Episode(5, number, Plan(steps=2_500, fault_every_s=30.0)).run()
    sound(result)
    assert result.counts["writes"] > 50


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_alone(strategy: str) -> None:
    sound(Episode(7, STRATEGIES.index(strategy), Plan(steps=80, strategy=strategy)).run())


_SHOWS: dict[str, Callable[[EpisodeResult], bool]] = {
    "empty-200": lambda r: r.counts.get("write unconfirmed", 0) > 0,
    "settings-ignored": lambda r: r.counts.get("write unconfirmed", 0) > 0,
    "lockout-429": lambda r: r.counts.get("write rejected", 0) > 0,
    "web-server-hangs": lambda r: r.counts.get("write unconfirmed", 0) > 0,
}
"""What a fault must have done to the writes of the run, where it touches writes."""


@pytest.mark.parametrize("fault", FIRMWARE_FAULTS)
def test_each_fault_of_the_firmware_through_an_emergency_stop(fault: str) -> None:
    """Miners.md §1.7, one by one: on many machines at once, while a zone is stopped and comes back."""
    episode = Episode(9, FIRMWARE_FAULTS.index(fault), Plan(steps=1, faults=(fault,), fault_every_s=0.0))
    inputs = episode.devices.gear[DeviceId("io-air-a")]
    episode.stage.focus = "air-a"
    for step in range(200):
        if step < 160 and step % 8 == 0:
            episode.director.begin(fault, lasts_s=None if step % 16 else 60.0)
        if step == 60:
            inputs.contacts["estop_pressed"] = 1.0
        if step == 80:
            inputs.contacts.clear()
        episode.step()
    result = episode.result()
    sound(result)
    assert result.faults[fault] == 20
    assert result.counts["trip contact/estop"] >= 1
    assert _SHOWS.get(fault, lambda _: True)(result), result.counts


def test_every_fault_of_the_list_begins_and_ends() -> None:
    """Each leaves the site as it found it, so that a long run does not become one big fault."""
    episode = Episode(11, 0, Plan(fault_every_s=0.0))
    for name in FAULTS:
        episode.director.begin(name, lasts_s=2.0)
        for _ in range(4):
            episode.step()
    stage = episode.stage
    assert not episode.director.running
    assert not +stage.hindered
    assert not +stage.dishonest
    assert not stage.devices.silent
    assert not stage.devices.ignores
    assert not any(stage.devices.lies.values())
    sound(episode.result())


# ---------------------------------------------------------------- it is the same every time


def test_the_same_seed_gives_the_same_trace() -> None:
    once, again = (Episode(13, 1, Plan(steps=150, fault_every_s=10.0)).run() for _ in range(2))
    assert msgspec.json.encode(once) == msgspec.json.encode(again)
    assert Episode(14, 1, Plan(steps=150, fault_every_s=10.0)).run().trace != once.trace


def test_another_process_with_another_hash_seed_gives_the_same_trace() -> None:
    program = (
        "from support.closed_loop import Episode, Plan;"
        "print(Episode(13, 1, Plan(steps=150, fault_every_s=10.0)).run().trace)"
    )
    path = os.pathsep.join(sys.path)
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1


def test_the_fast_way_of_reading_says_what_adapter_and_emulator_say() -> None:
    episode = Episode(15, 0, Plan(fault_every_s=0.0, strategy="saturate"))
    for _ in range(60):
        episode.step()
    for miner in episode.devices.miners.values():
        fast = episode.devices.fleet.observation(miner.index)
        miner._compare(fast, straight(miner.adapter._read_web()))


# ---------------------------------------------------------------- it can find violations


_HELPED_BY = {
    "clamp": "orders",
    "raise-journal": "orders",
    "raise-latched": "orders",
    "raise-cooling-unproven": "orders",
    "off-ladder": "saturate",
    "wrong-model": "wrong-model",
    "confidence": "forged-confidence",
    "not-fresh": "stale",
    "dwell": "oscillate",
}
"""Rule → the strategy that puts it to the test soonest."""


_BEGUN = {
    "raise-journal": "disk-full",
    "raise-cooling-unproven": "fan-wall-stopped",
    "cooling-lost-not-tripped": "fan-wall-stopped",
    "contact-missed": "contact-closed",
    "trip-missed": "unit-error",
    "raise-latched": "unit-error",
    "latch-lost": "unit-error",
    "bad-value-believed": "spike",
    "not-escalated": "empty-200",
    "stop-late": "unit-error",
    "runs-while-tripped": "unit-error",
    "stop-not-asked": "fan-wall-stopped",
    "restart-power": "fan-wall-stopped",
    "start-too-soon": "fan-wall-stopped",
}
"""Rule → the fault that puts it to the test soonest."""


def _a_warm_miner(episode: Episode) -> None:
    """One that tells a temperature between shed and trip."""
    miner = episode.devices.miners[DeviceId("loop-h-01")].entry
    if miner.id not in episode.devices.lies:
        warm_c = episode.site.zone(miner.zone).limits.chip_temp_c.shed + 1.0
        lie = partial(_tells, warm_c)
        episode.stage.lie(miner.id, "warm", lie)


def _tells(celsius: float, seen: Observation, _now_s: float) -> Observation:
    return changed(seen, lambda _: celsius, ("chip_temp_max_c",))


def _found(kind: str, *, steps: int = 900, before: Callable[[Episode], None] | None = None) -> bool:
    """Whether a violation of this kind comes up within so many steps of a busy site."""
    for number in range(3):
        episode = Episode(17, number, Plan(fault_every_s=6.0, strategy=_HELPED_BY.get(kind)))
        for _ in range(steps):
            if before is not None:
                before(episode)
            if kind in _BEGUN and episode.monitor.step_number % 80 == 40:
                episode.director.begin(_BEGUN[kind], lasts_s=60.0)
            episode.step()
            if episode.monitor.counts["violation " + kind]:
                return True
    return False


def _nothing(*_args: object, **_more: object) -> list[Any]:
    return []


def _never_an_outlet(request: Request, context: Context) -> Permit | Refusal:
    if isinstance(request.action, SwitchOutlet):
        return Refusal(request=request, violations=("not today",))
    return decision.decide(request, context)


_BROKEN: dict[str, tuple[object, str, object]] = {
    "off-ladder": (ladder, "usable", lambda facts, *, hydro: facts.presets),
    "clamp": (possible, "out_of_bounds", _nothing),
    "raise-cooling-unproven": (raising, "forbidden", _nothing),
    "raise-latched": (raising, "forbidden", _nothing),
    "raise-journal": (raising, "forbidden", _nothing),
    "wrong-model": (authority, "model", _nothing),
    "confidence": (possible, "unsound", _nothing),
    "not-fresh": (possible, "expired", _nothing),
    "rank": (authority, "outranked", _nothing),
    "dwell": (rates, "_dwell", _nothing),
    "start-too-soon": (rates, "_start_limits", _nothing),
    "restart-power": (rates, "_start_limits", _nothing),
    "trip-missed": (trips, "_hot_miners", _nothing),
    "cooling-lost-not-tripped": (trips, "fired", lambda *_args: ()),
    "contact-missed": (trips, "_contacts", lambda *_args: iter(())),
    "stop-not-asked": (demands, "_stops", _nothing),
    "stop-late": (closed_loop.SyncDesk, "apply", lambda _self, _demands: None),
    "runs-while-tripped": (closed_loop.SyncDesk, "apply", lambda _self, _demands: None),
    "shed-missed": (demands, "_sheds", _nothing),
    "latch-lost": (MemoryLatches, "load", lambda *_args, **_more: {}),
    "bad-value-believed": (quality, "_in_range", lambda _point, reading: reading),
    "not-escalated": (arbiter, "decide", _never_an_outlet),
}
"""Rule → (where, what, by what it is replaced): a guardian with that hole must be caught by that rule."""


@pytest.mark.parametrize("kind", _BROKEN)
def test_a_hole_in_the_guardian_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, instead = _BROKEN[kind]
    monkeypatch.setattr(where, what, instead)
    if kind == "clamp":  # two lines of defence: both must be gone
        monkeypatch.setattr(possible, "clamp", lambda action, *_args: action)
    before = _a_warm_miner if kind == "shed-missed" else None
    assert _found(kind, before=before), f"with {what} broken, nothing said {kind!r}"


def test_a_command_that_nobody_permitted_is_found() -> None:
    def sneak(episode: Episode) -> None:
        episode.devices.miners[DeviceId("air-a-01")].witness.stop()

    assert _found("write-without-permit", steps=3, before=sneak)


# ---------------------------------------------------------------- the runner


def test_the_runner_reports_and_says_that_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "soak.json"
    assert closed_loop_run.main(["--steps", "120", "--seed", "7", "--report", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["steps"] == 120
    assert report["violations"] == 0
    assert {"interventions", "faults", "seed", "trace", "kinds"} <= report.keys()
    assert "120 of 120 steps" in capsys.readouterr().out


def test_the_runner_says_how_to_replay_a_violation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demands, "_stops", _nothing)
    monkeypatch.setattr(closed_loop.Director, "tick", _press_the_button)
    file = tmp_path / "soak.json"
    assert closed_loop_run.main(["--steps", "240", "--report", str(file)]) == 1
    report = json.loads(file.read_text())
    assert report["violations"] > 0
    assert report["first_violations"][0]["kind"] == "stop-not-asked"
    assert "EPISODE=0 STEPS=" in capsys.readouterr().err


def _press_the_button(director: closed_loop.Director, _dt_s: float) -> None:
    inputs = director._stage.devices.gear[DeviceId("io-air-a")]
    inputs.contacts["estop_pressed"] = float(director._stage.clock.monotonic() > 1040.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--steps", "many"], "STEPS is 'many', expected a whole number"),
        (["--steps", "0"], "STEPS is 0, expected at least 1"),
        (["--seed", "-1"], "SEED is -1, expected at least 0"),
        (["--report", "/no/such/folder/soak.json"], "its folder must exist"),
    ],
)
def test_the_runner_refuses_what_makes_no_sense(
    wrong: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        closed_loop_run.main(["--report", str(tmp_path / "soak.json"), *wrong])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


# ---------------------------------------------------------------- what it found


def test_a_miner_that_was_seen_stopped_and_is_lost_is_asked_to_stop_by_a_trip(zone: ZoneBench) -> None:
    """It may have rebooted under the silence, and mines again then (found by seed 11)."""
    zone.auto().stopped(1).run(5).silent(1).run(20)
    assert "m-1" not in {d.device for d in zone.demands if d.kind is DemandKind.STOP}
    zone.cool(0.0).run(6)
    assert zone.mode is Mode.TRIPPED
    assert "m-1" in {d.device for d in zone.demands if d.kind is DemandKind.STOP}


class _Deaf:
    """A miner that accepts every preset and runs none of them; its clock moves when somebody waits."""

    kind = DeviceKind.MINER
    last_good = None

    def __init__(self) -> None:
        self.entry = DeviceEntry(
            id=DeviceId("m-1"), kind=self.kind, adapter="vnish", host="127.0.0.1", port=80, zone=ZONE
        )
        self.device, self.adapter, self.asked, self.now_s = self.entry.id, self, 0, 0.0

    async def set_preset(self, _name: str) -> None:
        self.asked += 1

    async def read(self) -> Sample:
        return Sample(
            device=self.device,
            kind=self.kind,
            at_s=self.now_s,
            at_ms=0,
            boot="b",
            seq=1,
            state=MinerState.MINING,
            preset="2000",
        )

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize(("still", "asked"), [(True, 2), (False, 1)])
async def test_a_raise_is_sent_again_only_while_it_is_still_allowed(still: bool, asked: int) -> None:
    """A permit counts for now; half a minute later the zone may have tripped (found by seeds 7 and 11)."""
    miner: Any = _Deaf()
    request = Request(
        id=CommandId("c"),
        action=SetPreset(device=miner.device, preset="2500"),
        priority=Priority.ORDER,
        source=Source.ORDER,
        why="",
    )
    permit = Permit(
        decision._SEAL,
        action=request.action,
        request=request,
        direction=arbiter.Direction.RAISE,
        settle_s=0.0,
        confirm_s=40.0,
        shows_s=0.0,
        narrowed="",
        then=None,
    )
    executor = Executor({miner.device: miner}, miner, timeout_s=1.0)
    executor.may_resend = lambda _permit: still
    record = await executor.execute(permit)
    assert record.result is WriteResult.UNCONFIRMED
    assert miner.asked == asked
