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
from firmware_adapters.miners.braiins.emulator_commands import Commands, power_range, refusal
from firmware_adapters.miners.braiins.emulator_traps import Traps
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Answer, Stop, WebEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, as_object
from shared.clock import Clock

API = "/api/v1/"
TOKEN_LIFETIME_S = 3600
_MINOR = {"25.07": 0, "25.11": 1}
_CLOSED_WHEN_STOPPED = ("miner/stats", "miner/hw/hashboards", "performance/tuner-state")

__all__ = ["BraiinsEmulator", "Traps"]

Read = Callable[["BraiinsEmulator", MinerView], object]
Write = Callable[[Commands, MinerView, object], object]


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
        self.commands = Commands(machine)
        self.logins = 0
        self._username, self._password = username, password
        self._tokens: dict[str, float] = {}
        self._authenticated = 0

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
            raise refusal(HTTPStatus.NOT_FOUND, "not found")
        if self.traps.too_many:
            raise refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
        name = path.removeprefix(API).rstrip("/")
        if (method, name) == ("POST", "auth/login"):
            return self._login(sent)
        if (method, name) == ("GET", "version"):
            return {"major": self.traps.api_major, "minor": _MINOR.get(self.version, 1), "patch": 0}
        self._check_token(headers)
        if name in _CLOSED_WHEN_STOPPED and self.traps.closed_when_stopped and self._not_started(view):
            raise refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the mining process does not run")
        if (method, name) == ("GET", "network"):
            return pages.network(view, address)
        if method == "GET" and name in _READS:
            return _READS[name](self, view)
        if method != "PUT" or name not in _WRITES:
            known = name in _READS or name in _WRITES
            raise refusal(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND, "no such route")
        return None if self.traps.settings_ignored else self._command(name, view, sent)

    def _command(self, name: str, view: MinerView, sent: object) -> object:
        self.commands.conflict_is_500 = self.traps.conflict_is_500
        said = _WRITES[name](self.commands, view, sent)
        if name == "actions/reboot":
            self.drop_sessions()
        return said

    def _not_started(self, view: MinerView) -> bool:
        return pages.status(view, paused=self.commands.paused) == pages.NOT_STARTED

    # ------------------------------------------------------------ login

    def _login(self, sent: object) -> object:
        page = as_object(sent)
        given = (page or {}).get("username"), (page or {}).get("password")
        if given != (self._username, self._password):
            raise refusal(HTTPStatus.UNAUTHORIZED, "invalid user name or password")
        self.logins += 1
        token = secrets.token_hex(8)
        self._tokens[token] = self._clock.monotonic() + TOKEN_LIFETIME_S
        return {"token": token, "timeout_s": TOKEN_LIFETIME_S}

    def _check_token(self, headers: Mapping[str, str]) -> None:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        until_s = self._tokens.get(token)
        if until_s is None or self._clock.monotonic() >= until_s:
            raise refusal(HTTPStatus.UNAUTHORIZED, "no valid token")
        self._authenticated += 1
        every = self.traps.drop_session_every
        if every and self._authenticated % every == 0:
            self.drop_sessions()
            raise refusal(HTTPStatus.UNAUTHORIZED, "token expired")

    # ------------------------------------------------------------ reading

    def details(self, view: MinerView) -> object:
        """GET miner/details."""
        return pages.details(view, self.version, paused=self.commands.paused)

    def stats(self, view: MinerView) -> object:
        """GET miner/stats."""
        return pages.stats(view, self._last_share_ms(view), quiet=self.traps.quiet)

    def errors(self, view: MinerView) -> object:
        """GET miner/errors."""
        when = datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
        return pages.errors(view, when.isoformat().replace("+00:00", "Z"))

    def hashboards(self, view: MinerView) -> object:
        """GET miner/hw/hashboards."""
        return pages.hashboards(view, quiet=self.traps.quiet)

    def cooling_state(self, view: MinerView) -> object:
        """GET cooling/state."""
        return pages.cooling_state(view, quiet=self.traps.quiet)

    def tuner_state(self, view: MinerView) -> object:
        """GET performance/tuner-state."""
        return pages.tuner_state(view, self._target(view))

    def configuration(self, view: MinerView) -> object:
        """GET configuration/miner."""
        return pages.configuration(self._target(view), self.commands.cooling)

    def constraints(self, view: MinerView) -> object:
        """GET configuration/constraints."""
        if self.traps.no_constraints:
            raise refusal(HTTPStatus.NOT_FOUND, "no such route")
        return pages.constraints(power_range(view), self._target(view))

    def pools(self, view: MinerView) -> object:
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

    def locating(self, view: MinerView) -> object:
        """GET actions/locate: a bare truth value."""
        return view.locating


def _decoded(body: bytes) -> object:
    if not body:
        return None
    try:
        found: object = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise refusal(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from error
    return found


_READS: dict[str, Read] = {
    "miner/details": BraiinsEmulator.details,
    "miner/stats": BraiinsEmulator.stats,
    "miner/errors": BraiinsEmulator.errors,
    "miner/hw/hashboards": BraiinsEmulator.hashboards,
    "cooling/state": BraiinsEmulator.cooling_state,
    "performance/tuner-state": BraiinsEmulator.tuner_state,
    "configuration/miner": BraiinsEmulator.configuration,
    "configuration/constraints": BraiinsEmulator.constraints,
    "pools": BraiinsEmulator.pools,
    "actions/locate": BraiinsEmulator.locating,
}
_WRITES: dict[str, Write] = {
    "actions/locate": Commands.locate,
    "actions/stop": Commands.stop,
    "actions/start": Commands.start,
    "actions/pause": Commands.pause,
    "actions/resume": Commands.resume,
    "actions/restart": Commands.restart,
    "actions/reboot": Commands.reboot,
    "performance/power-target": Commands.power_target,
    "cooling/mode": Commands.cooling_mode,
}
