"""operator.sock: the only local way to reset a trip, to stop by hand, or to take a zone over (S07).

Its own Unix group; the agent's uid is refused where it differs from the guardian's. One request, one
answer, any number per connection.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from edge_agent.guardian.agents.peers import AgentUids, Peer, peer_of
from edge_agent.guardian.agents.server import listen
from edge_agent.ipc import FromOperator, Refused, ToOperator, encode_frame, read_frame
from shared.errors import WireError

log = logging.getLogger(__name__)

OPERATOR_GROUP = "minewarden-operator"
"""Who may open operator.sock on an installed gateway (packaging); the agent's user is not in it."""

AnswerCall = Callable[[FromOperator, Peer], Awaitable[ToOperator]]


class OperatorServer:
    """The local operator's side of the guardian. `refused` counts what was refused, by kind."""

    def __init__(self, path: Path, answer: AnswerCall, uids: AgentUids) -> None:
        self._path = path
        self._answer_call = answer
        self._uids = uids
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.refused: Counter[str] = Counter()

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
                self.refused["operator requests"] += isinstance(answer, Refused)
                writer.write(encode_frame(answer))
                await writer.drain()
        except (ConnectionError, WireError) as error:
            log.warning("operator %s is disconnected: %s", peer.name, error)
            if isinstance(error, WireError):
                self.refused["operator frames"] += 1
                await _say(writer, Refused(why=f"this is no request that the guardian knows: {error}"))
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, message: FromOperator, peer: Peer) -> ToOperator:
        if self._uids.is_agent(peer.uid):
            log.error("the agent's user (%s) tried to reach operator.sock", peer.name)
            return Refused(why="the agent's user has no say here; use an operator's account")
        return await self._answer_call(message, peer)


async def _say(writer: asyncio.StreamWriter, refused: Refused) -> None:
    """A last word before the connection closes, for whoever still listens."""
    with contextlib.suppress(ConnectionError):
        writer.write(encode_frame(refused))
        await writer.drain()
