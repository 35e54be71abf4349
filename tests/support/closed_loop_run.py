"""The long adversarial run: `make soak-safety STEPS=1000000 SEED=7 REPORT=FILE`.

Plays episodes of the closed loop (tests/support/closed_loop.py) until `STEPS` control steps are done, shows
how it goes, and writes a report. Exit status 1 where a limit was violated, 2 where it was called wrongly.
"""

import argparse
import gc
import hashlib
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.guardian.cycle import TURN_S
from support.closed_loop import Episode, EpisodeResult, Plan

SHOWN = 20
EPISODE_STEPS = 20_000
"""One control step is one turn of the guardian at its own cadence, `TURN_S`: 5,000 s of each site."""


def whole(name: str, least: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{name} is {text!r}, expected a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{name} is {value}, expected at least {least}")
        return value

    return parse


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line; exits with 2 and a sentence where it is wrong."""
    parser = argparse.ArgumentParser(prog="soak-safety", description=__doc__)
    parser.add_argument("--steps", type=whole("STEPS", 1), default=1_000_000)
    parser.add_argument("--seed", type=whole("SEED", 0), default=7)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--jobs", type=whole("JOBS", 1), default=1, help="processes side by side")
    parser.add_argument("--episode", type=whole("EPISODE", 0), help="replay only this one")
    parsed = parser.parse_args(argv)
    folder = parsed.report.absolute().parent
    if not folder.is_dir() or parsed.report.is_dir():
        parser.error(f"REPORT is {parsed.report}: its folder must exist, and it must be a file")
    return parsed


def _play(task: tuple[int, int, int]) -> EpisodeResult:
    seed, number, steps = task
    gc.collect()
    gc.disable()  # an episode's values are nearly all free of cycles, and looking for some costs a tenth
    try:
        return Episode(seed, number, Plan(steps=steps, control_s=TURN_S)).run()
    finally:
        gc.enable()


def episodes(seed: int, steps: int, *, only: int | None, jobs: int) -> Iterator[EpisodeResult]:
    """Results in the order of their numbers, however many processes play."""
    sizes = [min(EPISODE_STEPS, steps - begun) for begun in range(0, steps, EPISODE_STEPS)]
    tasks = [(seed, number, size) for number, size in enumerate(sizes)]
    if only is not None:
        tasks = [(seed, only, min(steps, EPISODE_STEPS))]
    if jobs == 1:
        yield from map(_play, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_play, tasks)


def main(argv: list[str]) -> int:
    """Play, show, report."""
    wanted = arguments(argv)
    began_s = time.monotonic()
    total: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    first: list[dict[str, object]] = []
    hottest_c, trace = 0.0, hashlib.blake2b(digest_size=16)
    for result in episodes(wanted.seed, wanted.steps, only=wanted.episode, jobs=wanted.jobs):
        total += Counter(
            steps=result.steps,
            violations=len(result.violations),
            interventions=result.interventions,
            wishes=result.wishes,
        )
        faults += Counter(result.faults)
        kinds += Counter(result.counts)
        hottest_c = max(hottest_c, result.hottest_chip_c)
        trace.update(result.trace.encode())
        for violation in result.violations[: SHOWN - len(first)]:
            first.append(
                {
                    "seed": wanted.seed,
                    "episode": result.number,
                    "step": violation.step,
                    "kind": violation.kind,
                    "subject": violation.subject,
                    "detail": violation.detail,
                }
            )
            print(f"VIOLATION {first[-1]}", flush=True)
        _progress(total, wanted.steps, time.monotonic() - began_s)
    took_s = time.monotonic() - began_s
    report = {
        "steps": total["steps"],
        "violations": total["violations"],
        "interventions": total["interventions"],
        "faults": dict(sorted(faults.items())),
        "seed": wanted.seed,
        "control_step_s": TURN_S,
        "episodes_of_steps": EPISODE_STEPS,
        "simulated_days": round(total["steps"] * TURN_S / 86_400.0, 2),
        "wishes": total["wishes"],
        "interventions_per_1000_steps": round(1000.0 * total["interventions"] / max(total["steps"], 1), 1),
        "share_of_wishes_refused": round(
            (kinds["refused policy"] + kinds["refused order"]) / max(total["wishes"], 1), 4
        ),
        "hottest_hashing_chip_c": hottest_c,
        "kinds": dict(sorted(kinds.items())),
        "first_violations": first,
        "trace": trace.hexdigest(),
        "took_s": round(took_s, 1),
    }
    wanted.report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(
        f"{total['steps']} steps, {total['violations']} violations, {total['interventions']} interventions, "
        f"{sum(faults.values())} faults, hottest hashing chip {hottest_c:g} °C; report in {wanted.report}"
    )
    if first:
        where = first[0]
        print(
            f"replay the first with: make soak-safety SEED={where['seed']} EPISODE={where['episode']} "
            f"STEPS={where['step']} REPORT={wanted.report}",
            file=sys.stderr,
        )
    return 1 if total["violations"] else 0


def _progress(total: Counter[str], steps: int, took_s: float) -> None:
    rate = total["steps"] / max(took_s, 1e-9)
    left_s = max(steps - total["steps"], 0) / max(rate, 1e-9)
    print(
        f"{total['steps']:>9} of {steps} steps  {rate:6.0f}/s  {total['violations']} violations  "
        f"{total['interventions']} interventions  {left_s / 60:.0f} min left",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
