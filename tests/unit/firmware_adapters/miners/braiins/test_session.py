"""Login: one at a time, once more on 401, waiting after a refusal, lifetimes, and statuses as failures."""

import asyncio

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.braiins.emulator import TOKEN_LIFETIME_S, BraiinsEmulator, Traps
from firmware_adapters.miners.braiins.session import Session
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import ManualClock
from shared.errors import AuthFailed, Busy, DeviceError, MalformedReply, Unsupported
from support.miners import Machine
from support.web_memory import in_memory

SECRET = "s3cret"
KEY = Credential(user="root", secret=SECRET)


def emulated(clock: ManualClock, **traps: object) -> BraiinsEmulator:
    known = Traps(**traps)  # type: ignore[arg-type] # named by the tests
    return BraiinsEmulator(Machine(), clock=clock, password=SECRET, traps=known)


async def test_many_requests_at_once_log_in_once() -> None:
    clock = ManualClock()
    emulator = emulated(clock)
    session = Session(in_memory(emulator), KEY, clock)
    await asyncio.gather(*(session.get("miner/details") for _ in range(8)))
    assert emulator.logins == 1


async def test_a_token_that_is_lost_in_mid_run_is_asked_for_again_once_for_all() -> None:
    clock = ManualClock()
    emulator = emulated(clock)
    session = Session(in_memory(emulator), KEY, clock)
    await session.get("miner/details")
    emulator.drop_sessions()
    await asyncio.gather(*(session.get("miner/details") for _ in range(5)))
    assert emulator.logins == 2


async def test_a_machine_that_forgets_at_once_is_not_asked_for_ever() -> None:
    clock = ManualClock()
    emulator = emulated(clock, drop_session_every=1)
    session = Session(in_memory(emulator), KEY, clock)
    with pytest.raises(AuthFailed):
        await session.get("miner/details")
    assert emulator.logins == 1


async def test_a_token_serves_until_the_machine_refuses_it() -> None:
    clock = ManualClock()
    emulator = emulated(clock)
    http = in_memory(emulator)
    session = Session(http, KEY, clock)
    for _ in range(3):
        await session.get("miner/details")
    assert (emulator.logins, len(http.requests)) == (1, 5), "one refusal, one login, three pages"
    clock.advance(TOKEN_LIFETIME_S)
    await session.get("miner/details")
    assert (emulator.logins, len(http.requests)) == (2, 8)


async def test_a_machine_that_asks_for_no_login_is_not_logged_into() -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(200 if request.method == "GET" else 404, b"{}")

    http = MemoryHttp(answer)
    assert await Session(http, KEY, ManualClock()).get("miner/details") == {}
    assert len(http.requests) == 1


def logins(http: MemoryHttp) -> int:
    return [request.path for request in http.requests].count("/api/v1/auth/login")


async def test_a_wrong_password_is_soon_tried_once_a_day_only() -> None:
    clock = ManualClock()
    http = in_memory(emulated(clock))
    session = Session(http, Credential(user=None, secret="wrong"), clock)
    for number, wait_s in enumerate((60.0, 600.0, 86_400.0, 86_400.0), 1):
        for passed_s in (0.0, 0.0, wait_s - 1.0):
            clock.advance(passed_s)
            with pytest.raises(AuthFailed) as caught:
                await session.put("actions/stop")
            assert caught.value.retry_after_s == pytest.approx(wait_s - passed_s)
        assert logins(http) == number
        clock.advance(1.0)


async def test_a_read_every_ten_seconds_for_a_day_sends_a_wrong_password_three_times() -> None:
    clock = ManualClock()
    http = in_memory(emulated(clock))
    session = Session(http, Credential(user=None, secret="wrong"), clock)
    for _ in range(8640):
        with pytest.raises(AuthFailed):
            await session.get("miner/details")
        clock.advance(10.0)
    assert logins(http) == 3


async def test_a_password_that_is_taken_forgets_the_refusals() -> None:
    clock = ManualClock()
    emulator = emulated(clock)
    session = Session(in_memory(emulator), KEY, clock)
    waits = []
    for password in ("another", "another", SECRET, "another"):
        emulator._password = password
        emulator.drop_sessions()
        clock.advance(3600.0)
        try:
            await session.get("miner/details")
        except AuthFailed as refusal:
            waits.append(refusal.retry_after_s)
    assert waits == [60.0, 600.0, 60.0]


async def test_too_many_tries_are_a_minutes_pause_and_say_nothing_of_the_password() -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(429 if request.method == "POST" else 401, b"")

    clock = ManualClock()
    http = MemoryHttp(answer)
    session = Session(http, KEY, clock)
    for number in range(1, 5):
        for _ in range(2):
            with pytest.raises(AuthFailed) as caught:
                await session.get("miner/details")
            assert caught.value.retry_after_s == 60.0
        assert logins(http) == number
        clock.advance(60.0)


async def test_the_user_is_root_where_none_is_named() -> None:
    clock = ManualClock()
    http = in_memory(emulated(clock))
    await Session(http, Credential(user=None, secret=SECRET), clock).get("pools")
    refused, login, page = http.requests
    assert "Authorization" not in refused.headers
    assert login.body == b'{"username":"root","password":"s3cret"}'
    assert len(page.headers["Authorization"]) == 16, "the bare token, with no word before it"


async def test_without_a_credential_nothing_is_tried_and_the_refusal_is_typed() -> None:
    clock = ManualClock()
    http = in_memory(emulated(clock))
    session = Session(http, None, clock)
    assert await session.get("version") == {"major": 1, "minor": 1, "patch": 0}
    with pytest.raises(AuthFailed, match="needs a password, and none was given"):
        await session.get("miner/details")
    assert not [request for request in http.requests if request.method == "POST"]


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, Unsupported),
        (401, AuthFailed),
        (403, AuthFailed),
        (404, Unsupported),
        (405, Unsupported),
        (409, Busy),
        (422, Unsupported),
        (429, Busy),
        (500, Busy),
        (503, Busy),
        (301, MalformedReply),
        (418, MalformedReply),
    ],
)
async def test_every_status_is_a_typed_failure(status: int, failure: type[DeviceError]) -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(status, b'{"message":"because"}')

    with pytest.raises(failure):
        await Session(MemoryHttp(answer), None, ManualClock()).get("miner/details")


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_success_of_a_command_is_one_whatever_its_body(status: int) -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(status, b"<html>")

    await Session(MemoryHttp(answer), None, ManualClock()).put("actions/stop")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b'{"token":7}', b'{"token":"a\\nb"}', '{"token":"ü"}'.encode()]
)
async def test_a_token_that_cannot_be_sent_is_malformed(body: bytes) -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(200 if request.method == "POST" else 401, body)

    with pytest.raises(MalformedReply):
        await Session(MemoryHttp(answer), KEY, ManualClock()).get("miner/details")


async def test_a_secret_never_shows_in_an_error() -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(401, b"")

    session = Session(MemoryHttp(answer), KEY, ManualClock())
    for _ in range(2):
        with pytest.raises(AuthFailed) as caught:
            await session.put("actions/stop")
        assert SECRET not in repr(caught.value)
        assert SECRET not in repr(KEY)
