"""Listening to a conversation: what is kept, what a guard stops, and that nobody else is heard."""

import asyncio
from collections.abc import Mapping

import pytest

from firmware_adapters.transport.http import HttpReply
from firmware_adapters.transport.http_client import HttpClient
from firmware_adapters.transport.line_json import LineClient
from firmware_adapters.transport.tape import (
    KEEP_EXCHANGES,
    FailureRing,
    Tape,
    file_name,
    http_name,
    tape,
    taping,
)
from shared.errors import MalformedReply, Unreachable, Unsupported
from shared.exchanges import Exchange, KeptFailure
from shared.ids import DeviceId


async def _answering(raw: bytes) -> tuple[asyncio.Server, int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_both_transports_are_heard_and_replies_are_kept_as_they_came() -> None:
    page = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"a": 1} '
    web, web_port = await _answering(page)
    line, line_port = await _answering(b'{"STATS":[{"a":1,}]}\x00')
    http = HttpClient("127.0.0.1", web_port, timeout_s=2)
    with taping(Tape()) as heard:
        await http.request("GET", "/api/v1/miner/details?x=1")
        await LineClient("127.0.0.1", line_port, timeout_s=2).ask("healthchipget", "0")
    await http.request("GET", "/api/v1/later")
    await http.close()
    for server in (web, line):
        server.close()
        await server.wait_closed()
    assert list(heard.exchanges) == [
        Exchange(
            question="GET /api/v1/miner/details?x=1", name="miner_details", status=200, reply=b'{"a": 1} '
        ),
        Exchange(question="healthchipget 0", name="healthchipget_0", reply=b'{"STATS":[{"a":1,}]}\x00'),
    ]
    assert tape() is None


async def test_a_reply_that_does_not_parse_is_kept_and_a_failure_says_itself() -> None:
    server, port = await _answering(b"<html>")
    client = LineClient("127.0.0.1", port, timeout_s=2)
    with taping(Tape()) as heard:
        with pytest.raises(MalformedReply):
            await client.ask("stats")
        server.close()
        await server.wait_closed()
        with pytest.raises(Unreachable):
            await client.ask("summary")
    odd, gone = heard.exchanges
    assert odd.reply == b"<html>"
    assert (gone.question, gone.reply) == ("summary", b"")
    assert gone.failure.startswith("unreachable: ")


class Refusing:
    """A guard that lets nothing through."""

    def http(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> None:
        raise Unsupported("no")

    def http_said(self, method: str, path: str, headers: Mapping[str, str], said: object) -> None:
        raise AssertionError("nothing was sent")

    def command(self, command: str, parameter: str | None) -> None:
        raise Unsupported("no")


async def test_what_a_guard_refuses_never_leaves() -> None:
    async def never() -> HttpReply:
        raise AssertionError("it was sent")

    refusing = Tape(Refusing())
    with pytest.raises(Unsupported):
        await refusing.http("GET", "/", None, {}, never())
    with pytest.raises(Unsupported):
        await refusing.command("stats", None, never())  # type: ignore[arg-type] # it is never awaited
    assert not refusing.exchanges


async def test_tasks_begun_inside_are_heard_and_others_are_not() -> None:
    server, port = await _answering(b'{"STATUS":"S"}')
    client = LineClient("127.0.0.1", port, timeout_s=2)
    outside = asyncio.create_task(client.ask("version"))
    with taping(Tape()) as heard:
        await asyncio.gather(asyncio.create_task(client.ask("stats")), outside)
    server.close()
    await server.wait_closed()
    assert [one.question for one in heard.exchanges] == ["stats"]


async def test_a_tape_has_an_end() -> None:
    heard = Tape()

    async def said() -> bytes:
        return b"{}"

    for number in range(KEEP_EXCHANGES + 5):
        await heard.command("stats", str(number), said())
    assert len(heard.exchanges) == KEEP_EXCHANGES
    assert heard.exchanges[0].question == "stats 5"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/summary", "summary"),
        ("/api/v1/miner/hw/hashboards", "miner_hw_hashboards"),
        ("/api/system/info", "system_info"),
        ("/cgi-bin/stats.cgi", "stats"),
        ("/cgi-bin/get_system_info.cgi", "system_info"),
        ("/", "index"),
        ("/../../etc/passwd", "etc_passwd"),
    ],
)
def test_a_reply_is_called_what_recordings_call_it(path: str, name: str) -> None:
    assert http_name(path) == name


def test_no_question_names_a_file_elsewhere() -> None:
    assert file_name("../../x 0") == "x_0"
    assert len(file_name("a" * 500)) == 80


def _failure(device: str, size: int) -> KeptFailure:
    exchange = Exchange(question="stats", name="stats", reply=b"x" * size)
    return KeptFailure(
        device=DeviceId(device), adapter="vnish", at_ms=0, failure="malformed", exchanges=(exchange,)
    )


def test_the_last_failure_of_each_device_is_kept_within_bounds() -> None:
    ring = FailureRing(max_bytes=100)
    for device in ("a", "b", "a"):
        ring.keep(_failure(device, 40))
    assert len(ring) == 2
    ring.keep(_failure("c", 40))
    assert ring.of("b") is None, "the oldest goes first"
    assert ring.of("a") is not None
    ring.keep(_failure("d", 5000))
    assert len(ring) == 1, "one that is larger than all is kept alone"
    assert ring.of("d") is not None
