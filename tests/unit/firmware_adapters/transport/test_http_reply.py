"""One HTTP reply out of bytes in any pieces: a reply or a typed failure, and never more than is allowed."""

import itertools
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.http import MAX_REPLY_BYTES, HttpReply
from firmware_adapters.transport.http_reply import (
    MAX_CHUNK_LINE,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_INTERIM,
    ReplyReader,
)
from shared.errors import DeviceError, MalformedReply, Unreachable

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WORDS = (
    *(
        b"HTTP/1.1 ",
        b"HTTP/1.0 200\n",
        b"100 C\r\n",
        b"200 OK",
        b"\r\n",
        b"\n",
        b"0",
        b"a",
        b":",
        b"-1",
        b" ",
    ),
    *(b"Content-Length: 3", b"Content-Length:3\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"abc", b"\x00"),
    *(b"Connection: close\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"ffffffff\r\n"),
)


def whole(raw: bytes, *, cuts: tuple[int, ...] = (), body_expected: bool = True) -> tuple[HttpReply, bool]:
    """The reply in `raw`, handed over in pieces, with whether the connection may be used again."""
    reader = ReplyReader(body_expected=body_expected)
    for piece in _pieces(raw, cuts):
        reply = reader.feed(piece)
        if reply is not None:
            return reply, reader.reusable
    return reader.end(), reader.reusable


def _pieces(raw: bytes, cuts: tuple[int, ...]) -> Iterator[bytes]:
    places = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
    for start, end in itertools.pairwise(places):
        yield raw[start:end]


def framed(status: int, body: bytes, how: str, *, end: bytes = b"\r\n", step: int = 7) -> bytes:
    """A correct reply whose body is told in one of the three ways."""
    head = b"HTTP/1.1 %d Any Words" % status + end + b"Server: x" + end
    if how == "length":
        return head + b"content-LENGTH:  %d " % len(body) + end + end + body
    if how == "end":
        return head + end + body
    parts = [body[at : at + step] for at in range(0, len(body), step)]
    chunks = b"".join(b"%X;a=b" % len(part) + end + part + end for part in parts)
    return head + b"Transfer-Encoding: Chunked" + end + end + chunks + b"0" + end + b"Trailer: t" + end + end


@given(
    status=st.integers(200, 599).filter(lambda number: number not in (204, 304)),
    body=st.binary(max_size=300),
    how=st.sampled_from(["length", "end", "chunks"]),
    end=st.sampled_from([b"\r\n", b"\n"]),
    step=st.integers(1, 50),
    cuts=st.lists(st.integers(0, 600), max_size=40).map(tuple),
)
def test_a_correct_reply_is_read_however_it_is_cut(
    status: int, body: bytes, how: str, end: bytes, step: int, cuts: tuple[int, ...]
) -> None:
    reply, reusable = whole(framed(status, body, how, end=end, step=step), cuts=cuts)
    assert reply == HttpReply(status, body)
    assert reusable == (how != "end")


@given(
    raw=st.one_of(
        st.binary(max_size=400),
        st.binary(max_size=200).map(lambda rest: OK + rest),
        st.binary(max_size=200).map(lambda rest: OK + b"Transfer-Encoding: chunked\r\n\r\n" + rest),
        st.lists(
            st.sampled_from(WORDS),
            max_size=14,
        ).map(b"".join),
    ),
    cuts=st.lists(st.integers(0, 400), max_size=20).map(tuple),
)
def test_any_bytes_in_any_pieces_are_a_reply_or_a_typed_failure(raw: bytes, cuts: tuple[int, ...]) -> None:
    def outcome(where: tuple[int, ...]) -> object:
        try:
            return whole(raw, cuts=where)
        except DeviceError as error:
            return type(error)

    seen = outcome(cuts)
    every = outcome(tuple(range(len(raw))))
    # How the network cuts bytes may not change what they mean. A piece with more than the reply says at once
    # that something follows; byte by byte that only shows afterwards, when the connection is dropped.
    if isinstance(seen, tuple) and isinstance(every, tuple):
        assert seen[0] == every[0]
    else:
        assert seen == every


@given(raw=st.binary(max_size=300), cut=st.integers(0, 200), how=st.sampled_from(["length", "chunks"]))
def test_a_reply_that_is_cut_off_is_never_a_shorter_one(raw: bytes, cut: int, how: str) -> None:
    reply = framed(200, raw, how)
    kept = reply[: max(len(reply) - 1 - cut, 0)]
    with pytest.raises(Unreachable if not kept else MalformedReply):
        whole(kept)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (OK + b"X: ", b"x" * 1000),
        (OK, b"X: y\r\n" * 200),
        (OK + b"\r\n", b" " * 1000),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED, b"1\r\nx\r\n" * 200),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 200),
        (b"", b"HTTP/1.1 100 C\r\n\r\n" * 50),
        (b"", b"{" * 1000),
    ],
)
def test_ten_megabytes_are_refused_early_and_take_no_room(begin: bytes, again: bytes) -> None:
    reader = ReplyReader()
    reader.feed(begin)
    replies = (reader.feed(again) for _ in range(10_000_000 // len(again)))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedReply):
            any(replies)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * MAX_REPLY_BYTES


def test_ten_megabytes_in_one_piece_are_refused() -> None:
    with pytest.raises(MalformedReply, match="longer"):
        ReplyReader().feed(OK + b"\r\n" + b" " * 10_000_000)
    with pytest.raises(MalformedReply):
        ReplyReader().feed(b"[" * 10_000_000)


class TestLimits:
    def test_a_body_of_the_longest_length_fits_and_one_more_does_not(self) -> None:
        for how in ("length", "end", "chunks"):
            body = b" " * MAX_REPLY_BYTES
            assert whole(framed(200, body, how, step=4096))[0].body == body
            with pytest.raises(MalformedReply, match="longer"):
                whole(framed(200, body + b" ", how, step=4096))

    def test_heads(self) -> None:
        room = MAX_HEAD_BYTES - len(OK) - len(b"X: \r\nContent-Length: 0\r\n\r\n")
        fits = OK + b"X: " + b"x" * room + b"\r\nContent-Length: 0\r\n\r\n"
        assert whole(fits)[0] == HttpReply(200, b"")
        with pytest.raises(MalformedReply, match="head"):
            whole(fits.replace(b"X: ", b"XX: "))

    def test_header_lines(self) -> None:
        lines = b"X: y\r\n" * (MAX_HEADERS - 1) + b"Content-Length: 0\r\n"
        assert whole(OK + lines + b"\r\n")[1]
        with pytest.raises(MalformedReply, match="header lines"):
            whole(OK + lines + b"X: y\r\n\r\n")

    def test_interim_replies(self) -> None:
        interim = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"
        real = OK + b"Content-Length: 1\r\n\r\nb"
        assert whole(interim * MAX_INTERIM + real)[0].body == b"b"
        with pytest.raises(MalformedReply, match="103"):
            whole(interim * (MAX_INTERIM + 1) + real)
        with pytest.raises(MalformedReply, match="101"):
            whole(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + real)

    def test_lines_between_chunks(self) -> None:
        assert whole(CHUNKED + b"1;" + b"x" * (MAX_CHUNK_LINE - 3) + b"\r\nb\r\n0\r\n\r\n")[0].body == b"b"
        with pytest.raises(MalformedReply, match="between chunks"):
            whole(CHUNKED + b"1;" + b"x" * MAX_CHUNK_LINE + b"\r\nb\r\n0\r\n\r\n")


class TestReuse:
    @pytest.mark.parametrize(
        ("head", "reusable"),
        [
            (b"HTTP/1.1 200 OK\r\n", True),
            (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
            (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
            (b"HTTP/1.1 200 OK\r\nConnection: x, close\r\n", False),
            (b"HTTP/1.0 200 OK\r\n", False),
            (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
        ],
    )
    def test_what_the_head_says(self, head: bytes, reusable: bool) -> None:
        assert whole(head + b"Content-Length: 1\r\n\r\nb") == (HttpReply(200, b"b"), reusable)

    def test_bytes_that_nobody_asked_for_end_the_connection(self) -> None:
        """They could be taken for the reply to the next request."""
        assert whole(OK + b"Content-Length: 1\r\n\r\nbHTTP/1.1 200") == (HttpReply(200, b"b"), False)
        chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n"
        assert whole(chunked + b"x") == (HttpReply(200, b"b"), False)
        assert whole(b"HTTP/1.1 204 None\r\n\r\nbody") == (HttpReply(204, b""), False)

    @pytest.mark.parametrize("status", [204, 304])
    def test_replies_without_a_body(self, status: int) -> None:
        assert whole(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status) == (HttpReply(status, b""), True)

    def test_the_reply_to_head_has_a_length_and_no_body(self) -> None:
        raw = OK + b"Content-Length: 9\r\n\r\n"
        assert whole(raw, body_expected=False) == (HttpReply(200, b""), True)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nb",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nb",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nb",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\nb",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nb",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nb",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nb\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nbb\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedReply):
        whole(raw)


def test_the_same_length_twice_is_one_length() -> None:
    assert whole(OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nb")[0].body == b"b"
