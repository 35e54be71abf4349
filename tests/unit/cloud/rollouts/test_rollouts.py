"""Assignments: only what is blessed, signed for one site, kept at the broker, and served in chunks."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.ingest.decoding import Wanted
from cloud.kit.problems import Unavailable
from cloud.models.service import register
from cloud.rollouts.chunks import ChunkServer
from cloud.rollouts.publishing import AssignmentPublisher
from cloud.rollouts.schemas import RolloutRequest
from cloud.rollouts.service import make
from shared.alarms import EventKind
from shared.artifacts.manifest import Scope, Stage, verify_assignment
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, Signed
from shared.clock import ManualClock
from shared.errors import ArtifactError
from shared.ids import SiteId
from shared.wire import codec
from shared.wire.envelope import CHUNK_BYTES, Chunk, ChunkRequest
from support.cloud import NOW_MS, SITE, Service, batch, born, event, said, service
from support.rollouts import MODEL, Outbound, built

ASSIGN: dict[str, Any] = {"site": SITE, "name": "miner-anomaly", "version": 1, "stage": "shadow"}


class World:
    def __init__(self, running: Service, outbound: Outbound) -> None:
        self.running = running
        self.outbound = outbound

    async def add_model(
        self, *, accepted: bool = True, chosen: bool = True, scope: Scope | None = None
    ) -> None:
        context = self.running.context
        await context.blobs.put(MODEL)
        candidate = built(accepted=accepted, chosen=chosen, scope=scope)
        async with context.database.write() as session:
            await register(
                session, [candidate], site=SITE, job="j", keys=context.keys, now_ms=NOW_MS, life_days=365
            )

    def keyring(self) -> Keyring:
        keys = self.running.context.keys
        assert keys.release is not None
        pairs = ((keys.assignment, Role.ASSIGNMENT), (keys.release, Role.RELEASE))
        return Keyring(
            tuple(PublicKeyEntry(id=k.key_id, role=role, public=k.public_text) for k, role in pairs)
        )

    async def report(self, number: int, state: str) -> None:
        data: dict[str, Any] = {
            "name": "miner-anomaly",
            "version": 1,
            "state": state,
            "detail": f"is {state}",
        }
        await self.running.bench.commit(
            said(batch([event(number, EventKind.MODEL, data=data)], number), stream="ev")
        )


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    outbound = Outbound()
    async with service(tmp_path) as running:
        monkeypatch.setattr(running.context.command_link, "send", outbound.send)
        await running.bench.commit(born())
        yield World(running, outbound)


async def test_an_assignment_passes_every_check_of_the_site(world: World) -> None:
    await world.add_model()
    view = await world.running.post("/rollouts", ASSIGN, 201)
    ((topic, payload, retain),) = world.outbound.sent
    assert (topic, retain) == ("mw/1/north/dn/model", True)
    verified = verify_assignment(codec.decode(payload, Signed), world.keyring(), site=SITE, now_ms=NOW_MS)
    assert verified.assignment.stage is Stage.SHADOW
    assert (verified.manifest.version, verified.manifest.sha256) == (1, hashlib.sha256(MODEL).hexdigest())
    assert (view["stage"], view["current"], view["assigned_ms"]) == ("shadow", True, NOW_MS)
    assert view["reported"]["state"] == "published"


async def test_counters_rise(world: World) -> None:
    await world.add_model()
    for stage in ("shadow", "active", "withdrawn"):
        await world.running.post("/rollouts", {**ASSIGN, "stage": stage}, 201)
    counters = [
        verify_assignment(
            codec.decode(payload, Signed), world.keyring(), site=SITE, now_ms=NOW_MS
        ).assignment.counter
        for _, payload, _ in world.outbound.sent
    ]
    assert counters == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**ASSIGN, "version": 7}, 404),
        ({**ASSIGN, "site": "nowhere"}, 404),
        ({**ASSIGN, "version": 0}, 422),
        ({**ASSIGN, "stage": "everywhere"}, 422),
    ],
)
async def test_what_cannot_be_assigned(world: World, body: dict[str, Any], status: int) -> None:
    await world.add_model()
    await world.running.post("/rollouts", body, status)
    assert world.outbound.sent == []


async def test_only_a_blessed_model_may_run(world: World) -> None:
    await world.add_model(accepted=False, chosen=False)
    found = await world.running.post("/rollouts", ASSIGN, 409)
    assert "rejected" in found["detail"]


async def test_a_model_that_is_not_meant_for_the_site(world: World) -> None:
    await world.add_model(scope=Scope(sites=("south",)))
    await world.running.post("/rollouts", ASSIGN, 409)


async def test_a_blessing_that_has_expired(world: World) -> None:
    await world.add_model()
    world.running.bench.clock.step_wall(366 * 86_400_000)
    await world.running.post("/rollouts", ASSIGN, 409)


async def test_the_history_is_what_the_site_says(world: World) -> None:
    await world.add_model()
    await world.running.post("/rollouts", ASSIGN, 201)
    for number, state in enumerate(("downloaded", "verified", "shadow", "active"), start=1):
        await world.report(number, state)
    (view,) = (await world.running.get(f"/rollouts?site={SITE}"))["items"]
    assert view["reported"] == {"state": "active", "at_ms": event(4).at_ms, "detail": "is active"}
    assert {step["state"] for step in view["history"]} == {
        "published",
        "downloaded",
        "verified",
        "shadow",
        "active",
    }


async def test_reports_without_an_assignment_show_too(world: World) -> None:
    await world.report(1, "active")
    (view,) = (await world.running.get("/rollouts"))["items"]
    assert (view["stage"], view["current"], view["assigned_ms"]) == (None, False, None)
    assert view["reported"]["state"] == "active"


async def test_a_broker_that_is_away_gets_it_later_and_one_that_forgot_gets_it_again(world: World) -> None:
    await world.add_model()
    world.outbound.is_up = False
    await world.running.post("/rollouts", ASSIGN, 201)
    assert world.outbound.sent == []
    clock = ManualClock(utc_ms=NOW_MS)
    publisher = AssignmentPublisher(world.outbound, world.running.context.database, clock)  # type: ignore[arg-type]  # the fake sends
    task = asyncio.create_task(publisher.run())
    world.outbound.on_up()
    for connected in (False, True, True):
        world.outbound.is_up = connected
        before = len(world.outbound.sent)
        for _ in range(500):
            clock.advance(1.0)
            await asyncio.sleep(0.002)
            if connected and len(world.outbound.sent) > before:
                break
            if not connected and clock.monotonic() > 1010:
                break
        assert (len(world.outbound.sent) > before) is connected
        world.outbound.on_up()
    task.cancel()
    assert len({payload for _, payload, _ in world.outbound.sent}) == 1, (
        "the same signed bytes, the same counter"
    )


async def test_a_broker_that_gives_no_answer_gets_it_again_without_a_new_connect(world: World) -> None:
    """No answer in time is no disconnect, so waiting for the next connect could take weeks."""
    await world.add_model()
    clock = ManualClock(utc_ms=NOW_MS)
    publisher = AssignmentPublisher(world.outbound, world.running.context.database, clock)  # type: ignore[arg-type]  # the fake sends
    async with world.running.context.database.write() as session:
        row = await make(session, RolloutRequest(**ASSIGN), world.running.context.keys, NOW_MS, 90)
    task = asyncio.create_task(publisher.run())
    world.outbound.is_up = False
    with pytest.raises(Unavailable):
        await publisher.publish(row)
    world.outbound.is_up = True
    async with asyncio.timeout(5):
        while not world.outbound.sent:
            await asyncio.sleep(0.002)
    task.cancel()
    assert world.outbound.assigned() == {SITE: (1, Stage.SHADOW)}


async def test_an_older_assignment_never_replaces_a_newer_one_at_the_broker(world: World) -> None:
    """The publisher may hold a list that was read before the newer one was made."""
    await world.add_model()
    publisher = world.running.context.assignments
    async with world.running.context.database.write() as session:
        body = RolloutRequest(**ASSIGN)
        keys = world.running.context.keys
        older, newer = [await make(session, body, keys, NOW_MS + n, 90) for n in (1, 2)]
    sent = world.outbound.sent
    await publisher.publish(newer)
    await publisher.publish(older)
    assert len(sent) == 1
    await publisher.publish(newer)
    assert len(sent) == 2, "the present one goes out again to a broker that forgot"


class TestChunks:
    def server(self, world: World) -> ChunkServer:
        context = world.running.context
        return ChunkServer(world.outbound, context.database, context.blobs)  # type: ignore[arg-type]  # the fake sends

    def wanted(self, *chunks: int, site: SiteId = SITE, sha256: str | None = None) -> Wanted:
        digest = sha256 or hashlib.sha256(MODEL).hexdigest()
        return Wanted(site=site, request=ChunkRequest(sha256=digest, chunks=chunks))

    async def assigned(self, world: World) -> ChunkServer:
        await world.add_model()
        await world.running.post("/rollouts", ASSIGN, 201)
        world.outbound.sent.clear()
        return self.server(world)

    async def test_the_parts_make_the_file(self, world: World) -> None:
        server = await self.assigned(world)
        assert await server.serve(self.wanted(2, 0, 1)) == 3
        chunks = [codec.decode(payload, Chunk) for _, payload, _ in world.outbound.sent]
        assert world.outbound.sent[0][0] == f"mw/1/north/dn/blob/{chunks[0].sha256}/2"
        assert b"".join(chunk.data for chunk in sorted(chunks, key=lambda c: c.number)) == MODEL
        for chunk in chunks:
            assert chunk.total == 3
            assert len(chunk.data) <= CHUNK_BYTES
            assert hashlib.sha256(chunk.data).hexdigest() == chunk.chunk_sha256
        assert not any(retain for _, _, retain in world.outbound.sent)

    async def test_parts_that_do_not_exist_are_not_sent(self, world: World) -> None:
        server = await self.assigned(world)
        assert await server.serve(self.wanted(-1, 3, 2**40)) == 0

    async def test_another_site_gets_nothing(self, world: World) -> None:
        server = await self.assigned(world)
        with pytest.raises(ArtifactError):
            await server.serve(self.wanted(0, site=SiteId("south")))

    @pytest.mark.parametrize("sha256", ["0" * 64, "../../token", ""])
    async def test_a_file_that_is_no_model(self, world: World, sha256: str) -> None:
        server = await self.assigned(world)
        wanted = Wanted(site=SITE, request=ChunkRequest(sha256=sha256, chunks=(0,)))
        with pytest.raises(ArtifactError):
            await server.serve(wanted)

    async def test_a_file_that_was_damaged_on_disk_is_not_served(self, world: World) -> None:
        server = await self.assigned(world)
        folder = world.running.context.config.data_dir / "models"
        (path,) = folder.iterdir()
        path.write_bytes(b"x" + MODEL[1:])
        with pytest.raises(ArtifactError, match="damaged"):
            await server.serve(self.wanted(0))

    async def test_bad_requests_do_not_end_the_server(self, world: World) -> None:
        server = await self.assigned(world)
        task = asyncio.create_task(server.run())
        server.ask(self.wanted(0, sha256="0" * 64))
        server.ask(self.wanted(0))
        while not world.outbound.sent:
            await asyncio.sleep(0.005)
        for _ in range(200):
            server.ask(self.wanted(0))  # more than can wait: dropped, because a site asks again
        task.cancel()
