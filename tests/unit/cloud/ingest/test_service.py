"""The ingest loop: acknowledged only after the commit, patient with the database, deaf to poison."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from cloud.ingest import service
from cloud.ingest.committer import Committed, Committer
from cloud.ingest.decoding import Decoded, Wanted
from cloud.ingest.service import MAX_PER_COMMIT, WINDOW, Arrival, Ingest
from cloud.kit.changes import Changes
from shared.clock import ManualClock
from shared.frames import Frame
from shared.ids import DeviceId
from shared.telemetry import DeviceKind, Quality
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Batch, ChunkRequest
from support.cloud import NOW_MS, SITE, Bench, batch, event, row, said, told


class FakeLink:
    """Stands for the broker: notes what was acknowledged and posted, and when."""

    def __init__(self) -> None:
        self.generation = 1
        self.is_up = True
        self.log: list[tuple[Any, ...]] = []

    def acknowledge(self, mid: int, qos: int, generation: int) -> None:
        if qos and generation == self.generation:
            self.log.append(("puback", mid))

    def post(self, topic: str, payload: bytes) -> None:
        ack = codec.decode(payload, Ack)
        self.log.append(("ack", topic, ack.stream, ack.upto))


class SlowCommitter:
    """A committer whose next commits fail in given ways before the real one is asked."""

    def __init__(self, real: Committer, log: list[tuple[Any, ...]]) -> None:
        self._real = real
        self._log = log
        self.failures: list[Exception] = []
        self.poison: Callable[[Decoded], Exception | None] = lambda _message: None

    @property
    def owes(self) -> bool:
        return self._real.owes

    async def settle(self) -> None:
        await self._real.settle()

    async def commit(self, messages: Sequence[Decoded], *, more: bool = False) -> Committed:
        if self.failures:
            raise self.failures.pop(0)
        for message in messages:
            if (error := self.poison(message)) is not None:
                raise error
        committed = await self._real.commit(messages, more=more)
        self._log.append(("commit", len(messages)))
        return committed


class World:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.clock: ManualClock = bench.clock
        self.link = FakeLink()
        self.committer = SlowCommitter(bench.committer, self.link.log)
        self.changes = Changes()
        self.wanted: list[Wanted] = []
        self.ingest = Ingest(
            self.link,  # type: ignore[arg-type]  # the fake has what ingest uses
            self.committer,  # type: ignore[arg-type]  # as above
            self.clock,
            on_changes=self.changes.merge,
            on_wanted=self.wanted.append,
        )

    def arrival(self, payload: bytes, mid: int, *, stream: str = "rollup", qos: int = 1) -> Arrival:
        return Arrival(
            message=said(payload, stream=stream),
            topic=topics.events(SITE) if stream == "ev" else topics.telemetry(SITE, stream),
            payload=payload,
            mid=mid,
            qos=qos,
            generation=self.link.generation,
        )

    async def while_advancing(self, work: Awaitable[None]) -> None:
        """Await the work while the clock runs."""
        task = asyncio.ensure_future(work)
        for _ in range(2_000):
            if task.done():
                break
            self.clock.advance(1.0)
            await asyncio.sleep(0)
        await asyncio.wait_for(task, 5)


@pytest.fixture
def world(sqlite_bench: Bench) -> World:
    return World(sqlite_bench)


async def test_commit_then_puback_then_ack(world: World) -> None:
    await world.ingest.handle([world.arrival(batch([row()]), 7)])
    assert world.link.log == [
        ("commit", 1),
        ("puback", 7),
        ("ack", "mw/1/north/dn/ack", "rollup", 1),
    ]
    assert world.changes.devices == {SITE}
    assert world.ingest.counters.new_rows == 1


async def test_rows_of_a_time_that_was_lived_twice_are_counted_and_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.ingest.handle([world.arrival(batch([row(power_w_mean=1.0)]), 7)])
    assert not caplog.records
    await world.ingest.handle([world.arrival(batch([row(power_w_mean=2.0)], 2), 8)])
    assert (world.ingest.counters.new_rows, world.ingest.counters.apart) == (1, 1)
    assert "site north: 1 rows differ from those that are stored" in caplog.text


async def test_nothing_is_acknowledged_while_the_database_is_away(world: World) -> None:
    gone = OperationalError("INSERT", {}, Exception("connection refused"))
    world.committer.failures = [gone, OSError("no route"), gone]
    task = asyncio.ensure_future(world.ingest.handle([world.arrival(batch([row()]), 7)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.link.log == []
    assert world.ingest.trouble is not None
    assert "connection refused" in world.ingest.trouble
    await world.while_advancing(task)
    assert world.link.log[:2] == [("commit", 1), ("puback", 7)]
    assert world.ingest.trouble is None
    assert world.ingest.counters.failed_commits == 3
    assert await world.bench.one("SELECT count(*) FROM rollup") == 1


async def test_poison_is_cut_out_and_its_neighbours_are_stored(world: World) -> None:
    bad = batch([row("m-66")], 2)
    world.committer.poison = lambda message: (
        OverflowError("Python int too large")
        if getattr(getattr(message, "batch", None), "seq", 0) == 2 and hasattr(message, "records")
        else None
    )
    arrivals = [
        world.arrival(batch([row("m-01")], 1), 1),
        world.arrival(bad, 2),
        world.arrival(batch([row("m-02")], 3), 3),
    ]
    await world.ingest.handle(arrivals)
    assert {entry[1] for entry in world.link.log if entry[0] == "puback"} == {1, 2, 3}
    assert await world.bench.all("SELECT device FROM rollup ORDER BY device") == [("m-01",), ("m-02",)]
    ((reason, size),) = await world.bench.all("SELECT reason, size FROM quarantine")
    assert "OverflowError" in reason
    assert size == len(bad)
    assert world.link.log[-1] == ("ack", "mw/1/north/dn/ack", "rollup", 3), (
        "its bytes are here, so it is taken over"
    )


async def test_poison_that_cannot_even_be_quarantined_does_not_stop_the_loop(world: World) -> None:
    world.committer.poison = lambda _message: ValueError("never")
    await world.ingest.handle([world.arrival(batch([row()]), 1)])
    assert world.link.log == [("puback", 1)]
    world.committer.poison = lambda _message: None
    await world.ingest.handle([world.arrival(batch([row()]), 2)])
    assert await world.bench.one("SELECT count(*) FROM rollup") == 1


async def test_an_old_connections_packet_id_is_never_acknowledged(world: World) -> None:
    """After a reconnect the same id may name a message that is not committed."""
    old = world.arrival(batch([row()]), 7)
    world.link.generation = 2
    await world.ingest.handle([old])
    assert ("puback", 7) not in world.link.log
    assert await world.bench.one("SELECT count(*) FROM rollup") == 1, "it is stored all the same"
    again = world.arrival(batch([row()]), 1)
    await world.ingest.handle([again])
    assert ("puback", 1) in world.link.log
    assert await world.bench.one("SELECT count(*) FROM rollup") == 1


async def test_each_new_connection_forgets_what_the_ones_before_it_brought(world: World) -> None:
    """The broker sends it again; a link that flaps while the database is away must not fill the memory."""
    world.committer.failures = [OSError("no route")] * 1_000
    task = asyncio.create_task(world.ingest.run())
    for generation in range(2, 12):
        world.link.generation = generation
        for mid in range(WINDOW):
            world.ingest.offer(raw(batch([row()]), mid, generation=generation))
        async with asyncio.timeout(10):
            while world.ingest._queue:
                await asyncio.sleep(0.001)
    late = raw(batch([row()]), 1, generation=3)
    world.ingest.offer(late)
    counted = world.ingest.counters
    held = len(world.ingest._others) + len(world.ingest._batches)
    in_commits = counted.messages - counted.superseded - held
    assert held == WINDOW
    assert 0 < in_commits <= service.ROW_LANES * MAX_PER_COMMIT, "every other one is counted as superseded"
    await ended(task)


async def test_a_new_connection_makes_room_for_its_own_messages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is forgotten no longer holds up the decoding, although nothing was committed meanwhile."""
    monkeypatch.setattr(service, "MAX_PLAIN_BYTES", 1)
    monkeypatch.setattr(service, "ROW_LANES", 0)
    task = asyncio.create_task(world.ingest.run())
    world.ingest.offer(raw(batch([row()]), 1))
    world.ingest.offer(raw(batch([row()]), 2))
    await until(lambda: len(world.ingest._batches) == 1)
    world.link.generation = 2
    world.ingest.offer(raw(batch([row()]), 1, generation=2))
    await until(lambda: [arrival.generation for arrival in world.ingest._batches] == [2])
    await ended(task)


