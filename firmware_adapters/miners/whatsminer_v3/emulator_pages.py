"""What an emulated Whatsminer v3 prints. TH/s, W, °C as numbers; what it is mostly as text."""

from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.whatsminer import emulator_pages as v2
from shared.telemetry import MinerState

Json = dict[str, object]
FIRMWARE = "20250214.16.REL"


def device_info(view: MinerView, limit_w: float, salt: str, errors: tuple[tuple[int, str], ...]) -> Json:
    """The message of `get.device.info`."""
    off = view.state in (MinerState.STOPPED, MinerState.SHUTTING_DOWN)
    supply: Json = {"model": "P562", "mode": "normal", "vin": "230", "fanspeed": "6720"}
    if view.psu is not None:
        supply["temp0"] = f"{max(view.psu.pfc_c, view.psu.llc1_c, view.psu.llc2_c):.1f}"
    return {
        "network": {"ip": "127.0.0.1", "proto": "dhcp", "mac": view.mac, "hostname": view.hostname},
        "miner": {
            "working": "false" if off else "true",
            "type": v2.model_of(view),
            "miner-sn": view.serial,
            "power-limit-set": str(round(limit_w)),
            "board-num": str(len(view.boards)),
            "fast-boot": "disable",
            **{f"pcbsn{slot}": f"{view.serial}-{slot}" for slot in range(len(view.boards))},
        },
        "system": {"api": "3.0.1", "platform": "H616", "fwversion": FIRMWARE, "ledstatus": "auto"},
        "power": supply,
        "salt": salt,
        "error-code": [{str(code): since, "reason": ""} for code, since in errors],
    }


def summary(view: MinerView, limit_w: float) -> Json:
    """`summary` of `get.miner.status`."""
    fans = [round(fan.rpm) for fan in view.fans]
    boards = [board for board in view.boards if board.working]
    return {
        "elapsed": round(view.state_time_s),
        "bootup-time": round(view.uptime_s),
        "factory-hash": round(view.hashrate_stock_ths, 2),
        "hash-average": round(view.hashrate_average_ths, 3),
        "hash-realtime": round(view.hashrate_ths, 3),
        "power-realtime": round(view.power_w),
        "power-limit": round(limit_w),
        "environment-temperature": 28.5,
        "board-temperature": [v2.hottest([board.board_temp_max_c]) for board in view.boards],
        "chip-temp-min": v2.coolest([board.chip_temp_min_c for board in boards]),
        "chip-temp-max": v2.hottest([board.chip_temp_max_c for board in boards]),
        "fan-speed-in": max(fans[0::2], default=0),
        "fan-speed-out": max(fans[1::2], default=0),
        "up-freq-finish": int(view.state is MinerState.MINING),
    }


def boards(view: MinerView) -> list[Json]:
    """`edevs` of `get.miner.status`."""
    rates = v2.averages(view)
    return [
        {
            "id": slot,
            "slot": slot,
            "hash-average": round(rates[slot], 3),
            "factory-hash": round(view.hashrate_stock_ths / max(len(view.boards), 1), 3),
            "freq": round(board.freq_mhz),
            "effective-chips": view.chips_per_board if board.working else 0,
            "chip-temp-min": v2.coolest([board.chip_temp_min_c if board.working else None]),
            "chip-temp-max": v2.hottest([board.chip_temp_max_c if board.working else None]),
        }
        for slot, board in enumerate(view.boards)
    ]


def pools(view: MinerView) -> list[Json]:
    """`pools` of `get.miner.status`; no counts of shares."""
    first: Json = {
        "id": 1,
        "url": view.pool_url,
        "account": view.pool_user,
        "status": "alive",
        "stratum-active": view.pool == 0,
    }
    others: list[Json] = [
        {
            "id": number + 1,
            "url": pool.url,
            "account": pool.user,
            "status": "alive" if pool.alive else "dead",
            "stratum-active": view.pool == number,
        }
        for number, pool in enumerate(view.other_pools, 1)
    ]
    return [first, *others]
