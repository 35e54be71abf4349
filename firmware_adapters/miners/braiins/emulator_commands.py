"""The commands of an emulated Braiins OS machine, and what it remembers of them."""

from http import HTTPStatus

from firmware_adapters.miners.braiins import emulator_pages as pages
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Stop
from firmware_adapters.miners.fields import amount, as_object, child
from shared.telemetry import MinerState

_IDLE = (MinerState.STOPPED, MinerState.FAILURE)


class Commands:
    """What PUT does. `sent` is the decoded body; each method's result is the body of the reply."""

    def __init__(self, machine: EmulatedMiner) -> None:
        self._machine = machine
        self.conflict_is_500 = False
        """See `Traps.conflict_is_500`."""
        self.paused = False
        """The mining process stands by; it does run."""
        self.cooling: pages.Json = {
            "auto": {
                "target_temperature": {"degree_c": 60.0},
                "hot_temperature": {"degree_c": 80.0},
                "dangerous_temperature": {"degree_c": 90.0},
            }
        }

    def stop(self, view: MinerView, _sent: object) -> object:
        """PUT actions/stop."""
        already = self._already(view.state in _IDLE and not self.paused)
        if view.state not in _IDLE:
            self._machine.stop()
        self.paused = False
        return already

    def pause(self, view: MinerView, _sent: object) -> object:
        """PUT actions/pause; needs a mining process."""
        if self._already(self.paused and view.state in _IDLE):
            return True
        if view.state in _IDLE:
            raise refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the mining process does not run")
        self.paused = True
        self._machine.pause()
        return False

    def start(self, view: MinerView, _sent: object) -> object:
        """PUT actions/start; a process that is paused does run."""
        already = self._already(view.state not in _IDLE or self.paused)
        if not already:
            self._machine.start()
        return already

    def resume(self, view: MinerView, _sent: object) -> object:
        """PUT actions/resume; needs a mining process."""
        if self._already(view.state not in _IDLE):
            return True
        if not self.paused:
            raise refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the mining process does not run")
        self.paused = False
        self._machine.resume()
        return False

    def _already(self, conflict: bool) -> bool:  # noqa: FBT001 - reads as a sentence at its callers
        if conflict and self.conflict_is_500:
            raise refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the machine is already in that state")
        return conflict

    def restart(self, _view: MinerView, _sent: object) -> object:
        """PUT actions/restart."""
        self.paused = False
        self._machine.restart()
        return None

    def reboot(self, _view: MinerView, _sent: object) -> object:
        """PUT actions/reboot; its tokens are the emulator's to forget."""
        self.paused = False
        self._machine.reboot(3.0)
        return None

    def locate(self, _view: MinerView, sent: object) -> object:
        """PUT actions/locate with a bare truth value."""
        if not isinstance(sent, bool):
            raise refusal(HTTPStatus.BAD_REQUEST, "expected true or false")
        self._machine.locate(on=sent)
        return sent

    def power_target(self, view: MinerView, sent: object) -> object:
        """PUT performance/power-target."""
        watts = amount(as_object(sent), "watt")
        low_w, high_w = power_range(view)
        if watts is None or not low_w <= watts <= high_w:
            raise refusal(HTTPStatus.BAD_REQUEST, f"power target must be between {low_w:g} and {high_w:g} W")
        below = [rung for rung in view.presets if rung.tuned and rung.power_w <= watts]
        rung = max(below, key=lambda rung: rung.power_w, default=None)
        if rung is not None and rung.name != view.preset:
            self._machine.set_preset(rung.name)
        self._machine.set_power_limit(watts)
        return {"watt": round(watts)}

    def cooling_mode(self, _view: MinerView, sent: object) -> object:
        """PUT cooling/mode: one of the modes with its settings; whole, so what is left out is forgotten."""
        auto, manual = child(as_object(sent), "auto"), child(as_object(sent), "manual")
        target_c, ratio = amount(auto, "target_temperature", "degree_c"), amount(manual, "fan_speed_ratio")
        if auto is not None and target_c is not None:
            self.cooling = {"auto": auto}
            self._machine.set_cooling("auto", target_c)
        elif manual is not None and ratio is not None and ratio <= 1:
            self.cooling = {"manual": manual}
            self._machine.set_cooling("manual", 100.0 * ratio)
        else:
            raise refusal(HTTPStatus.BAD_REQUEST, "expected auto with a target, or manual with a ratio")
        return self.cooling


def power_range(view: MinerView) -> tuple[float, float]:
    """From the lowest to the highest rung that is tuned; without a ladder, from a third of what it draws."""
    watts = [rung.power_w for rung in view.presets if rung.tuned]
    if not watts:
        return round(view.power_w / 3), round(max(view.power_w, 1.0))
    return min(watts), max(watts)


def refusal(status: HTTPStatus, words: str) -> Stop:
    return Stop(status, {"message": words})