async def test_qos_0_has_no_brake_so_it_is_dropped_when_full(world: World) -> None:
    for mid in range(2 * WINDOW):
        world.ingest.offer(world.arrival(batch([row()]), mid))
    world.ingest.offer(world.arrival(batch([row()]), 0, qos=0))
    world.ingest.offer(world.arrival(batch([row()]), 1))
    assert (world.ingest.counters.messages, world.ingest.counters.dropped) == (2 * WINDOW + 2, 1)


async def until(done: Callable[[], bool]) -> None:
    """Let others work until that is so; decoding is a real thread."""
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.001)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def run_until(world: World, done: Callable[[], bool]) -> None:
    """Let the loop work until that is so."""
    task = asyncio.create_task(world.ingest.run())
    await until(done)
    await ended(task)


def raw(payload: bytes, mid: int, *, stream: str = topics.TELEMETRY_STREAM, generation: int = 1) -> Arrival:
    """A message as paho's thread hands it over: not decoded yet."""
    topic = topics.telemetry(SITE, stream)
    return Arrival(topic=topic, payload=payload, mid=mid, qos=1, generation=generation)


def bomb(seq: int, samples: int = 5_000) -> bytes:
    """A raw window of equal numbers: hundreds of times as large in memory as on the wire."""
    frame = Frame(
        boot="b",
        kind=DeviceKind.MINER,
        device=(DeviceId("m-01"),) * samples,
        seq=(1,) * samples,
        at_s=(1.5,) * samples,
        at_ms=(NOW_MS,) * samples,
        state=(None,) * samples,
        preset=(None,) * samples,
        failure=(None,) * samples,
        algorithm=(None,) * samples,
        values={"power_w": (1.5,) * samples},
        quality={"power_w": (Quality.GOOD,) * samples},
    )
    body = Batch(
        epoch="e1",
        stream=topics.RAW_STREAM,
        seq=seq,
        from_ms=NOW_MS,
        to_ms=NOW_MS,
        count=samples,
        rows=msgspec.Raw(msgspec.msgpack.encode([frame])),
    )
    return codec.encode(body, compress=True)


