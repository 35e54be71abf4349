"""The newest words of machines that got into trouble, kept in memory for the person who comes to look.

A machine's own log says why it stopped, and forgets it with its next start. So it is asked where something
went wrong: a machine that was silent or refused answers again, its firmware tells a fault that it did not
tell before, or goes into its failure state. The last `TAIL_BYTES` of the first log that its adapter names are
kept, one per machine; over all machines `MOST_BYTES`, and beyond that the oldest goes first. A machine that
runs well is never asked.
"""

import zlib
from collections import OrderedDict

import msgspec

from shared.details import LogTail
from shared.ids import DeviceId

TAIL_BYTES = 8 * 1024
MOST_BYTES = 4 * 1024 * 1024
"""Deflated: some two thousand machines."""

_decoder = msgspec.msgpack.Decoder(LogTail)


class Logs:
    """One log per device, at most `most_bytes` over all."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[DeviceId, bytes] = OrderedDict()
        self._size = 0

    def keep(self, device: DeviceId, log: LogTail) -> None:
        """Keep the end of this one in place of the device's earlier one."""
        cut = msgspec.structs.replace(log, text=tail(log.text))
        packed = zlib.compress(msgspec.msgpack.encode(cut))
        self._size += len(packed) - len(self._kept.pop(device, b""))
        self._kept[device] = packed
        while self._size > self._most_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)

    def of(self, device: DeviceId) -> LogTail | None:
        """The device's log, or None."""
        packed = self._kept.get(device)
        return None if packed is None else _decoder.decode(zlib.decompress(packed))

    def __len__(self) -> int:
        return len(self._kept)


def tail(text: str) -> str:
    """The last whole lines of at most `TAIL_BYTES` (UTF-8); the end of the last line where that is longer."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= TAIL_BYTES:
        return raw.decode()
    end = raw[-TAIL_BYTES:]
    starts = raw[-TAIL_BYTES - 1] == ord("\n")
    _, newline, lines = end.partition(b"\n")
    kept = end if starts or not newline or not lines else lines
    return kept.decode("utf-8", "ignore")
