"""The committed report: counts per file, and every survivor with the reason why nobody minds."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import msgspec

from safety.mutation import core
from safety.mutation.mutants import Mutant

JSON = core.ROOT / "docs/mutants.json"
MARKDOWN = core.ROOT / "docs/mutants.md"
REASONS = Path(__file__).with_name("reasons.toml")
NO_REASON = "no reason given"
UNDECIDED = "undecided"
"""The fate of a mutant that only the tests named after its file were tried against; counts as survived."""
_UNDECIDED_WHY = "undecided: only the tests that are named after its file ran against it, and none failed"


class PerFile(msgspec.Struct, kw_only=True):
    """How many mutants one file has, and what became of them; a time-out counts as killed."""

    mutants: int = 0
    killed: int = 0
    timeouts: int = 0
    survived: int = 0
    not_run: int = 0
    """Where the run was cut short; they count neither as killed nor as survived."""


class Survivor(msgspec.Struct, kw_only=True, frozen=True):
    """A mutant that no test notices."""

    path: str
    where: str
    was: str
    now: str
    why: str


class Report(msgspec.Struct, kw_only=True):
    """Date-free, so that the same core and tests give the same file."""

    tool: str
    core_sha256: str
    tests: int
    mutants: int
    run: int
    killed: int
    percent: float
    """Killed of those that ran."""
    files: dict[str, PerFile]
    survivors: list[Survivor]


class _Reason(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    was: str
    why: str
    where: str = ""
    now: str = ""
    """Empty: every change of this line."""


class _Reasons(msgspec.Struct, forbid_unknown_fields=True):
    survivor: list[_Reason] = []


def make(mutants: list[Mutant], fates: dict[str, str | None], tests: int) -> Report:
    """`fates` is mutant → the test that killed it (or "timeout"), or None where it survived; one that is not
    in there was not run."""
    reasons = _reasons()
    files: dict[str, PerFile] = {path: PerFile() for path in core.sources()}
    survivors = []
    for mutant in mutants:
        entry = files[mutant.path]
        entry.mutants += 1
        if mutant.id not in fates:
            entry.not_run += 1
            continue
        fate = fates[mutant.id]
        entry.timeouts += fate == "timeout"
        if fate is None or fate == UNDECIDED:
            entry.survived += 1
            survivors.append(_survivor(mutant, reasons, NO_REASON if fate is None else _UNDECIDED_WHY))
        else:
            entry.killed += 1
    killed = sum(entry.killed for entry in files.values())
    run = len(mutants) - sum(entry.not_run for entry in files.values())
    return Report(
        tool=f"mutmut {version('mutmut')}",
        core_sha256=core.digest(core.sources()),
        tests=tests,
        mutants=len(mutants),
        run=run,
        killed=killed,
        percent=round(100.0 * killed / run, 2) if run else 0.0,
        files={path: entry for path, entry in files.items() if entry.mutants},
        survivors=survivors,
    )


def _survivor(mutant: Mutant, reasons: list[_Reason], default: str) -> Survivor:
    why = next((reason.why for reason in reasons if _fits(reason, mutant)), default)
    return Survivor(path=mutant.path, where=mutant.where, was=mutant.was, now=mutant.now, why=why)


def _fits(reason: _Reason, mutant: Mutant) -> bool:
    return (
        reason.path == mutant.path
        and reason.was == mutant.was
        and reason.where in ("", mutant.where)
        and reason.now in ("", mutant.now)
    )


def _reasons() -> list[_Reason]:
    return msgspec.convert(tomllib.loads(REASONS.read_text()), _Reasons).survivor


def excused(mutants: list[Mutant]) -> list[Mutant]:
    """Those with a reason to survive. They need not run: whether killed or not, they count as survived."""
    reasons = _reasons()
    return [mutant for mutant in mutants if any(_fits(reason, mutant) for reason in reasons)]


def unused_reasons(report: Report) -> list[str]:
    """Reasons that excuse nothing any more."""
    lines = {(entry.path, entry.was) for entry in report.survivors}
    return [f"{reason.path}: {reason.was}" for reason in _reasons() if (reason.path, reason.was) not in lines]


def write(report: Report) -> None:
    """Both files; the second is made from the first."""
    JSON.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    MARKDOWN.write_text(as_markdown(report))


def read() -> Report:
    """The committed report. Raises OSError or `msgspec.ValidationError`."""
    return msgspec.json.decode(JSON.read_bytes(), type=Report)


def as_markdown(report: Report) -> str:
    """For people."""
    lines = [
        "# Mutants of the guardian's core",
        "",
        "Made from `mutants.json` (`make mutants`); not edited by hand. Each mutant is the core with one",
        "small change; it is *killed* where a test of the core fails. How and why:",
        "[decision 11](decisions/0011-mutation-testing.md).",
        "",
        f"**{report.killed} of {report.run} killed ({report.percent:g} %)** by {report.tests} tests; "
        f"operators of {report.tool}.",
        "",
    ]
    if report.run < report.mutants:
        lines += [
            f"**Not complete:** of {report.mutants} mutants {report.mutants - report.run} did not run. They",
            "count neither as killed nor as survived; the last column says where they are. This run was cut",
            "short: part of it met only the tests named after a file (end of decision 11); what those left",
            "alive is *undecided* and counts as survived. A whole run of `make mutants` replaces it.",
            "",
        ]
    lines += [
        "| file | mutants | killed | of these by time-out | survived | not run |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{path}` | {entry.mutants} | {entry.killed} | {entry.timeouts} | {entry.survived} "
        f"| {entry.not_run} |"
        for path, entry in report.files.items()
    ]
    lines += ["", "## Survivors, and why nobody minds", ""]
    before = None
    for entry in report.survivors:
        if (entry.path, entry.why) != before:
            lines += ["", f"**`{entry.path}`**: {entry.why}", ""]
            before = (entry.path, entry.why)
        lines.append(f"* `{entry.where}`: {_code(entry.was)} → {_code(entry.now)}")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _code(text: str) -> str:
    short = text if len(text) <= 160 else text[:157] + "..."
    return f"`` {short} ``" if "`" in short else f"`{short}`" if short else "nothing"
