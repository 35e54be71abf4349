"""Canned answers of the cloud for the dashboard: three sites with everything that can be wrong on one.

`alpha` runs, with one miner each that is odd, inhibited, failed, stopped, stale and never heard; `bravo` is
tripped; `charlie` is offline with old data. All ages count from the `now_ms` that is handed in.
"""

import math
from typing import Any

from shared.telemetry import COLUMN_NAMES

Json = dict[str, Any]

STEP_S = 5
STALE_S = 3 * STEP_S + 15
SCRYPT_MINER = "m-48"
ODD, INHIBITED, FAILED, STOPPED, STALE, SILENT, STARTING = (
    "m-05",
    "m-09",
    "m-14",
    "m-20",
    "m-27",
    "m-31",
    "m-38",
)
COMMAND_ID = "0b8f4d4e-7d0c-4b1e-9a53-0c4b6f1d2a10"
RACKS = "ABCD"


def _row(**values: float) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(COLUMN_NAMES)
    return row | values


def _device(
    site: str, device: str, kind: str, zone: str, now_ms: int, age_s: float | None, **more: Any
) -> Json:
    base: Json = {
        "id": device,
        "site": site,
        "kind": kind,
        "adapter": "modbus",
        "zone": zone,
        "rack": None,
        "slot": None,
        "model": None,
        "algorithm": None,
        "host": "127.21.200.1",
        "nominal_w": None,
        "data_age_s": age_s,
        "fresh": age_s is not None and age_s <= STALE_S,
        "at_ms": None if age_s is None else now_ms - round(age_s * 1000),
        "state": None,
        "preset": None,
        "quality": 0,
        "samples": 3,
        "failed": 0,
        "inhibited": None,
        "latest": _row(),
        "anomaly": None,
    }
    return base | more


