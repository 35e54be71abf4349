"""The last minutes of samples, for agents that come back and for captures of trips.

Samples are packed when they come and squeezed a few hundred at a time: thirty times smaller than as objects,
nothing for the garbage collector to walk through while an interlock waits, and encoded once for however many
agents. The newest are kept unsqueezed, so that an agent that keeps up costs no unpacking.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from shared.ids import DeviceId
from shared.telemetry import Sample


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One sample in the ring: who and when (s, monotonic), and all of it as it goes on the wire."""

    device: DeviceId
    at_s: float
    seq: int
    packed: bytes

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return KEPT_BYTES + len(self.packed)


KEPT_BYTES = 150
"""What one sample costs beside its packed form (measured with tracemalloc, CPython 3.11)."""
CHUNK_BYTES = 250
"""What one chunk costs beside its squeezed form."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Kept])


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    """Samples in a row, squeezed. Their times overlap with those of other chunks: reads take their time."""

    first_seq: int
    last_seq: int
    oldest_s: float
    newest_s: float
    squeezed: bytes

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return CHUNK_BYTES + len(self.squeezed)

    def samples(self) -> list[Kept]:
        return _decoder.decode(zlib.decompress(self.squeezed))


def _squeezed(samples: list[Kept]) -> _Chunk:
    times = [kept.at_s for kept in samples]
    return _Chunk(
        first_seq=samples[0].seq,
        last_seq=samples[-1].seq,
        oldest_s=min(times),
        newest_s=max(times),
        squeezed=zlib.compress(_encoder.encode(samples), 1),
    )


class Ring:
    """Samples in order of `seq`, for at least `keep_s` seconds or up to `keep_bytes`.

    Whichever is reached first lets the oldest `chunk` go: a ring that outgrows its bytes is shorter than
    `keep_s`, and an agent that was away longer sees the jump in `seq` and records the loss.
    """

    def __init__(
        self, *, keep_s: float = 300.0, keep_bytes: int = 32 * 1024 * 1024, chunk: int = 256
    ) -> None:
        self._old: deque[_Chunk] = deque()
        self._new: list[Kept] = []
        self._keep_s = keep_s
        self._keep_bytes = keep_bytes
        self._chunk = chunk
        self._buffer = bytearray()
        self.size = 0
        """Bytes in memory."""
        self.next_seq = 1

    def append(self, sample: Sample) -> None:
        """Add the sample that carries `next_seq`."""
        if sample.seq != self.next_seq:
            raise ValueError(f"sample {sample.seq} does not follow {self.next_seq - 1}")
        _encoder.encode_into(sample, self._buffer)  # `encode` gives bytes with half as much again behind
        kept = Kept(sample.device, sample.at_s, sample.seq, bytes(self._buffer))
        self._new.append(kept)
        self.size += kept.size
        self.next_seq += 1
        if len(self._new) >= 2 * self._chunk:
            self._squeeze()
        while self._old and (
            self.size > self._keep_bytes or sample.at_s - self._old[0].newest_s > self._keep_s
        ):
            self.size -= self._old.popleft().size

    def _squeeze(self) -> None:
        some, self._new = self._new[: self._chunk], self._new[self._chunk :]
        chunk = _squeezed(some)
        self._old.append(chunk)
        self.size += chunk.size - sum(kept.size for kept in some)

    def between(self, from_s: float, to_s: float) -> Iterator[Kept]:
        """Samples taken from `from_s` to `to_s` (s, monotonic) so far, oldest first.

        What is meant is settled now; unpacking is left to whoever iterates, in any thread.
        """
        chunks = tuple(chunk for chunk in self._old if chunk.newest_s >= from_s and chunk.oldest_s <= to_s)
        new = tuple(self._new)

        def parts() -> Iterator[Iterable[Kept]]:
            for chunk in chunks:
                yield chunk.samples()
            yield new

        return (kept for part in parts() for kept in part if from_s <= kept.at_s <= to_s)

    def after(self, seq: int, limit: int) -> tuple[Kept, ...]:
        """Samples that follow `seq`, oldest first: at most `limit`, fewer at the end of a chunk.

        Empty only where there are none; starts later where the ring is shorter.
        """
        samples = self._new
        if self._old and seq + 1 < samples[0].seq:
            index = max(seq + 1 - self._old[0].first_seq, 0) // self._chunk
            samples = self._old[index].samples()
        if not samples:
            return ()
        start = max(seq + 1 - samples[0].seq, 0)
        return tuple(samples[start : start + limit])
