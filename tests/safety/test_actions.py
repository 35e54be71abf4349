"""Actions on a whole guardian: proposed, bounded, grouped, read back, watched, taken back.

What firmware does stands here too: an accepted command proves nothing, a change takes its time, a miner goes
its own way, a step is not told.
"""

import asyncio
import re
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.actions.proposals import MAX_TTL_S
from edge_agent.guardian.agents.peers import Peer
from edge_agent.guardian.requests import CapView
from edge_agent.ipc import Effect, Mode, Outcome, Propose, Result
from edge_agent.ipc import Order as OrderFrame
from shared.alarms import EventKind
from shared.capabilities import Ability, Capability
from shared.commands import (
    ActionOutcome,
    AnyAction,
    CommandState,
    DoActions,
    Proposal,
    SetPoint,
    SetPreset,
    StopMining,
    WriteResult,
)
from shared.errors import Unreachable
from shared.ids import CommandId, DeviceId
from shared.telemetry import MinerState
from support.guardian import WALL, ZONE, FakeWall, GuardianBench, make_site, miner_id, signed_order

PEER = Peer(pid=1, uid=0, gid=0)
POINT = "speed_setpoint_pct"
WALL_2 = DeviceId("wall-2")
WALL_B = DeviceId("wall-b")

_SECOND_WALL = """
[[zones.cooling_actuators]]
device = "wall-2"
point = "speed_setpoint_pct"
fail_safe = 100.0
low = 0.0
high = 100.0

[[zones.sensors]]
role"""

_WALL = """
[[devices]]
id = "{id}"
kind = "drive"
adapter = "modbus"
profile = "danfoss-fc102"
host = "127.0.0.1"
port = {port}
zone = "{zone}"
"""


def raising(text: str) -> str:
    return text.replace("ml_may_raise = false", "ml_may_raise = true")


def two_walls(text: str) -> str:
    text = raising(text).replace("\n[[zones.sensors]]\nrole", _SECOND_WALL, 1)
    return text + _WALL.format(id=WALL_2, port=15029, zone=ZONE)


def two_zones(text: str) -> str:
    """A second hall with a wall of its own and no miners."""
    text = raising(text)
    zone = re.search(r"\[\[zones\]\].*?(?=\n\[\[devices\]\])", text, re.DOTALL)
    assert zone is not None
    sensors = zone[0].index("[[zones.sensors]]")
    second = zone[0][:sensors].replace("hall-1", "hall-2").replace("wall-1", WALL_B)
    second += zone[0][sensors:].replace("probe-1", "probe-b")
    probe = re.search(r'\[\[devices\]\]\nid = "probe-1".*?(?=\n\[\[devices\]\])', text, re.DOTALL)
    assert probe is not None
    probe_b = probe[0].replace("probe-1", "probe-b").replace("hall-1", "hall-2").replace("15021", "15031")
    text = text.replace(zone[0], zone[0] + "\n" + second, 1)
    return text + "\n" + probe_b + _WALL.format(id=WALL_B, port=15030, zone="hall-2")


async def begin(folder: Path, edit: object = raising) -> GuardianBench:
    bench = GuardianBench(make_site(folder, edit=edit))  # type: ignore[arg-type] # one of the editors above
    return await bench.start()


def proposal(*actions: AnyAction, command: str = "p-1", **fields: object) -> Proposal:
    whole: dict[str, object] = {"policy": "test", "reason": "try", "ttl_s": 30.0, **fields}
    return Proposal(id=CommandId(command), actions=actions, **whole)  # type: ignore[arg-type] # fields vary


async def ask(bench: GuardianBench, *actions: AnyAction, seconds: float = 1.0, **fields: object) -> Result:
    made = proposal(*actions, **fields)
    bench.guardian.handle(Propose(proposal=made), PEER)
    await bench.settle()
    for _ in range(round(seconds * 2)):
        if bench.results(made.id):
            break
        await bench.run(0.5)
    [result] = bench.results(made.id)
    return result


async def order(bench: GuardianBench, *actions: AnyAction, command: str = "c-1", counter: int = 1) -> Result:
    signed = signed_order(DoActions(actions=actions), bench.clock, command=command, counter=counter)
    bench.guardian.handle(OrderFrame(signed=signed), PEER)
    while tasks := set(bench.guardian.desk._background):
        await asyncio.wait(tasks, timeout=0.01)
        await bench.run(0.25)
    [result] = bench.results(command)
    return result


def preset(name: str, number: int = 1) -> SetPreset:
    return SetPreset(device=miner_id(number), preset=name)


def fan(value: float, wall: DeviceId = WALL) -> SetPoint:
    return SetPoint(device=wall, point=POINT, value=value)


def wall_of(bench: GuardianBench, wall: DeviceId) -> FakeWall:
    fake = bench.fakes[wall]
    assert isinstance(fake, FakeWall)
    return fake


