"""Login: one at a time, once more on 401, back off when locked out, API keys, and statuses as failures."""

import asyncio

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.session import API_KEY_USER, LONGEST_LOG_BYTES, Session
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import ManualClock
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from support.miners import Machine
from support.vnish import emulator_of, in_memory

ADMIN = Credential(user=None, secret="admin")
KEY = "k" * 32


def unlocks(http: MemoryHttp) -> int:
    return sum(request.path.endswith("/unlock") for request in http.requests)


async def test_reading_needs_no_login_and_a_command_brings_one() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock))
    session = Session(http, ADMIN, clock)
    await session.get("/status")
    assert unlocks(http) == 0
    await session.get("/autotune/presets", login=True)
    await session.get("/settings", login=True)
    assert unlocks(http) == 1
    assert http.requests[-1].headers["Authorization"].startswith("Bearer ")


async def test_many_requests_at_once_log_in_once() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock))
    session = Session(http, ADMIN, clock)
    await asyncio.gather(*(session.get("/settings", login=True) for _ in range(8)))
    assert unlocks(http) == 1


async def test_a_session_lost_in_mid_run_is_opened_again_once_for_all() -> None:
    clock = ManualClock()
    emulator = emulator_of(Machine(), clock)
    http = in_memory(emulator)
    session = Session(http, ADMIN, clock)
    await session.get("/settings", login=True)
    emulator.logins.drop()
    await asyncio.gather(*(session.get("/settings", login=True) for _ in range(4)))
    assert unlocks(http) == 2


async def test_a_machine_that_forgets_at_once_is_not_asked_for_ever() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock, traps=Traps(drop_session_every=1)))
    session = Session(http, ADMIN, clock)
    with pytest.raises(AuthFailed):
        await session.get("/settings", login=True)
    assert unlocks(http) == 2


async def test_a_wrong_password_is_not_tried_again_for_a_minute() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock))
    session = Session(http, Credential(user=None, secret="wrong"), clock)
    for _ in range(3):
        with pytest.raises(AuthFailed) as caught:
            await session.post("/mining/stop")
        assert caught.value.retry_after_s == 60
    assert unlocks(http) == 1
    clock.advance(61)
    with pytest.raises(AuthFailed):
        await session.post("/mining/stop")
    assert unlocks(http) == 2


async def test_a_wrong_password_never_locks_the_machine() -> None:
    """Asked every ten seconds for two hours, where five wrong ones lock (an assumption of the emulator)."""
    clock = ManualClock()
    emulator = emulator_of(Machine(), clock)
    http = in_memory(emulator)
    session = Session(http, Credential(user=None, secret="wrong"), clock)
    for _ in range(720):
        with pytest.raises(AuthFailed, match=r"wrong password|locked"):
            await session.get("/settings", login=True)
        clock.advance(10)
    assert unlocks(http) == 3
    assert emulator.logins.unlock("admin", None)["token"], "its owner still gets in"


async def test_after_a_reboot_or_a_success_the_waits_start_anew() -> None:
    clock = ManualClock()
    emulator = emulator_of(Machine(), clock, password="ours")
    http = in_memory(emulator)
    session = Session(http, Credential(user=None, secret="theirs"), clock)
    with pytest.raises(AuthFailed):
        await session.get("/settings", login=True)
    session.rebooted()
    with pytest.raises(AuthFailed) as caught:
        await session.get("/settings", login=True)
    assert caught.value.retry_after_s == 60
    clock.advance(61)
    emulator.logins = emulator_of(Machine(), clock, password="theirs").logins
    await session.get("/settings", login=True)
    emulator.logins = emulator_of(Machine(), clock, password="ours").logins
    with pytest.raises(AuthFailed) as caught:
        await session.get("/settings", login=True)
    assert caught.value.retry_after_s == 60


async def test_a_lock_out_is_waited_for_as_long_as_the_machine_says() -> None:
    clock = ManualClock()
    emulator = emulator_of(Machine(), clock, traps=Traps(lockout_s=300))
    http = in_memory(emulator)
    session = Session(http, ADMIN, clock)
    with pytest.raises(AuthFailed) as caught:
        await session.post("/mining/stop")
    assert caught.value.retry_after_s == 300
    emulator.traps = Traps()
    clock.advance(200)
    with pytest.raises(AuthFailed) as caught:
        await session.post("/mining/stop")
    assert caught.value.retry_after_s == pytest.approx(100)
    assert unlocks(http) == 1
    clock.advance(101)
    await session.post("/mining/stop")


