"""One machine's REST session: login, one re-login on 401, and status codes as typed failures.

Facts: miners.md §2. `POST auth/login` gives a token, which is used until the machine refuses it; whether its
lifetime counts from the login or from the last use is not known, so nothing is built on it. Logins are
serialised per machine, and a refused password is tried again at growing intervals only (`patience`).
"""

import asyncio
from http import HTTPStatus

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.braiins import parse
from firmware_adapters.miners.fields import as_object, decode, text
from firmware_adapters.miners.patience import Patience
from firmware_adapters.transport.http import HttpReply, HttpTransport
from shared.clock import Clock
from shared.errors import AuthFailed, Busy, MalformedReply, Unsupported

API = "/api/v1/"
USER = "root"
"""The account where the credential names none."""

_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_UNKNOWN = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
)
_LATER = (
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


class Session:
    """Requests to one machine's API; a login follows the first refusal. `credential` None never logs in."""

    def __init__(self, http: HttpTransport, credential: Credential | None, clock: Clock) -> None:
        self._http = http
        self._credential = credential
        self._login_lock = asyncio.Lock()
        self._token: str | None = None
        self._patience = Patience(clock)

    async def get(self, path: str) -> object:
        """The JSON value of a page. Raises `DeviceError`."""
        reply = await self._send("GET", path, None)
        return decode(reply.body, path)

    async def put(self, path: str, body: object | None = None) -> None:
        """Send a command; whatever the body of a success says, it was accepted. Raises `DeviceError`."""
        await self._send("PUT", path, body)

    async def _send(self, method: str, path: str, body: object | None) -> HttpReply:
        token = self._token
        reply = await self._request(method, path, body, token)
        if reply.status == HTTPStatus.UNAUTHORIZED and self._credential is not None:
            reply = await self._request(method, path, body, await self._log_in(token))
        if reply.status in _REFUSED and self._credential is None:
            raise AuthFailed(f"{method} {path}: HTTP {reply.status}: it needs a password, and none was given")
        _raise_for_status(reply, method, path)
        return reply

    async def _request(self, method: str, path: str, body: object | None, token: str | None) -> HttpReply:
        headers = {"Authorization": token} if token is not None else {}
        return await self._http.request(method, API + path, body, headers)

    async def _log_in(self, stale: str | None) -> str:
        """A token other than `stale`; whoever waited for the lock takes the one that the first one got."""
        async with self._login_lock:
            if self._token is not None and self._token != stale:
                return self._token
            self._token = None
            self._token = await self._ask_for_token()
            return self._token

    async def _ask_for_token(self) -> str:
        wait_s = self._patience.left_s
        if wait_s > 0:
            raise AuthFailed(f"the login was refused; not tried for {wait_s:.0f} s", retry_after_s=wait_s)
        key = self._credential
        if key is None:
            raise AuthFailed("no credential: this needs a login")
        sent = {"username": key.user or USER, "password": key.secret}
        reply = await self._http.request("POST", API + "auth/login", sent)
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise AuthFailed("auth/login: too many tries", retry_after_s=self._patience.put_off())
        if reply.status in (*_REFUSED, HTTPStatus.BAD_REQUEST):
            wait_s = self._patience.refused()
            raise AuthFailed(
                f"auth/login: the credential was refused; not tried again for {wait_s:.0f} s",
                retry_after_s=wait_s,
            )
        _raise_for_status(reply, "POST", "auth/login")
        token = text(as_object(decode(reply.body, "auth/login")), "token")
        if token is None or not token.isascii() or not token.isprintable():
            raise MalformedReply("auth/login: no usable token in the reply")
        self._patience.accepted()
        return token


def _raise_for_status(reply: HttpReply, method: str, path: str) -> None:
    status = reply.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    where = f"{method} {path}: HTTP {status}"
    if status in _REFUSED:
        raise AuthFailed(f"{where}: the credential was refused")
    if status in _UNKNOWN:
        raise Unsupported(f"{where}: {parse.message(reply.body)}")
    if status in _LATER:
        raise Busy(f"{where}: {parse.message(reply.body)}")
    raise MalformedReply(f"{where}: not a status that this API documents")
