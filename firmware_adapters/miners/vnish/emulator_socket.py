"""The emulated cgminer socket: one command per connection, a NUL after the reply, then the connection closes.

`version` answers STATUS `E` as on the recorded 1.2.7 machine. Shapes: miners.md §2.1.
"""

import asyncio
import contextlib

import msgspec

from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.vnish.emulator_pages import Json, board_state
from firmware_adapters.miners.vnish.fields import NOT_JSON
from shared.telemetry import MinerState
from shared.units import Algorithm

_MAX_REQUEST = 4096


async def serve(
    view: MinerView, version: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, now_s: int
) -> None:
    """Answer one request and close. `now_s` is unix time for the reply's `When`."""
    with contextlib.suppress(OSError):
        raw = await reader.read(_MAX_REQUEST)
        writer.write(msgspec.json.encode(reply(view, version, raw, now_s)) + b"\x00")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def reply(view: MinerView, version: str, raw: bytes, now_s: int) -> Json:
    """The reply to one raw request."""
    try:
        request = msgspec.json.decode(raw.strip(b"\x00\r\n "), type=dict[str, object])
    except NOT_JSON:
        return _refused("Invalid JSON", 23, now_s)
    command = request.get("command")
    if command == "summary":
        return {**_said("Summary", 11, now_s), "SUMMARY": [_summary(view)], "id": 1}
    if command == "stats":
        kind: Json = {"Miner": "emulated", "CompileTime": "", "Type": f"{view.model} (Vnish {version})"}
        return {**_said("CGMiner stats", 70, now_s), "STATS": [kind, _stats(view)], "id": 1}
    if command == "pools":
        return {**_said("1 Pool(s)", 7, now_s), "POOLS": [_pool(view)], "id": 1}
    return _refused("Invalid command", 14, now_s)


def _said(message: str, code: int, now_s: int) -> Json:
    return {
        "STATUS": [{"STATUS": "S", "When": now_s, "Code": code, "Msg": message, "Description": "cgminer"}]
    }


def _refused(message: str, code: int, now_s: int) -> Json:
    return {
        "STATUS": [{"STATUS": "E", "When": now_s, "Code": code, "Msg": message, "Description": "cgminer"}],
        "id": 1,
    }


def _summary(view: MinerView) -> Json:
    return {
        "Elapsed": int(view.uptime_s),
        "GHS 5s": round(view.hashrate_ths * 1e3, 2),
        "GHS av": round(view.hashrate_average_ths * 1e3, 2),
        "Accepted": view.shares_accepted,
        "Rejected": view.shares_rejected,
        "Hardware Errors": view.hw_errors,
    }


def _stats(view: MinerView) -> Json:
    """`GHS 5s` is text here and a number in `summary`, as recorded; what a scrypt machine says is a guess."""
    scrypt = view.algorithm is Algorithm.SCRYPT
    unit, scale = ({"rate_unit": "MH"}, 1e6) if scrypt else ({}, 1e3)
    page: Json = {
        "STATS": 0,
        "ID": "BTM_SOC0",
        "Elapsed": int(view.uptime_s),
        "GHS 5s": f"{view.hashrate_ths * scale:.2f}",
        "GHS av": round(view.hashrate_average_ths * scale, 2),
        **unit,
        "miner_count": len(view.boards),
        "fan_num": len(view.fans),
        "fan_pwm": round(view.fan_duty_pct),
        "state": view.state.value,
    }
    immersed = view.cooling == "immersion"
    for index, fan in enumerate(view.fans, 1):
        page[f"fan{index}"] = 0 if immersed else round(fan.rpm)
    failed = view.state is MinerState.FAILURE
    for index, board in enumerate(view.boards, 1):
        known = board.working and not failed
        low, high = (board.board_temp_min_c, board.board_temp_max_c) if known else (None, None)
        chip_low, chip_high = (board.chip_temp_min_c, board.chip_temp_max_c) if known else (None, None)
        page |= {
            f"temp_pcb{index}": _quartet(low, high),
            f"temp_chip{index}": _quartet(chip_low, chip_high),
            f"temp_sens{index}": "m-m-m-m",
            f"chain_consumption{index}": round(board.power_w),
            f"chain_vol{index}": round(board.volt_v * 1000),
            f"chain_rate{index}": f"{board.hashrate_ths * scale:.2f}",
            f"chain_rateideal{index}": round(board.hashrate_nominal_ths * scale, 2),
            f"chain_hw{index}": board.hw_errors,
            f"freq_avg{index}": round(board.freq_mhz),
            f"chain_state{index}": board_state(view.state) if known else "failure",
            f"chain_fault{index}": "" if known else "board failed",
        }
    return page


def _quartet(low: float | None, high: float | None) -> str:
    cold, hot = round(low or 0), round(high or 0)
    return f"{hot}-{cold}-{hot}-{hot}"


def _pool(view: MinerView) -> Json:
    return {
        "POOL": 0,
        "URL": view.pool_url,
        "User": view.pool_user,
        "Status": "Alive" if view.state is MinerState.MINING else "Dead",
        "Accepted": view.shares_accepted,
        "Rejected": view.shares_rejected,
    }
