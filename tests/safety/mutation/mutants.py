"""Every mutant of a source file: mutmut's operators, applied to all code that runs.

mutmut itself mutates undecorated functions only. Half of what this core decides stands in tables, constants
and defaults at module and class level, so its operators are applied there too; annotations, decorators,
imports and documentation are left alone.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal

_NEVER_WITHOUT_ARGUMENTS = ("len", "isinstance")
"""Fewer arguments are a TypeError in every run; mutmut leaves them alone too."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One changed place.

    `function` is the qualified name of the outermost function whose body holds it, and empty where the code
    runs at import: module and class level, defaults of parameters, functions that such code calls.
    `id` holds no line numbers: it stays the same while the line itself and its function's name do.
    """

    id: str
    path: str
    function: str
    where: str
    line: int
    last_line: int
    first_of: int
    """First line of the function, and in `last_of` its last one."""
    last_of: int
    was: str
    now: str
    source: str


def of(path: str, code: str) -> Iterator[Mutant]:
    """The mutants of one file, in the order of the text."""
    wrapper = MetadataWrapper(cst.parse_module(code))
    finder = _Finder()
    wrapper.visit(finder)
    module = wrapper.module
    pieces = [module.code_for_node(statement) for statement in module.body]
    head = code[: code.index("".join(pieces))] if pieces else ""
    seen: dict[str, int] = {}
    old = code.splitlines()
    for place in finder.places:
        changed = module.body[place.statement].deep_replace(place.node, place.mutated)
        assert isinstance(changed, cst.CSTNode)
        text = module.code_for_node(changed)
        source = head + "".join((*pieces[: place.statement], text, *pieces[place.statement + 1 :]))
        was, now = _changed(old, source.splitlines())
        name = f"{path}\0{place.where}\0{was}\0{now}"
        count = seen[name] = seen.get(name, -1) + 1
        yield Mutant(
            id=hashlib.sha256(f"{name}\0{count}".encode()).hexdigest()[:12],
            path=path,
            function="" if place.function in finder.called_at_import else place.function,
            where=place.where,
            line=place.line,
            last_line=place.last_line,
            first_of=place.first_of,
            last_of=place.last_of,
            was=was,
            now=now,
            source=source,
        )


def _changed(old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
    """The lines that differ, stripped and joined: enough to recognise a mutant by eye."""
    first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    tail = 0
    while tail < min(len(old), len(new)) - first and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return (
        " ".join(line.strip() for line in old[first : len(old) - tail]),
        " ".join(line.strip() for line in new[first : len(new) - tail]),
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    statement: int
    function: str
    where: str
    line: int
    last_line: int
    first_of: int
    last_of: int
    node: cst.CSTNode
    mutated: cst.CSTNode


class _Finder(cst.CSTVisitor):
    """Walks a module and asks every operator about every node."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.places: list[_Place] = []
        self.called_at_import: set[str] = set()
        self._statement = -1
        self._names: list[str] = []
        self._functions = 0
        self._outer = ""
        self._span = (0, 0)
        self._parameters = 0

    def visit_Module(self, node: cst.Module) -> bool:  # noqa: N802 # libcst's name
        for index, statement in enumerate(node.body):
            self._statement = index
            statement.visit(self)
        return False

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Annotation | cst.Decorator | cst.Import | cst.ImportFrom):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        if isinstance(node, cst.FunctionDef):
            self._functions += 1
            if self._functions == 1:
                self._outer = ".".join(self._names)
                span = self.get_metadata(PositionProvider, node)
                self._span = (span.start.line, span.end.line)
        self._parameters += isinstance(node, cst.Parameters)
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and not self._functions:
            self.called_at_import.add(node.func.value)
        if not isinstance(node, cst.Module):
            self._ask(node)
        return super().on_visit(node)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        super().on_leave(original_node)
        self._parameters -= isinstance(original_node, cst.Parameters)
        if isinstance(original_node, cst.FunctionDef):
            self._functions -= 1
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()

    def _ask(self, node: cst.CSTNode) -> None:
        for kind, operator in mutation_operators:
            if not isinstance(node, kind):
                continue
            if operator is operator_arg_removal and _is_fixed(node):
                continue
            for mutated in operator(node):
                span = self.get_metadata(PositionProvider, node, None)
                self.places.append(
                    _Place(
                        statement=self._statement,
                        function=self._outer if self._functions and not self._parameters else "",
                        where=".".join(self._names) or "module",
                        line=span.start.line if span else 0,
                        last_line=span.end.line if span else 0,
                        first_of=self._span[0],
                        last_of=self._span[1],
                        node=node,
                        mutated=mutated,
                    )
                )


def _is_fixed(node: cst.CSTNode) -> bool:
    return (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Name)
        and node.func.value in _NEVER_WITHOUT_ARGUMENTS
    )
