"""Who asks an SNMP agent: a community (v2c, in the clear), or a user with secrets (v3, USM).

A v3 credential is entered as `guardian credential set NAME --user USER` with a secret of two or four words:
`sha256 AUTHENTICATION-PASSPHRASE` or `sha256 AUTHENTICATION-PASSPHRASE aes PRIVACY-PASSPHRASE`; a passphrase
with blanks stands in quotes. Without a user the secret is the v2c community. MD5 and DES are not offered:
every agent that has v3 has SHA and AES (RFC 3414, RFC 3826, RFC 7860).
"""

import shlex
from enum import StrEnum

import msgspec

from shared.errors import ConfigError

SHORTEST = 8
"""Characters of a passphrase (RFC 3414 §11.2); agents refuse shorter ones."""


class Authentication(StrEnum):
    """HMAC that signs each message."""

    SHA = "sha"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class Privacy(StrEnum):
    """Cipher that hides each message. Long AES keys are made in two ways, Blumenthal's and Cisco's."""

    AES = "aes"
    AES192 = "aes192"
    AES256 = "aes256"
    AES192_CISCO = "aes192c"
    AES256_CISCO = "aes256c"


class UsmUser(msgspec.Struct, frozen=True, kw_only=True):
    """A v3 user: authenticated, and private where `privacy` is set."""

    name: str
    authentication: Authentication
    authentication_secret: str
    privacy: Privacy | None = None
    privacy_secret: str = ""

    def __repr__(self) -> str:
        return f"UsmUser(name={self.name!r}, {self.authentication}, {self.privacy or 'not private'})"


Access = str | UsmUser
"""A v2c community, or a v3 user."""


def access_of(user: str | None, secret: str) -> Access:
    """What a stored credential means. Raises `ConfigError`; its text never shows a secret."""
    if user is None:
        return secret
    try:
        words = shlex.split(secret)
    except ValueError as error:
        raise ConfigError(f"SNMP user {user!r}: a quote is not closed in the secret") from error
    if len(words) not in (2, 4):
        raise ConfigError(
            f"SNMP user {user!r}: expected a secret of two or four words, such as 'sha256 PASSPHRASE aes "
            f"PASSPHRASE'; it has {len(words)}"
        )
    kinds = [*Authentication]
    if words[0].lower() not in kinds:
        raise ConfigError(f"SNMP user {user!r}: the first word must be one of {', '.join(kinds)}")
    ciphers = [*Privacy]
    if len(words) == 4 and words[2].lower() not in ciphers:
        raise ConfigError(f"SNMP user {user!r}: the third word must be one of {', '.join(ciphers)}")
    if any(len(word) < SHORTEST for word in words[1::2]):
        raise ConfigError(f"SNMP user {user!r}: a passphrase needs at least {SHORTEST} characters")
    return UsmUser(
        name=user,
        authentication=Authentication(words[0].lower()),
        authentication_secret=words[1],
        privacy=Privacy(words[2].lower()) if len(words) == 4 else None,
        privacy_secret=words[3] if len(words) == 4 else "",
    )
