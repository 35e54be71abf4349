"""The command line's end of operator.sock: one request, one answer, no event loop."""

import socket
import struct
from pathlib import Path

import msgspec

from edge_agent.ipc import MAX_FRAME_BYTES, FromOperator, ToOperator, encode_frame
from shared.errors import Unreachable, WireError

_LENGTH = struct.Struct(">I")


def ask(path: Path, request: FromOperator, *, within_s: float = 10.0) -> ToOperator:
    """Send a request and return the answer, waiting `within_s` s at most for each part of it.

    Raises `Unreachable` where no guardian listens, `WireError`.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within_s)
            connection.connect(str(path))
            connection.sendall(encode_frame(request))
            (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
            if size > MAX_FRAME_BYTES:
                raise WireError(f"answer of {size} bytes is larger than {MAX_FRAME_BYTES}")
            body = _exactly(connection, size)
    except OSError as error:
        raise Unreachable(
            f"{path}: no answer from a guardian ({error.strerror or error}); "
            "is it running on this machine, and may this user open its socket?"
        ) from error
    try:
        answer: ToOperator = msgspec.msgpack.decode(body, type=ToOperator)
    except msgspec.DecodeError as error:
        raise WireError(f"answer does not decode: {error}") from error
    return answer


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise Unreachable("the guardian closed the connection")
        data += part
    return data
