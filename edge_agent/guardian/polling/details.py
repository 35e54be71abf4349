"""What was last heard of a device beyond its samples: boards, pools, chips, what its firmware says is wrong.

Nothing that controls looks here; it is for diagnostics and for people. None: never told, or it has no such
thing. Kept packed, because a site has thousands of boards and hardly anybody asks.
"""

import zlib

import msgspec

from edge_agent.guardian.polling import chip_map
from shared.details import Board, Chip, Fault, Pool


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last word on each; `at_ms` (UTC) is when boards and pools were asked."""

    at_ms: int | None = None
    boards: tuple[Board, ...] | None = None
    pools: tuple[Pool, ...] | None = None
    faults: tuple[Fault, ...] | None = None
    """From the newest read that asked."""


class Chips(msgspec.Struct, frozen=True, kw_only=True):
    """All chips of a machine, as told at `at_ms` (UTC)."""

    at_ms: int
    chips: tuple[Chip, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Details)
NOTHING = Details()


class Packed:
    """One device's details in few bytes."""

    __slots__ = ("_chips", "_chips_at_ms", "_faults", "_packed")

    def __init__(self) -> None:
        self._packed: bytes | None = None
        self._faults: tuple[Fault, ...] | None = None
        self._chips: bytes | None = None
        self._chips_at_ms = 0

    def put(self, details: Details) -> None:
        """Keep these instead of the last ones."""
        self._packed = zlib.compress(_encoder.encode(details))

    def put_faults(self, faults: tuple[Fault, ...] | None) -> str | None:
        """Note what a read told; one that did not ask changes nothing. The first new fault, in words."""
        if faults is None:
            return None
        known = {fault.code for fault in self._faults or ()}
        self._faults = faults
        return next((f"{one.code} {one.words}".strip() for one in faults if one.code not in known), None)

    def put_chips(self, packed: bytes, at_ms: int) -> None:
        """Keep what `chip_map.pack` made instead of the last one."""
        self._chips, self._chips_at_ms = packed, at_ms

    def look_chips(self) -> Chips | None:
        """The chips, where they were ever told."""
        if self._chips is None:
            return None
        return Chips(at_ms=self._chips_at_ms, chips=chip_map.unpack(self._chips))

    def look(self) -> Details:
        """Everything that is known."""
        kept = NOTHING if self._packed is None else _decoder.decode(zlib.decompress(self._packed))
        return msgspec.structs.replace(kept, faults=self._faults)
