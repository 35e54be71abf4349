"""What a signed order would do if it came now: asked of the arbiter and the power plan, nothing is done.

A preview is a look, not a promise: the site moves on, and the order itself is decided when it comes.
"""

from collections.abc import Callable

import msgspec

from edge_agent.guardian.actions import audit
from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.actions.proposals import clashing
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.requests import Refusal
from edge_agent.ipc import PlanPreview, PlanRequest, StandingOrder, StandingState
from shared.commands import (
    MAX_PREVIEW_STEPS,
    AnyAction,
    CancelOrder,
    CommandBody,
    Curtail,
    DoActions,
    OrderPreview,
    PreviewOrder,
    PreviewStep,
    Schedule,
    StandingCap,
)
from shared.ids import CommandId

_replace = msgspec.structs.replace
_OVER = (StandingState.ENDED, StandingState.CANCELLED)
_CAP_LOOK_S = 3600.0
"""A standing cap is looked at as an hour of it: the plan only asks whether stops are worth it."""


class Previews:
    """Looks only; `plan` and `standing` are the power orders' own."""

    def __init__(
        self,
        desk: Desk,
        *,
        plan: Callable[[PlanRequest], PlanPreview],
        standing: Callable[[], tuple[StandingOrder, ...]],
    ) -> None:
        self._desk = desk
        self._plan = plan
        self._standing = standing

    def of(self, body: CommandBody, asked: PreviewOrder) -> OrderPreview:
        """What the order inside would do now."""
        match asked.of:
            case DoActions(actions=actions):
                return self._actions(body, actions)
            case Curtail() as order:
                return self._power(body.id, order)
            case StandingCap(cap_w=cap_w):
                return self._cap(body.id, cap_w)
            case Schedule(what=what):
                return _as_if_now(self.of(body, PreviewOrder(of=what)))
            case CancelOrder(target=target):
                return self._cancel(target)

    def _cap(self, command: CommandId, cap_w: float | None) -> OrderPreview:
        if cap_w is not None:
            order = Curtail(target_w=cap_w, deadline_s=_CAP_LOOK_S, duration_s=_CAP_LOOK_S)
            return self._power(command, order)
        caps = [order.words for order in self._open() if order.words.startswith("standing cap")]
        return OrderPreview(detail=f"taken away: {'; '.join(caps)}" if caps else "no cap stands")

    def _power(self, command: CommandId, order: Curtail) -> OrderPreview:
        plan = self._plan(PlanRequest(id=command, order=order))
        steps = tuple(PreviewStep(action=step.action, saves_w=step.saves_w) for step in plan.steps)
        return OrderPreview(
            steps=steps[:MAX_PREVIEW_STEPS],
            total_steps=len(steps),
            now_w=plan.now_w,
            expected_w=plan.expected_w,
            reaches_target=plan.reaches_target,
            takes_s=plan.takes_s,
            detail=plan.detail,
        )

    def _actions(self, body: CommandBody, actions: tuple[AnyAction, ...]) -> OrderPreview:
        if clashes := clashing(actions):
            return OrderPreview(total_steps=len(actions), refused=len(actions), detail=clashes[0])
        decisions = self._desk.decide_order(body, actions, f"preview for {body.actor}")
        refused = sum(isinstance(decision, Refusal) for decision in decisions)
        return OrderPreview(
            steps=tuple(_step(decision) for decision in decisions[:MAX_PREVIEW_STEPS]),
            total_steps=len(decisions),
            refused=refused,
            detail=f"{refused} of {len(decisions)} would be refused" if refused else "",
        )

    def _cancel(self, target: CommandId) -> OrderPreview:
        order = next((order for order in self._open() if order.id == target), None)
        if order is None:
            return OrderPreview(refused=1, detail=f"no scheduled or running order {target!r}")
        return OrderPreview(
            now_w=order.meter_w,
            detail=f"ends: {order.words} ({order.state}); what it lowered comes back in stages",
        )

    def _open(self) -> list[StandingOrder]:
        return [order for order in self._standing() if order.state not in _OVER]


def _step(decision: Permit | Refusal) -> PreviewStep:
    asked = decision.request.action
    if isinstance(decision, Refusal):
        return PreviewStep(action=asked, words=f"refused: {'; '.join(decision.violations)}")
    if decision.narrowed:
        return PreviewStep(action=decision.action, words=f"narrowed from {audit.told(asked)}")
    return PreviewStep(action=decision.action)


def _as_if_now(preview: OrderPreview) -> OrderPreview:
    words = "as if it began now"
    return _replace(preview, detail=f"{words}: {preview.detail}" if preview.detail else words)