async def test_an_api_key_replaces_the_login() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock, api_keys=[KEY]))
    session = Session(http, Credential(user=API_KEY_USER, secret=KEY), clock)
    await session.post("/mining/stop")
    assert unlocks(http) == 0
    assert http.requests[-1].headers == {"x-api-key": KEY}


async def test_a_refused_api_key_is_not_followed_by_a_login() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock))
    session = Session(http, Credential(user=API_KEY_USER, secret=KEY), clock)
    with pytest.raises(AuthFailed):
        await session.post("/mining/stop")
    assert unlocks(http) == 0


async def test_without_a_credential_nothing_is_sent_that_needs_one() -> None:
    clock = ManualClock()
    machine = Machine()
    http = in_memory(emulator_of(machine, clock))
    session = Session(http, None, clock)
    await session.get("/summary")
    with pytest.raises(AuthFailed, match="no credential"):
        await session.post("/mining/stop")
    assert machine.commands == []
    assert len(http.requests) == 1


@pytest.mark.parametrize("body", ["", "null", "{}", '{"success":true}', "OK", '"x"', "[1]"])
async def test_whatever_a_success_says_it_is_a_success(body: str) -> None:
    clock = ManualClock()
    machine = Machine()
    session = Session(in_memory(emulator_of(machine, clock, traps=Traps(command_body=body))), ADMIN, clock)
    await session.post("/mining/stop")
    assert machine.commands == ["stop"]


async def test_a_state_conflict_is_busy_with_the_machines_words() -> None:
    clock = ManualClock()
    session = Session(in_memory(emulator_of(Machine(), clock)), ADMIN, clock)
    with pytest.raises(Busy, match="failed-to-activate-resume-mode"):
        await session.post("/mining/start")


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (400, Unsupported),
        (401, AuthFailed),
        (403, AuthFailed),
        (404, Unsupported),
        (405, Unsupported),
        (429, Busy),
        (500, Busy),
        (503, Busy),
        (302, MalformedReply),
        (418, MalformedReply),
        (204, MalformedReply),
    ],
)
async def test_each_status_has_a_meaning(status: int, meaning: type[DeviceError]) -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        if request.path.endswith("/unlock"):
            return HttpReply(200, b'{"token":"t"}')
        return HttpReply(status, b"\xff odd")

    session = Session(MemoryHttp(answer), ADMIN, ManualClock())
    with pytest.raises(meaning):
        await session.get("/status")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"token":""}', b'{"token":7}', b'{"token":"a\\r\\nX: y"}', b"<html>"]
)
async def test_a_login_without_a_usable_token_is_malformed(body: bytes) -> None:
    async def answer(_: HttpRequest) -> HttpReply:
        return HttpReply(200, body)

    session = Session(MemoryHttp(answer), ADMIN, ManualClock())
    with pytest.raises(MalformedReply):
        await session.post("/mining/stop")


async def test_a_login_that_fails_otherwise_starts_no_wait() -> None:
    replies = [HttpReply(500, b'{"err":"booting"}'), HttpReply(200, b'{"token":"t"}'), HttpReply(200, b"")]

    async def answer(_: HttpRequest) -> HttpReply:
        return replies.pop(0)

    session = Session(MemoryHttp(answer), ADMIN, ManualClock())
    with pytest.raises(Busy, match="booting"):
        await session.post("/mining/stop")
    await session.post("/mining/stop")


async def test_asking_whether_a_password_opens_says_so_or_that_it_cannot_know() -> None:
    clock = ManualClock()
    emulator = emulator_of(Machine(), clock, password="ours")
    session = Session(in_memory(emulator), None, clock)
    assert await session.accepts_password("ours") is True
    assert await session.accepts_password("admin") is False
    emulator.traps = Traps(lockout_s=9)
    assert await session.accepts_password("ours") is None


