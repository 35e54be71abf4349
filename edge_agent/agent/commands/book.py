"""What the agent keeps of commands over a restart: orders without a last word, and words not told for sure.

Pure. A PUBACK proves nothing, so a word is told again over one later connection: a broker that died with it
is back by then. Whoever hears it twice knows it by (command, state, digest). The guardian's journal carries
the same on the durable way, so what is forgotten here for lack of room is late and not lost.
"""

import msgspec

from shared.artifacts.signing import Signed
from shared.commands import CommandState, CommandStatus
from shared.ids import CommandId

MAX_TOLD = 256
MAX_TOLD_BYTES = 512 * 1024
MAX_OPEN = 64
ENOUGH_SESSIONS = 2
KEEP_MS = 24 * 3_600_000
OPEN_MS = 600_000
"""An order without a last word is asked after again for so long."""
_LAST = frozenset({CommandState.DONE, CommandState.REFUSED, CommandState.EXPIRED})


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One word, and over how many connections it was told so far."""

    status: CommandStatus
    kept_ms: int
    sessions: int = 0


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was handed to the guardian, exactly as it came."""

    id: CommandId
    signed: Signed
    at_ms: int


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Newest last in both."""

    told: tuple[Told, ...] = ()
    handed: tuple[Handed, ...] = ()

    def with_order(self, command: CommandId, signed: Signed, now_ms: int) -> "Book":
        """An order is on its way to the guardian."""
        others = tuple(entry for entry in self.handed if entry.signed != signed)
        handed = (*others, Handed(id=command, signed=signed, at_ms=now_ms))
        return msgspec.structs.replace(self, handed=handed[-MAX_OPEN:])

    def without_order(self, signed: Signed) -> "Book":
        """The guardian was not there to take it."""
        handed = tuple(entry for entry in self.handed if entry.signed != signed)
        return msgspec.structs.replace(self, handed=handed)

    def with_word(self, status: CommandStatus, now_ms: int, *, connected: bool = False) -> "Book":
        """Something is to be told, now where there is a connection; a last word closes its order."""
        same = _name(status)
        told = tuple(entry for entry in self.told if _name(entry.status) != same)
        handed = self.handed
        if status.state in _LAST:
            handed = tuple(entry for entry in handed if not _is_about(status, entry))
        fresh = Told(status=status, kept_ms=now_ms, sessions=int(connected))
        return Book(told=(*told, fresh), handed=handed).bounded(now_ms)

    def bounded(self, now_ms: int) -> "Book":
        """Without what is old, and within the bounds; the oldest go first."""
        told = [entry for entry in self.told if abs(now_ms - entry.kept_ms) <= KEEP_MS][-MAX_TOLD:]
        room = MAX_TOLD_BYTES
        kept: list[Told] = []
        for entry in reversed(told):
            room -= len(msgspec.msgpack.encode(entry))
            if room < 0 and kept:
                break
            kept.append(entry)
        handed = tuple(entry for entry in self.handed if abs(now_ms - entry.at_ms) <= OPEN_MS)
        return Book(told=tuple(reversed(kept)), handed=handed)

    def over_connection(self) -> "Book":
        """A connection is up and everything here is told over it; what was told over two is told for sure."""
        counted = (msgspec.structs.replace(entry, sessions=entry.sessions + 1) for entry in self.told)
        told = tuple(entry for entry in counted if entry.sessions < ENOUGH_SESSIONS)
        return msgspec.structs.replace(self, told=told)


def _name(status: CommandStatus) -> tuple[str, str, str]:
    return status.id, status.state, status.digest


def _is_about(status: CommandStatus, entry: Handed) -> bool:
    return status.digest == entry.signed.digest if status.digest else status.id == entry.id
