"""`get.device.info` of API v3 → switch, faults, identity. Pure; raises nothing but `MalformedReply`.

What `get.miner.status` tells (summary, edevs, pools) is read by the v2 parser, which knows both spellings.
Sources: miners.md §2; the names inside the parts are from other clients and found by meaning.
"""

import msgspec

from firmware_adapters.miners.whatsminer.faults import faults_in
from firmware_adapters.miners.whatsminer.fields import Page, amount, message, page, text, truth
from firmware_adapters.miners.whatsminer.parse import Identity, Switch
from shared.details import Fault

_SLOTS = 16


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine tells of itself; None and empty where it does not."""

    switch: Switch
    identity: Identity
    faults: tuple[Fault, ...] | None
    power_limit_w: float | None
    psu_temp_c: float | None
    psu_power_w: float | None = None
    """What the supply draws."""
    board_serials: tuple[str, ...] = ()
    """By slot; empty where it does not say."""


def device_info(body: object) -> DeviceInfo:
    """Read `get.device.info`. Raises `MalformedReply` where it holds none of its parts."""
    said = message(body, "get.device.info")
    miner, system, supply = (_part(said, name) for name in ("miner", "system", "power"))
    working = truth(miner, "working")
    mode = text(supply, "mode") or text(miner, "powermode")
    codes = next((said[name] for name in ("errorcode", "error") if name in said), None)
    return DeviceInfo(
        switch=Switch(
            off=None if working is None else not working, mode=mode.lower() if mode is not None else None
        ),
        identity=Identity(
            model=text(miner, "type", "minertype") or "",
            firmware=text(system, "fwversion") or "",
            mac=(text(_part(said, "network"), "mac") or "").lower(),
            serial=text(miner, "minersn", "sn") or "",
        ),
        faults=None if codes is None else faults_in(codes),
        power_limit_w=amount(miner, "powerlimitset", "powerlimit") or None,
        psu_temp_c=amount(supply, "temp0", "temp") or None,
        psu_power_w=amount(supply, "pin") or None,
        board_serials=tuple(text(miner, f"pcbsn{slot}") or "" for slot in range(_SLOTS)),
    )


def _part(said: Page, name: str) -> Page | None:
    return page(said.get(name))
