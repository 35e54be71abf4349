"""A stop that is not confirmed in `stop_confirm_s`: the outlet is cut, or a person is sent (S13)."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from edge_agent.guardian.actions import audit
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.requests import Refusal, Request, Source
from edge_agent.guardian.storage.recorder import Recorder
from shared.clock import Clock
from shared.commands import Priority, SwitchOutlet, WriteRecord, WriteResult
from shared.ids import CommandId
from shared.inventory import DeviceEntry


class Behind(Protocol):
    """What escalation needs of the desk: it asks the arbiter like everybody else."""

    def decide(self, request: Request) -> Permit | Refusal: ...

    def launch(self, permit: Permit, *, exclusive: bool = True) -> "asyncio.Task[WriteRecord]": ...

    def refused(self, refusal: Refusal) -> None: ...

    def background(self, work: Awaitable[None]) -> None: ...


class Escalation:
    """What follows an unconfirmed stop. `outlet_known_s`: how old an outlet's reading may be, s."""

    def __init__(
        self, desk: Behind, board: Board, recorder: Recorder, clock: Clock, *, outlet_known_s: float
    ) -> None:
        self._desk = desk
        self._board = board
        self._recorder = recorder
        self._clock = clock
        self._outlet_known_s = outlet_known_s

    def not_stopped(self, entry: DeviceEntry, record: WriteRecord) -> None:
        """Cut the outlet where there is one, and tell people what they have to do."""
        if self._is_cut(entry):
            return  # it has no power, so it cannot answer either; the alarm went out with the cut
        decision = self._cut_off(entry)
        # The alarm sends a person to the breaker, or not: it has to know whether the outlet may be cut.
        self._recorder.record(audit.not_stopped(entry, record, cut=isinstance(decision, Permit)))
        if isinstance(decision, Refusal):
            self._desk.refused(decision)
        elif decision is not None:
            self._desk.background(self._see_cut(entry, self._desk.launch(decision, exclusive=False)))

    async def _see_cut(self, entry: DeviceEntry, task: "asyncio.Task[WriteRecord]") -> None:
        """The alarm said that the outlet is being cut; where that fails a person must hear so."""
        record = await task
        if record.result is not WriteResult.APPLIED:
            self._recorder.record(audit.not_cut(entry, record))

    def _is_cut(self, entry: DeviceEntry) -> bool:
        """Whether its outlet is seen switched off, now."""
        if entry.pdu is None or entry.outlet is None:
            return False
        good = self._board.last(entry.pdu).good
        if good is None or self._clock.monotonic() - good.at_s > self._outlet_known_s:
            return False
        return good.usable(f"outlet_on.{entry.outlet}") == 0.0

    def _cut_off(self, entry: DeviceEntry) -> Permit | Refusal | None:
        """May its outlet be switched off? None where the site file names none."""
        if entry.pdu is None or entry.outlet is None:
            return None
        return self._desk.decide(
            Request(
                id=CommandId(f"escalation-{entry.id}-{self._clock.utc_ms()}"),
                action=SwitchOutlet(device=entry.pdu, outlet=entry.outlet, on=False),
                priority=Priority.TRIP,
                source=Source.ESCALATION,
                why=f"stop of {entry.id} is not confirmed",
            )
        )
