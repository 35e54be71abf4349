"""The moves of a model between slots: into the shadow, swapped in, dropped, rolled back.

Each move changes disk, engine and guardian in the order that is safe to be cut off in, and is told as an
`Event` that the cloud's rollouts follow. `keeper.py` decides when; no move needs a network.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from edge_agent.agent.events import Evidence, event
from edge_agent.agent.inference import lives
from edge_agent.agent.inference.comparison import Shadow
from edge_agent.agent.inference.engine import Engine
from edge_agent.agent.inference.memory import Leaving, MemoryFile, digest
from edge_agent.agent.inference.model import LoadedModel
from edge_agent.agent.inference.slots import SlotMap, Slots
from edge_agent.agent.records import Records
from edge_agent.agent.service import log
from edge_agent.config import SiteFile
from edge_agent.ipc import Assign, Keys, Unassign
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.manifest import Assignment, Manifest, Stage, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.errors import ArtifactError, SecurityError, StoreError, WireError
from shared.telemetry import RollupRow

T = TypeVar("T")
TellGuardian = Callable[[Assign | Unassign | Keys], Awaitable[bool]]
MAX_STARTS: Final = 4
"""So often may the agent begin with models that have not yet run for a while, before one of them goes."""
_MAX_UNTOLD: Final = 100
_LEFT: Final = uuid.UUID("0b7e4d0c-3f5e-4f0f-9a39-9d1a55d7a0b6")
"""Namespace: a rollback that a kill cut short and that is told again is the same event."""
UNUSABLE = (ArtifactError, SecurityError, WireError)


class Transitions:
    """Owner of slots and engine. Callers hold `lock` around a move, so that moves never overlap."""

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
    ) -> None:
        self.slots = slots
        self.memory = MemoryFile(slots.folder)
        self._life = lives.begin(self.memory.now.life, clock)
        self.unfinished: Leaving | None = None
        self.engine = engine
        self.lock = asyncio.Lock()
        self.tell_guardian = tell_guardian
        self._clock = clock
        self._site = site
        self._keyring = keyring
        self._records = records
        self._untold: list[Event] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    async def blocking(self, function: Callable[..., T], *args: object) -> T:
        """Run on the inference thread, which alone touches the models."""
        return await asyncio.wrap_future(self._thread.submit(function, *args))

    def close(self) -> None:
        """End the inference thread."""
        self._thread.shutdown(wait=True)

    # ------------------------------------------------------------ start

    async def open(self) -> None:
        """Finish what a kill cut short, then load what the slots hold; a bad model falls back."""
        if self.memory.damage:
            await self._tell_damage()
        self._count_start()
        await self._leave()
        found = self.slots.current()
        if found.active is None and found.previous is not None:
            found = msgspec.structs.replace(found, active=found.previous, previous=None)
            self.slots.set(found)
        if found.active is not None and self.engine.active is None:
            await self._resume_active(found.active)
        if found.candidate is not None:
            await self._resume_candidate(found.candidate)
        if (active := self.engine.active) is not None and self.memory.now.told_active != active.ref.sha256:
            await self.report(
                active.manifest, "active", "acts here; the agent was ended before it could say so"
            )

    def _count_start(self) -> None:
        """A model that brings the agent down again and again is not loaded once more.

        Who of two it is cannot be seen from here. The candidate goes first: it has proved less, and nobody
        misses it. The active one goes back only where it goes on without a candidate. How the last life
        ended is written together with the beginning of this one, so that a kill loses and doubles nothing.
        """
        slots, memory = self.slots.current(), self.memory.now
        suspect = slots.candidate or slots.active
        if suspect is None:
            return
        if memory.leaving is not None:
            self.memory.change(life=self._life)
            return
        why, deaths = "", memory.deaths
        if lives.ended_uncleanly(memory.life, self._life):
            deaths = lives.with_death(deaths, suspect, self._life)
            why = lives.verdict(deaths, suspect)
            log.warning("the last life ended uncleanly with model %s loaded", suspect[:12])
        elif memory.life is not None and not memory.life.clean:
            log.info("the last life ended with the gateway's: no model is held to account for it")
        if memory.starts >= MAX_STARTS:
            why = f"the agent ended {MAX_STARTS} times before this model had run for a while"
        if not why:
            self.memory.change(life=self._life, deaths=deaths, starts=memory.starts + 1)
            return
        leaving = self._farewell(suspect, "crash", why)
        leaving = msgspec.structs.replace(leaving, candidate=suspect == slots.candidate)
        self.memory.change(life=self._life, deaths=deaths, leaving=leaving)

    def note_clean_end(self) -> None:
        """What was asked to stop is held against nobody. Raises `OSError`."""
        memory = self.memory.now
        life = memory.life
        if life == self._life:
            life = msgspec.structs.replace(lives.begin(life, self._clock), clean=True)
        self.memory.change(life=life, starts=0)

    async def _tell_damage(self) -> None:
        await self._tell(
            event(
                EventKind.SYSTEM,
                "model:memory",
                "What the gateway knew of its models' past was damaged: "
                "trial, refusals, pin and unclean ends begin anew",
                at_ms=self._clock.utc_ms(),
                severity=Severity.LOW,
                advice="Pin the model again if it was pinned, and check the disk: it may be failing.",
                data={"why": self.memory.damage},
            )
        )

    async def _resume_active(self, sha256: str) -> None:
        try:
            self.engine.active = await self.load(sha256)
        except UNUSABLE as error:
            self.memory.change(leaving=self._farewell(sha256, "load", f"cannot be used: {error}"))
            await self._leave()

    async def _resume_candidate(self, sha256: str) -> None:
        try:
            self.engine.candidate = await self.load(sha256)
        except UNUSABLE as error:
            self.slots.set(msgspec.structs.replace(self.slots.current(), candidate=None))
            await self._records.emit(
                event(
                    EventKind.MODEL,
                    f"model:{sha256[:12]}",
                    f"Model in the candidate slot cannot be used: {error}",
                    at_ms=self._clock.utc_ms(),
                    advice="Assign it again from the cloud; the active model is not touched.",
                    data={"state": "refused", "reason": "load", "sha256": sha256, "why": str(error)},
                )
            )

    async def load(self, sha256: str) -> LoadedModel:
        """A stored model with full windows; raises `ArtifactError` or `SecurityError`.

        Signatures are checked again; expiry is not, because the cycle looks at it each time.
        """
        model = await self.blocking(self._load, sha256)
        window_ms = (model.spec.window + model.spec.warm_steps + 2) * model.spec.step_s * 1000
        store, since_ms = self._records.store, self._clock.utc_ms() - window_ms
        try:
            history = await self._records.writer.call(lambda: list(store.rollups_since(since_ms)))
        except StoreError as error:
            log.warning("stored roll-ups cannot be read, the windows fill anew: %s", error)
            history = []
        await self.blocking(_replay, model, history)
        return model

    def _load(self, sha256: str) -> LoadedModel:
        stored = self.slots.load(sha256)
        if hashlib.sha256(stored.data).hexdigest() != sha256:
            raise ArtifactError(f"model file {sha256[:12]} is damaged")
        verified = verify_assignment(stored.signed, self._keyring, site=self._site.site.id, now_ms=0)
        return LoadedModel(verified, stored)

    # ------------------------------------------------------------ moves

    async def greet_guardian(self) -> None:
        """Tell a guardian that has just come up which model really runs here."""
        if (model := self.engine.active) is not None:
            acts = model.assignment.stage is Stage.ACTIVE
            await self.tell_guardian(Assign(signed=model.signed, swapped=acts))
        if (model := self.engine.candidate) is not None:
            await self.tell_guardian(Assign(signed=model.signed))

    async def start_shadow(self, signed: Signed, manifest: Manifest) -> None:
        """Into the candidate slot, beside the active one; replaces an earlier candidate."""
        model = await self.load(manifest.sha256)
        # What the active one was counted for is not the newcomer's doing.
        self.memory.change(starts=1, life=self._life)
        self.slots.set(msgspec.structs.replace(self.slots.current(), candidate=manifest.sha256))
        self.engine.candidate, self.engine.shadow = model, Shadow()
        await self.tell_guardian(Assign(signed=signed))
        await self.report(manifest, "shadow", f"runs unseen for {self._site.agent.shadow_cycles} cycles")

    async def swap(self, candidate: LoadedModel) -> None:
        """The candidate acts from now on; what was active can be gone back to."""
        was, shadow = self.slots.current().active, self.engine.shadow
        self.slots.set(SlotMap(active=candidate.manifest.sha256, previous=was))
        self.memory.change(starts=1)
        self.engine.active, self.engine.candidate, self.engine.shadow = candidate, None, Shadow()
        # Before the report: a guardian that never heard of the swap refuses what the new model proposes.
        await self.tell_guardian(Assign(signed=candidate.signed, swapped=True))
        compared = "nothing to compare with"
        if shadow.agreement is not None:
            compared = f"{shadow.agreement:.1%} agreement with the one before"
        detail = f"{shadow.cycles} cycles in the shadow, {compared}"
        await self.report(candidate.manifest, "active", detail, figures=shadow.figures())

    async def drop_candidate(self, why: str, *, reason: str) -> None:
        """The candidate goes; the active one is not touched."""
        model, shadow = self.engine.candidate, self.engine.shadow
        self.slots.set(msgspec.structs.replace(self.slots.current(), candidate=None))
        self.engine.candidate, self.engine.shadow = None, Shadow()
        if model is not None:
            figures = shadow.figures() | {"reason": reason}
            await self.report(model.manifest, "refused", why, figures=figures)

    async def roll_back(self, why: str, *, reason: str) -> None:
        """The active model goes at once; the guardian hears it before anything is tried instead.

        A disk that refuses does not keep it: it has no say any more, and `unfinished` does the rest later.
        """
        model = self.engine.active
        if model is None:
            return
        await self.tell_guardian(Unassign(reason=why))
        self.engine.active = None
        self.unfinished = self._farewell(model.ref.sha256, reason, why)
        await self.finish()

    async def finish(self) -> None:
        """Do what a refusing disk kept us from; raises `OSError` while it still refuses."""
        if self.unfinished is not None:
            self.memory.change(leaving=self.unfinished)
            self.unfinished = None
        await self._leave()

    def _farewell(self, sha256: str, reason: str, why: str) -> Leaving:
        leaving = Leaving(sha256=sha256, reason=reason, why=why, at_ms=self._clock.utc_ms())
        try:
            signed = self.slots.load(sha256).signed
            manifest = manifest_of(signed)
        except UNUSABLE:
            log.warning("papers of model %s cannot be read", sha256[:12])
            return leaving
        return msgspec.structs.replace(
            leaving, name=manifest.name, version=manifest.version, digest=digest(signed)
        )

    async def _leave(self) -> None:
        """Carry out what `leaving` says. After a kill at any line this is called again at the start."""
        leaving = self.memory.now.leaving
        if leaving is None:
            return
        if leaving.candidate:
            await self._leave_shadow(leaving)
            return
        slots = self.slots.current()
        if slots.active == leaving.sha256:
            back = await self._previous(slots.previous)
            self.slots.set(
                SlotMap(active=back.ref.sha256 if back is not None else None, candidate=slots.candidate)
            )
            self.engine.active = back
        await self._report_leaving(leaving)
        pin = self.memory.now.pin
        if pin is not None and pin.sha256 == leaving.sha256:
            pin = None  # what cannot run cannot be kept
        deaths = lives.without(self.memory.now.deaths, leaving.sha256)
        self.memory.change(leaving=None, trial=None, starts=1, pin=pin, deaths=deaths)
        if (model := self.engine.active) is not None:
            await self.greet_guardian()
            await self.report(model.manifest, "active", "took over again after a rollback")

    async def _leave_shadow(self, leaving: Leaving) -> None:
        """The count begins anew for the active one. What the broker retains does not bring this one back."""
        slots = self.slots.current()
        if slots.candidate == leaving.sha256:
            self.slots.set(msgspec.structs.replace(slots, candidate=None))
        await self._report_leaving(leaving)
        deaths = lives.without(self.memory.now.deaths, leaving.sha256)
        refused = leaving.digest or self.memory.now.refused
        self.memory.change(leaving=None, starts=1, refused=refused, deaths=deaths)

    async def _previous(self, sha256: str | None) -> LoadedModel | None:
        if sha256 is None:
            return None
        try:
            return await self.load(sha256)
        except UNUSABLE as error:
            log.error("the previous model cannot be loaded either: %s", error)
            return None

    async def _report_leaving(self, leaving: Leaving) -> None:
        state, advice = "rolled-back", "the site runs on the model before, or on rules."
        if leaving.candidate:
            state, advice = "refused", "the active model is not touched."
        data: Evidence = {
            "sha256": leaving.sha256,
            "state": state,
            "reason": leaving.reason,
            "detail": leaving.why,
            "why": leaving.why,
        }
        if leaving.name:
            data |= {"name": leaving.name, "version": leaving.version}
        what = f"{leaving.name} v{leaving.version}" if leaving.name else f"Model {leaving.sha256[:12]}"
        await self._tell(
            event(
                EventKind.MODEL,
                f"model:{leaving.name or leaving.sha256[:12]}",
                f"{what} {state}: {leaving.why}",
                at_ms=leaving.at_ms,
                severity=Severity.HIGH,
                advice=f"Look at the rollout in the cloud; {advice}",
                data=data,
                event_id=str(uuid.uuid5(_LEFT, f"{leaving.sha256}/{leaving.at_ms}")),
            )
        )

    # ------------------------------------------------------------ words

    async def report(
        self, manifest: Manifest, state: str, detail: str, *, figures: Evidence | None = None
    ) -> None:
        """One step of a model's way, for the cloud's rollouts."""
        data: Evidence = {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": manifest.sha256,
            "state": state,
            "detail": detail,
        }
        await self._tell(
            event(
                EventKind.MODEL,
                f"model:{manifest.name}",
                f"{manifest.name} v{manifest.version} {state}: {detail}",
                at_ms=self._clock.utc_ms(),
                data=data | (figures or {}),
            )
        )
        if state == "active" and not self._untold:
            self.memory.change(told_active=manifest.sha256)

    async def _tell(self, told: Event) -> None:
        self._untold.append(told)
        await self.report_untold()

    async def report_untold(self) -> None:
        """Report what a refusing disk kept back. A move is not held up by it: the model has moved already."""
        if not self._untold:
            return
        try:
            await self._records.emit(*self._untold)
        except StoreError as error:
            del self._untold[:-_MAX_UNTOLD]
            log.error("a model's move is not reported yet: %s", error)
            return
        self._untold.clear()


def _replay(model: LoadedModel, history: list[list[RollupRow]]) -> None:
    for rows in history:
        model.push(rows)


def manifest_of(signed: Signed) -> Manifest:
    """The manifest inside an assignment, unverified: for names in reports. Raises `ArtifactError`."""
    try:
        assignment = msgspec.msgpack.decode(signed.payload, type=Assignment)
        return msgspec.msgpack.decode(assignment.manifest.payload, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"papers do not decode: {error}") from error
