"""The writer thread: everything that touches SQLite or raw frames runs here, one call after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """Runs calls on one dedicated thread. Callers wait for the result, so no queue can grow."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result; what it raises is raised here.

        What was handed in is done even if the caller is cancelled meanwhile: a commit that waits its turn
        must not be forgotten by a stop, because its rows are nowhere else any more.
        """
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(function, *args, **kwargs)))

    def close(self) -> None:
        """Let what was handed in finish, then end the thread."""
        self._thread.shutdown(wait=True)
