"""VNish `/settings`: what was asked for, and the partial posts that ask. Pure.

Only what changes is posted, because the firmware merges; the page itself may fail with a 500 where the stored
file is broken, so nothing here may be needed to command a machine (miners.md §1.4, §1.6).
"""

from collections.abc import Sequence

import msgspec

from firmware_adapters.capabilities import PoolLogin
from firmware_adapters.miners.vnish.fields import Object, amount, as_page, child, children, flag, text


class SetPool(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as it is stored; its password is never read back."""

    url: str
    user: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings ask for, which may not be what runs; None where they do not say."""

    preset: str | None = None
    power_limit_w: float | None = None
    """The limit in force; None as well where there is a limit that is switched off."""
    cooling: str | None = None
    """`auto`, `manual` or `immers`."""
    switcher: Object | None = None
    pools: tuple[SetPool, ...] = ()


def wanted(body: object) -> Wanted:
    """Read `/settings`. Raises `MalformedReply` if it is no object."""
    miner = child(as_page(body, "/settings"), "miner")
    overclock, misc = child(miner, "overclock"), child(miner, "misc")
    limit_w = amount(misc, "power_limit")
    return Wanted(
        preset=text(overclock, "preset"),
        power_limit_w=limit_w if flag(misc, "power_limit_enabled") is True and limit_w else None,
        cooling=text(child(child(miner, "cooling"), "mode"), "name"),
        switcher=child(overclock, "preset_switcher"),
        pools=tuple(
            SetPool(url=text(pool, "url") or "", user=text(pool, "user") or "")
            for pool in children(miner, "pools")
        ),
    )


def cooling_post(mode: str, value: int) -> Object:
    """`mode` auto with its target (°C) or manual with its duty (%)."""
    return {"miner": {"cooling": {"mode": {"name": mode, "param": value}}}}


def power_limit_post(watts: int) -> Object:
    """A limit in W, switched on (1.3.4 and later)."""
    return {"miner": {"misc": {"power_limit": watts, "power_limit_enabled": True}}}


def pools_post(pools: Sequence[PoolLogin]) -> Object:
    """All pools, by preference; the firmware replaces what it had."""
    listed = [{"url": pool.url, "user": pool.user, "pass": pool.password} for pool in pools]
    return {"miner": {"pools": listed}}


def switcher_post(switcher: Object) -> Object:
    """The preset switcher, whole."""
    return {"miner": {"overclock": {"preset_switcher": switcher}}}


def preset_post(name: str, switcher: Object | None) -> Object:
    """A preset, with the switcher as it should be; None leaves that alone."""
    overclock: Object = {"preset": name}
    if switcher is not None:
        overclock["preset_switcher"] = switcher
    return {"miner": {"overclock": overclock}}
