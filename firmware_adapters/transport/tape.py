"""What was asked and what came back, while somebody listens; and a place for a guard that judges requests.

A tape is laid around a piece of work with `taping(tape)`; every transport below notices it through a context
variable, so adapters know nothing of it, and a process without one pays one look-up per request. Three uses:
the guardian keeps the raw replies of a read that failed (`FailureRing`), `minewarden probe --save` keeps a
whole conversation as a recording, and `probe` and `scan` carry the guard of `transport.read_only`.

Raw are HTTP bodies, the replies of command sockets and Modbus frames. SNMP and BACnet answers are kept as
their library decoded them (`decoded`): gufo and the BACnet process hand out no datagram, and one of SNMP
would carry the community or the user.
"""

import asyncio
import math
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Protocol, TypeVar

import msgspec

from shared.errors import DeviceError, DeviceTimeout
from shared.exchanges import Exchange, KeptFailure

KEEP_EXCHANGES = 64
_NAME = re.compile(r"[^A-Za-z0-9.]+")


class HttpSaid(Protocol):
    """The part of an HTTP reply that a tape looks at."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


class Guard(Protocol):
    """Judges requests before they leave; raises `DeviceError` for one that may not."""

    def http(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> None:
        """An HTTP request is about to leave."""
        ...

    def http_said(self, method: str, path: str, headers: Mapping[str, str], said: HttpSaid) -> None:
        """Its reply came."""
        ...

    def command(self, command: str, parameter: str | None) -> None:
        """A socket command is about to leave."""
        ...


R = TypeVar("R", bound=HttpSaid)
T = TypeVar("T")


class Tape:
    """Listens to one conversation; keeps its last `KEEP_EXCHANGES` exchanges."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard
        self.exchanges: deque[Exchange] = deque(maxlen=KEEP_EXCHANGES)

    async def http(
        self, method: str, path: str, body: object, headers: Mapping[str, str], sending: Awaitable[R]
    ) -> R:
        """Let the guard judge, await the reply, keep both. Raises what either raises."""
        question = f"{method} {path}"
        if self._guard is not None:
            try:
                self._guard.http(method, path, body, headers)
            except DeviceError:
                _forget(sending)
                raise
        try:
            said = await sending
        except DeviceError as error:
            self._failed(question, http_name(path), error)
            raise
        self.exchanges.append(
            Exchange(question=question, name=http_name(path), status=said.status, reply=said.body)
        )
        if self._guard is not None:
            self._guard.http_said(method, path, headers, said)
        return said

    async def command(self, command: str, parameter: str | None, sending: Awaitable[bytes]) -> bytes:
        """The same for one command on a socket; the reply is what came on the wire, before any repair."""
        question = command if parameter is None else f"{command} {parameter}"
        if self._guard is not None:
            try:
                self._guard.command(command, parameter)
            except DeviceError:
                _forget(sending)
                raise
        try:
            raw = await sending
        except DeviceError as error:
            self._failed(question, file_name(question), error)
            raise
        self.exchanges.append(Exchange(question=question, name=file_name(question), reply=raw))
        return raw

    def note(self, exchange: Exchange | None) -> None:
        """Keep an exchange, if there was one."""
        if exchange is not None:
            self.exchanges.append(exchange)

    def _failed(self, question: str, name: str, error: DeviceError) -> None:
        self.exchanges.append(Exchange(question=question, name=name, failure=failure_words(error)))


def failure_words(error: DeviceError) -> str:
    """Code and words of a typed failure."""
    return f"{error.code}: {error}"


def _forget(sending: Awaitable[object]) -> None:
    """A coroutine that is never awaited has to be closed, or Python warns about it."""
    close = getattr(sending, "close", None)
    if close is not None:
        close()


@lru_cache(maxsize=256)
def http_name(path: str) -> str:
    """As recordings are named: `/api/v1/miner/details` is `miner_details`, `/cgi-bin/get_system_info.cgi`
    is `system_info`."""
    bare = path.partition("?")[0]
    if bare.startswith("/cgi-bin/get_"):
        bare = bare.removeprefix("/cgi-bin/get_")
    for prefix in ("/api/v1/", "/api/", "/cgi-bin/"):
        if bare.startswith(prefix):
            bare = bare.removeprefix(prefix)
            break
    return file_name(bare.removesuffix(".cgi")) or "index"


def file_name(question: str) -> str:
    """A question as a file's name: `healthchipget 0` → `healthchipget_0`."""
    return _NAME.sub("_", question).strip("_.")[:80]


_TAPE: ContextVar[Tape | None] = ContextVar("minewarden_tape", default=None)


def tape() -> Tape | None:
    """The tape that is laid around the present work, if any."""
    return _TAPE.get()


@contextmanager
def taping(laid: Tape) -> Iterator[Tape]:
    """Lay a tape: what is asked inside, also in tasks begun inside, is heard by it."""
    token = _TAPE.set(laid)
    try:
        yield laid
    finally:
        _TAPE.reset(token)


async def noted(sending: Awaitable[T], told: Callable[[T | DeviceError], Exchange | None]) -> T:
    """Await an answer; where a tape is laid, it keeps what `told` makes of the answer or of the failure.

    `told` is only called where somebody listens; None: nothing was asked. A caller's deadline that
    comes first is the device's silence.
    """
    listening = tape()
    if listening is None:
        return await sending
    try:
        answer = await sending
    except DeviceError as error:
        listening.note(told(error))
        raise
    except asyncio.CancelledError:
        listening.note(told(DeviceTimeout("no whole reply before the deadline")))
        raise
    listening.note(told(answer))
    return answer


def decoded(question: str, outcome: Mapping[str, object] | DeviceError) -> Exchange:
    """An exchange of which only the decoded values are known, as JSON text: {name: value}.

    None (the device has no such thing) is null. What JSON has no word for is marked: bytes are
    `{"hex": "00ff"}`, numbers that are none `{"float": "nan"}`.
    """
    name = file_name(question)
    if isinstance(outcome, DeviceError):
        return Exchange(question=question, name=name, failure=failure_words(outcome))
    reply = msgspec.json.encode({key: _marked(value) for key, value in outcome.items()})
    return Exchange(question=question, name=name, reply=reply)


def _marked(value: object) -> object:
    match value:
        case bytes():
            return {"hex": value.hex()}
        case float() if not math.isfinite(value):
            return {"float": str(value)}
    return value


def and_more(verb: str, asked: Sequence[str]) -> str:
    """A question for many things, short enough for a file's name: `get 1.3.6.1 and 29 more`."""
    more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
    return f"{verb} {asked[0] if asked else 'nothing'}{more}"


class FailureRing:
    """The last failure of each device, at most `max_bytes` of replies over all; the oldest goes first.

    In memory only, because a broken fleet would otherwise wear out the gateway's storage.
    """

    def __init__(self, *, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, KeptFailure] = OrderedDict()
        self._size = 0

    def keep(self, failure: KeptFailure) -> None:
        """Keep this one in place of the device's earlier one."""
        earlier = self._kept.pop(failure.device, None)
        self._size += failure.size - (0 if earlier is None else earlier.size)
        self._kept[failure.device] = failure
        while self._size > self._max_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size

    def of(self, device: str) -> KeptFailure | None:
        """The device's last failure, or None."""
        return self._kept.get(device)

    def __len__(self) -> int:
        return len(self._kept)
