"""One machine's CGI pages: digest login, patience after a refusal, status codes as typed failures.

Pages ask for the digest login (miners.md §2). A password that was refused is not tried again before
`WRONG_PASSWORD_WAIT_S`, and then at growing intervals, so that no firmware locks its owner out because of us.
"""

from http import HTTPStatus

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.fields import Object, as_object, decode
from firmware_adapters.transport.digest import DigestTransport
from firmware_adapters.transport.http import HttpReply, HttpTransport
from shared.clock import Clock
from shared.errors import AuthFailed, Busy, MalformedReply, Unsupported

CGI = "/cgi-bin/"
DEFAULT_USER = "root"
WRONG_PASSWORD_WAIT_S = 60.0
"""Wait after a refusal; doubles with each further one [default]."""
LONGEST_WAIT_S = 3600.0
LONGEST_LOG_BYTES = 256 * 1024
MOST_LOG_BYTES = 8 * 1024 * 1024
"""A log that is longer is not read to its end."""


class Session:
    """Requests to one machine's pages. `credential` None never logs in, and reads what needs no login."""

    def __init__(
        self,
        http: HttpTransport,
        credential: Credential | None,
        clock: Clock,
        *,
        bulk: HttpTransport | None = None,
    ) -> None:
        """`bulk` reads what may be longer than a reply of `http`; None: `http` reads it, as far as it can."""
        self._http = DigestTransport(http, credential, default_user=DEFAULT_USER)
        self._bulk = (
            self._http if bulk is None else DigestTransport(bulk, credential, default_user=DEFAULT_USER)
        )
        self._key_given = credential is not None
        self._clock = clock
        self._refusals = 0
        self._refused_until_s = 0.0

    async def get(self, page: str) -> object:
        """The JSON value of a page ("stats.cgi"). Raises `DeviceError`."""
        return decode((await self._send("GET", page, None)).body, page)

    async def tail(self, page: str) -> str:
        """The end of a page as text, whatever it holds: a log grows past what a reply may be.

        Raises `DeviceError`.
        """
        self._may_ask(page)
        reply = await self._bulk.tail(CGI + page, keep=LONGEST_LOG_BYTES, most=MOST_LOG_BYTES)
        self._judge(reply, "GET", page)
        return reply.body.decode("utf-8", "replace")

    async def post(self, page: str, body: Object | None) -> Object | None:
        """Send a command; the object in the reply, or None where a success has another body or none.

        After a 200 nothing here fails but for a body that says so. Raises `DeviceError`; `Busy` where the
        machine says that it did not take the change.
        """
        reply = await self._send("GET" if body is None else "POST", page, body)
        try:
            said = as_object(decode(reply.body, page))
        except MalformedReply:
            return None
        if said is not None and str(said.get("stats", "")).lower() in ("error", "fail", "failed"):
            raise Busy(f"{page}: not taken: {said.get('msg') or said.get('code')}")
        return said

    async def _send(self, method: str, page: str, body: Object | None) -> HttpReply:
        self._may_ask(page)
        reply = await self._http.request(method, CGI + page, body)
        self._judge(reply, method, page)
        return reply

    def _may_ask(self, page: str) -> None:
        """Raises `AuthFailed` while a refusal has to wait."""
        wait_s = self._refused_until_s - self._clock.monotonic() if self._refusals else 0.0
        if wait_s > 0:
            raise AuthFailed(
                f"{page}: {self._why} and is tried again in {wait_s:.0f} s", retry_after_s=wait_s
            )

    @property
    def _why(self) -> str:
        return "the password was refused" if self._key_given else "it needs a login, and none was given,"

    def _judge(self, reply: HttpReply, method: str, page: str) -> None:
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._refused(page, reply.status)
        self._refusals = 0
        _raise_for_status(reply, f"{method} {page}")

    def _refused(self, page: str, status: int) -> AuthFailed:
        wait_s = min(WRONG_PASSWORD_WAIT_S * 2**self._refusals, LONGEST_WAIT_S)
        self._refusals = min(self._refusals + 1, 16)
        self._refused_until_s = self._clock.monotonic() + wait_s
        return AuthFailed(f"{page}: HTTP {status}: {self._why.rstrip(',')}", retry_after_s=wait_s)

    async def close(self) -> None:
        """Let go of connections; never raises."""
        await self._http.close()
        await self._bulk.close()


def _raise_for_status(reply: HttpReply, where: str) -> None:
    if reply.status == HTTPStatus.OK:
        return
    words = f"{where}: HTTP {reply.status}"
    if reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        raise Unsupported(words)
    if reply.status in (
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ):
        raise Busy(words)
    raise MalformedReply(f"{words}: not a status that this firmware is known for")
