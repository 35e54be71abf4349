"""The loopback HTTP API of the simulator: inject faults, read the truth that no protocol shows.

::

    POST   /faults   {"name": "fan_wear", "target": "m-07", "severity": 0.6, "ramp_s": 30}
                     {"name": "smoke", "target": "contacts-a"}
                     {"name": "sensor_value", "target": "inlet-1-a", "point": "air_temp_c", "value": 47}
    DELETE /faults   {"name": "fan_wear", "target": "m-07"}, or no body: all of them
    POST   /clear    the same as DELETE
    GET    /faults   what runs
    GET    /writes   what was commanded after ?since=SEQ, with the times
    GET    /truth    what is really so
    GET    /health   whether the plant keeps up with the clock

The reply to a fault says in `at_s` when the changed values could first be read, on the clock of `/writes`
(CLOCK_MONOTONIC): a bench subtracts the two.
"""

from collections.abc import Callable

import msgspec
from aiohttp import web

from firmware_adapters.simulator.faults import FaultDesk, FaultRequest
from firmware_adapters.simulator.writes import WriteLog


class ClearRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which fault to end."""

    name: str
    target: str


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def _problem(detail: str) -> web.Response:
    body = {"type": "about:blank", "title": "Bad request", "status": 400, "detail": detail}
    return web.Response(status=400, body=msgspec.json.encode(body), content_type="application/problem+json")


class FaultApi:
    """Serves the API at 127.0.0.1:`port`. `truth` and `health` make their answers when asked."""

    def __init__(
        self,
        desk: FaultDesk,
        writes: WriteLog,
        *,
        port: int,
        truth: Callable[[], object],
        health: Callable[[], object],
    ) -> None:
        self.port = port
        self._desk = desk
        self._writes = writes
        self._truth = truth
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._get_health),
                web.get("/truth", self._get_truth),
                web.get("/faults", self._get_faults),
                web.get("/writes", self._get_writes),
                web.post("/faults", self._inject),
                web.delete("/faults", self._clear),
                web.post("/clear", self._clear),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get_health(self, _request: web.Request) -> web.Response:
        return _json(self._health())

    async def _get_truth(self, _request: web.Request) -> web.Response:
        return _json(self._truth())

    async def _get_faults(self, _request: web.Request) -> web.Response:
        return _json(self._desk.active)

    async def _get_writes(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            return _problem("since: expected the seq of the last write that you have")
        return _json(self._writes.since(int(since)))

    async def _inject(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=FaultRequest)
            self._desk.inject(wanted)
        except (msgspec.DecodeError, ValueError) as error:
            return _problem(str(error))
        return _json(msgspec.to_builtins(wanted) | {"at_s": self._writes.now_s}, status=201)

    async def _clear(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            if body:
                which = msgspec.json.decode(body, type=ClearRequest)
                self._desk.clear(which.name, which.target)
            else:
                self._desk.clear_all()
        except (msgspec.DecodeError, ValueError) as error:
            return _problem(str(error))
        return _json(self._desk.active)
