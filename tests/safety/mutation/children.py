"""Forked children, a few at a time, each with one answer and a time limit."""

import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

TIMEOUT = "timeout"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a child works out, and how long it may take in s of wall time."""

    name: str
    work: Callable[[], object]
    limit_s: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`value` is what the work returned (JSON), or None where the child died: `died` says how."""

    name: str
    value: object
    died: str | None


def limit(seconds: float) -> None:
    """For the work of a job: from now on it has so long, in s of wall time."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def run(jobs: Iterable[Job], workers: int) -> Iterator[Answer]:
    """Answers in the order in which they come; `jobs` is asked for the next one as late as possible."""
    waiting = iter(jobs)
    running: dict[int, tuple[Job, Path]] = {}
    while True:
        while len(running) < workers and (job := next(waiting, None)) is not None:
            folder = Path(tempfile.mkdtemp(prefix="mutants-"))
            running[_start(job, folder)] = (job, folder)
        if not running:
            return
        pid, status = os.wait()
        if pid in running:
            job, folder = running.pop(pid)
            answer = _answer(job, folder, status)
            shutil.rmtree(folder, ignore_errors=True)
            yield answer


def _start(job: Job, folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        tempfile.tempdir = str(folder)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills, whatever the mutant catches
        limit(job.limit_s)
        answer = msgspec.json.encode(job.work())
        limit(0)
        (folder / "answer").write_bytes(answer)
        code = 0
    except Exception:  # noqa: BLE001 # a supervisor: the parent raises it again, with this text
        (folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _answer(job: Job, folder: Path, status: int) -> Answer:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        died = TIMEOUT if number == signal.SIGALRM else f"signal {number}"
        return Answer(name=job.name, value=None, died=died)
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"{job.name}: {_text(folder / 'error')}")
    return Answer(name=job.name, value=msgspec.json.decode((folder / "answer").read_bytes()), died=None)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else "the child left no word"