def miner(site: str, number: int, now_ms: int, *, age_s: float = 3.0) -> Json:
    """One of 48 miners in the demo's layout: racks A-C in hall-a, D in hall-b, the last one an L9."""
    device = f"m-{number + 1:02d}"
    scrypt = device == SCRYPT_MINER
    nominal, watts = (0.0162, 3260.0) if scrypt else (104.0, 3068.0) if number < 24 else (212.0, 3531.0)
    wobble = math.sin(number * 1.7)
    latest = _row(
        hashrate_ths_mean=nominal * (0.985 + 0.02 * wobble),
        hashrate_nominal_ths_last=nominal,
        power_w_mean=watts * (1 + 0.01 * wobble),
        preset_w_last=watts,
        chip_temp_max_c_max=67 + 5 * wobble,
        chip_temp_max_c_mean=66 + 5 * wobble,
        board_temp_max_c_max=55 + 4 * wobble,
        psu_temp_c_max=48,
        fan_rpm_mean=5200 + 200 * wobble,
        fan_rpm_min=5100 + 200 * wobble,
        fan_duty_pct_mean=72 + 4 * wobble,
        hw_errors_delta=0,
        shares_accepted_delta=3,
        shares_rejected_delta=0,
        uptime_s_last=86_400 * 3.2,
        boards_working_min=3,
    )
    score = 0.42 + 0.1 * wobble
    made = _device(
        site,
        device,
        "miner",
        "hall-a" if number < 36 else "hall-b",
        now_ms,
        age_s,
        adapter="vnish",
        rack=RACKS[number // 12],
        slot=number % 12 + 1,
        host=f"127.21.{number // 12 + 1}.{number % 12 + 1}",
        model="l9" if scrypt else "s19jpro" if number < 24 else "s21pro",
        algorithm="scrypt" if scrypt else "sha256d",
        state="mining",
        preset=str(round(watts)),
        latest=latest,
        nominal_w=watts,
        anomaly=_anomaly(score, "hashrate_ths_mean", now_ms),
    )
    return _with_trouble(made, now_ms)


def _anomaly(score: float, feature: str, now_ms: int) -> Json:
    return {
        "score": score,
        "threshold": 1.1,
        "at_ms": now_ms - 4000,
        "model": "miner-anomaly",
        "version": 7,
        "top_feature": feature,
    }


def _with_trouble(made: Json, now_ms: int) -> Json:
    latest = made["latest"]
    match made["id"]:
        case "m-05":
            made["latest"] = latest | {
                "chip_temp_max_c_max": 84.0,
                "fan_rpm_min": 2310.0,
                "fan_rpm_mean": 3900.0,
            }
            made["anomaly"] = _anomaly(1.93, "fan_weakest", now_ms)
        case "m-09":
            made["inhibited"] = "settling after a preset change"
        case "m-14":
            made |= {"state": "failure", "latest": latest | {"hashrate_ths_mean": 0.0, "power_w_mean": 42.0}}
        case "m-20":
            made |= {"state": "stopped", "latest": latest | {"hashrate_ths_mean": 0.0, "power_w_mean": 38.0}}
        case "m-27":
            made |= {
                "data_age_s": 412.0,
                "fresh": False,
                "at_ms": now_ms - 412_000,
                "quality": 4,
                "samples": 0,
                "failed": 3,
            }
        case "m-31":
            made |= {
                "data_age_s": None,
                "fresh": False,
                "at_ms": None,
                "state": None,
                "latest": _row(),
                "quality": None,
                "anomaly": None,
            }
        case "m-38":
            made |= {"state": "starting", "latest": latest | {"hashrate_ths_mean": 41.0}}
    return made


def gear(site: str, zone: str, now_ms: int, *, age_s: float = 3.0, wall_pct: float = 64.0) -> list[Json]:
    """What stands beside the miners of a zone."""
    end = zone[-1]
    watts = 128_400.0 if zone == "hall-a" else 44_100.0
    readings: tuple[tuple[str, str, dict[str, float]], ...] = (
        (
            "wall",
            "drive",
            {
                "speed_pct_min": wall_pct,
                "speed_setpoint_pct_last": 65.0,
                "running_min": float(wall_pct > 0),
                "fault_max": 0.0,
            },
        ),
        (
            "meter",
            "meter",
            {
                "power_w_mean": watts,
                "voltage_v_mean": 231.4,
                "current_a_max": 188.2,
                "energy_kwh_last": 48_211.0,
            },
        ),
        (
            "hvac",
            "hvac",
            {"air_temp_c_mean": 24.6, "setpoint_c_last": 24.0, "running_min": 1.0, "fault_max": 0.0},
        ),
        ("inlet-1", "probe", {"air_temp_c_mean": 24.2, "air_temp_c_max": 24.9, "humidity_pct_mean": 46.0}),
        ("contacts", "contacts", {"estop_pressed_max": 0.0, "door_open_max": 0.0}),
    )
    return [
        _device(site, f"{name}-{end}", kind, zone, now_ms, age_s, latest=_row(**values))
        for name, kind, values in readings
    ]


def devices(now_ms: int) -> dict[str, list[Json]]:
    """Site → its devices."""
    alpha = [miner("alpha", number, now_ms) for number in range(48)]
    bravo = [miner("bravo", number, now_ms) for number in range(36)]
    for one in bravo:
        stopped = one["latest"] | {"hashrate_ths_mean": 0.0}
        one.update(state="stopped", inhibited="zone tripped", latest=stopped)
    charlie = [miner("charlie", number, now_ms, age_s=7_980.0) for number in range(24)]
    return {
        "alpha": [*alpha, *gear("alpha", "hall-a", now_ms), *gear("alpha", "hall-b", now_ms)],
        "bravo": [*bravo, *gear("bravo", "hall-a", now_ms, wall_pct=0.0)],
        "charlie": [*charlie, *gear("charlie", "hall-a", now_ms, age_s=7_980.0)],
    }


def _zone(zone: str, mode: str, **more: Any) -> Json:
    calm = {
        "cooling_proven": True,
        "tripped": False,
        "first_out": None,
        "inhibited": 0,
        "restarting": False,
        "at_ms": 1,
    }
    return {"id": zone, "mode": mode} | calm | more


def _site(
    site: str, name: str, now_ms: int, age_s: float, zones: list[Json], algorithms: Json, **more: Any
) -> Json:
    base: Json = {
        "id": site,
        "name": name,
        "online": True,
        "last_seen_ms": now_ms - round(age_s * 1000),
        "data_age_s": age_s,
        "simulated": True,
        "power_w": 172_500.0,
        "miners_power_w": 158_900.0,
        "algorithms": algorithms,
        "miners_total": sum(one["miners"] for one in algorithms.values()),
        "miners_fresh": sum(one["miners"] for one in algorithms.values()) if age_s <= STALE_S else 0,
        "miners_hashing": sum(one["hashing"] for one in algorithms.values()),
        "open_alarms": 0,
        "urgent_alarms": 0,
        "zones": zones,
        "step_s": STEP_S,
        "model": {"name": "miner-anomaly", "version": 7, "stage": "active", "algorithm": "pca"},
    }
    return base | more


def _algorithm(hashrate: float | None, watts: float | None, miners: int, hashing: int) -> Json:
    ratio = watts / hashrate if hashrate and watts else None
    return {
        "hashrate_ths": hashrate,
        "power_w": watts,
        "j_per_th": ratio,
        "miners": miners,
        "hashing": hashing,
    }


FIRST_OUT = "exhaust wall wall-a runs at 0 % (lost below 20 %) for 6 s"
TRIP_ADVICE = (
    "Go and look at fans and pumps; when the feedback is back, reset with "
    "'minewarden guardian reset --zone hall-a --reason ...'. Nothing restarts before that."
)


def sites(now_ms: int) -> list[Json]:
    """The three summaries."""
    return [
        _site(
            "alpha",
            "Alpha",
            now_ms,
            3.0,
            [_zone("hall-a", "ml-active", inhibited=1), _zone("hall-b", "ml-active")],
            {"sha256d": _algorithm(6940.0, 151_200.0, 47, 43), "scrypt": _algorithm(0.0160, 3248.0, 1, 1)},
            open_alarms=3,
        ),
        _site(
            "bravo",
            "Bravo",
            now_ms,
            4.0,
            [
                _zone(
                    "hall-a", "tripped", cooling_proven=False, tripped=True, first_out=FIRST_OUT, inhibited=36
                )
            ],
            {"sha256d": _algorithm(0.0, 1_400.0, 36, 0)},
            open_alarms=1,
            urgent_alarms=1,
            power_w=4_200.0,
            miners_power_w=1_400.0,
            model=None,
        ),
        _site(
            "charlie",
            "Charlie",
            now_ms,
            7_980.0,
            [_zone("hall-a", "local-auto")],
            {"sha256d": _algorithm(None, None, 24, 0)},
            online=False,
            simulated=False,
            power_w=None,
            miners_power_w=None,
            model={"name": "miner-anomaly", "version": 6, "stage": "shadow", "algorithm": "pca"},
        ),
    ]


def _alarm(
    number: int, site: str, severity: str, title: str, advice: str, opened_ms: int, **more: Any
) -> Json:
    base: Json = {
        "id": f"alarm-{number}",
        "site": site,
        "key": f"key-{number}",
        "kind": "alarm",
        "severity": severity,
        "title": title,
        "advice": advice,
        "zone": "hall-a",
        "device": None,
        "opened_ms": opened_ms,
        "cleared_ms": None,
        "last_ms": opened_ms,
        "acknowledged_ms": None,
        "acknowledged_by": None,
        "note": None,
        "count": 1,
        "data": {},
    }
    return base | more


def alarms(now_ms: int) -> list[Json]:
    """Four open ones and a cleared one."""
    return [
        _alarm(
            1,
            "bravo",
            "urgent",
            f"Zone hall-a tripped and is being stopped: {FIRST_OUT}",
            TRIP_ADVICE,
            now_ms - 380_000,
            kind="tripped",
            data={"trip": "t-1", "interlock": "zone-cooling", "first_out": FIRST_OUT},
        ),
        _alarm(
            2,
            "alpha",
            "high",
            f"{ODD} behaves unlike itself: its slowest fan turns at 2310 rpm",
            "Look at its fans and filters; a replacement fan is cheaper than a hash board.",
            now_ms - 95_000,
            device=ODD,
            count=3,
            data={"score": 1.93, "threshold": 1.1, "top_feature": "fan_weakest"},
        ),
        _alarm(
            3,
            "alpha",
            "low",
            f"{STALE} has not answered for a while; it counts as running and hot, nothing is raised there",
            "Check its network cable and power; if it answers in a browser, check its credential.",
            now_ms - 382_000,
            device=STALE,
            acknowledged_ms=now_ms - 120_000,
            acknowledged_by="Ada",
        ),
        _alarm(
            4,
            "alpha",
            "low",
            f"{FAILED} reports a failure",
            "Read the miner's own log; power-cycle it once.",
            now_ms - 5_400_000,
            device=FAILED,
        ),
        _alarm(
            5,
            "alpha",
            "high",
            "m-11: chip-temp 81 °C is above 80 °C; its preset is being lowered",
            "Look at its fans and filters.",
            now_ms - 9_000_000,
            device="m-11",
            cleared_ms=now_ms - 8_700_000,
        ),
    ]


def _event(number: int, site: str, kind: str, title: str, at_ms: int, **more: Any) -> Json:
    base: Json = {
        "id": f"event-{number:03d}",
        "site": site,
        "kind": kind,
        "severity": "low",
        "key": f"key-{number}",
        "at_ms": at_ms,
        "title": title,
        "advice": "",
        "zone": None,
        "device": None,
        "data": {},
    }
    return base | more


def events(now_ms: int) -> list[Json]:
    """Newest first: a decision with all its steps, a refusal, a trip, a mode change, a model event."""
    decision = {
        "id": COMMAND_ID,
        "source": "policy",
        "why": "score 1.93 over 1.10 for 5 cycles",
        "asked": "preset 2300",
        "model": "miner-anomaly v7",
        "confidence": 0.91,
        "applied": "preset 2550",
        "narrowed": True,
        "result": "applied",
        "took_s": 6.4,
        "before": "3068",
        "after": "2550",
    }
    return [
        _event(
            1,
            "alpha",
            "action",
            f"{ODD}: preset 2550 is applied",
            now_ms - 61_000,
            device=ODD,
            zone="hall-a",
            data=decision,
        ),
        _event(
            2,
            "alpha",
            "refused",
            "m-12: raise to 3531 refused",
            now_ms - 130_000,
            device="m-12",
            zone="hall-a",
            data={
                "source": "policy",
                "why": "room under the cap",
                "asked": "preset 3531",
                "violations": "feeder cap 180 kW; inhibited",
            },
        ),
        _event(
            3,
            "bravo",
            "tripped",
            f"Zone hall-a tripped and is being stopped: {FIRST_OUT}",
            now_ms - 380_000,
            severity="urgent",
            zone="hall-a",
            advice=TRIP_ADVICE,
            data={"interlock": "zone-cooling", "first_out": FIRST_OUT},
        ),
        _event(
            4,
            "alpha",
            "mode",
            "Zone hall-a: ml-shadow → ml-active (assignment)",
            now_ms - 900_000,
            zone="hall-a",
            data={"from": "ml-shadow", "to": "ml-active", "cause": "assignment"},
        ),
        _event(
            5,
            "alpha",
            "model",
            "miner-anomaly v7 is active",
            now_ms - 905_000,
            data={"model": "miner-anomaly", "version": 7, "state": "active"},
        ),
        _event(
            6,
            "alpha",
            "alarm-cleared",
            "m-11: chip-temp is back below its release limit",
            now_ms - 8_700_000,
            device="m-11",
            zone="hall-a",
        ),
    ]


def models(now_ms: int) -> list[Json]:
    """A blessed champion and a rejected challenger."""

    def model(version: int, algorithm: str, status: str, ap: float, gate: list[Json], age_ms: int) -> Json:
        return {
            "name": "miner-anomaly",
            "version": version,
            "site": "alpha",
            "algorithm": algorithm,
            "family": "anomaly",
            "created_ms": now_ms - age_ms,
            "data_from_ms": now_ms - age_ms - 3_600_000,
            "data_to_ms": now_ms - age_ms - 10_000,
            "size": 84_213,
            "sha256": f"{version:02x}" * 32,
            "status": status,
            "gate": gate,
            "thresholds": {"*": 1.1, "s19jpro": 1.04},
            "metrics": {
                "synthetic_ap": ap,
                "synthetic_ap_baseline": 0.861,
                "synthetic_ap_champion": 0.934,
                "alarm_rate": 0.0082,
                "latency_128_ms": 1.7,
                "parity_max": 2.1e-7,
            },
        }

    good = [
        {
            "rule": "beats_baseline",
            "ok": True,
            "detail": "synthetic average precision 0.9481 against 0.8610 of max |z|",
        },
        {"rule": "parity", "ok": True, "detail": "largest difference 2.1e-07"},
        {"rule": "quiet_on_normal", "ok": True, "detail": "0.82% of held-out windows alarm, at most 5%"},
    ]
    bad = [
        {
            "rule": "beats_baseline",
            "ok": True,
            "detail": "synthetic average precision 0.9020 against 0.8610 of max |z|",
        },
        {"rule": "not_worse_than_champion", "ok": False, "detail": "0.9020 against 0.9481"},
    ]
    return [
        model(8, "lstm-ae", "rejected", 0.902, bad, 300_000),
        model(7, "pca", "blessed", 0.9481, good, 1_200_000),
    ]


def rollouts(now_ms: int) -> list[Json]:
    """One that is active, one that waits in shadow, one that a site refused."""

    def rollout(site: str, version: int, stage: str, states: list[str], detail: str = "") -> Json:
        history = [
            {"state": state, "at_ms": now_ms - 1_100_000 + 20_000 * i, "detail": ""}
            for i, state in enumerate(states)
        ]
        history[-1]["detail"] = detail
        return {
            "site": site,
            "name": "miner-anomaly",
            "version": version,
            "stage": stage,
            "current": True,
            "reported": history[-1],
            "assigned_ms": now_ms - 1_110_000,
            "history": history,
        }

    return [
        rollout(
            "alpha",
            7,
            "active",
            ["published", "downloaded", "verified", "shadow", "active"],
            "5 of 5 shadow cycles agreed",
        ),
        rollout("charlie", 6, "active", ["published", "downloaded", "verified", "shadow"]),
        rollout(
            "bravo",
            5,
            "active",
            ["published", "downloaded", "refused"],
            "feature spec miner-v1 is not known here",
        ),
    ]


def telemetry(device: str, columns: list[str], from_ms: int, now_ms: int, limit: int) -> Json:
    """A made-up hour: a day's wave, and a hole of two minutes in the middle."""
    step_ms = STEP_S * 1000
    start = max(from_ms, now_ms - 3_600_000) // step_ms * step_ms
    times = [at for at in range(start, now_ms - step_ms, step_ms) if not 1_500_000 < now_ms - at < 1_620_000][
        :limit
    ]
    watts = 128_400.0 if device.startswith("meter") else 3068.0
    base = {
        "hashrate": 104.0,
        "power": watts,
        "preset": 3068.0,
        "chip": 68.0,
        "board": 56.0,
        "fan_rpm": 5200.0,
        "fan_duty": 72.0,
    }

    def value(column: str, at: int) -> float | None:
        centre = next((size for name, size in base.items() if column.startswith(name)), None)
        if centre is None:
            return None
        if column.endswith("_last"):
            return centre
        worn = (
            0.45 * max(0.0, 1 - (now_ms - at) / 600_000)
            if device == ODD and column.startswith("fan_rpm")
            else 0.0
        )
        return centre * (1 + 0.012 * math.sin(at / 47_000) - worn)

    return {
        "device": device,
        "step_s": STEP_S,
        "columns": columns,
        "at_ms": times,
        "values": [[value(column, at) for at in times] for column in columns],
        "next_from_ms": None,
    }


def commands(now_ms: int) -> list[Json]:
    """One command that was carried out."""
    write = {
        "action": {"do": "set-preset", "device": ODD, "preset": "2550"},
        "result": "applied",
        "detail": "",
        "before": "3068",
        "after": "2550",
        "took_s": 6.4,
    }
    return [
        {
            "id": COMMAND_ID,
            "site": "alpha",
            "source": "cloud",
            "key": "command-1",
            "actor": "Ada",
            "order": {"order": "actions", "actions": [write["action"]]},
            "issued_ms": now_ms - 600_000,
            "expires_ms": now_ms - 570_000,
            "state": "done",
            "detail": "",
            "outcome": "applied",
            "writes": [write],
            "history": [
                {"state": "sent", "at_ms": now_ms - 600_000, "detail": ""},
                {"state": "done", "at_ms": now_ms - 593_000, "detail": ""},
            ],
        }
    ]


def plan(plan_id: str, asked: Json, now_ms: int, *, blind: bool) -> Json:
    """A plan as the cloud shows it; `blind`: the site did not answer."""
    order = asked["order"]
    steps = [
        {"action": action, "saves_w": 3400.0 if action["do"] == "stop" else None, "words": ""}
        for action in order.get("actions", [])
    ]
    preview = {
        "steps": steps,
        "total_steps": len(steps),
        "refused": 0,
        "now_w": 173_000.0,
        "expected_w": 169_600.0,
        "reaches_target": None,
        "takes_s": 30.0,
        "detail": "",
    }
    return {
        "id": plan_id,
        "site": asked["site"],
        "actor": asked["actor"],
        "order": order,
        "created_ms": now_ms,
        "expires_ms": now_ms + 120_000,
        "state": "blind" if blind else "ready",
        "answered": not blind,
        "preview": None if blind else preview,
        "detail": "the site did not answer within 5 s" if blind else "",
    }
