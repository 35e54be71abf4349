"""Ports that are drawn before somebody binds them: another process must not get them in between."""

import os
import random
import socket
from collections import deque

PORTS = range(20_000, 32_000, 2)
"""Below those that the kernel gives to outgoing connections and to whoever binds port 0."""


def _of_this_worker() -> deque[int]:
    """The part of `PORTS` that no other worker of this run draws from, in an order of its own."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = list(PORTS[number::workers])
    random.SystemRandom().shuffle(mine)
    return deque(mine)


_mine = _of_this_worker()


def free_port() -> int:
    """A port that is free at every address, for TCP and UDP, and so is the next one (where the cgminer
    socket stands). None comes a second time before all others did. Raises OSError where none is free."""
    for _ in range(len(_mine)):
        _mine.rotate(-1)
        if _is_free(_mine[-1]) and _is_free(_mine[-1] + 1):
            return _mine[-1]
    raise OSError("no two free ports side by side")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
