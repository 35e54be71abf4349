"""`python -m cloud.training.evaluate [--scenario demo|day] [--seeds N]`: the table for the documentation.

Compares the models with max |z| and with fixed thresholds on simulated faults: AUC-PR over steps, events
found at a budget of false alarms per miner-month, delay, and how long before the 90 °C chip limit. Nothing is
point-adjusted: with that, a random score gets 0.8 to 0.999 on public sets (models.md §0.2).
"""

import argparse
import math
import sys
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.training.baseline import MaxAbsZ
from cloud.training.datasets import Windows
from cloud.training.detector import Detector, Floats, Inputs, Scored
from cloud.training.gates import average_precision, calibrate
from cloud.training.run import fit
from cloud.training.scenario import SCENARIOS, Played, play
from shared.features.spec import FeatureSpec
from shared.ids import DeviceId

MONTH_S = 30 * 86_400.0
BUDGETS = (1.0, 10.0)
"""False alarms per miner-month that a threshold may cost."""
FRESH_SEED = 11
"""Seeds below were looked at while tolerances and components were chosen; they are no evidence any more."""
IN_A_ROW = 2
"""Steps above the threshold in a row that make an alarm; as a policy would ask, equal for all methods."""


class FixedLimits:
    """The rule that operators begin with: hashrate 10 % under nominal, or a chip above 75 °C; alarms at 1."""

    algorithm = "fixed limits"

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec

    def score(self, x: Inputs) -> Scored:
        """Largest share of either limit that is used up, over the window's newest step."""
        last = x.astype(np.float64).reshape(-1, self._spec.window, len(self._spec.features))[:, -1]
        hashrate = (1.0 - last[:, self._spec.names.index("hash_ratio")]) / 0.10
        chip = last[:, self._spec.names.index("chip_hot_c")] / 75.0
        residual = np.maximum(np.stack([hashrate, chip], axis=1), 0.0)
        return Scored(score=residual.max(axis=1), residual=residual)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Events found at one threshold: share, median delay and lead before 90 °C (s, NaN if none)."""

    recall: float
    delay_s: float
    lead_s: float
    before_limit: tuple[int, int]
    """Events that reached 90 °C and alarmed before it, of all events that reached it."""
    per_miner_month: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one played scenario."""

    method: str
    auc_pr: float
    at_budget: dict[float, Found]
    as_shipped: Found | None
    """At the threshold that training would ship, or the rule's own; None for the baseline, which has none."""
    recall_by_fault: dict[str, float]


def alarms(test: Windows, score: Floats, threshold: float) -> dict[DeviceId, list[int]]:
    """Begin of every alarm per device, ms: `IN_A_ROW` windows above, and none again until it was below."""
    over: dict[DeviceId, int] = {}
    found: dict[DeviceId, list[int]] = {device: [] for device in set(test.devices)}
    for device, at_ms, value in zip(test.devices, test.end_ms, score, strict=True):
        over[device] = over.get(device, 0) + 1 if value > threshold else 0
        if over[device] == IN_A_ROW:
            found[device].append(int(at_ms))
    return found


def judge(played: Played, begun: dict[DeviceId, list[int]]) -> tuple[Found, dict[str, list[bool]]]:
    """Compare alarms with the truth; also found or not per kind of fault."""
    hits: dict[str, list[bool]] = {}
    delays: list[float] = []
    leads: list[float] = []
    false, watched_s, reached, before = 0, 0.0, 0, 0
    for device, times in begun.items():
        event = played.event_of(device)
        onset = played.start_ms + round(event.at_s * 1000) if event else None
        false += sum(1 for at in times if onset is None or at < onset)
        watched_s += event.at_s if event else played.scenario.test_s
        if event is None or onset is None:
            continue
        first = next((at for at in times if at >= onset), None)
        hits.setdefault(event.fault + ("" if event.part is None else " (one)"), []).append(first is not None)
        limit = played.limit_ms.get(device)
        reached += limit is not None
        if first is not None:
            # An alarm is known when its step is over, not when it begins.
            known = first + played.spec.step_s * 1000
            delays.append((known - onset) / 1000)
            if limit is not None:
                leads.append((limit - known) / 1000)
                before += known < limit
    flat = [hit for group in hits.values() for hit in group]
    found = Found(
        recall=float(np.mean(flat)) if flat else float("nan"),
        delay_s=float(np.median(delays)) if delays else float("nan"),
        lead_s=float(np.median(leads)) if leads else float("nan"),
        before_limit=(before, reached),
        per_miner_month=false * MONTH_S / watched_s,
    )
    return found, hits


