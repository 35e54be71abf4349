"""The emulated page against the recorded one: keys and kinds of value, and what it refuses."""

import msgspec
import pytest

from firmware_adapters.miners.axeos.adapter import AxeosAdapter
from firmware_adapters.miners.axeos.emulator import NERDQAXE, AxeosEmulator
from firmware_adapters.miners.emulated import PoolView
from shared.clock import ManualClock
from shared.telemetry import MinerState
from support.subjects.axeos import bitaxe
from support.web_memory import in_memory, recorded

UNREAD = {"flipscreen", "invertfanpolarity", "invertscreen"}
"""Settings of screen and fan plug, which nobody here reads."""


def kind(value: object) -> type:
    return float if isinstance(value, int | float) else type(value)


def test_the_page_has_the_recorded_shape() -> None:
    real = recorded("bitaxe/2.0.0")["system_info"]
    machine = bitaxe()
    machine.set(other_pools=(PoolView(url="stratum+tcp://spare.invalid:3333"),))
    said = AxeosEmulator(machine, clock=ManualClock()).answer("GET", "/api/system/info", {}, b"")
    page = msgspec.json.decode(said.body)
    assert set(real) - set(page) == UNREAD
    assert {key: kind(page[key]) for key in set(real) & set(page)} == {
        key: kind(real[key]) for key in set(real) & set(page)
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", b"", 200),
        ("GET", "/api/swarm/info", b"", 404),
        ("POST", "/api/system/stop", b"", 404),
        ("PATCH", "/api/system", b"", 400),
        ("PATCH", "/api/system", b"[]", 400),
        ("PATCH", "/api/system", b'{"frequency":"fast"}', 200),
        ("PATCH", "/api/system", b'{"coreVoltage":1200}', 200),
    ],
)
def test_what_it_does_not_know_changes_no_mining(method: str, path: str, body: bytes, status: int) -> None:
    machine = bitaxe()
    emulator = AxeosEmulator(machine, clock=ManualClock())
    assert emulator.answer(method, path, {}, body).status == status
    assert machine.commands == []


def test_a_core_voltage_is_kept_and_shown() -> None:
    emulator = AxeosEmulator(bitaxe(), clock=ManualClock())
    emulator.answer("PATCH", "/api/system", {}, b'{"coreVoltage":1200}')
    page = msgspec.json.decode(emulator.answer("GET", "/api/system/info", {}, b"").body)
    assert (page["coreVoltage"], page["coreVoltageActual"]) == (1200, 1205)


def test_no_login_is_asked_for() -> None:
    emulator = AxeosEmulator(bitaxe(), clock=ManualClock())
    assert emulator.answer("POST", "/api/system/restart", {}, b"").status == 200


async def test_a_nerdqaxe_tells_what_its_adapter_reads() -> None:
    machine = bitaxe()
    machine.set(shares_accepted=9, other_pools=(PoolView(url="b.invalid:1", shares_accepted=3),), hw_errors=2)
    emulator = AxeosEmulator(machine, clock=ManualClock(), version="v1.0.35", model=NERDQAXE)
    adapter = AxeosAdapter(in_memory(emulator), timeout_s=5)
    seen = await adapter.read()
    board = machine.seen.boards[0]
    assert seen.readings["board_temp_min_c"].value == board.board_temp_min_c
    assert seen.readings["board_temp_max_c"].value == seen.readings["psu_temp_c"].value
    assert seen.readings["hw_errors"].value == 2
    assert [pool.accepted for pool in await adapter.pools()] == [9, 3]
    assert (await adapter.facts()).model == "NerdQAxe++ (601)"
    machine.set(state=MinerState.STOPPED, power_w=0.4)
    assert (await adapter.read()).state is MinerState.STOPPED
