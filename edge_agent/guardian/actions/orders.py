"""Signed orders: verified here, and only here, before anything is done (contracts, Commands).

Signature and role, site, expiry and life, counter (monotonic per site, on the disk before execution), and
a repeated id returns the stored result. A gateway whose clock is not synchronised refuses, because then
an expiry means nothing. The safe direction is the exception: a safe-stop does not wait for the disk.
"""

import hashlib
import logging
from pathlib import Path

import msgspec

from edge_agent.guardian.clock_sync import ClockSync
from edge_agent.guardian.storage import durable
from edge_agent.ipc import Result
from shared.artifacts.signing import Keyring, Purpose, Role, Signed
from shared.clock import Clock
from shared.commands import (
    MAX_COMMAND_LIFE_MS,
    ActionOutcome,
    CommandBody,
    CommandState,
    ResetTripOrder,
    SafeStopOrder,
)
from shared.errors import SecurityError, StoreError
from shared.ids import CommandId, SiteId

log = logging.getLogger(__name__)

KEEP_RESULTS = 256
CLOCK_SKEW_MS = 10_000
"""How far in the future an order may have been issued by a cloud whose clock runs ahead."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One order that was begun; `result` None: the guardian stopped before it was finished."""

    sha256: str
    result: Result | None = None


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    counter: int = 0
    seen: dict[CommandId, Seen] = {}


class Orders:
    """The book of orders of one site."""

    def __init__(
        self, path: Path, keyring: Keyring, site: SiteId, clock: Clock, clock_sync: ClockSync
    ) -> None:
        self._path = path
        self._keyring = keyring
        self._site = site
        self._clock = clock
        self._clock_sync = clock_sync
        self._book = self._load()

    def _load(self) -> _Book:
        """The kept book. A damaged one raises `StoreError`: without its counter nothing stops a replay."""
        try:
            return durable.unseal(self._path.read_bytes(), _Book)
        except FileNotFoundError:
            return _Book()
        except StoreError as error:
            raise StoreError(
                f"{self._path}: {error}; remove it by hand once all signed orders have expired (60 s)"
            ) from error

    def accept(self, signed: Signed) -> CommandBody | Result:
        """The order to carry out, or the stored result of one that was carried out before.

        Raises `SecurityError` with the reason of a refusal. The counter is on the disk when this returns.
        """
        body, role = self._verified(signed)
        sha256 = hashlib.sha256(signed.payload).hexdigest()
        known = self._book.seen.get(body.id)
        if known is not None:
            if known.sha256 != sha256:
                raise SecurityError(f"order {body.id} was seen before with other contents")
            return known.result or self._interrupted(body.id)
        self._check(body, role)
        self._store(body, _Book(counter=body.counter, seen=self._with(body.id, Seen(sha256=sha256))))
        return body

    def finish(self, result: Result) -> None:
        """Keep the result, so that the same id is answered and never carried out again."""
        known = self._book.seen.get(result.id)
        if known is None:
            return
        seen = self._with(result.id, Seen(sha256=known.sha256, result=result))
        self._book = _Book(counter=self._book.counter, seen=seen)
        try:
            durable.replace(self._path, durable.seal(self._book))
        except StoreError:
            log.exception("result of order %s is not stored", result.id)

    def _with(self, command: CommandId, seen: Seen) -> dict[CommandId, Seen]:
        kept = {key: value for key, value in self._book.seen.items() if key != command}
        kept[command] = seen
        return dict(list(kept.items())[-KEEP_RESULTS:])

    def _verified(self, signed: Signed) -> tuple[CommandBody, Role]:
        try:
            self._keyring.verify(Purpose.COMMAND, signed, Role.COMMAND)
            role = Role.COMMAND
        except SecurityError as not_command:
            try:
                self._keyring.verify(Purpose.COMMAND, signed, Role.OPERATOR)
            except SecurityError:
                raise not_command from None
            role = Role.OPERATOR
        try:
            return msgspec.msgpack.decode(signed.payload, type=CommandBody), role
        except msgspec.DecodeError as error:
            raise SecurityError(f"signed order does not decode: {error}") from error

    def _check(self, body: CommandBody, role: Role) -> None:
        order = body.order
        if isinstance(order, ResetTripOrder) and role is not Role.OPERATOR:
            raise SecurityError("a trip is reset by an operator's key only, never by the cloud's")
        if not isinstance(order, ResetTripOrder | SafeStopOrder) and role is not Role.COMMAND:
            raise SecurityError("an operator's key resets and stops; actions need the command key")
        if body.site != self._site:
            raise SecurityError(f"order is for site {body.site!r}, not {self._site!r}")
        if not self._clock_sync():
            raise SecurityError("this gateway's clock is not synchronised, remote orders are refused")
        now_ms, life_ms = self._clock.utc_ms(), body.expires_ms - body.issued_ms
        if not 0 < life_ms <= MAX_COMMAND_LIFE_MS:
            raise SecurityError(f"order lives {life_ms} ms, allowed are 1 to {MAX_COMMAND_LIFE_MS}")
        if now_ms >= body.expires_ms:
            raise SecurityError(f"order expired {now_ms - body.expires_ms} ms ago")
        if body.issued_ms > now_ms + CLOCK_SKEW_MS:
            raise SecurityError(f"order was issued {body.issued_ms - now_ms} ms in the future")
        if body.counter <= self._book.counter:
            raise SecurityError(f"counter {body.counter} was used before (last {self._book.counter})")

    def _store(self, body: CommandBody, book: _Book) -> None:
        try:
            durable.replace(self._path, durable.seal(book))
        except StoreError as error:
            if not isinstance(body.order, SafeStopOrder):
                raise SecurityError(f"counter cannot be stored, so nothing is done: {error}") from error
            log.exception("safe-stop goes ahead although its counter is not stored")
        self._book = book

    def _interrupted(self, command: CommandId) -> Result:
        return Result(
            id=command,
            outcome=ActionOutcome.UNCONFIRMED,
            detail="the guardian stopped while this order ran; look at the devices before sending a new one",
            command_state=CommandState.DONE,
            at_ms=self._clock.utc_ms(),
        )
