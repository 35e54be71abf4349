"""One emulated Braiins OS machine: its REST API in front of an `EmulatedMiner`.

What is the vendor's stays here: tokens, cooling thresholds, the difference between paused and not started.
The power target becomes a limit of the machine behind and the highest rung that fits below it, because a
target is gone up to as well as down.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from firmware_adapters.miners.braiins import emulator_pages as pages
from firmware_adapters.miners.braiins.emulator_traps import Traps
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Answer, Stop, WebEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, amount, as_object, child
from shared.clock import Clock
from shared.telemetry import MinerState

API = "/api/v1/"
TOKEN_LIFETIME_S = 3600
_MINOR = {"25.07": 0, "25.11": 1}
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_CLOSED_WHEN_STOPPED = ("miner/stats", "miner/hw/hashboards", "performance/tuner-state")

__all__ = ["BraiinsEmulator", "Traps"]

Route = Callable[["BraiinsEmulator", MinerView, object], object]


class BraiinsEmulator(WebEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        version: str = "25.11",
        username: str = "root",
        password: str = "",
        traps: Traps | None = None,
    ) -> None:
        super().__init__(machine, clock=clock)
        self.version = version
        self.traps = traps or Traps()
        self.cooling: pages.Json = {
            "auto": {
                "target_temperature": {"degree_c": 60.0},
                "hot_temperature": {"degree_c": 80.0},
                "dangerous_temperature": {"degree_c": 90.0},
            }
        }
        self.logins = 0
        self._username, self._password = username, password
        self._tokens: dict[str, float] = {}
        self._authenticated = 0
        self._paused = False

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def drop_sessions(self) -> None:
        """Forget all tokens, as a reboot does."""
        self._tokens.clear()

    def _answer(
        self,
        view: MinerView,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        address: str,
    ) -> Answer:
        path = path.partition("?")[0]
        if method == "GET" and path == "/":
            return Answer(HTTPStatus.OK, b"<!doctype html><title>Braiins OS</title>", kind="text/html")
        try:
            page = self._page(view, method, path, headers, _decoded(body), address)
        except Stop as stop:
            return stop.answer
        if self.traps.garbage:
            return Answer(HTTPStatus.OK, b"<html>\xff 502")
        return Answer(HTTPStatus.OK, msgspec.json.encode(page))

    def _page(
        self,
        view: MinerView,
        method: str,
        path: str,
        headers: Mapping[str, str],
        sent: object,
        address: str,
    ) -> object:
        if not path.startswith(API):
            raise _refusal(HTTPStatus.NOT_FOUND, "not found")
        if self.traps.too_many:
            raise _refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
        name = path.removeprefix(API).rstrip("/")
        if (method, name) == ("POST", "auth/login"):
            return self._login(sent)
        if (method, name) == ("GET", "version"):
            return {"major": self.traps.api_major, "minor": _MINOR.get(self.version, 1), "patch": 0}
        self._check_token(headers)
        if name in _CLOSED_WHEN_STOPPED and self.traps.closed_when_stopped and self._not_started(view):
            raise _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the mining process does not run")
        if (method, name) == ("GET", "network"):
            return pages.network(view, address)
        route = _ROUTES.get((method, name))
        if route is None:
            known = any(known == name for _, known in _ROUTES)
            raise _refusal(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND, "no such route")
        if method == "PUT" and self.traps.settings_ignored:
            return None
        return route(self, view, sent)

    def _not_started(self, view: MinerView) -> bool:
        return pages.status(view, paused=self._paused) == pages.NOT_STARTED

    # ------------------------------------------------------------ login

    def _login(self, sent: object) -> object:
        page = as_object(sent)
        given = (page or {}).get("username"), (page or {}).get("password")
        if given != (self._username, self._password):
            raise _refusal(HTTPStatus.UNAUTHORIZED, "invalid user name or password")
        self.logins += 1
        token = secrets.token_hex(8)
        self._tokens[token] = self._clock.monotonic() + TOKEN_LIFETIME_S
        return {"token": token, "timeout_s": TOKEN_LIFETIME_S}

    def _check_token(self, headers: Mapping[str, str]) -> None:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        until_s = self._tokens.get(token)
        if until_s is None or self._clock.monotonic() >= until_s:
            raise _refusal(HTTPStatus.UNAUTHORIZED, "no valid token")
        self._authenticated += 1
        every = self.traps.drop_session_every
        if every and self._authenticated % every == 0:
            self.drop_sessions()
            raise _refusal(HTTPStatus.UNAUTHORIZED, "token expired")

    # ------------------------------------------------------------ reading

    def details(self, view: MinerView, _sent: object) -> object:
        """GET miner/details."""
        return pages.details(view, self.version, paused=self._paused)

    def stats(self, view: MinerView, _sent: object) -> object:
        """GET miner/stats."""
        return pages.stats(view, self._last_share_ms(view), quiet=self.traps.quiet)

    def errors(self, view: MinerView, _sent: object) -> object:
        """GET miner/errors."""
        when = datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
        return pages.errors(view, when.isoformat().replace("+00:00", "Z"))

    def hashboards(self, view: MinerView, _sent: object) -> object:
        """GET miner/hw/hashboards."""
        return pages.hashboards(view, quiet=self.traps.quiet)

    def cooling_state(self, view: MinerView, _sent: object) -> object:
        """GET cooling/state."""
        return pages.cooling_state(view, quiet=self.traps.quiet)

    def tuner_state(self, view: MinerView, _sent: object) -> object:
        """GET performance/tuner-state."""
        return pages.tuner_state(view, self._target(view))

    def configuration(self, view: MinerView, _sent: object) -> object:
        """GET configuration/miner."""
        return pages.configuration(self._target(view), self.cooling)

    def constraints(self, view: MinerView, _sent: object) -> object:
        """GET configuration/constraints."""
        if self.traps.no_constraints:
            raise _refusal(HTTPStatus.NOT_FOUND, "no such route")
        return pages.constraints(_power_range(view), self._target(view))

    def pools(self, view: MinerView, _sent: object) -> object:
        """GET pools."""
        return pages.pools(view, self._last_share_ms(view))

    def _target(self, view: MinerView) -> float:
        if view.power_limit_w is not None:
            return view.power_limit_w
        rung = next((rung for rung in view.presets if rung.name == view.preset), None)
        return rung.power_w if rung is not None else view.power_w

    def _last_share_ms(self, view: MinerView) -> int | None:
        """By the machine's clock, which is ours and `traps.clock_skew_s`."""
        if view.last_share_age_s is None:
            return None
        return self._clock.utc_ms() + round(1000 * (self.traps.clock_skew_s - view.last_share_age_s))

    # ------------------------------------------------------------ commands

    def stop(self, view: MinerView, _sent: object) -> object:
        """PUT actions/stop."""
        already = self._already(view.state in _IDLE and not self._paused)
        if view.state not in _IDLE:
            self.machine.stop()
        self._paused = False
        return already

    def pause(self, view: MinerView, _sent: object) -> object:
        """PUT actions/pause; needs a mining process."""
        if self._already(self._paused and view.state in _IDLE):
            return True
        if view.state in _IDLE:
            raise _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the mining process does not run")
        self._paused = True
        self.machine.pause()
        return False

    def start(self, view: MinerView, _sent: object) -> object:
        """PUT actions/start; a process that is paused does run."""
        already = self._already(view.state not in _IDLE or self._paused)
        if not already:
            self.machine.start()
        return already

    def resume(self, view: MinerView, _sent: object) -> object:
        """PUT actions/resume; needs a mining process."""
        if self._already(view.state not in _IDLE):
            return True
        if not self._paused:
            raise _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the mining process does not run")
        self._paused = False
        self.machine.resume()
        return False

    def _already(self, conflict: bool) -> bool:  # noqa: FBT001 - reads as a sentence at its callers
        if conflict and self.traps.conflict_is_500:
            raise _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the machine is already in that state")
        return conflict

    def restart(self, _view: MinerView, _sent: object) -> object:
        """PUT actions/restart."""
        self._paused = False
        self.machine.restart()
        return None

    def reboot(self, _view: MinerView, _sent: object) -> object:
        """PUT actions/reboot; tokens do not survive it."""
        self._paused = False
        self.drop_sessions()
        self.machine.reboot(3.0)
        return None

    def locating(self, view: MinerView, _sent: object) -> object:
        """GET actions/locate: a bare truth value."""
        return view.locating

    def locate(self, _view: MinerView, sent: object) -> object:
        """PUT actions/locate with a bare truth value."""
        if not isinstance(sent, bool):
            raise _refusal(HTTPStatus.BAD_REQUEST, "expected true or false")
        self.machine.locate(on=sent)
        return sent

    def power_target(self, view: MinerView, sent: object) -> object:
        """PUT performance/power-target."""
        watts = amount(as_object(sent), "watt")
        low_w, high_w = _power_range(view)
        if watts is None or not low_w <= watts <= high_w:
            raise _refusal(HTTPStatus.BAD_REQUEST, f"power target must be between {low_w:g} and {high_w:g} W")
        below = [rung for rung in view.presets if rung.tuned and rung.power_w <= watts]
        rung = max(below, key=lambda rung: rung.power_w, default=None)
        if rung is not None and rung.name != view.preset:
            self.machine.set_preset(rung.name)
        self.machine.set_power_limit(watts)
        return {"watt": round(watts)}

    def cooling_mode(self, _view: MinerView, sent: object) -> object:
        """PUT cooling/mode: one of the modes with its settings; whole, so what is left out is forgotten."""
        auto, manual = child(as_object(sent), "auto"), child(as_object(sent), "manual")
        target_c, ratio = amount(auto, "target_temperature", "degree_c"), amount(manual, "fan_speed_ratio")
        if auto is not None and target_c is not None:
            self.cooling = {"auto": auto}
            self.machine.set_cooling("auto", target_c)
        elif manual is not None and ratio is not None and ratio <= 1:
            self.cooling = {"manual": manual}
            self.machine.set_cooling("manual", 100.0 * ratio)
        else:
            raise _refusal(HTTPStatus.BAD_REQUEST, "expected auto with a target, or manual with a ratio")
        return self.cooling


