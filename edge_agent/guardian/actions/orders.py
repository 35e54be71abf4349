"""Signed orders: verified here, and only here, before anything is done (contracts, Commands).

Signature and role, site, expiry and life, counter (monotonic, on the disk before execution, never far ahead
of the clock), and a repeated id returns the stored result. The cloud's keys share the site's counter; each
third party's key (role `control`) has one of its own, and limits in the keyring. A gateway whose clock is not
synchronised refuses, because then an expiry means nothing. The safe direction is the exception: a safe-stop
does not wait for the disk.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge_agent.guardian.actions import third_parties
from edge_agent.guardian.clock_sync import ClockSync
from edge_agent.guardian.storage import durable
from edge_agent.ipc import Result
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed
from shared.clock import Clock
from shared.commands import (
    MAX_COMMAND_LIFE_MS,
    ActionOutcome,
    CommandBody,
    CommandState,
    Curtail,
    ResetTripOrder,
    SafeStopOrder,
    Schedule,
    SignedBy,
    StandingCap,
)
from shared.errors import ConfigError, SecurityError, StoreError
from shared.ids import CommandId, DeviceId, SiteId, ZoneId, checked_id

log = logging.getLogger(__name__)

KEEP_RESULTS = 256
KEEP_OWNERS = 256
"""Standing orders of third parties whose owner is remembered, so that only it takes them back."""
MAX_ACTOR = 200
_ORDER_ROLES = (Role.COMMAND, Role.OPERATOR, Role.CONTROL)
CLOCK_SKEW_MS = 10_000
"""How far in the future an order may have been issued by a cloud whose clock runs ahead."""
COUNTER_AHEAD_MS = 24 * 3_600_000
"""How far a counter may be above the time of issue (milliseconds since 1970), or above the last counter. One
order with nanoseconds for a counter would have every later one refused, for ever."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One order that was begun; `result` None: the guardian stopped before it was finished."""

    sha256: str
    result: Result | None = None
    digest: str = ""
    by: SignedBy | None = None
    """Who signed it, where that was not the cloud."""


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    counter: int = 0
    seen: dict[CommandId, Seen] = {}
    counters: dict[str, int] = {}
    """Control key → its last counter. Kept when a key leaves the keyring: it may come back."""
    owners: dict[CommandId, str] = {}
    """Standing order → the control key that ordered it."""


class OrderRefused(SecurityError):
    """A signed order is refused; `by` says whose it was, where that much was verified."""

    def __init__(self, why: str, *, by: SignedBy | None = None) -> None:
        super().__init__(why)
        self.by = by


