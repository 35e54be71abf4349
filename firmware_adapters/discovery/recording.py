"""A conversation with a device as a folder of files that can be dropped in beside other recordings.

`<folder>/<adapter>/<firmware>/<question>.json` holds each reply as it came on the wire, with every secret
taken out: what was used to log in, whatever a key names as a secret, and the users of pools. Modbus frames
(`.raw`) are binary and hold no secret: they stay as they came, because a byte changed by chance would make
another frame of them. SNMP and BACnet are there as they were decoded (`transport.tape`).
`PROVENANCE.toml` says where it comes from. The reply is never parsed and written anew, because what is odd
about it is the point.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from firmware_adapters.registry import PROTOCOL_OF
from firmware_adapters.transport.tape import file_name
from shared.errors import ConfigError
from shared.exchanges import Exchange

REDACTED = b"redacted"
_SECRET_KEYS = (
    rb"token|access_token|pw|pass|passwd|password|pwd|secret|sessionid|session_id|apikey|api_key|key|salt|newsalt"
    rb"|ssid|wifipass\w{0,12}|\w{0,24}stratumuser\w{0,12}|user|username|user\d|worker|workername"
    rb"|authorization|cookie"
)
# With what firmwares put in front: `_ant_pool1pw`, `pool_user`, `stratumPassword`, `worker_name`.
_LONGER_KEYS = (
    rb"(?:\w{1,24}[_\d])(?:user|user\d|username|pass|passwd|password|pwd|pw|secret|token|key|worker|workername)"
    rb"|\w{1,24}(?:passwd|password|secret|token)|pool\w{0,12}(?:user|pass|pw)|worker_name|user_name"
)
_NUMBERS_TOO = rb"(?:\w{0,24}[_\d])?(?:password|passwd|pwd|pw|user|username)|\w{1,24}(?:password|passwd)"
# Every repetition is bounded or possessive: a reply is somebody else's, and the guardian redacts on its loop.
_BY_KEY = re.compile(
    rb'("(?:' + _SECRET_KEYS + rb"|" + _LONGER_KEYS + rb')"\s{0,16}:\s{0,16}")(?:[^"\\]|\\.)*+(?="|\\?\Z)',
    re.IGNORECASE | re.DOTALL,
)
_NUMBER_BY_KEY = re.compile(
    rb'("(?:' + _NUMBERS_TOO + rb')"\s{0,16}:\s{0,16})-?\d[\d.eE+-]{0,60}', re.IGNORECASE
)
_BY_ASSIGNMENT = re.compile(
    rb"\b((?:" + _SECRET_KEYS + rb")\s{0,16}=\s{0,16})([^\s,;|&\"}]++)", re.IGNORECASE
)
_OBJECT = re.compile(rb'("(?:password|credentials?)"\s{0,16}:\s{0,16})\{[^{}]*+\}', re.IGNORECASE)
_IN_URL = re.compile(rb"(\b[a-z][a-z0-9]{0,15}(?:\+[a-z0-9]{1,15})?://)([^/\s\"@]{1,256})@", re.IGNORECASE)
_SHORTEST_SECRET = 4
"""A shorter secret would tear holes into every number; its key still hides it."""


def redact(raw: bytes, secrets: Iterable[str] = ()) -> bytes:
    """The reply without secrets; everything else stays byte for byte."""
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=len, reverse=True):
        raw = raw.replace(secret.encode(), REDACTED)
    raw = _OBJECT.sub(rb"\1{}", raw)
    raw = _BY_KEY.sub(rb"\1" + REDACTED, raw)
    raw = _NUMBER_BY_KEY.sub(rb'\1"' + REDACTED + rb'"', raw)
    raw = _BY_ASSIGNMENT.sub(rb"\1" + REDACTED, raw)
    return _IN_URL.sub(rb"\1" + REDACTED + rb"@", raw)


def is_frames(adapter: str) -> bool:
    """Whether the replies of such devices are binary frames, without a secret in them."""
    return PROTOCOL_OF.get(adapter) == "modbus"


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recording comes from."""

    adapter: str
    model: str
    firmware: str
    at: str
    """UTC, ISO 8601."""
    failures: tuple[str, ...] = ()
    """Why the conversation is kept, where something failed."""


def write(
    folder: Path, exchanges: Sequence[Exchange], provenance: Provenance, *, secrets: Iterable[str] = ()
) -> Path:
    """Write a recording below `folder` and return its own folder. Raises `ConfigError` where it cannot.

    Of several replies to one question the last is kept, or the last that was refused. Nothing that stands
    there already is written over.
    """
    hidden = tuple(secrets)
    place = _free(folder / provenance.adapter / (file_name(provenance.firmware) or "unknown-version"))
    try:
        place.mkdir(parents=True)
        said = sorted((one for one in exchanges if one.reply), key=lambda one: bool(one.failure))
        for exchange in {one.name: one for one in said}.values():
            if is_frames(provenance.adapter):
                (place / f"{exchange.name}.raw").write_bytes(exchange.reply)
                continue
            name = f"{exchange.name}{'.json' if _is_json(exchange.reply) else '.raw'}"
            (place / name).write_bytes(redact(exchange.reply, hidden))
        text = redact(_provenance(provenance, exchanges).encode(), hidden)
        (place / "PROVENANCE.toml").write_bytes(text)
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written: {error.strerror}") from error
    return place


def _free(place: Path) -> Path:
    tried = place
    number = 2
    while tried.exists():
        tried = place.with_name(f"{place.name}-{number}")
        number += 1
    return tried


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw.replace(b"\x00", b"").strip())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _provenance(told: Provenance, exchanges: Sequence[Exchange]) -> str:
    lines = [
        "# Made by `minewarden`; secrets and pool users are redacted, addresses are not.",
        *(f"{name} = {_text(getattr(told, name))}" for name in ("adapter", "model", "firmware", "at")),
        f"failures = [{', '.join(_text(failure) for failure in told.failures)}]",
    ]
    for one in exchanges:
        lines += ["", "[[exchange]]", f"question = {_text(one.question)}", f"name = {_text(one.name)}"]
        if one.status is not None:
            lines.append(f"status = {one.status}")
        if one.failure:
            lines.append(f"failure = {_text(one.failure)}")
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    return text


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's, except for DEL, which nobody needs."""
    printable = "".join(char if char.isprintable() else " " for char in value)
    return msgspec.json.encode(printable).decode()
