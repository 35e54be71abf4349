"""What a gateway must not forget about its models: one small file beside the slots, replaced whole.

Not in the store: a store that was lost or restored from a copy would let an old assignment in again, or a
model that was rolled back. Written before the slots change, so that a kill at any point leaves a file that
says how to go on.
"""

import hashlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.inference.acts import Tally
from edge_agent.agent.inference.admission import Seen
from edge_agent.agent.inference.lives import Death, Life
from edge_agent.agent.inference.slots import durable_write
from shared.artifacts.signing import Signed

log = logging.getLogger("minewarden.agent")

FILE: Final = "memory.bin"
_PROVEN: Final = 8


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants this version kept, whatever the cloud assigns."""

    sha256: str
    name: str
    version: int
    at_ms: int


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How far the active model has proved itself since it was swapped in."""

    sha256: str
    good_cycles: int = 0
    elapsed_s: float = 0.0
    """Running time, not wall-clock time: a stepped clock neither ends nor prolongs a trial."""
    confirmed: bool = False
    before: Tally = Tally()
    """Of the model that it took over from."""


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is on its way out; written before anything moves."""

    sha256: str
    reason: str
    why: str
    at_ms: int
    name: str = ""
    version: int = 0
    candidate: bool = False
    """It never acted: it leaves the shadow, and nothing is gone back to."""
    digest: str = ""
    """Of a candidate's assignment, which is refused from now on; empty where its papers cannot be read."""


class Trying(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is being tested and loaded; written before, so that it is known who was at it when the
    agent ends."""

    digest: str
    """SHA-256 of the assignment's payload."""
    times: int = 1
    """Lives of the agent that began it and did not say how it came out, this one included."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    seen: Seen = Seen()
    refused: str = ""
    """SHA-256 of the last refused assignment's payload."""
    trying: Trying | None = None
    trial: Trial | None = None
    starts: int = 0
    """Times that the agent began since the models in its slots last proved that they can run for a while."""
    life: Life | None = None
    """The last one that had a model."""
    deaths: tuple[Death, ...] = ()
    """Oldest first; bounded, see `lives.py`."""
    pin: Pin | None = None
    leaving: Leaving | None = None
    told_active: str = ""
    """SHA-256 of the model that the cloud was last told is active."""
    proven: tuple[str, ...] = ()
    """SHA-256 of models that once passed their trial, newest last."""

    def with_proven(self, sha256: str) -> "Memory":
        """This one has passed its trial."""
        others = tuple(known for known in self.proven if known != sha256)
        return msgspec.structs.replace(self, proven=(*others, sha256)[-_PROVEN:])


class MemoryFile:
    """Reads it once, writes it at each change. Blocking, like the slots; changes are rare."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.damage = ""
        """Why the file of the last life could not be used; empty where it could."""
        self.now = self._read()

    def change(self, **changes: object) -> None:
        """Replace these fields; durable on return. Raises `OSError`, and then nothing has changed."""
        self.set(msgspec.structs.replace(self.now, **changes))

    def set(self, memory: Memory) -> None:
        """Replace all of it; durable on return. Raises `OSError`, and then nothing has changed."""
        if memory == self.now:
            return
        body = msgspec.msgpack.encode(memory)
        durable_write(self._path, hashlib.sha256(body).digest() + body)
        self.now = memory

    def _read(self) -> Memory:
        """A damaged file is forgotten loudly; the guardian keeps a counter of its own against replays."""
        try:
            data = self._path.read_bytes()
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                raise ValueError("hash does not match")  # noqa: TRY301 - one way out for every damage
            return msgspec.msgpack.decode(data[32:], type=Memory)
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError) as error:
            log.error("%s is damaged and begins anew: %s", self._path, error)  # noqa: TRY400 - the text says it all
            self.damage = str(error)
            return Memory()


def digest(signed: Signed) -> str:
    """What an assignment is known by."""
    return hashlib.sha256(signed.payload).hexdigest()
