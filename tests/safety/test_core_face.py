"""Words, numbers and defaults of the core, against a committed text.

Enums end up in sockets, journals and the cloud; constants are limits; defaults are what the core believes
before it saw anything. Each changes on purpose or not at all. Run `python tests/safety/test_core_face.py` to
write the file anew, then read the diff.
"""

import ast
import enum
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, ModuleType

import msgspec

from safety.mutation import core

GOLDEN = Path(__file__).parent / "golden" / "core_face.txt"


def modules() -> Iterator[tuple[str, ModuleType]]:
    for path in core.sources():
        yield path, importlib.import_module(core.module_of(path))


def assigned(path: str) -> list[str]:
    """Names that the module itself gives a value to, in the order of the text."""
    names = []
    for statement in ast.parse((core.ROOT / path).read_text()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets += [statement.target] if isinstance(statement, ast.AnnAssign) else []
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def face(path: str, module: ModuleType) -> list[str]:
    lines = []
    for name in assigned(path):
        value = getattr(module, name)
        if not callable(value) and not hasattr(value, "__origin__") and not hasattr(value, "__args__"):
            lines.append(f"{name} = {shown(value)}")
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, type) and issubclass(value, enum.Enum):
            lines.append(f"{name}: " + ", ".join(f"{member.name} = {member.value!r}" for member in value))
        elif isinstance(value, type) and issubclass(value, msgspec.Struct):
            lines += struct(name, value)
        elif inspect.isfunction(value):
            lines += defaults(name, value)
    return lines


def struct(name: str, kind: type[msgspec.Struct]) -> list[str]:
    assert kind.__struct_config__.frozen, f"{name} can be changed after the decision was made"
    kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}
    word = "by position" if inspect.Parameter.POSITIONAL_OR_KEYWORD in kinds else "by keyword"
    lines = [f"{name} ({word})"]
    for field in msgspec.structs.fields(kind):
        if field.default is not msgspec.NODEFAULT:
            lines.append(f"    {field.name} = {shown(field.default)}")
        elif field.default_factory is not msgspec.NODEFAULT:
            lines.append(f"    {field.name} = {shown(field.default_factory())}")
        else:
            lines.append(f"    {field.name}")
    return lines


def defaults(name: str, function: object) -> list[str]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type] # isfunction
    told = [f"{p.name} = {shown(p.default)}" for p in parameters if p.default is not p.empty]
    return [f"{name}(…, {', '.join(told)})"] if told else []


def shown(value: object) -> str:
    if isinstance(value, MappingProxyType | dict):
        return "{" + ", ".join(f"{shown(k)}: {shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if type(value) is object:
        return "a seal"
    if isinstance(value, type):
        return value.__name__
    return repr(value)


def everything() -> str:
    parts = [(path, face(path, module)) for path, module in modules()]
    return "\n".join(
        f"# {path}\n\n" + "".join(f"{line}\n" for line in lines) for path, lines in parts if lines
    )


def test_words_numbers_and_defaults_are_the_committed_ones() -> None:
    assert everything() == GOLDEN.read_text()


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(everything())
