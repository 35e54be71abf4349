"""One emulated Blueprint OS machine: copy me. Its HTTP API in front of an `EmulatedMiner`.

The emulator owns what is the vendor's (pages, units, keys, refusals, misbehaviour); the machine behind it
owns physics and mining state and knows nothing of HTTP. Adapters never import this file.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Answer, Stop, WebEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, Object, amount, as_object, flag
from shared.clock import Clock
from shared.telemetry import MinerState

_WORDS = {MinerState.STOPPED: "sleeping", MinerState.FAILURE: "broken"}
_HASHING = (MinerState.MINING, MinerState.AUTO_TUNING)


class Traps(WireTraps, frozen=True, kw_only=True):
    """How this firmware misbehaves, beside what any machine does on the wire."""

    commands_ignored: bool = False
    """Commands say 200 and change nothing."""
    sensors_absent: bool = False
    """Temperatures read 0."""


class BlueprintEmulator(WebEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self, machine: EmulatedMiner, *, clock: Clock, key: str = "blueprint", traps: Traps | None = None
    ) -> None:
        super().__init__(machine, clock=clock)
        self.traps = traps or Traps()
        self._key = key

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
        del address
        if self.traps.garbage:
            return Answer(HTTPStatus.OK, b"<html>\xff 502")
        try:
            return self._page(view, method, path, headers, body)
        except Stop as stop:
            return stop.answer

    def _page(
        self, view: MinerView, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        if (method, path) == ("GET", "/status"):
            return Answer(HTTPStatus.OK, msgspec.json.encode(self._status(view)))
        if method != "POST" or path not in ("/mining", "/power"):
            raise Stop(HTTPStatus.NOT_FOUND)
        if headers.get("X-Key") != self._key:
            raise Stop(HTTPStatus.UNAUTHORIZED)
        if not self.traps.commands_ignored:
            self._command(view, path, _object(body))
        return Answer(HTTPStatus.OK, b'{"accepted":true}')

    def _status(self, view: MinerView) -> Object:
        known = not self.traps.sensors_absent
        return {
            "firmware": "Blueprint 1.0",
            "model": view.model,
            "mac": view.mac,
            "state": _WORDS.get(view.state, "hashing" if view.state in _HASHING else "booting"),
            "hashrate_mhs": view.hashrate_ths * 1e6,
            "watts": round(view.power_w),
            "boards": [
                {
                    "chip_c": board.chip_temp_max_c if known and board.chip_temp_max_c else 0,
                    "board_c": board.board_temp_max_c if known and board.board_temp_max_c else 0,
                }
                for board in view.boards
            ],
            "fans": [{"rpm": round(fan.rpm)} for fan in view.fans],
            "uptime_min": int(view.uptime_s // 60),
            "power_level": round(view.throttle_pct),
        }

    def _command(self, view: MinerView, path: str, sent: Object) -> None:
        run, level = flag(sent, "run"), amount(sent, "level")
        if path == "/mining" and run is not None:
            if run is view.state.draws_power:
                raise Stop(HTTPStatus.CONFLICT)
            self.machine.start() if run else self.machine.stop()
        elif path == "/power" and level is not None and 50 <= level <= 100:
            self.machine.throttle(level)
        else:
            raise Stop(HTTPStatus.BAD_REQUEST)


def _object(body: bytes) -> Object:
    try:
        return as_object(msgspec.json.decode(body)) or {}
    except NOT_JSON as error:
        raise Stop(HTTPStatus.BAD_REQUEST) from error
