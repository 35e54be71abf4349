"""What stands before every request, as plain ASGI so that no route can forget it.

* The `Host` header must be loopback's or a configured name: a web page that re-points its own DNS name at
  127.0.0.1 must not read the API through a visitor's browser.
* Every method but GET, HEAD and OPTIONS needs the bearer token (or a person's own, which says who asks),
  except where a new gateway asks for its first certificate: it has nothing to show yet, and a person
  confirms it.
* Bodies are limited before anything is parsed.
* Each response carries a strict content security policy and its siblings, and each refusal is counted.
"""

import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.kit.problems import ApiError, BadInput, TooLarge, Unauthorized, from_error
from cloud.kit.refusals import Refusals

MAX_BODY_BYTES = 1024 * 1024
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN_WRITES = {"/api/v1/enrolments": 16 * 1024}
"""Paths that take a POST without the token, and how many bytes of it."""
LOOPBACK_HOSTS = frozenset(("127.0.0.1", "localhost", "[::1]"))

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """ASGI middleware with the checks of the module's docstring."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        hosts: tuple[str, ...],
        refusals: Refusals,
        people: Mapping[str, str] | None = None,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._people = {name: own.encode() for name, own in (people or {}).items()}
        self._hosts = LOOPBACK_HOSTS | set(hosts)
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sender = self._refusals.heeding(scope, _with_headers(send))
        refused = self._refusal(scope)
        if refused is not None:
            await from_error(refused, scope["path"])(scope, receive, sender)
            return
        await self._app(scope, _limited(receive, _limit(scope)), sender)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name not in self._hosts:
            return BadInput(f"host {host!r} is not served here; allowed_hosts names others than loopback")
        is_open = scope["method"] == "POST" and scope["path"] in OPEN_WRITES
        given = _bearer(headers)
        person = next((name for name, own in self._people.items() if hmac.compare_digest(given, own)), None)
        scope.setdefault("state", {})["person"] = person
        known = person is not None or hmac.compare_digest(given, self._token)
        if scope["method"] not in SAFE_METHODS and not is_open and not known:
            return Unauthorized("writes need 'Authorization: Bearer <token>' (see token_file)")
        length, limit = headers.get("content-length", "0"), _limit(scope)
        if not length.isdecimal() or int(length) > limit:
            return TooLarge(f"a body may have at most {limit} bytes")
        return None


def _bearer(headers: Headers) -> bytes:
    """The token that was shown; empty, which no token is, where none was."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip().encode() if scheme.lower() == "bearer" else b""


def _limit(scope: Scope) -> int:
    return OPEN_WRITES.get(scope["path"], MAX_BODY_BYTES)


def _limited(receive: Receive, limit: int) -> Receive:
    """Count a chunked body, which has no length up front; over the limit it ends as a broken request."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise TooLarge(f"a body may have at most {limit} bytes")
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender
