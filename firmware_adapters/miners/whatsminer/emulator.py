"""One emulated Whatsminer with API v2: open reads, encrypted writes, in front of an `EmulatedMiner`.

`answer` is the whole behaviour without a socket. Facts: miners.md §2 and recorded replies; what a write says
that does not fit the state is not known, and taken to be an acceptance without an effect.
"""

from collections.abc import Callable

import msgspec

from firmware_adapters.miners import emulator_pools
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import SocketEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, as_number
from firmware_adapters.miners.whatsminer import emulator_pages as pages
from firmware_adapters.miners.whatsminer.emulator_cipher import Vault
from firmware_adapters.miners.whatsminer.emulator_pages import Json
from firmware_adapters.miners.whatsminer.emulator_traps import Traps
from shared.clock import Clock
from shared.telemetry import MinerState

RATED_LIMIT_W = 3600.0
"""The limit that a machine holds which was never given another [default]."""
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_OK, _REFUSED, _UNKNOWN, _UNREADABLE, _DENIED, _TOKEN, _BAD_TOKEN, _NO_TOKEN = (
    131,
    132,
    14,
    23,
    45,
    134,
    135,
    136,
)
_Page = Callable[["WhatsminerEmulator", MinerView], Json]
_Write = Callable[["WhatsminerEmulator", MinerView, Json], bool]


