"""One emulated VNish machine: its web interface and its 4028 socket, in front of an `EmulatedMiner`.

`answer` is the whole behaviour without a socket. `handle` puts it behind aiohttp, so that one listening
server can serve thousands of machines by the address that the client connected to. Facts: miners.md §1; what
no source tells (a wrong command body, `stop` in failure) is marked where it is decided.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec

from firmware_adapters.miners.emulated import (
    BoardView,
    EmulatedMiner,
    FanView,
    MinerView,
    PresetView,
    PsuView,
)
from firmware_adapters.miners.emulator_wire import Answer, Stop
from firmware_adapters.miners.vnish import emulator_ladder as ladder
from firmware_adapters.miners.vnish import emulator_old as old
from firmware_adapters.miners.vnish import emulator_pages as pages
from firmware_adapters.miners.vnish import emulator_socket
from firmware_adapters.miners.vnish.emulator_commands import Commands
from firmware_adapters.miners.vnish.emulator_diary import KEEPS_S, LOGS, LOGS_V13
from firmware_adapters.miners.vnish.emulator_settings import Switcher
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.fields import NOT_JSON, Object, as_object, child, children, number

__all__ = [
    "BoardView",
    "EmulatedMiner",
    "FanView",
    "MinerView",
    "PresetView",
    "PsuView",
    "Switcher",
    "Traps",
    "VnishEmulator",
]

API = "/api/v1"
_FRONT_PAGE = b'<!doctype html><html><head><meta name="firmware" content="AnthillOS"></head></html>'


Route = Callable[["VnishEmulator", MinerView, Object], object]


class VnishEmulator(Commands):
    """The wire side of one machine. `traps` may be replaced at any time."""

    # ------------------------------------------------------------ HTTP

    def _answer(
        self,
        view: MinerView,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        address: str,
    ) -> Answer:
        path, _, query = path.partition("?")
        if method == "GET" and path == "/":
            return Answer(HTTPStatus.OK, _FRONT_PAGE, kind="text/html")
        if not path.startswith(API + "/"):
            return Answer(HTTPStatus.NOT_FOUND)
        self._advance(view)
        try:
            sent = {**dict(parse_qsl(query)), **_object(body)}
            page = self._page(method, path.removeprefix(API), headers, view, sent, address)
        except Stop as stop:
            return stop.answer
        if self.traps.garbage:
            return Answer(HTTPStatus.OK, b"<html>\xff 502")
        if isinstance(page, bytes):
            kind = "text/plain" if path.startswith(API + "/logs/") else "application/json"
            return Answer(HTTPStatus.OK, page, kind=kind)
        return Answer(HTTPStatus.OK, msgspec.json.encode(page))

    def _page(
        self, method: str, path: str, headers: Mapping[str, str], view: MinerView, sent: Object, address: str
    ) -> object:
        if (method, path) == ("GET", "/info"):
            page = pages.info(view, self.version, address, logged_in=self.logins.knows(headers))
            page["fw_name"] = self.firmware_name
            return old.info(page) if self._first else page
        if (method, path) == ("GET", "/status"):
            return pages.status(
                view,
                v13=self._v13,
                restart_required=self.settings.restart_required,
                unlocked=self.logins.knows(headers),
                locked_s=self.logins.locked_s,
            )
        if method == "GET" and path.startswith("/logs/"):
            return self.log(view, path.removeprefix("/logs/"))
        route = _OPEN.get((method, path))
        if route is None:
            route = _CLOSED.get((method, path))
            self.logins.check(headers, exists=route is not None, drop_every=self.traps.drop_session_every)
        if route is None:
            raise Stop(HTTPStatus.NOT_FOUND)
        return route(self, view, sent)

    # ------------------------------------------------------------ reading

    def summary(self, view: MinerView, _sent: Object) -> object:
        """GET /summary."""
        page = pages.summary(view, self.version, self.traps, v13=self._v13)
        return old.summary(page, view, beta="beta" in self.version) if self._first else page

    def perf_summary(self, view: MinerView, _sent: Object) -> object:
        """GET /perf-summary, from 1.2.1 on."""
        self._only_from(exists=not self._first)
        return ladder.perf_summary(view, self.settings.switcher_page(v13=self._v13))

    def model(self, view: MinerView, _sent: Object) -> object:
        """GET /model, from 1.2.1 on."""
        self._only_from(exists=not self._first)
        return pages.model(view, v13=self._v13, has_power_limit=self._has_power_limit)

    def boards(self, view: MinerView, _sent: Object) -> object:
        """GET /boards, not before 1.3."""
        self._only_from(exists=self._v13)
        return ladder.board_chips(view, self.traps)

    def chains(self, view: MinerView, _sent: Object) -> object:
        """GET /chains, gone from 1.3."""
        self._only_from(exists=not self._v13 and not self._first)
        return ladder.board_chips(view, self.traps)

    def chips(self, view: MinerView, _sent: Object) -> object:
        """GET /chips, the oldest of the three."""
        self._only_from(exists=not self._v13)
        return old.chips(ladder.board_chips(view, self.traps), view, temperatures=not self._first)

    def factory_info(self, view: MinerView, _sent: Object) -> object:
        """GET /chains/factory-info, from 1.2.1 on."""
        self._only_from(exists=not self._first)
        return pages.factory_info(view)

    def presets(self, view: MinerView, _sent: Object) -> object:
        """GET /autotune/presets."""
        listed = ladder.presets(view)
        if self._first:
            for rung in listed:
                rung.pop("tune_settings", None)
        return listed

    def auth_check(self, _view: MinerView, _sent: Object) -> object:
        """GET /auth-check: whoever gets here is logged in."""
        return {"unlock_timeout": None}

    def metrics(self, view: MinerView, sent: Object) -> object:
        """GET /metrics: `time_slice` of at most 72 h, and 1.2.0 wants `until` as well."""
        slice_s, step_s = number(sent, "time_slice"), number(sent, "step")
        if self._first and None in (slice_s, step_s, number(sent, "until")):
            raise Stop(HTTPStatus.BAD_REQUEST, {"err": "Query deserialize error: missing field"})
        slice_s, step_s = slice_s or 86_400.0, step_s or 900.0
        if not 0 < slice_s <= KEEPS_S or step_s <= 0:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": "time_slice is out of range"})
        page = self.diary.metrics(
            view, slice_s=int(slice_s), step_s=int(step_s), skew_s=self.traps.clock_skew_s, v13=self._v13
        )
        if self._first:
            for record in children(page, "metrics"):
                (child(record, "data") or {}).pop("power_consumption", None)
        return page

    def log(self, view: MinerView, name: str) -> bytes:
        """GET /logs/{type}, plain text."""
        known = (*LOGS, *(LOGS_V13 if self._v13 else ()))
        if name not in (*known, "*"):
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": f"unknown log {name}"})
        wanted = known if name == "*" else (name,)
        told = "".join(self.diary.log(kind, view, self.traps.clock_skew_s) for kind in wanted)
        return (("an older line\n" * 40_000 if self.traps.long_log else "") + told).encode()

    # ------------------------------------------------------------ 4028

    async def handle_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the cgminer socket; the HTTP traps do not touch it."""
        view = self.machine.view()
        if not view.reachable:
            writer.transport.abort()
            return
        now_s = int(self._clock.utc_ms() / 1000 + self.traps.clock_skew_s)
        await emulator_socket.serve(view, self.version, reader, writer, now_s)


