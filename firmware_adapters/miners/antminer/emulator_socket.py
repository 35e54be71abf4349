"""The emulated cgminer socket of a stock machine: read only, shapes as recorded (miners.md §2.1). Pure."""

import msgspec

from firmware_adapters.miners.antminer.emulator_pages import (
    BUILD,
    Json,
    all_pools,
    clock,
    halves,
    marks,
    rate,
    water,
)
from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.fields import NOT_JSON
from shared.telemetry import MinerState


def reply(view: MinerView, raw: bytes, elapsed_s: float, now_s: int) -> bytes:
    """The reply to one raw request, with the NUL that ends it."""
    try:
        command = msgspec.json.decode(raw.strip(b"\x00\r\n "), type=dict[str, object]).get("command")
    except NOT_JSON:
        return _wire(_said("E", "Invalid JSON", 23, now_s))
    if command == "version":
        return _wire({**_said("S", "CGMiner versions", 22, now_s), "VERSION": [_version(view)]})
    if command == "stats":
        return _wire(
            {**_said("S", "CGMiner stats", 70, now_s), "STATS": [_kind(view), _stats(view, elapsed_s)]}
        )
    if command == "summary":
        return _wire({**_said("S", "Summary", 11, now_s), "SUMMARY": [_summary(view, elapsed_s)]})
    if command == "pools":
        return _wire({**_said("S", "Pool(s)", 7, now_s), "POOLS": _pools(view)})
    return _wire(_said("E", "Invalid command", 14, now_s))


def _wire(page: Json) -> bytes:
    return msgspec.json.encode({**page, "id": 1}) + b"\x00"


def _said(status: str, message: str, code: int, now_s: int) -> Json:
    return {
        "STATUS": [
            {"STATUS": status, "When": now_s, "Code": code, "Msg": message, "Description": "cgminer 1.0.0"}
        ]
    }


def _kind(view: MinerView) -> Json:
    return {"BMMiner": "1.0.0", "Miner": "49.0.1.3", "CompileTime": BUILD, "Type": view.model}


def _version(view: MinerView) -> Json:
    return {**_kind(view), "API": "3.1"}


def _stats(view: MinerView, elapsed_s: float) -> Json:
    failed = view.state is MinerState.FAILURE
    page: Json = {
        "STATS": 0,
        "ID": "BTM_SOC0",
        "Elapsed": int(elapsed_s),
        "GHS 5s": rate(view, view.hashrate_ths),
        "GHS av": rate(view, view.hashrate_average_ths),
        "rate_unit": "MH" if rate(view, 1.0) > 1e3 else "GH",
        "miner_count": len(view.boards),
        "frequency": round(view.boards[0].freq_mhz) if view.boards else 0,
        "fan_num": len(view.fans),
        "total_rateideal": rate(view, view.hashrate_nominal_ths),
        "no_matching_work": view.hw_errors,
    }
    page |= {f"fan{n}": round(fan.rpm) for n, fan in enumerate(view.fans, 1)}
    hydro = "hyd" in view.model.lower()
    for n, board in enumerate(view.boards, 1):
        alive = board.working and not failed
        chips = view.chips_per_board if alive else 0
        pcb = halves(board.board_temp_min_c, board.board_temp_max_c, alive=alive)
        chip = water(board) if hydro else halves(board.chip_temp_min_c, board.chip_temp_max_c, alive=alive)
        page |= {
            f"chain_acn{n}": chips,
            f"chain_acs{n}": marks(chips),
            f"chain_hw{n}": board.hw_errors,
            f"chain_rate{n}": f"{rate(view, board.hashrate_ths if alive else 0.0):.2f}",
            f"freq{n}": round(board.freq_mhz) if alive else 0,
            f"temp_pcb{n}": "-".join(map(str, pcb)),
            f"temp_chip{n}": "-".join(map(str, chip)),
        }
    return page


def _summary(view: MinerView, elapsed_s: float) -> Json:
    return {
        "Elapsed": int(elapsed_s),
        "GHS 5s": rate(view, view.hashrate_ths),
        "GHS av": rate(view, view.hashrate_average_ths),
        "Accepted": view.shares_accepted,
        "Rejected": view.shares_rejected,
        "Stale": view.shares_stale,
        "Hardware Errors": view.hw_errors,
    }


def _pools(view: MinerView) -> list[Json]:
    return [
        {
            "POOL": index,
            "URL": url,
            "User": user,
            "Status": "Alive" if alive else "Dead",
            "Stratum Active": index == view.pool,
            "Accepted": accepted,
            "Rejected": rejected,
            "Stale": stale,
            "Last Share Time": clock(view.last_share_age_s) if index == view.pool else "0",
        }
        for index, (url, user, alive, accepted, rejected, stale) in enumerate(all_pools(view))
    ]
