"""The policy cycle: scores, policies, proposals, and the lease at its end.

The lease says "the agent completed a policy cycle", so it is sent here and nowhere else. A cycle that fails
sends none, and the guardian falls back by itself (S10).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from edge_agent import ipc
from edge_agent.agent.inference.engine import CycleReport
from edge_agent.agent.inference.keeper import Keeper
from edge_agent.agent.policies.face import Context, Decision, MinerView, Policy
from edge_agent.agent.records import Records
from edge_agent.agent.scores import ScoreLog
from edge_agent.agent.service import Service, log
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.view import SiteView
from shared.alarms import Event
from shared.clock import Clock
from shared.errors import StoreError
from shared.telemetry import DeviceKind

POLICY_KEY: Final = "policy."
_LEASES_PER_TTL: Final = 3.0
_MAX_UNTOLD: Final = 1_000


class Cycle(Service):
    """Runs often enough that a lease never runs out while the agent is well."""

    name = "cycle"

    def __init__(
        self,
        clock: Clock,
        view: SiteView,
        records: Records,
        keeper: Keeper,
        policies: Sequence[Policy],
        *,
        send: Callable[[ipc.FromAgent], Awaitable[bool]],
    ) -> None:
        super().__init__(clock)
        self._view = view
        self._records = records
        self._keeper = keeper
        self._policies = policies
        self._send = send
        self._lease_s = view.site.timing.lease_max_s
        self._score_s = view.site.agent.score_every_s
        self._log = ScoreLog()
        self._memory: dict[str, bytes] = {}
        self._untold: list[Event] = []
        self._scored_rows = 0
        self._score_due_s = 0.0
        self.cycles = 0
        self.inferences = 0
        self.last_ms = 0.0
        self.miners = 0

    @property
    def every_s(self) -> float:
        """Seconds between cycles."""
        return min(self._score_s, self._lease_s / _LEASES_PER_TTL)

    async def open(self) -> None:
        """Let the policies recall what people were already told."""
        for policy in self._policies:
            memory = await self._records.get(POLICY_KEY + policy.name, bytes)
            if memory is not None:
                policy.recall(memory)
                self._memory[policy.name] = memory

    async def run(self) -> None:
        while True:
            await self.once()
            self.tick()
            await self.clock.sleep(self.every_s)

    async def once(self) -> None:
        """One whole cycle; the lease is renewed only when it got to its end."""
        report = await self._score()
        context = self._context(report)
        decisions = [policy.decide(context) for policy in self._policies]
        if await self._keep(report, decisions):
            for decision in decisions:
                for proposal in decision.proposals:
                    self._keeper.proposed(proposal)
                    await self._send(ipc.Propose(proposal=proposal))
        if report is not None and report.active is not None and report.active.failure:
            return
        self.cycles += 1
        await self._send(ipc.Lease(ttl_s=self._lease_s, cycle=self.cycles))

    async def _score(self) -> CycleReport | None:
        """Score when new roll-ups came and it is time; None when there is nothing new to look at."""
        taken = self._view.rows_taken
        if taken == self._scored_rows or self.clock.monotonic() < self._score_due_s:
            return None
        self._scored_rows = taken
        self._score_due_s = self.clock.monotonic() + self._score_s * 0.9
        started = self.clock.monotonic()
        report = await self._keeper.cycle(dict(self._view.devices))
        self.last_ms = (self.clock.monotonic() - started) * 1000
        if report.active is not None:
            self.inferences += 1
            self.miners = len(report.active.scores)
        return report

    def _context(self, report: CycleReport | None) -> Context:
        active = report.active if report is not None else None
        scores = {score.device: score for score in active.scores} if active is not None else {}
        view = self._view
        return Context(
            now_s=self.clock.monotonic(),
            now_ms=self.clock.utc_ms(),
            scored=active is not None and not active.failure,
            miners=tuple(
                MinerView(
                    device=device,
                    zone=entry.zone,
                    mode=view.mode_of(device),
                    state=row.state if (row := view.rows.get(device)) is not None else None,
                    preset=row.preset if row is not None else None,
                    ladder=facts.presets if (facts := view.facts.get(device)) is not None else (),
                    score=scores.get(device),
                )
                for device, entry in view.devices.items()
                if entry.kind is DeviceKind.MINER
            ),
            model=active.ref if active is not None else None,
        )

    async def _keep(self, report: CycleReport | None, decisions: Sequence[Decision]) -> bool:
        """Scores, events and the policies' memory become durable together, before anything is proposed.

        False when the disk refused: then nothing is proposed, events wait for the next cycle, and the lease
        goes on, because a full disk is no reason to bring a whole site to its safe state.
        """
        memory = {policy.name: policy.remember() for policy in self._policies}
        changed = {
            POLICY_KEY + name: msgspec.msgpack.encode(value)
            for name, value in memory.items()
            if self._memory.get(name) != value
        }
        active = report.active if report is not None else None
        rows = self._log.rows(active.scores, active.ref) if active is not None else ()
        self._untold += [event for decision in decisions for event in decision.events]
        commit = Commit(scores=rows, events=tuple(self._untold), meta=changed)
        if rows or self._untold or changed:
            try:
                await self._records.commit(commit)
            except StoreError as error:
                del self._untold[:-_MAX_UNTOLD]
                log.error("this cycle could not be recorded, nothing is proposed: %s", error)
                return False
        self._untold.clear()
        self._memory = memory
        return True
