"""Which addresses a person meant: a host with or without a port, a network, and whether it may be asked."""

import ipaddress
import re
from collections.abc import Iterator

from shared.errors import ConfigError

MOST = 65_536
"""Addresses of one scan (a /16); larger sites are scanned network by network."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}(\.[A-Za-z0-9-]{1,63})*)?\.?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def target(text: str) -> tuple[str, int | None]:
    """`HOST`, `HOST:PORT`, `[IPv6]:PORT` as host and port. Raises `ConfigError` with what is expected."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d+))?", text)
    if bracketed is not None:
        host, port = bracketed[1], bracketed[2]
    elif text.count(":") > 1 or "/" in text:
        host, port = text, None
    else:
        host, colon, behind = text.partition(":")
        port = behind if colon else None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        all_digits = re.fullmatch(r"[\d.]+", host) is not None
        if all_digits or len(host) > 253 or not _NAME.fullmatch(host):
            raise ConfigError(
                f"{text!r} is no host: expected an address or a name, as 10.0.0.7 or 10.0.0.7:80"
            ) from None
    if port is None:
        return host, None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r}: the port must be 1 to 65535")
    return host, int(port)


def network(text: str, *, force: bool) -> Network:
    """The network to scan. Raises `ConfigError` for what is none, too large, or public without `force`."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no network: expected an address range as 10.0.1.0/24 ({error})"
        ) from error
    if found.num_addresses > MOST:
        raise ConfigError(
            f"{found} has {found.num_addresses} addresses; one scan asks {MOST} at most (a /16)"
        )
    if not is_private(found) and not force:
        raise ConfigError(f"{found} is not a private network; --force scans it all the same")
    return found


def is_private(found: Network) -> bool:
    """Networks of a site's own: RFC 1918, carrier-grade NAT, unique local, link-local and loopback."""
    own = found.is_private or found.is_loopback or found.is_link_local
    return own or (found.version == 4 and found.subnet_of(ipaddress.ip_network("100.64.0.0/10")))  # type: ignore[arg-type] # the version is checked beside it


def addresses(found: Network) -> Iterator[str]:
    """Every address that a host may have, lowest first."""
    return (str(address) for address in found.hosts())
