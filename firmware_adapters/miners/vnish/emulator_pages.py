"""What the emulated web interface shows: one `MinerView` → the vendor's JSON, in the vendor's units.

Shapes follow the API documents of 1.2.6 and 1.3.4 and the traps of miners.md §1.5-1.7. `v13` selects what
1.3 added. Pure functions; numbers that the firmware prints as integers are rounded here.
"""

from collections.abc import Callable

from firmware_adapters.miners.emulated import BoardView, MinerView, PoolView
from firmware_adapters.miners.vnish.emulator_traps import Traps
from shared.telemetry import MinerState
from shared.units import Algorithm

Json = dict[str, object]

THS_TO_VENDOR = {Algorithm.SHA256D: 1e3, Algorithm.SCRYPT: 1e6, Algorithm.UNKNOWN: 1e3}
_HR_MEASURE = {Algorithm.SHA256D: "GH/s", Algorithm.SCRYPT: "MH/s", Algorithm.UNKNOWN: "N/A"}
_DEVFEE_PCT = 2.81
_FEE = _DEVFEE_PCT / 100
BAD_SENSOR_C = 13


def uptime_text(seconds: float) -> str:
    """ "0:06", "1:55", "9 days,  3:58" (two spaces), as `uptime` prints it."""
    minutes = int(seconds) // 60
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{rest // 60}:{rest % 60:02d}"
    return f"{days} day{'s' if days > 1 else ''},  {clock}" if days else clock


def vendor_rate(view: MinerView) -> Callable[[float], float]:
    scale = THS_TO_VENDOR[view.algorithm]
    return lambda ths: round(ths * scale, 2)


def model_code(model: str) -> str:
    """ "Antminer S21 Pro" → "s21pro", as `/info.model` writes it."""
    return model.lower().removeprefix("antminer").replace(" ", "").replace("hydro", "-hydro")


def info(view: MinerView, version: str, address: str, *, logged_in: bool) -> Json:
    """`/info`; without a login the host name stays empty."""
    return {
        "miner": view.model,
        "model": model_code(view.model),
        "fw_name": "Vnish",
        "fw_version": version,
        "build_uuid": "00000000-0000-4000-8000-000000000000",
        "build_name": "emulated",
        "platform": "aml",
        "install_type": "nand",
        "build_time": "2026-01-01 00:00:00",
        "algorithm": view.algorithm.value,
        "hr_measure": _HR_MEASURE[view.algorithm],
        "serial": view.serial or "N/A",
        "system": {
            "os": "GNU/Linux",
            "miner_name": view.model,
            "file_system_version": "emulated",
            "mem_total": 233_300,
            "mem_free": 150_000,
            "mem_free_percent": 64,
            "mem_buf": 50_000,
            "mem_buf_percent": 21,
            "uptime": uptime_text(view.uptime_s),
            "network_status": {
                "mac": view.mac,
                "dhcp": True,
                "ip": address,
                "netmask": "255.0.0.0",
                "gateway": "127.0.0.1",
                "dns": [],
                "hostname": view.hostname if logged_in else "",
            },
        },
    }


def miner_status(view: MinerView, *, v13: bool) -> Json:
    """The state as `/status` and `/summary` both carry it."""
    page: Json = {"miner_state": view.state.value, "miner_state_time": int(view.state_time_s)}
    if v13:
        page["throttled"] = round(view.throttle_pct)
    if view.description is not None:
        page["description"] = view.description
    if view.failure_code is not None:
        page["failure_code"] = view.failure_code
    return page


def status(
    view: MinerView, *, v13: bool, restart_required: bool, unlocked: bool, locked_s: int | None = None
) -> Json:
    """`/status`; `locked_s` is how long it takes no password."""
    return {
        **miner_status(view, v13=v13),
        **({} if locked_s is None else {"unlock_timeout": locked_s}),
        "restart_required": restart_required,
        "reboot_required": False,
        "find_miner": view.locating,
        "unlocked": unlocked,
        "warranty": "not_provided",
    }


def summary(view: MinerView, version: str, traps: Traps, *, v13: bool) -> Json:
    """`/summary`."""
    if traps.miner_null:
        return {"miner": None}
    rate = vendor_rate(view)
    failed = view.state is MinerState.FAILURE
    total_ths = view.hashrate_ths * traps.hash_split
    miner: Json = {
        "miner_status": miner_status(view, v13=v13),
        "miner_type": f"{view.model} (Vnish {version})",
        "hr_stock": rate(view.hashrate_stock_ths),
        "hr_nominal": rate(view.hashrate_nominal_ths),
        "hr_realtime": rate(total_ths),
        "hr_average": rate(view.hashrate_average_ths * traps.hash_split),
        # Deprecated and in TH/s beside fields in GH/s: a reader that mixes them up is off by a thousand.
        "average_hashrate": round(view.hashrate_average_ths, 2),
        "instant_hashrate": round(total_ths, 2),
        "power_efficiency": round(view.power_w / total_ths, 2) if total_ths > 0 else 0.0,
        "power_usage": round(view.power_w),
        "pcb_temp": _span(view, "board"),
        "chip_temp": _span(view, "chip"),
        "hw_errors": view.hw_errors,
        "hw_errors_percent": 0.0,
        "hr_error": 0.0,
        "devfee": rate(view.hashrate_ths * _DEVFEE_PCT / 100),
        "devfee_percent": _DEVFEE_PCT,
        "cooling": _cooling(view, empty=failed),
        "chains": [] if failed else _boards(view, traps, rate),
        "pools": _pools(view),
        "found_blocks": 0,
        "best_share": 0,
    }
    if traps.power_usage_only:
        miner["power_usage"] = round(view.power_w, 1)
    else:
        miner["power_consumption"] = round(view.power_w)
    if view.psu is not None or view.power_metered:
        miner["psu"] = _psu(view)
    if v13:
        miner["restart_count"] = 0
    return {"miner": miner}


def _psu(view: MinerView) -> Json:
    page: Json = {"psu_power_metering": view.power_metered}
    if view.psu is not None:
        page["temps"] = {
            "pfc_temp": round(view.psu.pfc_c),
            "llc1_temp": round(view.psu.llc1_c),
            "llc2_temp": round(view.psu.llc2_c),
        }
    return page


def limits(board: BoardView, what: str) -> tuple[float | None, float | None]:
    if what == "chip":
        return board.chip_temp_min_c, board.chip_temp_max_c
    return board.board_temp_min_c, board.board_temp_max_c


def _span(view: MinerView, what: str) -> Json:
    """Coolest and hottest over the working boards; 0/0 where there is no data, as in failure."""
    if view.state is MinerState.FAILURE:
        return {"min": 0, "max": 0}
    spans = [limits(board, what) for board in view.boards if board.working]
    lows = [low for low, _ in spans if low is not None]
    highs = [high for _, high in spans if high is not None]
    return {"min": round(min(lows, default=0.0)), "max": round(max(highs, default=0.0))}


def _cooling(view: MinerView, *, empty: bool) -> Json:
    immersed = view.cooling == "immersion"
    mode: Json = {"name": view.cooling}
    if not immersed:
        mode["param"] = round(view.target_temp_c if view.cooling == "auto" else view.fan_duty_pct)
    fans = [
        {
            "id": index,
            "rpm": 0 if immersed else round(fan.rpm),
            "status": "ok" if fan.ok and not immersed else "lost",
            "max_rpm": round(fan.max_rpm),
        }
        for index, fan in enumerate(view.fans)
    ]
    return {
        "fan_num": len(fans),
        "fan_duty": round(view.fan_duty_pct),
        "fans": [] if empty else fans,
        "settings": {"mode": mode},
    }


def _boards(view: MinerView, traps: Traps, rate: Callable[[float], float]) -> list[Json]:
    boards = []
    for index, board in enumerate(view.boards):
        page = _board(index + 1, board, view, rate)
        if traps.sensor_error or traps.all_sensors_error:
            page |= _sensor_lists(board, broken=2 if traps.all_sensors_error else int(index == 0))
        boards.append(page)
    return boards


def _board(number: int, board: BoardView, view: MinerView, rate: Callable[[float], float]) -> Json:
    starting = view.state in (MinerState.INITIALIZING, MinerState.STARTING, MinerState.RESTARTING)
    running = view.state.draws_power and board.working
    state = "failure" if not board.working else board_state(view.state)
    hashing = board.hashrate_ths if running else 0.0
    nominal = board.hashrate_nominal_ths
    page: Json = {
        "id": number,
        "frequency": round(board.freq_mhz, 1),
        "voltage": round(board.volt_v * 1000),
        "power_consumption": round(board.power_w),
        "hashrate_ideal": rate(nominal),
        "hashrate_rt": rate(hashing),
        "hashrate_percentage": round(100 * hashing / nominal, 2) if nominal > 0 else 0.0,
        "hr_error": 0.0,
        "hw_errors": board.hw_errors,
        "pcb_temp": _whole(board.board_temp_min_c, board.board_temp_max_c, known=board.working),
        "chip_temp": _whole(board.chip_temp_min_c, board.chip_temp_max_c, known=board.working),
        "chip_statuses": {
            "red": view.chips_per_board if starting or not board.working else 0,
            "orange": 0,
            "grey": 0 if starting or not board.working else view.chips_per_board,
        },
        "status": {"state": state},
    }
    if board.water_in_c is not None and board.water_out_c is not None:
        page["inlet_water_temp"] = round(board.water_in_c)
        page["outlet_water_temp"] = round(board.water_out_c)
    return page


def board_state(state: MinerState) -> str:
    """A healthy board's state beside the machine's."""
    if state in (MinerState.MINING, MinerState.AUTO_TUNING):
        return "mining"
    return "stopped" if state in (MinerState.STOPPED, MinerState.SHUTTING_DOWN) else "initializing"


def _whole(low: float | None, high: float | None, *, known: bool) -> Json:
    if low is None or high is None or not known:
        return {"min": 0, "max": 0}
    return {"min": round(low), "max": round(high)}


def _sensor_lists(board: BoardView, *, broken: int) -> Json:
    """Single sensors as ≤1.2.0 lists them; the first `broken` of two are in `error`, plausible and wrong."""
    lists: Json = {}
    for key, what in (("pcb_temp_sens", "board"), ("chip_temp_sens", "chip")):
        lists[key] = [
            {"status": "error", "temp": BAD_SENSOR_C}
            if position < broken
            else {"status": "measure", "temp": round(value or 0.0)}
            for position, value in enumerate(limits(board, what))
        ]
    return lists


def _pools(view: MinerView) -> list[Json]:
    first = PoolView(
        url=view.pool_url,
        user=view.pool_user,
        shares_accepted=view.shares_accepted,
        shares_rejected=view.shares_rejected,
        shares_stale=view.shares_stale,
    )
    own = (first, *view.other_pools)
    fee = PoolView(url="DevFee", user="DevFee", shares_accepted=round(_FEE * view.shares_accepted))
    return [
        *(_pool(number, "UserPool", pool, view) for number, pool in enumerate(own)),
        _pool(len(own), "DevFee", fee, view),
    ]


def _pool(number: int, kind: str, pool: PoolView, view: MinerView) -> Json:
    chosen = number == view.pool
    mining = view.state in (MinerState.MINING, MinerState.AUTO_TUNING)
    status = "offline" if not mining or not pool.alive else "active" if chosen else "working"
    return {
        "id": number,
        "url": pool.url,
        "pool_type": kind,
        "user": pool.user,
        "status": status,
        "asic_boost": True,
        "diff": "262K",
        "accepted": pool.shares_accepted,
        "rejected": pool.shares_rejected,
        "stale": pool.shares_stale,
        "ls_diff": 262_144.0,
        "ls_time": share_age_text(view.last_share_age_s) if chosen else "0",
        "diffa": 0.0,
        "ping": 20,
    }


def share_age_text(seconds: float | None) -> str:
    """ "0:00:12", as stock firmware prints the time since the last share; "0" where there was none."""
    if seconds is None:
        return "0"
    minutes, left = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{left:02d}"


def model(view: MinerView, *, v13: bool, has_power_limit: bool = True) -> Json:
    """`/model`."""
    overclock: Json = {
        "min_freq": 50,
        "max_freq": 1000,
        "default_freq": 500,
        "warn_freq": 800,
        "min_voltage": 1100,
        "max_voltage": 1600,
        "default_voltage": 1300,
        "max_voltage_stock_psu": 1500,
    }
    if v13 and has_power_limit:
        overclock |= {"max_power_limit": 6000, "power_metering": view.power_metered}
    code = model_code(view.model)
    return {
        "full_name": view.model,
        "model": code,
        "algorithm": view.algorithm.value,
        "hr_measure": _HR_MEASURE[view.algorithm],
        "series": code[:2] if code[:1] == "l" else "x21" if "21" in code else "x19",
        "serial": view.serial or "N/A",
        "platform": "aml",
        "install_type": "nand",
        "chain": {
            "chips_per_chain": view.chips_per_board,
            "chips_per_domain": 1,
            "num_chains": len(view.boards),
            "topology": {"chips": [], "num_cols": 1, "num_rows": 1},
        },
        "cooling": {
            "min_fan_pwm": 10,
            "min_target_temp": 20,
            "max_target_temp": 90,
            "fan_min_count": {"min": 1, "max": 4, "default": 4},
        },
        "overclock": overclock,
    }


def factory_info(view: MinerView) -> Json:
    """`/chains/factory-info`: some machines fill it, most leave it null."""
    rate = vendor_rate(view)
    boards = [
        {
            "id": number,
            "board_model": f"{model_code(view.model).upper()}-BOARD",
            "serial": f"{view.serial}-{number}",
            "chip_bin": 1,
            "freq": round(board.freq_mhz),
            "volt": round(board.volt_v * 100),
            "hashrate": rate(board.hashrate_nominal_ths),
        }
        for number, board in enumerate(view.boards, 1)
    ]
    return {
        "hr_stock": rate(view.hashrate_stock_ths),
        "has_pics": None,
        "psu_model": None,
        "psu_serial": None,
        "chains": boards if view.serial else None,
    }
