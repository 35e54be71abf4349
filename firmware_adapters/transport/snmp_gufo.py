"""The gufo backend of `transport.snmp`: the fast reader; the other backend does the rest."""

import asyncio
from collections.abc import Sequence
from functools import partial

from gufo.snmp import (
    Aes128Key,
    Aes192Key,
    Aes256Key,
    BaseAuthKey,
    BasePrivKey,
    KeyExpansion,
    Sha1Key,
    Sha224Key,
    Sha256Key,
    Sha384Key,
    Sha512Key,
    SnmpAuthError,
    SnmpError,
    SnmpVersion,
    User,
    ValueType,
)
from gufo.snmp.aio import SnmpSession

from firmware_adapters.transport.snmp import (
    OidLimit,
    SnmpLink,
    SnmpValue,
    TooBig,
    get_in_parts,
    got,
    open_link,
)
from firmware_adapters.transport.snmp_user import Access, Authentication, Privacy, UsmUser
from firmware_adapters.transport.tape import noted
from shared.clock import Clock, SystemClock
from shared.errors import AuthFailed, DeviceError, DeviceTimeout, MalformedReply, Unreachable
from shared.exchanges import Exchange

PANIC = "pyo3_runtime"
"""Where exceptions come from that mean that Rust code gave up."""
REFRESH_AFTER_S = 60.0
"""v3: silent for this long, ask for the agent's clock anew; it refuses what is 150 s off (RFC 3414)."""

_AUTHENTICATION: dict[Authentication, type[BaseAuthKey]] = {
    Authentication.SHA: Sha1Key,
    Authentication.SHA224: Sha224Key,
    Authentication.SHA256: Sha256Key,
    Authentication.SHA384: Sha384Key,
    Authentication.SHA512: Sha512Key,
}
_PRIVACY: dict[Privacy, type[BasePrivKey]] = {
    Privacy.AES: Aes128Key,
    Privacy.AES192: Aes192Key,
    Privacy.AES256: Aes256Key,
    Privacy.AES192_CISCO: Aes192Key,
    Privacy.AES256_CISCO: Aes256Key,
}


