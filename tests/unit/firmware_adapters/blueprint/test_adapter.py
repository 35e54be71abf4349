"""Copy me: what an adapter's test shows beside the contract suite. And that the blueprint stays one."""

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from firmware_adapters.blueprint.adapter import BlueprintAdapter, open_device
from firmware_adapters.blueprint.emulator import BlueprintEmulator
from firmware_adapters.capabilities import Credential
from firmware_adapters.registry import ADAPTERS
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import ManualClock
from shared.errors import AuthFailed, Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.miners import Machine
from support.web_memory import failures, in_memory, spoiled

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "firmware_adapters" / "blueprint"
SECRET = "s3cret"


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, Unsupported),
        (401, AuthFailed),
        (403, AuthFailed),
        (404, Unsupported),
        (409, Busy),
        (429, Busy),
        (302, MalformedReply),
        (500, MalformedReply),
    ],
)
async def test_every_status_is_a_typed_failure(status: int, failure: type[DeviceError]) -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(status, b"")

    with pytest.raises(failure):
        await BlueprintAdapter(MemoryHttp(answer), None, timeout_s=1).read()


async def test_a_secret_never_shows_in_an_error() -> None:
    machine = Machine()
    http = in_memory(BlueprintEmulator(machine, clock=ManualClock(), key="another"))
    adapter = BlueprintAdapter(http, Credential(user=None, secret=SECRET), timeout_s=1)
    with pytest.raises(AuthFailed) as caught:
        await adapter.stop_mining()
    assert SECRET not in repr(caught.value)
    assert machine.commands == []


async def test_a_page_that_hangs_ends_the_read_in_time() -> None:
    http = in_memory(BlueprintEmulator(Machine(), clock=ManualClock()), silent="status")
    with pytest.raises(DeviceTimeout, match="in time"):
        await BlueprintAdapter(http, None, timeout_s=0.05).read()


async def test_it_opens_without_waiting_and_is_in_no_registry() -> None:
    entry = DeviceEntry(
        id="x", kind=DeviceKind.MINER, adapter="blueprint", host="127.0.0.1", port=1, zone="z"
    )
    await open_device(entry, None, timeout_s=1).close()
    assert "blueprint" not in ADAPTERS
    assert not [module for module in ADAPTERS.values() if "blueprint" in module]


def test_it_has_the_files_of_its_siblings_and_the_guide_names_them_all() -> None:
    files = {file.name for file in FOLDER.iterdir() if file.is_file()}
    assert files == {
        "__init__.py",
        "README.md",
        "adapter.py",
        "emulator.py",
        "parse.py",
        "profiles.toml",
        "quality.toml",
    }
    guide = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not [name for name in files if f"`{name}`" not in guide]
    for word in guide.split("`")[1::2]:
        if word.startswith(("tests/", "firmware_adapters/", "shared/")) and "<" not in word:
            assert (ROOT / word).exists(), f"the guide names {word}"


def test_every_registered_firmware_has_the_same_files() -> None:
    files = {file.name for file in FOLDER.iterdir() if file.is_file()}
    folders = [ROOT / Path(*module.split(".")[:-1]) for module in ADAPTERS.values() if ".miners." in module]
    assert folders
    for folder in folders:
        assert not files - {file.name for file in folder.iterdir()}, f"{folder.name} lacks files"


def test_the_adapter_does_not_know_its_emulator() -> None:
    for name in ("adapter.py", "parse.py"):
        tree = ast.parse((FOLDER / name).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {module for module in imported if module and "emulat" in module}


@given(spoil=spoiled())
@settings(max_examples=100, deadline=None)
def test_whatever_bytes_come_every_failure_is_typed(spoil: Callable[[str, bytes], HttpReply | None]) -> None:
    http = in_memory(BlueprintEmulator(Machine(), clock=ManualClock(), key=SECRET), spoil=spoil)
    adapter = BlueprintAdapter(http, Credential(user=None, secret=SECRET), timeout_s=1)
    failed = asyncio.run(failures((adapter.facts, adapter.read, adapter.stop_mining)))
    assert not {error.code for error in failed} & {"error", "device"}
