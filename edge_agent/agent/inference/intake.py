"""One assignment as far as it goes: admitted, fetched, inspected, tested in a child, put into the shadow.

Whatever goes wrong, the model that worked stays; each refusal is counted, told as an event and remembered,
so that what the broker retains is not fetched over and over. Refused papers are another matter: the keyring
that they need may come a moment later, the clock may be wrong. They are held and looked at again.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from edge_agent.agent.events import Evidence, event
from edge_agent.agent.inference.admission import Seen, admit, check_structure
from edge_agent.agent.inference.fetch import Fetch
from edge_agent.agent.inference.https import BlobHttp
from edge_agent.agent.inference.memory import Trying, digest
from edge_agent.agent.inference.model import spec_of
from edge_agent.agent.inference.probe import ProbeRequest, probe
from edge_agent.agent.inference.structure import inspect
from edge_agent.agent.inference.supervision import Supervision
from edge_agent.agent.inference.transitions import UNUSABLE, Transitions
from edge_agent.agent.records import Records
from edge_agent.agent.service import log
from edge_agent.config import SiteFile
from edge_agent.ipc import Assign, Unassign
from shared.alarms import EventKind, Severity
from shared.artifacts.manifest import Manifest, Stage, Verified
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.errors import ArtifactError, SecurityError
from shared.wire.envelope import Chunk, ChunkRequest

ASK_AGAIN_S: Final = 5.0
MAX_SPOILT: Final = 3
"""So many rounds of chunks in a row may bring damaged ones and no good one, before the offer is refused."""
MAX_TRIES: Final = 2
"""So often may the agent end while a model is tested and loaded, before the model is taken for the reason."""
_PAPERS: Final = uuid.UUID("0f4e1d0b-6f0e-4f39-a0a5-6d2a4b1c7e55")
"""Namespace: papers that are refused again after a restart, for the same reason, are the same event."""


class Pinned(Exception):
    """A person keeps another version; the offer waits until that ends."""


class Intake:
    """Works on one offer at a time. `refused` counts by where it failed: papers, manifest, transfer, file,
    self-test."""

    def __init__(
        self,
        clock: Clock,
        site: SiteFile,
        *,
        moves: Transitions,
        supervision: Supervision,
        keyring: Keyring,
        records: Records,
        ask_cloud: Callable[[ChunkRequest], None],
        http: BlobHttp | None,
        superseded: Callable[[], bool],
        tick: Callable[[], None],
    ) -> None:
        self.refused: dict[str, int] = {}
        self._clock = clock
        self._site = site
        self._moves = moves
        self._supervision = supervision
        self._keyring = keyring
        self._records = records
        self._ask_cloud = ask_cloud
        self._http = http
        self._superseded = superseded
        self._tick = tick
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue(maxsize=64)
        self._fetch: Fetch | None = None
        self._where = ""
        self._refusing = ""
        self._held: Signed | None = None
        """The last offer whose papers were refused. One is enough: the newest assignment counts."""

    def known(self, signed: Signed) -> bool:
        """Whether this very assignment was accepted or refused before, or is held."""
        memory = self._moves.memory.now
        if signed == self._held:  # with its signatures: a forged copy must not stand for the true one
            return True
        return digest(signed) in (memory.seen.digest, memory.refused, self._refusing)

    def ripe(self) -> Signed | None:
        """The held offer, once its papers are in order: the keyring or the clock changed."""
        held = self._held
        if held is None:
            return None
        try:
            self._admit(held)
        except SecurityError:
            return None
        except UNUSABLE:
            pass  # its papers are; `consider` says what is not
        self._held = None
        return held

    def chunk(self, chunk: Chunk) -> None:
        """A part of a model arrived; dropped when nobody waits, the fetch asks again."""
        if self._fetch is not None and not self._chunks.full():
            self._chunks.put_nowait(chunk)

    async def consider(self, signed: Signed) -> None:
        """Take an offer as far as it goes. Raises `Pinned`, and what the disk refuses with."""
        slots = self._moves.slots.current()
        verified: Verified | None = None
        self._where = "manifest"
        try:
            verified = self._admit(signed)
            self._check_pin(verified)
            if verified.assignment.stage is Stage.WITHDRAWN:
                await self._withdraw(signed, verified)
            elif verified.manifest.sha256 in (slots.active, slots.candidate):
                await self._restage(signed, verified)
            else:
                await self._bring_in(signed, verified)
        except SecurityError as error:
            self._where = "papers"
            if verified is None:
                await self._hold(signed, str(error))
            else:
                await self._refuse(signed, verified, str(error))
        except UNUSABLE as error:
            await self._refuse(signed, verified, str(error))
        finally:
            self._moves.slots.arriving = None

    def _stored(self) -> set[str]:
        """Hashes in this gateway's slots."""
        slots = msgspec.structs.asdict(self._moves.slots.current())
        return {sha for sha in slots.values() if sha is not None}

    def _admit(self, signed: Signed) -> Verified:
        return admit(
            signed,
            self._keyring,
            site=self._site.site.id,
            now_ms=self._clock.utc_ms(),
            step_s=self._site.timing.step_s,
            seen=self._moves.memory.now.seen,
            known=self._stored(),
        )

    def _check_pin(self, verified: Verified) -> None:
        """A pin holds against every other version; a withdrawal takes trust away and always counts."""
        pin = self._moves.memory.now.pin
        if pin is None or verified.assignment.stage is Stage.WITHDRAWN:
            return
        if verified.manifest.sha256 != pin.sha256:
            raise Pinned(f"{verified.manifest.name} v{verified.manifest.version}")

    # ------------------------------------------------------------ what is here already

    async def _withdraw(self, signed: Signed, verified: Verified) -> None:
        sha256, moves = verified.manifest.sha256, self._moves
        async with moves.lock:
            self._accept(signed, verified)
            await moves.tell_guardian(Assign(signed=signed))
            slots = moves.slots.current()
            if sha256 == slots.candidate:
                await moves.drop_candidate("withdrawn by the cloud", reason="withdrawn")
                await moves.greet_guardian()  # it lets go of every version of that name
            elif sha256 == slots.active:
                await moves.roll_back("withdrawn by the cloud", reason="withdrawn")
            await moves.report(verified.manifest, "withdrawn", "the cloud took the assignment away")

    async def _restage(self, signed: Signed, verified: Verified) -> None:
        """The model is here already; only how far it may go has changed."""
        sha256, stage, moves = verified.manifest.sha256, verified.assignment.stage, self._moves
        async with moves.lock:
            moves.slots.put_assignment(sha256, signed)
            self._accept(signed, verified)
            for model in (moves.engine.active, moves.engine.candidate):
                if model is not None and model.manifest.sha256 == sha256:
                    model.assignment, model.signed = verified.assignment, signed
            active = moves.engine.active
            runs = active is not None and active.manifest.sha256 == sha256
            acts = runs and stage is Stage.ACTIVE
            if acts:
                self._supervision.confirmed_by_cloud(sha256)
            if runs and not acts:  # it goes on scoring, but its word does not count any more
                await moves.tell_guardian(Unassign(reason="demoted to shadow by the cloud"))
            await moves.tell_guardian(Assign(signed=signed, swapped=acts))
            await moves.report(
                verified.manifest, "active" if acts else "shadow", f"is now assigned for {stage}"
            )

    # ------------------------------------------------------------ what is new

    async def _bring_in(self, signed: Signed, verified: Verified) -> None:
        manifest, moves = verified.manifest, self._moves
        if self._tries(signed) >= MAX_TRIES:
            self._where = "self-test"
            raise ArtifactError(f"the agent ended {MAX_TRIES} times while it tested this model")
        if manifest.sha256 in self._stored():
            data = moves.slots.load(manifest.sha256).data
        else:
            self._where = "transfer"
            data, how = await self._download(signed, manifest)
            await moves.report(manifest, "downloaded", f"{len(data)} bytes fetched, {how}")
        self._where = "file"
        check_structure(inspect(data))
        moves.slots.arriving = manifest.sha256
        moves.slots.put(data, manifest.sha256, signed)
        self._where = "self-test"
        spec = spec_of(manifest)
        with self._trying(signed):
            found = await probe(
                ProbeRequest(model=data, manifest=manifest, width=spec.width, features=len(spec.features))
            )
            detail = (
                f"self-test off by {found.error_max:.2g}, a batch of 128 takes {found.batch_ms:.1f} ms, "
                f"needs {found.memory_bytes / 1e6:.0f} MB"
            )
            await moves.report(manifest, "verified", detail, figures={"self_test_error": found.error_max})
            async with moves.lock:
                await moves.start_shadow(signed, manifest)
                self._accept(signed, verified)

    def _tries(self, signed: Signed) -> int:
        trying = self._moves.memory.now.trying
        return trying.times if trying is not None and trying.digest == digest(signed) else 0

    @contextlib.contextmanager
    def _trying(self, signed: Signed) -> Iterator[None]:
        """Held against the model if the agent ends in here; `_accept` and `_refuse` strike it out."""
        memory = self._moves.memory
        before = memory.now.trying
        memory.change(trying=Trying(digest=digest(signed), times=self._tries(signed) + 1))
        try:
            yield
        except BaseException:  # a refusal, a full disk, an orderly stop: the agent is here to say so
            try:
                memory.change(trying=before)
            except OSError as error:
                log.warning("a test's end cannot be noted: %s", error)
            raise

    async def _download(self, signed: Signed, manifest: Manifest) -> tuple[bytes, str]:
        """All chunks, and by which way; tries for as long as no newer offer comes.

        Silence is waited out. Raises `ArtifactError` where the chunks that come are damaged again and again.
        """
        spoilt = 0
        fetch = self._fetch = Fetch(self._moves.slots.incoming, manifest)
        ways = {"already here": fetch.total - len(fetch.missing), "https": 0, "mqtt": 0}
        try:
            while (request := fetch.request()) is not None:
                if self._http is not None:
                    ways["https"] += await self._http.fill(fetch, signed, stop=self._stop)
                if (request := fetch.request()) is not None:
                    self._ask_cloud(request)
                    bad, taken = fetch.bad, await self._collect(fetch, len(request.chunks))
                    ways["mqtt"] += taken
                    spoilt = 0 if taken else spoilt + (fetch.bad > bad)
                    if spoilt == MAX_SPOILT:
                        raise ArtifactError(
                            f"its chunks come damaged: {fetch.bad} did not match their size or hash"
                        )
                self._tick()
                if self._superseded():
                    raise ArtifactError("superseded by a newer assignment")
                async with self._moves.lock:
                    await self._supervision.pass_time()
            data = fetch.assemble()
            fetch.discard()
            return data, ", ".join(f"{n} of {fetch.total} chunks {way}" for way, n in ways.items() if n)
        finally:
            self._fetch = None

    def _stop(self) -> bool:
        """Asked between two chunks: a slow link is no stuck part."""
        self._tick()
        return self._superseded()

    async def _collect(self, fetch: Fetch, expected: int) -> int:
        """Take what comes of one request; how many good ones came."""
        taken, bad = 0, fetch.bad
        try:
            async with asyncio.timeout(ASK_AGAIN_S):
                while taken + fetch.bad - bad < expected:
                    taken += fetch.take(await self._chunks.get())
        except TimeoutError:
            pass
        return taken

    # ------------------------------------------------------------ memory

    def _accept(self, signed: Signed, verified: Verified) -> None:
        """Store counter and version, so that a replay after a restart is refused."""
        manifest, seen = verified.manifest, self._moves.memory.now.seen
        newest = manifest.version >= seen.versions.get(manifest.name, 0)
        fresh = Seen(
            counter=verified.assignment.counter,
            digest=digest(signed),
            versions=seen.versions | ({manifest.name: manifest.version} if newest else {}),
            hashes=seen.hashes | ({manifest.name: manifest.sha256} if newest else {}),
            until_ms=max(seen.until_ms, verified.assignment.expires_ms),
        )
        self._moves.memory.change(seen=fresh, trying=None)

    async def _hold(self, signed: Signed, why: str) -> None:
        """Refuse the papers for now. Nothing of it goes to the disk: who signed it is not known."""
        self._held = signed
        known = msgspec.msgpack.encode((signed, why)).hex()
        await self._tell_refusal(signed, None, why, event_id=str(uuid.uuid5(_PAPERS, known)))

    async def _refuse(self, signed: Signed, verified: Verified | None, why: str) -> None:
        self._refusing = digest(signed)
        await self._tell_refusal(signed, verified, why)
        # After the event: a kill in between tells it twice, the other way round it would never be told.
        self._moves.memory.change(refused=digest(signed), trying=None)

    async def _tell_refusal(
        self, signed: Signed, verified: Verified | None, why: str, *, event_id: str | None = None
    ) -> None:
        self.refused[self._where] = self.refused.get(self._where, 0) + 1
        data: Evidence = {"state": "refused", "reason": self._where, "detail": why, "why": why}
        name = "A model assignment"
        if verified is not None:
            manifest = verified.manifest
            name = f"{manifest.name} v{manifest.version}"
            data |= {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}
        await self._records.emit(
            event(
                EventKind.MODEL,
                f"model:{digest(signed)[:12]}",
                f"{name} is refused: {why}",
                at_ms=self._clock.utc_ms(),
                severity=Severity.HIGH if self._where == "papers" else Severity.LOW,
                advice="Look at the rollout in the cloud; this site keeps what it has.",
                data=data,
                event_id=event_id,
            )
        )
