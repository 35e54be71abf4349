"""A bench with the keeper's loop running, and the cloud's side of a delivery; shared by tests of models."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from shared.artifacts.manifest import Manifest, verify_assignment
from shared.artifacts.signing import Signed
from shared.wire.envelope import CHUNK_BYTES, Chunk
from support.agent import KEYS, SITE, make_assignment, make_manifest, small_spec, tiny_onnx
from support.agent_bench import AgentBench, agent_bench

SPEC = small_spec()
DATA = tiny_onnx(SPEC)
V1 = make_manifest(DATA, SPEC, version=1)
DATA2 = tiny_onnx(SPEC, scale=0.06)
V2 = make_manifest(DATA2, SPEC, version=2, scale=0.06)


@asynccontextmanager
async def life(folder: Path, *, before: AgentBench | None = None) -> AsyncIterator[AgentBench]:
    """One life with the keeper's own loop running."""
    async with agent_bench(folder, before=before) as b:
        task = asyncio.create_task(b.keeper.run())
        try:
            yield b
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def killed_life(folder: Path, *, before: AgentBench | None = None) -> AsyncIterator[AgentBench]:
    """One life that ends without a word, as kill -9 ends it."""
    bench = AgentBench(folder, before=before)
    try:
        await bench.open()
        yield bench
    finally:
        bench.keeper._moves.close()
        bench.writer.close()
        bench.store.close()


async def give(b: AgentBench, signed: Signed, data: bytes, *, until_state: str = "shadow") -> None:
    """Offer, and serve the chunks that are asked for, until a model event says this state once more."""
    before = b.model_states().count(until_state)
    asked = len(b.asked)
    await b.keeper.offer(signed)
    async with asyncio.timeout(30):
        while b.model_states().count(until_state) == before:
            for request in b.asked[asked:]:
                for number in request.chunks:
                    b.keeper.chunk(part(data, request.sha256, number))
            asked = len(b.asked)
            await asyncio.sleep(0.01)


def part(data: bytes, sha256: str, number: int) -> Chunk:
    """One chunk as the cloud sends it."""
    piece = data[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
    return Chunk(
        sha256=sha256,
        number=number,
        total=-(-len(data) // CHUNK_BYTES),
        chunk_sha256=hashlib.sha256(piece).hexdigest(),
        data=piece,
    )


def running(b: AgentBench) -> tuple[int | None, int | None]:
    """Versions in the active and the candidate slot."""
    engine = b.keeper.engine
    active, candidate = (
        m.manifest.version if m is not None else None for m in (engine.active, engine.candidate)
    )
    return active, candidate


async def place(b: AgentBench, signed: Signed, data: bytes) -> None:
    """Into the shadow without transfer and child: for tests of what comes after."""
    moves, intake = b.keeper._moves, b.keeper._intake
    verified = verify_assignment(signed, KEYS.ring, site=SITE, now_ms=0)
    b.slots.arriving = verified.manifest.sha256
    b.slots.put(data, verified.manifest.sha256, signed)
    async with moves.lock:
        await moves.start_shadow(signed, verified.manifest)
        intake._accept(signed, verified)
    b.slots.arriving = None


async def two_versions(b: AgentBench, second: Manifest = V2, data: bytes = DATA2) -> None:
    """V1 was active and confirmed, the second one has just taken over."""
    await b.steps(4)
    await place(b, make_assignment(V1, counter=1), DATA)
    await b.steps(8)
    await place(b, make_assignment(second, counter=2), data)
    await b.steps(3)
    assert running(b) == (second.version, None)


def settings(b: AgentBench, **changes: object) -> None:
    """Change `[agent]` of a running bench."""
    supervision = b.keeper.supervision
    supervision._settings = msgspec.structs.replace(supervision._settings, **changes)


def why_back(b: AgentBench) -> dict[str, object]:
    """The evidence of the last rollback."""
    return next(dict(e.data) for e in reversed(b.events()) if e.data.get("state") == "rolled-back")