_OPEN: dict[tuple[str, str], Route] = {
    ("GET", "/summary"): VnishEmulator.summary,
    ("GET", "/perf-summary"): VnishEmulator.perf_summary,
    ("GET", "/model"): VnishEmulator.model,
    ("GET", "/boards"): VnishEmulator.boards,
    ("GET", "/chains"): VnishEmulator.chains,
    ("GET", "/chips"): VnishEmulator.chips,
    ("GET", "/chains/factory-info"): VnishEmulator.factory_info,
    ("GET", "/metrics"): VnishEmulator.metrics,
    ("POST", "/unlock"): VnishEmulator.unlock,
    ("POST", "/find-miner"): VnishEmulator.find,
    ("POST", "/locate-miner"): VnishEmulator.locate,
}
_CLOSED: dict[tuple[str, str], Route] = {
    ("GET", "/settings"): VnishEmulator.get_settings,
    ("POST", "/settings"): VnishEmulator.post_settings,
    ("GET", "/autotune/presets"): VnishEmulator.presets,
    ("GET", "/auth-check"): VnishEmulator.auth_check,
    ("GET", "/apikeys"): VnishEmulator.get_keys,
    ("POST", "/apikeys"): VnishEmulator.add_key,
    ("POST", "/apikeys/delete"): VnishEmulator.delete_key,
    ("POST", "/lock"): VnishEmulator.lock,
    ("POST", "/mining/stop"): VnishEmulator.stop,
    ("POST", "/mining/start"): VnishEmulator.start,
    ("POST", "/mining/pause"): VnishEmulator.pause,
    ("POST", "/mining/resume"): VnishEmulator.resume,
    ("POST", "/mining/restart"): VnishEmulator.restart,
    ("POST", "/mining/throttle"): VnishEmulator.throttle,
    ("POST", "/mining/switch-pool"): VnishEmulator.switch_pool,
    ("POST", "/system/reboot"): VnishEmulator.reboot,
    **{("POST", f"/logs/{name}/clear"): VnishEmulator.clear_log for name in (*LOGS, *LOGS_V13)},
}


def _object(body: bytes) -> Object:
    if not body:
        return {}
    try:
        found = as_object(msgspec.json.decode(body))
    except NOT_JSON as error:
        raise Stop(HTTPStatus.BAD_REQUEST, {"err": f"Json deserialize error: {error}"}) from error
    return found if found is not None else {}
