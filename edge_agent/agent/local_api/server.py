"""Loopback HTTP: page, JSON, liveness, and the two things a person on site may ask of the agent.

Bound to 127.0.0.1. A foreign web page in the same browser must not be able to stop a site, so the `Host` has
to be loopback (DNS rebinding) and a POST carries a token of this process: the page's token for the safe stop,
the token of a 0600 file in the state folder for what only the gateway's operator may do.
"""

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from edge_agent.agent.inference.memory import Pin
from edge_agent.agent.local_api.page import render, render_stop
from edge_agent.agent.local_api.status import StatusSource
from edge_agent.agent.service import Service
from edge_agent.ipc import SafeStop
from shared.clock import Clock
from shared.errors import StoreError
from shared.ids import ZoneId

HOST: Final = "127.0.0.1"
TOKEN_FILE: Final = "local-token"
TOKEN_HEADER: Final = "X-Local-Token"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})
_MAX_FORM: Final = 4_096


class LocalApi(Service):
    """The server; restarts with the supervisor when the port was taken."""

    name = "local-api"

    def __init__(
        self,
        clock: Clock,
        port: int,
        source: StatusSource,
        *,
        state: Path,
        safe_stop: Callable[[SafeStop], Awaitable[bool]],
        rollback: Callable[[str], Awaitable[bool]],
        pin: Callable[[], Awaitable[Pin | None]],
        unpin: Callable[[], Awaitable[bool]],
        site: str,
        zones: frozenset[ZoneId],
    ) -> None:
        super().__init__(clock)
        self._port = port
        self._source = source
        self._safe_stop = safe_stop
        self._rollback = rollback
        self._pin = pin
        self._unpin = unpin
        self._site = site
        self._zones = zones
        self._page_token = secrets.token_urlsafe(16)
        self._operator_token = secrets.token_urlsafe(32)
        self._token_file = state / TOKEN_FILE

    async def run(self) -> None:
        self._write_token()
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
            while True:
                self.tick()
                await self.clock.sleep(5.0)
        finally:
            await runner.cleanup()
            with contextlib.suppress(OSError):
                self._token_file.unlink()

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[_guard], client_max_size=_MAX_FORM)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/status.json", self._status),
                web.get("/health/live", self._live),
                web.get("/safe-stop", self._stop_form),
                web.post("/safe-stop", self._stop),
                web.post("/model/rollback", self._roll_back),
                web.post("/model/pin", self._pin_model),
                web.post("/model/unpin", self._unpin_model),
            ]
        )
        return app

    def _write_token(self) -> None:
        self._token_file.unlink(missing_ok=True)
        self._token_file.touch(mode=0o600)
        self._token_file.write_text(self._operator_token)

    # ------------------------------------------------------------ reading

    async def _page(self, _request: web.Request) -> web.Response:
        try:
            status = await self._source.read()
        except StoreError as error:
            return web.Response(status=503, text=f"The store cannot be read: {error}")
        return web.Response(text=render(status), content_type="text/html")

    async def _status(self, _request: web.Request) -> web.Response:
        try:
            body = msgspec.json.encode(await self._source.read())
        except StoreError as error:
            return web.json_response({"error": str(error)}, status=503)
        return web.Response(body=body, content_type="application/json")

    async def _live(self, _request: web.Request) -> web.Response:
        alive = self._source.alive
        return web.json_response({"live": alive}, status=200 if alive else 503)

    # ------------------------------------------------------------ asking

    async def _stop_form(self, _request: web.Request) -> web.Response:
        page = render_stop(self._site, self._zones, token=self._page_token)
        return web.Response(text=page, content_type="text/html")

    async def _stop(self, request: web.Request) -> web.Response:
        form = await request.post()
        if not secrets.compare_digest(str(form.get("token", "")).encode(), self._page_token.encode()):
            raise web.HTTPForbidden(text="Open the page again: this form is from another start of the agent.")
        if form.get("confirm") != "stop":
            raise web.HTTPBadRequest(text="Nothing was stopped: tick the box to confirm.")
        zone = str(form.get("zone", "")) or None
        if zone is not None and zone not in self._zones:
            raise web.HTTPBadRequest(text="Nothing was stopped: there is no such zone.")
        asked = SafeStop(zone=ZoneId(zone) if zone is not None else None, reason="local page")
        if not await self._safe_stop(asked):
            raise web.HTTPServiceUnavailable(
                text="The guardian is not connected. Use 'minewarden guardian safe-stop' or the breaker."
            )
        return web.Response(text=f"Safe stop asked for {zone or 'the whole site'}. Watch the page.")

    def _must_be_operator(self, request: web.Request) -> None:
        given = request.headers.get(TOKEN_HEADER, "").encode()
        if not secrets.compare_digest(given, self._operator_token.encode()):
            raise web.HTTPForbidden(text="the token in the agent's state folder is needed")

    async def _pin_model(self, request: web.Request) -> web.Response:
        self._must_be_operator(request)
        pin = await self._pin()
        if pin is None:
            return web.json_response({"pinned": None}, status=409)
        return web.json_response({"pinned": f"{pin.name} v{pin.version}", "sha256": pin.sha256})

    async def _unpin_model(self, request: web.Request) -> web.Response:
        self._must_be_operator(request)
        done = await self._unpin()
        return web.json_response({"unpinned": done}, status=200 if done else 409)

    async def _roll_back(self, request: web.Request) -> web.Response:
        self._must_be_operator(request)
        done = await self._rollback("asked by the operator on this gateway")
        return web.json_response({"rolled_back": done}, status=200 if done else 409)


@web.middleware
async def _guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.host.rsplit(":", 1)[0] not in _LOOPBACK:
        raise web.HTTPForbidden(text="only for this machine")
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
