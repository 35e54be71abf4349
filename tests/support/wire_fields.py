"""`docs/wire-fields.md`: every field of every message, read off the structs themselves.

`PYTHONPATH=.:tests python -m support.wire_fields` writes it; `tests/unit/docs/test_protocol.py` fails while
it says something else than the code.
"""

import inspect
import runpy
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as shapes

from edge_agent import ipc
from shared import commands
from shared.alarms import Event
from shared.artifacts.keyring_update import KeyringUpdate
from shared.artifacts.manifest import Assignment, Manifest, SelfTest, TensorSpec
from shared.artifacts.signing import PublicKeyEntry, Signature, Signed
from shared.frames import Frame
from shared.inventory import DeviceEntry
from shared.telemetry import ROLLUP_COLUMNS, HistoryRow, Quality, RollupRow, ScoreRow
from shared.wire import envelope

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "wire-fields.md"
GOLDEN = ROOT / "tests" / "contract" / "wire" / "test_golden.py"
COMMAND = "PYTHONPATH=.:tests python -m support.wire_fields"
Struct = type[msgspec.Struct]

ENVELOPE: tuple[Struct, ...] = (
    envelope.Batch,
    envelope.Tombstone,
    envelope.Ack,
    envelope.Birth,
    envelope.SiteState,
    envelope.ChunkRequest,
    envelope.Chunk,
    envelope.RawWanted,
    envelope.CertificateRequest,
    envelope.Certificate,
)
ROWS: tuple[Struct, ...] = (RollupRow, ScoreRow, Event, HistoryRow, Frame, DeviceEntry)
SIGNED: tuple[Struct, ...] = (
    Signed,
    Signature,
    commands.CommandBody,
    commands.CommandStatus,
    commands.SignedBy,
    commands.WriteRecord,
    commands.OrderPreview,
    commands.PreviewStep,
    Assignment,
    Manifest,
    TensorSpec,
    SelfTest,
    KeyringUpdate,
    PublicKeyEntry,
)
UNITS = {
    "ths": "TH/s",
    "w": "W",
    "c": "°C",
    "rpm": "rpm",
    "pct": "%",
    "s": "s",
    "kwh": "kWh",
    "v": "V",
    "a": "A",
}
"""By the last word of a metric's name; other metrics are counts, or 1 and 0 for yes and no."""
HEAD = f"""# Fields on the wire

Made from the structs by `{COMMAND}`. What they mean
together, and what each side may count on, is in [protocol.md](protocol.md). A struct travels as a msgpack
map, fields by name; the heading says the tag that tells it from others. *Optional*: may be left out. Integers
have 64 bits and a sign, times in `_ms` are milliseconds since 1970, UTC, and null is unknown. Unknown fields
are ignored, but not in `DeviceEntry`.
"""


def page() -> str:
    """The whole document."""
    orders = commands.AnyOrder.__args__
    actions = commands.AnyAction.__args__
    parts = [
        HEAD,
        "## Envelope\n",
        *map(_section, ENVELOPE),
        "## Rows, by stream\n",
        "`Batch.rows` is an array of these: `rollup` `RollupRow`, `score` `ScoreRow`, `ev` `Event`, `hist` "
        "`HistoryRow`,\n`raw` `Frame`. `Birth.inventory` is an array of `DeviceEntry`.\n",
        *map(_section, ROWS),
        _columns(),
        _quality(),
        "## Commands, assignments, keys\n",
        *map(_section, SIGNED),
        "## Orders\n",
        *map(_section, orders),
        "## Actions\n",
        *map(_section, actions),
        "## Sockets\n",
        "Between agent and guardian, and on `operator.sock`; `is` tells them apart. What they carry beside "
        "the\nstructs above follows them.\n",
        *map(_section, sockets()),
        "## Golden files\n",
        _golden(),
    ]
    return "\n".join(parts)


def described() -> Iterator[Struct]:
    """Every struct on the page."""
    yield from _of_mqtt()
    yield from sockets()


def _of_mqtt() -> tuple[Struct, ...]:
    return (*ENVELOPE, *ROWS, *SIGNED, *commands.AnyOrder.__args__, *commands.AnyAction.__args__)


def sockets() -> list[Struct]:
    """Every message of the sockets, then what they are made of, each once."""
    unions = (ipc.FromGuardian, ipc.FromAgent, ipc.FromOperator, ipc.ToOperator)
    found = list(dict.fromkeys(kind for union in unions for kind in union.__args__))
    for kind in found:  # grows while it is walked
        for field in msgspec.structs.fields(kind):
            found += [one for one in _structs_in(shapes.type_info(field.type)) if one not in found]
    return [kind for kind in found if kind not in _of_mqtt()]


