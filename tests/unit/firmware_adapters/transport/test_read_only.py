"""The guard of tools that only read: what passes, what does not, and that a login is tried once."""

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.transport.http import HttpReply
from firmware_adapters.transport.read_only import ReadOnly
from shared.errors import AuthFailed, Unsupported

GIVEN = Credential(user="root", secret="s3cret")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/summary",
        "/api/system/info",
        "/api/v1/logs/status?tail=5",
        "/cgi-bin/stats.cgi",
        "/cgi-bin/get_system_info.cgi",
        "/cgi-bin/get_blink_status.cgi",
        "/cgi-bin/miner_type.cgi",
    ],
)
def test_reading_passes(path: str) -> None:
    ReadOnly(None).http("GET", path, None, {})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/mining/stop"),
        ("POST", "/api/v1/settings"),
        ("PUT", "/api/v1/performance/power-target"),
        ("PATCH", "/api/system"),
        ("DELETE", "/api/v1/notes/x"),
        ("GET", "/cgi-bin/reboot.cgi"),
        ("GET", "/cgi-bin/reset_conf.cgi"),
        ("GET", "/cgi-bin/blink.cgi"),
        ("POST", "/cgi-bin/set_miner_conf.cgi"),
    ],
)
def test_what_could_change_something_does_not(method: str, path: str) -> None:
    with pytest.raises(Unsupported, match="is not sent"):
        ReadOnly(GIVEN).http(method, path, None, {})


@pytest.mark.parametrize(
    "command", ["stats", "summary", "get_psu", "get.device.info", "healthchipget", "config"]
)
def test_commands_that_read_pass(command: str) -> None:
    ReadOnly(None).command(command, None)


@pytest.mark.parametrize(
    "command",
    [
        "ascset", "curtail", "logon", "reboot", "power_off", "set_low_power", "set.miner.service", "restart",
        "addpool", "switchpool", "quit", "zero", "save", "profileset", "stats+restart", "get_ psu", "",
    ],
)  # fmt: skip
def test_commands_that_are_not_known_to_read_do_not(command: str) -> None:
    with pytest.raises(Unsupported, match="not known to only read"):
        ReadOnly(GIVEN).command(command, None)


@pytest.mark.parametrize("path", ["/api/v1/unlock", "/api/v1/auth/login"])
def test_a_login_passes_with_what_the_user_gave_and_with_nothing_else(path: str) -> None:
    ReadOnly(GIVEN).http("POST", path, {"pw": "s3cret"}, {})
    with pytest.raises(AuthFailed, match="nothing but the password it was given"):
        ReadOnly(GIVEN).http("POST", path, {"pw": "admin"}, {})
    with pytest.raises(AuthFailed, match="no password was given"):
        ReadOnly(None).http("POST", path, {"pw": "admin"}, {})


def test_a_refused_login_is_not_tried_again() -> None:
    guard = ReadOnly(GIVEN)
    guard.http_said("POST", "/api/v1/unlock", {}, HttpReply(403, b""))
    assert guard.refused_login == "POST /api/v1/unlock: HTTP 403"
    with pytest.raises(AuthFailed, match="not tried again after POST /api/v1/unlock: HTTP 403"):
        guard.http("POST", "/api/v1/unlock", {"pw": "s3cret"}, {})
    guard.http("GET", "/api/v1/summary", None, {})


def test_a_page_that_wants_a_login_is_no_refusal_of_one() -> None:
    guard = ReadOnly(GIVEN)
    guard.http_said("GET", "/api/v1/settings", {"Authorization": "Bearer x"}, HttpReply(401, b""))
    assert guard.refused_login is None


@pytest.mark.parametrize("headers", [{"Authorization": 'Digest username="root"'}, {"x-api-key": "k" * 32}])
def test_a_request_that_carries_the_secret_is_a_login_too(headers: dict[str, str]) -> None:
    with pytest.raises(AuthFailed, match="no password was given"):
        ReadOnly(None).http("GET", "/cgi-bin/stats.cgi", None, headers)
    guard = ReadOnly(GIVEN)
    guard.http("GET", "/cgi-bin/stats.cgi", None, headers)
    guard.http_said("GET", "/cgi-bin/stats.cgi", headers, HttpReply(401, b""))
    with pytest.raises(AuthFailed, match="not tried again"):
        guard.http("GET", "/cgi-bin/stats.cgi", None, headers)


def test_a_nonce_that_went_stale_is_no_refusal() -> None:
    class Stale:
        status = 401
        body = b""
        headers = {"WWW-Authenticate": 'Digest realm="antMiner", nonce="2", stale=TRUE'}

    guard = ReadOnly(GIVEN)
    guard.http_said("GET", "/cgi-bin/stats.cgi", {"authorization": "Digest x"}, Stale())
    assert guard.refused_login is None


def test_a_server_that_forgot_its_nonce_did_not_refuse_the_password() -> None:
    """Answered once with this nonce, so the password is right; a fresh one that fails is a refusal."""
    guard = ReadOnly(GIVEN)
    old = {"Authorization": 'Digest username="root", nonce="1"'}
    guard.http_said("GET", "/cgi-bin/stats.cgi", old, HttpReply(200, b"{}"))
    guard.http_said("GET", "/cgi-bin/stats.cgi", old, HttpReply(401, b""))
    assert guard.refused_login is None
    guard.http_said("GET", "/cgi-bin/stats.cgi", {"Authorization": 'Digest nonce="2"'}, HttpReply(401, b""))
    assert guard.refused_login == "GET /cgi-bin/stats.cgi: HTTP 401"
