"""A process that starts again and again is told to people once, and taken back when it runs (F23)."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge_agent.agent.records import Records
from edge_agent.agent.restarts import AGENT_KEY, GUARDIAN_KEY, MANY, WINDOW_S, Restarts
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from shared.alarms import Event
from shared.clock import ManualClock
from shared.errors import StoreError
from shared.wire import codec
from shared.wire.envelope import Batch
from support.agent import make_site


class Gateway:
    """Lives of the agent over one store."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = Store(folder / FILE_NAME, self.clock, outbox_bytes=2**30)
        self.writer = Writer()
        self.records = Records(
            self.store, RawStore(folder / "raw", keep_bytes=2**30), self.writer, SiteView(make_site(folder))
        )
        self.lives = 0

    async def start(self) -> Restarts:
        """The next life of the agent begins."""
        self.lives += 1
        restarts = Restarts(self.clock, self.records, f"agent-{self.lives}")
        await restarts.open()
        return restarts

    def told(self) -> list[tuple[str, str]]:
        """Kind and key of each event that waits for the cloud, oldest first."""
        bodies = [codec.decode(row.body, Batch) for row in self.store.fetch(self.store.waiting())]
        return [
            (event.kind, event.key)
            for body in bodies
            for event in msgspec.msgpack.decode(body.rows, type=list[Event])
        ]

    def close(self) -> None:
        self.writer.close()
        self.store.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path)
    yield made
    made.close()


async def test_f23_the_fifth_start_within_an_hour_is_told_and_no_other(gateway: Gateway) -> None:
    for _ in range(MANY - 1):
        await (await gateway.start()).lived(60.0)
    assert gateway.told() == []
    for _ in range(20):
        await gateway.start()
    assert gateway.told() == [("alarm", AGENT_KEY)]


async def test_f23_the_alarm_is_taken_back_after_an_hour_of_running_and_raised_anew(gateway: Gateway) -> None:
    for _ in range(MANY):
        restarts = await gateway.start()
    await restarts.lived(WINDOW_S - 1)
    assert gateway.told() == [("alarm", AGENT_KEY)]
    await restarts.lived(1)
    assert gateway.told() == [("alarm", AGENT_KEY), ("alarm-cleared", AGENT_KEY)]
    for _ in range(MANY):
        await gateway.start()
    assert gateway.told()[2:] == [("alarm", AGENT_KEY)]


async def test_f23_a_start_a_quarter_of_an_hour_is_told_and_a_start_a_day_is_not(gateway: Gateway) -> None:
    for _ in range(30):
        await (await gateway.start()).lived(86_400.0)
    assert gateway.told() == []
    for _ in range(MANY):
        await (await gateway.start()).lived(880.0)
    assert gateway.told() == [("alarm", AGENT_KEY)]


async def test_f23_a_guardian_that_starts_again_and_again_is_told_and_a_lost_link_is_not(
    gateway: Gateway,
) -> None:
    restarts = await gateway.start()
    for _ in range(50):
        await restarts.guardian_is_here("boot-1")
    assert gateway.told() == []
    for number in range(2, MANY + 1):
        await restarts.guardian_is_here(f"boot-{number}")
    assert gateway.told() == [("alarm", GUARDIAN_KEY)]


async def test_no_step_of_the_wall_clock_makes_an_hour(gateway: Gateway) -> None:
    for _ in range(MANY):
        await gateway.start()
        gateway.clock.step_wall(86_400_000)
    assert gateway.told() == [("alarm", AGENT_KEY)]


async def test_a_disk_that_refuses_delays_the_word_and_not_the_start(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the disk is full") from sqlite3.OperationalError()

    for _ in range(MANY - 1):
        await gateway.start()
    with monkeypatch.context() as patch:
        patch.setattr(gateway.store, "commit", refuse)
        restarts = await gateway.start()
        assert gateway.told() == []
    await restarts.lived(60.0)
    assert gateway.told() == [("alarm", AGENT_KEY)]
