"""The latest word of every device, for the interlock thread; and the ring of samples for agents.

Written by the event loop, read by the interlock thread: one lock, held for copies only.
"""

import threading
from collections import deque
from collections.abc import Mapping

import msgspec

from edge_agent.guardian import readback
from shared.ids import DeviceId
from shared.telemetry import MinerState, Sample


class Last(msgspec.Struct, frozen=True):
    """What is known of one device: its last good sample, and since when it was seen stopped (s).

    `preset` is the last one that a read told, at `preset_at_s`: adapters ask for it at a slower cadence.
    `chip_c` and `board_c` are the maxima over usable readings of the good sample (°C, None unknown), worked
    out once per sample because the interlocks look four times a second. `state` is the good sample's, unless
    its own power contradicts it.
    """

    good: Sample | None = None
    state: MinerState | None = None
    stopped_since_s: float | None = None
    failure: str | None = None
    failed_in_a_row: int = 0
    preset: str | None = None
    preset_at_s: float = 0.0
    chip_c: float | None = None
    board_c: float | None = None


NEVER = Last()


class Board:
    """Device → its last word. `nominal_w` (W) is what a miner that says "stopped" is judged by."""

    def __init__(self, nominal_w: Mapping[DeviceId, float | None] | None = None) -> None:
        self._nominal_w = nominal_w or {}
        self._lock = threading.Lock()
        self._last: dict[DeviceId, Last] = {}

    def put(self, sample: Sample) -> Last:
        """Take note of a sample; a failed one leaves the last good one standing, to grow old."""
        with self._lock:
            before = self._last.get(sample.device, NEVER)
            if sample.failure is not None:
                failed = before.failed_in_a_row + 1
                after = msgspec.structs.replace(before, failure=sample.failure, failed_in_a_row=failed)
            else:
                told = sample.preset is not None
                state = readback.believed(sample, self._nominal_w.get(sample.device))
                after = Last(
                    good=sample,
                    state=state,
                    stopped_since_s=_stopped_since(before, state, sample.at_s),
                    preset=sample.preset if told else before.preset,
                    preset_at_s=sample.at_s if told else before.preset_at_s,
                    chip_c=max(sample.values("chip_temp_max_c"), default=None),
                    board_c=max(sample.values("board_temp_max_c"), default=None),
                )
            self._last[sample.device] = after
        return after

    def snapshot(self) -> dict[DeviceId, Last]:
        with self._lock:
            return dict(self._last)

    def last(self, device: DeviceId) -> Last:
        with self._lock:
            return self._last.get(device, NEVER)


def _stopped_since(before: Last, state: MinerState | None, at_s: float) -> float | None:
    if state is None or state.draws_power:
        return None
    return before.stopped_since_s if before.stopped_since_s is not None else at_s


class Kept(msgspec.Struct, frozen=True, gc=False):
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


class Ring:
    """Samples in order of `seq`, for at least `keep_s` seconds or up to `keep_bytes`.

    Whichever is reached first lets the oldest go: a ring that outgrows its bytes is shorter than
    `keep_s`, and an agent that was away longer sees the jump in `seq` and records the loss. Samples are
    packed when they come: seven times smaller than as objects, nothing for the garbage collector to walk
    through while an interlock waits, and encoded once for however many agents.
    """

    def __init__(self, *, keep_s: float = 180.0, keep_bytes: int = 32 * 1024 * 1024) -> None:
        self._samples: deque[Kept] = deque()
        self._keep_s = keep_s
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()
        self.next_seq = 1

    def append(self, sample: Sample) -> None:
        """Add the sample that carries `next_seq`."""
        if sample.seq != self.next_seq:
            raise ValueError(f"sample {sample.seq} does not follow {self.next_seq - 1}")
        self._encoder.encode_into(sample, self._buffer)  # `encode` gives bytes with half as much again behind
        kept = Kept(sample.device, sample.at_s, sample.seq, bytes(self._buffer))
        self._samples.append(kept)
        self._bytes += kept.size
        self.next_seq += 1
        while len(self._samples) > 1 and (
            self._bytes > self._keep_bytes or sample.at_s - self._samples[0].at_s > self._keep_s
        ):
            self._bytes -= self._samples.popleft().size

    def between(self, from_s: float, to_s: float) -> tuple[Kept, ...]:
        """Samples taken from `from_s` to `to_s` (s, monotonic), oldest first."""
        return tuple(kept for kept in self._samples if from_s <= kept.at_s <= to_s)

    def after(self, seq: int, limit: int) -> tuple[Kept, ...]:
        """At most `limit` samples that follow `seq`, oldest first; starts later where the ring is shorter."""
        if not self._samples:
            return ()
        start = max(seq + 1 - self._samples[0].seq, 0)
        stop = min(start + limit, len(self._samples))
        return tuple(self._samples[i] for i in range(start, stop))
