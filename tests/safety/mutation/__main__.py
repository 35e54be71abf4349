"""`make mutants`: mutate the core, run its tests against each mutant, write the report.

What was found stays in `.mutants/`. Where neither core nor tests changed it is taken as it is, so a run that
was cut short goes on; otherwise every mutant runs again, first against the test that killed it last time.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from safety.mutation import children, core, mutants, report, session
from safety.mutation.children import Answer, Job
from safety.mutation.mutants import Mutant
from safety.mutation.session import Baseline, Warm

GOAL_PERCENT = 95.0
COLD_LIMIT_S = 120.0
BATCH = 25
"""Mutants per child; a fork costs as much as a test."""
_CACHE = core.ROOT / ".mutants/results.json"


class Known(msgspec.Struct):
    """What earlier runs found: for `key` the fates hold; else they only say which test to try first."""

    key: str = ""
    fates: dict[str, str | None] = {}
    """Mutant → the test that killed it, "timeout", or None where it survived."""
    tests: int = 0
    hints: dict[str, str | None] = {}
    """The same from runs over other sources or tests."""


class Run:
    """One run over a list of mutants."""

    def __init__(self, workers: int, known: Known) -> None:
        self.workers = workers
        self.hints = {**known.hints, **known.fates}
        self.key = core.digest((*core.sources(), *core.tests(), *_tool()))
        self.fates: dict[str, str | None] = dict(known.fates) if known.key == self.key else {}
        self.tests = known.tests if known.key == self.key else 0
        self.baseline = Baseline()
        self._recent: dict[tuple[str, str], list[str]] = {}
        self._started = time.monotonic()

    def go(self, wanted: list[Mutant]) -> None:
        """Fill `fates` for all of them."""
        self.fates |= {mutant.id: None for mutant in report.excused(wanted)}
        known = {mutant for mutant, fate in self.fates.items() if fate != report.UNDECIDED}
        todo = [mutant for mutant in wanted if mutant.id not in known]
        print(f"{len(wanted)} mutants, {len(todo)} to run", flush=True)
        if not todo:
            return
        cold = [mutant for mutant in todo if not mutant.function]
        # First what runs at import: afterwards this process has the modules loaded.
        session.preload()
        self._work((self._cold(mutant) for mutant in cold), cold)
        warm = [mutant for mutant in todo if mutant.function]
        session.warm(lambda collected: self._warm_all(collected, warm))

    def save(self) -> None:
        """Keep what is known; results of mutants that are gone go too."""
        _CACHE.parent.mkdir(exist_ok=True)
        _CACHE.write_bytes(
            msgspec.json.encode(Known(key=self.key, fates=self.fates, tests=self.tests, hints=self.hints))
        )

    # ------------------------------------------------------------ the two kinds

    def _cold(self, mutant: Mutant) -> Job:
        stages = self._stages(mutant)

        def work() -> str | None:
            session.silence()
            return session.cold(mutant, stages)

        return Job(name=mutant.id, work=work, limit_s=COLD_LIMIT_S)

    def _stages(self, mutant: Mutant) -> list[Sequence[str]]:
        """The words and numbers of the core, what killed this one or its neighbours, and then everything."""
        hint = self.hints.get(mutant.id)
        tried = dict.fromkeys((*([hint] if hint else []), *self._recent.get((mutant.path, ""), [])))
        known = [test for test in tried if test.split("::", 1)[0] in core.tests() and "::" in test]
        known = [test for test in known if test.split("::", 1)[0] not in core.WORDS]
        rest = [test for test in core.tests() if test not in core.WORDS]
        near = [test for test in rest if _is_near(mutant.path, test)]
        rest = [test for test in rest if test not in near]
        return [stage for stage in (core.WORDS, known, near, rest) if stage]

    def _warm_all(self, collected: Warm, wanted: list[Mutant]) -> None:
        self.baseline = self._measure(collected)
        self.tests = len(self.baseline.seconds)
        left = deque(wanted)
        done = 0
        while left:  # again where a child died: with what it left
            batches = iter(lambda: [left.popleft() for _ in range(min(BATCH, len(left)))], [])
            running: dict[str, tuple[list[Mutant], Path]] = {}
            for answer in children.run(self._jobs(collected, batches, running), self.workers):
                batch, file = running.pop(answer.name)
                fates = msgspec.json.decode(b"[" + b",".join(file.read_bytes().splitlines()) + b"]")
                file.unlink()
                fates += [answer.died] if answer.died else []
                for mutant, fate in zip(batch, fates, strict=False):
                    self._note(mutant, Answer(name=mutant.id, value=fate, died=None))
                    done += 1
                    self._tell(done, wanted)
                left.extend(batch[len(fates) :])

    def _measure(self, collected: Warm) -> Baseline:
        def work() -> Baseline:
            session.silence()
            session.fresh_folder(collected)
            return collected.measure()

        [answer] = children.run([Job(name="baseline", work=work, limit_s=300.0)], 1)
        if answer.died:
            raise RuntimeError(f"the tests of the unchanged core did not end well: {answer.died}")
        baseline = msgspec.convert(answer.value, Baseline, strict=False)
        if baseline.failed:
            raise RuntimeError(f"red without any mutant: {', '.join(baseline.failed)}")
        return baseline

    def _jobs(
        self, collected: Warm, batches: Iterator[list[Mutant]], running: dict[str, tuple[list[Mutant], Path]]
    ) -> Iterator[Job]:
        for number, batch in enumerate(batches):
            handle, name = tempfile.mkstemp(prefix="mutants-")
            os.close(handle)
            running[str(number)] = (batch, Path(name))
            yield Job(name=str(number), work=partial(self._batch, collected, batch, Path(name)), limit_s=60.0)

    def _batch(self, collected: Warm, batch: list[Mutant], file: Path) -> None:
        """One mutant after the other in one child; each fate is a line of `file` as soon as it is known."""
        session.silence()
        session.fresh_folder(collected)
        with file.open("ab", buffering=0) as told:
            for mutant in batch:
                children.limit(60.0)
                undo = session.swap(mutant)
                if undo is None:
                    raise RuntimeError(f"cannot be swapped in: {mutant.path} {mutant.where}")
                fate = collected.first_failure(self._order(mutant), self._limit)
                undo()
                self._note(mutant, Answer(name=mutant.id, value=fate, died=None))
                told.write(msgspec.json.encode(fate) + b"\n")

    def _limit(self, test: str) -> None:
        children.limit(3.0 + 20.0 * self.baseline.seconds[test])

    def _order(self, mutant: Mutant) -> list[str]:
        """The killer of last time, killers of neighbours, tests of the line, tests of the function."""
        lines = self.baseline.reach[mutant.path]
        near = {t for line in range(mutant.line, mutant.last_line + 1) for t in lines.get(line, ())}
        wide = {t for line in range(mutant.first_of, mutant.last_of + 1) for t in lines.get(line, ())}
        seconds = self.baseline.seconds

        def rank(test: str) -> tuple[bool, float]:
            return not _is_near(mutant.path, test), seconds[test]

        hint = self.hints.get(mutant.id)
        first = [hint] if hint else []
        recent = self._recent.get((mutant.path, mutant.function), [])
        order = [*first, *recent, *sorted(near, key=rank)]
        order += sorted(wide, key=rank)
        return [test for test in dict.fromkeys(order) if test in wide]

    # ------------------------------------------------------------ bookkeeping

    def _work(self, jobs: Iterator[Job], wanted: list[Mutant]) -> None:
        by_id = {mutant.id: mutant for mutant in wanted}
        for count, answer in enumerate(children.run(jobs, self.workers), start=1):
            self._note(by_id[answer.name], answer)
            self._tell(count, wanted)

    def _tell(self, count: int, wanted: list[Mutant]) -> None:
        if count % 100 == 0 or count == len(wanted):
            self.save()
            alive = sum(self.fates.get(mutant.id, "") is None for mutant in wanted)
            took_s = time.monotonic() - self._started
            print(f"{took_s:6.0f} s  {count} of {len(wanted)}, {alive} alive", flush=True)

    def _note(self, mutant: Mutant, answer: Answer) -> None:
        fate = answer.died or answer.value
        assert fate is None or isinstance(fate, str)
        self.fates[mutant.id] = fate
        if isinstance(fate, str) and "::" in fate:
            recent = self._recent.setdefault((mutant.path, mutant.function), [])
            recent[:] = [fate, *(test for test in recent if test != fate)][:12]


def _is_near(path: str, test: str) -> bool:
    """Whether a test's file is named after this source file or its folder: it is likely to notice."""
    source = Path(path)
    name = Path(test.split("::", 1)[0]).stem
    return name == f"test_{source.stem}" or name.startswith(f"test_{source.parent.name}")


