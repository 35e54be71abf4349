"""What each request on operator.sock does: one request, one answer."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_agent.guardian.agents.peers import Peer
from edge_agent.guardian.interlocks.asks import Denied
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.guardian.operators import way_out
from edge_agent.guardian.operators.explain import explain
from edge_agent.guardian.operators.persons import Persons
from edge_agent.guardian.operators.proving import Proving
from edge_agent.guardian.storage.journal import Journal
from edge_agent.ipc import (
    CancelStanding,
    CloseBypass,
    ConfirmBypass,
    Done,
    Explain,
    FromOperator,
    Lines,
    Mode,
    OpenBypass,
    PlanPreview,
    PlanRequest,
    ProofTest,
    Refused,
    ResetTrip,
    SafeStop,
    SetMode,
    Status,
    StatusRequest,
    ToOperator,
)
from shared.ids import CommandId, ZoneId
from shared.shown import DeviceShown, ShowDevice

Preview = Callable[[PlanRequest], PlanPreview]
Show = Callable[[ShowDevice], DeviceShown | Refused]
Cancel = Callable[[CommandId, str, str], str | None]
"""Cancel a standing order (id, by, reason); why not, or None where it is done."""


class OperatorDesk:
    """Behind the socket: who is asked for what. `who` is the account that the kernel vouches for."""

    def __init__(
        self,
        persons: Persons,
        proving: Proving,
        journal: Journal,
        captures: Path,
        *,
        status: Callable[[], Status],
        preview: Preview,
        cancel: Cancel,
        show: Show,
    ) -> None:
        self._persons = persons
        self._proving = proving
        self._journal = journal
        self._captures = captures
        self._status = status
        self._preview = preview
        self._cancel = cancel
        self._show = show

    async def answer(self, message: FromOperator, peer: Peer) -> ToOperator:
        """Carry out one request; refusals are sentences."""
        match message:
            case StatusRequest():
                told: ToOperator = await self._standing()
            case SafeStop():
                told = self._safe_stop(message, peer)
            case ResetTrip():
                told = await self._reset(message, peer)
            case SetMode():
                told = await self._mode(message, peer)
            case OpenBypass() | ConfirmBypass() | CloseBypass():
                told = await self._bypass(message, peer)
            case Explain(event=event):
                told = await self._explain(event)
            case ProofTest():
                told = await self._prove(message, peer)
            case PlanRequest():
                told = self._preview(message)
            case CancelStanding(target=target, reason=reason, operator=operator):
                why = self._cancel(target, _who(operator, peer), reason)
                told = Done(detail=f"order {target} is cancelled") if why is None else Refused(why=why)
            case ShowDevice():
                told = self._show(message)
        return told

    async def _standing(self) -> Status:
        """The status; where a person stopped a zone, with who and why."""
        told = self._status()
        zones = dict(told.zones)
        for zone, now in told.zones.items():
            if now.mode is Mode.SAFE and self._persons.look(zone).safe_why is SafeWhy.STOP:
                who = await asyncio.to_thread(way_out.who_stopped, self._journal, zone)
                why = "; ".join(filter(None, (who, now.why, f"with: {way_out.hand_back(zone)}")))
                zones[zone] = msgspec.structs.replace(now, why=why)
        return msgspec.structs.replace(told, zones=zones)

    def _safe_stop(self, message: SafeStop, peer: Peer) -> ToOperator:
        if not message.reason.strip():
            return Refused(why="a safe-stop needs a reason; give one with --reason")
        zones = self._persons.safe_stop(message.zone, by=peer.name, reason=message.reason)
        if not zones:
            known = ", ".join(self._persons.zones)
            return Refused(
                why=f"no zone {message.zone!r} on this site, NOTHING is stopped; it has {known}; "
                "without --zone everything stops"
            )
        back = "; ".join(way_out.hand_back(zone) for zone in zones)
        return Done(detail=f"stopping {', '.join(zones)}; stands until it is handed back with: {back}")

    async def _mode(self, message: SetMode, peer: Peer) -> ToOperator:
        zone, mode = message.zone, message.mode
        if not message.reason.strip():
            return Refused(why="a change of mode needs a reason; give one with --reason")
        by = _who(message.operator, peer)
        answer = await self._persons.set_mode(zone, mode, by=by, reason=message.reason)
        if not isinstance(answer, Denied):
            return Done(detail=way_out.after_mode(zone, mode, answer))
        if zone not in self._persons.zones:
            return Refused(why=answer.why)
        return Refused(why=way_out.not_from(zone, self._persons.look(zone).mode, mode, answer))

    async def _reset(self, message: ResetTrip, peer: Peer) -> ToOperator:
        zone: ZoneId | None = message.zone
        if message.trip is not None:
            zone = self._persons.zone_of(message.trip)
            if zone is None:
                why = f"no trip {message.trip!r} is latched; 'minewarden guardian trips' lists what is"
                return Refused(why=why)
        if zone is None:
            return Refused(why="name a trip or a zone")
        by = _who(message.operator, peer)
        answer = await self._persons.reset(zone, by=by, reason=message.reason, trip=message.trip)
        if isinstance(answer, Denied):
            return Refused(why=answer.why)
        return Done(detail=way_out.after_reset(zone, answer))

    async def _bypass(self, message: OpenBypass | ConfirmBypass | CloseBypass, peer: Peer) -> ToOperator:
        """The account decides who is a second person, not the name that somebody typed."""
        zone, interlock, by = message.zone, message.interlock, peer.name
        if isinstance(message, OpenBypass):
            answer = await self._persons.open_bypass(
                zone, interlock=interlock, seconds=message.seconds, by=by, reason=message.reason
            )
        elif isinstance(message, ConfirmBypass):
            answer = await self._persons.confirm_bypass(zone, interlock=interlock, by=by)
        else:
            answer = await self._persons.close_bypass(zone, interlock=interlock, by=by)
        if isinstance(answer, Denied):
            return Refused(why=answer.why)
        return Done(detail="; ".join(finding.title for finding in answer.found))

    async def _explain(self, event: str) -> ToOperator:
        lines = await asyncio.to_thread(explain, self._journal, self._captures, event)
        if lines is None:
            return Refused(
                why=f"neither journal nor captures know {event!r}; trips, events and orders have ids"
            )
        return Lines(lines=lines)

    async def _prove(self, message: ProofTest, peer: Peer) -> ToOperator:
        by = _who(message.operator, peer)
        if message.actuate:
            return await self._proving.actuate(message.zone, message.interlock, by=by, reason=message.reason)
        return await self._proving.on_order(message.zone, message.interlock, by=by, reason=message.reason)


def _who(operator: str, peer: Peer) -> str:
    """The name a person gave, and the account that the kernel vouches for."""
    return operator if operator in ("", peer.name) else f"{operator} ({peer.name})"
