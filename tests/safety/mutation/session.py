"""Two ways to run the core's tests against a mutant, both in a forked child that is thrown away.

*Warm*: pytest has collected everything once; the child swaps the `__code__` of the mutated function, which
every `from x import y` sees, runs the tests that reach it, and swaps it back for the next mutant. The core is
pure and keeps nothing between calls, so nothing of a mutant stays. Milliseconds per mutant.
*Cold*: code that runs at import cannot be swapped afterwards; the child imports the mutated text through a
finder of its own and collects anew. About a second per mutant.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import coverage
import hypothesis
import msgspec
import pytest
from _pytest.runner import runtestprotocol

from safety.mutation import core
from safety.mutation.mutants import Mutant

_OF_THE_CORE = ("edge_agent.guardian", "support")
"""Packages that hold the core or import it; nothing else of ours may (the import rules)."""
_LOADED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
_OPTIONS = (
    *("-q", "--tb=native", "-W", _LOADED, "-p", "no:cacheprovider", "-p", "no:xdist"),
    "--hypothesis-profile=mutants",
)

hypothesis.settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # the smallest example is not asked for
)


class Baseline(msgspec.Struct):
    """What the unchanged core does: the tests that fail, how long each takes (s), and what they reach."""

    seconds: dict[str, float] = {}
    failed: list[str] = []
    reach: dict[str, dict[int, list[str]]] = {}
    """Source path → line → tests."""


# ---------------------------------------------------------------- warm


class Warm:
    """A pytest plugin whose test loop is ours: `work` is called once, with everything collected."""

    def __init__(self, work: Callable[["Warm"], None]) -> None:
        self._work = work
        self.items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        self._work(self)
        return True

    def first_failure(self, tests: Iterable[str], begin: Callable[[str], None]) -> str | None:
        """The first of these tests that fails now, or None; `begin` is told of each before it runs."""
        for test in tests:
            begin(test)
            if not _passes(self.items[test]):
                return test
        return None

    def measure(self) -> Baseline:
        """Run everything once with coverage; for a child process, the tracer stays."""
        found = Baseline()
        files = [str(core.ROOT / path) for path in core.sources()]
        tracer = coverage.Coverage(data_file=None, config_file=False, include=files)
        tracer.start()
        for name, item in self.items.items():
            tracer.switch_context(name)
            started = time.perf_counter()
            if not _passes(item):
                found.failed.append(name)
            found.seconds[name] = time.perf_counter() - started
        tracer.stop()
        data = tracer.get_data()
        for path, file in zip(core.sources(), files, strict=True):
            lines = data.contexts_by_lineno(file)
            found.reach[path] = {line: [t for t in tests if t] for line, tests in lines.items()}
        return found


def warm(work: Callable[[Warm], None]) -> None:
    """Collect the core's tests and hand them to `work`. Raises RuntimeError where collection fails."""
    code = pytest.main([*_OPTIONS, *core.tests()], plugins=[Warm(work)])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"the core's tests cannot be collected ({code!r})")


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def fresh_folder(warm_session: Warm) -> None:
    """Give a child its own temporary folder: children that share one wait for each other's names."""
    item = next(iter(warm_session.items.values()))
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    item.config._tmp_path_factory._basetemp = folder


def swap(mutant: Mutant) -> Callable[[], None] | None:
    """Put the mutated code into the running function, and return what undoes it; None where it is not exactly
    one plain function."""
    module = sys.modules[core.module_of(mutant.path)]
    found = [function for function in _functions(module) if function.__qualname__ == mutant.function]
    whole = compile(mutant.source, str(core.ROOT / mutant.path), "exec")
    codes = [code for code in _codes(whole) if code.co_qualname == mutant.function]
    if len(found) != 1 or len(codes) != 1 or codes[0].co_freevars != found[0].__code__.co_freevars:
        return None
    function, sound = found[0], found[0].__code__

    def undo() -> None:
        function.__code__ = sound

    function.__code__ = codes[0]
    return undo


def _codes(code: CodeType) -> Iterable[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(module: ModuleType) -> list[FunctionType]:
    found: dict[int, FunctionType] = {}

    def look(space: dict[str, object]) -> None:
        for value in space.values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                look(dict(value.__dict__))
            for part in (value, *(getattr(value, name, None) for name in ("fget", "fset", "__func__"))):
                if isinstance(part, FunctionType) and part.__module__ == module.__name__:
                    found[id(part)] = part

    look(dict(vars(module)))
    return list(found.values())


# ---------------------------------------------------------------- cold


def preload() -> None:
    """Import what the tests import, and forget the core and who imports it; what stays holds no mutant."""
    for path in core.tests():
        spec = importlib.util.spec_from_file_location("preloaded", core.ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for name in list(sys.modules):
        if name.startswith(_OF_THE_CORE):
            del sys.modules[name]
    del sys.modules["edge_agent"].guardian


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds one module, with the mutated text."""

    def __init__(self, mutant: Mutant) -> None:
        self._path = core.ROOT / mutant.path
        self._name = core.module_of(mutant.path)
        self._text = mutant.source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self._path,
            loader=self,
            submodule_search_locations=[str(self._path.parent)] if self.is_package(fullname) else None,
        )

    def get_source(self, fullname: str) -> str:
        return self._text

    def is_package(self, fullname: str) -> bool:
        return self._path.name == "__init__.py"

    def get_filename(self, fullname: str) -> str:
        return str(self._path)


class _FirstFailure:
    name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.name is None:
            self.name = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.name is None:
            self.name = f"import of {report.nodeid}"


def cold(mutant: Mutant, stages: Iterable[Sequence[str]]) -> str | None:
    """The first failure with the mutated module imported anew; a stage is some files, or single tests that
    may be gone by now."""
    sys.meta_path.insert(0, _Mutated(mutant))
    failure = _FirstFailure()
    folder = tempfile.mkdtemp(prefix="mutant-")
    for tests in stages:
        code = pytest.main([*_OPTIONS, "-x", f"--basetemp={folder}", *tests], plugins=[failure])
        gone = code == pytest.ExitCode.USAGE_ERROR and any("::" in test for test in tests)
        if code != pytest.ExitCode.OK and not gone:
            return failure.name or f"pytest: {code!r}"
    return None


def silence() -> None:
    """A child's words are nobody's business."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
