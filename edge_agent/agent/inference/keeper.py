"""Decides when a model moves: offered → fetched → verified → shadow → active, and back by itself.

An assignment is retained at the broker, so it comes again at every connect; only a new one is worked on,
and one that was refused is remembered. Whatever goes wrong, the model that worked stays.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from edge_agent.agent.events import Evidence, event
from edge_agent.agent.inference.admission import Seen, admit, check_structure
from edge_agent.agent.inference.engine import CycleReport, Engine
from edge_agent.agent.inference.fetch import Fetch
from edge_agent.agent.inference.model import LoadedModel, spec_of
from edge_agent.agent.inference.probe import ProbeRequest, probe
from edge_agent.agent.inference.slots import Slots
from edge_agent.agent.inference.structure import inspect
from edge_agent.agent.inference.transitions import UNUSABLE, TellGuardian, Transitions
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from edge_agent.config import SiteFile
from edge_agent.ipc import Assign, Unassign
from shared.alarms import EventKind
from shared.artifacts.manifest import Manifest, Stage, Verified
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.errors import ArtifactError, StoreError
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import RollupRow
from shared.wire.envelope import Chunk, ChunkRequest

SEEN_KEY: Final = "models.seen"
REFUSED_KEY: Final = "models.refused"
_ASK_AGAIN_S: Final = 5.0
_FLOOD: Final = 0.5
"""A candidate that calls more than half of the site ill, when the active one does not, is ill itself."""


class Keeper(Service):
    """Works on one offer at a time; a newer one replaces it."""

    name = "models"
    stall_s = 180.0

    def __init__(
        self,
        clock: Clock,
        site: SiteFile,
        *,
        slots: Slots,
        keyring: Keyring,
        records: Records,
        engine: Engine,
        tell_guardian: TellGuardian,
        ask_cloud: Callable[[ChunkRequest], None],
    ) -> None:
        super().__init__(clock)
        self._site = site
        self._slots = slots
        self._keyring = keyring
        self._records = records
        self.engine = engine
        self._moves = Transitions(
            clock,
            site,
            slots=slots,
            keyring=keyring,
            records=records,
            engine=engine,
            tell_guardian=tell_guardian,
        )
        self._ask_cloud = ask_cloud
        self._offer: Signed | None = None
        self._offered = asyncio.Event()
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue(maxsize=64)
        self._fetch: Fetch | None = None
        self._seen = Seen()
        self._refused = ""

    async def open(self) -> None:
        """Recall what was accepted and refused, and load the slots."""
        self._seen = await self._records.get(SEEN_KEY, Seen) or Seen()
        self._refused = await self._records.get(REFUSED_KEY, str) or ""
        await self._moves.open()

    def close(self) -> None:
        """End the inference thread."""
        self._moves.close()

    # ------------------------------------------------------------ what others hand in

    async def offer(self, signed: Signed) -> None:
        """A signed assignment arrived (again: it is retained). Only a new one is worked on."""
        if _digest(signed) not in (self._seen.digest, self._refused):
            self._offer = signed
            self._offered.set()

    def chunk(self, chunk: Chunk) -> None:
        """A part of a model arrived; dropped when nobody waits, the fetch asks again."""
        if self._fetch is not None and not self._chunks.full():
            self._chunks.put_nowait(chunk)

    async def greet_guardian(self) -> None:
        """Tell a guardian that has just come up which model really runs here."""
        await self._moves.greet_guardian()

    async def push(self, rows: list[RollupRow]) -> None:
        """New roll-up rows, off the event loop."""
        await self._moves.blocking(self.engine.push, rows)

    async def rollback(self, why: str) -> bool:
        """Back to the previous model (or to none); False when no model is active."""
        async with self._moves.lock:
            if self.engine.active is None:
                return False
            await self._moves.roll_back(why)
            return True

    # ------------------------------------------------------------ offers

    async def run(self) -> None:
        while True:
            self.tick()
            try:
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await self._offered.wait()
            except TimeoutError:
                continue
            self._offered.clear()
            if (signed := self._offer) is not None:
                self._offer = None
                await self._work_on(signed)

    async def _work_on(self, signed: Signed) -> None:
        """Consider an offer; one that the disk refuses is taken up again when the supervisor restarts us.

        The broker would send it again only at the next connect, which may be weeks away.
        """
        try:
            await self._consider(signed)
        except (OSError, StoreError):
            if self._offer is None:
                self._offer = signed
                self._offered.set()
            raise

    async def _consider(self, signed: Signed) -> None:
        """Take one offer as far as it goes; a refusal is remembered, so it is not fetched over and over."""
        slots = self._slots.current()
        known = {sha for sha in msgspec.structs.asdict(slots).values() if sha is not None}
        verified: Verified | None = None
        try:
            verified = admit(
                signed,
                self._keyring,
                site=self._site.site.id,
                now_ms=self.clock.utc_ms(),
                step_s=self._site.timing.step_s,
                seen=self._seen,
                known=known,
            )
            if verified.assignment.stage is Stage.WITHDRAWN:
                await self._withdraw(signed, verified)
            elif verified.manifest.sha256 in (slots.active, slots.candidate):
                await self._restage(signed, verified)
            else:
                await self._bring_in(signed, verified, known)
        except UNUSABLE as error:
            await self._refuse(signed, verified, str(error))
        finally:
            self._slots.arriving = None

    async def _withdraw(self, signed: Signed, verified: Verified) -> None:
        sha256 = verified.manifest.sha256
        async with self._moves.lock:
            await self._accept(signed, verified)
            await self._moves.tell_guardian(Assign(signed=signed))
            slots = self._slots.current()
            if sha256 == slots.candidate:
                await self._moves.drop_candidate("withdrawn by the cloud")
                await self._moves.greet_guardian()  # it lets go of every version of that name
            elif sha256 == slots.active:
                await self._moves.roll_back("withdrawn by the cloud")

    async def _restage(self, signed: Signed, verified: Verified) -> None:
        """The model is here already; only how far it may go has changed."""
        sha256, stage = verified.manifest.sha256, verified.assignment.stage
        async with self._moves.lock:
            self._slots.put_assignment(sha256, signed)
            await self._accept(signed, verified)
            for model in (self.engine.active, self.engine.candidate):
                if model is not None and model.manifest.sha256 == sha256:
                    model.assignment, model.signed = verified.assignment, signed
            active = self.engine.active
            runs = active is not None and active.manifest.sha256 == sha256
            acts = runs and stage is Stage.ACTIVE
            if runs and not acts:  # it goes on scoring, but its word does not count any more
                await self._moves.tell_guardian(Unassign(reason="demoted to shadow by the cloud"))
            await self._moves.tell_guardian(Assign(signed=signed, swapped=acts))
            await self._moves.report(
                verified.manifest, "active" if acts else "shadow", f"is now assigned for {stage}"
            )

    async def _bring_in(self, signed: Signed, verified: Verified, known: set[str]) -> None:
        manifest, moves = verified.manifest, self._moves
        if manifest.sha256 in known:
            data = self._slots.load(manifest.sha256).data
        else:
            data = await self._download(manifest)
            await moves.report(manifest, "downloaded", f"{len(data)} bytes fetched")
        check_structure(inspect(data))
        self._slots.arriving = manifest.sha256
        self._slots.put(data, manifest.sha256, signed)
        spec = spec_of(manifest)
        path = str(self._slots.load(manifest.sha256).path)
        found = await probe(
            ProbeRequest(path=path, manifest=manifest, width=spec.width, features=len(spec.features))
        )
        detail = f"self-test off by {found.error_max:.2g}, a batch of 128 takes {found.batch_ms:.1f} ms"
        await moves.report(manifest, "verified", detail)
        async with moves.lock:
            await moves.start_shadow(signed, manifest)
            await self._accept(signed, verified)

    async def _download(self, manifest: Manifest) -> bytes:
        """All chunks; asks again for what is missing, for as long as no newer offer comes."""
        fetch = self._fetch = Fetch(self._slots.incoming, manifest)
        try:
            while (request := fetch.request()) is not None:
                self._ask_cloud(request)
                await self._collect(fetch, len(request.chunks))
                self.tick()
                if self._offer is not None:
                    raise ArtifactError("superseded by a newer assignment")
            data = fetch.assemble()
            fetch.discard()
            return data
        finally:
            self._fetch = None

    async def _collect(self, fetch: Fetch, expected: int) -> None:
        try:
            async with asyncio.timeout(_ASK_AGAIN_S):
                while expected > 0:
                    expected -= fetch.take(await self._chunks.get())
        except TimeoutError:
            return

    # ------------------------------------------------------------ cycles

    async def cycle(self, entries: dict[DeviceId, DeviceEntry]) -> CycleReport:
        """One scoring cycle, and what follows from it for the slots."""
        async with self._moves.lock:
            report = await self._moves.blocking(self.engine.cycle, entries)
            try:
                await self._after(report)
                await self._moves.report_untold()
            except (OSError, StoreError) as error:
                # The lease hangs on this cycle, and a full disk is no reason to bring a site to its safe
                # state. What did not happen is tried again in the next cycle.
                log.error("the disk refuses a change of models: %s", error)
        return report

    async def _after(self, report: CycleReport) -> None:
        active, candidate = self.engine.active, self.engine.candidate
        if active is not None and report.active is not None:
            if report.active.failure:
                await self._moves.roll_back(report.active.failure)
            elif self.clock.utc_ms() >= _expiry(active):
                await self._moves.roll_back("its assignment has expired")
        if candidate is None or report.candidate is None:
            return
        if why := report.candidate.failure or self._flooding():
            await self._moves.drop_candidate(why)
        elif candidate.assignment.stage is Stage.ACTIVE and self._shadowed_enough():
            await self._moves.swap(candidate)

    def _shadowed_enough(self) -> bool:
        return self.engine.shadow.cycles >= self._site.agent.shadow_cycles

    def _flooding(self) -> str:
        """Why the candidate's alarms cannot be true, or nothing."""
        shadow = self.engine.shadow
        if not self._shadowed_enough() or not shadow.compared:
            return ""
        share, before = shadow.alarms / shadow.scored, shadow.active_alarms / shadow.compared
        if share > _FLOOD >= before:
            return f"calls {share:.0%} of the miners ill where the active model calls {before:.0%}"
        return ""

    # ------------------------------------------------------------ memory

    async def _accept(self, signed: Signed, verified: Verified) -> None:
        """Store counter and version, so that a replay after a restart is refused."""
        manifest, seen = verified.manifest, self._seen
        newest = manifest.version >= seen.versions.get(manifest.name, 0)
        self._seen = Seen(
            counter=verified.assignment.counter,
            digest=_digest(signed),
            versions=seen.versions | ({manifest.name: manifest.version} if newest else {}),
            hashes=seen.hashes | ({manifest.name: manifest.sha256} if newest else {}),
        )
        await self._records.put(SEEN_KEY, self._seen)

    async def _refuse(self, signed: Signed, verified: Verified | None, why: str) -> None:
        self._refused = _digest(signed)
        data: Evidence = {"state": "refused", "why": why}
        name = "A model assignment"
        if verified is not None:
            manifest = verified.manifest
            name = f"{manifest.name} v{manifest.version}"
            data |= {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}
        await self._records.emit(
            event(
                EventKind.MODEL,
                f"model:{self._refused[:12]}",
                f"{name} is refused: {why}",
                at_ms=self.clock.utc_ms(),
                advice="Look at the rollout in the cloud; this site keeps what it has.",
                data=data,
            ),
            meta={REFUSED_KEY: msgspec.msgpack.encode(self._refused)},
        )


def _digest(signed: Signed) -> str:
    return hashlib.sha256(signed.payload).hexdigest()


def _expiry(model: LoadedModel) -> int:
    return min(model.assignment.expires_ms, model.manifest.expires_ms)
