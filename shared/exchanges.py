"""What a device was asked and what it said, raw: for diagnostics, and to make recordings of."""

import msgspec

from shared.ids import DeviceId


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One question and what came of it. `name` is what a recording of the reply is called (`summary`)."""

    question: str
    name: str
    status: int | None = None
    """Of an HTTP reply."""
    reply: bytes = b""
    failure: str = ""
    """Code and words of the typed failure where no reply came, or the reply was refused."""


class KeptFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The last read of a device that failed, with what it had said; `at_ms` UTC."""

    device: DeviceId
    adapter: str
    at_ms: int
    failure: str
    exchanges: tuple[Exchange, ...]

    @property
    def size(self) -> int:
        """Bytes of replies."""
        return sum(len(exchange.reply) for exchange in self.exchanges)
