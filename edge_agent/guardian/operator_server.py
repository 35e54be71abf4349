"""operator.sock: the only local way to reset a trip, to stop by hand, or to take a zone over (S07).

Its own Unix group; the agent's uid is refused where it differs from the guardian's. One request, one
answer, any number per connection.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_agent.guardian.intake import Intake
from edge_agent.guardian.interlocks.asks import Answer, Denied
from edge_agent.guardian.peers import AgentUids, Peer, peer_of
from edge_agent.guardian.server import listen
from edge_agent.ipc import (
    Done,
    FromOperator,
    Refused,
    ResetTrip,
    SafeStop,
    SetMode,
    Status,
    StatusRequest,
    ToOperator,
    encode_frame,
    read_frame,
)
from shared.errors import WireError

log = logging.getLogger(__name__)

OPERATOR_GROUP = "minewarden-operator"
"""Who may open operator.sock on an installed gateway (packaging); the agent's user is not in it."""


class OperatorServer:
    """The local operator's side of the guardian."""

    def __init__(self, path: Path, intake: Intake, status: Callable[[], Status], uids: AgentUids) -> None:
        self._path = path
        self._intake = intake
        self._status = status
        self._uids = uids
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await listen(self._path, self._serve, mode=0o660, group=OPERATOR_GROUP)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        decoder = msgspec.msgpack.Decoder(FromOperator)
        self._writers.add(writer)
        try:
            while (message := await read_frame(reader, decoder)) is not None:
                answer = await self._answer(message, peer)
                writer.write(encode_frame(answer))
                await writer.drain()
        except (ConnectionError, WireError) as error:
            log.warning("operator %s is disconnected: %s", peer.name, error)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, message: FromOperator, peer: Peer) -> ToOperator:
        if self._uids.is_agent(peer.uid):
            log.error("the agent's user (%s) tried to reach operator.sock", peer.name)
            return Refused(why="the agent's user has no say here; use an operator's account")
        match message:
            case StatusRequest():
                return self._status()
            case SafeStop():
                return self._safe_stop(message, peer)
            case ResetTrip(zone=zone, reason=reason, operator=operator):
                by = _who(operator, peer)
                if zone is None:
                    return Refused(why="name the zone whose trips are to be reset")
                return _told(await self._intake.reset(zone, by=by, reason=reason))
            case SetMode(zone=zone, mode=mode, operator=operator, reason=reason):
                by = _who(operator, peer)
                return _told(await self._intake.set_mode(zone, mode, by=by, reason=reason))
            case _:
                return Refused(why=f"this guardian does not know {type(message).__name__}")

    def _safe_stop(self, message: SafeStop, peer: Peer) -> ToOperator:
        zones = self._intake.safe_stop(message.zone, by=peer.name, reason=message.reason)
        if not zones:
            return Refused(why=f"no zone {message.zone!r} on this site")
        return Done(detail=f"stopping {', '.join(zones)}")


def _told(answer: Answer) -> ToOperator:
    if isinstance(answer, Denied):
        return Refused(why=answer.why)
    words = [f"{len(answer.cleared)} trips reset"] if answer.cleared else []
    if answer.state.trips:
        words.append(f"{len(answer.state.trips)} trips stay, their cause is still present")
    return Done(detail="; ".join([*words, f"mode {answer.state.mode}"]))


def _who(operator: str, peer: Peer) -> str:
    """The name a person gave, and the account that the kernel vouches for."""
    return operator if operator in ("", peer.name) else f"{operator} ({peer.name})"
