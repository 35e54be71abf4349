"""What an emulated machine remembers of itself: its log texts and the 72 h behind `/metrics`.

The past comes from the machine where that keeps one (`Remembers`), else from what was seen at requests;
events are noted as the state changes. Times are the machine's own clock, which may be wrong (`clock_skew_s`).
"""

from collections import deque
from collections.abc import Iterable

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView, PastView, Remembers
from firmware_adapters.miners.vnish.emulator_pages import THS_TO_VENDOR, Json
from shared.clock import Clock
from shared.telemetry import MinerState

KEEPS_S = 259_200
RECORD_S = 60.0
_EVENTS = 200
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
LOGS = ("status", "miner", "autotune", "system", "messages", "api")
LOGS_V13 = ("pool", "hwscan")


class Diary:
    """One machine's memory."""

    def __init__(self, machine: EmulatedMiner, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self._seen: deque[tuple[float, PastView]] = deque(maxlen=int(KEEPS_S / RECORD_S))
        self._events: deque[tuple[float, str, int | None]] = deque(maxlen=_EVENTS)
        self._before: MinerView | None = None
        self._remembers = isinstance(machine, Remembers)

    def look(self, view: MinerView) -> bool:
        """Take note of the machine now; whether it has rebooted since the last look."""
        now_s, before = self._clock.monotonic(), self._before
        self._before = view
        if not self._remembers and (not self._seen or now_s - self._seen[-1][0] >= RECORD_S):
            self._seen.append((now_s, PastView.of(view)))
        if before is None:
            return False
        rebooted = view.uptime_s < before.uptime_s
        self._note_change(before, view, now_s, rebooted=rebooted)
        return rebooted

    def _note_change(self, before: MinerView, view: MinerView, now_s: float, *, rebooted: bool) -> None:
        if rebooted:
            self._events.append((now_s, "reboot", None))
        elif view.state is MinerState.RESTARTING is not before.state:
            self._events.append((now_s, "restart", None))
        elif (view.state in _IDLE) != (before.state in _IDLE):
            self._events.append((now_s, "stop" if view.state in _IDLE else "start", None))
        if view.state is MinerState.FAILURE is not before.state and "overheat" in (view.description or ""):
            self._events.append((now_s, "overheat", None))
        for number, (old, new) in enumerate(zip(before.boards, view.boards, strict=False), 1):
            if old.working != new.working:
                word = "enable" if new.working else "disable"
                self._events.append((now_s, f"{word}_board", number))

    def metrics(self, view: MinerView, *, slice_s: int, step_s: int, skew_s: float, v13: bool) -> Json:
        """`/metrics`, newest first, one record per step."""
        now_s, utc_s = self._clock.monotonic(), self._clock.utc_ms() / 1000 + skew_s
        past = (
            [(now_s - record.age_s, record) for record in self._machine.past()]
            if isinstance(self._machine, Remembers)
            else list(self._seen)
        )
        return {
            "timezone": "GMT",
            "metrics": _records(
                ((utc_s - (now_s - at_s), record) for at_s, record in past if now_s - at_s <= slice_s),
                max(step_s, 1),
                THS_TO_VENDOR[view.algorithm],
            ),
            "annotations": [
                {"time": int(utc_s - (now_s - at_s)), "data": _event(word, board, v13=v13)}
                for at_s, word, board in reversed(self._events)
                if now_s - at_s <= slice_s
            ],
        }

    def log(self, name: str, view: MinerView, skew_s: float) -> str:
        """The text of one log."""
        now_s, utc_s = self._clock.monotonic(), self._clock.utc_ms() / 1000 + skew_s
        lines = [f"[{int(utc_s - (now_s - at_s))}] {word}" for at_s, word, _ in self._events]
        if name == "miner":
            lines.append(f"[{int(utc_s)}] Initializing PSU")
            for number, board in enumerate(view.boards, 1):
                found = view.chips_per_board if board.working else 0
                lines.append(
                    f"[{int(utc_s)}] chain {number}: {found} of {view.chips_per_board} chips detected"
                )
        if view.description is not None and name in ("miner", "status", "messages"):
            lines.append(f"[{int(utc_s)}] ERROR: {view.description}")
        lines.append(f"[{int(utc_s)}] {name}: state {view.state.value}")
        return "\n".join(lines) + "\n"

    def clear(self) -> None:
        """Forget the events, as clearing a log does."""
        self._events.clear()


def _event(word: str, board: int | None, *, v13: bool) -> Json:
    data: Json = {"type": word if v13 else word.replace("board", "chain")}
    if board is not None:
        data["board_id" if v13 else "chain_id"] = board
    return data


def _records(past: Iterable[tuple[float, PastView]], step_s: int, scale: float) -> list[Json]:
    steps: dict[int, PastView] = {}
    for at_s, record in past:
        steps[int(at_s) // step_s * step_s] = record
    return [
        {
            "time": at_s,
            "data": {
                "hashrate": round(record.hashrate_ths * scale, 2),
                "pcb_max_temp": round(record.board_temp_max_c or 0),
                "chip_max_temp": round(record.chip_temp_max_c or 0),
                "fan_duty": round(record.fan_duty_pct),
                "power_consumption": round(record.power_w),
            },
        }
        for at_s, record in sorted(steps.items(), reverse=True)
    ]
