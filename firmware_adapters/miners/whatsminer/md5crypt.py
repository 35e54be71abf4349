"""md5-crypt, the `$1$` password hash of FreeBSD and glibc: what a Whatsminer makes its keys of.

Broken as a password hash and used only because the machine asks for it. Why it is ours and not a library's:
decision 0016. A thousand rounds depend on the round's number only by its remainders of 2, 3 and 7, so they
are 42 kinds of round; what each puts before and after the last digest is joined once.
"""

from hashlib import md5

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 1000
_CYCLE = 42
_SALT_LENGTH = 8
_ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
"""Which bytes of the digest are printed together, most significant first; byte 11 comes last, alone."""


def md5crypt(password: bytes, salt: bytes) -> str:
    """The 22 characters after `$1$salt$`; of the salt eight bytes count, as in crypt(3)."""
    salt = salt[:_SALT_LENGTH]
    return _printed(_rounds(_first(password, salt), password, salt))


def _first(password: bytes, salt: bytes) -> bytes:
    inner = _digest(password + salt + password)
    length = len(password)
    mixed = password + b"$1$" + salt + (inner * (length // len(inner) + 1))[:length]
    # The bits of the length choose between a NUL and the first letter: a slip of the original, kept by all.
    while length:
        mixed += b"\x00" if length & 1 else password[:1]
        length >>= 1
    return _digest(mixed)


def _rounds(digest: bytes, password: bytes, salt: bytes) -> bytes:
    around = []
    for number in range(_CYCLE):
        middle = (salt if number % 3 else b"") + (password if number % 7 else b"")
        around.append((password + middle, b"") if number % 2 else (b"", middle + password))
    for number in range(_ROUNDS):
        before, after = around[number % _CYCLE]
        digest = md5(before + digest + after, usedforsecurity=False).digest()
    return digest


def _digest(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).digest()


def _printed(digest: bytes) -> str:
    words = [_base64(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER]
    return "".join(words) + _base64(digest[11], 2)


def _base64(number: int, length: int) -> str:
    """The lowest six bits first, in an alphabet of its own."""
    return "".join(_ALPHABET[number >> 6 * place & 63] for place in range(length))
