"""What an emulated Whatsminer v2 prints, shaped as recorded: MH/s, GH/s, text for numbers."""

from firmware_adapters.miners.emulated import BoardView, MinerView
from shared.telemetry import MinerState

Json = dict[str, object]
FIRMWARE = "20240624.18.REL"


def told(code: int, message: object, now_s: int, *, status: str = "S") -> Json:
    """A reply of the machine's own commands: one STATUS, and what it says."""
    return {"STATUS": status, "When": now_s, "Code": code, "Msg": message, "Description": ""}


def listed(name: str, items: list[Json], code: int, now_s: int) -> Json:
    """A reply of the commands that it has from cgminer: a list of STATUS, and one of items."""
    head = {"STATUS": "S", "When": now_s, "Code": code, "Msg": name.title(), "Description": "cgminer 4.9.2"}
    return {"STATUS": [head], name: items, "id": 1}


def summary(view: MinerView, limit_w: float, mode: str) -> Json:
    """The one item of `summary`."""
    boards = [board for board in view.boards if board.working]
    fans = [round(fan.rpm) for fan in view.fans]
    return {
        "Elapsed": round(view.state_time_s),
        "MHS av": round(view.hashrate_average_ths * 1e6, 2),
        "HS RT": round(view.hashrate_ths * 1e6, 2),
        "Accepted": view.shares_accepted,
        "Rejected": view.shares_rejected,
        "Best Share": 82_000_000,
        "Fan Speed In": max(fans[0::2], default=0),
        "Fan Speed Out": max(fans[1::2], default=0),
        "Power": round(view.power_w),
        "Power Limit": round(limit_w),
        "Power Mode": mode.title(),
        "Factory GHS": round(view.hashrate_stock_ths * 1e3),
        "Target MHS": round(view.hashrate_nominal_ths * 1e6),
        "Target Freq": round(max((board.freq_mhz for board in boards), default=0)),
        "Hash Stable": view.state is MinerState.MINING,
        "Chip Temp Min": coolest([board.chip_temp_min_c for board in boards]),
        "Chip Temp Max": hottest([board.chip_temp_max_c for board in boards]),
        "Env Temp": 28.5,
        "Pool Rejected%": 0.0,
        "MAC": view.mac,
        "Uptime": round(view.uptime_s),
    }


def devices(view: MinerView) -> list[Json]:
    """The items of `devs`."""
    rates = averages(view)
    return [_device(view, board, slot, rates[slot]) for slot, board in enumerate(view.boards)]


def averages(view: MinerView) -> list[float]:
    """What each board made since the start, TH/s: the machine's average, shared as it is expected."""
    shares = [board.hashrate_nominal_ths if board.working else 0.0 for board in view.boards]
    whole = sum(shares)
    return [view.hashrate_average_ths * share / whole if whole else 0.0 for share in shares]


def _device(view: MinerView, board: BoardView, slot: int, average_ths: float) -> Json:
    return {
        "ASC": slot,
        "Slot": slot,
        "Name": "SM",
        "Enabled": "Y",
        "Status": "Alive" if board.working else "Dead",
        "Temperature": hottest([board.board_temp_max_c if board.working else None]),
        "Chip Temp Min": coolest([board.chip_temp_min_c if board.working else None]),
        "Chip Temp Max": hottest([board.chip_temp_max_c if board.working else None]),
        "Chip Frequency": round(board.freq_mhz),
        "MHS av": round(average_ths * 1e6, 2),
        "MHS 5s": round(board.hashrate_ths * 1e6, 2),
        "Factory GHS": round(view.hashrate_stock_ths * 1e3 / max(len(view.boards), 1)),
        "Effective Chips": view.chips_per_board if board.working else 0,
        "Hardware Errors": board.hw_errors,
        "PCB SN": f"{view.serial}-{slot}",
    }


def status(view: MinerView, limit_w: float, mode: str) -> Json:
    """The message of `status`: everything is text."""
    off = view.state in (MinerState.STOPPED, MinerState.SHUTTING_DOWN)
    return {
        "mineroff": "true" if off else "false",
        "mineroff_reason": "power off by api" if off else "",
        "mineroff_time": "",
        "FirmwareVersion": FIRMWARE,
        "power_mode": mode,
        "power_limit_set": str(round(limit_w)),
        "hash_percent": "0",
    }


def psu(view: MinerView) -> Json:
    """The message of `get_psu`."""
    hot = max((view.psu.pfc_c, view.psu.llc1_c, view.psu.llc2_c)) if view.psu is not None else None
    page: Json = {"name": "P222B", "hw_version": "", "sw_version": "230208.220429", "fan_speed": "6000"}
    return page if hot is None else {**page, "temp0": f"{hot:.1f}"}


def errors(codes: tuple[tuple[int, str], ...], *, broken: bool) -> object:
    """The list of codes, or the text of the one with keys, which the caller puts in unquoted."""
    if not broken:
        return [{str(code): since} for code, since in codes]
    return "[" + ",".join(f'"{code}":"{since}"' for code, since in codes) + "]"


def details(view: MinerView) -> list[Json]:
    """The items of `devdetails`, which name the model without its maker."""
    return [
        {"DEVDETAILS": slot, "ID": slot, "Name": "SM", "Model": model_of(view)}
        for slot in range(len(view.boards))
    ]


def model_of(view: MinerView) -> str:
    """The model as the machine prints it."""
    return view.model.removeprefix("Whatsminer ")


def hottest(values: list[float | None]) -> float:
    """The highest that is known; 0 is how the machine prints none."""
    return max((value for value in values if value is not None), default=0.0)


def coolest(values: list[float | None]) -> float:
    """The lowest that is known; 0 is how the machine prints none."""
    return min((value for value in values if value is not None), default=0.0)
