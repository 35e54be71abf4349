"""What the emulated REST API shows: one `MinerView` → the vendor's JSON, in the vendor's units.

Shapes follow the recorded replies of 25.07 and 25.11 and, for pages that were not recorded, the vendor's
public message definitions. Pure functions.
"""

from firmware_adapters.miners.emulated import BoardView, MinerView, PoolView
from shared.telemetry import MinerState

Json = dict[str, object]

WINDOWS = ("5s", "15s", "30s", "1m", "5m", "15m", "30m", "1h", "24h")
_STARTING = (MinerState.INITIALIZING, MinerState.STARTING, MinerState.RESTARTING)
_OFF = (MinerState.STOPPED, MinerState.FAILURE)
_HASHING = (MinerState.MINING, MinerState.AUTO_TUNING)
NOT_STARTED, NORMAL, PAUSED = 1, 2, 3
MIN_TARGET_C, MAX_TARGET_C = 40.0, 80.0
"""What the emulated machine takes as a target temperature [default]."""


def status(view: MinerView, *, paused: bool) -> int:
    """The machine's state as a number."""
    if view.state is MinerState.STOPPED and paused:
        return PAUSED
    return NOT_STARTED if view.state in (*_STARTING, *_OFF) else NORMAL


def _backend_uptime_s(view: MinerView, *, paused: bool) -> int:
    if view.state in _OFF and not paused:
        return 0
    return 1 + int(view.state_time_s if view.state in _STARTING else max(0.0, view.uptime_s - 40))


def details(view: MinerView, version: str, *, paused: bool) -> Json:
    """`miner/details`."""
    return {
        "uid": "emulated00000000",
        "miner_identity": {"brand": 1, "model": 18, "name": view.model, "miner_model": view.model},
        "platform": 4,
        "bos_mode": 4,
        "bos_version": {
            "current": f"2026-01-01-0-00000000-{version}-plus",
            "major": "2022-09-13-0-11012d53-22.08-plus",
            "bos_plus": True,
        },
        "hostname": view.hostname,
        "mac_address": view.mac,
        "system_uptime": int(view.uptime_s),
        "system_uptime_s": int(view.uptime_s),
        "bosminer_uptime_s": _backend_uptime_s(view, paused=paused),
        "sticker_hashrate": _ghs(view.hashrate_stock_ths),
        "status": status(view, paused=paused),
        "kernel_version": "4.9.113",
        "control_board_soc_family": 3,
        "serial_number": view.serial or None,
        "psu_info": None,
    }


def _ghs(ths: float) -> Json:
    return {"gigahash_per_second": ths * 1e3}


def _rates(ths: float, since_restart_ths: float) -> Json:
    rates: Json = {f"last_{window}": _ghs(ths) for window in WINDOWS}
    return {**rates, "since_restart": _ghs(since_restart_ths)}


def _hashing_stats(real_ths: float, average_ths: float, nominal_ths: float) -> Json:
    return {
        "best_share": 0,
        "error_hashrate": {"megahash_per_second": 0.0},
        "found_blocks": 0,
        "nominal_hashrate": _ghs(nominal_ths),
        "real_hashrate": _rates(real_ths, average_ths),
    }


