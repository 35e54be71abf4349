"""What the emulated web interface shows of presets and of chips; see `emulator_pages` for the rest."""

from collections.abc import Callable

from firmware_adapters.miners.emulated import BoardView, MinerView, PresetView
from firmware_adapters.miners.vnish.emulator_pages import (
    BAD_SENSOR_C,
    THS_TO_VENDOR,
    Json,
    board_state,
    limits,
    vendor_rate,
)
from firmware_adapters.miners.vnish.emulator_traps import Traps
from shared.telemetry import MinerState
from shared.units import Algorithm

_RATE_WORDS = {Algorithm.SHA256D: (1.0, "TH"), Algorithm.SCRYPT: (1e3, "GH"), Algorithm.UNKNOWN: (1.0, "TH")}


def pretty(view: MinerView, rung: PresetView) -> str:
    """ "2800 watt ~ 188 TH", with " LC" for a rung that needs liquid cooling."""
    scale, word = _RATE_WORDS[view.algorithm]
    return (
        f"{rung.power_w:.0f} watt ~ {rung.hashrate_ths * scale:g} {word}{' LC' if rung.needs_liquid else ''}"
    )


def preset(view: MinerView, rung: PresetView) -> Json:
    """One entry of `/autotune/presets`."""
    page: Json = {
        "name": rung.name,
        "pretty": pretty(view, rung),
        "status": "tuned" if rung.tuned else "untuned",
        "modded_psu_required": rung.needs_modded_psu,
    }
    if rung.tuned:
        page["tune_settings"] = {
            "hashrate": round(rung.hashrate_ths * THS_TO_VENDOR[view.algorithm]),
            "volt": round(rung.volt_v * 1000),
            "freq": round(rung.freq_mhz),
            "modified": False,
            "chains": [],
        }
    return page


def _disabled() -> Json:
    return {"name": "disabled", "pretty": "Disabled", "status": "untuned", "modded_psu_required": False}


def presets(view: MinerView) -> list[Json]:
    """`/autotune/presets`, with the entry that is no rung."""
    return [_disabled(), *(preset(view, rung) for rung in view.presets)]


def perf_summary(view: MinerView, switcher: Json) -> Json:
    """`/perf-summary`: the preset that really runs; clocks and volts only where none does."""
    rung = next((rung for rung in view.presets if rung.name == view.preset), None)
    if rung is not None:
        current = preset(view, rung)
        current.pop("tune_settings", None)
    else:
        current = _disabled()
        if view.boards:
            # Ten millivolts here, millivolts elsewhere (miners.md §1.6).
            first = view.boards[0]
            current["globals"] = {"volt": round(first.volt_v * 100), "freq": round(first.freq_mhz)}
    return {"current_preset": current, "preset_switcher": switcher}


def board_chips(view: MinerView, traps: Traps) -> list[Json]:
    """`/chains` up to 1.2.7, `/boards` from 1.3."""
    rate = vendor_rate(view)
    listed: list[Json] = []
    for index, board in enumerate([] if view.state is MinerState.FAILURE else view.boards):
        broken = traps.all_sensors_error or (traps.sensor_error and index == 0)
        sensors = [
            {
                "loc": position,
                "board": BAD_SENSOR_C if broken and position == 0 else round(board_c or 0),
                "chip": round(chip_c or 0),
                "state": "error" if broken and position == 0 else "measure",
            }
            for position, (board_c, chip_c) in enumerate(
                zip(limits(board, "board"), limits(board, "chip"), strict=True)
            )
        ]
        page: Json = {
            "id": index + 1,
            "status": {"state": board_state(view.state) if board.working else "failure"},
            "freq": round(board.freq_mhz, 1),
            "hr_nominal": rate(board.hashrate_nominal_ths),
            "hr_realtime": rate(board.hashrate_ths),
            "sensors": sensors,
            "chips": _chips(board, view, rate),
        }
        listed.append(page)
    return listed


def _chips(board: BoardView, view: MinerView, rate: Callable[[float], float]) -> list[Json]:
    count = view.chips_per_board
    low, high = board.chip_temp_min_c or 0.0, board.chip_temp_max_c or 0.0
    return [
        {
            "id": number,
            "freq": round(board.freq_mhz),
            "volt": round(board.volt_v * 1000 / count),
            "hr": rate(board.hashrate_ths / count),
            "temp": round(low + (high - low) * number / count),
            "errs": board.hw_errors // count,
            "grade": "grey" if board.working else "red",
            "throttled": False,
        }
        for number in range(count)
    ]