class Orders:
    """The book of orders of one site."""

    def __init__(
        self,
        path: Path,
        keyring: Keyring,
        site: SiteId,
        clock: Clock,
        clock_sync: ClockSync,
        *,
        zone_of: Mapping[DeviceId, ZoneId] | None = None,
    ) -> None:
        self._path = path
        self._keyring = keyring
        self._site = site
        self._clock = clock
        self._clock_sync = clock_sync
        self._zone_of = zone_of or {}
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
        body, key = self._verified(signed)
        by = _signed_by(body, key)
        try:
            return self._accept(signed, body, key, by)
        except SecurityError as error:
            raise OrderRefused(str(error), by=by) from error

    def _accept(
        self, signed: Signed, body: CommandBody, key: PublicKeyEntry, by: SignedBy | None
    ) -> CommandBody | Result:
        sha256 = hashlib.sha256(signed.payload).hexdigest()
        known = self._book.seen.get(body.id)
        if known is not None:
            if known.sha256 != sha256:
                raise SecurityError(f"order {body.id} was seen before with other contents")
            return known.result or self._interrupted(body.id)
        self._check(body, key)
        self._store(body, self._after(body, key, Seen(sha256=sha256, digest=signed.digest, by=by)))
        if key.role is Role.CONTROL:
            return msgspec.structs.replace(body, actor=f"{body.actor} ({key.id})")
        return body

    def seen(self, command: CommandId) -> Seen | None:
        """What is kept of an order that was accepted; None where it was not, or long ago."""
        return self._book.seen.get(command)

    def finish(self, result: Result) -> None:
        """Keep the result, so that the same id is answered and never carried out again."""
        known = self._book.seen.get(result.id)
        if known is None:
            return
        seen = self._with(result.id, msgspec.structs.replace(known, result=result))
        self._book = msgspec.structs.replace(self._book, seen=seen)
        try:
            durable.replace(self._path, durable.seal(self._book))
        except StoreError:
            log.exception("result of order %s is not stored", result.id)

    def _with(self, command: CommandId, seen: Seen) -> dict[CommandId, Seen]:
        kept = {key: value for key, value in self._book.seen.items() if key != command}
        kept[command] = seen
        return dict(list(kept.items())[-KEEP_RESULTS:])

    def _after(self, body: CommandBody, key: PublicKeyEntry, seen: Seen) -> _Book:
        """The book with this order in it: whose counter it raised, and whose it is."""
        book = msgspec.structs.replace(self._book, seen=self._with(body.id, seen))
        if key.role is not Role.CONTROL:
            return msgspec.structs.replace(book, counter=body.counter)
        counters = {**book.counters, key.id: body.counter}
        if not isinstance(body.order, Curtail | StandingCap | Schedule):
            return msgspec.structs.replace(book, counters=counters)
        owners = dict([*book.owners.items(), (body.id, key.id)][-KEEP_OWNERS:])
        return msgspec.structs.replace(book, counters=counters, owners=owners)

    def _last_counter(self, key: PublicKeyEntry) -> int:
        return self._book.counters.get(key.id, 0) if key.role is Role.CONTROL else self._book.counter

    def _verified(self, signed: Signed) -> tuple[CommandBody, PublicKeyEntry]:
        """The order and the key that signed it; raises `SecurityError`."""
        entries = (self._keyring.entry(signature.key_id) for signature in signed.signatures)
        role = next((e.role for e in entries if e is not None and e.role in _ORDER_ROLES), Role.COMMAND)
        key_id = self._keyring.verify(Purpose.COMMAND, signed, role)
        key = self._keyring.entry(key_id)
        if key is None:  # the keyring is replaced while we look
            raise SecurityError(f"key {key_id!r} has just left the keyring")
        try:
            body = msgspec.msgpack.decode(signed.payload, type=CommandBody)
            checked_id(body.id, "order")
        except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
            raise SecurityError(f"signed order does not decode: {error}") from error
        _check_words(body)
        return body, key

    def _check(self, body: CommandBody, key: PublicKeyEntry) -> None:
        order = body.order
        if isinstance(order, ResetTripOrder) and key.role is not Role.OPERATOR:
            raise SecurityError("a trip is reset by an operator's key only, never by the cloud's")
        if key.role is Role.OPERATOR and not isinstance(order, ResetTripOrder | SafeStopOrder):
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
        last = self._last_counter(key)
        if body.counter <= last:
            raise SecurityError(f"counter {body.counter} was used before (last {last}){self._hint(last)}")
        highest = max(body.issued_ms, last) + COUNTER_AHEAD_MS
        if body.counter > highest:
            raise SecurityError(
                f"counter {body.counter} is too far ahead: at most {highest}, which is one day above "
                "issued_ms (or the last counter); count in milliseconds since 1970, or one by one"
            )
        if key.role is Role.CONTROL:
            why = third_parties.beyond(key, order, zone_of=self._zone_of, owner_of=self._book.owners.get)
            if why is not None:
                raise SecurityError(why)

    def _hint(self, last: int) -> str:
        """What to do about a last counter that a clock which ran ahead has left; empty where it did not."""
        if last <= self._clock.utc_ms() + COUNTER_AHEAD_MS:
            return ""
        return (
            ", which is more than a day ahead of this gateway's clock: a clock ran ahead once. Stop the "
            f"guardian, remove {self._path} by hand once all signed orders have "
            "expired (60 s), and start it again"
        )

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


def _check_words(body: CommandBody) -> None:
    """What ends up in journals and databases is text that they take."""
    if not 0 < len(body.actor) <= MAX_ACTOR or not body.actor.isprintable():
        raise SecurityError(f"the order's actor must be 1 to {MAX_ACTOR} printable characters")
    if b"\\u00" in msgspec.json.encode(body.order):
        raise SecurityError("the order holds control characters")


def _signed_by(body: CommandBody, key: PublicKeyEntry) -> SignedBy | None:
    """Whose order it is, for the audit; None for the cloud's own, which the cloud has on file."""
    if key.role is Role.COMMAND:
        return None
    return SignedBy(
        key=key.id,
        role=key.role.value,
        actor=body.actor,
        order=body.order,
        counter=body.counter,
        issued_ms=body.issued_ms,
        expires_ms=body.expires_ms,
    )
