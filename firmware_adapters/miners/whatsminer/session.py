"""Encrypted writes to one Whatsminer v2: one token at a time, and what its refusals mean.

Source: miners.md §2. A token is good for half an hour and a machine hands out few (`over max connect`), so
one is kept and shared, under a lock. Codes of the replies: 14 unknown command, 23 cannot be decrypted,
45 write API not enabled, 132 refused now, 135 token not accepted, 136 no token left.
"""

import asyncio

import msgspec

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.patience import Patience
from firmware_adapters.miners.whatsminer import cipher
from firmware_adapters.miners.whatsminer.cipher import Keys
from firmware_adapters.miners.whatsminer.fields import Page, amount, page, text
from firmware_adapters.transport.line_json import decode
from firmware_adapters.transport.raw import RawTransport
from shared.clock import Clock
from shared.errors import AuthFailed, Busy, DeviceError, MalformedReply, Unreachable, Unsupported

TOKEN_LIFE_S = 25 * 60.0
"""A token lives for 30 min; ours is not carried to its last minute."""

_UNKNOWN, _UNREADABLE, _DENIED, _BAD_TOKEN, _NO_TOKEN = 14, 23, 45, 135, 136
_WRONG = "it cannot decrypt what our password encrypts"
_NOT_ENABLED = (
    "the write API is not enabled: switch it on with the vendor's tool, which also wants the default "
    "password changed"
)


class Session:
    """Writes to one machine. `credential` None controls nothing."""

    def __init__(self, line: RawTransport, credential: Credential | None, clock: Clock) -> None:
        self._line = line
        self._credential = credential
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: Keys | None = None
        self._until_s = 0.0
        self._patience = Patience(clock)
        self.accepted: bool | None = None
        """Whether the machine took a command that our password signed; None: not tried."""

    async def write(self, command: str, **parameters: str) -> None:
        """Give one command; returns when the machine accepted it.

        Raises `AuthFailed` (password, or write API off), `Busy` (refused now, or no token left),
        `Unsupported` (unknown command), and what any exchange raises.
        """
        async with self._lock:
            self._check_open()
            try:
                await self._write(command, parameters)
            except _TokenGone:
                # It was not executed, so asking once more with a new token cannot do it twice.
                self._keys = None
                try:
                    await self._write(command, parameters)
                except _TokenGone as error:
                    # It decrypted the command, so the password is right; somebody else uses up the tokens.
                    self._keys = None
                    raise Busy(str(error)) from error

    async def _write(self, command: str, parameters: dict[str, str]) -> None:
        keys = await self._token()
        sealed = cipher.seal(keys, {"cmd": command, **parameters})
        raw = await self._line.exchange(sealed, command, _shown(parameters))
        if not raw.strip(b"\x00"):
            raise Unreachable(f"{command}: closed without a reply")
        hidden = cipher.sealed_part(raw)
        said = _object(raw if hidden is None else cipher.unseal(keys, hidden), command)
        self._judge(said, command)
        self.accepted = True
        self._patience.accepted()

    async def _token(self) -> Keys:
        """Keys that are still good, or new ones."""
        if self._keys is not None and self._clock.monotonic() < self._until_s:
            return self._keys
        if self._credential is None:
            raise AuthFailed("no credential: writes need the password of the account admin")
        asked_s = self._clock.monotonic()
        raw = await self._line.exchange(msgspec.json.encode({"cmd": "get_token"}), "get_token")
        if not raw.strip(b"\x00"):
            raise Unreachable("get_token: closed without a reply")
        reply = _object(raw, "get_token")
        told = reply.get("msg")
        if isinstance(told, str) and "over max" in told.lower():
            raise self._no_token(told)
        self._judge(reply, "get_token")
        self._keys = _keys(page(told), self._credential.secret)
        self._until_s = asked_s + TOKEN_LIFE_S
        return self._keys

    def _judge(self, said: Page, command: str) -> None:
        """Raise what a refusal means; return for an acceptance. Raises `MalformedReply` for neither."""
        code = amount(said, "code")
        word = text(said, "status")
        told = said.get("msg")
        words = f"{command}: {told}" if isinstance(told, str) else f"{command}: code {code}"
        if word == "S":
            return
        if word not in ("E", "F"):
            raise MalformedReply(f"{command}: neither accepted nor refused")
        if code == _NO_TOKEN:
            raise self._no_token(words)
        if code == _BAD_TOKEN:
            raise _TokenGone(words)
        if code == _UNREADABLE:
            self._keys = None
            raise self._refused()
        if code == _DENIED:
            raise AuthFailed(f"{words}: {_NOT_ENABLED}")
        if code == _UNKNOWN:
            raise Unsupported(words)
        raise Busy(words)

    def _check_open(self) -> None:
        left_s = self._patience.left_s
        if left_s > 0:
            raise AuthFailed(f"{_WRONG}; not tried for another {left_s:.0f} s", retry_after_s=left_s)

    def _refused(self) -> AuthFailed:
        """A wrong password is not tried again and again."""
        self.accepted = False
        wait_s = self._patience.refused()
        return AuthFailed(f"{_WRONG}; not tried again for {wait_s:.0f} s", retry_after_s=wait_s)

    def _no_token(self, words: str) -> Busy:
        """Tokens free themselves as they age. Not waited for here: a stop must be told to fail at once."""
        self._keys = None
        return Busy(f"{words}: the machine has no token left, others hold them")


class _TokenGone(DeviceError):
    """The machine does not accept the token (any more); never leaves this module."""


def _object(raw: bytes, command: str) -> Page:
    found = page(decode(raw))
    if found is None:
        raise MalformedReply(f"{command}: the reply is not an object")
    # A refusal may also stand in the list that the open commands use.
    listed = found.get("status")
    return page(listed[0]) or {} if isinstance(listed, list) and listed else found


def _keys(told: Page | None, password: str) -> Keys:
    salt, new_salt = text(told, "salt"), text(told, "newsalt")
    time = told.get("time") if told is not None else None
    if salt is None or new_salt is None or not isinstance(time, int | str):
        raise MalformedReply("get_token: salts and time are not all there")
    return cipher.keys_of(password, salt=salt, new_salt=new_salt, time=str(time).strip())


def _shown(parameters: dict[str, str]) -> str | None:
    return ",".join(f"{name}={value}" for name, value in parameters.items()) or None