def at_budget(played: Played, score: Floats, budget: float) -> tuple[Found, dict[str, list[bool]]]:
    """The lowest threshold whose false alarms stay within `budget` per miner-month (bisection on scores)."""
    candidates: NDArray[np.float64] = np.unique(score)
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        found, _ = judge(played, alarms(played.test, score, float(candidates[middle])))
        if found.per_miner_month <= budget:
            high = middle
        else:
            low = middle + 1
    return judge(played, alarms(played.test, score, float(candidates[low])))


def compare(played: Played, algorithms: Sequence[str]) -> list[Line]:
    """Every method on one played scenario; models learn on the first three quarters of the healthy time.

    The last quarter sets their shipped thresholds, as in training.
    """
    border = np.quantile(played.train.end_ms, 0.75)
    fitting, setting = (
        played.train.take(played.train.end_ms <= border),
        played.train.take(played.train.end_ms > border),
    )
    shipped: list[Detector] = [fit(algorithm, played.spec, fitting.x) for algorithm in algorithms]
    others: list[Detector] = [MaxAbsZ.fit(played.spec, fitting.x), FixedLimits(played.spec)]
    truth = played.ill()
    lines = []
    for detector in [*shipped, *others]:
        score = detector.score(played.test.x).score
        budgets = {budget: at_budget(played, score, budget) for budget in BUDGETS}
        as_shipped = None
        if detector in shipped:
            models = [played.healthy.models[device] for device in setting.devices]
            level = calibrate(detector.score(setting.x).score, models).thresholds["*"]
            as_shipped = judge(played, alarms(played.test, score, level))[0]
        elif isinstance(detector, FixedLimits):
            as_shipped = judge(played, alarms(played.test, score, 1.0))[0]
        lines.append(
            Line(
                method=detector.algorithm,
                auc_pr=average_precision(truth, score),
                at_budget={budget: found for budget, (found, _) in budgets.items()},
                as_shipped=as_shipped,
                recall_by_fault={
                    fault: float(np.mean(hit)) for fault, hit in sorted(budgets[BUDGETS[0]][1].items())
                },
            )
        )
    return lines


def _cell(found: Found | None) -> str:
    if found is None:
        return "–"
    early, reached = found.before_limit
    delay = "never" if math.isnan(found.delay_s) else f"{found.delay_s:.0f} s"
    lead = "none reached 90 °C" if not reached else f"{early}/{reached} before 90 °C"
    by = "" if math.isnan(found.lead_s) else f" by {found.lead_s:.0f} s"
    return f"{found.recall:.0%}, {delay}, {lead}{by}, {found.per_miner_month:.1f} false"


def table(lines: Sequence[Line]) -> str:
    """Markdown: recall, median delay, events before the chip limit and lead, false alarms per miner-month."""
    heads = [
        "method",
        "AUC-PR",
        *(f"≤ {budget:.0f} false alarms/miner-month" for budget in BUDGETS),
        "as shipped",
    ]
    rows = [heads, ["---"] * len(heads)]
    for line in lines:
        cells = [_cell(line.at_budget[budget]) for budget in BUDGETS]
        rows.append([line.method, f"{line.auc_pr:.3f}", *cells, _cell(line.as_shipped)])
    parts = [f"| {' | '.join(row)} |" for row in rows]
    for line in lines:
        kinds = ", ".join(f"{fault} {share:.0%}" for fault, share in line.recall_by_fault.items())
        parts.append(f"\n{line.method} at ≤ {BUDGETS[0]:.0f}: {kinds}")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Play and print one table per seed."""
    parser = argparse.ArgumentParser(prog="python -m cloud.training.evaluate")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="demo")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first-seed", type=int, default=FRESH_SEED)
    parser.add_argument("--algorithms", default="pca,lstm-ae")
    given = parser.parse_args(arguments)
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        played = play(SCENARIOS[given.scenario], seed=seed)
        lines = compare(played, given.algorithms.split(","))
        sys.stdout.write(f"\nSimulated faults, scenario {given.scenario}, seed {seed}\n\n{table(lines)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
