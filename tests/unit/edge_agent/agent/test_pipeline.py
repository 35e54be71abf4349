"""Guardian's messages to rows, events and command states; what the disk refuses is kept."""

from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.agent.recorder import CURSOR_KEY, Cursor
from edge_agent.agent.store.frames import read_frames
from edge_agent.agent.store.rows import Commit
from shared.alarms import Event, EventKind, Severity
from shared.commands import ActionOutcome, CommandState
from shared.errors import StoreError
from shared.frames import unpack
from shared.ids import CommandId
from support.agent import STEP_S, T0, some_event, sweep
from support.agent_bench import AgentBench, agent_bench


def entry(seq: int, event: Event, *, previous: str | None = None) -> ipc.JournalEntry:
    return ipc.JournalEntry(
        seq=seq,
        at_ms=event.at_ms,
        at_s=0.0,
        event=event,
        previous=f"hash-{seq - 1}" if previous is None else previous,
        hash=f"hash-{seq}",
    )


def page(first: int, last: int, *, head: int | None = None) -> ipc.JournalPage:
    entries = tuple(entry(n, some_event(n)) for n in range(first, last + 1))
    return ipc.JournalPage(entries=entries, head=head or last)


def hello(next_seq: int, boot: str = "boot-1") -> ipc.Hello:
    return ipc.Hello(
        protocol=ipc.PROTOCOL,
        site="testsite",
        boot=boot,
        config_sha256="",
        next_seq=next_seq,
    )


