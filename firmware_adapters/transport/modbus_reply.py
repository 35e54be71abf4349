"""What a Modbus TCP reply must look like to be believed, and what its exception codes mean (pure)."""

from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported

_EXCEPTIONS: dict[int, tuple[type[DeviceError], str]] = {
    1: (Unsupported, "the unit does not know this function"),
    2: (Unsupported, "no such address"),
    3: (Unsupported, "the unit refuses this value or count"),
    4: (Busy, "the unit failed to do it"),
    5: (Busy, "accepted, but it takes long"),
    6: (Busy, "the unit is busy"),
    7: (Busy, "the unit refuses for now"),
    10: (Unreachable, "the gateway has no path to the unit"),
    11: (DeviceTimeout, "the unit behind the gateway does not answer"),
}


def exception_error(code: int, what: str) -> DeviceError:
    """The typed failure behind a Modbus exception code (Modbus Application Protocol V1.1b3, §7)."""
    kind, text = _EXCEPTIONS.get(code, (MalformedReply, "a code that the standard does not have"))
    return kind(f"{what}: {text} (exception {code})")


def reply_problem(request: bytes, reply: bytes) -> str | None:
    """Why `reply` (what came so far) cannot answer `request`; None while it can, or is not whole yet."""
    if len(reply) < 8:
        return None
    length = int.from_bytes(reply[4:6], "big")
    function, asked = reply[7], request[7]
    refusals = (
        (reply[2:4] != b"\0\0" or not 3 <= length <= 254, "not a Modbus TCP header"),
        (reply[0:2] != request[0:2], "transaction id of another request"),
        (reply[6] != request[6], f"reply of unit {reply[6]}"),
        (len(reply) > 6 + length, "more bytes than the header says"),
        (function not in (asked, asked | 0x80), f"function {function} answers {asked}"),
    )
    problem = next((text for refused, text in refusals if refused), None)
    if problem is None and len(reply) == 6 + length:
        return _body_problem(request, reply[7:])
    return problem


def _body_problem(request: bytes, body: bytes) -> str | None:
    asked = request[7]
    if body[0] & 0x80:
        return None if len(body) == 2 else "exception reply of odd length"
    if asked in (1, 2, 3, 4):
        count = int.from_bytes(request[10:12], "big")
        size = (count + 7) // 8 if asked <= 2 else count * 2
        return None if body[1] == size == len(body) - 2 else "byte count does not match the request"
    return None if body == request[7:12] else "write echo differs from the request"
