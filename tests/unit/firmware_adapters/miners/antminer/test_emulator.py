"""The emulator speaks what the recorded machine and a foreign digest client speak."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from firmware_adapters.miners.antminer import emulator_pages as pages
from firmware_adapters.miners.antminer import emulator_socket
from firmware_adapters.miners.antminer.emulator import AntminerEmulator
from firmware_adapters.miners.antminer.emulator_traps import Traps
from firmware_adapters.miners.emulator_wire import Stop
from firmware_adapters.transport.line_json import decode
from shared.telemetry import MinerState
from support.antminer import emulator_of
from support.miners import Machine, on_loopback, s21_pro
from support.web_memory import recorded


@asynccontextmanager
async def foreign_client(
    emulator: AntminerEmulator, password: str
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Another implementation of the digest login in front of the emulator."""
    async with on_loopback({"127.9.1.9": emulator}) as (port, _):
        login = aiohttp.DigestAuthMiddleware("root", password)
        async with aiohttp.ClientSession(middlewares=[login]) as session:
            yield session, f"http://127.9.1.9:{port}/cgi-bin/"


async def test_a_foreign_digest_client_gets_in_and_keeps_its_nonce() -> None:
    emulator = emulator_of(Machine(), traps=Traps(forget_nonce_every=3))
    async with foreign_client(emulator, "root") as (session, base):
        for _ in range(5):
            async with session.get(base + "get_system_info.cgi") as reply:
                assert (await reply.json())["minertype"] == "Antminer S21 Pro"


async def test_a_wrong_password_and_an_unknown_page_are_refused() -> None:
    async with (
        foreign_client(emulator_of(Machine()), "wrong") as (session, base),
        session.get(base + "stats.cgi") as reply,
    ):
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].startswith('Digest realm="antMiner Configuration"')
    async with foreign_client(emulator_of(Machine()), "root") as (session, base):
        async with session.get(base + "nothing.cgi") as reply:
            assert reply.status == 404
        async with session.post(base + "set_miner_conf.cgi", data=b"{") as reply:
            assert reply.status == 500


def test_the_socket_has_the_recorded_shape() -> None:
    folder = recorded("antminer-stock/v2020")
    for command, section in (
        ("stats", "STATS"),
        ("version", "VERSION"),
        ("summary", "SUMMARY"),
        ("pools", "POOLS"),
    ):
        said = decode(emulator_socket.reply(s21_pro(), json.dumps({"command": command}).encode(), 10.0, 20))
        ours, real = said[section], folder[command][section]
        assert isinstance(ours, list)
        for mine, theirs in zip(ours, real, strict=False):
            assert set(mine) <= set(theirs), f"{command} shows what no machine does"
            kinds = {key: type(value) for key, value in mine.items() if value.__class__ not in (int, float)}
            assert kinds == {key: type(theirs[key]) for key in kinds}


def test_the_system_page_has_the_recorded_shape() -> None:
    real = recorded("antminer-stock/v2020")["system_info"]
    assert set(pages.system_info(s21_pro(), "127.0.0.1")) == set(real)


def test_nonsense_and_unknown_commands_are_refused_on_the_socket() -> None:
    for raw, code in ((b"\xff", 23), (b"[]", 23), (b'{"command":"restart"}', 14), (b"{}", 14)):
        said = decode(emulator_socket.reply(s21_pro(), raw, 0.0, 0))
        assert said["STATUS"][0]["Code"] == code  # type: ignore[index] # a list, as every reply has


def test_a_configuration_without_pools_is_refused() -> None:
    emulator = emulator_of(Machine())
    view = emulator.machine.view()
    assert emulator._command(view, "set_miner_conf.cgi", {**emulator.configuration(view)})
    before = emulator.configuration(view)
    with pytest.raises(Stop):
        emulator._command(view, "set_miner_conf.cgi", {"miner-mode": 1})
    assert emulator.configuration(view) == before


def test_a_sleeping_machine_is_found_asleep() -> None:
    emulator = emulator_of(Machine(s21_pro(state=MinerState.STOPPED)))
    assert emulator.configuration(emulator.machine.view())["bitmain-work-mode"] == "1"


def test_a_change_of_mode_restarts_the_mining_process() -> None:
    machine = Machine()
    emulator = emulator_of(machine)
    view = machine.view()
    assert emulator.elapsed_s(view) == view.uptime_s
    emulator._store(view, {**emulator.configuration(view), "miner-mode": 2})
    assert emulator.elapsed_s(machine.view()) == 0.0
    assert machine.commands == ["throttle 75", "restart"]
    assert msgspec.json.encode(emulator.configuration(machine.view()))
