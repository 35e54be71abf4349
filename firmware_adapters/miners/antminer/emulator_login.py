"""The emulated digest login, as these machines' small web server has it: MD5, `qop="auth"`, RFC 2617."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus

from firmware_adapters.miners.emulator_wire import Stop

REALM = "antMiner Configuration"
_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class Logins:
    """Who may come in, and with which nonce."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._nonces = 0
        self._good = 0

    @property
    def _nonce(self) -> str:
        return _md5(f"nonce {self._nonces}")

    def check(self, method: str, path: str, headers: Mapping[str, str], *, forget_every: int) -> None:
        """Raise the 401 unless the request proves the password with the present nonce."""
        given = _header(headers, "authorization")
        told = {name: quoted or bare for name, quoted, bare in _PAIR.findall(given)}
        if not given.startswith("Digest ") or told.get("response") != self._expected(method, path, told):
            raise self._ask()
        self._good += 1
        if forget_every and self._good % forget_every == 0:
            self._nonces += 1
            raise self._ask(stale=True)

    def _expected(self, method: str, path: str, told: Mapping[str, str]) -> str | None:
        if told.get("username") != self._user or told.get("uri") != path or told.get("nonce") != self._nonce:
            return None
        ha1, ha2 = _md5(f"{self._user}:{REALM}:{self._password}"), _md5(f"{method}:{path}")
        return _md5(f"{ha1}:{self._nonce}:{told.get('nc')}:{told.get('cnonce')}:auth:{ha2}")

    def _ask(self, *, stale: bool = False) -> Stop:
        challenge = f'Digest realm="{REALM}", nonce="{self._nonce}", qop="auth"{", stale=true" * stale}'
        return Stop(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": challenge})


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