async def test_a_password_is_not_tried_while_the_machine_takes_none() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock, password="ours"))
    session = Session(http, None, clock)
    session.locked_for(3600)
    assert await session.accepts_password("ours") is None
    assert unlocks(http) == 0
    clock.advance(3601)
    assert await session.accepts_password("ours") is True


@pytest.mark.parametrize(
    ("status", "body", "wait_s"),
    [(429, b'{"unlock_timeout":300}', 300), (429, b"", 60), (403, b'{"unlock_timeout":300}', 300)],
)
async def test_a_lock_out_that_the_question_meets_is_waited_for_before_the_next(
    status: int, body: bytes, wait_s: float
) -> None:
    async def answer(_: HttpRequest) -> HttpReply:
        return HttpReply(status, body)

    clock = ManualClock()
    http = MemoryHttp(answer)
    session = Session(http, None, clock)
    assert await session.accepts_password("admin") is (False if status == 403 else None)
    clock.advance(wait_s - 1)
    assert await session.accepts_password("admin") is None
    assert unlocks(http) == 1
    clock.advance(2)
    await session.accepts_password("admin")
    assert unlocks(http) == 2


@pytest.mark.parametrize("failure", [DeviceTimeout("x"), Unreachable("x"), MalformedReply("x")])
async def test_whether_a_password_opens_a_silent_machine_is_unknown(failure: DeviceError) -> None:
    async def answer(_: HttpRequest) -> DeviceError:
        return failure

    assert await Session(MemoryHttp(answer), None, ManualClock()).accepts_password("admin") is None


async def test_a_secret_never_shows_in_an_error() -> None:
    clock = ManualClock()
    session = Session(
        in_memory(emulator_of(Machine(), clock)), Credential(user=None, secret="hunter2"), clock
    )
    with pytest.raises(AuthFailed) as caught:
        await session.post("/mining/stop")
    assert "hunter2" not in str(caught.value)


async def test_a_guard_that_lets_no_login_through_leaves_the_default_password_unknown() -> None:
    async def answer(request: HttpRequest) -> Unsupported:
        return Unsupported("this tool only reads")

    session = Session(MemoryHttp(answer), None, ManualClock())
    assert await session.accepts_password("admin") is None


async def test_the_end_of_a_text_is_kept_and_odd_bytes_do_no_harm() -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(200, b"old\n" * 100_000 + b"\xffnew\n")

    text = await Session(MemoryHttp(answer), None, ManualClock()).text("/logs/miner")
    assert text.endswith("old\n\ufffdnew\n")
    assert len(text.encode()) <= LONGEST_LOG_BYTES + 2


@pytest.mark.parametrize("key", ["short", "k" * 31, "k" * 33, "k" * 31 + "\n", "ключ" * 8, ""])
async def test_what_cannot_be_an_api_key_is_said_and_never_sent(key: str) -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock))
    session = Session(http, Credential(user=API_KEY_USER, secret=key), clock)
    with pytest.raises(AuthFailed, match="32 plain characters") as caught:
        await session.post("/mining/stop")
    assert http.requests == []
    assert not key or key not in str(caught.value)


async def test_a_lock_out_that_somebody_else_caused_is_waited_for_too() -> None:
    clock = ManualClock()
    http = in_memory(emulator_of(Machine(), clock))
    session = Session(http, ADMIN, clock)
    session.locked_for(90)
    session.locked_for(80)
    clock.advance(89)
    with pytest.raises(AuthFailed) as caught:
        await session.post("/mining/stop")
    assert caught.value.retry_after_s == pytest.approx(1)
    clock.advance(2)
    await session.post("/mining/stop")
    session.rebooted()
    session.locked_for(1e18)
    clock.advance(86_401)
    await session.post("/mining/start")


async def test_a_log_that_wants_a_login_gets_one() -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        if request.path.endswith("/unlock"):
            return HttpReply(200, b'{"token":"t"}')
        known = request.headers.get("Authorization") == "Bearer t"
        return HttpReply(200, b"text") if known else HttpReply(401, b"")

    assert await Session(MemoryHttp(answer), ADMIN, ManualClock()).text("/logs/miner") == "text"
    with pytest.raises(AuthFailed):
        await Session(MemoryHttp(answer), None, ManualClock()).text("/logs/miner")
