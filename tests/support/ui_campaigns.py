"""Canned roll-outs for the dashboard: one that is held, one that was halted, one that is through."""

from typing import Any

Json = dict[str, Any]

CRITERIA: Json = {
    "min_agreement": 0.95,
    "max_alarm_rate": 0.05,
    "max_latency_p99_ms": 500.0,
    "max_intervention_rise": 0.02,
    "max_error_rate": 0.05,
    "min_cycles": 20,
    "min_reporting": 0.9,
    "max_bad_share": 0.1,
    "silent_after_s": 3600.0,
    "offline_after_s": 1800.0,
    "stuck_after_s": 21600.0,
}
_NOTHING: Json = {
    "agreement": None,
    "alarm_rate": None,
    "latency_p99_ms": None,
    "intervention_rate": None,
    "error_rate": None,
    "cycles": None,
}
FINE: Json = {
    "agreement": 0.991,
    "alarm_rate": 0.012,
    "latency_p99_ms": 14.2,
    "intervention_rate": 0.03,
    "error_rate": 0.0,
    "cycles": 220,
}


def _site(name: str, now_ms: int, standing: str, why: str, **changes: Any) -> Json:
    base: Json = {
        "site": name,
        "stage": "shadow",
        "standing": standing,
        "why": why,
        "said": "shadow",
        "reached_ms": now_ms - 3_000_000,
        "heard_ms": now_ms - 240_000,
        "soaked_ms": now_ms + 600_000,
        "worst": FINE,
        "newest": FINE,
        "before": 6,
        "intervention_before": 0.02,
    }
    return base | changes


def _ring(number: int, state: str, sites: list[Json], good: int = 0) -> Json:
    needed = max(1, round(0.9 * len(sites)))
    return {
        "number": number,
        "state": state,
        "soak_s": 3600.0,
        "needed": needed,
        "good": good,
        "sites": sites,
    }


def _later(names: list[str], now_ms: int) -> list[Json]:
    return [
        _site(name, now_ms, "not-yet", "its ring is not open yet", stage=None, heard_ms=None, worst=_NOTHING)
        for name in names
    ]


def _campaign(number: int, now_ms: int, **changes: Any) -> Json:
    base: Json = {
        "id": f"campaign-{number}",
        "name": "miner-anomaly",
        "version": number,
        "state": "running",
        "held": False,
        "why": "",
        "ring": 0,
        "stage": "shadow",
        "stages": ["shadow", "active"],
        "entered_ms": now_ms - 3_200_000,
        "created_ms": now_ms - 90_000_000 + number,
        "created_by": "Ada",
        "ended_ms": None,
        "expires_ms": now_ms + 10**10,
        "second_approver": True,
        "criteria": CRITERIA,
        "rings": [],
        "strangers": [],
        "approvals": [],
        "history": [_step(now_ms - 3_200_000, "advanced", "to ring 2, shadow: 1 of 1 sites held")],
    }
    return base | changes


def _step(at_ms: int, what: str, detail: str, actor: str = "machine") -> Json:
    return {
        "at_ms": at_ms,
        "campaign": None,
        "site": None,
        "actor": actor,
        "what": what,
        "detail": detail,
    }


def approval(now_ms: int, **changes: Any) -> Json:
    """A request of Bo's that waits for somebody else."""
    base: Json = {
        "id": "approval-1",
        "action": "promote",
        "campaign": "campaign-9",
        "site": None,
        "asked_by": "Bo",
        "asked_ms": now_ms - 240_000,
        "expires_ms": now_ms + 3_360_000,
        "reason": "charlie is down for maintenance",
        "body": {},
        "state": "waiting",
        "decided_by": None,
        "decided_ms": None,
        "detail": "",
    }
    return base | changes


def campaigns(now_ms: int) -> list[Json]:
    """Newest first, as the cloud gives them."""
    held = _campaign(
        9,
        now_ms,
        held=True,
        ring=1,
        why="charlie is offline: nothing was heard of it for more than 30 min",
        approvals=[approval(now_ms)],
        strangers=["kilo"],
        rings=[
            _ring(
                1, "done", [_site("alpha", now_ms, "good", "held every criterion", stage="active")], good=1
            ),
            _ring(
                2,
                "open",
                [
                    _site("bravo", now_ms, "soaking", "soaks for 1 h"),
                    _site(
                        "charlie",
                        now_ms,
                        "offline",
                        "nothing was heard of it for more than 30 min",
                        heard_ms=None,
                        reached_ms=None,
                        soaked_ms=None,
                        worst=_NOTHING,
                        newest=None,
                        said="verified",
                    ),
                ],
            ),
            _ring(3, "not-yet", _later(["delta", "echo"], now_ms)),
            _ring(4, "not-yet", _later(["foxtrot", "golf", "hotel", "india", "juliett"], now_ms)),
        ],
    )
    bad = FINE | {"alarm_rate": 0.41}
    halted = _campaign(
        8,
        now_ms,
        state="halted",
        held=True,
        why="1 of 1 sites of ring 1 went wrong: bravo: alarm rate 41.0%, at most 5.0% is allowed",
        ended_ms=now_ms - 7_000_000,
        second_approver=False,
        rings=[
            _ring(
                1,
                "open",
                [
                    _site(
                        "bravo",
                        now_ms,
                        "returning",
                        "told to let go of the version, no confirmation yet "
                        "after: alarm rate 41.0%, at most 5.0% is allowed",
                        worst=bad,
                    )
                ],
            ),
            _ring(2, "not-yet", _later(["alpha", "charlie"], now_ms)),
        ],
    )
    through = _campaign(
        7,
        now_ms,
        state="done",
        why="ring 1, active: 1 of 1 sites held every criterion",
        ended_ms=now_ms - 80_000_000,
        second_approver=False,
        stage="active",
        rings=[
            _ring(1, "done", [_site("alpha", now_ms, "good", "held every criterion", stage="active")], good=1)
        ],
    )
    return [held, halted, through]
