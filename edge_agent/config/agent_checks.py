"""What the agent's settings mean: limits of a model's trial, and where its file may be fetched."""

import math
from typing import Final
from urllib.parse import urlsplit

from edge_agent.config.structs import SiteFile
from edge_agent.config.zone_checks import Problem

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def check_agent(site: SiteFile) -> list[Problem]:
    """Everything that is wrong with `[agent]` and with the HTTPS way of `[uplink]`."""
    problems: list[Problem] = []
    for name in ("model_budget_ms", "confirm_within_s"):
        value = getattr(site.agent, name)
        if not (math.isfinite(value) and value > 0):
            problems.append((f"agent.{name}", f"is {value}, must be a number above 0"))
    if (url := site.uplink.model_url) is not None and (why := _why_not(url)):
        problems.append(("uplink.model_url", why))
    return problems


def _why_not(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        return f"{url!r} is not an address: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return f"{url!r} is not an address like 'https://cloud.example'"
    if parts.scheme == "http" and host not in _LOOPBACK:
        return "has no TLS, which is only for loopback; use https"
    if parts.query or parts.fragment or parts.username:
        return "must be a plain base address, without user, query or fragment"
    return ""
