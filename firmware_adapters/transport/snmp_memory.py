"""`MemorySnmp`: the in-memory twin of an SNMP link, for tests that need no socket."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

from firmware_adapters.transport.snmp import SnmpValue, got
from firmware_adapters.transport.snmp_message import oid_key
from firmware_adapters.transport.tape import decoded, noted
from shared.errors import DeviceError, MalformedReply, Unsupported


class MemorySnmp:
    """Objects in a dictionary. `failures` are raised by the next requests, in order; None lets one pass."""

    def __init__(self, objects: Mapping[str, SnmpValue]) -> None:
        self.objects = dict(objects)
        self.failures: deque[DeviceError | None] = deque()
        self.gets: list[tuple[str, ...]] = []
        self.walks: list[str] = []
        self.sets: list[tuple[str, int]] = []
        self.closed = False

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        self.gets.append(tuple(oids))
        return await noted(self._got(oids), partial(got, oids))

    async def _got(self, oids: Sequence[str]) -> dict[str, SnmpValue]:
        self._fail()
        return {oid: self.objects[oid] for oid in oids if oid in self.objects}

    async def walk(self, oid: str, *, timeout_s: float, max_rows: int) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        self.walks.append(oid)
        return await noted(self._below(oid, max_rows), partial(decoded, f"walk {oid}"))

    async def _below(self, oid: str, max_rows: int) -> dict[str, SnmpValue]:
        self._fail()
        below = sorted((name for name in self.objects if name.startswith(oid + ".")), key=oid_key)
        if len(below) > max_rows:
            raise MalformedReply(f"more than {max_rows} objects below {oid}")
        return {name: self.objects[name] for name in below}

    async def set_integer(self, oid: str, value: int, *, timeout_s: float) -> None:
        """See `SnmpLink`."""
        self._fail()
        if oid not in self.objects:
            raise Unsupported(f"no object {oid}")
        self.sets.append((oid, value))
        self.objects[oid] = value

    async def close(self) -> None:
        """See `SnmpLink`."""
        self.closed = True

    def _fail(self) -> None:
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
