"""What a running guardian tells tools of one of its devices: a request and its answer on the operator socket.

Here and not with the guardian's other messages, because tools that may not know the guardian speak it too.
"""

import msgspec

from shared.capabilities import DeviceFacts
from shared.details import Board, Chip, Fault, LogTail, Pool
from shared.exchanges import KeptFailure
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import Sample


class ShowDevice(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="is", omit_defaults=True, tag="show-device"
):
    """What the guardian knows of a device, by its id, or by `host` and (unless 0) `port`."""

    device: DeviceId | None = None
    host: str = ""
    port: int = 0


class DeviceShown(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="is", omit_defaults=True, tag="device-shown"
):
    """Everything that the guardian last heard of a device. None is unknown."""

    entry: DeviceEntry
    facts: DeviceFacts | None = None
    sample: Sample | None = None
    """The newest good one."""
    failing: str | None = None
    """How its newest read failed; None: it did not."""
    boards: tuple[Board, ...] | None = None
    pools: tuple[Pool, ...] | None = None
    faults: tuple[Fault, ...] | None = None
    kept: KeptFailure | None = None
    """The raw replies of its last failed read, without secrets."""
    chips: tuple[Chip, ...] | None = None
    chips_at_ms: int | None = None
    """When the chips were asked (UTC)."""
    log: LogTail | None = None
    """From when it last failed or its firmware last found something new wrong, without secrets."""
