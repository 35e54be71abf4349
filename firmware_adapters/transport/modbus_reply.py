"""What a Modbus reply must look like to be believed, and what its exception codes mean (pure)."""

from firmware_adapters.transport.modbus_plan import Table
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


def question_of(asked: bytes) -> str:
    """A request in words, from its unit and PDU: `unit 3 input 0+10`, `unit 3 write holding 50009=16384`."""
    unit, function = asked[0], asked[1]
    address, number = int.from_bytes(asked[2:4], "big"), int.from_bytes(asked[4:6], "big")
    match function:
        case 1 | 2 | 3 | 4:
            table = next(table for table in Table if table.read_function == function)
            return f"unit {unit} {table} {address}+{number}"
        case 5:
            return f"unit {unit} write coil {address}={'on' if number else 'off'}"
        case 6:
            return f"unit {unit} write holding {address}={number}"
        case 16:
            words = (int.from_bytes(asked[at : at + 2], "big") for at in range(7, len(asked), 2))
            return f"unit {unit} write holding {address}={','.join(map(str, words))}"
    return f"unit {unit} function {function}"


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
        return _body_problem(request[7:], reply[7:])
    return problem


def rtu_reply_problem(request: bytes, reply: bytes) -> str | None:
    """The same for the serial framing: unit, function, data, checksum. There is no transaction id in it."""
    if len(reply) < 3:
        return None
    function, asked = reply[1], request[1]
    size = _rtu_size(request, refused=bool(function & 0x80))
    refusals = (
        (reply[0] != request[0], f"reply of unit {reply[0]}"),
        (function not in (asked, asked | 0x80), f"function {function} answers {asked}"),
        (function in _READS and reply[2] != size - 5, "byte count does not match the request"),
        (len(reply) > size, "more bytes than the frame has"),
    )
    problem = next((text for refused, text in refusals if refused), None)
    if problem is None and len(reply) == size:
        if crc16(reply[:-2]) != int.from_bytes(reply[-2:], "little"):
            return "checksum is wrong"
        return _body_problem(request[1:-2], reply[1:-2])
    return problem


def _rtu_size(request: bytes, *, refused: bool) -> int:
    """How long the whole reply frame is: nothing in it says so, the request does."""
    if refused:
        return 5
    return 5 + _read_size(request[1], request[4:6]) if request[1] in _READS else 8


def crc16(data: bytes) -> int:
    """The checksum of the serial framing, low byte first on the line (Modbus over serial line V1.02)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


_READS = (1, 2, 3, 4)


def _read_size(function: int, count: bytes) -> int:
    """Bytes of data that a read of `count` must bring."""
    number = int.from_bytes(count, "big")
    return (number + 7) // 8 if function <= 2 else number * 2


def _body_problem(asked: bytes, body: bytes) -> str | None:
    """What is wrong with a whole reply PDU, given the request PDU."""
    if body[0] & 0x80:
        return None if len(body) == 2 else "exception reply of odd length"
    if asked[0] in _READS:
        size = _read_size(asked[0], asked[3:5])
        return None if body[1] == size == len(body) - 2 else "byte count does not match the request"
    return None if body == asked[:5] else "write echo differs from the request"
