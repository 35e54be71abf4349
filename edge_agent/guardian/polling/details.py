"""What the slow loop last heard of a device: boards, pools, what its firmware says is wrong.

Nothing that controls looks here; it is for diagnostics and for people. None: never told, or it has no such
thing. Kept packed, because a site has thousands of boards and hardly anybody asks.
"""

import msgspec

from shared.details import Board, Fault, Pool


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last word on each; `at_ms` (UTC) is when boards and pools were asked."""

    at_ms: int | None = None
    boards: tuple[Board, ...] | None = None
    pools: tuple[Pool, ...] | None = None
    faults: tuple[Fault, ...] | None = None
    """From the newest read that asked."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Details)
NOTHING = Details()


class Packed:
    """One device's details in few bytes."""

    __slots__ = ("_faults", "_packed")

    def __init__(self) -> None:
        self._packed: bytes | None = None
        self._faults: tuple[Fault, ...] | None = None

    def put(self, details: Details) -> None:
        """Keep these instead of the last ones."""
        self._packed = _encoder.encode(details)

    def put_faults(self, faults: tuple[Fault, ...] | None) -> None:
        """Note what a read told; one that did not ask changes nothing."""
        if faults is not None:
            self._faults = faults

    def look(self) -> Details:
        """Everything that is known."""
        kept = NOTHING if self._packed is None else _decoder.decode(self._packed)
        return msgspec.structs.replace(kept, faults=self._faults)
