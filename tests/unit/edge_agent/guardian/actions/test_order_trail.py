"""What is told of a signed order on its way: progress, journal, result; and previews, which do nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.actions.order_trail import REFUSALS_PER_MIN
from edge_agent.ipc import Progress, Result
from shared.alarms import Event, EventKind
from shared.artifacts.signing import Role
from shared.commands import (
    ActionOutcome,
    AnyOrder,
    CancelOrder,
    CommandState,
    Curtail,
    DoActions,
    OrderPreview,
    PreviewOrder,
    SafeStopOrder,
    Schedule,
    SetPreset,
    StandingCap,
    StopMining,
)
from shared.ids import CommandId, DeviceId
from support.guardian import signed_order
from support.power import PowerBench

CURTAIL = Curtail(target_w=12_000.0, deadline_s=600.0, duration_s=3600.0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[PowerBench]:
    found = await PowerBench.begin(tmp_path)
    yield found
    await found.close()


def told(bench: PowerBench, command: str) -> list[CommandState]:
    """States that the agent hears about an order, in their order."""
    words = []
    for message in bench.sent:
        if isinstance(message, Progress) and message.id == command:
            words.append(message.state)
        elif isinstance(message, Result) and message.id == command and message.command_state is not None:
            words.append(message.command_state)
    return words


def journal(bench: PowerBench, command: str) -> list[Event]:
    return [event for event in bench.events() if event.key == f"order/{command}"]


async def previewed(bench: PowerBench, order: PreviewOrder, command: str = "p-1") -> OrderPreview:
    await bench.order(order, command)
    [result] = bench.results(command)
    assert result.command_state is CommandState.DONE
    assert result.preview is not None
    return result.preview


async def test_an_order_is_accepted_then_runs_then_ends_and_the_journal_has_it(bench: PowerBench) -> None:
    order = DoActions(actions=(StopMining(device=DeviceId("m-1")),))
    signed = signed_order(order, bench.clock, counter=10**9, command="c-1")
    bench.guardian.intake.order(signed)
    for _ in range(10):
        await bench.drain()
        await bench.run(5.0)
    assert told(bench, "c-1") == [CommandState.ACCEPTED, CommandState.RUNNING, CommandState.DONE]
    assert {m.digest for m in bench.sent if isinstance(m, Progress | Result) and m.id == "c-1"} == {
        signed.digest
    }
    first, last = journal(bench, "c-1")
    assert (first.data["state"], last.data["state"], last.data["outcome"]) == ("accepted", "done", "applied")
    assert first.data["digest"] == signed.digest
    assert "key" not in first.data, "the cloud knows its own order"
    [write] = [event for event in bench.events(EventKind.ACTION) if event.key == "action/c-1"]
    assert write.data["id"] == "c-1"


async def test_a_power_order_runs_on_by_itself_and_both_words_are_journalled(bench: PowerBench) -> None:
    await bench.order(CURTAIL, "c-2")
    await bench.run(120.0)
    await bench.drain()
    assert told(bench, "c-2") == [CommandState.ACCEPTED, CommandState.RUNNING, CommandState.DONE]
    assert [event.data["state"] for event in journal(bench, "c-2")] == ["accepted", "running", "done"]


async def test_a_safe_stop_names_its_order_in_what_it_does(bench: PowerBench) -> None:
    bench.guardian.intake.order(signed_order(SafeStopOrder(), bench.clock, counter=10**9, command="c-3"))
    for _ in range(8):
        await bench.drain()
        await bench.run(5.0)
    [deed] = [event for event in bench.events(EventKind.ACTION) if event.key == "safe-stop/hall-1"]
    assert deed.data["by"] == "ada (order c-3)"
    assert told(bench, "c-3")[-1] is CommandState.DONE


class TestPreviews:
    async def test_a_curtailment_shows_its_steps_and_lowers_nothing(self, bench: PowerBench) -> None:
        before = [list(fake.writes) for fake in bench.miners]
        preview = await previewed(bench, PreviewOrder(of=CURTAIL))
        await bench.run(30.0)
        assert preview.now_w == pytest.approx(bench.real_w)
        assert preview.reaches_target
        assert preview.total_steps == len(preview.steps) > 0
        assert [list(fake.writes) for fake in bench.miners] == before
        assert not bench.guardian.status().orders
        assert not journal(bench, "p-1"), "a look is no news"

    async def test_actions_show_what_the_arbiter_would_say(self, bench: PowerBench) -> None:
        actions = (
            SetPreset(device=DeviceId("m-1"), preset="2300"),
            SetPreset(device=DeviceId("m-2"), preset="9999"),
            StopMining(device=DeviceId("nowhere")),
        )
        preview = await previewed(bench, PreviewOrder(of=DoActions(actions=actions)))
        assert (preview.total_steps, preview.refused) == (3, 2)
        assert preview.steps[0].words == ""
        assert preview.steps[1].words.startswith("refused: ")
        assert "2 of 3" in preview.detail
        assert bench.miner(1).preset == "2500"

    async def test_contradicting_actions(self, bench: PowerBench) -> None:
        actions = (StopMining(device=DeviceId("m-1")), SetPreset(device=DeviceId("m-1"), preset="2300"))
        preview = await previewed(bench, PreviewOrder(of=DoActions(actions=actions)))
        assert "say which one is meant" in preview.detail

    async def test_caps_schedules_and_cancels(self, bench: PowerBench) -> None:
        cap = await previewed(bench, PreviewOrder(of=StandingCap(cap_w=12_000.0)), "p-1")
        assert cap.total_steps > 0
        assert (
            await previewed(bench, PreviewOrder(of=StandingCap(cap_w=None)), "p-2")
        ).detail == "no cap stands"
        window = Schedule(start_ms=1, end_ms=2, what=CURTAIL)
        assert (await previewed(bench, PreviewOrder(of=window), "p-3")).detail.startswith(
            "as if it began now"
        )
        none = await previewed(bench, PreviewOrder(of=CancelOrder(target=CommandId("c-9"))), "p-4")
        assert none.refused == 1
        await bench.order(StandingCap(cap_w=14_000.0), "c-9")
        some = await previewed(bench, PreviewOrder(of=CancelOrder(target=CommandId("c-9"))), "p-5")
        assert "standing cap to 14" in some.detail
        taken = await previewed(bench, PreviewOrder(of=StandingCap(cap_w=None)), "p-6")
        assert taken.detail.startswith("taken away: standing cap")
        assert bench.standing("c-9").state != "cancelled"

    async def test_a_preview_is_verified_like_any_order(self, bench: PowerBench) -> None:
        order: AnyOrder = PreviewOrder(of=CURTAIL)
        bench.guardian.intake.order(
            signed_order(order, bench.clock, counter=10**9, command="p-9", role=Role.OPERATOR)
        )
        await bench.drain()
        [result] = bench.results("p-9")
        assert result.command_state is CommandState.REFUSED


async def test_a_flood_of_refusals_is_counted_whole_and_told_in_part(bench: PowerBench) -> None:
    forged = msgspec.structs.replace(signed_order(CURTAIL, bench.clock), signatures=())
    for _ in range(REFUSALS_PER_MIN + 20):
        bench.guardian.intake.order(forged)
    await bench.drain()
    assert bench.guardian.status().refused["order"] == REFUSALS_PER_MIN + 20
    assert len(journal(bench, "c-1")) == REFUSALS_PER_MIN
    await bench.run(61.0)
    bench.guardian.intake.order(forged)
    await bench.drain()
    assert journal(bench, "c-1")[-1].data["not_told"] == 20


async def test_a_refusal_quotes_a_stranger_without_his_control_characters(bench: PowerBench) -> None:
    signed = signed_order(CURTAIL, bench.clock)
    bad = msgspec.structs.replace(signed.signatures[0], key_id="x\0\x1b[2J" + "y" * 5_000)
    bench.guardian.intake.order(msgspec.structs.replace(signed, signatures=(bad,)))
    await bench.drain()
    [event] = journal(bench, "c-1")
    assert event.title.isprintable()
    assert len(event.title) < 500
    assert bench.results("c-1")[0].outcome is ActionOutcome.REJECTED
