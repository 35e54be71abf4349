"""A simulated site with one miner of each firmware, all on one port of their own addresses."""

from typing import Any

from firmware_adapters.capabilities import Credential
from firmware_adapters.registry import ADAPTERS
from firmware_adapters.simulator.miner_build import EMULATORS
from support.ports import free_port
from support.site_devices import site_tables

PASSWORD = "admin"
USERS = {"antminer": "root", "braiins": "root"}
FIRMWARES = tuple(sorted(set(EMULATORS) & set(ADAPTERS)))


def credential_of(adapter: str) -> Credential:
    """What opens an emulated machine of that firmware."""
    return Credential(user=USERS.get(adapter), secret=PASSWORD)


def mixed_tables(net: str, *, port: int | None = None) -> dict[str, Any]:
    """The parsed TOML of a site with a miner of each firmware, `m-01` on, and nothing else to speak to."""
    raw = site_tables(miners=len(FIRMWARES), net=net, miner_port=port or free_port())
    raw["devices"] = [device for device in raw["devices"] if device["kind"] == "miner"]
    for device, adapter in zip(raw["devices"], FIRMWARES, strict=True):
        device["adapter"] = adapter
        del device["pdu"], device["outlet"]
    raw["simulator"] |= {"miner_password": PASSWORD}
    return raw
