"""The live view: a snapshot first, then what changes, and no viewer can hold up another."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from cloud.app import make_app
from cloud.kit.changes import Changes
from cloud.live.hub import MAX_BEHIND, Hub, Update
from shared.clock import ManualClock
from support.cloud import (
    NOW_MS,
    SITE,
    TOKEN,
    Service,
    batch,
    born,
    event,
    row,
    said,
    score,
    service,
)
from support.ports import free_port


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


class Reading:
    """A hub over a reader that notes what it was asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked: list[Changes] = []
        self.fail = False
        self.hub = Hub(self.clock, self._read)

    async def _read(self, changes: Changes) -> list[Update]:
        if self.fail:
            raise ConnectionError("database away")
        self.asked.append(changes)
        return [Update(event="site", data=site) for site in sorted(changes.sites)]

    def change(self, site: str) -> None:
        changes = Changes()
        changes.sites.add(site)  # type: ignore[arg-type]  # a plain word is a site id here
        self.hub.publish(changes)


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    world = Reading()
    task = asyncio.create_task(world.hub.run())
    yield world
    task.cancel()


async def test_nobody_looks_nothing_is_read(reading: Reading) -> None:
    reading.change("a")
    await settle()
    reading.clock.advance(10)
    await settle()
    assert reading.asked == []


async def test_changes_are_gathered_and_read_once_for_all(reading: Reading) -> None:
    with reading.hub.viewer() as one, reading.hub.viewer() as two:
        for site in ("b", "a", "b"):
            reading.change(site)
        await settle()
        reading.clock.advance(1)
        await settle()
        assert len(reading.asked) == 1
        for viewer in (one, two):
            assert [viewer.queue.get_nowait() for _ in range(2)] == [
                Update(event="site", data="a"),
                Update(event="site", data="b"),
            ]


async def test_a_database_that_is_away_does_not_end_the_view(reading: Reading) -> None:
    with reading.hub.viewer() as viewer:
        for fail in (True, False):
            reading.fail = fail
            reading.change("a")
            await settle()
            reading.clock.advance(1)
            await settle()
        assert viewer.queue.get_nowait() == Update(event="site", data="a")


async def test_what_could_not_be_read_is_made_up_for_by_a_snapshot(reading: Reading) -> None:
    """Else an alarm that came while the database was away would never show on an open page."""
    with reading.hub.viewer() as viewer:
        reading.fail = True
        reading.change("a")
        await settle()
        reading.clock.advance(1)
        await settle()
        assert viewer.behind


async def test_a_viewer_that_does_not_keep_up_starts_again(reading: Reading) -> None:
    with reading.hub.viewer() as viewer:
        for number in range(MAX_BEHIND + 1):
            viewer.offer(Update(event="site", data=str(number)))
        assert viewer.behind
        assert viewer.queue.qsize() == 1


async def test_closing_lets_everybody_go(reading: Reading) -> None:
    with reading.hub.viewer() as viewer:
        reading.hub.close()
        assert await viewer.queue.get() is None
    with reading.hub.viewer() as late:
        assert await late.queue.get() is None


# ---------------------------------------------------------------- over HTTP


@asynccontextmanager
async def listening(running: Service) -> AsyncIterator[str]:
    """The service on a real socket: a stream cannot be tested without one."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(running.context, token=TOKEN),
            port=port,
            log_config=None,
            lifespan="off",
            access_log=False,
        )
    )
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.context.hub.close()
        server.should_exit = True
        await task


class Stream:
    """A server-sent event stream, taken apart."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, str, object]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and "data" in fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
            name, _, value = line.partition(": ")
            fields[name] = value
        raise EOFError

    async def until(self, name: str) -> object:
        while True:
            event_name, _, body = await self.next()
            if event_name == name:
                return body


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[tuple[Service, Stream]]:
    async with (
        service(tmp_path) as running,
        listening(running) as url,
        httpx.AsyncClient(timeout=10) as client,
    ):
        await running.bench.commit(born(), said(batch([row()])), said(batch([event(1)]), stream="ev"))
        async with client.stream("GET", f"{url}/api/v1/live") as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert "no-cache" in reply.headers["cache-control"]
            yield running, Stream(reply.aiter_lines())


async def committed(running: Service, payload: bytes, stream: str) -> None:
    """Commit as ingest does, and let the hub wake."""
    found = await running.bench.commit(said(payload, stream=stream))
    running.context.hub.publish(found.changes)
    clock = running.context.clock
    assert isinstance(clock, ManualClock)
    await settle()
    clock.advance(1)


async def test_the_stream_starts_with_everything(live: tuple[Service, Stream]) -> None:
    name, number, body = await live[1].next()
    assert (name, number) == ("snapshot", "0")
    assert isinstance(body, dict)
    assert [site["id"] for site in body["sites"]] == [SITE]
    assert [device["id"] for device in body["devices"][SITE]] == ["m-01", "m-02", "meter-1"]
    assert [alarm["key"] for alarm in body["alarms"]] == ["hot/m-01"]
    assert [found["id"] for found in body["events"]] == ["e-1"]


async def test_new_rows_scores_and_events_follow(live: tuple[Service, Stream]) -> None:
    running, stream = live
    await stream.next()
    await committed(running, batch([row(at_ms=NOW_MS, power_w_mean=1.5)], 2), "rollup")
    devices = await stream.until("devices")
    assert isinstance(devices, dict)
    assert devices["site"] == SITE
    assert devices["items"][0]["latest"]["power_w_mean"] == 1.5
    await committed(running, batch([score(value=9.0)]), "score")
    devices = await stream.until("devices")
    assert isinstance(devices, dict)
    assert devices["items"][0]["anomaly"]["score"] == 9.0
    await committed(running, batch([event(2, key="cold")], 2), "ev")
    alarm = await stream.until("alarm")
    assert isinstance(alarm, dict)
    assert alarm["key"] == "cold"
    found = await stream.until("event")
    assert isinstance(found, dict)
    assert found["id"] == "e-2"


async def test_a_resumed_stream_starts_with_a_snapshot_too(live: tuple[Service, Stream]) -> None:
    running, _ = live
    async with (
        listening(running) as url,
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"{url}/api/v1/live", headers={"Last-Event-ID": "17"}) as reply,
    ):
        name, _, _ = await Stream(reply.aiter_lines()).next()
    assert name == "snapshot"


async def test_an_idle_stream_beats(live: tuple[Service, Stream], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.live.endpoints.HEARTBEAT_S", 0.05)
    running, _ = live
    async with (
        listening(running) as url,
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"{url}/api/v1/live") as reply,
    ):
        async for line in reply.aiter_lines():
            if line.startswith(": heartbeat"):
                break
