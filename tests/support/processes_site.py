"""The site of the process tests: that of the guardian's tests, at speeds that a test can wait for.

Built from `support.guardian.site_toml`, so a key that the site file gains there is here as well.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.config import SiteFile
from support.guardian import make_site
from support.ports import free_port

MINERS = 8
NET = "127.95"
POLL_S = 0.5
TIMING: dict[str, float] = {
    "poll_s": POLL_S,
    "safety_poll_s": POLL_S,
    "request_timeout_s": 1.0,
    "stale_after_s": 3.0,
    "lost_after_s": 5.0,
    "step_s": 5,
    "lease_max_s": 60.0,
    "lease_hold_s": 300.0,
    "lease_safe_s": 600.0,
    "settle_s": 4.0,
    "stop_confirm_s": 8.0,
    "write_confirm_s": 8.0,
    "restart_after_stop_s": 2.0,
    "restart_window_s": 2.0,
    "restart_power_pct": 100.0,
    "preset_dwell_s": 2.0,
}
SHORT_LEASE: dict[str, float] = {"lease_max_s": 4.0, "lease_hold_s": 1.5, "lease_safe_s": 4.0}
"""For tests that wait until a lease runs out; the others have no agent and must not notice."""
LOST_AFTER_S = 1.0
"""How long the wall's speed must be too low before the zone trips."""


def process_site(
    folder: Path, *, miners: int = MINERS, control_port: int, timing: Mapping[str, float] | None = None
) -> SiteFile:
    """Write the site into `folder` and load it; faults at `control_port`, machines' manners one above.

    `timing` overrides keys of the `[timing]` table.
    """
    wanted = TIMING | dict(timing or {})

    def edit(text: str) -> str:
        raw = tomllib.loads(text)
        _place(raw["devices"])
        raw["timing"] |= {key: value for key, value in wanted.items() if key in raw["timing"]}
        for zone in raw["zones"]:
            zone["cooling_proof"] |= {"lost_after_s": LOST_AFTER_S, "proven_for_s": 1.5}
        raw["simulator"] = {"seed": 3, "retune_s": 2.0, "cold_start_s": 2.0, "fault_port": control_port}
        raw["agent"]["status_port"] = free_port()
        return dump_toml(raw)

    return make_site(folder, miners, edit=edit)


def _place(devices: list[dict[str, Any]]) -> None:
    """Every device at an address of its own; one port per protocol."""
    web, modbus, snmp = (free_port() for _ in range(3))
    number = {"miner": 0, "gear": 0}
    for device in devices:
        kind = "miner" if device["kind"] == "miner" else "gear"
        number[kind] += 1
        if kind == "miner":
            place = {"host": f"{NET}.1.{number[kind]}", "port": web, "rack": "A", "slot": number[kind]}
            # Above its safe preset, so that falling back to it shows.
            machine = {"model": "s19jpro", "nominal_w": 2700.0, "safe_preset": "1850", "credential": "miners"}
            device.update(place | machine)
        else:
            port = snmp if device["adapter"] == "snmp" else modbus
            if device["kind"] == "pdu":
                device["credential"] = "pdu"  # without one its outlets are read only
            device.update({"host": f"{NET}.200.{number[kind]}", "port": port})


def dump_toml(table: Mapping[str, Any]) -> str:
    """A parsed TOML document as text again, nested tables inline."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list():
            return "[" + ", ".join(_value(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + "}"
    raise TypeError(f"no TOML for {value!r}")
