"""Logging in: a refused password is not tried again soon, and no secret shows."""

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.antminer.session import LONGEST_WAIT_S, WRONG_PASSWORD_WAIT_S, Session
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import ManualClock
from shared.errors import AuthFailed, Busy, DeviceError, MalformedReply, Unsupported
from support.antminer import ROOT, emulator_of, in_memory
from support.miners import Machine


def answering(status: int, body: bytes = b"{}") -> MemoryHttp:
    async def answer(_request: HttpRequest) -> HttpReply:
        return HttpReply(status, body)

    return MemoryHttp(answer)


async def test_a_refused_password_waits_longer_each_time_and_asks_nothing_meanwhile() -> None:
    clock, http = ManualClock(), in_memory(emulator_of(Machine(), password="other"))
    session = Session(http, ROOT, clock)
    waits = []
    for _ in range(9):
        with pytest.raises(AuthFailed) as refused:
            await session.get("stats.cgi")
        asked = len(http.requests)
        with pytest.raises(AuthFailed, match="tried again in"):
            await session.get("stats.cgi")
        assert len(http.requests) == asked, "nothing is sent while we wait"
        waits.append(refused.value.retry_after_s)
        clock.advance(waits[-1] or 0.0)
    assert waits[:3] == [WRONG_PASSWORD_WAIT_S, 2 * WRONG_PASSWORD_WAIT_S, 4 * WRONG_PASSWORD_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S


async def test_a_password_that_is_taken_forgets_the_refusals() -> None:
    clock, emulator = ManualClock(), emulator_of(Machine(), password="other")
    session = Session(in_memory(emulator), ROOT, clock)
    for _ in range(2):
        with pytest.raises(AuthFailed):
            await session.get("stats.cgi")
        clock.advance(WRONG_PASSWORD_WAIT_S * 2)
    emulator.logins._password = "root"
    assert await session.get("get_blink_status.cgi") == {"blink": False}
    emulator.logins._password = "other"
    with pytest.raises(AuthFailed) as refused:
        await session.get("stats.cgi")
    assert refused.value.retry_after_s == WRONG_PASSWORD_WAIT_S


async def test_without_a_credential_a_page_that_needs_none_is_read_and_the_others_are_not_pressed() -> None:
    http = in_memory(emulator_of(Machine()))
    session = Session(http, None, ManualClock())
    for _ in range(3):
        with pytest.raises(AuthFailed, match="needs a login"):
            await session.get("stats.cgi")
    assert len(http.requests) == 1
    assert "Authorization" not in http.requests[0].headers
    assert await Session(answering(200), None, ManualClock()).get("stats.cgi") == {}


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (401, AuthFailed),
        (403, AuthFailed),
        (404, Unsupported),
        (409, Busy),
        (429, Busy),
        (500, Busy),
        (503, Busy),
        (302, MalformedReply),
        (418, MalformedReply),
    ],
)
async def test_each_status_has_a_meaning(status: int, meaning: type[DeviceError]) -> None:
    with pytest.raises(meaning):
        await Session(answering(status), ROOT, ManualClock()).get("stats.cgi")


@pytest.mark.parametrize("body", [b"", b"{}", b"OK", b'{"stats":"success"}', b"[]", b"null", b"<html>"])
async def test_after_a_good_status_a_command_never_fails_for_its_body(body: bytes) -> None:
    await Session(answering(200, body), ROOT, ManualClock()).post("blink.cgi", {"blink": True})


async def test_a_secret_never_shows_in_an_error() -> None:
    key = Credential(user="root", secret="hunter2hunter2")
    http = in_memory(emulator_of(Machine()))
    session = Session(http, key, ManualClock())
    with pytest.raises(AuthFailed) as refused:
        await session.get("stats.cgi")
    assert "hunter2" not in f"{refused.value!r} {key!r} {http.requests}"