async def test_what_is_decoded_and_not_committed_is_bounded_in_plain_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither size on the wire nor count tells what a window costs: its plain bytes do, before the next."""
    plain = len(said(bomb(1), stream=topics.RAW_STREAM).batch.rows)  # type: ignore[union-attr]  # it is a batch
    assert plain > 100 * len(bomb(1))
    monkeypatch.setattr(service, "MAX_PLAIN_BYTES", 2 * plain)
    world.committer.failures = [OSError("no route")] * 1_000
    task = asyncio.create_task(world.ingest.run())
    for seq in range(1, 41):
        world.ingest.offer(raw(bomb(seq), seq, stream=topics.RAW_STREAM))
    await until(lambda: world.ingest._plain_bytes >= 2 * plain)
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert world.ingest._plain_bytes < 3 * plain + 40 * len(bomb(1))
    assert len(world.ingest._queue) >= 37, "the others wait as they came"
    world.committer.failures = []
    world.clock.advance(service.LAST_RETRY_S)
    await until(lambda: not world.ingest._queue and world.ingest._plain_bytes == 0)
    await ended(task)
    assert {entry[1] for entry in world.link.log if entry[0] == "puback"} == set(range(1, 41))


async def test_the_loop_commits_many_messages_at_once(world: World) -> None:
    many = MAX_PER_COMMIT + 5
    for number in range(many):
        world.ingest.offer(raw(batch([row(at_ms=NOW_MS - 60_000 * number)], number + 1), number))
    await run_until(world, lambda: world.ingest.counters.rows == many)
    sizes = [entry[1] for entry in world.link.log if entry[0] == "commit"]
    assert sum(sizes) == many
    assert len(sizes) < many / 3
    assert [entry[1] for entry in world.link.log if entry[0] == "puback"] == list(range(many))


async def test_a_commit_is_bounded_in_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the batches, what is decoded and not yet committed stays within two commits."""
    monkeypatch.setattr(service, "MAX_ROWS_PER_COMMIT", 25)
    largest: list[int] = []

    def look(message: Decoded) -> None:
        largest.append(world.ingest._ready_rows)

    world.committer.poison = look  # type: ignore[assignment]  # it only looks
    for number in range(20):
        rows = [row(f"m-{device}", NOW_MS - 60_000 * number) for device in range(10)]
        world.ingest.offer(raw(batch(rows, number + 1), number))
    await run_until(world, lambda: world.ingest.counters.rows == 200)
    sizes = [entry[1] for entry in world.link.log if entry[0] == "commit"]
    assert max(sizes) == 2, "two batches of ten fit, three do not"
    assert max(largest) < 25 + service.DECODE_AT_ONCE * 10


