"""The end of a long page: what is kept, what is too long to be read, and failures as in any request."""

import pytest
from aiohttp import web

from firmware_adapters.transport.http import TailTransport
from firmware_adapters.transport.http_client import HttpClient
from shared.errors import MalformedReply, Unreachable

BODY = b"".join(b"%07d\n" % number for number in range(100_000))


async def serve(status: int = 200, *, cut: bool = False) -> tuple[web.ServerRunner, int]:
    """A server with one page for everything; `cut`: it closes in the middle."""

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        if not cut:
            return web.Response(status=status, body=BODY)
        reply = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await reply.prepare(request)
        await reply.write(BODY[:100])
        assert request.transport is not None
        request.transport.close()
        return reply

    runner = web.ServerRunner(web.Server(page))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


@pytest.mark.parametrize("keep", [1, 8, 4096, len(BODY), 2 * len(BODY)])
async def test_the_last_bytes_are_kept_whatever_the_pieces(keep: int) -> None:
    runner, port = await serve()
    transport = HttpClient("127.0.0.1", port, timeout_s=5)
    assert isinstance(transport, TailTransport)
    reply = await transport.tail("/log", keep=keep, most=len(BODY))
    assert (reply.status, reply.body) == (200, BODY[-keep:])
    await transport.close()
    await runner.cleanup()


async def test_a_page_without_an_end_is_not_read_for_ever() -> None:
    runner, port = await serve()
    transport = HttpClient("127.0.0.1", port, timeout_s=5)
    with pytest.raises(MalformedReply, match="longer than 1000 bytes"):
        await transport.tail("/log", keep=10, most=1000)
    await transport.close()
    await runner.cleanup()


async def test_a_status_is_handed_on_and_half_a_page_is_malformed() -> None:
    for status, cut in ((404, False), (200, True)):
        runner, port = await serve(status, cut=cut)
        transport = HttpClient("127.0.0.1", port, timeout_s=5)
        if cut:
            with pytest.raises(MalformedReply):
                await transport.tail("/log", keep=10, most=10**7)
        else:
            assert (await transport.tail("/log", keep=10, most=10**7)).status == status
        await transport.close()
        await runner.cleanup()
        with pytest.raises(Unreachable):
            await transport.tail("/log", keep=10, most=10**7)
        await transport.close()