def _tool() -> tuple[str, ...]:
    folder = Path(__file__).parent
    return tuple(str(path.relative_to(core.ROOT)) for path in folder.glob("*.py"))


def _known() -> Known:
    try:
        return msgspec.json.decode(_CACHE.read_bytes(), type=Known)
    except (OSError, msgspec.DecodeError):
        return Known()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a path: run and list these, write no report")
    parser.add_argument("--kind", choices=("cold", "warm"), help="run and list only these, write no report")
    parser.add_argument("--known", action="store_true", help="run nothing, report what earlier runs found")
    parser.add_argument("--fresh", action="store_true", help="believe nothing that earlier runs found")
    wanted = parser.parse_args()
    every = [
        mutant
        for path in core.sources()
        if wanted.only in path
        for mutant in mutants.of(path, (core.ROOT / path).read_text())
        if wanted.kind in (None, "warm" if mutant.function else "cold")
    ]
    run = Run(wanted.workers, Known() if wanted.fresh else _known())
    if not wanted.known:
        run.go(every)
        run.save()
    made = report.make(every, run.fates, run.tests)
    return _tell(made, write=not wanted.only and not wanted.kind)


def _tell(made: report.Report, *, write: bool) -> int:
    for entry in made.survivors:
        if entry.why == report.NO_REASON:
            print(f"SURVIVED {entry.path} {entry.where}\n    - {entry.was}\n    + {entry.now}")
    unexplained = sum(entry.why == report.NO_REASON for entry in made.survivors)
    print(
        f"{made.killed} of {made.run} killed, {made.percent} %; not run: {made.mutants - made.run}; "
        f"survivors without a reason: {unexplained}"
    )
    if not write:
        return 0
    for reason in report.unused_reasons(made):
        print(f"reasons.toml excuses what does not survive: {reason}")
    report.write(made)
    whole = made.run == made.mutants
    return 0 if whole and made.percent >= GOAL_PERCENT and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