class GufoSnmp:
    """SNMP through gufo-snmp. One request at a time per agent."""

    def __init__(
        self, host: str, port: int, access: Access, *, max_oids: int, clock: Clock | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._access = access
        self._clock = clock or SystemClock()
        self._limit = OidLimit(max_oids)
        self._session: SnmpSession | None = None
        self._heard_s = 0.0
        self._exact: SnmpLink | None = None
        self._lock = asyncio.Lock()
        self.requests = 0

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        async with self._lock:
            return await get_in_parts(lambda part: self._ask(part, timeout_s), oids, self._limit.now)

    async def _ask(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        found = await noted(self._asked(part, timeout_s), partial(_told, part))
        if found:
            return found
        # gufo shows an error status and "none of them exists" alike: the other backend tells them apart.
        try:
            return await self._exactly().get(part, timeout_s=timeout_s)
        except TooBig:
            self._limit.refused(len(part))
            raise

    async def _asked(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        name = f"{self._host}:{self._port}"
        self.requests += 1
        done = False
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._request(part, timeout_s)
            done = True
            self._heard_s = self._clock.monotonic()
        except TooBig:
            self._limit.refused(len(part))
            raise
        except TimeoutError as error:
            self._limit.forget()
            raise DeviceTimeout(f"{name}: no SNMP answer within {timeout_s:g} s") from error
        except SnmpAuthError as error:
            raise AuthFailed(f"{name}: the SNMP user or its secrets were refused") from error
        except SnmpError as error:
            raise _failure(name, part, error) from error
        except (OSError, ValueError) as error:
            raise Unreachable(f"{name}: {error}") from error
        finally:
            if not done:
                # A late answer must never meet the next request: the next one uses a new socket.
                self._session = None
        return found

    async def _request(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        kept = self._session
        try:
            return await self._once(part, timeout_s)
        except SnmpAuthError:
            # An agent that restarted, or whose clock was set, says "not in the time window", which gufo shows
            # like a wrong secret. One that answered before is asked for its clock and then once more.
            if kept is None or isinstance(self._access, str):
                raise
            self._session = None
            return await self._once(part, timeout_s)

    async def _once(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        try:
            session = await self._opened(timeout_s)
            # Not `get` for a single object: that one takes whichever object the answer shows.
            return _checked(await session.get_many(part))
        except BaseException as error:
            # gufo panics over some broken replies, with an exception that has no other base and cannot be
            # imported. Rust found an index out of bounds and unwound; the caller drops the session.
            if type(error).__module__ != PANIC:
                raise
            raise MalformedReply(f"the reply does not decode: {error}") from error

    async def _opened(self, timeout_s: float) -> SnmpSession:
        idle_s = self._clock.monotonic() - self._heard_s
        if self._session is not None and (idle_s < REFRESH_AFTER_S or isinstance(self._access, str)):
            return self._session
        if isinstance(self._access, str):
            session = SnmpSession(
                self._host,
                self._port,
                community=self._access,
                version=SnmpVersion.v2c,
                timeout=timeout_s,
            )
        else:
            session = SnmpSession(
                self._host, self._port, user=_user_of(self._access), version=SnmpVersion.v3, timeout=timeout_s
            )
            await session.refresh()
        self._session = session
        return session

    async def walk(self, oid: str, *, timeout_s: float, max_rows: int) -> dict[str, SnmpValue]:
        """See `SnmpLink`. To gufo an error of the agent is the end of the table: the other backend walks."""
        return await self._exactly().walk(oid, timeout_s=timeout_s, max_rows=max_rows)

    async def set_integer(self, oid: str, value: int, *, timeout_s: float) -> None:
        """See `SnmpLink`. gufo-snmp cannot SET, so the other backend does."""
        await self._exactly().set_integer(oid, value, timeout_s=timeout_s)

    def _exactly(self) -> SnmpLink:
        if self._exact is None:
            self._exact = open_link(
                self._host, self._port, self._access, max_oids=self._limit.now, backend="pysnmp"
            )
        return self._exact

    async def close(self) -> None:
        """See `SnmpLink`."""
        self._session = None
        exact, self._exact = self._exact, None
        if exact is not None:
            await exact.close()


def _told(part: Sequence[str], outcome: dict[str, SnmpValue] | DeviceError) -> Exchange | None:
    """For a tape. An empty answer may be an error: what the other backend is told of it is kept, not this."""
    return None if outcome == {} else got(part, outcome)


def _user_of(user: UsmUser) -> User:
    private = None if user.privacy is None else _PRIVACY[user.privacy](user.privacy_secret.encode())
    cisco = user.privacy in (Privacy.AES192_CISCO, Privacy.AES256_CISCO)
    return User(
        user.name,
        auth_key=_AUTHENTICATION[user.authentication](user.authentication_secret.encode()),
        priv_key=private,
        key_expansion=KeyExpansion.Cisco if cisco else KeyExpansion.Blumenthal,
    )


def _checked(found: dict[str, ValueType]) -> dict[str, SnmpValue]:
    """Refuse NULL values, which only an error reply carries."""
    values = {oid: value for oid, value in found.items() if value is not None}
    if len(values) != len(found):
        raise (
            TooBig("NULL in the answer: the agent reported an error")
            if len(found) > 1
            else MalformedReply("NULL instead of a value: the agent reported an error")
        )
    return values


def _failure(name: str, part: Sequence[str], error: SnmpError) -> DeviceError:
    if len(part) > 1:
        # The receive buffer may have been too small, or one object may have spoilt the reply.
        return TooBig(f"{name}: {error}")
    return MalformedReply(f"{name}: {part[0]}: {error}")


def open_backend(host: str, port: int, access: Access, *, max_oids: int) -> GufoSnmp:
    """The gufo backend; see `BACKENDS`."""
    return GufoSnmp(host, port, access, max_oids=max_oids)
