"""One emulated Avalon in front of an `EmulatedMiner`: cgminer's socket with Canaan's brackets.

`answer` is the whole behaviour without a socket. Facts: miners.md §2 and a recorded Avalon Q. A switch is
done when the machine's own clock shows its time, at once if that is soon. One for a time that has passed is
refused; how a real machine takes one is not known, so none is sent.
"""

import msgspec

from firmware_adapters.miners import emulator_pools
from firmware_adapters.miners.avalon import emulator_pages as pages
from firmware_adapters.miners.avalon.emulator_pages import Json
from firmware_adapters.miners.avalon.emulator_traps import Traps
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import SocketEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON
from shared.clock import Clock
from shared.telemetry import MinerState

_SOON_S = 30
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)


class AvalonEmulator(SocketEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(self, machine: EmulatedMiner, *, clock: Clock, traps: Traps | None = None) -> None:
        super().__init__(machine, clock=clock)
        self.traps = traps or Traps()
        self.asked: list[str] = []
        """Every command that came, with its parameter."""
        self._later: dict[str, int] = {}
        """Switches whose time has not come, with that time by its own clock."""

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def answer(self, raw: bytes) -> bytes:
        """What the machine says to one raw request, without a socket."""
        return self._reply(self.machine.view(), raw)

    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        for word in [word for word, at_s in self._later.items() if at_s <= self._now_s()]:
            del self._later[word]
            self._turn(view, word)
            view = self.machine.view()
        try:
            request = msgspec.json.decode(raw.strip(b"\x00\r\n "))
        except NOT_JSON:
            request = None
        if not isinstance(request, dict):
            return _encoded(pages.said("Invalid JSON", 23, self._now_s(), status="E"))
        command, parameter = str(request.get("command")), str(request.get("parameter", ""))
        self.asked.append(f"{command} {parameter}".strip())
        if command == "ascset":
            return self._set(view, parameter)
        page = self._page(view, command)
        return _encoded(page or pages.said("Invalid command", 14, self._now_s(), status="E"))

    def _page(self, view: MinerView, command: str) -> Json | None:
        now_s = self._now_s()
        match command:
            case "version":
                return {**pages.said("CGMiner versions", 22, now_s), "VERSION": [pages.version(view)]}
            case "summary":
                return {**pages.said("Summary", 11, now_s), "SUMMARY": [pages.summary(view)]}
            case "estats" | "stats" if command == "stats" or not self.traps.no_estats:
                items = pages.stats(view, self._mode(view), self.traps.errors)
                return {**pages.said("CGMiner stats", 70, now_s), "STATS": items}
            case "pools":
                return {
                    **pages.said("Pool(s)", 7, now_s),
                    "POOLS": emulator_pools.pools(view, now_s, first=0),
                }
            case _:
                return None

    def _set(self, view: MinerView, parameter: str) -> bytes:
        """`ascset`: what is done is answered by closing."""
        if self.traps.refuses:
            return _encoded(pages.said("ASC 0 set failed", 120, self._now_s(), status="E"))
        _, _, words = parameter.partition(",")
        if not self.traps.writes_ignored and not self._do(view, words):
            return _encoded(pages.said("ASC 0 set failed: unknown option", 120, self._now_s(), status="E"))
        return _encoded(pages.said("ASC 0 set OK", 119, self._now_s())) if self.traps.says_something else b""

    def _do(self, view: MinerView, words: str) -> bool:
        match words.split(","):
            case ["softoff" | "softon" as word, when]:
                return self._switch(view, word, when)
            case ["reboot", _]:
                self.machine.reboot(0.0)
            case ["workmode", "set", number] if number.isdecimal() and int(number) < len(view.presets):
                self.machine.set_preset(view.presets[int(number)].name)
            case _:
                return False
        return True

    def _switch(self, view: MinerView, word: str, when: str) -> bool:
        kind, _, at_s = when.partition(":")
        if kind != "1" or not at_s.isdecimal() or int(at_s) < self._now_s():
            return False
        if int(at_s) > self._now_s() + _SOON_S:
            self._later[word] = int(at_s)
        else:
            self._turn(view, word)
        return True

    def _turn(self, view: MinerView, word: str) -> None:
        idle = view.state in _IDLE
        if word == "softoff" and not idle:
            self.machine.stop()
        if word == "softon" and idle:
            self.machine.start()

    def _mode(self, view: MinerView) -> int:
        """Modes are numbered as the machine's rungs stand; 0 where it runs on none."""
        names = [rung.name for rung in view.presets]
        return names.index(view.preset) if view.preset in names else 0

    def _now_s(self) -> int:
        """The machine's own clock."""
        return int(self._clock.utc_ms() / 1000 + self.traps.clock_ahead_s)


def _encoded(page: Json) -> bytes:
    return msgspec.json.encode(page) + b"\0"
