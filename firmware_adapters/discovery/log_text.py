"""A device's own log without secrets: who works for which pool and with which password is nobody else's.

Logs are prose, so what a recording knows of JSON and of assignments (`recording.redact`) is not enough: here
go as well `user: …` and `password is …`, the names in a stratum login, and whatever looks like a worker
behind the word or like the address of a wallet. The users that the machine's pools tell are taken out
wherever they stand. Hosts and ports of pools stay, as in recordings. A word too many may go; none too few.
"""

import re
from collections.abc import Iterable

from firmware_adapters.discovery.recording import REDACTED, redact
from shared.details import Pool

_HIDDEN = REDACTED.decode()
_SHORTEST = 4
"""A shorter user would tear holes into every number; its key still hides it."""
_NAMES = (
    r"(?:\w{1,24}[_ -])?(?:user(?:name|pass)?|worker(?:name)?|login|account|wallet|pass(?:wd|word|phrase)?"
    r"|pwd|pw|token|secret|api[_ -]?key|authorization|cookie|ssid|psk)"
)
_NAMED = re.compile(
    r"(\b" + _NAMES + r"\b[\"']?\s{0,8}(?:[:=]+>?|\bis\b)\s{0,8}(?:(?:bearer|basic|digest)\s{1,4})?)"
    r"(\"[^\"\n]*+\"?|'[^'\n]*+'?|[^\s,;|\"']++)",
    re.IGNORECASE,
)
_BARE_WORKER = re.compile(
    r"(\b(?:user(?:name)?|worker|login|account|wallet|as)\s{1,4})([\w@+-]{1,128}\.[\w.@+-]{1,128})",
    re.IGNORECASE,
)
_BARE_PASSWORD = re.compile(
    r"(\b(?:password|passwd|pwd|pass)\s{1,4})([\"'][^\"'\n]*+[\"']?|(?=\S{0,64}\d)(?!\d{1,4}\b)\S++)",
    re.IGNORECASE,
)
_STRATUM_LOGIN = re.compile(
    r"(mining\.(?:authorize|suggest_\w{1,24})[^\[\n]{0,40}\[)([^\]\n]*+)(\]?)", re.IGNORECASE
)
_STRATUM_SHARE = re.compile(r"(mining\.submit[^\[\n]{0,40}\[\s{0,4})(\"[^\"\n]*+\"?)", re.IGNORECASE)
_WALLET = re.compile(
    r"\b(?:(?:bc1|ltc1|tb1)[a-z0-9]{20,80}|[13LMD][1-9A-HJ-NP-Za-km-z]{25,34}|0x[0-9a-fA-F]{40})\b(?:\.[\w-]{1,64})?"
)
_QUERY = re.compile(r"(\b[a-z][a-z0-9+]{0,24}://[^\s\"'?#]{1,256})[?#][^\s\"']*+", re.IGNORECASE)


def pool_users(pools: Iterable[Pool]) -> frozenset[str]:
    """The users as their pools tell them, and the account in front of each worker's name."""
    users = {pool.user for pool in pools}
    return frozenset(users | {user.partition(".")[0] for user in users})


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with each secret replaced; `secrets` are those that are known, wherever they stand."""
    known = {one for one in secrets if len(one) >= _SHORTEST}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = redact(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    text = _STRATUM_LOGIN.sub(rf"\1{_HIDDEN}\3", text)
    text = _STRATUM_SHARE.sub(rf'\1"{_HIDDEN}"', text)
    text = _NAMED.sub(rf"\1{_HIDDEN}", text)
    text = _BARE_WORKER.sub(rf"\1{_HIDDEN}", text)
    text = _BARE_PASSWORD.sub(rf"\1{_HIDDEN}", text)
    text = _WALLET.sub(_HIDDEN, text)
    return _QUERY.sub(rf"\1?{_HIDDEN}", text)
