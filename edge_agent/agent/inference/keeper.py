"""The models of this gateway, as the other parts see them: offers come in, scores go out, people may step in.

`intake.py` works on an offer, `transitions.py` moves models between slots, `supervision.py` takes a bad one
back. This part owns their loop and the lock's order: one move at a time, and never two.
"""

import asyncio
import uuid
from collections.abc import Callable
from typing import Final

from edge_agent.agent.events import event
from edge_agent.agent.inference.admission import Seen
from edge_agent.agent.inference.engine import CycleReport, Engine
from edge_agent.agent.inference.https import BlobHttp
from edge_agent.agent.inference.intake import ASK_AGAIN_S, Intake, Pinned
from edge_agent.agent.inference.memory import Memory, Pin, digest
from edge_agent.agent.inference.slots import Slots
from edge_agent.agent.inference.supervision import Supervision
from edge_agent.agent.inference.transitions import UNUSABLE, TellGuardian, Transitions
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from edge_agent.config import SiteFile
from edge_agent.ipc import Outcome, Result
from shared.alarms import EventKind
from shared.artifacts.manifest import Stage, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.commands import Proposal
from shared.errors import StoreError
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import RollupRow
from shared.wire.envelope import Chunk, ChunkRequest

_FLOOD: Final = 0.5
"""A candidate that calls more than half of the site ill, when the active one does not, is ill itself."""
_WAITS: Final = uuid.UUID("6c0c1f86-6a0c-4a4f-8d0a-0f9cf20f2d54")
"""Namespace: an assignment that waits for a pin to end is told once, however often it is delivered."""


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
        http: BlobHttp | None = None,
    ) -> None:
        super().__init__(clock)
        self._site = site
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
        self.supervision = Supervision(clock, site, self._moves)
        self._intake = Intake(
            clock,
            site,
            moves=self._moves,
            supervision=self.supervision,
            keyring=keyring,
            records=records,
            ask_cloud=ask_cloud,
            http=http,
            superseded=lambda: self._offer is not None,
            tick=self.tick,
        )
        self._offer: Signed | None = None
        self._waiting: Signed | None = None
        """What was offered while another version was pinned."""
        self._offered = asyncio.Event()

    async def open(self) -> None:
        """Finish what a kill cut short, and load the slots."""
        if not self.memory.seen.counter:  # an agent of before kept it in the store
            self._moves.memory.change(seen=await self._records.get("models.seen", Seen) or Seen())
        await self._moves.open()

    def close(self) -> None:
        """A clean end: it is not held against the models. Ends the inference thread."""
        try:
            self._moves.note_clean_end()
        except OSError as error:
            log.warning("a clean end cannot be noted: %s", error)
        self._moves.close()

    @property
    def memory(self) -> Memory:
        """What is kept over restarts: pin, trial, what was seen."""
        return self._moves.memory.now

    @property
    def refused(self) -> dict[str, int]:
        """Refused offers of this life, by where they failed."""
        return dict(self._intake.refused)

    # ------------------------------------------------------------ what others hand in

    async def offer(self, signed: Signed) -> None:
        """A signed assignment arrived (again: it is retained). Only a new one is worked on."""
        if not self._intake.known(signed):
            self._offer = signed
            self._offered.set()

    def chunk(self, chunk: Chunk) -> None:
        """A part of a model arrived; dropped when nobody waits, the fetch asks again."""
        self._intake.chunk(chunk)

    def proposed(self, proposal: Proposal) -> None:
        """A policy's proposal went to the guardian."""
        self.supervision.proposed(proposal)

    def result(self, result: Result) -> None:
        """The guardian answered a proposal or an order."""
        self.supervision.result(result)

    def outcome(self, outcome: Outcome) -> None:
        """The guardian measured what an action did."""
        self.supervision.outcome(outcome)

    async def greet_guardian(self) -> None:
        """Tell a guardian that has just come up which model really runs here."""
        await self._moves.greet_guardian()

    async def push(self, rows: list[RollupRow]) -> None:
        """New roll-up rows, off the event loop."""
        await self._moves.blocking(self.engine.push, rows)

    # ------------------------------------------------------------ what a person may ask

    async def rollback(self, why: str) -> bool:
        """Back to the previous model (or to none); False when no model is active. Needs no network."""
        async with self._moves.lock:
            if self.engine.active is None:
                return False
            try:
                await self._moves.roll_back(why, reason="operator")
            except OSError as error:
                log.error("the disk refuses a rollback, the model has no say meanwhile: %s", error)
            return True

    async def pin(self) -> Pin | None:
        """Keep the active version, whatever the cloud assigns; None when no model is active."""
        async with self._moves.lock:
            active = self.engine.active
            if active is None:
                return None
            manifest = active.manifest
            pin = Pin(
                sha256=manifest.sha256,
                name=manifest.name,
                version=manifest.version,
                at_ms=self.clock.utc_ms(),
            )
            self._moves.memory.change(pin=pin)
        await self._tell_pin(f"{pin.name} v{pin.version} is kept until it is unpinned on site", pinned=True)
        return pin

    async def unpin(self) -> bool:
        """Let the cloud decide again; what it offered meanwhile is worked on. False: nothing was pinned."""
        pin = self.memory.pin
        if pin is None:
            return False
        self._moves.memory.change(pin=None)
        await self._tell_pin(f"{pin.name} v{pin.version} is not pinned any more", pinned=False)
        if (waiting := self._waiting) is not None:
            self._waiting = None
            await self.offer(waiting)
        return True

    async def _tell_pin(self, text: str, *, pinned: bool) -> None:
        await self._records.emit(
            event(EventKind.SYSTEM, "model:pin", text, at_ms=self.clock.utc_ms(), data={"pinned": pinned})
        )

    async def recheck(self) -> None:
        """Keys changed: what only a removed key vouched for goes, what waited for a new one is looked at."""
        self._offered.set()
        async with self._moves.lock:
            for model in (self.engine.candidate, self.engine.active):
                if model is None:
                    continue
                try:
                    verify_assignment(model.signed, self._keyring, site=self._site.site.id, now_ms=0)
                except UNUSABLE as error:
                    if model is self.engine.candidate:
                        await self._moves.drop_candidate(str(error), reason="keys")
                    else:
                        await self._moves.roll_back(str(error), reason="keys")

    # ------------------------------------------------------------ offers

    async def run(self) -> None:
        while True:
            self.tick()
            # An offer that just came replaces one that was held, and one at a time is worked on.
            if self._offer is None and (ripe := self._intake.ripe()) is not None:
                await self._work_on(ripe)
                continue
            try:
                async with asyncio.timeout(ASK_AGAIN_S):
                    await self._offered.wait()
            except TimeoutError:
                async with self._moves.lock:
                    await self._pass_time()
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
            await self._intake.consider(signed)
        except Pinned as offered:
            await self._wait_for_unpin(signed, str(offered))
        except (OSError, StoreError):
            if self._offer is None:
                self._offer = signed
                self._offered.set()
            raise

    async def _wait_for_unpin(self, signed: Signed, what: str) -> None:
        self._waiting = signed
        pin = self.memory.pin
        kept = f"{pin.name} v{pin.version}" if pin is not None else "another version"
        await self._records.emit(
            event(
                EventKind.SYSTEM,
                "model:pin",
                f"{what} waits: {kept} is pinned on site",
                at_ms=self.clock.utc_ms(),
                advice="Unpin on the gateway ('minewarden agent model unpin') to let the cloud decide again.",
                data={"pinned": True, "waits": what},
                event_id=str(uuid.uuid5(_WAITS, digest(signed))),
            )
        )

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
            await self._pass_time()
        return report

    async def _pass_time(self) -> None:
        try:
            await self.supervision.pass_time()
        except (OSError, StoreError) as error:
            log.error("the disk refuses a change of models: %s", error)

    async def _after(self, report: CycleReport) -> None:
        await self.supervision.after(report.active)
        candidate = self.engine.candidate
        if candidate is None or report.candidate is None:
            return
        if report.candidate.failure:
            await self._moves.drop_candidate(report.candidate.failure, reason="failure")
        elif why := candidate.latencies.over(self._site.agent.model_budget_ms):
            await self._moves.drop_candidate(why, reason="latency")
        elif why := self._flooding():
            await self._moves.drop_candidate(why, reason="alarms")
        elif candidate.assignment.stage is Stage.ACTIVE and self._shadowed_enough() and not self.memory.pin:
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