# ---------------------------------------------------------------- several actions, one word


async def test_several_actions_are_one_result(bench: GuardianBench) -> None:
    result = await ask(bench, preset("2300", 1), preset("2300", 2))
    assert result.outcome is ActionOutcome.APPLIED
    assert result.asked == result.applied == (preset("2300", 1), preset("2300", 2))
    assert [write.result for write in result.writes] == [WriteResult.APPLIED] * 2
    assert result.next_steps == ()


async def test_one_refused_action_holds_back_all_and_every_limit_is_listed(bench: GuardianBench) -> None:
    result = await ask(bench, preset("2300", 1), preset("9999", 2), fan(250.0), preset("2500", 3))
    assert result.outcome is ActionOutcome.REJECTED
    assert len(result.violations) == 3
    assert all(not miner.writes for miner in bench.miners)
    refused = bench.guardian.intake.refused
    assert refused["proposal"] == 1
    assert refused["unknown device or ability"] == 1
    assert refused["impossible value"] == 1
    assert refused["nothing to change"] == 1
    assert bench.guardian.status().refused["proposal"] == 1


async def test_a_step_is_partial_and_says_the_next(bench: GuardianBench) -> None:
    result = await ask(bench, preset("2000"))
    assert result.outcome is ActionOutcome.PARTIAL
    assert (result.asked, result.applied) == ((preset("2000"),), (preset("2300"),))
    assert result.next_steps == (preset("2000"),)
    assert "one step per change" in result.detail


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ((), "at least one action"),
        (tuple(preset("2300", n) for n in range(65)), "65 actions in one proposal, at most 64"),
        ((preset("2300"), preset("2000")), "2 actions for m-1: say which one is meant"),
        ((preset("2300"), StopMining(device=miner_id(1))), "2 actions for m-1"),
        ((fan(80.0), fan(90.0)), "2 actions for speed_setpoint_pct of wall-1"),
    ],
)
async def test_a_malformed_proposal_gets_a_sentence(
    bench: GuardianBench, actions: tuple[AnyAction, ...], words: str
) -> None:
    result = await ask(bench, *actions)
    assert result.outcome is ActionOutcome.REJECTED
    assert words in result.detail
    assert bench.guardian.intake.refused == {"malformed": 1, "proposal": 1}
    assert (await ask(bench, preset("2300"), command="after")).outcome is ActionOutcome.APPLIED


async def test_a_wrong_unit_is_asked_about(tmp_path: Path) -> None:
    bench = await begin(tmp_path, lambda text: raising(text).replace("low = 0.0", "low = 20.0"))
    assert "is it in a share of 1 instead of %?" in (await ask(bench, fan(0.8))).detail
    await bench.close()


async def test_a_life_that_nobody_meant_is_no_life(bench: GuardianBench) -> None:
    assert "no longer fresh" in (await ask(bench, preset("2300"), ttl_s=MAX_TTL_S + 1)).detail


async def test_who_holds_a_miner_is_said(bench: GuardianBench) -> None:
    miner = bench.miner(1)
    miner.gate = asyncio.Event()
    bench.guardian.handle(Propose(proposal=proposal(preset("2300"), command="first")), PEER)
    await bench.settle()
    result = await ask(bench, preset("2000"), command="second")
    assert "another write to m-1 is in flight (policy first: preset 2300)" in result.violations
    assert "m-1 is held by proposal first of test" in result.violations
    miner.gate.set()
    await bench.run(1.0)
    assert bench.results("first")[0].outcome is ActionOutcome.APPLIED


# ---------------------------------------------------------------- cooling, zone by zone


async def test_cooling_is_proven_after_the_change_or_taken_back(tmp_path: Path) -> None:
    """10 % is below `lost_below`: the read-back is fine and the zone is not."""
    bench = await begin(tmp_path)
    result = await order(bench, fan(10.0))
    assert result.outcome is ActionOutcome.FAILED
    assert result.writes[0].result is WriteResult.APPLIED
    assert result.applied == ()
    assert "its cooling was no longer proven after the change" in result.detail
    assert ("speed_setpoint_pct", 10.0) in bench.wall.writes
    await bench.close()


async def test_a_change_that_keeps_its_proof_stands(tmp_path: Path) -> None:
    bench = await begin(tmp_path)
    result = await order(bench, fan(60.0))
    assert (result.outcome, result.applied) == (ActionOutcome.APPLIED, (fan(60.0),))
    assert bench.wall.setpoint == 60.0
    await bench.close()


