"""The demo's stages: what was seen, when, and whether it was right. The report is this, as JSON."""

import sys
from dataclasses import dataclass
from typing import Any

from shared.clock import Clock

STAGES: dict[str, str] = {
    "polled": "every device answers the guardian",
    "stored": "the cloud holds rows of every device",
    "trained": "a first model is trained on what the site sent",
    "pushed": "its signed assignment reaches the site and verifies",
    "shadowed": "it runs beside, watched, before it may act",
    "swapped": "the site runs the newest model",
    "inferred": "all miners are scored in one batch per cycle",
    "alarmed": "the worn fan is found by the model, before its chip limit",
    "proposed": "a proposal lowers that miner's preset",
    "applied": "read-back confirms the lower preset",
    "tripped": "the exhaust wall stops; every miner is stopped before 90 °C",
    "wan_recovered": "30 s without WAN, and the link comes back by itself",
    "reset": "cooling proven, an operator resets, the first restart batch is confirmed",
    "committed": "the cloud has every row once: none lost, none twice",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One finished stage."""

    ok: bool
    detail: str
    at_s: float


class Board:
    """Collects stages and tells the person at the screen."""

    def __init__(self, clock: Clock, *, quiet: bool = False) -> None:
        self._clock = clock
        self._quiet = quiet
        self._start = clock.monotonic()
        self.stages: dict[str, Stage] = {}

    def restart_clock(self) -> None:
        """The duration counts from here: all processes are up."""
        self._start = self._clock.monotonic()

    @property
    def elapsed_s(self) -> float:
        return self._clock.monotonic() - self._start

    def say(self, text: str) -> None:
        """One line of progress."""
        if not self._quiet:
            print(f"{self.elapsed_s:6.1f} s  {text}", flush=True)

    def done(self, name: str, detail: str, *, ok: bool = True) -> None:
        """Close a stage; a stage that once failed stays failed."""
        if name not in STAGES:
            raise KeyError(name)
        before = self.stages.get(name)
        ok = ok and (before is None or before.ok)
        self.stages[name] = Stage(ok=ok, detail=detail, at_s=round(self.elapsed_s, 1))
        mark = "ok  " if ok else "FAIL"
        self.say(f"{mark} {name:<14} {detail}")

    def fail_open(self, why: str) -> None:
        """Whatever has not happened by now has failed."""
        for name in STAGES:
            if name not in self.stages:
                self.done(name, why, ok=False)

    @property
    def ok(self) -> bool:
        return all(name in self.stages and self.stages[name].ok for name in STAGES)

    def report(self, **facts: Any) -> dict[str, Any]:
        """The report file's content."""
        return {
            "ok": self.ok,
            "stages": {
                name: {"ok": stage.ok, "detail": stage.detail, "at_s": stage.at_s}
                for name, stage in self.stages.items()
            },
            **facts,
        }

    def table(self) -> str:
        """The stages as a table for people."""
        lines = [f"{'stage':<15}{'':<6}{'at':>8}   what was seen"]
        for name in STAGES:
            stage = self.stages.get(name)
            if stage is None:
                lines.append(f"{name:<15}{'-':<6}{'':>8}   not reached")
            else:
                lines.append(
                    f"{name:<15}{'ok' if stage.ok else 'FAIL':<6}{stage.at_s:>6.1f} s   {stage.detail}"
                )
        return "\n".join(lines)


def complain(text: str) -> None:
    """An error for the person at the screen."""
    print(f"minewarden demo: {text}", file=sys.stderr)
