"""Moves models through the slots: offered → fetched → verified → shadow → active, and back by itself.

Each step is an `Event` that the cloud's rollouts follow, and the guardian is told what the agent really
runs. Whatever goes wrong, the model that worked stays; a rollback needs no network.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from edge_agent.agent.events import Evidence, event
from edge_agent.agent.inference.admission import Seen, admit, check_structure
from edge_agent.agent.inference.engine import CycleReport, Engine, Shadow
from edge_agent.agent.inference.fetch import Fetch
from edge_agent.agent.inference.model import LoadedModel, spec_of
from edge_agent.agent.inference.probe import ProbeRequest, probe
from edge_agent.agent.inference.slots import SlotMap, Slots
from edge_agent.agent.inference.structure import inspect
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from edge_agent.config import SiteFile
from edge_agent.ipc import Assign, Unassign
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.manifest import Manifest, Stage, Verified, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.errors import ArtifactError, SecurityError, WireError
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import RollupRow
from shared.wire.envelope import Chunk, ChunkRequest

T = TypeVar("T")

SEEN_KEY: Final = "models.seen"
REFUSED_KEY: Final = "models.refused"
_ASK_AGAIN_S: Final = 5.0
_FLOOD: Final = 0.5
"""A candidate that calls more than half of the site ill, when the active one does not, is ill itself."""


class Keeper(Service):
    """Owner of slots and engine. One offer is worked on at a time; a newer one replaces it."""

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
        tell_guardian: Callable[[Assign | Unassign], Awaitable[bool]],
        ask_cloud: Callable[[ChunkRequest], None],
    ) -> None:
        super().__init__(clock)
        self._site = site
        self._slots = slots
        self._keyring = keyring
        self._records = records
        self.engine = engine
        self._tell_guardian = tell_guardian
        self._ask_cloud = ask_cloud
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._offer: Signed | None = None
        self._offered = asyncio.Event()
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue(maxsize=64)
        self._fetch: Fetch | None = None
        self._seen = Seen()
        self._refused = ""
        self._slot_lock = asyncio.Lock()

    # ------------------------------------------------------------ start

    async def open(self, history: list[list[RollupRow]]) -> None:
        """Load what the slots hold and fill its windows from stored roll-ups; a bad slot is emptied."""
        self._seen = await self._records.get(SEEN_KEY, Seen) or Seen()
        self._refused = await self._records.get(REFUSED_KEY, str) or ""
        slots = self._slots.current()
        for name in ("active", "candidate"):
            sha256 = getattr(slots, name)
            if sha256 is None:
                continue
            try:
                model = await self._blocking(self._load, sha256)
            except (ArtifactError, SecurityError, WireError) as error:
                await self._lose_slot(name, sha256, str(error))
                continue
            await self._blocking(_replay, model, history)
            setattr(self.engine, name, model)

    async def _lose_slot(self, name: str, sha256: str, why: str) -> None:
        """A slot cannot be loaded: the previous model takes an active's place, a candidate just goes."""
        slots = self._slots.current()
        if name == "candidate":
            self._slots.set(msgspec.structs.replace(slots, candidate=None))
        else:
            self._slots.set(SlotMap(candidate=slots.candidate))
        data: Evidence = {
            "state": "rolled-back" if name == "active" else "refused",
            "sha256": sha256,
            "why": why,
        }
        await self._records.emit(
            event(
                EventKind.MODEL,
                f"model:{sha256[:12]}",
                f"Model in the {name} slot cannot be used: {why}",
                at_ms=self.clock.utc_ms(),
                severity=Severity.HIGH if name == "active" else Severity.LOW,
                advice="Assign a model again from the cloud; the site runs on rules until then.",
                data=data,
            )
        )
        if name == "active" and slots.previous is not None:
            await self._activate_previous(slots.previous)

    def _load(self, sha256: str) -> LoadedModel:
        """A stored model whose signatures still hold; its expiry is looked at in each cycle."""
        stored = self._slots.load(sha256)
        if hashlib.sha256(stored.data).hexdigest() != sha256:
            raise ArtifactError(f"model file {sha256[:12]} is damaged")
        verified = verify_assignment(stored.signed, self._keyring, site=self._site.site.id, now_ms=0)
        return LoadedModel(verified, stored)

    # ------------------------------------------------------------ what others hand in

    async def offer(self, signed: Signed) -> None:
        """A signed assignment arrived (again: it is retained). Only a new one is worked on."""
        digest = hashlib.sha256(signed.payload).hexdigest()
        if digest in (self._seen.digest, self._refused):
            return
        self._offer = signed
        self._offered.set()

    def chunk(self, chunk: Chunk) -> None:
        """A part of a model arrived; dropped when nobody waits, the fetch asks again."""
        if self._fetch is not None and not self._chunks.full():
            self._chunks.put_nowait(chunk)

    async def greet_guardian(self) -> None:
        """Tell a guardian that has just come up which model really runs here."""
        if (model := self.engine.active) is not None:
            acts = model.assignment.stage is Stage.ACTIVE
            await self._tell_guardian(Assign(signed=model.signed, swapped=acts))
        if (model := self.engine.candidate) is not None:
            await self._tell_guardian(Assign(signed=model.signed))

    async def push(self, rows: list[RollupRow]) -> None:
        """New roll-up rows, off the event loop."""
        await self._blocking(self.engine.push, rows)

    async def cycle(self, entries: dict[DeviceId, DeviceEntry]) -> CycleReport:
        """One scoring cycle, and what follows from it for the slots."""
        report = await self._blocking(self.engine.cycle, entries)
        async with self._slot_lock:
            await self._after(report)
        return report

    async def rollback(self, why: str) -> bool:
        """Back to the previous model (or to none); False when no model is active."""
        async with self._slot_lock:
            if self.engine.active is None:
                return False
            await self._roll_back(why)
            return True

    def close(self) -> None:
        """End the inference thread."""
        self._thread.shutdown(wait=True)

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
                await self._consider(signed)

    async def _consider(self, signed: Signed) -> None:
        """Take one offer as far as it goes; a refusal is remembered, so it is not fetched over and over."""
        verified: Verified | None = None
        try:
            slots = self._slots.current()
            known = {sha for sha in msgspec.structs.asdict(slots).values() if sha is not None}
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
        except (ArtifactError, SecurityError, WireError) as error:
            await self._refuse(signed, verified, str(error))
        finally:
            self._slots.arriving = None

    async def _withdraw(self, signed: Signed, verified: Verified) -> None:
        sha256 = verified.manifest.sha256
        async with self._slot_lock:
            await self._accept(signed, verified)
            await self._tell_guardian(Assign(signed=signed))
            slots = self._slots.current()
            if sha256 == slots.candidate:
                await self._drop_candidate("withdrawn by the cloud")
                await self.greet_guardian()  # it lets go of every version of that name
            elif sha256 == slots.active:
                await self._roll_back("withdrawn by the cloud")

    async def _restage(self, signed: Signed, verified: Verified) -> None:
        """The model is here already; only how far it may go has changed."""
        sha256 = verified.manifest.sha256
        async with self._slot_lock:
            self._slots.put_assignment(sha256, signed)
            await self._accept(signed, verified)
            for model in (self.engine.active, self.engine.candidate):
                if model is not None and model.manifest.sha256 == sha256:
                    model.assignment, model.signed = verified.assignment, signed
            active = self.engine.active
            runs = active is not None and active.manifest.sha256 == sha256
            acts = runs and verified.assignment.stage is Stage.ACTIVE
            if runs and not acts:  # it goes on scoring, but its word does not count any more
                await self._tell_guardian(Unassign(reason="demoted to shadow by the cloud"))
            await self._tell_guardian(Assign(signed=signed, swapped=acts))
            state = ("active" if acts else "shadow") if runs else "shadow"
            await self._report(verified.manifest, state, f"assigned for {verified.assignment.stage}")

    async def _bring_in(self, signed: Signed, verified: Verified, known: set[str]) -> None:
        manifest = verified.manifest
        if manifest.sha256 in known:
            data = self._slots.load(manifest.sha256).data
        else:
            data = await self._download(manifest)
            await self._report(manifest, "downloaded", f"{len(data)} bytes fetched")
        check_structure(inspect(data))
        self._slots.arriving = manifest.sha256
        self._slots.put(data, manifest.sha256, signed)
        spec = spec_of(manifest)
        path = self._slots.load(manifest.sha256).path
        found = await probe(
            ProbeRequest(path=str(path), manifest=manifest, width=spec.width, features=len(spec.features))
        )
        await self._report(
            manifest,
            "verified",
            f"self-test off by {found.error_max:.2g}, batch of 128 in {found.batch_ms:.1f} ms",
        )
        await self._start_shadow(signed, verified)

    async def _start_shadow(self, signed: Signed, verified: Verified) -> None:
        manifest = verified.manifest
        async with self._slot_lock:
            model = await self._blocking(self._load, manifest.sha256)
            since = self.clock.utc_ms() - _history_ms(model)
            await self._blocking(_replay, model, await self._history(since))
            self._slots.set(msgspec.structs.replace(self._slots.current(), candidate=manifest.sha256))
            self.engine.candidate, self.engine.shadow = model, Shadow()
            await self._accept(signed, verified)
            await self._report(manifest, "shadow", f"runs unseen for {self._site.agent.shadow_cycles} cycles")
            await self._tell_guardian(Assign(signed=signed))

    async def _history(self, since_ms: int) -> list[list[RollupRow]]:
        store = self._records.store
        return await self._records.writer.call(lambda: list(store.rollups_since(since_ms)))

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
            return fetch.assemble()
        finally:
            self._fetch = None

    async def _collect(self, fetch: Fetch, expected: int) -> None:
        try:
            async with asyncio.timeout(_ASK_AGAIN_S):
                while expected > 0:
                    expected -= fetch.take(await self._chunks.get())
        except TimeoutError:
            return

    # ------------------------------------------------------------ after a cycle

    async def _after(self, report: CycleReport) -> None:
        active, candidate = self.engine.active, self.engine.candidate
        now_ms = self.clock.utc_ms()
        if active is not None and report.active is not None:
            if report.active.failure:
                await self._roll_back(report.active.failure)
            elif now_ms >= min(active.assignment.expires_ms, active.manifest.expires_ms):
                await self._roll_back("its assignment has expired")
        if candidate is None or report.candidate is None:
            return
        if report.candidate.failure:
            await self._drop_candidate(report.candidate.failure)
        elif (why := self._flooding()) is not None:
            await self._drop_candidate(why)
        elif (
            candidate.assignment.stage is Stage.ACTIVE
            and self.engine.shadow.cycles >= self._site.agent.shadow_cycles
        ):
            await self._swap(candidate)

    def _flooding(self) -> str | None:
        shadow = self.engine.shadow
        if shadow.cycles < self._site.agent.shadow_cycles or self.engine.active is None:
            return None
        share, before = shadow.alarms / shadow.scored, shadow.active_alarms / max(shadow.compared, 1)
        if share > _FLOOD >= before:
            return f"calls {share:.0%} of the miners ill where the active model calls {before:.0%}"
        return None

    async def _swap(self, candidate: LoadedModel) -> None:
        slots, shadow = self._slots.current(), self.engine.shadow
        self._slots.set(SlotMap(active=candidate.manifest.sha256, previous=slots.active))
        self.engine.active, self.engine.candidate = candidate, None
        agreement = (
            "nothing to compare with" if shadow.agreement is None else f"{shadow.agreement:.1%} agreement"
        )
        await self._report(
            candidate.manifest, "active", f"{shadow.cycles} cycles in the shadow, {agreement}", shadow=shadow
        )
        await self._tell_guardian(Assign(signed=candidate.signed, swapped=True))
        self.engine.shadow = Shadow()

    async def _drop_candidate(self, why: str) -> None:
        model = self.engine.candidate
        self._slots.set(msgspec.structs.replace(self._slots.current(), candidate=None))
        self.engine.candidate, shadow = None, self.engine.shadow
        self.engine.shadow = Shadow()
        if model is not None:
            await self._report(model.manifest, "refused", why, severity=Severity.LOW, shadow=shadow)

    async def _roll_back(self, why: str) -> None:
        """The active model goes at once; the guardian hears it before anything is tried instead."""
        model = self.engine.active
        slots = self._slots.current()
        await self._tell_guardian(Unassign(reason=why))
        self.engine.active = None
        self._slots.set(SlotMap(candidate=slots.candidate))
        if model is not None:
            await self._report(model.manifest, "rolled-back", why, severity=Severity.HIGH)
        if slots.previous is not None:
            await self._activate_previous(slots.previous)

    async def _activate_previous(self, sha256: str) -> None:
        try:
            model = await self._blocking(self._load, sha256)
        except (ArtifactError, SecurityError, WireError) as error:
            log.error("the previous model cannot be loaded either: %s", error)
            return
        await self._blocking(_replay, model, await self._history(self.clock.utc_ms() - _history_ms(model)))
        self._slots.set(msgspec.structs.replace(self._slots.current(), active=sha256))
        self.engine.active = model
        await self._report(model.manifest, "active", "took over again after a rollback")
        await self._tell_guardian(Assign(signed=model.signed, swapped=True))

    # ------------------------------------------------------------ words

    async def _accept(self, signed: Signed, verified: Verified) -> None:
        """Store counter and version before they have any effect, so a replay after a crash is refused."""
        manifest, seen = verified.manifest, self._seen
        newest = manifest.version >= seen.versions.get(manifest.name, 0)
        self._seen = Seen(
            counter=verified.assignment.counter,
            digest=hashlib.sha256(signed.payload).hexdigest(),
            versions=seen.versions | ({manifest.name: manifest.version} if newest else {}),
            hashes=seen.hashes | ({manifest.name: manifest.sha256} if newest else {}),
        )
        await self._records.put(SEEN_KEY, self._seen)

    async def _refuse(self, signed: Signed, verified: Verified | None, why: str) -> None:
        self._refused = hashlib.sha256(signed.payload).hexdigest()
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

    async def _report(
        self,
        manifest: Manifest,
        state: str,
        detail: str,
        *,
        severity: Severity = Severity.LOW,
        shadow: Shadow | None = None,
    ) -> None:
        data: Evidence = {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": manifest.sha256,
            "state": state,
            "detail": detail,
        }
        if shadow is not None:
            data |= {
                "shadow_cycles": shadow.cycles,
                "agreement": shadow.agreement,
                "alarms": shadow.alarms,
                "scored": shadow.scored,
            }
        await self._records.emit(self._event(manifest, f"{state}: {detail}", severity, data))

    def _event(self, manifest: Manifest, text: str, severity: Severity, data: Evidence) -> Event:
        return event(
            EventKind.MODEL,
            f"model:{manifest.name}",
            f"{manifest.name} v{manifest.version} {text}",
            at_ms=self.clock.utc_ms(),
            severity=severity,
            data=data,
        )

    async def _blocking(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.wrap_future(self._thread.submit(function, *args))


def _replay(model: LoadedModel, history: list[list[RollupRow]]) -> None:
    for rows in history:
        model.push(rows)


def _history_ms(model: LoadedModel) -> int:
    return (model.spec.window + model.spec.settle_steps + 2) * model.spec.step_s * 1000