async def test_the_fans_of_a_zone_move_together_or_not_at_all(tmp_path: Path) -> None:
    bench = await begin(tmp_path, two_walls)
    wall_of(bench, WALL_2).fail = Unreachable("cable out")
    original = wall_of(bench, WALL_2).write_point

    async def unreachable(point: str, value: float) -> None:
        raise Unreachable("cable out")

    wall_of(bench, WALL_2).write_point = unreachable  # type: ignore[method-assign] # a fault
    result = await order(bench, fan(90.0), fan(90.0, WALL_2))
    assert result.outcome is ActionOutcome.FAILED
    assert [write.result for write in result.writes] == [WriteResult.APPLIED, WriteResult.UNREACHABLE]
    assert "1 of 2 set-points were not confirmed" in result.detail
    assert "wall-1 is set back: applied" in result.detail
    assert bench.wall.setpoint == 80.0, "what it had"
    wall_of(bench, WALL_2).write_point = original  # type: ignore[method-assign] # mended
    await bench.close()


async def test_one_zones_failure_is_partial(tmp_path: Path) -> None:
    bench = await begin(tmp_path, two_zones)
    await bench.run(12.0)

    async def unreachable(point: str, value: float) -> None:
        raise Unreachable("cable out")

    wall_of(bench, WALL_B).write_point = unreachable  # type: ignore[method-assign] # a fault
    wall_of(bench, WALL_B).fail = Unreachable("cable out")
    result = await order(bench, fan(90.0), fan(90.0, WALL_B))
    assert result.outcome is ActionOutcome.PARTIAL
    assert result.applied == (fan(90.0),)
    assert "zone hall-2" in result.detail
    assert bench.wall.setpoint == 90.0
    await bench.close()


async def test_a_policy_takes_cooling_away_step_by_step_from_a_watched_zone(tmp_path: Path) -> None:
    bench = await begin(tmp_path)
    refused = await ask(bench, fan(50.0), command="early")
    assert "was not watched for 300 s yet" in refused.detail
    await bench.run(310.0)
    result = await ask(bench, fan(50.0), command="late", seconds=10.0)
    assert result.outcome is ActionOutcome.PARTIAL, result
    assert (result.applied, result.next_steps) == ((fan(65.0),), (fan(50.0),))
    again = await ask(bench, fan(50.0), command="again")
    assert "cooling of zone hall-1 changed" in again.detail
    bench.probe().points["air_temp_c"] = 31.0
    await bench.run(10.0)
    hot = await ask(bench, fan(50.0), command="hot")
    assert "moved by 7.0 K" in " ".join(hot.violations), hot
    await bench.close()


# ---------------------------------------------------------------- outcomes, and back at once


def outcomes(bench: GuardianBench) -> list[Outcome]:
    return [message for message in bench.sent if isinstance(message, Outcome)]


async def told(bench: GuardianBench) -> list[Outcome]:
    """Outcomes, once the samples that they look at were unpacked (in a thread, which knows no fake clock)."""
    await bench.drain()
    return outcomes(bench)


async def test_what_an_action_did_is_told_once_it_settled(bench: GuardianBench) -> None:
    await bench.run(50.0)
    result = await ask(bench, preset("2300"))
    assert result.outcome is ActionOutcome.APPLIED
    await bench.run(78.0)
    assert outcomes(bench) == []
    await bench.run(4.0)
    [outcome] = await told(bench)
    assert (outcome.id, outcome.action, outcome.rolled_back) == ("p-1", preset("2300"), None)
    assert outcome.before.power_w == 2500.0
    assert outcome.after.power_w == 2300.0
    assert outcome.before.hashrate_ths is None, "this miner tells none, and unknown is not zero"
    [event] = [e for e in bench.events(EventKind.ACTION) if e.key == "outcome/p-1"]
    assert event.data["power_w_after"] == 2300.0


async def test_a_trip_meanwhile_is_not_taken_for_an_effect(bench: GuardianBench) -> None:
    await bench.run(50.0)
    await ask(bench, preset("2300"))
    bench.wall.broken = True
    await bench.run(10.0)
    [outcome] = await told(bench)
    assert outcome.disturbed == "zone hall-1 is tripped"
    assert outcome.after == Effect()


async def test_a_raise_of_a_policy_that_meets_a_limit_is_taken_back_at_once(bench: GuardianBench) -> None:
    result = await ask(bench, preset("3000"))
    assert result.outcome is ActionOutcome.APPLIED
    bench.miner(1).chip_c = 79.0
    await bench.run(8.0)
    assert bench.miner(1).writes == ["3000", "2500"]
    [outcome] = await told(bench)
    assert outcome.rolled_back is not None
    assert "chip temperature of m-1 reached warn; preset 2500 is applied" in outcome.rolled_back


async def test_a_raise_that_leaves_no_room_below_a_cap_is_taken_back(bench: GuardianBench) -> None:
    room = [1000.0]
    cap = CapView(id="pdu", devices=frozenset({miner_id(1)}), room_w=1000.0, ramp_w_per_min=1e6)
    bench.guardian.desk.caps = lambda: (msgspec.structs.replace(cap, room_w=room[0]),)
    assert (await ask(bench, preset("3000"))).outcome is ActionOutcome.APPLIED
    room[0] = -50.0
    await bench.run(3.0)
    assert bench.miner(1).preset == "2500"
    assert "power cap pdu is 50 W above warn" in str((await told(bench))[0].rolled_back)


