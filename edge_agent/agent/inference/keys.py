"""Keyrings that the cloud hands on: verified here, passed on to the guardian, which verifies by itself."""

import asyncio
from collections.abc import Awaitable, Callable

from edge_agent.agent.events import event
from edge_agent.agent.inference.transitions import TellGuardian
from edge_agent.agent.records import Records
from edge_agent.agent.service import log
from edge_agent.ipc import Keys
from shared.alarms import EventKind, Severity
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.errors import SecurityError, StoreError


class KeyDesk:
    """Takes `dn/keys`. `on_change` looks again at all that the keys vouched for."""

    def __init__(
        self,
        clock: Clock,
        keys: TrustedKeys,
        records: Records,
        *,
        tell_guardian: TellGuardian,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._keys = keys
        self._records = records
        self._tell_guardian = tell_guardian
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self.refused = 0

    @property
    def version(self) -> int:
        """Of the keyring in force; 0 is the file."""
        return self._keys.version

    async def take(self, signed: Signed) -> None:
        """A keyring arrived (again: it is retained). The present keys count on after a refusal."""
        async with self._lock:
            try:
                update = await asyncio.to_thread(self._keys.take, signed, now_ms=self._clock.utc_ms())
            except (SecurityError, StoreError) as error:
                self.refused += 1
                await self._emit(f"A keyring is refused: {error}", Severity.HIGH, accepted=False)
                return
            if update is None:
                return
            await self._tell_guardian(Keys(signed=signed))
            try:
                await self._on_change()
            except (OSError, StoreError) as error:  # what lost its key has no say any more, written or not
                log.error("the disk refuses a change of models: %s", error)
            text = f"Keyring version {update.version} counts now, with {len(update.keys)} keys"
            await self._emit(text, Severity.LOW, accepted=True)

    async def greet_guardian(self) -> None:
        """A guardian that was away gets the keyring in force; it knows one that it has already."""
        if (newest := self._keys.newest) is not None:
            await self._tell_guardian(Keys(signed=newest))

    async def tell_damage(self) -> None:
        """Say at the start that only root keys count, because the stored keyring is damaged."""
        if self._keys.damaged:
            text = "The stored keyring is damaged: only root keys count until it is delivered again"
            await self._emit(text, Severity.HIGH, accepted=False)

    async def _emit(self, text: str, severity: Severity, *, accepted: bool) -> None:
        told = event(
            EventKind.SYSTEM,
            "keyring",
            text,
            at_ms=self._clock.utc_ms(),
            severity=severity,
            advice="" if accepted else "Look who sent it, and deliver the newest signed keyring again.",
            data={"version": self._keys.version, "accepted": accepted},
        )
        try:
            await self._records.emit(told)
        except StoreError as error:  # the keys count whether or not the disk takes the word of it
            log.error("%s (not recorded: %s)", text, error)
