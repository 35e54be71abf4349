"""One emulated Whatsminer with API v3 in front of an `EmulatedMiner`: frames, open reads, signed writes.

`answer` is the whole behaviour without a socket. Facts: miners.md §2; shapes as other clients read them.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable

import msgspec

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import SocketEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, as_number
from firmware_adapters.miners.whatsminer.emulator import RATED_LIMIT_W
from firmware_adapters.miners.whatsminer_v3 import emulator_pages as pages
from firmware_adapters.miners.whatsminer_v3.emulator_pages import Json
from firmware_adapters.miners.whatsminer_v3.emulator_traps import Traps
from shared.clock import Clock
from shared.telemetry import MinerState

_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_MOST = 64 * 1024
_TOKEN_AGE_S = 120
"""A token of another time is refused: somebody may have copied it [default]."""
_Write = Callable[["WhatsminerV3Emulator", MinerView, object], bool]


class WhatsminerV3Emulator(SocketEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        password: str = "super",  # noqa: S107 - the vendor's default is what real machines answer to
        salt: str = "BQ5hoXV9",
        traps: Traps | None = None,
    ) -> None:
        super().__init__(machine, clock=clock)
        self.traps = traps or Traps()
        self.password = password
        self._salt = salt
        self.asked: list[str] = []
        """Every command that came."""

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    async def _read_request(self, reader: asyncio.StreamReader) -> bytes:
        length = int.from_bytes(await reader.readexactly(4), "little")
        return await reader.readexactly(min(length, _MOST))

    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        said = self.answer(raw, view)
        return len(said).to_bytes(4, "little") + said

    def answer(self, raw: bytes, view: MinerView | None = None) -> bytes:
        """What the machine says to one request, without frame and socket."""
        try:
            request = msgspec.json.decode(raw)
        except NOT_JSON:
            request = None
        if not isinstance(request, dict):
            return self._say(-3, "invalid json", "")
        command = str(request.get("cmd"))
        self.asked.append(command)
        return self._obey(view or self.machine.view(), command, request)

    def _obey(self, view: MinerView, command: str, request: Json) -> bytes:
        if command in ("get.device.info", "get.miner.status"):
            found = self._page(view, command, str(request.get("param", "")))
            return self._say(0, found, command) if found else self._say(-1, "fail", command)
        write = _WRITES.get(command)
        if write is None:
            return self._say(-2, "invalid command", command)
        if self.traps.writes_closed or not self._signed(request, command):
            return self._say(-4, "permission denied", command)
        if self.traps.writes_ignored or write(self, view, request.get("param")):
            return self._say(0, "ok", command)
        return self._say(-1, "fail", command)

    def _page(self, view: MinerView, command: str, parameter: str) -> Json:
        limit_w = view.power_limit_w if view.power_limit_w is not None else RATED_LIMIT_W
        if command == "get.device.info":
            whole = pages.device_info(view, limit_w, self._salt, self.traps.errors)
            return {parameter: whole[parameter]} if parameter in whole else whole
        if self.traps.silent_when_off and view.state in _IDLE and parameter != "pools":
            return {}
        match parameter:
            case "summary":
                return {"summary": pages.summary(view, limit_w)}
            case "edevs":
                return {"edevs": pages.boards(view)}
            case "pools":
                return {"pools": pages.pools(view)}
            case _:
                return {}

    def _signed(self, request: Json, command: str) -> bool:
        at_s = request.get("ts")
        if not isinstance(at_s, int) or abs(at_s - self._now_s()) > _TOKEN_AGE_S:
            return False
        hashed = hashlib.sha256()
        for part in (command, self.password, self._salt, str(at_s)):
            hashed.update(part.encode())
        right = base64.b64encode(hashed.digest())[:8].decode()
        return request.get("account") == "super" and request.get("token") == right

    # ------------------------------------------------------------ writes

    def service(self, view: MinerView, parameter: object) -> bool:
        """set.miner.service: start, stop or restart."""
        idle = view.state in _IDLE
        match parameter:
            case "stop":
                if not idle:
                    self.machine.stop()
            case "start":
                if idle:
                    self.machine.start()
            case "restart":
                self.machine.restart()
            case _:
                return False
        return True

    def power_limit(self, view: MinerView, parameter: object) -> bool:
        """set.miner.power_limit: hold at most so many watts; mining restarts."""
        watts = as_number(parameter)
        if watts is None or not 0 < watts <= 99_999:
            return False
        self.machine.set_power_limit(watts)
        if view.state not in _IDLE:
            self.machine.restart()
        return True

    def power_percent(self, view: MinerView, parameter: object) -> bool:
        """set.miner.power_percent: only while it mines."""
        percent = as_number(parameter.get("percent")) if isinstance(parameter, dict) else None
        if percent is None or not 20 <= percent <= 100 or view.state in _IDLE:
            return False
        self.machine.throttle(percent)
        return True

    def reboot(self, _view: MinerView, _parameter: object) -> bool:
        """set.system.reboot."""
        self.machine.reboot(3.0)
        return True

    # ------------------------------------------------------------ small

    def _now_s(self) -> int:
        """The machine's own clock."""
        return int(self._clock.utc_ms() / 1000 + self.traps.clock_ahead_s)

    def _say(self, code: int, message: object, command: str) -> bytes:
        return msgspec.json.encode({"code": code, "when": self._now_s(), "msg": message, "desc": command})


_WRITES: dict[str, _Write] = {
    "set.miner.service": WhatsminerV3Emulator.service,
    "set.miner.power_limit": WhatsminerV3Emulator.power_limit,
    "set.miner.power_percent": WhatsminerV3Emulator.power_percent,
    "set.system.reboot": WhatsminerV3Emulator.reboot,
}
