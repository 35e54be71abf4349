"""The guard of commissioning tools: nothing leaves that could change a device, and one try at a login.

What is known to read passes, everything else is refused before it leaves; so a verb that nobody thought of is
refused. A login passes only with the secret that the user gave, and after one refusal never again: firmwares
lock a machine's owner out after a few tries (miners.md §1.2). Facts: miners.md §1.3, §2.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from firmware_adapters.capabilities import Credential
from firmware_adapters.transport.tape import HttpSaid
from shared.errors import AuthFailed, Unsupported

LOGINS = frozenset({"/api/v1/unlock", "/api/v1/auth/login"})
"""The POST requests that are a login and nothing else (VNish, Braiins OS)."""
_CGI_READS = re.compile(
    r"(get_\w+|summary|stats|pools|rate|warning|chart|log|hlog|miner_\w*(info|type|status)|status)\.cgi"
)
"""Stock CGI by name, because `reboot.cgi` and `reset_conf.cgi` are GET requests too."""
_COMMANDS = frozenset(
    [
        "version",
        "summary",
        "stats",
        "estats",
        "litestats",
        "devs",
        "edevs",
        "devdetails",
        "pools",
        "config",
        "coin",
        "notify",
        "status",
        "power",
        "temps",
        "fans",
        "limits",
        "profiles",
        "atm",
        "tempctrl",
        "tempsensor",
        "events",
        "asc",
        "asccount",
    ]
)
_READ_WORD = re.compile(r"get[._][\w.]+|[a-z]+get")
"""`get_psu`, `get.device.info` (Whatsminer), `healthchipget` (LuxOS)."""
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)


class ReadOnly:
    """See the module's text. `credential` is what the user gave; None never logs in."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential
        self.refused_login: str | None = None
        """The first refusal, in words; from then on no login leaves."""
        self._nonces: set[str] = set()

    def http(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> None:
        """Raises `Unsupported` for what may change something, `AuthFailed` for a login that may not be."""
        bare = path.partition("?")[0]
        if method == "POST" and bare in LOGINS:
            self._login(body)
        elif method not in ("GET", "HEAD"):
            raise Unsupported(f"{method} {path} is not sent: this tool only reads")
        elif bare.startswith("/cgi-bin/") and not _CGI_READS.fullmatch(bare.removeprefix("/cgi-bin/")):
            raise Unsupported(f"{method} {path} is not sent: it is not known to only read")
        if _carries_secret(headers):
            self._may_try()

    def _login(self, body: object) -> None:
        self._may_try()
        secret = self._credential.secret if self._credential is not None else None
        if secret is None or msgspec.json.encode(secret) not in msgspec.json.encode(body):
            raise AuthFailed("not tried: this tool logs in with nothing but the password it was given")

    def _may_try(self) -> None:
        if self._credential is None:
            raise AuthFailed("this needs a login, and no password was given")
        if self.refused_login is not None:
            raise AuthFailed(f"not tried again after {self.refused_login}")

    def http_said(self, method: str, path: str, headers: Mapping[str, str], said: HttpSaid) -> None:
        """Remember a refused login."""
        tried = (method == "POST" and path.partition("?")[0] in LOGINS) or _carries_secret(headers)
        nonce = _nonce(headers)
        is_first = nonce is None or nonce not in self._nonces
        if nonce is not None:
            self._nonces.add(nonce)
        if tried and said.status in _REFUSED and is_first and not _is_stale(said):
            self.refused_login = f"{method} {path}: HTTP {said.status}"

    def command(self, command: str, parameter: str | None) -> None:
        """Raises `Unsupported` for a command that is not known to only read."""
        if command not in _COMMANDS and not _READ_WORD.fullmatch(command):
            raise Unsupported(f"command {command} is not sent: it is not known to only read")


def _carries_secret(headers: Mapping[str, str]) -> bool:
    """Digest and Basic prove the password with each request, an API key is one; Bearer came from a login."""
    value = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    return value.split(" ", 1)[0].lower() in ("digest", "basic") or any(
        name.lower() == "x-api-key" for name in headers
    )


def _nonce(headers: Mapping[str, str]) -> str | None:
    """The nonce of a digest proof. A wrong password fails with a fresh one; a used one may be forgotten."""
    value = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    found = re.search(r"\bnonce=\"([^\"]*)\"", value)
    return found[1] if found is not None else None


def _is_stale(said: HttpSaid) -> bool:
    """A digest server may ask for a fresh nonce (RFC 7616 §3.3): no refusal of the password."""
    headers = getattr(said, "headers", None)
    if not isinstance(headers, Mapping):
        return False
    asked = next((value for name, value in headers.items() if str(name).lower() == "www-authenticate"), "")
    return bool(re.search(r"\bstale\s*=\s*\"?true", str(asked), re.IGNORECASE))
