"""Opaque cursors over a (time, row number) order, newest first."""

import base64
import binascii

from cloud.kit.problems import BadInput

MAX_LIMIT = 500


def encode(at_ms: int, row: int) -> str:
    """A cursor that continues after this row."""
    return base64.urlsafe_b64encode(f"{at_ms}.{row}".encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[int, int]:
    """The (time, row number) in a cursor; raises `BadInput` for one that we did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at_ms, row = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(".")
        pair = int(at_ms), int(row)
    except (binascii.Error, ValueError) as error:
        raise BadInput("cursor is not one that this API gave out") from error
    if not all(0 <= number < 2**63 for number in pair):
        raise BadInput("cursor is not one that this API gave out")
    return pair
