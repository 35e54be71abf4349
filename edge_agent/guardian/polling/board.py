"""The latest word of every device, for the interlock thread.

Written by the event loop, read by the interlock thread: one lock, held for copies only.
"""

import threading
from collections.abc import Mapping

import msgspec

from edge_agent.guardian import readback
from shared.ids import DeviceId
from shared.telemetry import MinerState, Sample


class Last(msgspec.Struct, frozen=True):
    """What is known of one device: its last good sample, and since when it was seen stopped (s).

    `preset` is the last one that a read told, at `preset_at_s`: adapters ask for it at a slower cadence.
    `chip_c` and `board_c` are the maxima over usable readings of the good sample (°C, None unknown);
    `power_w` and `hashrate_ths` are its own. All four are worked out once per sample, because the interlocks
    look four times a second at each. `state` is the good sample's, unless its own power contradicts it.
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
    power_w: float | None = None
    hashrate_ths: float | None = None


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
                chip_c, board_c = _hottest(sample)
                state = readback.believed(sample, self._nominal_w.get(sample.device))
                after = Last(
                    good=sample,
                    state=state,
                    stopped_since_s=_stopped_since(before, state, sample.at_s),
                    preset=sample.preset if told else before.preset,
                    preset_at_s=sample.at_s if told else before.preset_at_s,
                    chip_c=chip_c,
                    board_c=board_c,
                    power_w=sample.usable("power_w"),
                    hashrate_ths=sample.usable("hashrate_ths"),
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


_CHIP, _BOARD = "chip_temp_max_c", "board_temp_max_c"


def _hottest(sample: Sample) -> tuple[float | None, float | None]:
    """The hottest usable chip and board over all their indexes (°C); one pass, every sample comes by."""
    chip_c: float | None = None
    board_c: float | None = None
    for name, reading in sample.readings.items():
        if not name.startswith((_CHIP, _BOARD)):
            continue
        value, metric = reading.usable, name.partition(".")[0]
        if value is None:
            continue
        if metric == _CHIP:
            chip_c = value if chip_c is None else max(chip_c, value)
        elif metric == _BOARD:
            board_c = value if board_c is None else max(board_c, value)
    return chip_c, board_c
