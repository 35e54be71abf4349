"""Who is at the other end of a Unix socket: SO_PEERCRED, as the kernel knows it."""

import contextlib
import os
import pwd
import socket
import struct
from typing import NamedTuple

AGENT_USER = "minewarden-agent"
"""The agent's Unix user on an installed gateway (packaging)."""

_UCRED = struct.Struct("3i")


class Peer(NamedTuple):
    """Process, user and group of a peer."""

    pid: int
    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The user's name, or `uid N`."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def peer_of(connection: socket.socket) -> Peer:
    """The peer's credentials at the time it connected."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(data))


class AgentUids:
    """The uids that must never reach operator.sock: the agent's user, and whoever spoke as an agent.

    Where guardian and agent share a user (a demo, a developer's machine) there is nothing to tell apart.
    """

    def __init__(self) -> None:
        self._uids: set[int] = set()
        with contextlib.suppress(KeyError):  # no such user: not an installed gateway
            self._uids.add(pwd.getpwnam(AGENT_USER).pw_uid)

    def seen(self, uid: int) -> None:
        self._uids.add(uid)

    def is_agent(self, uid: int) -> bool:
        return uid in self._uids and uid not in (0, os.geteuid())