async def test_what_a_person_ordered_stands(bench: GuardianBench) -> None:
    result = await order(bench, preset("3000"))
    assert result.outcome is ActionOutcome.APPLIED
    bench.miner(1).chip_c = 79.0
    await bench.run(90.0)
    assert bench.miner(1).writes == ["3000"]
    assert (await told(bench))[0].rolled_back is None


async def test_no_more_are_watched_than_can_be(bench: GuardianBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.guardian.actions.outcomes.MAX_AT_ONCE", 1)
    await ask(bench, preset("2300", 1), preset("2300", 2))
    await bench.run(90.0)
    assert len(await told(bench)) == 1


# ---------------------------------------------------------------- what firmware does


class Slow:
    """A throttle that takes its time: told now, shown later."""

    def __init__(self, bench: GuardianBench, number: int, after_s: float) -> None:
        self.miner, self.bench, self.after_s = bench.miner(number), bench, after_s
        self.miner.set_preset = self.set_preset  # type: ignore[method-assign] # this one is slow
        self.due: tuple[float, str] | None = None
        self.asked = 0

    async def set_preset(self, name: str) -> None:
        self.asked += 1
        self.due = (self.bench.clock.monotonic() + self.after_s, name)

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            if self.due is not None and self.bench.clock.monotonic() >= self.due[0]:
                self.miner.preset, self.due = self.due[1], None
            await self.bench.run(1.0)


def declare(bench: GuardianBench, number: int, *capabilities: Capability) -> None:
    link = bench.guardian.links[miner_id(number)]
    assert link.facts is not None
    link.facts = msgspec.structs.replace(link.facts, capabilities=capabilities)


async def test_a_throttle_of_80_seconds_is_waited_for(bench: GuardianBench) -> None:
    throttle = Capability(ability=Ability.PRESET, settle_s=80.0, restarts_mining=True)
    declare(bench, 1, throttle, Capability(ability=Ability.MINING))
    slow = Slow(bench, 1, 80.0)
    bench.guardian.handle(Propose(proposal=proposal(preset("2300"))), PEER)
    await slow.run(70.0)
    assert bench.results("p-1") == []
    await slow.run(20.0)
    assert bench.results("p-1")[0].outcome is ActionOutcome.APPLIED


async def test_a_preset_switcher_that_climbs_back_is_brought_down_as_often_as_it_climbs(
    bench: GuardianBench,
) -> None:
    await bench.run(215.0, lease=False)
    assert bench.mode is Mode.SAFE
    assert bench.miner(1).preset == "2300"
    bench.miner(1).preset = "3000"
    await bench.run(10.0, lease=False)
    assert bench.miner(1).writes == ["2300", "2300"]


async def test_a_step_that_nobody_knows_goes_to_the_safe_one_without_a_lease(bench: GuardianBench) -> None:
    bench.miner(1).preset = "custom"
    bench.miner(2).preset = "custom"
    bench.miner(2).state = MinerState.STOPPED
    await bench.run(215.0, lease=False)
    assert bench.miner(1).writes == ["2300"]
    assert bench.miner(2).writes == [], "a preset would start it"


async def test_an_order_that_expires_on_its_way_to_a_slow_disk_is_not_carried_out(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = bench.guardian.intake._orders
    accept = orders.accept

    def slow(signed: object) -> object:
        body = accept(signed)  # type: ignore[arg-type] # passed on
        bench.clock.advance(31.0)
        return body

    monkeypatch.setattr(orders, "accept", slow)
    result = await order(bench, preset("2300"))
    assert result.outcome is ActionOutcome.REJECTED
    assert result.command_state is CommandState.EXPIRED
    assert "while its counter was being stored" in result.detail
    assert bench.miner(1).writes == []
    assert bench.guardian.intake.refused["order"] == 1


async def test_an_order_that_contradicts_itself_is_refused(bench: GuardianBench) -> None:
    result = await order(bench, preset("2300"), preset("2000"))
    assert result.outcome is ActionOutcome.REJECTED
    assert bench.miner(1).writes == []


async def test_an_order_does_what_is_allowed_and_says_what_is_not(bench: GuardianBench) -> None:
    result = await order(bench, preset("2300", 1), preset("9999", 2))
    assert result.outcome is ActionOutcome.PARTIAL
    assert [write.result for write in result.writes] == [WriteResult.APPLIED, WriteResult.REJECTED]
    assert result.applied == (preset("2300", 1),)
    assert "has no preset '9999'" in result.violations[0]