async def test_a_step_becomes_rows_and_one_batch_and_raw_frames(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(4)
        assert len(b.rollups()) == 12, "the newest step is still inside its grace"
        assert {row.samples for row in b.rollups()} == {2}
        raw = [s for p in b.raw.files() for f in read_frames(p) for s in unpack(f)]
        assert len(raw) >= 24


async def test_a_restart_resumes_where_the_rows_end(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(4)
        cursor = await b.records.get(CURSOR_KEY, Cursor)
        assert cursor is not None
        assert (cursor.boot, cursor.seq) == ("boot-1", 24)
    async with agent_bench(tmp_path) as b:
        await b.pipeline.on_open(hello(33))
        assert b.said(ipc.SamplesSince) == [ipc.SamplesSince(boot="boot-1", seq=24)]


async def test_within_one_life_it_resumes_at_the_newest_sample(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(4)
        await b.pipeline.on_open(hello(33))
        [since] = b.said(ipc.SamplesSince)
        assert since == ipc.SamplesSince(boot="boot-1", seq=32)


async def test_a_jump_becomes_one_loss_event_with_its_numbers(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(1)
        b.next_seq += 7
        await b.steps(1)
        [loss] = [event for event in b.events() if event.key == "samples-lost"]
        assert loss.data == {"count": 7, "boot": "boot-1", "first_seq": 9, "last_seq": 15}


async def test_samples_that_come_after_their_row_are_told(tmp_path: Path) -> None:
    """The wall clock was set back by less than we take for a clock that was set."""
    async with agent_bench(tmp_path) as b:
        await b.steps(6)
        assert not [event for event in b.events() if event.key == "samples-late"]
        b.next_ms -= 10_000
        await b.steps(6)
        told = [event for event in b.events() if event.key == "samples-late"]
        assert sum(int(event.title.split()[0]) for event in told) == b.pipeline._recorder.late > 0


async def test_a_wall_clock_that_is_set_back_becomes_one_event_with_both_times(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(2)
        before_ms, seq = b.next_ms - STEP_S * 500, b.next_seq
        b.next_ms -= 3_600_000
        after_ms = b.next_ms
        await b.steps(3)
        [told] = [event for event in b.events() if event.key == "clock-set-back"]
        times = {"before_ms": before_ms, "after_ms": after_ms, "boot": "boot-1", "seq": seq}
        assert (told.kind, told.severity, told.data) == (EventKind.STORE, Severity.LOW, times)
        assert "set back from" in told.title


async def test_a_clock_set_back_is_told_by_the_same_event_after_a_crash(tmp_path: Path) -> None:
    """The cloud knows an event by its id, so it stays one."""

    async def told(name: str) -> str:
        (folder := tmp_path / name).mkdir()
        async with agent_bench(folder) as b:
            await b.steps(2)
            b.next_ms -= 3_600_000
            await b.steps(1)
            [found] = [event for event in b.events() if event.key == "clock-set-back"]
            return found.id

    assert await told("one") == await told("two")


async def test_no_step_is_closed_by_the_wall_clock_while_a_replay_runs(tmp_path: Path) -> None:
    """Otherwise the ring's older samples would come too late for their own steps."""
    async with agent_bench(tmp_path) as b:
        old_ms = b.next_ms - 60_000
        await b.pipeline.on_open(hello(next_seq=41))
        for n in range(10):
            part = tuple(sweep(1 + 4 * n, old_ms + n * 2_500))
            await b.pipeline.handle(ipc.Samples(boot="boot-1", samples=part))
            await b.pipeline.flush()
        assert b.rollups()
        assert all(row.samples == 2 for row in b.rollups())
        assert len({(row.device, row.at_ms) for row in b.rollups()}) == len(b.rollups()) == 20


async def test_while_the_link_is_down_an_open_step_stays_open(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.steps(2)
        rows = len(b.rollups())
        b.pipeline.on_close()
        b.clock.advance(3 * STEP_S)
        await b.pipeline.flush()
        assert len(b.rollups()) == rows
        assert b.view.zones == {}, "and nothing is known of the zones"


class TestJournal:
    async def test_each_entry_becomes_one_event_over_any_restart(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            await b.pipeline.handle(page(1, 3, head=5))
            assert b.said(ipc.JournalSince) == [ipc.JournalSince(cursor=3)], "and it asks for the rest"
            await b.pipeline.handle(page(2, 5))
        async with agent_bench(tmp_path) as b:
            await b.pipeline.on_open(hello(1))
            assert b.said(ipc.JournalSince) == [ipc.JournalSince(cursor=5)]
            await b.pipeline.handle(page(4, 6))
            assert [event.id for event in b.events()] == [f"event-{n}" for n in range(1, 7)]
            assert b.view.journal_cursor == 6

    async def test_a_status_with_a_newer_head_makes_it_ask(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            status = ipc.Status(zones={}, lease_left_s=None, journal_head=2)
            await b.pipeline.handle(status)
            await b.pipeline.handle(page(1, 2))
            await b.pipeline.handle(status)
            assert b.said(ipc.JournalSince) == [ipc.JournalSince(cursor=0)]

    async def test_entries_that_are_gone_are_counted(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            await b.pipeline.handle(page(1, 2))
            await b.pipeline.handle(page(6, 7))
            [gap] = [event for event in b.events() if event.key == "journal-gap"]
            assert gap.title.startswith("3 journal entries")

    async def test_a_broken_chain_is_told(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            await b.pipeline.handle(page(1, 2))
            forged = ipc.JournalPage(entries=(entry(3, some_event(3), previous="other"),), head=3)
            await b.pipeline.handle(forged)
            assert [e.key for e in b.events()][-1] == "journal-chain"

    async def test_a_journal_that_begins_anew_is_read_from_its_start(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            await b.pipeline.handle(page(1, 9))
            await b.pipeline.handle(ipc.Status(zones={}, lease_left_s=None, journal_head=2))
            assert [e.key for e in b.events()][-1] == "journal-restarted"
            assert b.said(ipc.JournalSince)[-1] == ipc.JournalSince(cursor=0)


async def test_results_of_orders_go_to_the_cloud_and_those_of_proposals_do_not(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        common = {"outcome": ActionOutcome.APPLIED, "detail": "done", "at_ms": T0}
        await b.pipeline.handle(ipc.Result(id=CommandId("p"), **common))
        await b.pipeline.handle(ipc.Result(id=CommandId("c"), command_state=CommandState.DONE, **common))
        [status] = b.told
        assert (status.id, status.state, status.outcome) == ("c", CommandState.DONE, ActionOutcome.APPLIED)


class TestDisk:
    async def test_a_refused_journal_page_is_asked_for_again(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            refuse = _Refusing(b)
            await b.pipeline.handle(page(1, 2))
            assert b.view.journal_cursor == 0
            refuse.stop()
            await b.pipeline.handle(ipc.Status(zones={}, lease_left_s=None, journal_head=2))
            assert b.said(ipc.JournalSince) == [ipc.JournalSince(cursor=0)]
            await b.pipeline.handle(page(1, 2))
            assert [e.id for e in b.events()] == ["event-1", "event-2"]

    async def test_rows_are_kept_even_where_raw_frames_cannot_be(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            original = b.raw.append

            def refuse(_samples: object) -> None:
                raise StoreError("raw folder is read-only")

            b.raw.append = refuse  # type: ignore[method-assign,assignment]
            await b.steps(3)
            assert len(b.rollups()) == 8
            b.raw.append = original
            await b.steps(1)
            raw = [s.seq for p in b.raw.files() for f in read_frames(p) for s in unpack(f)]
            assert raw == list(range(1, 33)), "and caught up with later"

    async def test_what_the_disk_refuses_is_written_once_it_takes_data_again(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            await b.steps(2)
            refuse = _Refusing(b)
            await b.steps(3, cycle=False)
            b.next_seq += 2
            await b.steps(1, cycle=False)
            b.next_ms -= 3_600_000
            await b.steps(1, cycle=False)
            assert refuse.calls >= 3
            refuse.stop()
            await b.steps(1)
            rows = [(row.device, row.at_ms) for row in b.rollups()]
            assert len(rows) == len(set(rows)) == 28
            assert [e.data["count"] for e in b.events() if e.key == "samples-lost"] == [2]
            assert len([e for e in b.events() if e.key == "clock-set-back"]) == 1

    async def test_rows_that_do_not_fit_into_memory_are_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("edge_agent.agent.pipeline._MAX_HELD_ROWS", 8)
        async with agent_bench(tmp_path) as b:
            refuse = _Refusing(b)
            await b.steps(6, cycle=False)
            refuse.stop()
            await b.steps(1)
            [lost] = [e for e in b.events() if e.key == "rows-lost"]
            gone = int(lost.title.split()[0])
            assert gone + len(b.rollups()) == 24
            assert gone > 0

    async def test_a_kill_while_the_disk_refuses_loses_nothing(self, tmp_path: Path) -> None:
        async with agent_bench(tmp_path) as b:
            await b.steps(2)
            cursor = await b.records.get(CURSOR_KEY, Cursor)
            _Refusing(b)
            await b.steps(3, cycle=False)
            assert (await b.records.get(CURSOR_KEY, Cursor)) == cursor, "it did not move without its rows"
        async with agent_bench(tmp_path, before=b) as b:
            await b.steps(1)
            rows = [(row.device, row.at_ms) for row in b.rollups()]
            assert len(rows) == len(set(rows)) == 20
            assert not [e for e in b.events() if e.key == "samples-lost"]


async def test_a_guardian_that_was_restarted_replays_before_the_wall_clock_counts(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.pipeline.on_open(hello(next_seq=1))
        await b.steps(3)
        first_ms = b.next_ms
        b.clock.advance(30)
        await b.pipeline.on_open(hello(next_seq=9, boot="boot-2"))
        await b.pipeline.flush()
        for n in range(2):
            part = tuple(sweep(1 + 4 * n, first_ms + n * 2_500, boot="boot-2"))
            await b.pipeline.handle(ipc.Samples(boot="boot-2", samples=part))
            if n == 0:
                await b.pipeline.flush()
        await b.pipeline.flush()
        assert {row.samples for row in b.rollups() if row.at_ms == first_ms} == {2}


class _Refusing:
    """Makes the store refuse commits until told to stop."""

    def __init__(self, bench: AgentBench) -> None:
        self.calls = 0
        self._store = bench.store
        self._commit = bench.store.commit
        bench.store.commit = self._refuse

    def _refuse(self, commit: Commit) -> None:
        self.calls += 1
        assert msgspec.structs.asdict(commit)
        raise StoreError("disk full")

    def stop(self) -> None:
        self._store.commit = self._commit