def _pool_stats(accepted: int, rejected: int, stale: int, last_share_ms: int | None) -> Json:
    """Statistics of one pool or of all."""
    last = None
    if last_share_ms is not None:
        last = {"seconds": last_share_ms // 1000, "nanos": last_share_ms % 1000 * 1_000_000}
    return {
        "accepted_shares": accepted,
        "rejected_shares": rejected,
        "stale_shares": stale,
        "best_share": 0,
        "generated_work": accepted * 1_000,
        "last_difficulty": 262_144,
        "last_share_time": last,
    }


def stats(view: MinerView, last_share_ms: int | None, *, quiet: bool) -> Json:
    """`miner/stats`."""
    if quiet:
        return {"miner_stats": None, "pool_stats": None, "power_stats": None}
    ths = view.hashrate_ths
    return {
        "miner_stats": _hashing_stats(ths, view.hashrate_average_ths, view.hashrate_nominal_ths),
        "pool_stats": _pool_stats(
            view.shares_accepted + sum(pool.shares_accepted for pool in view.other_pools),
            view.shares_rejected + sum(pool.shares_rejected for pool in view.other_pools),
            view.shares_stale + sum(pool.shares_stale for pool in view.other_pools),
            last_share_ms,
        ),
        "power_stats": {
            "approximated_consumption": {"watt": round(view.power_w)},
            "efficiency": {"joule_per_terahash": view.power_w / ths if ths > 0 else None},
        },
    }


def cooling_state(view: MinerView, *, quiet: bool) -> Json:
    """`cooling/state`."""
    chips = [b.chip_temp_max_c for b in view.boards if b.working and b.chip_temp_max_c is not None]
    hottest = None
    if chips and not quiet:
        hottest = {"id": None, "location": 1, "temperature": {"degree_c": max(chips)}}
    fans = [
        {"position": place, "rpm": round(fan.rpm), "target_speed_ratio": view.fan_duty_pct / 100}
        for place, fan in enumerate(view.fans)
    ]
    return {"fans": [] if view.cooling == "immersion" else fans, "highest_temperature": hottest}


def hashboards(view: MinerView, *, quiet: bool) -> Json:
    """`miner/hw/hashboards`."""
    return {"hashboards": [_board(i + 1, board, view, quiet=quiet) for i, board in enumerate(view.boards)]}


def _board(number: int, board: BoardView, view: MinerView, *, quiet: bool) -> Json:
    known = board.working and not quiet
    hashing = board.working and view.state in _HASHING
    ths, nominal = (board.hashrate_ths, board.hashrate_nominal_ths) if hashing else (0.0, 0.0)
    chip_c = board.chip_temp_max_c if known else None
    return {
        "id": str(number),
        "enabled": True,
        "board_name": "EMULATED",
        "model": "EMULATED",
        "chip_type": "EMULATED",
        "chips_count": view.chips_per_board if board.working else 0,
        "serial_number": f"{view.serial}-{number}",
        "current_frequency": {"hertz": board.freq_mhz * 1e6},
        "current_voltage": {"volt": board.volt_v},
        "board_temp": _celsius(board.board_temp_max_c if known else None),
        "highest_outlet_temp": _celsius(board.board_temp_max_c if known else None),
        "lowest_inlet_temp": _celsius(board.board_temp_min_c if known else None),
        "highest_chip_temp": None
        if chip_c is None
        else {"id": number, "location": 1, "temperature": {"degree_c": chip_c}},
        "stats": None if quiet else _hashing_stats(ths, ths, nominal),
    }


def _celsius(value: float | None) -> Json | None:
    return None if value is None else {"degree_c": value}


def tuner_state(view: MinerView, target_w: float) -> Json:
    """`performance/tuner-state`."""
    profile = {
        "created": {"seconds": 1_776_000_000, "nanos": 0},
        "target": {"watt": round(target_w)},
        "measured_hashrate": _ghs(view.hashrate_nominal_ths),
        "estimated_power_consumption": {"watt": round(view.power_w)},
    }
    target = {"current_target": {"watt": round(target_w)}, "profile": profile}
    state = 3 if view.state is MinerState.AUTO_TUNING else 2
    return {"overall_tuner_state": state, "mode_state": {"powertargetmodestate": target}}


def configuration(target_w: float, cooling: Json) -> Json:
    """`configuration/miner`."""
    return {
        "pool_groups": [],
        "temperature": cooling,
        "tuner": {
            "enabled": True,
            "tuner_mode": 1,
            "power_target": {"watt": round(target_w)},
            "hashrate_target": None,
        },
    }


def constraints(power_w: tuple[float, float], default_w: float) -> Json:
    """`configuration/constraints`."""
    low_w, high_w = power_w
    return {
        "tuner_constraints": {
            "power_target": {
                "default": {"watt": round(default_w)},
                "min": {"watt": round(low_w)},
                "max": {"watt": round(high_w)},
            },
            "enabled": {"default": True},
            "default_mode": 1,
        },
        "cooling_constraints": {
            "default_cooling_mode": 1,
            "target_temperature": {
                "default": {"degree_c": 60.0},
                "min": {"degree_c": MIN_TARGET_C},
                "max": {"degree_c": MAX_TARGET_C},
            },
            "fan_speed_ratio": {"default": 1.0, "min": 0.1, "max": 1.0},
        },
    }


def pools(view: MinerView, last_share_ms: int | None) -> list[Json]:
    """`pools`: one group with all of them."""
    first = PoolView(
        url=view.pool_url,
        user=view.pool_user,
        shares_accepted=view.shares_accepted,
        shares_rejected=view.shares_rejected,
        shares_stale=view.shares_stale,
    )
    members = []
    for number, pool in enumerate((first, *view.other_pools)):
        used = number == view.pool
        counts = pool.shares_accepted, pool.shares_rejected, pool.shares_stale
        members.append(
            {
                "uid": f"pool-{number}",
                "url": pool.url,
                "user": pool.user,
                "enabled": True,
                "alive": pool.alive,
                "active": used and pool.alive and view.state in _HASHING,
                "stats": _pool_stats(*counts, last_share_ms if used else None),
            }
        )
    return [{"uid": "0", "name": "default", "pools": members, "strategy": {"quota": {"value": 1}}}]


def errors(view: MinerView, when: str) -> Json:
    """`miner/errors`."""
    if view.state is not MinerState.FAILURE:
        return {"errors": []}
    code = {"code": f"F{view.failure_code or 0}", "reason": view.description or "failure", "hint": ""}
    told = f"{{ERR:{code['code']}}} {code['reason']}"
    return {"errors": [{"timestamp": when, "message": told, "error_codes": [code], "components": []}]}


def network(view: MinerView, address: str) -> Json:
    """`network`."""
    return {
        "name": "eth0",
        "mac_address": view.mac,
        "hostname": view.hostname,
        "protocol": 1,
        "dns_servers": ["127.0.0.1"],
        "networks": [{"address": address, "netmask": "255.0.0.0"}],
        "default_gateway": "127.0.0.1",
    }