async def test_a_meeting_of_two_workers_is_no_trouble(world: World) -> None:
    """PostgreSQL sends one of two transactions back that wait for each other; it is done again at once."""
    sent_back = Exception("deadlock detected")
    sent_back.__cause__ = asyncpg.DeadlockDetectedError("deadlock detected")
    world.committer.failures = [
        DBAPIError("UPDATE", {}, sent_back),
        asyncpg.SerializationError("could not serialize"),
    ]
    await world.ingest.handle([world.arrival(batch([row()]), 1)])
    assert world.ingest.counters.failed_commits == 0
    assert await world.bench.one("SELECT count(*) FROM rollup") == 1


async def test_chunk_requests_are_handed_on_after_the_commit(world: World) -> None:
    request = ChunkRequest(sha256="ab", chunks=(1,))
    arrival = Arrival(
        message=told(topics.chunk_request(SITE), codec.encode(request)),
        topic=topics.chunk_request(SITE),
        payload=b"",
        mid=1,
        qos=1,
        generation=1,
    )
    await world.ingest.handle([arrival])
    assert [wanted.request for wanted in world.wanted] == [request]


async def test_new_events_are_told_to_the_viewers(world: World) -> None:
    await world.ingest.handle([world.arrival(batch([event(1)]), 1, stream="ev")])
    assert world.changes.events == {(SITE, "e-1")}
    assert len(world.changes.alarms) == 1


async def test_data_that_postgresql_refuses_is_poison_and_not_an_outage(world: World) -> None:
    """SQLAlchemy hides the driver's word; retried for ever, one site's message would stop all sites."""
    refusal = Exception("invalid byte sequence")
    refusal.__cause__ = asyncpg.CharacterNotInRepertoireError("invalid byte sequence")
    world.committer.poison = lambda message: (
        DBAPIError("INSERT", {}, refusal) if hasattr(message, "records") else None
    )
    await asyncio.wait_for(world.ingest.handle([world.arrival(batch([row()]), 1)]), 5)
    assert world.ingest.trouble is None
    assert await world.bench.one("SELECT count(*) FROM quarantine") == 1


async def test_a_database_that_says_nothing_is_reported_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that swallows everything raises nothing. Each try has more time: the database may be slow."""
    monkeypatch.setattr(service, "FIRST_DEADLINE_S", 0.02)
    silent = True
    honest = world.committer.commit

    async def commit(messages: Sequence[Decoded], *, more: bool = False) -> Committed:
        if silent:
            await asyncio.Event().wait()
        return await honest(messages, more=more)

    monkeypatch.setattr(world.committer, "commit", commit)
    task = asyncio.ensure_future(world.ingest.handle([world.arrival(batch([row()]), 7)]))
    await until(lambda: world.ingest.trouble is not None)
    assert world.ingest.trouble == "TimeoutError: the database gives no answer"
    assert world.link.log == []
    silent = False

    def again() -> bool:
        world.clock.advance(service.LAST_RETRY_S)
        return task.done()

    await until(again)
    assert world.link.log[:2] == [("commit", 1), ("puback", 7)]
    assert world.ingest.trouble is None
    assert world.ingest.counters.failed_commits >= 1
