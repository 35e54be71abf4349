"""What the emulated socket shows: one `MinerView` → LuxOS' replies, in its units. Pure; shapes recorded."""

from datetime import UTC, datetime

from firmware_adapters.miners.emulated import BoardView, MinerView, PresetView
from shared.telemetry import MinerState

Json = dict[str, object]

RELEASE = "2025.4.8.220305-57b389c7"
_BUILT = "Tue Apr  8 22:05:35 UTC 2025"


def cold(view: MinerView, board: BoardView) -> bool:
    """Whether the board tells nothing."""
    return not board.working or view.state is MinerState.FAILURE


def version(view: MinerView) -> list[Json]:
    """`version`."""
    release = RELEASE.partition("-")[0]
    return [
        {"API": "3.7", "CompileTime": _BUILT, "LUXminer": RELEASE, "Miner": release, "Type": view.model},
    ]


def summary(view: MinerView) -> list[Json]:
    """`summary`."""
    return [
        {
            "Elapsed": int(view.uptime_s),
            "GHS 5s": _ghs(view.hashrate_ths),
            "GHS av": _ghs(view.hashrate_average_ths),
            "Accepted": view.shares_accepted + sum(pool.shares_accepted for pool in view.other_pools),
            "Rejected": view.shares_rejected + sum(pool.shares_rejected for pool in view.other_pools),
            "Stale": view.shares_stale + sum(pool.shares_stale for pool in view.other_pools),
            "Hardware Errors": view.hw_errors,
        }
    ]


def stats(view: MinerView) -> list[Json]:
    """`stats`, in Bitmain's shape."""
    count = max(len(view.boards), 1)
    page: Json = {
        "STATS": 0,
        "ID": "BTM_SOC0",
        "Elapsed": int(view.uptime_s),
        "GHS 5s": _ghs(view.hashrate_ths),
        "GHS av": _ghs(view.hashrate_average_ths),
        "rate_unit": "GH",
        "miner_count": len(view.boards),
        "fan_num": len(view.fans),
        "total rate": _ghs(view.hashrate_average_ths / count),
        "total_acn": len(view.boards) + 1,
        "total_rateideal": _ghs(view.hashrate_nominal_ths),
        "no_matching_work": view.hw_errors,
    }
    immersed = view.cooling == "immersion"
    page |= {f"fan{n}": 0 if immersed else round(fan.rpm) for n, fan in enumerate(view.fans, 1)}
    for n, board in enumerate(view.boards, 1):
        chips = 0 if cold(view, board) else view.chips_per_board
        low, high = _pair(view, board)
        sensors = "-".join(str(round(value)) for value in (high, low, low, high))
        page |= {
            f"chain_acn{n}": chips,
            f"chain_acs{n}": "".join(f" {'o' * min(4, chips - at)}" for at in range(0, chips, 4)),
            f"chain_hw{n}": board.hw_errors,
            f"chain_rate{n}": str(_ghs(0.0 if cold(view, board) else board.hashrate_ths)),
            f"freq{n}": 0.0 if cold(view, board) else board.freq_mhz,
            f"temp_pcb{n}": sensors,
            f"temp_chip{n}": sensors,
            f"temp_pic{n}": sensors,
        }
    return [{"CompileTime": _BUILT, "Miner": RELEASE.partition("-")[0], "Type": view.model}, page]


def devs(view: MinerView, profile: str) -> list[Json]:
    """`devs`; the boards come in no order."""
    ramping = view.state in (MinerState.STARTING, MinerState.INITIALIZING, MinerState.RESTARTING)
    listed: list[Json] = [
        {
            "ASC": index,
            "ID": index,
            "Board": "BHB56903",
            "Enabled": "Y",
            "Status": "Dead" if cold(view, board) else "Alive",
            "IsRamping": ramping,
            "IsUserShutdown": False,
            "Hardware Errors": board.hw_errors,
            "MHS 5s": 0.0 if cold(view, board) else board.hashrate_ths * 1e6,
            "MHS av": 0.0 if cold(view, board) else board.hashrate_ths * 1e6,
            "Nominal MHS": board.hashrate_nominal_ths * 1e6,
            "Profile": profile,
            "SerialNumber": f"{view.serial}-{index}",
            "Temperature": _pair(view, board)[1],
        }
        for index, board in enumerate(view.boards)
    ]
    return listed[-1:] + listed[:-1]


def temps(view: MinerView) -> Json:
    """`temps` with its metadata."""
    places = {"TopLeft": "Exhaust (top)", "TopRight": "Intake (top)"}
    places |= {"BottomLeft": "Exhaust (bottom)", "BottomRight": "Intake (bottom)"}
    listed = []
    for index, board in enumerate(view.boards):
        low, high = _pair(view, board)
        sensors = {place: high if "Exhaust" in label else low for place, label in places.items()}
        listed.append({"ID": index, "TEMP": index, **sensors})
    labels = {place: {"Label": f"Board {label}", "Position": [0, 0]} for place, label in places.items()}
    return {"METADATA": [labels], "TEMPS": listed}


