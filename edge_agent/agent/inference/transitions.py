"""The moves of a model between slots: into the shadow, swapped in, dropped, rolled back.

Each move changes disk, engine and guardian in the order that is safe to be cut off in, and is told as an
`Event` that the cloud's rollouts follow. `keeper.py` decides when; no move needs a network.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from edge_agent.agent.events import Evidence, event
from edge_agent.agent.inference.engine import Engine, Shadow
from edge_agent.agent.inference.model import LoadedModel
from edge_agent.agent.inference.slots import SlotMap, Slots
from edge_agent.agent.records import Records
from edge_agent.agent.service import log
from edge_agent.config import SiteFile
from edge_agent.ipc import Assign, Unassign
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.manifest import Manifest, Stage, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.errors import ArtifactError, SecurityError, StoreError, WireError
from shared.telemetry import RollupRow

T = TypeVar("T")
TellGuardian = Callable[[Assign | Unassign], Awaitable[bool]]
_MAX_UNTOLD: Final = 100
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
        """Load what the slots hold; a bad slot is emptied, and a bad active one falls back."""
        found = self.slots.current()
        if found.active is not None and not await self._resume("active", found.active):
            self.slots.set(SlotMap(candidate=found.candidate, previous=found.previous))
            if found.previous is not None:
                await self._activate_previous(found.previous)
        if found.candidate is not None and not await self._resume("candidate", found.candidate):
            self.slots.set(msgspec.structs.replace(self.slots.current(), candidate=None))

    async def _resume(self, name: str, sha256: str) -> bool:
        try:
            setattr(self.engine, name, await self.load(sha256))
        except UNUSABLE as error:
            state = "rolled-back" if name == "active" else "refused"
            await self._records.emit(
                event(
                    EventKind.MODEL,
                    f"model:{sha256[:12]}",
                    f"Model in the {name} slot cannot be used: {error}",
                    at_ms=self._clock.utc_ms(),
                    severity=Severity.HIGH if name == "active" else Severity.LOW,
                    advice="Assign a model again from the cloud; until then the site runs on what is left.",
                    data={"state": state, "sha256": sha256, "why": str(error)},
                )
            )
            return False
        return True

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
        self.slots.set(msgspec.structs.replace(self.slots.current(), candidate=manifest.sha256))
        self.engine.candidate, self.engine.shadow = model, Shadow()
        await self.tell_guardian(Assign(signed=signed))
        await self.report(manifest, "shadow", f"runs unseen for {self._site.agent.shadow_cycles} cycles")

    async def swap(self, candidate: LoadedModel) -> None:
        """The candidate acts from now on; what was active can be gone back to."""
        was, shadow = self.slots.current().active, self.engine.shadow
        self.slots.set(SlotMap(active=candidate.manifest.sha256, previous=was))
        self.engine.active, self.engine.candidate, self.engine.shadow = candidate, None, Shadow()
        # Before the report: a guardian that never heard of the swap refuses what the new model proposes.
        await self.tell_guardian(Assign(signed=candidate.signed, swapped=True))
        compared = "nothing to compare with"
        if shadow.agreement is not None:
            compared = f"{shadow.agreement:.1%} agreement with the one before"
        await self.report(
            candidate.manifest, "active", f"{shadow.cycles} cycles in the shadow, {compared}", shadow=shadow
        )

    async def drop_candidate(self, why: str) -> None:
        """The candidate goes; the active one is not touched."""
        model, shadow = self.engine.candidate, self.engine.shadow
        self.slots.set(msgspec.structs.replace(self.slots.current(), candidate=None))
        self.engine.candidate, self.engine.shadow = None, Shadow()
        if model is not None:
            await self.report(model.manifest, "refused", why, shadow=shadow)

    async def roll_back(self, why: str) -> None:
        """The active model goes at once; the guardian hears it before anything is tried instead."""
        model, slots = self.engine.active, self.slots.current()
        await self.tell_guardian(Unassign(reason=why))
        self.engine.active = None
        self.slots.set(SlotMap(active=None, candidate=slots.candidate, previous=slots.previous))
        if model is not None:
            await self.report(model.manifest, "rolled-back", why, severity=Severity.HIGH)
        if slots.previous is not None:
            await self._activate_previous(slots.previous)

    async def _activate_previous(self, sha256: str) -> None:
        candidate = self.slots.current().candidate
        try:
            model = await self.load(sha256)
        except UNUSABLE as error:
            log.error("the previous model cannot be loaded either: %s", error)
            self.slots.set(SlotMap(candidate=candidate))
            return
        self.slots.set(SlotMap(active=sha256, candidate=candidate))
        self.engine.active = model
        await self.greet_guardian()
        await self.report(model.manifest, "active", "took over again after a rollback")

    # ------------------------------------------------------------ words

    async def report(
        self,
        manifest: Manifest,
        state: str,
        detail: str,
        *,
        severity: Severity = Severity.LOW,
        shadow: Shadow | None = None,
    ) -> None:
        """One step of a model's way, for the cloud's rollouts."""
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
        self._untold.append(
            event(
                EventKind.MODEL,
                f"model:{manifest.name}",
                f"{manifest.name} v{manifest.version} {state}: {detail}",
                at_ms=self._clock.utc_ms(),
                severity=severity,
                data=data,
            )
        )
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
