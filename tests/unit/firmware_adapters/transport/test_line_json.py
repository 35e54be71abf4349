"""The 4028 framing: each breakage that firmwares are known for, cut replies, refusals, and the client."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.transport.line_json import LineClient, MemoryLine, decode, raise_refusal
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)

RECORDINGS = Path(__file__).parents[5] / "shared" / "recordings"


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (b'{"a":1}\x00', {"a": 1}),
        (b'\x00{"a":1}\x00\x00', {"a": 1}),
        (b'{"a":1,}', {"a": 1}),
        (b'{,"a":1}', {"a": 1}),
        (b',{"a":1}', {"a": 1}),
        (b'{"a":1,,"b":2}', {"a": 1, "b": 2}),
        (b'{"a":"x\ny"}', {"a": "x y"}),
        (b'{"a":[{"b":1}{"c":2}]}', {"a": [{"b": 1}, {"c": 2}]}),
        (b'{"a":[,{"b":1}]}', {"a": [{"b": 1}]}),
        (b'{"a":1"temp0":2}', {"a": 1, "temp0": 2}),
        (b'{"a":"x""temp0":2}', {"a": "x", "temp0": 2}),
        (b'{"a":inf,"b":nan,"c":-Infinity,"info":1}', {"a": None, "b": None, "c": None, "info": 1}),
        (b'{"a":1e999}', {"a": None}),
        (b'{"a":1}{"b":2}{"a":3}', {"a": 1, "b": 2}),
        (b'{"e":["329":"2024-01-01","110":"2024-01-02"]}', {"e": {"329": "2024-01-01", "110": "2024-01-02"}}),
        (b'{"e":{"329","110"}}', {"e": ["329", "110"]}),
        (b'{"a":Running}', {"a": "Running"}),
        (b'{"a":,"b":1}', {"a": None, "b": 1}),
        (b'{"url":"a,b}{c:[","x":1,}', {"url": "a,b}{c:[", "x": 1}),
        (b'{"a":"\xff\xfe"}', {"a": "\ufffd\ufffd"}),
    ],
)
def test_each_known_breakage_is_read_as_meant(raw: bytes, meant: dict[str, object]) -> None:
    assert decode(raw) == meant


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b'{"a":1,"Power":32', {"a": 1}),
        (b'{"a":1,"Power":', {"a": 1}),
        (b'{"a":1,"Pow', {"a": 1}),
        (b'{"a":1,"Power"', {"a": 1}),
        (b'{"a":1,"name":"half a te', {"a": 1}),
        (b'{"a":[1,2,3', {"a": [1, 2]}),
        (b'{"a":1,"b":{"c":2', {"a": 1, "b": {}}),
        (b'{"a":1,"b":[{"c":2}', {"a": 1, "b": [{"c": 2}]}),
        (b'{"a":1,', {"a": 1}),
    ],
)
def test_a_cut_reply_is_refused_or_loses_its_last_value(raw: bytes, left: dict[str, object]) -> None:
    with pytest.raises(MalformedReply):
        decode(raw)
    assert decode(raw, accept_cut=True) == left


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x00", b"[]", b"[1]", b"hello", b"<html>", b"12", b'"text"', b"[" * 200_000, b'{"a":' * 5000],
)
def test_what_is_no_object_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedReply):
        decode(raw, accept_cut=True)


@given(
    st.binary(max_size=300) | st.text(alphabet='{}[]:,"0a\\ .-', max_size=80).map(str.encode), st.booleans()
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_an_object_or_malformed(raw: bytes, accept_cut: bool) -> None:
    try:
        found = decode(raw, accept_cut=accept_cut)
    except MalformedReply:
        return
    assert isinstance(found, dict)


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_objects = st.dictionaries(st.text(min_size=1, max_size=8), _values, min_size=1, max_size=5)


@given(_objects)
@settings(max_examples=200, deadline=None)
def test_good_json_is_never_changed(body: dict[str, object]) -> None:
    assert decode(json.dumps(body).encode() + b"\x00") == body


@given(_objects)
@settings(max_examples=200, deadline=None)
def test_the_repair_pass_keeps_the_meaning(body: dict[str, object]) -> None:
    """A trailing comma forces the repair pass over everything before it."""
    if _has_empty_object(body):
        return  # `{}` and `[]` are told apart by their content, of which there is none
    broken = json.dumps(body)[:-1] + ",}"
    assert _blank_control(decode(broken.encode())) == _blank_control(body)


def _has_empty_object(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value in ({}, []) or any(_has_empty_object(item) for item in inner)


def _blank_control(value: object) -> object:
    if isinstance(value, dict):
        return {str(_blank_control(key)): _blank_control(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank_control(item) for item in value]
    return value


@given(_objects, st.data())
@settings(max_examples=200, deadline=None)
def test_a_cut_never_invents_a_number(body: dict[str, object], data: st.DataObject) -> None:
    raw = json.dumps(body).encode()
    at = data.draw(st.integers(1, len(raw) - 1))
    try:
        found = decode(raw[:at], accept_cut=True)
    except MalformedReply:
        return
    for key, value in found.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert math.isclose(float(value), float(body[key]))


@pytest.mark.parametrize("where", ["antminer-stock/v2020", "luxos/v1", "avalon/v1", "whatsminer/v2"])
def test_recorded_replies_of_real_machines_frame_and_parse(where: str) -> None:
    folder = RECORDINGS / where
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    for file in sorted(folder.glob("*.json")):
        raw = file.read_bytes()
        body = decode(raw + b"\x00")
        assert body == json.loads(raw), file.name
        broken = raw.rstrip()[:-1] + b",}"
        assert decode(broken) == body, f"{file.name} through the repair pass"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ([{"STATUS": "E", "Code": 14, "Msg": "Invalid command"}], Unsupported),
        ([{"STATUS": "E", "Code": 45, "Msg": "Access denied"}], AuthFailed),
        ([{"STATUS": "F", "Code": 99, "Msg": "out of memory"}], Busy),
        ("E", Busy),
    ],
)
def test_a_refusal_inside_a_reply_is_typed(status: object, meaning: type[DeviceError]) -> None:
    with pytest.raises(meaning):
        raise_refusal({"STATUS": status, "Msg": "no"})


@pytest.mark.parametrize(
    "reply", [{"STATUS": [{"STATUS": "S"}]}, {}, {"STATUS": []}, {"STATUS": [3]}, {"STATUS": "S"}]
)
def test_anything_else_is_no_refusal(reply: dict[str, object]) -> None:
    raise_refusal(reply)


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _ask(behaviour: Behaviour, *, timeout_s: float = 5.0) -> dict[str, object]:
    server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
    async with server:
        client = LineClient("127.0.0.1", server.sockets[0].getsockname()[1], timeout_s=timeout_s)
        return await client.ask("stats", "0")


async def test_the_client_reads_to_the_end_of_a_dribbled_reply() -> None:
    seen = []

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(4096))
        for piece in (b'{"STATUS":[{"STA', b'TUS":"S"}],"A"', b":1}\x00"):
            writer.write(piece)
            await writer.drain()
        writer.close()

    assert (await _ask(dribble))["A"] == 1
    assert json.loads(seen[0]) == {"command": "stats", "parameter": "0"}


async def test_closing_without_a_word_is_unreachable() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.close()

    with pytest.raises(Unreachable):
        await _ask(mute)


async def test_a_reset_is_unreachable() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.transport.abort()

    with pytest.raises(Unreachable):
        await _ask(reset)


async def test_hanging_is_a_timeout() -> None:
    over = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    try:
        with pytest.raises(DeviceTimeout):
            await _ask(hang, timeout_s=0.05)
    finally:
        over.set()


async def test_an_endless_reply_is_cut_off() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        for _ in range(8):
            writer.write(b"[" * 65536)
        writer.close()

    with pytest.raises(MalformedReply, match="longer"):
        await _ask(flood)


async def test_nobody_listening_is_unreachable() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(Unreachable):
        await LineClient("127.0.0.1", port, timeout_s=5).ask("stats")


async def test_the_twin_answers_refuses_and_remembers() -> None:
    twin = MemoryLine({"summary": b'{"SUMMARY":[{}],}\x00'})
    assert await twin.ask("summary") == {"SUMMARY": [{}]}
    with pytest.raises(Unsupported):
        await twin.ask("version")
    assert twin.asked == ["summary", "version"]