def fans(view: MinerView) -> Json:
    """`fans`."""
    listed = [
        {"FAN": f"FAN{n + 1}", "ID": n, "RPM": round(fan.rpm), "Speed": round(view.fan_duty_pct)}
        for n, fan in enumerate(view.fans)
    ]
    return {"FANCTRL": [{"MinFans": 3, "PowerOffSpeed": 20}], "FANS": listed}


def default_rung(view: MinerView) -> int:
    """Which rung counts as the default: the highest that is tuned."""
    return max((at for at, rung in enumerate(view.presets) if rung.tuned), default=0)


def profiles(view: MinerView) -> list[Json]:
    """`profiles`, each with its steps away from the default."""
    default = default_rung(view)
    return [_profile(rung, at - default) for at, rung in enumerate(view.presets)]


def _profile(rung: PresetView, step: int) -> Json:
    return {
        "CanRestore": True,
        "Frequency": rung.freq_mhz,
        "HasOverrides": False,
        "Hashrate": rung.hashrate_ths,
        "IsDynamic": True,
        "IsTuned": False,
        "Profile Name": rung.name,
        "Step": str(step),
        "Voltage": rung.volt_v,
        "Watts": round(rung.power_w),
    }


def config(view: MinerView, *, curtailed: bool, atm: bool, address: str) -> Json:
    """`config`."""
    return {
        "ASC Count": len(view.boards),
        "Cooling": "Immersion" if view.cooling == "immersion" else "Air",
        "ControlBoardType": "cvitek",
        "CurtailMode": "Sleep" if curtailed else "None",
        "DHCP": True,
        "Hostname": view.hostname,
        "IPAddr": address,
        "ImmersionMode": view.cooling == "immersion",
        "IsAtmEnabled": atm,
        "IsPowerSupplyOn": view.state.draws_power,
        "IsTuning": view.state is MinerState.AUTO_TUNING,
        "MACAddr": view.mac.lower(),
        "Model": view.model,
        "NameplateTHS": view.hashrate_stock_ths,
        "OS": "LuxOS",
        "Pool Count": 1 + len(view.other_pools),
        "Profile": view.preset or "default",
        "RedLed": "blink" if view.locating else "auto",
        "GreenLed": "auto",
        "SerialNumber": view.serial,
        "SystemStatus": "Normal",
    }


def pools(view: MinerView) -> list[Json]:
    """`pools`."""
    first = (
        view.pool_url,
        view.pool_user,
        view.state is MinerState.MINING,
        view.shares_accepted,
        view.shares_rejected,
        view.shares_stale,
    )
    others = (
        (pool.url, pool.user, pool.alive, pool.shares_accepted, pool.shares_rejected, pool.shares_stale)
        for pool in view.other_pools
    )
    return [
        {
            "POOL": index,
            "GROUP": 0,
            "URL": url,
            "User": user,
            "Status": "Alive" if alive else "Dead",
            "Stratum Active": index == view.pool,
            "Priority": index,
            "Accepted": accepted,
            "Rejected": rejected,
            "Stale": stale,
            "Last Share Time": _clock(view, works=index == view.pool),
        }
        for index, (url, user, alive, accepted, rejected, stale) in enumerate((first, *others))
    ]


def events(view: MinerView, utc_ms: int) -> list[Json]:
    """`events`: empty while all is well, else one of just now."""
    if view.state is not MinerState.FAILURE:
        return []
    words = view.description or "Miner shutdown."
    return [
        {
            "Code": "MINER_SHUTDOWN",
            "CreatedAt": datetime.fromtimestamp(utc_ms / 1000.0, UTC).isoformat(),
            "Description": words,
            "Target": "MINER",
        }
    ]


def chips(view: MinerView, board: int) -> list[Json]:
    """`healthchipget` of one board."""
    shown = view.boards[board]
    if cold(view, shown):
        return []
    each = shown.hashrate_ths * 1e3 / max(view.chips_per_board, 1)
    return [
        {
            "Board": board,
            "Chip": chip,
            "Frequency": shown.freq_mhz,
            "GHS 15m": round(each, 2),
            "GHS 5m": round(each, 2),
            "GHS 1m": round(each, 2),
            "Healthy": "Y",
            "IsChecking": False,
            "Score": 100.0,
        }
        for chip in range(view.chips_per_board)
    ]


def _ghs(ths: float) -> float:
    return round(ths * 1e3, 2)


def _pair(view: MinerView, board: BoardView) -> tuple[float, float]:
    if cold(view, board):
        return 0.0, 0.0
    return float(round(board.board_temp_min_c or 0)), float(round(board.board_temp_max_c or 0))


def _clock(view: MinerView, *, works: bool) -> str:
    """How long ago the last share was; a pool without one shows how long the process runs."""
    known = works and view.last_share_age_s is not None
    minutes, rest = divmod(int(view.last_share_age_s or 0) if known else int(view.uptime_s), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
