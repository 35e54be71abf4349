"""One emulated LuxOS machine: its command socket, in front of an `EmulatedMiner`.

Session, thermal management, cooling limits and the order to sleep are this emulator's own state. What no
source tells (numbers and words of a refusal) is marked in place.
"""

from collections.abc import Callable

import msgspec

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import SocketEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON
from firmware_adapters.miners.luxos import emulator_pages as pages
from firmware_adapters.miners.luxos.emulator_traps import Traps
from shared.clock import Clock
from shared.telemetry import MinerState

SESSION_S = 60.0
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_INVALID = 14


class Refused(Exception):
    """STATUS `E` in place of the reply; the words are ours, because no source tells them."""

    def __init__(self, words: str, code: int = 400) -> None:
        super().__init__(words)
        self.words = words
        self.code = code


class LuxosEmulator(SocketEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        traps: Traps | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(machine, clock=clock)
        self.traps = traps or Traps()
        self.atm = True
        self.curtailed = machine.view().state is MinerState.STOPPED
        self.limits = (65.0, 70.0)
        """Hot and dangerous board temperature, °C; the target is the machine's own."""
        self.session: str | None = None
        self._used_s = 0.0
        self._sessions = 0
        self._told = 0
        self._address = address

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def answer(self, raw: bytes) -> bytes:
        """What the machine says to one raw request, without a socket."""
        return self._reply(self.machine.view(), raw)

    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        try:
            request = msgspec.json.decode(raw.strip(b"\x00\r\n "), type=dict[str, object])
        except NOT_JSON:
            return self._refuse(Refused("Invalid JSON", 23))
        command, parameter = str(request.get("command", "")), str(request.get("parameter", ""))
        try:
            page = self._page(view, command, [part.strip() for part in parameter.split(",")])
        except Refused as refused:
            return self._refuse(refused)
        said = msgspec.json.encode({**self._said("S", command), **page, "id": 1})
        return said[:-1] + b",,}" + b'{"more":1}\x00\x00' if self.traps.glued else said + b"\x00"

    def _said(self, status: str, message: str, code: int = 0) -> pages.Json:
        now_s = int(self._clock.utc_ms() / 1000)
        description = f"LUXminer {pages.RELEASE}"
        told = {"STATUS": status, "When": now_s, "Code": code, "Msg": message, "Description": description}
        return {"STATUS": [told]}

    def _refuse(self, refused: Refused) -> bytes:
        return msgspec.json.encode({**self._said("E", refused.words, refused.code), "id": 1}) + b"\x00"

    # ------------------------------------------------------------ reading

    def _page(self, view: MinerView, command: str, parts: list[str]) -> pages.Json:
        if command in _WRITES:
            return self._write(view, command, parts)
        shown: dict[str, Callable[[], pages.Json]] = {
            "version": lambda: {"VERSION": pages.version(view)},
            "summary": lambda: {"SUMMARY": pages.summary(view)},
            "stats": lambda: {"STATS": pages.stats(view)},
            "devs": lambda: {"DEVS": pages.devs(view, view.preset or "default")},
            "temps": lambda: pages.temps(view),
            "fans": lambda: pages.fans(view),
            "power": lambda: {"POWER": [{"PSU": view.power_metered, "Watts": round(view.power_w)}]},
            "profiles": lambda: {"PROFILES": pages.profiles(view)},
            "config": lambda: {"CONFIG": [self._config(view)]},
            "pools": lambda: {"POOLS": pages.pools(view)},
            "events": lambda: {"EVENTS": pages.events(view, self._clock.utc_ms())},
            "atm": lambda: {"ATM": [{"Enabled": self.atm}]},
            "tempctrl": lambda: {"TEMPCTRL": [self._control(view)]},
            "session": lambda: {"SESSION": [{"SessionID": self._living() or ""}]},
            "healthchipget": lambda: {"CHIPS": pages.chips(view, _board(view, parts))},
            "voltageget": lambda: {"VOLTAGE": [self._voltage(view, _board(view, parts))]},
        }
        if command not in shown:
            raise Refused("Invalid command", _INVALID)
        return shown[command]()

    def _config(self, view: MinerView) -> pages.Json:
        page = pages.config(view, curtailed=self.curtailed, atm=self.atm, address=self._address)
        if self.traps.no_curtail_word:
            del page["CurtailMode"]
        return page

    def _control(self, view: MinerView) -> pages.Json:
        hot = max(self.limits[0], view.target_temp_c + 5)
        dangerous = max(self.limits[1], hot + 5)
        return {"Mode": "Automatic", "Target": view.target_temp_c, "Hot": hot, "Dangerous": dangerous}

    def _voltage(self, view: MinerView, board: int) -> pages.Json:
        return {"Board": board, "Voltage": view.boards[board].volt_v}

    # ------------------------------------------------------------ session

    def _living(self) -> str | None:
        """The session, unless it died for want of use."""
        if self.session is not None and self._clock.monotonic() - self._used_s > SESSION_S:
            self.session = None
        return self.session

    def _log_on(self) -> pages.Json:
        if self.traps.foreign_session or self._living() is not None:
            raise Refused("Another session is active")
        self._sessions += 1
        self.session = f"s{self._sessions:07d}"
        self._used_s = self._clock.monotonic()
        return {"SESSION": [{"SessionID": self.session}]}

    def _check(self, given: str) -> None:
        self._told += 1
        forget = self.traps.forget_session_every
        if forget and self._told % forget == 0:
            self.session = None
        if not given or given != self._living():
            raise Refused("Invalid session id")
        self._used_s = self._clock.monotonic()

    # ------------------------------------------------------------ writing

    def _write(self, view: MinerView, command: str, parts: list[str]) -> pages.Json:
        if command == "logon":
            return self._log_on()
        if command == "logoff":
            if parts[0] != self._living():
                raise Refused("Invalid session id")
            self.session = None
            return {}
        self._check(parts[0])
        if not self.traps.settings_ignored:
            _WRITES[command](self, view, parts[1:])
        return {}

    def curtail(self, view: MinerView, words: list[str]) -> None:
        """`curtail sleep|wakeup`; lasts over a reboot."""
        mode = words[0] if words else ""
        if mode not in ("sleep", "wakeup"):
            raise Refused(f"Unknown mode {mode!r}")
        if self.curtailed == (mode == "sleep"):
            raise Refused("Miner is in this mode already")
        self.curtailed = mode == "sleep"
        if self.curtailed and view.state not in _IDLE:
            self.machine.stop()
        elif not self.curtailed and view.state in _IDLE:
            self.machine.start()

    def set_profile(self, view: MinerView, words: list[str]) -> None:
        """`profileset NAME`."""
        if self.atm:
            raise Refused("ATM must be disabled first")
        name = words[0] if words else ""
        if name not in {rung.name for rung in view.presets}:
            raise Refused(f"Profile {name!r} not found")
        self.machine.set_preset(name)

    def set_atm(self, _view: MinerView, words: list[str]) -> None:
        """`atmset enabled=BOOL`."""
        for word in words:
            key, _, value = word.partition("=")
            if key != "enabled" or value not in ("true", "false"):
                raise Refused(f"Unknown parameter {word!r}")
            self.atm = value == "true"

    def set_control(self, _view: MinerView, words: list[str]) -> None:
        """`tempctrlset TARGET,HOT,DANGEROUS`."""
        try:
            target, hot, dangerous = (float(word) for word in words)
        except ValueError as error:
            raise Refused("Three temperatures are needed") from error
        if not target < hot < dangerous:
            raise Refused("Target, hot and dangerous must rise")
        self.limits = (hot, dangerous)
        self.machine.set_cooling("auto", target)

    def switch_pool(self, view: MinerView, words: list[str]) -> None:
        """`switchpool NUMBER`."""
        if not words or not words[0].isdigit() or int(words[0]) > len(view.other_pools):
            raise Refused("Invalid pool id")
        self.machine.switch_pool(int(words[0]))

    def reboot(self, _view: MinerView, _words: list[str]) -> None:
        """`rebootdevice`; sessions do not survive it, sleep does."""
        self.session = None
        self.machine.reboot(3.0)
        if self.curtailed:
            self.machine.stop()


_WRITES: dict[str, Callable[[LuxosEmulator, MinerView, list[str]], None]] = {
    "logon": lambda _emulator, _view, _words: None,
    "logoff": lambda _emulator, _view, _words: None,
    "curtail": LuxosEmulator.curtail,
    "profileset": LuxosEmulator.set_profile,
    "atmset": LuxosEmulator.set_atm,
    "tempctrlset": LuxosEmulator.set_control,
    "switchpool": LuxosEmulator.switch_pool,
    "rebootdevice": LuxosEmulator.reboot,
}


def _board(view: MinerView, parts: list[str]) -> int:
    if not parts[0].isdigit() or int(parts[0]) >= len(view.boards):
        raise Refused("Invalid board id")
    return int(parts[0])
