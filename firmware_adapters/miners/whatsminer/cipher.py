"""How a Whatsminer v2 wants its writes: keys from the password, AES-256-ECB, base64. Pure.

Source: miners.md §2. `get_token` gives two salts and a time. The password with the first salt (md5-crypt)
is the host's key; its SHA-256 encrypts, and the key with the time, hashed with the second salt, signs as
`token`.
The scheme hides nothing from who knows the password, and ECB shows equal blocks; it is the vendor's.
"""

import base64
import binascii
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from firmware_adapters.miners.fields import NOT_JSON
from firmware_adapters.miners.whatsminer.md5crypt import md5crypt
from shared.errors import MalformedReply

_BLOCK = 16


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """What one token allows: the key of the cipher, and the word that signs each command."""

    aes: bytes
    sign: str

    def __repr__(self) -> str:
        return "Keys(*****)"


def keys_of(password: str, *, salt: str, new_salt: str, time: str) -> Keys:
    """The keys for one reply of `get_token`."""
    host = md5crypt(password.encode(), salt.encode())
    return Keys(aes=sha256(host.encode()).digest(), sign=md5crypt((host + time).encode(), new_salt.encode()))


def seal(keys: Keys, command: dict[str, str]) -> bytes:
    """The request that carries `command`, signed and encrypted."""
    plain = msgspec.json.encode({**command, "token": keys.sign})
    encryptor = Cipher(algorithms.AES(keys.aes), modes.ECB()).encryptor()  # noqa: S305 - the vendor's choice
    sealed = encryptor.update(plain + b"\x00" * (-len(plain) % _BLOCK)) + encryptor.finalize()
    return msgspec.json.encode({"enc": 1, "data": base64.b64encode(sealed).decode()})


def unseal(keys: Keys, data: str) -> bytes:
    """The text in an encrypted reply, its padding cut off. Raises `MalformedReply`."""
    try:
        sealed = base64.b64decode(data.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedReply(f"the encrypted reply is not base64: {error}") from error
    if not sealed or len(sealed) % _BLOCK:
        raise MalformedReply(f"the encrypted reply has {len(sealed)} bytes, not whole blocks")
    decryptor = Cipher(algorithms.AES(keys.aes), modes.ECB()).decryptor()  # noqa: S305 - the vendor's choice
    return (decryptor.update(sealed) + decryptor.finalize()).rstrip(b"\x00")


def sealed_part(raw: bytes) -> str | None:
    """The encrypted text in a reply; None for a reply that is not encrypted."""
    try:
        said = msgspec.json.decode(raw.rstrip(b"\x00\r\n "))
    except NOT_JSON:
        return None
    if not isinstance(said, dict):
        return None
    found = said.get("data") if said.get("enc") in (1, "1", True) else said.get("enc")
    return found if isinstance(found, str) else None
