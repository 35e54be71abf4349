"""One emulated stock Antminer: its CGI behind a digest login and its 4028 socket, before an `EmulatedMiner`.

The mode, stored in the configuration, is this emulator's own state: sleep stops the machine, low power is a
throttle of `LOW_POWER_PCT`. What no source tells (the body of a good `reboot.cgi`) is marked in place.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec

from firmware_adapters.miners.antminer import emulator_pages as pages
from firmware_adapters.miners.antminer import emulator_socket
from firmware_adapters.miners.antminer.emulator_login import Logins
from firmware_adapters.miners.antminer.emulator_traps import Traps
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Answer, SocketEmulator, Stop, WebEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, Object, as_number, as_object, flag
from shared.clock import Clock
from shared.telemetry import MinerState

CGI = "/cgi-bin/"
SLEEP = 1
LOW_POWER = 2
LOW_POWER_PCT = 75.0
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_MINING = ("stats.cgi", "summary.cgi", "pools.cgi")
_LOG = "2025-03-14 16:23:42 driver-btm-api.c:1234:init_freq_mode: This is {model}\n"


class AntminerEmulator(WebEmulator):
    """The wire side of one machine. `traps` (the web server's) and `socket_traps` may be replaced."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        user: str = "root",
        password: str = "root",  # noqa: S107 - the vendor's default is what real machines answer to
        traps: Traps | None = None,
    ) -> None:
        super().__init__(machine, clock=clock)
        self.traps = traps or Traps()
        self.socket_traps = WireTraps()
        self.logins = Logins(user, password)
        self.log = ""
        """What its log holds; empty: a line or two."""
        self.mode = SLEEP if machine.view().state is MinerState.STOPPED else 0
        self._stored: Object = {}
        self._process_began_s: float | None = None

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    @property
    def clock(self) -> Clock:
        """The emulator's time."""
        return self._clock

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
        bare = path.partition("?")[0]
        try:
            if self.traps.login_refused:
                headers = {}
            self.logins.check(method, path, headers, forget_every=self.traps.forget_nonce_every)
            page = self._page(view, method, bare.removeprefix(CGI), body, address)
        except Stop as stop:
            return stop.answer
        if self.traps.garbage:
            return Answer(HTTPStatus.OK, b"<html>\xff 502")
        if isinstance(page, str):
            return Answer(HTTPStatus.OK, page.encode(), kind="text/plain")
        return Answer(HTTPStatus.OK, msgspec.json.encode(page))

    def _page(self, view: MinerView, method: str, name: str, body: bytes, address: str) -> object:
        now_s = int(self._clock.utc_ms() / 1000)
        if method == "POST":
            return self._command(view, name, _object(body))
        if name == "reboot.cgi":
            return self._reboot()
        if name in _MINING and self.traps.silent_in_sleep and self.mode == SLEEP:
            return pages.silent(now_s)
        elapsed_s = self.elapsed_s(view)
        shown: dict[str, Callable[[], object]] = {
            "stats.cgi": lambda: pages.stats(view, self.mode, elapsed_s, now_s),
            "summary.cgi": lambda: pages.summary(view, elapsed_s, now_s),
            "pools.cgi": lambda: pages.pools(view, now_s),
            "get_system_info.cgi": lambda: pages.system_info(view, address),
            "get_network_info.cgi": lambda: pages.network_info(view, address),
            "get_miner_conf.cgi": lambda: self.configuration(view),
            "get_blink_status.cgi": lambda: {"blink": view.locating},
            "log.cgi": lambda: self.log or _LOG.format(model=view.model),
        }
        if name not in shown:
            raise Stop(HTTPStatus.NOT_FOUND)
        return shown[name]()

    def _reboot(self) -> str:
        self._process_began_s = self._clock.monotonic()
        self.machine.reboot(1.0)
        if self.mode == SLEEP:
            # The mode is stored: the machine comes back asleep.
            self.machine.stop()
        return ""  # what a real machine says here is not known

    def elapsed_s(self, view: MinerView) -> float:
        """Since the mining process began: since boot, or since the mode was changed."""
        if self._process_began_s is None:
            return view.uptime_s
        return min(view.uptime_s, self._clock.monotonic() - self._process_began_s)

    def configuration(self, view: MinerView) -> Object:
        """`get_miner_conf.cgi`."""
        page: Object = {**pages.configuration(view), **self._stored}
        if not self.traps.no_modes:
            page["bitmain-work-mode"] = self.mode if self.traps.mode_as_number else str(self.mode)
        return page

    # ------------------------------------------------------------ commands

    def _command(self, view: MinerView, name: str, sent: Object) -> object:
        if name == "blink.cgi":
            on = flag(sent, "blink")
            self.machine.locate(on=on is True)
            return {"code": "B000" if on else "B100"}
        if name != "set_miner_conf.cgi":
            raise Stop(HTTPStatus.NOT_FOUND)
        if self.traps.settings_refused:
            return {"stats": "error", "code": "M001", "msg": "Request error!"}
        if not self.traps.settings_ignored:
            self._store(view, sent)
        return {"stats": "success", "code": "M000", "msg": "OK!"}

    def _store(self, view: MinerView, sent: Object) -> None:
        """Take a whole configuration: what it does not name is gone, pools included."""
        if "pools" not in sent:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR)
        names = pages.configuration(view)
        self._stored = {key: sent.get(key, "") for key in names}
        code = as_number(sent.get("miner-mode"))
        if self.traps.no_modes or code is None:
            return
        self._process_began_s = self._clock.monotonic()
        before, self.mode = self.mode, int(code)
        if self.mode == SLEEP:
            if view.state not in _IDLE:
                self.machine.stop()
            return
        self.machine.throttle(LOW_POWER_PCT if self.mode == LOW_POWER else 100.0)
        if before == SLEEP or view.state in _IDLE:
            self.machine.start()
        else:
            self.machine.restart()

    # ------------------------------------------------------------ 4028

    async def handle_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the cgminer socket; only `socket_traps` touch it."""
        socket = _Socket(self)
        socket.access_log = self.access_log
        await socket.handle_socket(reader, writer)


class _Socket(SocketEmulator):
    """The machine's other face; the mining process serves it, not the web server."""

    def __init__(self, owner: AntminerEmulator) -> None:
        super().__init__(owner.machine, clock=owner.clock)
        self._owner = owner

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self._owner.socket_traps

    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        now_s = int(self._owner.clock.utc_ms() / 1000)
        return emulator_socket.reply(view, raw, self._owner.elapsed_s(view), now_s)


def _object(body: bytes) -> Object:
    try:
        found = as_object(msgspec.json.decode(body)) if body else {}
    except NOT_JSON as error:
        raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR) from error
    return found or {}
