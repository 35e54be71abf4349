"""One HTTP/1.1 reply out of the bytes of a connection, in whatever pieces they come. Pure, no socket.

Accepts what small web servers of machines send (RFC 9112): a body by length, in chunks, or up to the end of
the connection; line ends with or without a carriage return; interim replies (1xx) before the real one.
Refuses what is ambiguous, because two readers of it could disagree: both a length and chunks, two different
lengths, folded header lines, another transfer coding. Everything is bounded: the head, the number of header
lines, the body, the overhead of chunks. A body is never unpacked: none is asked for compressed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from firmware_adapters.transport.http import MAX_REPLY_BYTES, HttpReply
from shared.errors import MalformedReply, Unreachable

MAX_HEAD_BYTES = 16 * 1024
"""Longest head of a reply, and longest trailer after chunks."""
MAX_HEADERS = 100
MAX_INTERIM = 4
"""So many 1xx replies may come before the real one."""
MAX_CHUNK_LINE = 1024

_END_OF_HEAD = re.compile(rb"\n\r?\n")
# The whole head in one match: at the cadence of polls, a loop over its lines is what costs most.
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*+)?+"
    rb"(?:\r?\n[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\r\n]*+)*+\r?"
)
_MATTERS = re.compile(
    rb"\n(content-length|transfer-encoding|connection|www-authenticate):[ \t]*+([^\r\n]*)", re.IGNORECASE
)
_LENGTH = re.compile(rb"[0-9]{1,12}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?")
_NO_BODY = frozenset({204, 304})
_SWITCHED = 101
_UNAUTHORIZED = 401
_NO_HEADERS: Mapping[str, str] = {}


class ReplyReader:
    """Takes the bytes that follow one request until its reply is whole.

    `feed` returns the reply once it is; afterwards `reusable` says whether the connection may carry another
    request. Raises `MalformedReply` for what is no reply; after that the reader is spent.
    """

    def __init__(self, *, body_expected: bool = True, most: int = MAX_REPLY_BYTES) -> None:
        """`body_expected` False: the reply to a HEAD request, which has a length and no body.

        `most`: bytes of the longest body that is read.
        """
        self.reusable = False
        self._body_expected = body_expected
        self._most = most
        self._raw = bytearray()
        self._searched = 0
        """So many bytes of `_raw` hold no end of a head."""
        self._status = 0
        self._headers = _NO_HEADERS
        self._interims = 0
        self._left: int | None = None
        """Bytes of the body still to come; None with `_in_body`: until the connection ends."""
        self._in_body = False
        self._chunks: _Chunks | None = None
        self._began = False

    @property
    def began(self) -> bool:
        """Whether anything came at all."""
        return self._began

    def feed(self, data: bytes) -> HttpReply | None:
        """The reply if these bytes complete it, else None. Raises `MalformedReply`."""
        self._began = self._began or bool(data)
        self._raw += data
        while not self._in_body:
            if not self._take_head():
                return None
        if self._chunks is not None:
            return self._feed_chunks(self._chunks)
        return self._feed_plain()

    def end(self) -> HttpReply:
        """The connection ended in an orderly way: the reply if that completes it.

        Raises `Unreachable` where not one byte came, `MalformedReply` where the reply is cut off.
        """
        if not self._began:
            raise Unreachable("closed without a reply")
        if self._in_body and self._chunks is None and self._left is None:
            return HttpReply(self._status, bytes(self._raw), self._headers)
        raise MalformedReply("the reply was cut off")

    # ------------------------------------------------------------ head

    def _take_head(self) -> bool:
        """Read a head if it is there; True if one was."""
        found = _END_OF_HEAD.search(self._raw, max(self._searched - 2, 0))
        if (len(self._raw) if found is None else found.end()) > MAX_HEAD_BYTES:
            raise MalformedReply(f"the head of the reply is longer than {MAX_HEAD_BYTES} bytes")
        if found is None:
            self._searched = len(self._raw)
            self._check_beginning()
            return False
        head = bytes(self._raw[: found.start()])
        del self._raw[: found.end()]
        self._searched = 0
        self._read_head(head)
        return True

    def _check_beginning(self) -> None:
        """What cannot become a reply any more is not waited for."""
        beginning = bytes(self._raw[:7])
        if not b"HTTP/1.".startswith(beginning):
            _refuse("the reply is not HTTP", beginning)

    def _read_head(self, head: bytes) -> None:
        match = _HEAD.fullmatch(head)
        if match is None:
            _refuse("no head of a reply", head)
        if head.count(b"\n") > MAX_HEADERS:
            raise MalformedReply(f"the reply has more than {MAX_HEADERS} header lines")
        status = int(match[2])
        said = _said(head, self._most)
        if status < 200:
            self._interims += 1
            if status == _SWITCHED or self._interims > MAX_INTERIM:
                raise MalformedReply(f"HTTP {status} in place of a reply")
            return
        self._status = status
        self._in_body = True
        if status == _UNAUTHORIZED and said.challenge is not None:
            self._headers = {"www-authenticate": said.challenge}
        persistent = match[1] == b"1" or b"keep-alive" in said.connection
        self.reusable = persistent and b"close" not in said.connection
        if not self._body_expected or status in _NO_BODY:
            self._left = 0
        elif said.chunked:
            self._chunks = _Chunks(self._most)
        elif said.length is not None:
            self._left = said.length
        else:
            self.reusable = False

    # ------------------------------------------------------------ body

    def _feed_plain(self) -> HttpReply | None:
        raw, left = self._raw, self._left
        if left is None:
            if len(raw) > self._most:
                _too_long(self._most)
            return None
        if len(raw) < left:
            return None
        if len(raw) > left:
            # Bytes that nobody asked for: what follows could be taken for the reply to the next request.
            self.reusable = False
        return HttpReply(self._status, bytes(raw[:left]), self._headers)

    def _feed_chunks(self, chunks: "_Chunks") -> HttpReply | None:
        if not chunks.take(self._raw):
            return None
        if self._raw:
            self.reusable = False
        return HttpReply(self._status, bytes(chunks.body), self._headers)


class _Chunks:
    """The chunked coding, taken from the front of a buffer as it fills."""

    def __init__(self, most: int) -> None:
        self.body = bytearray()
        self._most = most
        self._left: int | None = None
        """Bytes still to come of the chunk under way; None between chunks."""
        self._overhead = 0
        self._in_trailer = False

    def take(self, raw: bytearray) -> bool:
        """Consume what is there; True at the end of the last chunk and its trailer."""
        while not self._in_trailer:
            if self._left is None:
                if not self._take_size(raw):
                    return False
            elif not self._take_data(raw, self._left):
                return False
        return self._take_trailer(raw)

    def _take_size(self, raw: bytearray) -> bool:
        line = self._line(raw, MAX_CHUNK_LINE)
        if line is None:
            return False
        match = _CHUNK.fullmatch(line)
        if match is None:
            _refuse("no size of a chunk", line)
        size = int(match[1], 16)
        if len(self.body) + size > self._most:
            _too_long(self._most)
        if size:
            self._left = size
        else:
            self._in_trailer = True
        return True

    def _take_data(self, raw: bytearray, left: int) -> bool:
        if left:
            part = min(left, len(raw))
            self.body += raw[:part]
            del raw[:part]
            self._left = left = left - part
            if left:
                return False
        line = self._line(raw, 2)
        if line is None:
            return False
        if line not in (b"", b"\r"):
            _refuse("a chunk is longer than its size", line)
        self._left = None
        return True

    def _take_trailer(self, raw: bytearray) -> bool:
        """Lines up to an empty one; what they say is not used."""
        while True:
            line = self._line(raw, MAX_HEAD_BYTES)
            if line is None:
                return False
            if line in (b"", b"\r"):
                return True

    def _line(self, raw: bytearray, most: int) -> bytes | None:
        """The next line without its end; what is no part of the body counts against a bound of its own."""
        at = raw.find(b"\n", 0, most + 1)
        if at < 0:
            if len(raw) > most:
                _refuse("no end of a line between chunks", bytes(raw[:80]))
            return None
        line = bytes(raw[:at])
        del raw[: at + 1]
        self._overhead += at + 1
        if self._overhead > self._most:
            raise MalformedReply("the chunks of the reply are mostly overhead")
        return line


# ---------------------------------------------------------------- header lines


@dataclass(slots=True)
class _Said:
    """What the header lines of one head say that matters here."""

    length: int | None = None
    chunked: bool = False
    connection: bytes = b""
    """The words of `Connection`, lower case."""
    challenge: str | None = None


def _said(head: bytes, most: int) -> _Said:
    said = _Said()
    for found in _MATTERS.finditer(head):
        name, value = found[1].lower(), found[2].rstrip()
        if name == b"content-length":
            told = _length(value, most)
            if said.length is not None and told != said.length:
                raise MalformedReply("the reply has two lengths")
            said.length = told
        elif name == b"transfer-encoding":
            if said.chunked or value.lower() != b"chunked":
                _refuse("a transfer coding other than chunked", value)
            said.chunked = True
        elif name == b"connection":
            said.connection += b"," + value.lower()
        elif said.challenge is None:
            said.challenge = value.decode("latin-1")
    if said.chunked and said.length is not None:
        raise MalformedReply("the reply has a length and comes in chunks")
    return said


def _length(value: bytes, most: int) -> int:
    if _LENGTH.fullmatch(value) is None:
        _refuse("no length", value)
    length = int(value)
    if length > most:
        _too_long(most)
    return length


def _too_long(most: int) -> NoReturn:
    raise MalformedReply(f"reply is longer than {most} bytes")


def _refuse(what: str, seen: bytes) -> NoReturn:
    raise MalformedReply(f"{what}: {seen[:80]!r}")
