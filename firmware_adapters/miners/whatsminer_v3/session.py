"""Requests to one Whatsminer with API v3: open reads, signed writes, and what its refusals mean.

Source: miners.md §2. A refusal is judged by its words and then by its code, because the codes are known from
another client only: 0 accepted, -1 failed, -2 no such command, -3 not readable, -4 not permitted [U].
"""

import asyncio

import msgspec

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.fields import NOT_JSON, Object
from firmware_adapters.miners.patience import Patience
from firmware_adapters.miners.whatsminer.fields import Page, amount, number, page, text
from firmware_adapters.miners.whatsminer_v3.token import token
from firmware_adapters.transport.raw import RawTransport
from shared.clock import Clock
from shared.errors import AuthFailed, Busy, MalformedReply, Unreachable, Unsupported

ACCOUNT = "super"

_NO_COMMAND, _NOT_READABLE, _NOT_PERMITTED = -2, -3, -4
_DENIALS = ("permission", "token", "account", "passw", "denied", "auth")
_UNKNOWN = ("invalid command", "invalid cmd", "unknown c", "not support")


class Session:
    """Requests to one machine. `credential` None reads and controls nothing."""

    def __init__(self, raw: RawTransport, credential: Credential | None, clock: Clock) -> None:
        self._raw = raw
        self._credential = credential
        self._clock = clock
        self._lock = asyncio.Lock()
        self._patience = Patience(clock)
        self.accepted: bool | None = None
        """Whether the machine took a command that our password signed; None: not tried."""

    async def ask(self, command: str, parameter: str | None = None) -> Object:
        """The reply to an open command. Raises as `write` does."""
        request: Object = {"cmd": command}
        if parameter is not None:
            request["param"] = parameter
        return await self._exchange(request, command, parameter)

    async def write(self, command: str, parameter: object = None) -> None:
        """Give one signed command; returns when the machine accepted it.

        Raises `AuthFailed`, `Busy` (refused now), `Unsupported` (unknown command), and what any exchange
        raises.
        """
        async with self._lock:
            left_s = self._patience.left_s
            if left_s > 0:
                raise AuthFailed(
                    f"the password was refused; not tried for another {left_s:.0f} s", retry_after_s=left_s
                )
            await self._write(command, parameter)

    async def _write(self, command: str, parameter: object) -> None:
        if self._credential is None:
            raise AuthFailed("no credential: writes need the password of the account super")
        said = await self._salted()
        salt = _salt(said)
        # The machine's own time where it tells: it may hold a token of another time for a copied one.
        when = amount(said, "when")
        at_s = int(when) if when else int(self._clock.utc_ms() / 1000)
        request: Object = {
            "cmd": command,
            "ts": at_s,
            "token": token(command, self._credential.secret, salt, at_s),
            "account": self._credential.user or ACCOUNT,
        }
        if parameter is not None:
            request["param"] = parameter
        try:
            await self._exchange(request, command, None if parameter is None else str(parameter))
        except AuthFailed as error:
            self.accepted = False
            wait_s = self._patience.refused()
            raise AuthFailed(f"{error}; not tried again for {wait_s:.0f} s", retry_after_s=wait_s) from error
        self.accepted = True
        self._patience.accepted()

    async def _salted(self) -> Page | None:
        """The reply with the salt; a machine that hands it out only with all the rest is asked for all."""
        try:
            said = page(await self.ask("get.device.info", "salt"))
        except (Busy, Unsupported):
            said = None
        about = page(said.get("msg")) if said is not None else None
        if text(about, "salt") is not None:
            return said
        return page(await self.ask("get.device.info"))

    async def _exchange(self, request: Object, command: str, parameter: str | None) -> Object:
        raw = await self._raw.exchange(msgspec.json.encode(request), command, parameter)
        if not raw:
            raise Unreachable(f"{command}: closed without a reply")
        try:
            reply = msgspec.json.decode(raw.strip(b"\x00\r\n "))
        except NOT_JSON as error:
            raise MalformedReply(f"{command}: not JSON: {error}") from error
        if not isinstance(reply, dict):
            raise MalformedReply(f"{command}: the reply is not an object")
        _judge(page(reply) or {}, command)
        return reply


def _salt(said: Page | None) -> str:
    about = page(said.get("msg")) if said is not None else None
    salt = text(about, "salt")
    if salt is None:
        raise MalformedReply("get.device.info: no salt in the reply")
    return salt


def _judge(said: Page, command: str) -> None:
    """Raise what a refusal means; return for an acceptance. Raises `MalformedReply` for neither."""
    code = number(said, "code")
    if code is None:
        raise MalformedReply(f"{command}: neither accepted nor refused")
    if code == 0:
        return
    told = text(said, "msg") or ""
    words = f"{command}: {told or 'refused'} (code {code:g})"
    if code == _NOT_PERMITTED or any(word in told.lower() for word in _DENIALS):
        raise AuthFailed(
            f"{words}: wrong password of the account super, or its API is not enabled in the vendor's tool"
        )
    if code == _NO_COMMAND or any(word in told.lower() for word in _UNKNOWN):
        raise Unsupported(words)
    if code == _NOT_READABLE:
        raise MalformedReply(words)
    raise Busy(words)
