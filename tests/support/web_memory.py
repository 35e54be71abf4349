"""An emulator reached without a socket, recorded replies behind the same seam, and JSON to fuzz with."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from firmware_adapters.miners.emulator_wire import WebEmulator
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.errors import DeviceError

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "recordings"
"""Replies of real machines, beside the repository; read from there, never copied."""


def recorded(folder: str) -> dict[str, Any]:
    """The recorded pages of one firmware version by file name; skips where they are not at hand."""
    place = RECORDINGS / folder
    if not place.is_dir():
        pytest.skip(f"no recordings of {folder} beside the repository")
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(place.glob("*.json"))}


def replaying(pages: Mapping[str, object], *, after: Mapping[str, object] | None = None) -> MemoryHttp:
    """A machine that answers GET with `pages` by path, other methods with `after`, and 404 to the rest."""

    async def answer(request: HttpRequest) -> HttpReply:
        said = pages if request.method == "GET" else (after or {})
        if request.path not in said:
            return HttpReply(404, b"")
        return HttpReply(200, json.dumps(said[request.path]).encode())

    return MemoryHttp(answer)


class _Headers(Mapping[str, str]):
    """Header names in any case, as HTTP has them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._lower = {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._lower[name.lower()]

    def __iter__(self) -> Any:
        return iter(self._lower)

    def __len__(self) -> int:
        return len(self._lower)


def in_memory(
    emulator: WebEmulator,
    *,
    silent: str | None = None,
    spoil: Callable[[str, bytes], HttpReply | None] = lambda path, body: None,
) -> MemoryHttp:
    """A transport whose other end is the emulator itself.

    A path that ends in `silent` is never answered; `spoil` may put another reply in place of a good one.
    """

    async def answer(request: HttpRequest) -> HttpReply:
        await asyncio.sleep(0)  # a request lets others run, as a real one does
        if silent is not None and request.path.endswith(silent):
            await asyncio.Event().wait()
        said = emulator.answer(request.method, request.path, _Headers(request.headers), request.body)
        return spoil(request.path, said.body) or HttpReply(said.status, said.body)

    return MemoryHttp(answer)


@st.composite
def spoiled(draw: st.DrawFn) -> Callable[[str, bytes], HttpReply | None]:
    """Bytes of replies changed, cut, repeated or put in, on some of the pages, with any status: a fuzzer."""
    statuses = st.sampled_from([200, 200, 200, 200, 204, 301, 401, 404, 418, 429, 500, 503])
    damages = draw(
        st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 40)), max_size=6)
    )
    every, status = draw(st.integers(1, 4)), draw(statuses)
    count = 0

    def spoil(path: str, body: bytes) -> HttpReply | None:
        nonlocal count
        count += 1
        if count % every:
            return None
        for place, new, lost in damages:
            at = int(place * len(body))
            body = body[:at] + new + body[at + lost :]
        return HttpReply(status, body)

    return spoil


async def failures(tries: Iterable[Callable[[], Awaitable[object]]]) -> list[DeviceError]:
    """Those of `tries` that failed as they may; another exception is raised."""
    failed = []
    for attempt in tries:
        try:
            await attempt()
        except DeviceError as error:
            failed.append(error)
    return failed


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
"""Any value that JSON can carry, and some that it cannot."""


@st.composite
def mutated(draw: st.DrawFn, page: object, changes: int = 4) -> object:
    """`page` with up to `changes` of its values, at any depth, removed or replaced by anything."""
    made = copy.deepcopy(page)
    for _ in range(draw(st.integers(0, changes))):
        paths = list(_paths(made))
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        parent: Any = made
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(ANYTHING)
    return made


def _paths(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        items: list[tuple[Any, object]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [path for key, inner in items for path in ((*at, key), *_paths(inner, (*at, key)))]
