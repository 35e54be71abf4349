"""What the journal says about signed orders: taken in, refused, ended. A part of the trail.

The journal reaches the cloud by its own durable way (outbox and ledger), so the trail is whole even where a
word on `up/res` is lost, and where the order never came from the cloud. Refusals may be as many as somebody
likes to send; beyond a few a minute they are only counted.
"""

from collections import deque

import msgspec

from edge_agent.guardian.actions.orders import Seen
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import Result
from shared.alarms import EventKind, Severity
from shared.clock import Clock
from shared.commands import ActionOutcome, CommandBody, CommandState, SignedBy, tag_of
from shared.ids import CommandId

REFUSALS_PER_MIN = 30
MAX_ORDER_TEXT = 4_000
"""An order of more characters (JSON) is cut to its kind; its exact bytes are known by their digest."""

Data = dict[str, str | int | float | bool | None]


class OrderTrail:
    """Records on the event loop; never waits for storage."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._refused_s: deque[float] = deque()
        self._untold = 0

    def accepted(self, body: CommandBody, by: SignedBy | None, digest: str) -> None:
        """An order was verified and its counter is stored."""
        self._recorder.record(
            Finding(
                kind=EventKind.ACTION,
                severity=Severity.LOW,
                key=f"order/{body.id}",
                title=f"signed order {body.id} of {body.actor} accepted: {tag_of(body.order)}",
                data={
                    "id": body.id,
                    "state": CommandState.ACCEPTED.value,
                    "actor": body.actor,
                    "digest": digest,
                    **_signer(by),
                },
            )
        )

    def ended(self, result: Result, seen: Seen | None) -> None:
        """The last word on an order, or that it runs on by itself."""
        state = result.command_state or CommandState.DONE
        good = result.outcome is ActionOutcome.APPLIED or state is CommandState.RUNNING
        self._recorder.record(
            Finding(
                kind=EventKind.ACTION,
                severity=Severity.LOW if good else Severity.HIGH,
                key=f"order/{result.id}",
                title=f"signed order {result.id}: {state}, {result.outcome}: {result.detail}",
                advice="" if good else "Look at the order's writes before you send it again.",
                data={
                    "id": result.id,
                    "state": state.value,
                    "outcome": result.outcome.value,
                    "detail": result.detail,
                    "digest": seen.digest if seen is not None else "",
                },
            )
        )

    def refused(self, command: CommandId, why: str, by: SignedBy | None, digest: str) -> None:
        """An order was not verified, or is beyond what its key may."""
        if not self._may_tell():
            self._untold += 1
            return
        more, self._untold = self._untold, 0
        self._recorder.record(
            Finding(
                kind=EventKind.REFUSED,
                severity=Severity.HIGH,
                key=f"order/{command}",
                title=f"signed order refused: {why}",
                advice="If you did not expect this, ask who sends commands in this site's name.",
                data={
                    "id": command,
                    "state": CommandState.REFUSED.value,
                    "why": why,
                    "digest": digest,
                    "not_told": more,
                    **_signer(by),
                },
            )
        )

    def _may_tell(self) -> bool:
        now_s = self._clock.monotonic()
        while self._refused_s and now_s - self._refused_s[0] > 60.0:
            self._refused_s.popleft()
        if len(self._refused_s) >= REFUSALS_PER_MIN:
            return False
        self._refused_s.append(now_s)
        return True


def _signer(by: SignedBy | None) -> Data:
    """Whose order it was, where the cloud does not know it already."""
    if by is None:
        return {}
    order = msgspec.json.encode(by.order).decode()
    if len(order) > MAX_ORDER_TEXT:
        order = msgspec.json.encode({"order": tag_of(by.order)}).decode()
    return {
        "key": by.key,
        "role": by.role,
        "actor": by.actor,
        "order": order,
        "counter": by.counter,
        "issued_ms": by.issued_ms,
        "expires_ms": by.expires_ms,
    }