class WhatsminerEmulator(SocketEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        password: str = "admin",  # noqa: S107 - the vendor's default is what real machines answer to
        traps: Traps | None = None,
    ) -> None:
        super().__init__(machine, clock=clock)
        self.traps = traps or Traps()
        self.vault = Vault(password, clock)
        self.mode = "normal"
        self.asked: list[str] = []
        """Every command that came, encrypted or not."""

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def answer(self, raw: bytes) -> bytes:
        """What the machine says to one raw request, without a socket."""
        return self._reply(self.machine.view(), raw)

    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        request = _object(raw)
        if request is None:
            return self._say(_UNREADABLE, "invalid json", status="E")
        if request.get("enc") == 1:
            return self._write(view, request.get("data"))
        command = str(request.get("command", request.get("cmd")))
        self.asked.append(command)
        if command == "get_token":
            return self._token()
        if command == "get_error_code" and self.traps.broken_error_list:
            return self._broken_errors()
        page = _PAGES.get(command)
        if page is not None and not self._lacks(command, view):
            return msgspec.json.encode(page(self, view)) + b"\0"
        code, words = (_DENIED, "can't access write cmd") if command in _WRITES else (_UNKNOWN, "invalid cmd")
        return self._say(code, words, status="E")

    def _lacks(self, command: str, view: MinerView) -> bool:
        if self.traps.early and command in ("status", "edevs", "get_miner_info"):
            return True
        off = self.traps.silent_when_off and view.state in _IDLE
        return off and command in ("summary", "devs", "edevs")

    # ------------------------------------------------------------ reading

    def summary(self, view: MinerView) -> Json:
        """`summary`."""
        item = pages.summary(view, self._limit_w(view), self.mode)
        return pages.listed("SUMMARY", [item], 11, self._now_s())

    def devices(self, view: MinerView) -> Json:
        """`devs` and `edevs`."""
        return pages.listed("DEVS", pages.devices(view), 9, self._now_s())

    def details(self, view: MinerView) -> Json:
        """`devdetails`."""
        return pages.listed("DEVDETAILS", pages.details(view), 69, self._now_s())

    def pools(self, view: MinerView) -> Json:
        """`pools`."""
        return pages.listed("POOLS", emulator_pools.pools(view, self._now_s(), first=1), 7, self._now_s())

    def status(self, view: MinerView) -> Json:
        """`status`."""
        return pages.told(_OK, pages.status(view, self._limit_w(view), self.mode), self._now_s())

    def psu(self, view: MinerView) -> Json:
        """`get_psu`."""
        return pages.told(_OK, pages.psu(view), self._now_s())

    def version(self, _view: MinerView) -> Json:
        """`get_version`."""
        said = {"api_ver": "2.0.5", "fw_ver": pages.FIRMWARE, "platform": "H616"}
        return pages.told(_OK, said, self._now_s())

    def about(self, view: MinerView) -> Json:
        """`get_miner_info`."""
        led = "manual" if view.locating else "auto"
        said = {"hostname": view.hostname, "ledstat": led, "mac": view.mac, "minersn": view.serial}
        return pages.told(_OK, said, self._now_s())

    def errors(self, _view: MinerView) -> Json:
        """`get_error_code`."""
        codes = pages.errors(self.traps.errors, broken=False)
        return pages.told(_OK, {"error_code": codes}, self._now_s())

    def _broken_errors(self) -> bytes:
        codes = pages.errors(self.traps.errors, broken=True)
        return f'{{"STATUS":"S","When":{self._now_s()},"Code":131,"Msg":{{"error_code":{codes}}}}}'.encode()

    # ------------------------------------------------------------ writes

    def _token(self) -> bytes:
        told = None if self.traps.no_tokens else self.vault.hand_out()
        if told is None:
            return self._say(_NO_TOKEN, "over max connect", status="E")
        return self._say(_TOKEN, told)

    def _write(self, view: MinerView, data: object) -> bytes:
        command = self.vault.open(data)
        if command is None:
            return self._say(_UNREADABLE, "enc json load err", status="E")
        name = str(command.get("cmd"))
        self.asked.append(name)
        if self.traps.writes_closed:
            return self._say(_DENIED, "can't access write cmd", status="E")
        if not self.vault.knows(command.get("token")):
            return self._say(_BAD_TOKEN, "check token error", status="E")
        if self.traps.tokens_die:
            self.vault.tokens = []
        write = _WRITES.get(name)
        if write is None:
            return self._sealed(_UNKNOWN, "invalid cmd", status="E")
        if self.traps.writes_ignored or write(self, view, command):
            return self._sealed(_OK, "API command OK")
        return self._sealed(_REFUSED, "API command ERROR", status="E")

    def power_off(self, view: MinerView, _sent: Json) -> bool:
        """power_off: stop hashing."""
        if view.state not in _IDLE:
            self.machine.stop()
        return True

    def power_on(self, view: MinerView, _sent: Json) -> bool:
        """power_on: hash again."""
        if view.state in _IDLE:
            self.machine.start()
        return True

    def adjust_power_limit(self, view: MinerView, sent: Json) -> bool:
        """adjust_power_limit: hold at most so many watts; mining restarts."""
        watts = as_number(sent.get("power_limit"))
        if watts is None or not 0 < watts <= 99_999:
            return False
        self.machine.set_power_limit(watts)
        if view.state not in _IDLE:
            self.machine.restart()
        return True

    def set_power_pct(self, view: MinerView, sent: Json) -> bool:
        """set_power_pct: only while it mines."""
        percent = as_number(sent.get("percent"))
        if percent is None or not 20 <= percent <= 100 or view.state in _IDLE:
            return False
        self.machine.throttle(percent)
        return True

    def reboot(self, _view: MinerView, _sent: Json) -> bool:
        """reboot: tokens do not survive it."""
        self.vault.tokens = []
        self.machine.reboot(3.0)
        return True

    def set_led(self, _view: MinerView, sent: Json) -> bool:
        """set_led: `auto`, or a colour to flash in."""
        self.machine.locate(on=sent.get("param") != "auto")
        return True

    # ------------------------------------------------------------ small

    def _now_s(self) -> int:
        return int(self._clock.utc_ms() / 1000)

    def _limit_w(self, view: MinerView) -> float:
        return view.power_limit_w if view.power_limit_w is not None else RATED_LIMIT_W

    def _say(self, code: int, message: object, *, status: str = "S") -> bytes:
        return msgspec.json.encode(pages.told(code, message, self._now_s(), status=status))

    def _sealed(self, code: int, message: object, *, status: str = "S") -> bytes:
        return msgspec.json.encode(
            {"enc": self.vault.close(self._say(code, message, status=status)).decode()}
        )


_PAGES: dict[str, _Page] = {
    "summary": WhatsminerEmulator.summary,
    "devs": WhatsminerEmulator.devices,
    "edevs": WhatsminerEmulator.devices,
    "devdetails": WhatsminerEmulator.details,
    "pools": WhatsminerEmulator.pools,
    "status": WhatsminerEmulator.status,
    "get_psu": WhatsminerEmulator.psu,
    "get_version": WhatsminerEmulator.version,
    "get_miner_info": WhatsminerEmulator.about,
    "get_error_code": WhatsminerEmulator.errors,
}
_WRITES: dict[str, _Write] = {
    "power_off": WhatsminerEmulator.power_off,
    "power_on": WhatsminerEmulator.power_on,
    "adjust_power_limit": WhatsminerEmulator.adjust_power_limit,
    "set_power_pct": WhatsminerEmulator.set_power_pct,
    "reboot": WhatsminerEmulator.reboot,
    "set_led": WhatsminerEmulator.set_led,
}


def _object(raw: bytes) -> Json | None:
    try:
        found = msgspec.json.decode(raw.strip(b"\x00\r\n "))
    except NOT_JSON:
        return None
    return found if isinstance(found, dict) else None
