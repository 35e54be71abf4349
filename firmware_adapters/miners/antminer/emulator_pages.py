"""What the emulated CGI shows: one `MinerView` → Bitmain's JSON, in its units. Pure.

Shapes: miners.md §2 and the recorded system page; the socket's in `emulator_socket`. The "chip" temperatures
are the board's plus a constant on a real machine; here they are the view's own.
"""

from firmware_adapters.miners.emulated import BoardView, MinerView
from shared.telemetry import MinerState
from shared.units import Algorithm

Json = dict[str, object]

BUILD = "Fri Mar 14 16:23:42 CST 2025"
_IDLE = (MinerState.STOPPED, MinerState.FAILURE)
_THS_TO_VENDOR = {Algorithm.SHA256D: 1e3, Algorithm.SCRYPT: 1e6, Algorithm.UNKNOWN: 1e3}
_UNIT = {Algorithm.SHA256D: "GH/s", Algorithm.SCRYPT: "MH/s", Algorithm.UNKNOWN: "GH/s"}


def rate(view: MinerView, ths: float) -> float:
    """A hashrate in the machine's own unit."""
    return round(ths * _THS_TO_VENDOR[view.algorithm], 2)


def envelope(message: str, view: MinerView, now_s: int) -> Json:
    """What stands before every page of the mining process."""
    return {
        "STATUS": {"STATUS": "S", "when": now_s, "Msg": message, "api_version": "1.0.0"},
        "INFO": {"miner_version": "uart_trans.1.3", "CompileTime": BUILD, "type": view.model},
    }


def silent(now_s: int) -> Json:
    """The same without a mining process."""
    return {"STATUS": {"STATUS": "E", "when": now_s, "Msg": "socket connect failed", "api_version": "1.0.0"}}


def stats(view: MinerView, mode: int, elapsed_s: float, now_s: int) -> Json:
    """`stats.cgi`."""
    machine: Json = {
        "elapsed": int(elapsed_s),
        "rate_5s": rate(view, view.hashrate_ths),
        "rate_30m": rate(view, view.hashrate_average_ths),
        "rate_avg": rate(view, view.hashrate_average_ths),
        "rate_ideal": rate(view, view.hashrate_nominal_ths),
        "rate_unit": _UNIT[view.algorithm],
        "chain_num": len(view.boards),
        "fan_num": 0 if view.cooling == "immersion" else len(view.fans),
        "fan": [] if view.cooling == "immersion" else [round(fan.rpm) for fan in view.fans],
        "hwp_total": 0.0,
        "miner-mode": mode,
        "freq-level": 100,
        "chain": [chain(view, index, board) for index, board in enumerate(view.boards)],
    }
    return {**envelope("stats", view, now_s), "STATS": [machine]}


def chain(view: MinerView, index: int, board: BoardView) -> Json:
    """One board of `stats.cgi`."""
    alive = board.working and view.state is not MinerState.FAILURE
    chips = view.chips_per_board if alive else 0
    hydro = "hyd" in view.model.lower()
    return {
        "index": index,
        "freq_avg": round(board.freq_mhz) if alive else 0,
        "rate_ideal": rate(view, board.hashrate_nominal_ths) if alive else 0.0,
        "rate_real": rate(view, board.hashrate_ths) if alive else 0.0,
        "asic_num": chips,
        "asic": marks(chips),
        "temp_pic": halves(board.board_temp_min_c, board.board_temp_max_c, alive=alive),
        "temp_pcb": halves(board.board_temp_min_c, board.board_temp_max_c, alive=alive),
        "temp_chip": water(board)
        if hydro
        else halves(board.chip_temp_min_c, board.chip_temp_max_c, alive=alive),
        "hw": board.hw_errors,
        "eeprom_loaded": alive,
        "sn": f"{view.serial}-{index}",
        "hwp": 0.0,
        "tpl": [],
    }


def halves(low: float | None, high: float | None, *, alive: bool = True) -> list[int]:
    """Four sensors: the first two on the inlet side, the last two on the outlet side; 0 is no data."""
    cold, hot = (round(low or 0), round(high or 0)) if alive else (0, 0)
    return [cold, cold, hot, hot]


def water(board: BoardView) -> list[int]:
    """A hydro machine's water stands where the chips of another would."""
    return [round(board.water_in_c or 0), round(board.water_out_c or 0), 0, 0]


