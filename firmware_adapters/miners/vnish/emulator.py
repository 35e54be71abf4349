"""One emulated VNish machine: its web interface and its 4028 socket, in front of an `EmulatedMiner`.

`answer` is the whole behaviour without a socket. `handle` puts it behind aiohttp, so that one listening
server can serve thousands of machines by the address that the client connected to. Facts: miners.md §1; what
no source tells (a wrong command body, `stop` in failure) is marked where it is decided.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

import msgspec

from firmware_adapters.miners.emulated import (
    BoardView,
    EmulatedMiner,
    FanView,
    MinerView,
    PresetView,
    PsuView,
)
from firmware_adapters.miners.emulator_wire import Answer, Stop, WebEmulator, WireTraps
from firmware_adapters.miners.vnish import emulator_ladder as ladder
from firmware_adapters.miners.vnish import emulator_pages as pages
from firmware_adapters.miners.vnish import emulator_socket
from firmware_adapters.miners.vnish.emulator_login import Logins
from firmware_adapters.miners.vnish.emulator_settings import Refused, Settings, Switcher
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.fields import NOT_JSON, Object, as_number, as_object, flag, text
from shared.clock import Clock
from shared.telemetry import MinerState

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
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_FRONT_PAGE = b'<!doctype html><html><head><meta name="firmware" content="AnthillOS"></head></html>'


Route = Callable[["VnishEmulator", MinerView, Object], object]


class VnishEmulator(WebEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        version: str = "1.2.7",
        password: str = "admin",  # noqa: S107 - the vendor's default is what real machines answer to
        api_keys: Iterable[str] = (),
        traps: Traps | None = None,
        switcher: Switcher | None = None,
    ) -> None:
        super().__init__(machine, clock=clock)
        self.version = version
        self.traps = traps or Traps()
        self.settings = Settings(machine, clock, switcher or Switcher())
        self._v13 = tuple(int(part) for part in version.split(".")[:2]) >= (1, 3)
        self.logins = Logins(clock, password, api_keys)
        self._throttles: list[tuple[float, float]] = []

    # ------------------------------------------------------------ HTTP

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def _answer(
        self,
        view: MinerView,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        address: str,
    ) -> Answer:
        path, _, _query = path.partition("?")
        if method == "GET" and path == "/":
            return Answer(HTTPStatus.OK, _FRONT_PAGE, kind="text/html")
        if not path.startswith(API + "/"):
            return Answer(HTTPStatus.NOT_FOUND)
        self._advance(view)
        try:
            sent = _object(body)
            page = self._page(method, path.removeprefix(API), headers, view, sent, address)
        except Stop as stop:
            return stop.answer
        if self.traps.garbage:
            return Answer(HTTPStatus.OK, b"<html>\xff 502")
        if isinstance(page, bytes):
            return Answer(HTTPStatus.OK, page)
        return Answer(HTTPStatus.OK, msgspec.json.encode(page))

    def _page(
        self, method: str, path: str, headers: Mapping[str, str], view: MinerView, sent: Object, address: str
    ) -> object:
        if (method, path) == ("GET", "/info"):
            return pages.info(view, self.version, address, logged_in=self.logins.knows(headers))
        if (method, path) == ("GET", "/status"):
            restart = self.settings.restart_required
            return pages.status(
                view, v13=self._v13, restart_required=restart, unlocked=self.logins.knows(headers)
            )
        route = _OPEN.get((method, path))
        if route is None:
            route = _CLOSED.get((method, path))
            self.logins.check(headers, exists=route is not None, drop_every=self.traps.drop_session_every)
        if route is None:
            raise Stop(HTTPStatus.NOT_FOUND)
        return route(self, view, sent)

    def _advance(self, view: MinerView) -> None:
        """Bring in what was waiting for time to pass."""
        now_s = self._clock.monotonic()
        due = [percent for at_s, percent in self._throttles if at_s <= now_s]
        if due:
            self._throttles = [(at_s, percent) for at_s, percent in self._throttles if at_s > now_s]
            self.machine.throttle(due[-1])
        self.settings.switch(view)

    # ------------------------------------------------------------ login

    def unlock(self, _view: MinerView, sent: Object) -> object:
        """POST /unlock."""
        return self.logins.unlock(text(sent, "pw"), self.traps.lockout_s)

    def lock(self, _view: MinerView, _sent: Object) -> object:
        """POST /lock."""
        self.logins.drop()
        return None

    def get_keys(self, _view: MinerView, _sent: Object) -> object:
        """GET /apikeys."""
        return self.logins.keys_page()

    def add_key(self, _view: MinerView, sent: Object) -> object:
        """POST /apikeys."""
        return self.logins.add_key(text(sent, "key"))

    def delete_key(self, _view: MinerView, sent: Object) -> object:
        """POST /apikeys/delete."""
        self.logins.delete_key(text(sent, "key"))
        return None

    # ------------------------------------------------------------ reading

    def summary(self, view: MinerView, _sent: Object) -> object:
        """GET /summary."""
        return pages.summary(view, self.version, self.traps, v13=self._v13)

    def perf_summary(self, view: MinerView, _sent: Object) -> object:
        """GET /perf-summary."""
        return ladder.perf_summary(view, self.settings.switcher_page(v13=self._v13))

    def model(self, view: MinerView, _sent: Object) -> object:
        """GET /model."""
        return pages.model(view, v13=self._v13)

    def boards(self, view: MinerView, _sent: Object) -> object:
        """GET /boards, gone before 1.3."""
        if not self._v13:
            raise Stop(HTTPStatus.NOT_FOUND)
        return ladder.board_chips(view, self.traps)

    def chains(self, view: MinerView, _sent: Object) -> object:
        """GET /chains, gone from 1.3."""
        if self._v13:
            raise Stop(HTTPStatus.NOT_FOUND)
        return ladder.board_chips(view, self.traps)

    def factory_info(self, view: MinerView, _sent: Object) -> object:
        """GET /chains/factory-info."""
        return pages.factory_info(view)

    def presets(self, view: MinerView, _sent: Object) -> object:
        """GET /autotune/presets."""
        return ladder.presets(view)

    def auth_check(self, _view: MinerView, _sent: Object) -> object:
        """GET /auth-check: whoever gets here is logged in."""
        return {"unlock_timeout": None}

    # ------------------------------------------------------------ settings

    def get_settings(self, view: MinerView, _sent: Object) -> object:
        """GET /settings."""
        if self.traps.settings_broken:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": "duplicate field `preset`"})
        return self.settings.page(view, v13=self._v13)

    def post_settings(self, view: MinerView, sent: Object) -> object:
        """POST /settings. An unknown preset is HTTP 400 (plant.md §1.2)."""
        if not self.traps.settings_ignored:
            try:
                self.settings.store(sent, view, has_power_limit=self._v13)
            except Refused as refused:
                raise Stop(HTTPStatus.BAD_REQUEST, {"err": str(refused)}) from refused
        return {"restart_required": self.settings.restart_required, "reboot_required": False}

    # ------------------------------------------------------------ commands

    def _done(self) -> bytes:
        return self.traps.command_body.encode()

    def stop(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/stop. In failure there is no miner process to pause, so it is refused as well."""
        self._refuse_if(view.state in (*_IDLE, MinerState.SHUTTING_DOWN), "pause")
        self.machine.stop()
        return self._done()

    def pause(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/pause."""
        self._refuse_if(view.state in (*_IDLE, MinerState.SHUTTING_DOWN), "pause")
        self.machine.pause()
        return self._done()

    def start(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/start."""
        self._refuse_if(view.state not in _IDLE, "resume")
        self.settings.bring_in()
        self.machine.start()
        return self._done()

    def resume(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/resume."""
        self._refuse_if(view.state not in _IDLE, "resume")
        self.settings.bring_in()
        self.machine.resume()
        return self._done()

    def _refuse_if(self, conflict: bool, mode: str) -> None:  # noqa: FBT001 - reads as a sentence at its callers
        if conflict:
            err = f"CGMiner err: Cgminer error failed-to-activate-{mode}-mode "
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": err})

    def restart(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/restart. Whether it starts a stopped machine is not known; the worse is assumed."""
        changed = self.settings.bring_in()
        if view.state in _IDLE:
            self.machine.start()
        elif not changed:
            self.machine.restart()
        return self._done()

    def throttle(self, _view: MinerView, sent: Object) -> object:
        """POST /mining/throttle, 1.3 only."""
        if not self._v13:
            raise Stop(HTTPStatus.NOT_FOUND)
        percent = as_number(sent.get("percent"))
        if percent is None or not 20 <= percent <= 100:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": "percent must be between 20 and 100"})
        if self.traps.throttle_delay_s > 0:
            self._throttles.append((self._clock.monotonic() + self.traps.throttle_delay_s, percent))
        else:
            self.machine.throttle(percent)
        return {"restart_required": False, "reboot_required": False}

    def reboot(self, _view: MinerView, sent: Object) -> object:
        """POST /system/reboot; sessions do not survive it."""
        after = as_number(sent.get("after"))
        after_s = 3.0 if after is None or after < 0 else after
        self.settings.bring_in()
        self.logins.drop()
        self.machine.reboot(after_s)
        return {"after": after_s}

    def find(self, view: MinerView, sent: Object) -> object:
        """POST /find-miner: toggles, unless the body says which way."""
        on = flag(sent, "on")
        on = not view.locating if on is None else on
        self.machine.locate(on=on)
        return {"on": on}

    def locate(self, view: MinerView, sent: Object) -> object:
        """POST /locate-miner, 1.3 only."""
        if not self._v13:
            raise Stop(HTTPStatus.NOT_FOUND)
        self.find(view, sent)
        return {"is_enabled": not view.locating}

    # ------------------------------------------------------------ 4028

    async def handle_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the cgminer socket; the HTTP traps do not touch it."""
        view = self.machine.view()
        if not view.reachable:
            writer.transport.abort()
            return
        await emulator_socket.serve(view, self.version, reader, writer, int(self._clock.utc_ms() / 1000))


_OPEN: dict[tuple[str, str], Route] = {
    ("GET", "/summary"): VnishEmulator.summary,
    ("GET", "/perf-summary"): VnishEmulator.perf_summary,
    ("GET", "/model"): VnishEmulator.model,
    ("GET", "/boards"): VnishEmulator.boards,
    ("GET", "/chains"): VnishEmulator.chains,
    ("GET", "/chains/factory-info"): VnishEmulator.factory_info,
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
    ("POST", "/system/reboot"): VnishEmulator.reboot,
}


def _object(body: bytes) -> Object:
    if not body:
        return {}
    try:
        found = as_object(msgspec.json.decode(body))
    except NOT_JSON as error:
        raise Stop(HTTPStatus.BAD_REQUEST, {"err": f"Json deserialize error: {error}"}) from error
    return found if found is not None else {}
