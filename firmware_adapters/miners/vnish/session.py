"""One machine's web session: login, headers, one re-login on 401, and status codes as typed failures.

Facts: miners.md §1.2, §1.4. Two logins at the same time can invalidate each other, so login is serialised per
machine. A refused password is not tried again before the machine's own lock-out is over, and each refusal of
it makes our own wait longer (`WRONG_PASSWORD_WAITS_S`), so that the firmware never locks anybody out because
of us; after a few tries in a row it is one a day.
"""

import asyncio
from http import HTTPStatus

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish import fields, parse
from firmware_adapters.transport.http import HttpReply, HttpTransport, TailTransport
from shared.clock import Clock
from shared.errors import AuthFailed, Busy, DeviceError, MalformedReply, Unsupported

API = "/api/v1"
KEY_LENGTH = 32
API_KEY_USER = "api-key"
"""A credential with this user name holds a 32-character API key instead of the password."""
WRONG_PASSWORD_WAITS_S = (60.0, 600.0, 86_400.0)
"""Wait after the first, second, any further refusal in a row; longer if the machine says so [default]."""
LONGEST_LOG_BYTES = 256 * 1024
MOST_LOG_BYTES = 16 * 1024 * 1024
"""A log that is longer than this is not read to its end."""


class Session:
    """Requests to one machine's API. `credential` None reads what needs no login and controls nothing."""

    def __init__(
        self,
        http: HttpTransport,
        credential: Credential | None,
        clock: Clock,
        *,
        bulk: TailTransport | None = None,
    ) -> None:
        """`bulk` reads what may be longer than a reply of `http`; None: `http` reads it, as far as it can."""
        self._http = http
        self._bulk = bulk
        self._credential = credential
        self._clock = clock
        self._login_lock = asyncio.Lock()
        self._token: str | None = None
        self._refused_until_s: float | None = None
        self._refusals = 0

    @property
    def _api_key(self) -> str | None:
        key = self._credential
        return key.secret if key is not None and key.user == API_KEY_USER else None

    @property
    def password(self) -> str | None:
        """The password in use; None with an API key or without a credential."""
        key = self._credential
        return key.secret if key is not None and key.user != API_KEY_USER else None

    @property
    def can_log_in(self) -> bool:
        """Whether there is a credential at all."""
        return self._credential is not None

    async def get(self, path: str, *, login: bool = False) -> object:
        """The JSON value of a page; `login` says that the page needs one. Raises `DeviceError`."""
        reply = await self._send("GET", path, None, login=login)
        return fields.decode(reply.body, path)

    async def text(self, path: str) -> str:
        """The newest part of a text page, at most `LONGEST_LOG_BYTES`. Raises `DeviceError`."""
        reply = await self._tail(path, self._token)
        if reply.status == HTTPStatus.UNAUTHORIZED and self.password is not None:
            reply = await self._tail(path, await self._log_in(self._token))
        _raise_for_status(reply, "GET", path)
        return reply.body[-LONGEST_LOG_BYTES:].decode("utf-8", "replace")

    async def _tail(self, path: str, token: str | None) -> HttpReply:
        if self._bulk is None:
            return await self._request("GET", path, None, token)
        headers = self._headers(token)
        return await self._bulk.tail(API + path, headers, keep=LONGEST_LOG_BYTES, most=MOST_LOG_BYTES)

    def locked_for(self, seconds: float) -> None:
        """The machine says that it takes no password for so long, whoever is to blame: wait as well."""
        self._wait_until(self._clock.monotonic() + seconds)

    def _wait_until(self, at_s: float) -> None:
        latest_s = self._clock.monotonic() + WRONG_PASSWORD_WAITS_S[-1]
        self._refused_until_s = min(max(at_s, self._refused_until_s or at_s), latest_s)

    def rebooted(self) -> None:
        """The machine has started anew: its sessions are gone, and so is its count of wrong passwords."""
        self._token = None
        self._refusals = 0
        self._refused_until_s = None

    async def post(self, path: str, body: object | None = None) -> fields.Object | None:
        """Send a command; the object in the reply, or None where a success has another body or none.

        Success bodies are empty, `null`, `{}` or JSON; after a 200 nothing here may fail, because the command
        was accepted. Raises `DeviceError`; `Busy` where the machine's state does not allow it (HTTP 500).
        """
        reply = await self._send("POST", path, body, login=True)
        try:
            return fields.as_object(fields.decode(reply.body, path))
        except MalformedReply:
            return None

    async def accepts_password(self, password: str) -> bool | None:
        """Whether the machine lets `password` in; None where it will not say now.

        That is where it is silent, answers oddly, or takes no password: then it is not asked, because a try
        while it is locked says nothing about the password and may lengthen the lock-out.
        """
        try:
            async with self._login_lock:
                if self._wait_s() > 0:
                    return None
                reply = await self._http.request("POST", f"{API}/unlock", {"pw": password})
        except DeviceError:
            return None  # also from a transport that only reads and does not let this through
        if reply.status == HTTPStatus.OK:
            return True
        if reply.status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
            told_s = _told_wait_s(reply)
            if told_s or reply.status == HTTPStatus.TOO_MANY_REQUESTS:
                self.locked_for(told_s or WRONG_PASSWORD_WAITS_S[0])
        return False if reply.status == HTTPStatus.FORBIDDEN else None

    async def _send(self, method: str, path: str, body: object | None, *, login: bool) -> HttpReply:
        token = self._token
        if login and self._api_key is None and token is None:
            token = await self._log_in(None)
        reply = await self._request(method, path, body, token)
        if reply.status == HTTPStatus.UNAUTHORIZED and self._api_key is None:
            token = await self._log_in(token)
            reply = await self._request(method, path, body, token)
        _raise_for_status(reply, method, path)
        return reply

    async def _request(self, method: str, path: str, body: object | None, token: str | None) -> HttpReply:
        return await self._http.request(method, API + path, body, self._headers(token))

    def _headers(self, token: str | None) -> dict[str, str]:
        key = self._api_key
        if key is not None:
            if len(key) != KEY_LENGTH or not key.isascii() or not key.isprintable():
                raise AuthFailed(f"an API key of VNish has {KEY_LENGTH} plain characters; this one does not")
            return {"x-api-key": key}
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    async def _log_in(self, stale: str | None) -> str:
        """A token other than `stale`; whoever waited for the lock takes the token that the first one got."""
        async with self._login_lock:
            if self._token is not None and self._token != stale:
                return self._token
            self._token = None
            self._token = await self._unlock()
            return self._token

    async def _unlock(self) -> str:
        password = self.password
        if password is None:
            raise AuthFailed("no credential: this needs a login")
        wait_s = self._wait_s()
        if wait_s > 0:
            raise AuthFailed(f"login is locked for another {wait_s:.0f} s", retry_after_s=wait_s)
        reply = await self._http.request("POST", f"{API}/unlock", {"pw": password})
        if reply.status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
            raise self._refused(reply)
        _raise_for_status(reply, "POST", "/unlock")
        token = fields.text(fields.as_object(fields.decode(reply.body, "/unlock")), "token")
        if token is None or not token.isascii() or not token.isprintable():
            raise MalformedReply("/unlock: no usable token in the reply")
        self._refusals = 0
        return token

    def _wait_s(self) -> float:
        until_s = self._refused_until_s
        return 0.0 if until_s is None else until_s - self._clock.monotonic()

    def _refused(self, reply: HttpReply) -> AuthFailed:
        wait_s = _told_wait_s(reply)
        why = "too many tries"
        if reply.status == HTTPStatus.FORBIDDEN:
            why = "wrong password"
            own = WRONG_PASSWORD_WAITS_S[min(self._refusals, len(WRONG_PASSWORD_WAITS_S) - 1)]
            wait_s = max(wait_s, own)
            self._refusals += 1
        elif not wait_s:
            wait_s = WRONG_PASSWORD_WAITS_S[0]
        self._wait_until(self._clock.monotonic() + wait_s)
        return AuthFailed(f"/unlock: {why}; not tried again for {wait_s:.0f} s", retry_after_s=wait_s)


def _told_wait_s(reply: HttpReply) -> float:
    """For so long (s) it takes no password, by a refusal of `/unlock`; 0 where that does not say."""
    try:
        told_s = fields.amount(fields.as_object(fields.decode(reply.body, "/unlock")), "unlock_timeout")
    except MalformedReply:
        return 0.0
    return told_s or 0.0


def _raise_for_status(reply: HttpReply, method: str, path: str) -> None:
    status = reply.status
    if status == HTTPStatus.OK:
        return
    where = f"{method} {path}: HTTP {status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise AuthFailed(f"{where}: the credential was refused")
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        raise Unsupported(f"{where}: {parse.error_text(reply.body)}")
    if status in (
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ):
        # A command that does not fit the present state is a 500 here, not a 409.
        raise Busy(f"{where}: {parse.error_text(reply.body)}")
    raise MalformedReply(f"{where}: not a status that VNish documents")
