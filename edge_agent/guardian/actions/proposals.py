"""Proposals of models and schedules: checked whole, carried out together, answered with one `Result`.

Nothing of a proposal is done where one of its actions is refused, and the refusal lists every limit that
stands against any of them. What was narrowed to a step is `partial`, with the step to propose next.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from edge_agent.guardian.actions.carry import Carried, Carrier
from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.requests import Claim, Refusal, Request, Source
from edge_agent.ipc import Result
from shared.clock import Clock
from shared.commands import MAX_PROPOSED_ACTIONS, ActionOutcome, AnyAction, Priority, Proposal, SetPoint
from shared.ids import CommandId

KEEP_RESULTS = 2_000
MAX_TTL_S = 600.0


class Proposals:
    """Takes proposals on the event loop; a repeated id gets the first one's result."""

    def __init__(
        self,
        desk: Desk,
        carrier: Carrier,
        clock: Clock,
        *,
        publish: Callable[[Result], None],
        refused: Counter[str],
    ) -> None:
        self._desk = desk
        self._carrier = carrier
        self._clock = clock
        self._publish = publish
        self._refused = refused
        self._results: dict[CommandId, Result] = {}
        self._running: set[CommandId] = set()

    def take(self, proposal: Proposal) -> None:
        """Begin to work on a proposal; its `Result` is published when it is known."""
        if known := self._results.get(proposal.id):
            self._publish(known)
        elif proposal.id not in self._running:
            self._running.add(proposal.id)
            self._desk.background(self._work(proposal))

    async def _work(self, proposal: Proposal) -> None:
        try:
            result = await self._result(proposal)
        finally:
            self._running.discard(proposal.id)
        self._results[result.id] = result
        while len(self._results) > KEEP_RESULTS:
            del self._results[next(iter(self._results))]
        self._publish(result)

    async def _result(self, proposal: Proposal) -> Result:
        if unfit := malformed(proposal):
            self._refused["malformed"] += 1
            return self._rejected(proposal, unfit)
        decisions = self._desk.decide_all(requests_of(proposal))
        refusals = [decision for decision in decisions if isinstance(decision, Refusal)]
        for refusal in refusals:
            self._desk.refused(refusal)
            self._refused.update(refusal.kinds)
        if refusals:
            found = (violation for refusal in refusals for violation in refusal.violations)
            return self._rejected(proposal, tuple(dict.fromkeys(found)))
        permits = [decision for decision in decisions if isinstance(decision, Permit)]
        claim = Claim(
            id=proposal.id,
            priority=permits[0].request.priority,
            words=f"proposal {proposal.id} of {proposal.policy}",
        )
        carried = await self._carrier.run(permits, claim)
        return self._carried_out(proposal, permits, carried)

    def _carried_out(self, proposal: Proposal, permits: Sequence[Permit], carried: Carried) -> Result:
        narrowed = [permit for permit in permits if permit.narrowed]
        outcome = carried.outcome
        if outcome is ActionOutcome.APPLIED and narrowed:
            outcome = ActionOutcome.PARTIAL
        steps = (permit.then for permit in narrowed if permit.action in carried.applied)
        return Result(
            id=proposal.id,
            outcome=outcome,
            detail="; ".join([*(permit.narrowed for permit in narrowed), *filter(None, [carried.words])]),
            writes=carried.writes,
            asked=proposal.actions,
            applied=carried.applied,
            next_steps=tuple(step for step in steps if step is not None),
            at_ms=self._clock.utc_ms(),
        )

    def _rejected(self, proposal: Proposal, violations: tuple[str, ...]) -> Result:
        self._refused["proposal"] += 1
        return Result(
            id=proposal.id,
            outcome=ActionOutcome.REJECTED,
            detail=violations[0],
            violations=violations,
            asked=proposal.actions[:MAX_PROPOSED_ACTIONS],
            at_ms=self._clock.utc_ms(),
        )


def requests_of(proposal: Proposal) -> list[Request]:
    """One request per action; a life longer than `MAX_TTL_S` is no life that anybody meant."""
    return [
        Request(
            id=proposal.id,
            action=action,
            priority=Priority.ML if proposal.model is not None else Priority.SCHEDULE,
            source=Source.POLICY,
            why=f"{proposal.policy}: {proposal.reason}",
            model=proposal.model,
            confidence=proposal.confidence,
            ttl_left_s=proposal.ttl_s if proposal.ttl_s <= MAX_TTL_S else float("nan"),
        )
        for action in proposal.actions
    ]


def malformed(proposal: Proposal) -> tuple[str, ...]:
    """What is wrong with the proposal as a whole, before any action is looked at."""
    count = len(proposal.actions)
    if count == 0:
        return ("a proposal needs at least one action",)
    if count > MAX_PROPOSED_ACTIONS:
        return (f"{count} actions in one proposal, at most {MAX_PROPOSED_ACTIONS} are taken: split it",)
    return clashing(proposal.actions)


def clashing(actions: Sequence[AnyAction]) -> tuple[str, ...]:
    """Actions that contradict each other: two for one miner, or two values for one point."""
    times = Counter((action.device, _what(action)) for action in actions)
    return tuple(
        f"{count} actions for {what} {device}: say which one is meant".replace("  ", " ")
        for (device, what), count in times.items()
        if count > 1
    )


def _what(action: AnyAction) -> str:
    return f"{action.point} of" if isinstance(action, SetPoint) else ""
