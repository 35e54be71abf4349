"""docs/protocol.md names every topic, every message and every limit as the code has them."""

import inspect
import re
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.agent.uplink import lanes
from shared import commands
from shared.artifacts.manifest import MAX_MODEL_BYTES, Stage
from shared.artifacts.signing import Role
from shared.ids import CommandId, SiteId
from shared.wire import codec, envelope, intervals, topics
from support import wire_fields
from support.protocol_examples import protocol_example

WIRE_FIELDS = wire_fields.PAGE.read_text()
TEXT = (Path(__file__).resolve().parents[3] / "docs" / "protocol.md").read_text()
CODE_WORDS = set(re.findall(r"`([^`]+)`", TEXT))

_SITE = SiteId("s")
BUILT = {
    "birth": topics.birth(_SITE),
    "state": topics.state(_SITE),
    "telemetry": topics.telemetry(_SITE, "<stream>"),
    "events": topics.events(_SITE),
    "result": topics.result(_SITE, CommandId("<command>")),
    "chunk_request": topics.chunk_request(_SITE),
    "certificate_request": topics.certificate_request(_SITE),
    "ack": topics.ack(_SITE),
    "command": topics.command(_SITE),
    "plan": topics.plan(_SITE),
    "model": topics.model(_SITE),
    "raw_wanted": topics.raw_wanted(_SITE),
    "certificate": topics.certificate(_SITE),
    "keyring": topics.keyring(_SITE),
    "chunk": topics.chunk(_SITE, "<sha256>", 0).removesuffix("0") + "<n>",
}
"""Topic function → what it builds."""
TABLE = {
    function: topic
    for topic, function in re.findall(r"^\| `((?:up|dn)/[^`]+)` \| `(\w+)` \|", TEXT, re.MULTILINE)
}


def test_every_field_is_told_as_the_code_has_it() -> None:
    assert wire_fields.page() == WIRE_FIELDS, f"run: {wire_fields.COMMAND}"


@pytest.mark.parametrize("name", sorted(kind.__name__ for kind in {*wire_fields.described()}))
def test_every_struct_of_the_wire_has_its_fields(name: str) -> None:
    assert f"### {name}" in WIRE_FIELDS


@pytest.mark.parametrize("name", ["site.py", "third_party.py"])
def test_the_examples_use_no_code_of_ours(name: str) -> None:
    imported = re.findall(r"^(?:import|from) (\w+)", protocol_example(name), re.MULTILINE)
    assert not {"shared", "edge_agent", "cloud", "firmware_adapters"} & set(imported)
    assert imported


def _structs(module: object) -> set[str]:
    return {
        name
        for name, kind in vars(module).items()
        if inspect.isclass(kind)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == module.__name__  # type: ignore[attr-defined]  # modules have names
        and not name.startswith("_")
    }


def test_every_topic_function_is_known_here() -> None:
    functions = {
        name
        for name, value in inspect.getmembers(topics, inspect.isfunction)
        if value.__module__ == topics.__name__
    }
    assert functions == {*BUILT, "all_down", "parse"}


@pytest.mark.parametrize("function", BUILT)
def test_every_topic_has_its_row(function: str) -> None:
    assert f"mw/1/s/{TABLE[function]}" == BUILT[function]


@pytest.mark.parametrize("word", ["topics.all_down", "topics.ALL_UP", "topics.parse", "mw/1/+/up/#"])
def test_the_other_names_of_the_topics_module_are_explained(word: str) -> None:
    assert word in CODE_WORDS


@pytest.mark.parametrize("name", sorted(_structs(envelope)))
def test_every_message_of_the_envelope_is_named(name: str) -> None:
    assert name in CODE_WORDS


@pytest.mark.parametrize(
    "union", [ipc.FromGuardian, ipc.FromAgent, ipc.FromOperator, ipc.ToOperator], ids=repr
)
def test_every_socket_message_is_named_with_its_tag(union: object) -> None:
    for kind in union.__args__:  # type: ignore[attr-defined]  # unions have arguments
        assert {kind.__name__, kind.__struct_config__.tag} <= CODE_WORDS


@pytest.mark.parametrize("words", [Role, Stage, commands.CommandState, commands.WriteResult], ids=str)
def test_every_word_of_an_enumeration_is_named(words: type[Role]) -> None:
    assert set(words) <= CODE_WORDS


@pytest.mark.parametrize("order", sorted(kind.__name__ for kind in commands.AnyOrder.__args__))
def test_every_order_is_named(order: str) -> None:
    assert order in CODE_WORDS


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (codec.MAX_BODY_BYTES, "decompressed MQTT body | 4 MiB"),
        (envelope.CHUNK_BYTES, "chunk of a blob | 128 KiB"),
        (MAX_MODEL_BYTES, "model file | 32 MiB"),
        (ipc.MAX_FRAME_BYTES, "socket frame | 1 MiB"),
    ],
)
def test_sizes_are_those_of_the_code(limit: int, said: str) -> None:
    assert said in TEXT
    number, unit = said.rsplit("| ", 1)[1].split()
    assert int(number) * {"KiB": 1024, "MiB": 1024 * 1024}[unit] == limit


def test_counts_and_times_are_those_of_the_code() -> None:
    assert f"ranges in one ack | {intervals.MAX_RANGES_PER_ACK} |" in TEXT
    assert f"life of an actuating command | {commands.MAX_COMMAND_LIFE_MS // 1000} s |" in TEXT
    assert f"{lanes.BACKLOG_PER_S:.0f} batches/s" in TEXT
    assert f"pauses while {lanes.MAX_UNACKED} " in TEXT
    assert f"after {lanes.RESEND_S:.0f} s at first" in TEXT
