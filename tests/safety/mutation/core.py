"""What is mutated, and which tests have to notice.

The core is everything between a reading and a permit that decides: the interlocks, the arbiter and the
values they share. Its tests are the fast ones that run without a socket, a thread or a wait. The random
histories of `test_core_machine` and the whole guardians of `test_behaviours` are left out on purpose: a
mutant that only chance or a whole process notices has no test that says what was wrong.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

_SOURCES = (
    "edge_agent/guardian/interlocks/**/*.py",
    "edge_agent/guardian/arbiter*.py",
    "edge_agent/guardian/arbiter/**/*.py",
    "edge_agent/guardian/requests.py",
    "edge_agent/guardian/ladder.py",
    "edge_agent/guardian/readback.py",
)
_TESTS = (
    "tests/unit/edge_agent/guardian/interlocks/**/test_*.py",
    "tests/unit/edge_agent/guardian/test_arbiter*.py",
    "tests/unit/edge_agent/guardian/test_ladder*.py",
    "tests/unit/edge_agent/guardian/test_readback*.py",
    "tests/unit/edge_agent/guardian/test_requests*.py",
    "tests/safety/test_core_face.py",
)
WORDS = ("tests/safety/test_core_face.py",)
"""The one that notices most of what runs at import."""


def sources() -> tuple[str, ...]:
    """Paths of the core's files below the repository's root, sorted."""
    return _found(_SOURCES)


def tests() -> tuple[str, ...]:
    """Paths of the tests that have to kill, sorted."""
    return _found(_TESTS)


def module_of(path: str) -> str:
    """The import name of a source file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def digest(paths: Iterable[str]) -> str:
    """SHA-256 over names and contents, so that a moved or a changed file shows."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        content = (ROOT / path).read_bytes()
        whole.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


def _found(patterns: tuple[str, ...]) -> tuple[str, ...]:
    paths = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return tuple(sorted(str(path.relative_to(ROOT)) for path in paths))
