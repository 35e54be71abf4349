"""operator.sock and what is no request: the answer says so before the connection closes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.guardian.agents.peers import AgentUids, Peer
from edge_agent.guardian.operators.server import OperatorServer


async def never(_: ipc.FromOperator, __: Peer) -> ipc.ToOperator:
    raise AssertionError("no request arrived")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OperatorServer]:
    found = OperatorServer(tmp_path / "o.sock", never, AgentUids())
    await found.start()
    yield found
    await found.close()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\x00\x00\x00\x02hi", "does not decode"),
        (b"GET / HTTP/1.1\r\n\r\n", "the limit is 1048576"),
        (ipc.encode_frame(ipc.Lease(ttl_s=1.0, cycle=1)), "lease"),
    ],
)
async def test_garbage_gets_the_reason_and_then_the_end(
    server: OperatorServer, tmp_path: Path, sent: bytes, why: str
) -> None:
    async with asyncio.timeout(5.0):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "o.sock")
        writer.write(sent)
        answer = await ipc.read_frame(reader, msgspec.msgpack.Decoder(ipc.ToOperator))
        assert isinstance(answer, ipc.Refused)
        assert answer.why.startswith("this is no request that the guardian knows")
        assert why in answer.why
        assert await reader.read() == b""
        writer.close()
    assert server.refused["operator frames"] == 1


async def test_a_peer_that_left_is_no_error(server: OperatorServer, tmp_path: Path) -> None:
    async with asyncio.timeout(5.0):
        _, writer = await asyncio.open_unix_connection(tmp_path / "o.sock")
        writer.write(b"\x00\x00")
        writer.close()
        while not server.refused["operator frames"]:
            await asyncio.sleep(0.01)