def marks(chips: int) -> str:
    """ " ooo ooo o": one letter a chip, in threes."""
    return "".join(f" {'o' * min(3, chips - at)}" for at in range(0, chips, 3))


def summary(view: MinerView, elapsed_s: float, now_s: int) -> Json:
    """`summary.cgi`."""
    idle = view.state in _IDLE
    broken = view.state is MinerState.FAILURE
    lost = any(not fan.ok for fan in view.fans) and view.cooling != "immersion"
    judged = (
        ("rate", "hashrate is too low" if idle else "", 1),
        ("network", "", 0),
        ("fans", "a fan is lost" if lost else "", 2),
        ("temp", (view.description or "failed") if broken else "", view.failure_code or 0),
    )
    machine: Json = {
        "elapsed": int(elapsed_s),
        "rate_5s": rate(view, view.hashrate_ths),
        "rate_30m": rate(view, view.hashrate_average_ths),
        "rate_avg": rate(view, view.hashrate_average_ths),
        "rate_ideal": rate(view, view.hashrate_nominal_ths),
        "rate_unit": _UNIT[view.algorithm],
        "hw_all": view.hw_errors,
        "bestshare": 0,
        "status": [
            {"type": what, "status": "e" if words else "s", "code": code if words else 0, "msg": words}
            for what, words, code in judged
        ],
    }
    return {**envelope("summary", view, now_s), "SUMMARY": [machine]}


def pools(view: MinerView, now_s: int) -> Json:
    """`pools.cgi`; the firmware names no pool as the one it works for."""
    listed = [
        {
            "index": index,
            "url": url,
            "user": user,
            "status": "Alive" if alive else "Dead",
            "priority": index,
            "getworks": 0,
            "accepted": accepted,
            "rejected": rejected,
            "discarded": 0,
            "stale": stale,
            "diff": "64K",
            "lsdiff": 0,
            "lstime": clock(view.last_share_age_s) if index == view.pool else "0",
        }
        for index, (url, user, alive, accepted, rejected, stale) in enumerate(all_pools(view))
    ]
    return {**envelope("pools", view, now_s), "POOLS": listed}


def all_pools(view: MinerView) -> list[tuple[str, str, bool, int, int, int]]:
    """URL, user, alive, accepted, rejected, stale of every pool, the first first."""
    first = (
        view.pool_url,
        view.pool_user,
        view.state is MinerState.MINING,
        view.shares_accepted,
        view.shares_rejected,
        view.shares_stale,
    )
    return [
        first,
        *(
            (pool.url, pool.user, pool.alive, pool.shares_accepted, pool.shares_rejected, pool.shares_stale)
            for pool in view.other_pools
        ),
    ]


def clock(seconds: float | None) -> str:
    """ "0:00:03"; "0" where there was no share yet."""
    if seconds is None:
        return "0"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def system_info(view: MinerView, address: str) -> Json:
    """`get_system_info.cgi`, as recorded."""
    return {
        "minertype": view.model,
        "nettype": "DHCP",
        "netdevice": "eth0",
        "macaddr": view.mac,
        "hostname": view.hostname,
        "ipaddress": address,
        "netmask": "255.0.0.0",
        "gateway": "",
        "dnsservers": "",
        "system_mode": "GNU/Linux",
        "system_kernel_version": "Linux 4.9.113",
        "system_filesystem_version": BUILD,
        "firmware_type": "Release",
        "serinum": view.serial,
    }


def network_info(view: MinerView, address: str) -> Json:
    """`get_network_info.cgi`."""
    return {"nettype": "DHCP", "netdevice": "eth0", "macaddr": view.mac, "ipaddress": address}


def configuration(view: MinerView) -> Json:
    """`get_miner_conf.cgi` without the mode, which the emulator stores."""
    listed = [*all_pools(view), ("", ""), ("", "")][:3]
    return {
        "pools": [{"url": url, "user": user, "pass": "123"} for url, user, *_ in listed],
        "api-listen": True,
        "api-network": True,
        "api-groups": "A:stats:pools:devs:summary:version",
        "api-allow": "A:0/0,W:*",
        "bitmain-fan-ctrl": view.cooling == "manual",
        "bitmain-fan-pwm": str(round(view.fan_duty_pct)),
        "bitmain-use-vil": True,
        "bitmain-freq": "",
        "bitmain-voltage": "",
        "bitmain-freq-level": "100",
    }
