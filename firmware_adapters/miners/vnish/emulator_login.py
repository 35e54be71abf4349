"""Who may ask an emulated machine for what: password, sessions, API keys, lock-out (miners.md §1.2)."""

import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from firmware_adapters.miners.emulator_wire import Stop
from shared.clock import Clock

TRIES = 5
LOCK_S = 60
KEY_LENGTH = 32


class Logins:
    """One machine's logins. API keys do not expire; sessions end with a reboot or a POST /lock."""

    def __init__(self, clock: Clock, password: str, api_keys: Iterable[str]) -> None:
        self._clock = clock
        self._password = password
        self._keys = set(api_keys)
        self._tokens: set[str] = set()
        self._wrong = 0
        self._locked_until_s: float | None = None
        self._authenticated = 0

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries a live session or a key."""
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        return token in self._tokens or headers.get("x-api-key", "") in self._keys

    def check(self, headers: Mapping[str, str], *, exists: bool, drop_every: int) -> None:
        """Let a request to a closed page through, or raise `Stop`: 401, or 404 where there is no page.

        Each `drop_every`-th request (0: none) finds its session forgotten.
        """
        if not self.knows(headers):
            raise Stop(HTTPStatus.UNAUTHORIZED if exists else HTTPStatus.NOT_FOUND)
        self._authenticated += 1
        if drop_every and self._authenticated % drop_every == 0:
            self.drop()
            raise Stop(HTTPStatus.UNAUTHORIZED)

    def drop(self) -> None:
        """Forget all sessions, as a reboot or another client's login does."""
        self._tokens.clear()

    def unlock(self, password: str | None, lockout_s: int | None) -> dict[str, str]:
        """A new session; raises `Stop` 403, or 429 by `lockout_s` or for a minute after five wrong ones."""
        if lockout_s is not None:
            raise Stop(HTTPStatus.TOO_MANY_REQUESTS, {"unlock_timeout": lockout_s})
        now_s = self._clock.monotonic()
        if self.locked_s is not None:
            raise Stop(HTTPStatus.TOO_MANY_REQUESTS, {"unlock_timeout": self.locked_s})
        if password != self._password:
            self._wrong += 1
            if self._wrong >= TRIES:
                self._wrong = 0
                self._locked_until_s = now_s + LOCK_S
            raise Stop(HTTPStatus.FORBIDDEN, {"unlock_timeout": None})
        self._wrong = 0
        token = secrets.token_hex(16)
        self._tokens.add(token)
        return {"token": token}

    @property
    def locked_s(self) -> int | None:
        """Seconds until a password is taken again; None: it is now."""
        left_s = (self._locked_until_s or 0.0) - self._clock.monotonic()
        return int(left_s) + 1 if left_s > 0 else None

    def keys_page(self) -> list[dict[str, str]]:
        """All API keys."""
        return [{"key": key, "description": ""} for key in sorted(self._keys)]

    def add_key(self, key: str | None) -> dict[str, str]:
        """Take a key of exactly 32 characters; raises `Stop` for another."""
        if key is None or len(key) != KEY_LENGTH:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": f"key must have {KEY_LENGTH} characters"})
        known = key in self._keys
        self._keys.add(key)
        return {"status": "nochanges" if known else "inserted"}

    def delete_key(self, key: str | None) -> None:
        """Forget a key."""
        self._keys.discard(key or "")
