"""The machine's side of the encrypted API v2: its salts, its tokens, what it can decrypt.

Written from the description of md5-crypt and apart from the adapter's, round by round, so that a slip in one
of the two shows as a refusal between them.
"""

import base64
import binascii
import hashlib

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from shared.clock import Clock

TOKEN_LIFE_S = 30 * 60.0
_ITOA64 = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def unix_md5_crypt(word: bytes, salt: bytes) -> bytes:
    """The last field of `$1$salt$...`."""
    alternate = hashlib.md5(word + salt + word, usedforsecurity=False).digest()
    context = hashlib.md5(word + b"$1$" + salt, usedforsecurity=False)
    for left in range(len(word), 0, -16):
        context.update(alternate[: min(left, 16)])
    for bit in range(len(word).bit_length()):
        context.update(b"\0" if len(word) >> bit & 1 else word[:1])
    final = context.digest()
    for turn in range(1000):
        context = hashlib.md5(usedforsecurity=False)
        context.update(word if turn % 2 else final)
        if turn % 3:
            context.update(salt)
        if turn % 7:
            context.update(word)
        context.update(final if turn % 2 else word)
        final = context.digest()
    printed = bytearray()
    for group in (final[0:13:6], final[1:14:6], final[2:15:6], final[3:16:6], final[4:11:6] + final[5:6]):
        printed += _to64(int.from_bytes(group, "big"), 4)
    return bytes(printed + _to64(final[11], 2))


def _to64(value: int, length: int) -> bytes:
    letters = bytearray()
    for _ in range(length):
        letters.append(_ITOA64[value % 64])
        value //= 64
    return bytes(letters)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One token that the machine handed out."""

    sign: str
    until_s: float


class Vault:
    """The machine's password, its salts, and the tokens in force."""

    def __init__(self, password: str, clock: Clock, *, most: int = 32, salt: str = "BQ5hoXV9") -> None:
        self._clock = clock
        self._most = most
        self._salt = salt
        self._given = 0
        self.tokens: list[Token] = []
        self.change(password)

    def change(self, password: str) -> None:
        """A new password; what was signed with the old one is void."""
        self._host = unix_md5_crypt(password.encode(), self._salt.encode())
        key = hashlib.sha256(self._host).digest()
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - the vendor's choice
        self.tokens = []

    def hand_out(self) -> dict[str, str] | None:
        """Salts and time for a new token; None where too many are in force."""
        now_s = self._clock.monotonic()
        self.tokens = [token for token in self.tokens if token.until_s > now_s]
        if len(self.tokens) >= self._most:
            return None
        self._given += 1
        new_salt = _to64(0x5EED0000 + self._given, 8).decode()
        time = str(int(self._clock.utc_ms() / 1000))[-4:]
        sign = unix_md5_crypt(self._host + time.encode(), new_salt.encode()).decode()
        self.tokens.append(Token(sign=sign, until_s=now_s + TOKEN_LIFE_S))
        return {"time": time, "salt": self._salt, "newsalt": new_salt}

    def knows(self, sign: object) -> bool:
        """Whether a command signed so is one of ours."""
        now_s = self._clock.monotonic()
        return any(token.sign == sign and token.until_s > now_s for token in self.tokens)

    def open(self, data: object) -> dict[str, object] | None:
        """The command in an encrypted request; None where our key does not open it."""
        try:
            sealed = base64.b64decode(str(data), validate=True)
            decryptor = self._cipher.decryptor()
            found = msgspec.json.decode((decryptor.update(sealed) + decryptor.finalize()).strip(b"\0"))
        except (binascii.Error, ValueError, msgspec.DecodeError):
            return None
        return found if isinstance(found, dict) else None

    def close(self, reply: bytes) -> bytes:
        """The encrypted reply."""
        encryptor = self._cipher.encryptor()
        padded = reply + b"\0" * (16 - len(reply) % 16)
        return base64.b64encode(encryptor.update(padded) + encryptor.finalize())