def _power_range(view: MinerView) -> tuple[float, float]:
    """From the lowest to the highest rung that is tuned; without a ladder, from a third of what it draws."""
    watts = [rung.power_w for rung in view.presets if rung.tuned]
    if not watts:
        return round(view.power_w / 3), round(max(view.power_w, 1.0))
    return min(watts) / 2, max(watts)


def _refusal(status: HTTPStatus, words: str) -> Stop:
    return Stop(status, {"message": words})


def _decoded(body: bytes) -> object:
    if not body:
        return None
    try:
        found: object = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise _refusal(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from error
    return found


_ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "miner/details"): BraiinsEmulator.details,
    ("GET", "miner/stats"): BraiinsEmulator.stats,
    ("GET", "miner/errors"): BraiinsEmulator.errors,
    ("GET", "miner/hw/hashboards"): BraiinsEmulator.hashboards,
    ("GET", "cooling/state"): BraiinsEmulator.cooling_state,
    ("GET", "performance/tuner-state"): BraiinsEmulator.tuner_state,
    ("GET", "configuration/miner"): BraiinsEmulator.configuration,
    ("GET", "configuration/constraints"): BraiinsEmulator.constraints,
    ("GET", "pools"): BraiinsEmulator.pools,
    ("GET", "actions/locate"): BraiinsEmulator.locating,
    ("PUT", "actions/locate"): BraiinsEmulator.locate,
    ("PUT", "actions/stop"): BraiinsEmulator.stop,
    ("PUT", "actions/start"): BraiinsEmulator.start,
    ("PUT", "actions/pause"): BraiinsEmulator.pause,
    ("PUT", "actions/resume"): BraiinsEmulator.resume,
    ("PUT", "actions/restart"): BraiinsEmulator.restart,
    ("PUT", "actions/reboot"): BraiinsEmulator.reboot,
    ("PUT", "performance/power-target"): BraiinsEmulator.power_target,
    ("PUT", "cooling/mode"): BraiinsEmulator.cooling_mode,
}
