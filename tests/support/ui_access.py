"""Canned enrolments, certificates and ledgers for the dashboard: two that ask to be one site, one that is cut
off, one that ends soon, a site that catches up."""

from typing import Any

from shared.wire.topics import EVENT_STREAM, HISTORY_STREAM, RAW_STREAM, SCORE_STREAM, TELEMETRY_STREAM

Json = dict[str, Any]
MINUTE_MS, DAY_MS = 60_000, 86_400_000
FINGERPRINT = "K7QM-2XF9-AB3D-W8HT"


def identity(now_ms: int) -> Json:
    return {
        "enabled": True,
        "ca_fingerprint": "5A:11:9C:E0:42:77:BD:08",
        "ca_not_after_ms": now_ms + 3_600 * DAY_MS,
        "waiting": 2,
        "renewals": 3,
        "refused_renewals": 0,
        "broker": {"applied_ms": now_ms - 5 * MINUTE_MS, "trouble": None},
    }


def enrolments(now_ms: int) -> list[Json]:
    base: Json = {
        "fingerprint": None,
        "state": "waiting",
        "asked_ms": now_ms - 2 * MINUTE_MS,
        "expires_ms": now_ms + 58 * MINUTE_MS,
        "replace": False,
        "site_has_certificate": False,
        "others_waiting": 0,
        "decided_ms": None,
        "actor": None,
        "reason": "",
        "serial": None,
    }
    return [
        base | {"id": "enrolment-1", "site": "delta"},
        base
        | {
            "id": "enrolment-2",
            "site": "bravo",
            "replace": True,
            "site_has_certificate": True,
            "others_waiting": 1,
        },
        base
        | {
            "id": "enrolment-0",
            "site": "alpha",
            "state": "issued",
            "fingerprint": FINGERPRINT,
            "decided_ms": now_ms - 20 * DAY_MS,
            "actor": "Ada",
            "serial": "01",
        },
    ]


def certificates(now_ms: int) -> list[Json]:
    def one(serial: str, name: str, days: int, **changes: Any) -> Json:
        base: Json = {
            "serial": serial,
            "name": name,
            "role": "site",
            "sites": [name],
            "fingerprint": FINGERPRINT,
            "state": "live",
            "how": "enrolled",
            "actor": "Ada",
            "issued_ms": now_ms - (90 - days) * DAY_MS,
            "not_before_ms": now_ms - (90 - days) * DAY_MS,
            "not_after_ms": now_ms + days * DAY_MS,
            "days_left": days,
            "renewal_due": days < 30,
            "superseded": False,
            "revoked_ms": None,
            "revoked_by": None,
            "reason": "",
            "cut_ms": None,
        }
        return base | changes

    taken = {"state": "revoked", "revoked_by": "Bo", "reason": "the gateway was stolen"}
    return [
        one("01", "alpha", 70),
        one("02", "bravo", 12),
        one("03", "minewarden-control-grid-desk", 300, role="control", sites=["*"], how="admitted"),
        one("04", "minewarden-ingest", 300, role="ingest", sites=[], how="made", actor=""),
        one("05", "charlie", 40, **taken, revoked_ms=now_ms - 5_000),
        one("06", "echo", 40, **taken, revoked_ms=now_ms - DAY_MS, cut_ms=now_ms - DAY_MS + 4_000),
    ]


def ledger(site: str) -> Json:
    def stream(name: str, rows: int, **changes: Any) -> Json:
        base: Json = {
            "epoch": "e1",
            "stream": name,
            "batches": rows // 50,
            "upto": rows // 50,
            "ranges": [],
            "rows": rows,
            "duplicate_batches": 0,
            "tombstoned_rows": 0,
            "quarantined_batches": 0,
            "gaps": [],
        }
        return base | changes

    behind = {"gaps": [[120, 161]]} if site == "alpha" else {}
    return {
        "streams": [
            stream(TELEMETRY_STREAM, 48_120, duplicate_batches=3, **behind),
            stream(EVENT_STREAM, 341),
            stream(SCORE_STREAM, 12_000, tombstoned_rows=200),
            stream(HISTORY_STREAM, 96),
            stream(RAW_STREAM, 4),
        ],
        "rows_in_store": 48_120,
        "rows_apart": 12 if site == "alpha" else 0,
    }


def raw_windows(now_ms: int) -> list[Json]:
    return [
        {
            "id": 7,
            "kind": "miner",
            "from_ms": now_ms - 40 * MINUTE_MS,
            "to_ms": now_ms - 38 * MINUTE_MS,
            "samples": 2880,
            "devices": [f"m-{number:02d}" for number in range(1, 49)],
            "size": 184_320,
            "received_ms": now_ms - 37 * MINUTE_MS,
        }
    ]


def raw_requests(now_ms: int) -> list[Json]:
    return [
        {
            "id": "raw-1",
            "site": "alpha",
            "from_ms": now_ms - 40 * MINUTE_MS,
            "to_ms": now_ms - 30 * MINUTE_MS,
            "devices": [],
            "max_bytes": 4_194_304,
            "actor": "Ada",
            "asked_ms": now_ms - 30 * MINUTE_MS,
            "sent": True,
        }
    ]


def own_record(device: str, now_ms: int) -> Json:
    """A machine's own record over the hole of the made-up hour (`ui_scene.telemetry`), and around it."""
    points = [
        {
            "at_ms": now_ms - age_ms,
            "hashrate_ths": 103.0,
            "power_w": 3040.0,
            "chip_temp_max_c": 67.0,
            "board_temp_max_c": 55.0,
            "fan_duty_pct": 71.0,
            "mark": None,
        }
        for age_ms in range(1_800_000, 1_300_000, -MINUTE_MS)
    ]
    return {"device": device, "source": "firmware", "items": points, "next_from_ms": None}
