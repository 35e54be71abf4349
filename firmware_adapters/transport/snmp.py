"""SNMP v2c: many OIDs per request, absent is not zero, one seam with two backends behind it.

`gufo` (Rust, about thirty times less CPU per request, edge.md §4.2) reads; it has no SET, so its writes go
out through the `pysnmp` backend, which can do everything and is also the fallback where no gufo wheel exists.
An object that the agent does not have (noSuchObject, noSuchInstance, endOfMibView) is left out of the answer;
it is never a zero. A request that the agent finds too big is halved until it fits.

Errors raised: `Unreachable`, `DeviceTimeout`, `MalformedReply`, `AuthFailed`, `Busy`, `Unsupported`. A wrong
community looks like silence on v2c, so it shows as `DeviceTimeout`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Protocol, cast

from gufo.snmp import NoSuchInstance, SnmpError, SnmpVersion, ValueType
from gufo.snmp.aio import SnmpSession

from shared.errors import ConfigError, DeviceError, DeviceTimeout, MalformedReply, Unreachable

SnmpValue = int | float | str | bytes
"""Integers and counters, opaque floats, OIDs and addresses as text, octet strings."""


class SnmpLink(Protocol):
    """What a driver needs of SNMP; `MemorySnmp` is the in-memory twin."""

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """The objects that the agent has, of those asked for. Raises `DeviceError`."""
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
    "gufo": "firmware_adapters.transport.snmp",
    "pysnmp": "firmware_adapters.transport.snmp_pysnmp",
}
"""Backend name → module with `open_backend(host, port, community, max_oids=...)`."""


def open_link(host: str, port: int, community: str, *, max_oids: int = 30, backend: str = "gufo") -> SnmpLink:
    """A link through the named backend. Raises `ConfigError` for an unknown name."""
    if backend not in BACKENDS:
        raise ConfigError(f"no SNMP backend {backend!r}; known are {', '.join(sorted(BACKENDS))}")
    opener = cast(Callable[..., SnmpLink], import_module(BACKENDS[backend]).open_backend)
    return opener(host, port, community, max_oids=max_oids)


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


class GufoSnmp:
    """SNMP through gufo-snmp. One request at a time per agent."""

    def __init__(self, host: str, port: int, community: str, *, max_oids: int) -> None:
        self._host = host
        self._port = port
        self._community = community
        self._max_oids = max_oids
        self._session: SnmpSession | None = None
        self._writer: SnmpLink | None = None
        self._lock = asyncio.Lock()
        self.requests = 0

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        async with self._lock:
            return await get_in_parts(lambda part: self._ask(part, timeout_s), oids, self._max_oids)

    async def _ask(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        name = f"{self._host}:{self._port}"
        self.requests += 1
        done = False
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._request(self._opened(timeout_s), part)
            done = True
        except TimeoutError as error:
            raise DeviceTimeout(f"{name}: no SNMP answer within {timeout_s:g} s") from error
        except SnmpError as error:
            raise _failure(name, part, error) from error
        except (OSError, ValueError) as error:
            raise Unreachable(f"{name}: {error}") from error
        finally:
            if not done:
                # A late answer must never meet the next request: the next one uses a new socket.
                self._session = None
        return found

    @staticmethod
    async def _request(session: SnmpSession, part: Sequence[str]) -> dict[str, SnmpValue]:
        if len(part) == 1:
            try:
                return _checked({part[0]: await session.get(part[0])})
            except NoSuchInstance:
                return {}
        found = await session.get_many(part)
        if not found:
            # gufo shows an error status (tooBig, genErr) and "none of them exists" alike: look closer.
            raise TooBig("empty answer to many objects")
        return _checked(found)

    def _opened(self, timeout_s: float) -> SnmpSession:
        if self._session is None:
            self._session = SnmpSession(
                self._host,
                self._port,
                community=self._community,
                version=SnmpVersion.v2c,
                timeout=timeout_s,
            )
        return self._session

    async def set_integer(self, oid: str, value: int, *, timeout_s: float) -> None:
        """See `SnmpLink`. gufo-snmp cannot SET, so the other backend does."""
        if self._writer is None:
            self._writer = open_link(self._host, self._port, self._community, backend="pysnmp")
        await self._writer.set_integer(oid, value, timeout_s=timeout_s)

    async def close(self) -> None:
        """See `SnmpLink`."""
        self._session = None
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()


def _checked(found: dict[str, ValueType]) -> dict[str, SnmpValue]:
    """Refuse NULL values, which only an error reply carries."""
    values = {oid: value for oid, value in found.items() if value is not None}
    if len(values) != len(found):
        raise (
            TooBig("NULL in the answer: the agent reported an error")
            if len(found) > 1
            else MalformedReply("NULL instead of a value: the agent reported an error")
        )
    return values


def _failure(name: str, part: Sequence[str], error: SnmpError) -> DeviceError:
    if len(part) > 1:
        # The receive buffer may have been too small, or one object may have spoilt the reply.
        return TooBig(f"{name}: {error}")
    return MalformedReply(f"{name}: {part[0]}: {error}")


def open_backend(host: str, port: int, community: str, *, max_oids: int) -> GufoSnmp:
    """The gufo backend; see `BACKENDS`."""
    return GufoSnmp(host, port, community, max_oids=max_oids)
