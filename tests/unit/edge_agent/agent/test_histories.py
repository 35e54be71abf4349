"""What devices remember: each record once, whatever restarts and whatever the disk refuses."""

from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.agent.store.rows import Commit
from shared.details import HistoryMark, HistoryPoint
from shared.errors import StoreError
from shared.ids import DeviceId
from shared.telemetry import HistoryRow
from support.agent import T0
from support.agent_bench import AgentBench, agent_bench


def told(number: int, *, boot: str = "boot-1", points: int = 2) -> ipc.DeviceHistory:
    return ipc.DeviceHistory(
        boot=boot,
        number=number,
        device=DeviceId("m01"),
        from_ms=T0,
        to_ms=T0 + 600_000,
        points=tuple(
            HistoryPoint(at_ms=T0 + number * 1_000_000 + n * 60_000, power_w=100.0 * n) for n in range(points)
        ),
        marks=(HistoryMark(at_ms=T0 + number * 1_000_000 + 1, what="reboot", board=2),),
    )


def hello(boot: str = "boot-1") -> ipc.Hello:
    return ipc.Hello(protocol=ipc.PROTOCOL, site="testsite", boot=boot, config_sha256="", next_seq=1)  # type: ignore[arg-type]  # an id


def rows(bench: AgentBench) -> list[HistoryRow]:
    return [
        row
        for batch in bench.batches("hist")
        for row in msgspec.msgpack.decode(batch.rows, type=list[HistoryRow])
    ]


async def test_points_and_marks_become_rows_and_people_hear_of_it(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        await b.pipeline.handle(told(1))
        first, mark, second = rows(b)
        assert (first.power_w, first.mark, first.hashrate_ths) == (0.0, None, None)
        assert (mark.mark, mark.power_w) == ("reboot (board 2)", None), "a mark has no numbers"
        assert second.at_ms - first.at_ms == 60_000
        [event] = [e for e in b.events() if e.key == "history-filled"]
        assert "2 moments and 1 marks of the 10 min" in event.title
        assert list(b.view.events)[-1].id == event.id, "and the page on site shows it"


async def test_a_repetition_is_left_out_over_restarts(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        for number in (1, 2):
            await b.pipeline.handle(told(number))
    async with agent_bench(tmp_path, before=b) as b:
        for number in (1, 2, 3):
            await b.pipeline.handle(told(number))
        await b.pipeline.handle(told(1, boot="boot-2"))
        assert len(rows(b)) == 4 * 3
        assert sum(batch.count for batch in b.batches("hist")) == 12


async def test_what_the_disk_refuses_comes_later_and_in_order(tmp_path: Path) -> None:
    async with agent_bench(tmp_path) as b:
        commit = b.store.commit
        b.store.commit = _refuse  # type: ignore[assignment,method-assign]  # on purpose
        await b.pipeline.handle(told(1))
        await b.pipeline.handle(told(2))
        assert not rows(b)
        b.store.commit = commit  # type: ignore[method-assign]  # as it was
        await b.pipeline.flush()
        assert [row.at_ms for row in rows(b)] == sorted(row.at_ms for row in rows(b))
        assert len(rows(b)) == 6


async def test_what_does_not_fit_into_memory_comes_again_at_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.agent.histories._WAITING", 2)
    async with agent_bench(tmp_path) as b:
        commit = b.store.commit
        b.store.commit = _refuse  # type: ignore[assignment,method-assign]  # on purpose
        for number in range(1, 6):
            await b.pipeline.handle(told(number, points=1))
        b.store.commit = commit  # type: ignore[method-assign]  # as it was
        await b.pipeline.handle(told(6, points=1))
        assert len(rows(b)) == 2 * 2, "6 must not pass 3, 4 and 5 by"
        await b.pipeline.on_open(hello())
        for number in range(1, 7):
            await b.pipeline.handle(told(number, points=1))
        assert len(rows(b)) == 6 * 2


def _refuse(_commit: Commit) -> None:
    raise StoreError("disk full")
