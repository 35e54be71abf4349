"""One file of raw frames, as bytes: what is sound in it, and what is not.

A frame is `>II` length and CRC-32 of the body, then the body, which is zlib's. One damaged byte must cost the
frame that it lies in and no other: where a frame's length still leads to a sound one (or to the end), the
frame is stepped over; else the next place is looked for at which a sound frame begins. What follows the last
sound frame and can be the beginning of another is a torn tail: a power cut in the middle of an append.
"""

import struct
import zlib
from typing import Final

import msgspec

HEAD: Final = struct.Struct(">II")
MAX_FRAME: Final = 16 * 1024 * 1024
_ZLIB: Final = b"\x78"
"""Each body begins with it."""
_LOOKS: Final = 8
"""So many times the file's size is looked at for the next sound frame, whatever stands in it."""
_UNWRITTEN: Final = bytes(64)
"""No deflated body ends like this; a block that was promised to a file and never written does."""


class Scan(msgspec.Struct):
    """What a file holds: whole bodies in order, damaged places between them, bytes of a torn tail."""

    bodies: list[bytes]
    damaged: int = 0
    torn: int = 0


def framed(body: bytes) -> bytes:
    """A body with its head."""
    return HEAD.pack(len(body), zlib.crc32(body)) + body


def scan(data: bytes) -> Scan:
    """Look through a whole file; the work is bounded by a small multiple of its size."""
    found, left = Scan([]), _LOOKS * len(data)
    at = 0
    while at < len(data):
        body = _sound(data, at)
        if body is not None:
            found.bodies.append(body)
            at += HEAD.size + len(body)
            continue
        after, left = _after_damage(data, at, left)
        if after is None:
            if _may_be_torn(data, at):
                found.torn = len(data) - at
            else:
                found.damaged += 1
            return found
        found.damaged += 1
        at = after
    return found


def _sound(data: bytes, at: int) -> bytes | None:
    if at + HEAD.size > len(data):
        return None
    size, checksum = HEAD.unpack_from(data, at)
    end = at + HEAD.size + size
    if not 0 < size <= MAX_FRAME or end > len(data):
        return None
    body = data[at + HEAD.size : end]
    return body if zlib.crc32(body) == checksum else None


def _after_damage(data: bytes, at: int, left: int) -> tuple[int | None, int]:
    """Where it goes on after the damage at `at` (None: nothing sound follows), and bytes left to look at."""
    if at + HEAD.size <= len(data):
        end = at + HEAD.size + _size(data, at)
        # One that fits the file's end is damaged as well, but for what a power cut left unwritten.
        last = end > at + HEAD.size and end == len(data) and not data.endswith(_UNWRITTEN)
        if last or _sound(data, end) is not None:
            return end, left
    place = data.find(_ZLIB, at + HEAD.size + 1)
    while place >= 0:
        size = _size(data, place - HEAD.size)
        if 0 < size <= min(MAX_FRAME, len(data) - place):
            left -= size
            if left < 0:
                return None, 0
            if _sound(data, place - HEAD.size) is not None:
                return place - HEAD.size, left
        place = data.find(_ZLIB, place + 1)
    return None, left


def _may_be_torn(data: bytes, at: int) -> bool:
    """Whether what follows can be the beginning of a frame that was never written to its end."""
    if data.endswith(_UNWRITTEN) or at + HEAD.size >= len(data):
        return True
    longer = _size(data, at) > len(data) - at - HEAD.size
    return longer and _size(data, at) <= MAX_FRAME and data[at + HEAD.size :].startswith(_ZLIB)


def _size(data: bytes, at: int) -> int:
    size: int = HEAD.unpack_from(data, at)[0]
    return size
