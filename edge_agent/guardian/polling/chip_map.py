"""All chips of a machine in few bytes: 5,000 machines of 400 chips each have to fit beside everything else.

Column by column as JSON, then deflated: neighbours are alike, and the digits that a firmware tells are fewer
than the bytes of a float. Nothing is rounded. A column that no chip tells is left out.
"""

import zlib

import msgspec

from shared.details import Chip
from shared.errors import MalformedReply

MOST_CHIPS = 1500
"""Twice what the largest machine has; an answer that shows them still fits into a frame."""
LONGEST_GRADE = 64

_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Chip))
_encoder = msgspec.json.Encoder()


def pack(chips: tuple[Chip, ...]) -> bytes:
    """The chips as bytes. Raises `MalformedReply` for what is no machine's: too many, or endless words."""
    if len(chips) > MOST_CHIPS:
        raise MalformedReply(f"{len(chips)} chips; no machine has more than {MOST_CHIPS}")
    if any(len(chip.grade) > LONGEST_GRADE for chip in chips):
        raise MalformedReply(f"a chip's grade is longer than {LONGEST_GRADE} characters")
    columns = {name: [getattr(chip, name) for chip in chips] for name in _COLUMNS}
    told = {name: column for name, column in columns.items() if any(one not in (None, "") for one in column)}
    return zlib.compress(_encoder.encode(told))


def unpack(packed: bytes) -> tuple[Chip, ...]:
    """What `pack` was given."""
    columns = msgspec.json.decode(zlib.decompress(packed), type=dict[str, list[object]])
    rows = zip(*columns.values(), strict=True)
    return tuple(msgspec.convert(dict(zip(columns, row, strict=True)), Chip) for row in rows)
