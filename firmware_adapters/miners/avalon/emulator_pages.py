"""What an emulated Avalon prints, in the shapes of a recorded Avalon Q: JSON around text with brackets."""

from collections.abc import Iterable

from firmware_adapters.miners.emulated import BoardView, MinerView
from shared.telemetry import MinerState

Json = dict[str, object]
FIRMWARE = "25052801_14a19a2"
_WORK = {
    MinerState.MINING: "In Work",
    MinerState.AUTO_TUNING: "In Work",
    MinerState.INITIALIZING: "In Init",
    MinerState.STARTING: "In Init",
    MinerState.RESTARTING: "In Init",
    MinerState.STOPPED: "In Idle",
}


def said(message: str, code: int, now_s: int, *, status: str = "S") -> Json:
    """The head of every reply."""
    head = {"STATUS": status, "When": now_s, "Code": code, "Msg": message, "Description": "cgminer 4.11.1"}
    return {"STATUS": [head], "id": 1}


def version(view: MinerView) -> Json:
    """The one item of `version`."""
    return {
        "API": "3.7",
        "CGMiner": "4.11.1",
        "CGVERSION": FIRMWARE,
        "LVERSION": FIRMWARE,
        "DNA": view.serial,
        "HWTYPE": "Q_MM1v1_X1",
        "SWTYPE": "MM319",
        "MAC": view.mac,
        "MODEL": view.model.removeprefix("Avalon "),
        "PROD": view.model,
    }


def summary(view: MinerView) -> Json:
    """The one item of `summary`; MH/s."""
    return {
        "Elapsed": round(view.uptime_s),
        "MHS av": round(view.hashrate_average_ths * 1e6, 2),
        "MHS 5s": round(view.hashrate_ths * 1e6, 2),
        "Accepted": view.shares_accepted,
        "Rejected": view.shares_rejected,
        "Stale": view.shares_stale,
        "Hardware Errors": view.hw_errors,
    }


def stats(view: MinerView, mode: int, errors: tuple[tuple[str, str], ...]) -> list[Json]:
    """The items of `estats`."""
    return [
        {
            "STATS": 0,
            "ID": "AVALON0",
            "Elapsed": round(view.uptime_s),
            "MM ID0:Summary": f"'STATS':{{{_module(view, mode, dict(errors))}}}",
            "HBinfo": " ".join(_board(view, board, at) for at, board in enumerate(view.boards)),
        },
        {"STATS": 1, "ID": "POOL0", "Pool Calls": 0},
    ]


def _module(view: MinerView, mode: int, errors: dict[str, str]) -> str:
    hot = [board for board in view.boards if board.working and board.chip_temp_max_c is not None]
    hottest = max((board.chip_temp_max_c or 0.0 for board in hot), default=0.0)
    inlet = _known(board.board_temp_min_c for board in view.boards if board.working)
    outlet = _known(board.board_temp_max_c for board in view.boards if board.working)
    found = sum(board.working for board in view.boards)
    volts = max((board.volt_v for board in view.boards), default=0.0)
    out_w = max(round(view.power_w * 0.94), 0)
    printed = {
        "Ver": f"Q-{FIRMWARE}",
        "STATE": "1",
        "SSID": "",
        "SYSTEMSTATU": f"Work: {_WORK.get(view.state, 'In Fault')}, Hash Board: {found}",
        "Elapsed": f"{view.uptime_s:.0f}",
        "HW": str(view.hw_errors),
        "ITemp": "26",
        "HBITemp": f"{min(inlet, default=0.0):.0f}",
        "HBOTemp": f"{max(outlet, default=0.0):.0f}",
        "TMax": f"{hottest:.0f}",
        "TAvg": f"{hottest:.0f}",
        "TarT": "65",
        **{f"Fan{number}": f"{fan.rpm:.0f}" for number, fan in enumerate(view.fans, 1)},
        "FanR": f"{view.fan_duty_pct:.0f}%",
        "FanErr": "0",
        "PS": f"0 1222 {volts * 100:.0f} {out_w / volts if volts else 0:.0f} {out_w} 2245 {view.power_w:.0f}",
        "GHSspd": f"{view.hashrate_ths * 1e3:.2f}",
        "GHSmm": f"{view.hashrate_nominal_ths * 1e3:.2f}",
        "GHSavg": f"{view.hashrate_average_ths * 1e3:.2f}",
        "Freq": f"{max((board.freq_mhz for board in view.boards), default=0.0):.2f}",
        "MGHS": " ".join(f"{rate * 1e3:.2f}" for rate in _averages(view)),
        "ECHU": "0",
        "ECMM": "0",
        "WORKMODE": str(mode),
        "Nonce Mask": "25",
        **errors,
    }
    return " ".join(f"{name}[{value}]" for name, value in printed.items())


def _averages(view: MinerView) -> list[float]:
    """What each board made since the start, TH/s: the average of the machine, shared as it is expected.

    As recorded of a machine at rest: its `MGHS` is its `GHSavg`, and no rate of now.
    """
    shares = [board.hashrate_nominal_ths if board.working else 0.0 for board in view.boards]
    whole = sum(shares)
    return [view.hashrate_average_ths * share / whole if whole else 0.0 for share in shares]


def _board(view: MinerView, board: BoardView, at: int) -> str:
    low, high = board.chip_temp_min_c, board.chip_temp_max_c
    known = board.working and low is not None and high is not None
    count = max(view.chips_per_board, 1)
    step = ((high or 0.0) - (low or 0.0)) / max(count - 1, 1)
    heats = [f"{(low or 0.0) + step * chip:3.0f}" if known else "  0" for chip in range(count)]
    volts = [f"{board.volt_v * 1000 / count:.0f}"] * count
    return (
        f"'HB{at}':{{PVT_T0[{' '.join(heats)}] PVT_V0[{' '.join(volts)}] MW0[{' '.join(['600'] * count)}]}}"
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
