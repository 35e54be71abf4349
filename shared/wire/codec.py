"""Bytes <-> messages: msgpack, zlib for batches, hard limits before anything is believed."""

import zlib
from typing import TypeVar

import msgspec

from shared.errors import WireError

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Largest decompressed body (contracts, Limits)."""

_ZLIB_LEVEL = 6
_PLAIN, _ZLIB = b"\x00", b"\x01"

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


def encode(message: object, *, compress: bool = False) -> bytes:
    """One message as bytes: a format byte, then msgpack, deflated where asked."""
    body = _encoder.encode(message)
    if len(body) > MAX_BODY_BYTES:
        raise WireError(f"message of {len(body)} bytes is larger than {MAX_BODY_BYTES}; split it")
    return _ZLIB + zlib.compress(body, _ZLIB_LEVEL) if compress else _PLAIN + body


def decode(data: bytes, kind: type[T]) -> T:
    """The message of the expected type (a union is fine); raises `WireError` saying what is wrong."""
    try:
        return msgspec.msgpack.decode(_inflate(data), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"message does not decode as {getattr(kind, '__name__', kind)}: {error}") from error


def _inflate(data: bytes) -> bytes:
    head, body = data[:1], data[1:]
    if head == _PLAIN:
        if len(body) > MAX_BODY_BYTES:
            raise WireError(f"body of {len(body)} bytes is larger than {MAX_BODY_BYTES}")
        return body
    if head != _ZLIB:
        raise WireError("empty message" if not data else f"unknown format byte {head.hex()}")
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise WireError(f"compressed body is damaged: {error}") from error
    if inflater.unconsumed_tail:
        raise WireError(f"body inflates to more than {MAX_BODY_BYTES} bytes")
    if not inflater.eof:
        raise WireError("compressed body is cut short")
    return plain
