"""A conversation with a device as a folder of files that can be dropped in beside other recordings.

`<folder>/<kind of machine>/<firmware>/<question>.json` holds each reply as it came on the wire, with every
secret taken out: what was used to log in, whatever a key names as a secret, and the users of pools. Folders
and files are named as those of the recordings that we test against, which is what lets a test find them.
What is no JSON is a `.raw` file, and what came with an HTTP error has that in its name (`stats.401.raw`), so
that neither is taken for a page. Modbus frames (`.raw`) are binary and hold no secret: they stay as they
came, because a byte changed by chance would make another frame of them. SNMP and BACnet are there as they
were decoded (`transport.tape`). `PROVENANCE.toml` says where it comes from. The reply is never parsed and
written anew, because what is odd about it is the point; only the NUL that ends a reply on port 4028 is left
out of a `.json` file.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

import msgspec

from firmware_adapters.registry import PROTOCOL_OF
from firmware_adapters.transport.tape import file_name
from shared.errors import ConfigError
from shared.exchanges import Exchange

FOLDERS = MappingProxyType({"antminer": "antminer-stock", "axeos": "bitaxe"})
"""Adapters whose machines' recordings stand under another name; the others' under their own."""
_NAMES = MappingProxyType({("avalon", "estats"): "stats"})
"""The question that an adapter prefers, and what recordings call the reply of either."""
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
    adapter = provenance.adapter
    kind = FOLDERS.get(adapter, adapter)
    place = _free(folder / kind / (file_name(provenance.firmware) or "unknown-version"))
    try:
        place.mkdir(parents=True)
        for name, exchange in _files(adapter, exchanges).items():
            if is_frames(adapter):
                (place / name).write_bytes(exchange.reply)
                continue
            told = redact(exchange.reply, hidden)
            (place / name).write_bytes(told.rstrip(b"\x00") if name.endswith(".json") else told)
        text = redact(_provenance(provenance, exchanges).encode(), hidden)
        (place / "PROVENANCE.toml").write_bytes(text)
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written: {error.strerror}") from error
    return place


def adapter_of(kind: str) -> str:
    """The adapter whose machines' recordings stand in the folder `kind`."""
    return next((adapter for adapter, folder in FOLDERS.items() if folder == kind), kind)


def _files(adapter: str, exchanges: Sequence[Exchange]) -> dict[str, Exchange]:
    """What is written, by file name. A page that a command has the name of is `web_stats.json`."""
    said = sorted((one for one in exchanges if one.reply), key=lambda one: bool(one.failure))
    commands = {_name(adapter, one) for one in said if one.status is None}
    kept: dict[str, Exchange] = {}
    for one in said:
        name = _name(adapter, one)
        if one.status is not None and name in commands:
            name = f"web_{name}"
        if one.status is not None and one.status >= HTTPStatus.BAD_REQUEST:
            kept[f"{name}.{one.status}.raw"] = one
        elif is_frames(adapter) or not _is_json(one.reply):
            kept.pop(f"{name}.json", None)
            kept[f"{name}.raw"] = one
        else:
            kept.pop(f"{name}.raw", None)
            kept[f"{name}.json"] = one
    return kept


def _name(adapter: str, one: Exchange) -> str:
    return _NAMES.get((adapter, one.name), one.name)


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
