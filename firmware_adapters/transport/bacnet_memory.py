"""`MemoryBacnet`: the in-memory twin of a BACnet link, for tests that need no socket and no child."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

from firmware_adapters.transport.bacnet import Asked, BacnetValue, told
from firmware_adapters.transport.tape import noted
from shared.errors import DeviceError, Unsupported

PRESENT = "present-value"


class MemoryBacnet:
    """Properties in a dictionary, and commands by priority as a device keeps them.

    `failures` are raised by the next requests, in order; None lets one pass.
    """

    def __init__(self, properties: Mapping[Asked, BacnetValue]) -> None:
        self.properties = dict(properties)
        self.defaults = {target: value for (target, name), value in properties.items() if name == PRESENT}
        self.commands: dict[str, dict[int, float]] = {}
        self.failures: deque[DeviceError | None] = deque()
        self.reads: list[tuple[Asked, ...]] = []
        self.writes: list[tuple[str, float | None, int]] = []
        self.closed = False

    async def read(self, asked: Sequence[Asked], *, timeout_s: float) -> dict[Asked, BacnetValue]:
        """See `BacnetLink`."""
        self.reads.append(tuple(asked))
        return await noted(self._found(asked), partial(told, asked))

    async def _found(self, asked: Sequence[Asked]) -> dict[Asked, BacnetValue]:
        self._fail()
        return {key: self.properties[key] for key in asked if key in self.properties}

    async def write(self, target: str, value: float | None, *, priority: int, timeout_s: float) -> None:
        """See `BacnetLink`."""
        self._fail()
        if target not in self.defaults:
            raise Unsupported(f"no object {target}")
        self.writes.append((target, value, priority))
        slots = self.commands.setdefault(target, {})
        slots.pop(priority, None)
        if value is not None:
            slots[priority] = value
        self.properties[target, PRESENT] = slots[min(slots)] if slots else self.defaults[target]

    async def close(self) -> None:
        """See `BacnetLink`."""
        self.closed = True

    def _fail(self) -> None:
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
