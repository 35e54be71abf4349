"""What an emulated machine remembers: the requested preset, the switcher, limits; and what they do to it.

Requested is not running. A change that a mining machine was told waits for `/mining/restart`; the switcher
and the watt limit lower what is asked; the switcher moves by temperature on its own, both ways.
"""

from typing import Literal

import msgspec

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView, PresetView
from firmware_adapters.miners.vnish import emulator_old as old
from firmware_adapters.miners.vnish.fields import Object, child, children, flag, number, text
from shared.clock import Clock
from shared.telemetry import MinerState

_LIMIT = ("power_limit", "power_limit_enabled")


class Switcher(msgspec.Struct, frozen=True, kw_only=True):
    """The preset switcher's settings, °C and s; the recorded S21 Pro had 75, 55 and 300."""

    enabled: bool = False
    top_preset: str | None = None
    min_preset: str | None = None
    decrease_temp: int = 75
    rise_temp: int = 55
    check_time: int = 300
    autochange_top_preset: bool = False
    ignore_fan_speed: bool = False


class Refused(Exception):
    """A setting that the firmware does not take; the text is its `err`."""


class Settings:
    """Stored settings of one machine, and the preset logic that acts on them."""

    def __init__(self, machine: EmulatedMiner, clock: Clock, switcher: Switcher) -> None:
        self._machine = machine
        self._clock = clock
        self.switcher = switcher
        self._requested: str | None = None
        self._pending: str | None = None
        self._limit_w: float | None = None
        self._checked_s = clock.monotonic()
        self.misc: Object = {"restart_temp": 90, "quiet_mode": False}
        self._pools: list[Object] | None = None

    @property
    def restart_required(self) -> bool:
        """A change waits for `/mining/restart`."""
        return self._pending is not None

    def requested(self, view: MinerView) -> str:
        """The preset in the stored settings, which may not be the one that runs."""
        return self._requested or view.preset or "disabled"

    def store(self, body: Object, view: MinerView, *, has_power_limit: bool) -> None:
        """Take a (partial) POST /settings. Raises `Refused` and then changes nothing."""
        overclock, misc = child(child(body, "miner"), "overclock"), child(child(body, "miner"), "misc")
        cooling = _mode(child(child(body, "miner"), "cooling"))
        asked = text(overclock, "preset")
        if asked is not None and asked not in {rung.name for rung in view.presets}:
            raise Refused(f"unknown preset: {asked}")
        self.switcher = _merged(self.switcher, child(overclock, "preset_switcher"), view)
        if misc is not None:
            known = {name: value for name, value in misc.items() if has_power_limit or name not in _LIMIT}
            self.misc = {**self.misc, **known}
        if has_power_limit:
            on = flag(self.misc, "power_limit_enabled") is True
            self._limit_w = number(self.misc, "power_limit") if on else None
        self._requested = asked or self._requested
        if (pools := child(body, "miner")) is not None and isinstance(pools.get("pools"), list):
            self._pools = children(pools, "pools")
        if cooling is not None:
            self._machine.set_cooling(*cooling)
        self._settle(view)

    def _settle(self, view: MinerView) -> None:
        wanted = self._requested or view.preset
        goal = self._allowed(wanted, view) if wanted is not None else None
        if goal is None or goal == view.preset:
            self._pending = None
        elif view.state.draws_power:
            self._pending = goal
        else:
            self._machine.set_preset(goal)
            self._pending = None

    def _allowed(self, name: str, view: MinerView) -> str:
        """The rung for `name` after the switcher's ceiling and the watt limit."""
        watts = {rung.name: rung.power_w for rung in view.presets}
        ceiling = watts[name]
        if self.switcher.enabled and self.switcher.top_preset in watts:
            ceiling = min(ceiling, watts[self.switcher.top_preset])
        if self._limit_w is not None:
            ceiling = min(ceiling, self._limit_w)
        if watts[name] <= ceiling:
            return name
        below = [rung for rung in view.presets if rung.tuned and rung.power_w <= ceiling]
        return max(below, key=lambda rung: rung.power_w).name if below else name

    def bring_in(self) -> bool:
        """Apply what waits, as a start, a restart and a reboot do; whether anything did."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._machine.set_preset(pending)
        return pending is not None

    def switch(self, view: MinerView) -> None:
        """Let the switcher look at the temperature, once per `check_time`, and step one rung."""
        settings = self.switcher
        now_s = self._clock.monotonic()
        if not settings.enabled or now_s - self._checked_s < settings.check_time:
            return
        self._checked_s = now_s
        if view.state is not MinerState.MINING or self.restart_required:
            return
        hottest = max((board.chip_temp_max_c or 0.0 for board in view.boards if board.working), default=0.0)
        if hottest >= settings.decrease_temp:
            self._step(view, up=False)
        elif 0 < hottest <= settings.rise_temp:
            self._step(view, up=True)

    def _step(self, view: MinerView, *, up: bool) -> None:
        watts = {rung.name: rung.power_w for rung in view.presets}
        here = watts.get(view.preset or "")
        if here is None:
            return
        top = watts.get(self.switcher.top_preset or "", here)
        if self._limit_w is not None:
            top = min(top, self._limit_w)
        floor = watts.get(self.switcher.min_preset or "", 0.0)
        tuned: list[PresetView] = [rung for rung in view.presets if rung.tuned]
        if up:
            above = [rung for rung in tuned if here < rung.power_w <= top]
            goal = min(above, key=lambda rung: rung.power_w, default=None)
        else:
            below = [rung for rung in tuned if floor <= rung.power_w < here]
            goal = max(below, key=lambda rung: rung.power_w, default=None)
        if goal is not None:
            self._machine.set_preset(goal.name)

    def switcher_page(self, *, v13: bool) -> Object:
        """`preset_switcher` as `/perf-summary` and `/settings` show it."""
        page: Object = msgspec.to_builtins(self.switcher)
        return page if v13 else {**page, "power_delta": 0}

    def page(self, view: MinerView, *, v13: bool, first: bool, has_power_limit: bool) -> Object:
        """GET /settings, as far as this firmware's settings matter to anyone here."""
        name = "immers" if view.cooling == "immersion" else view.cooling
        mode: Object = {"name": name}
        if name != "immers":
            mode["param"] = round(view.target_temp_c if name == "auto" else view.fan_duty_pct)
        limits: Object = {"power_limit": 0, "power_limit_enabled": False} if has_power_limit else {}
        misc: Object = {**limits, **self.misc}
        main: Object = {"url": view.pool_url, "user": view.pool_user, "pass": "x"}
        switcher = self.switcher_page(v13=v13)
        others: list[Object] = [
            {"url": pool.url, "user": pool.user, "pass": "x"} for pool in view.other_pools
        ]
        page: Object = {
            "miner": {
                "cooling": {"mode": mode, "fan_min_count": 4, "fan_min_duty": 10, "fan_max_duty": 100},
                "misc": misc,
                "overclock": {
                    "preset": self.requested(view),
                    "modded_psu": False,
                    "preset_switcher": old.switcher(switcher) if first else switcher,
                },
                "pools": self._pools if self._pools is not None else [main, *others],
            },
            "ui": {"timezone": "GMT"},
            "network": {
                "hostname": view.hostname,
                "dhcp": True,
                "ipaddress": "127.0.0.1",
                "netmask": "255.0.0.0",
                "gateway": "127.0.0.1",
                "dnsservers": [],
            },
            "regional": {"timezone": {"current": "GMT"}},
            "password": None,
        }
        if first:
            page["ssh"] = {"enabled": False, "port": 22}
        return page


def _mode(cooling: Object | None) -> tuple[Literal["auto", "manual", "immersion"], float] | None:
    """The cooling mode in a post: written `immers`, read back as `immersion`."""
    mode = child(cooling, "mode")
    if mode is None:
        return None
    name, param = text(mode, "name"), number(mode, "param")
    if name == "immers":
        return "immersion", 0.0
    if name not in ("auto", "manual") or param is None or param < 0 or param != int(param):
        raise Refused("cooling: data did not match any variant of ModeRaw")
    if name == "auto":
        return "auto", param
    return "manual", param


def _merged(old: Switcher, new: Object | None, view: MinerView) -> Switcher:
    if new is None:
        return old
    known = {name: new[name] for name in Switcher.__struct_fields__ if new.get(name) is not None}
    try:
        merged = msgspec.convert({**msgspec.to_builtins(old), **known}, Switcher)
    except msgspec.ValidationError as error:
        raise Refused(f"preset_switcher: {error}") from error
    names = {rung.name for rung in view.presets}
    for bound in (merged.top_preset, merged.min_preset):
        if bound is not None and bound not in names:
            raise Refused(f"unknown preset: {bound}")
    return merged
