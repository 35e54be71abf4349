"""SNMP v2c and v3: many OIDs per request, absent is not zero, one seam with two backends behind it.

`gufo` (Rust, about thirty times less CPU per request, edge.md §4.2) reads, request after request. What it
cannot do goes through the `pysnmp` backend, which can do everything and is also the fallback where no gufo
wheel exists (decision 14): SET; walks, where gufo shows an error of the agent as the end of a table; and an
empty answer, where gufo does not say whether the agent lacks all of the objects or refused the request.

An object that the agent does not have (noSuchObject, noSuchInstance, endOfMibView) is left out of the answer;
it is never a zero. A request that the agent finds too big is halved until it fits, and the size that fitted
is kept until the next failure.

A tape gets what was decoded, as JSON text (`tape.decoded`), or why there was nothing. It never gets a
datagram: gufo hands out none, and it would carry the community or the user.

Errors raised: `Unreachable`, `DeviceTimeout`, `MalformedReply`, `AuthFailed`, `Busy`, `Unsupported`. A wrong
community looks like silence on v2c, so it shows as `DeviceTimeout`; a v3 agent says that it refuses.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from firmware_adapters.transport.snmp_user import Access
from firmware_adapters.transport.tape import and_more, decoded
from shared.errors import ConfigError, DeviceError, MalformedReply
from shared.exchanges import Exchange

SnmpValue = int | float | str | bytes
"""Integers and counters, opaque floats, OIDs and addresses as text, octet strings."""


class SnmpLink(Protocol):
    """What a driver needs of SNMP; `MemorySnmp` is the in-memory twin."""

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """The objects that the agent has, of those asked for. Raises `DeviceError`."""
        ...

    async def walk(self, oid: str, *, timeout_s: float, max_rows: int) -> dict[str, SnmpValue]:
        """Everything below `oid` by GETBULK, in the agent's order; `timeout_s` for each request.

        Raises `DeviceError`; `MalformedReply` where there are more than `max_rows`, or an order that would
        never end.
        """
        ...

    async def set_integer(self, oid: str, value: int, *, timeout_s: float) -> None:
        """SET one INTEGER. Returns when the agent accepted it. Raises `DeviceError`."""
        ...

    async def close(self) -> None:
        """Let go of the socket; never raises."""
        ...


class TooBig(MalformedReply):
    """The agent (or the receive buffer) cannot fit the answer; ask for fewer objects."""

    code = "too_big"


BACKENDS: dict[str, str] = {
    "gufo": "firmware_adapters.transport.snmp_gufo",
    "pysnmp": "firmware_adapters.transport.snmp_pysnmp",
}
"""Backend name → module with `open_backend(host, port, access, max_oids=...)`."""


def open_link(host: str, port: int, access: Access, *, max_oids: int = 30, backend: str = "gufo") -> SnmpLink:
    """A link through the named backend. Raises `ConfigError` for an unknown name."""
    if backend not in BACKENDS:
        raise ConfigError(f"no SNMP backend {backend!r}; known are {', '.join(sorted(BACKENDS))}")
    opener = cast(Callable[..., SnmpLink], import_module(BACKENDS[backend]).open_backend)
    return opener(host, port, access, max_oids=max_oids)


def got(part: Sequence[str], outcome: Mapping[str, SnmpValue] | DeviceError) -> Exchange:
    """A GET for a tape; what the agent does not have is null."""
    values = outcome if isinstance(outcome, DeviceError) else {**dict.fromkeys(part), **outcome}
    return decoded(and_more("get", part), values)


Ask = Callable[[Sequence[str]], Awaitable[dict[str, SnmpValue]]]


async def get_in_parts(ask: Ask, oids: Sequence[str], max_oids: int) -> dict[str, SnmpValue]:
    """Ask in parts of at most `max_oids`, halving a part as often as `ask` raises `TooBig`.

    A part of one that is still too big is the agent's last word and raises.
    """
    answer: dict[str, SnmpValue] = {}
    parts = [tuple(oids[start : start + max_oids]) for start in range(0, len(oids), max_oids)]
    while parts:
        part = parts.pop(0)
        try:
            found = await ask(part)
        except TooBig:
            if len(part) == 1:
                raise
            middle = len(part) // 2
            parts[:0] = [part[:middle], part[middle:]]
            continue
        answer |= {oid: found[oid] for oid in part if oid in found}
    return answer


class OidLimit:
    """How many objects go into one request: what the profile says, less once the agent found it too big."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = most

    def refused(self, count: int) -> None:
        """`count` at once were too big."""
        self.now = max(1, min(self.now, count // 2))

    def forget(self) -> None:
        """The agent may be another one by now."""
        self.now = self._most
