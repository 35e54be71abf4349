"""Whether a guardian runs a site, and which hosts are its: those are its alone to talk to.

Two masters on one machine log each other out (miners.md §1.2), so `probe` and `scan` leave the hosts of a
running site to its guardian. It counts as running when something listens on one of its sockets, and also
where this user may not find out.
"""

import contextlib
import socket
import tomllib
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec

from shared.errors import ConfigError
from shared.inventory import DeviceEntry

_CONNECT_S = 1.0


class KnownSite(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a site file that discovery needs."""

    path: Path
    devices: tuple[DeviceEntry, ...]
    operator_socket: Path | None
    guardian_socket: Path | None
    names: dict[str, str] = {}
    """Addresses of those hosts that are written as names, where they have one."""

    @property
    def hosts(self) -> frozenset[str]:
        """Every host of the site file, as it stands there and as an address."""
        return frozenset(entry.host for entry in self.devices) | frozenset(self.names.values())

    @property
    def is_running(self) -> bool:
        """Whether a guardian answers, or may."""
        return any(
            _answers(path) for path in (self.operator_socket, self.guardian_socket) if path is not None
        )


def load(path: Path) -> KnownSite:
    """Read devices and sockets of a site file; `check-config` judges the rest. Raises `ConfigError`."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        devices = msgspec.convert(raw.get("devices", []), tuple[DeviceEntry, ...])
        named = msgspec.convert(raw.get("paths", {}), dict[str, str])
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: no site file: {error}") from error
    return KnownSite(
        path=path,
        devices=devices,
        operator_socket=_resolved(path, named.get("operator_socket")),
        guardian_socket=_resolved(path, named.get("guardian_socket")),
        names=dict(_addresses(devices)),
    )


def _addresses(devices: tuple[DeviceEntry, ...]) -> Iterator[tuple[str, str]]:
    """Who scans addresses must know which of them a name stands for."""
    for host in {entry.host for entry in devices if not entry.host.startswith("/")}:
        try:
            ip_address(host)
        except ValueError:
            # A name without an address reaches nobody, so no address is its.
            with contextlib.suppress(OSError, UnicodeError):
                yield host, str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])


def _resolved(site: Path, name: str | None) -> Path | None:
    return None if name is None else (site.parent / name).resolve()


def refusal(site: KnownSite, hosts: frozenset[str]) -> str | None:
    """Why `hosts` may not be asked, or None: the site's guardian runs and some are its own."""
    theirs = sorted(hosts & site.hosts)
    if not theirs or not site.is_running:
        return None
    shown = ", ".join(theirs[:3]) + (f" and {len(theirs) - 3} more" if len(theirs) > 3 else "")
    return (
        f"{shown}: a guardian runs {site.path}, and it alone talks to its devices; "
        "--via-guardian asks the guardian instead"
    )


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_CONNECT_S)
            connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return False
    except OSError:
        # A socket that this user may not open, or that is busy: somebody is there.
        return True
    return True
