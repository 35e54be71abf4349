"""HTTP digest authentication (RFC 7616) around any `HttpTransport`: a 401 is answered here, once a request.

Above the transport and not inside the library's client, because then every transport serves, the in-memory
twin included, and the guard of `transport.read_only` sees which requests carry a proof of the password.

The last challenge is used again for the next request, so a healthy device costs one request per page. A
server that forgot it (its nonce is old, it restarted) asks again, which costs one more. A 401 to an answer
that was computed from its own fresh challenge is a refusal of the password and is handed to the caller.
"""

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec

from firmware_adapters.capabilities import Credential
from firmware_adapters.transport.http import HttpReply, HttpTransport, TailTransport
from shared.errors import ConfigError, MalformedReply

MAX_CHALLENGE = 4096
_PAIR = re.compile(r'([A-Za-z-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.DOTALL)
_PRINTABLE = re.compile(r"[ -~]*")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()  # the devices know nothing newer


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_HASHES: dict[str, Callable[[bytes], str]] = {"MD5": _md5, "SHA-256": _sha256}


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a server asks for. `algorithm` is its own spelling, `session` the `-sess` variant of it."""

    realm: str
    nonce: str
    opaque: str | None
    algorithm: str | None
    protects: bool
    """Quality of protection `auth`; False is the older scheme without a counter (RFC 2069)."""

    @property
    def session(self) -> bool:
        return (self.algorithm or "").lower().endswith("-sess")

    @property
    def hash(self) -> Callable[[bytes], str]:
        """The hash function by its name."""
        name = (self.algorithm or "MD5").upper().removesuffix("-SESS")
        return _HASHES[name]


def challenge(header: str) -> Challenge | None:
    """The digest challenge in a `WWW-Authenticate` header; None where another scheme is asked for.

    Raises `MalformedReply` for a digest challenge that cannot be answered.
    """
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    if len(header) > MAX_CHALLENGE or _PRINTABLE.fullmatch(header) is None:
        raise MalformedReply("digest: the challenge is too long, or not printable")
    told = {
        name.lower(): bare or re.sub(r"\\(.)", r"\1", quoted) for name, quoted, bare in _PAIR.findall(rest)
    }
    if not told.get("nonce") or "realm" not in told:
        raise MalformedReply("digest: a challenge without nonce or realm")
    offers = {word.strip().lower() for word in told.get("qop", "").split(",")} - {""}
    if offers and "auth" not in offers:
        raise MalformedReply(f"digest: only {', '.join(sorted(offers))} is offered, and we speak auth")
    asked = Challenge(
        realm=told["realm"],
        nonce=told["nonce"],
        opaque=told.get("opaque"),
        algorithm=told.get("algorithm"),
        protects=bool(offers),
    )
    try:
        _ = asked.hash
    except KeyError as error:
        raise MalformedReply(f"digest: unknown algorithm {asked.algorithm!r}") from error
    return asked


def authorization(
    asked: Challenge, user: str, secret: str, method: str, uri: str, *, count: int, cnonce: str
) -> str:
    """The `Authorization` header for one request; `count` is how often this nonce was used, from 1."""
    digest = asked.hash
    ha1 = digest(f"{user}:{asked.realm}:{secret}".encode())
    if asked.session:
        ha1 = digest(f"{ha1}:{asked.nonce}:{cnonce}".encode())
    ha2 = digest(f"{method}:{uri}".encode())
    nc = f"{count:08x}"
    middle = f"{nc}:{cnonce}:auth:" if asked.protects else ""
    response = digest(f"{ha1}:{asked.nonce}:{middle}{ha2}".encode())
    parts = [
        f"username={_quoted(user)}",
        f"realm={_quoted(asked.realm)}",
        f"nonce={_quoted(asked.nonce)}",
        f"uri={_quoted(uri)}",
        f'response="{response}"',
    ]
    if asked.algorithm is not None:
        parts.append(f"algorithm={asked.algorithm}")
    if asked.opaque is not None:
        parts.append(f"opaque={_quoted(asked.opaque)}")
    if asked.protects or asked.session:
        parts.append(f'cnonce="{cnonce}"')
    if asked.protects:
        parts += ["qop=auth", f"nc={nc}"]
    return "Digest " + ", ".join(parts)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class DigestTransport:
    """An `HttpTransport` that proves `credential` to the device behind `http`; None proves nothing.

    `credential.user` None stands for `default_user`. Raises `ConfigError` for a user that no header takes.
    """

    def __init__(self, http: HttpTransport, credential: Credential | None, *, default_user: str) -> None:
        self._http = http
        self._user = (credential.user if credential is not None else None) or default_user
        if _PRINTABLE.fullmatch(self._user) is None or ":" in self._user:
            raise ConfigError(f"user name {self._user!r}: a digest login takes plain characters and no colon")
        self._secret = credential.secret if credential is not None else None
        self._asked: Challenge | None = None
        self._count = 0

    async def request(
        self,
        method: str,
        path: str,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """See `HttpTransport.request`; a 401 that is returned means that the password was refused, or that
        the device asks for something else than a digest."""

        def send(proven: Mapping[str, str]) -> Awaitable[HttpReply]:
            return self._http.request(method, path, json, {**(headers or {}), **proven})

        return await self._answered(method, path, send)

    async def tail(
        self, path: str, headers: Mapping[str, str] | None = None, *, keep: int, most: int
    ) -> HttpReply:
        """See `TailTransport.tail`; behind a transport that has none, an ordinary request."""
        http = self._http
        if not isinstance(http, TailTransport):
            return await self.request("GET", path, headers=headers)

        def send(proven: Mapping[str, str]) -> Awaitable[HttpReply]:
            return http.tail(path, {**(headers or {}), **proven}, keep=keep, most=most)

        return await self._answered("GET", path, send)

    async def _answered(
        self, method: str, path: str, send: Callable[[Mapping[str, str]], Awaitable[HttpReply]]
    ) -> HttpReply:
        proven = self._proof(method, path)
        reply = await send(proven)
        if reply.status != HTTPStatus.UNAUTHORIZED:
            return reply
        asked = challenge(reply.headers.get("www-authenticate", ""))
        if asked is None or self._secret is None:
            return reply
        if self._asked is None or asked.nonce != self._asked.nonce:
            self._asked, self._count = asked, 0
        elif proven:
            return reply  # the very nonce that we just answered: no other answer will please it
        return await send(self._proof(method, path))

    def _proof(self, method: str, path: str) -> dict[str, str]:
        if self._asked is None or self._secret is None:
            return {}
        self._count += 1
        proof = authorization(
            self._asked,
            self._user,
            self._secret,
            method,
            path,
            count=self._count,
            cnonce=secrets.token_hex(8),
        )
        return {"Authorization": proof}

    async def close(self) -> None:
        """See `HttpTransport.close`; the challenge is kept."""
        await self._http.close()