def _structs_in(shape: shapes.Type) -> Iterator[Struct]:
    match shape:
        case shapes.StructType(cls=cls):
            yield cls
        case shapes.UnionType(types=types) | shapes.TupleType(item_types=types):
            for one in types:
                yield from _structs_in(one)
        case shapes.VarTupleType(item_type=item) | shapes.ListType(item_type=item):
            yield from _structs_in(item)
        case shapes.DictType(value_type=value):
            yield from _structs_in(value)


def _golden() -> str:
    messages: dict[str, object] = runpy.run_path(str(GOLDEN))["MESSAGES"]
    rows = "".join(
        f"| `{name}.msgpack` | `{type(one).__name__}` |\n" for name, one in sorted(messages.items())
    )
    return (
        "In `tests/contract/wire/golden/`: the msgpack alone, without format byte or frame length.\n"
        "`on_the_wire_plain.bin` and `on_the_wire_deflated.bin` are the `Ack` of `ack.msgpack` as MQTT "
        f"carries it.\n\n| file | struct |\n|---|---|\n{rows}"
    )


def _section(kind: Struct) -> str:
    config = kind.__struct_config__
    tag = f" (`{config.tag_field}` = `{config.tag}`)" if config.tag is not None else ""
    words = " ".join((inspect.getdoc(kind) or "").split())
    # What is unset by default stays where it was set: it is never on this wire.
    sent = [field for field in msgspec.structs.fields(kind) if field.default is not msgspec.UNSET]
    rows = "".join(map(_row, sent))
    table = f"| field | type | |\n|---|---|---|\n{rows}" if rows else "No fields of its own.\n"
    return f"### {kind.__name__}{tag}\n\n{words.replace('|', '/')}\n\n{table}"


def _row(field: msgspec.structs.FieldInfo) -> str:
    return f"| `{field.encode_name}` | {_words(shapes.type_info(field.type))} | {_default(field)} |\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    value: Any = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory() if callable(field.default_factory) else None
    if isinstance(value, tuple) and value and set(value) <= {column.name for column in ROLLUP_COLUMNS}:
        return "optional: the columns below"
    shown = value.value if isinstance(value, Enum) else value
    return f"optional: `{msgspec.json.encode(shown).decode()}`"


def _words(shape: shapes.Type) -> str:
    """A type as somebody says it who has msgpack and no Python."""
    match shape:
        case shapes.EnumType(cls=cls):
            return " / ".join(f"`{member.value}`" for member in cls)
        case shapes.StructType(cls=cls):
            return f"`{cls.__name__}`"
        case shapes.UnionType(types=types):
            return " or ".join(_unlike(_words(one) for one in types))
        case shapes.VarTupleType(item_type=item) | shapes.ListType(item_type=item):
            return f"array of {_words(item)}"
        case shapes.TupleType(item_types=items):
            return f"array of {len(items)}: {', '.join(map(_words, items))}"
        case shapes.DictType(value_type=value):
            return f"map of text to {_words(value)}"
        case shapes.NoneType():
            return "null"
        case shapes.RawType() | shapes.AnyType():
            return "msgpack"
        case shapes.LiteralType(values=values):
            return " / ".join(f"`{value}`" for value in values)
        case shapes.CustomType(cls=cls):
            return f"`{cls.__name__}`"
    return {
        shapes.IntType: "integer",
        shapes.FloatType: "number",
        shapes.StrType: "text",
        shapes.BoolType: "yes or no",
        shapes.BytesType: "bytes",
    }[type(shape)]


def _unlike(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _columns() -> str:
    rows = "".join(
        f"| {place} | `{column.name}` | {_unit(column.metric)} | {column.how} |\n"
        for place, column in enumerate(ROLLUP_COLUMNS)
    )
    return (
        "### Columns of a roll-up row\n\n`values` has a number or null for each, in the order that `columns` "
        "of the batch names;\nthis is the order of this version. A *delta* is how far a counter rose within "
        f"the step.\n\n| | column | unit | over the step |\n|---:|---|---|---|\n{rows}"
    )


def _unit(metric: str) -> str:
    return UNITS.get(metric.rpartition("_")[2], "")


def _quality() -> str:
    rows = "".join(f"| {member.value} | {member.name.lower().replace('_', ' ')} |\n" for member in Quality)
    return (
        "### Quality\n\nOf a reading, and the worst of a step; only 0 and 1 carry a usable value.\n\n"
        f"| | |\n|---:|---|\n{rows}"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
