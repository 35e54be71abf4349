"""What the adapter contract suite needs to know of one device; the suite itself knows no vendor."""

from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_adapters.capabilities import Telemetry
from shared.commands import AnyAction
from shared.errors import DeviceError


@dataclass(kw_only=True)
class Subject:
    """What the suite needs to know of one device. All callables act on the emulated side."""

    adapter: Telemetry
    timeout_s: float
    heal: Callable[[], None]
    """End every fault."""
    truth: Callable[[], dict[str, float]]
    """Points as the device knows them, in our units."""
    hide: Callable[[], set[str]]
    """Make the device keep quiet about some points; which."""
    faults: dict[str, Callable[[], None]]
    """Ways in which no read can succeed."""
    writes: dict[str, tuple[AnyAction, Callable[[], bool]]]
    """Writes in an order that works, each with whether the device has done it."""
    refusals: dict[str, tuple[AnyAction, type[DeviceError]]] = field(default_factory=dict)
    """Writes that must fail and change nothing."""
    commands: Callable[[], list[str]]
    """What the device was really told to do."""
    tamper: Callable[[], None] | None = None
    """Make the device accept writes and ignore them."""
