"""Keyrings that the cloud hands on: verified here, passed on to the guardian, which verifies by itself.

Each of the two stores the update in a folder of its own, so each can lag behind: a full disk, a clock that is
wrong for a while. What did not go through is tried again with growing waits, and an alarm stands meanwhile,
because whoever lags does not know the new keys.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from edge_agent.agent.events import event
from edge_agent.agent.inference.transitions import TellGuardian
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from edge_agent.ipc import Keys
from shared.alarms import EventKind, Severity
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.errors import SecurityError, StoreError

LOOK_S: Final = 5.0
FIRST_S: Final = 10.0
"""Wait before the first new try, doubled up to `CAP_S`: each try that fails is an entry in a journal."""
CAP_S: Final = 3600.0
GRACE_S: Final = 30.0
"""So long may guardian and agent differ without an alarm: the one stores before the other."""
ALARM_KEY: Final = "keyring-behind"
_ALARM_TOLD: Final = "keyring.alarm"
_ADVICE: Final = (
    "Make room on the gateway's disk and look at its clock. Where the keyring has run out meanwhile, "
    "sign it anew with a higher version and publish it."
)


class _Waits:
    """When to try again."""

    def __init__(self) -> None:
        self._wait_s = FIRST_S
        self._due_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Whether to try now; the first call of a trouble only begins to wait."""
        if self._due_s is None:
            self._due_s = now_s + self._wait_s
        if now_s < self._due_s:
            return False
        self._wait_s = min(self._wait_s * 2, CAP_S)
        self._due_s = now_s + self._wait_s
        return True

    def over(self) -> None:
        """The trouble ended."""
        self._wait_s, self._due_s = FIRST_S, None


class KeyDesk(Service):
    """Takes `dn/keys`. `on_change` looks again at all that the keys vouched for.

    `guardian_has` is the version that the guardian says it has; None where it is away or does not say.
    """

    name = "keys"
    stall_s = 180.0

    def __init__(
        self,
        clock: Clock,
        keys: TrustedKeys,
        records: Records,
        *,
        tell_guardian: TellGuardian,
        on_change: Callable[[], Awaitable[None]],
        guardian_has: Callable[[], int | None] = lambda: None,
    ) -> None:
        super().__init__(clock)
        self._keys = keys
        self._records = records
        self._tell_guardian = tell_guardian
        self._on_change = on_change
        self._guardian_has = guardian_has
        self._lock = asyncio.Lock()
        self._own, self._guardians = _Waits(), _Waits()
        self._trouble_since_s: float | None = None
        self._alarm: str | None = None
        """What the standing alarm says, empty where none stands; None until the store was asked."""
        self.refused = 0

    @property
    def version(self) -> int:
        """Of the keyring in force; 0 is the file."""
        return self._keys.version

    async def take(self, signed: Signed) -> None:
        """A keyring arrived (again: it is retained). After a refusal the present keys count on, but for those
        that an update of a root takes away (`TrustedKeys`)."""
        async with self._lock:
            why = await self._take(signed)
            if why:
                self.refused += 1
                await self._emit(f"A keyring is refused: {why}", Severity.HIGH, accepted=False)

    async def _take(self, signed: Signed) -> str:
        """Why it is refused, or nothing."""
        before, why = self._keys.changes, ""
        try:
            update = await asyncio.to_thread(self._keys.take, signed, now_ms=self.clock.utc_ms())
        except (SecurityError, StoreError) as error:
            update, why = None, str(error)
        if update is not None or (why and self._keys.held == signed):
            # What only this disk or clock stands against may be in order for the guardian.
            await self._tell_guardian(Keys(signed=signed))
        if self._keys.changes != before:
            try:
                await self._on_change()
            except (OSError, StoreError) as error:  # what lost its key has no say any more, written or not
                log.error("the disk refuses a change of models: %s", error)
        if update is not None:
            self._own.over()
            self._guardians.over()
            text = f"Keyring version {update.version} counts here now, with {len(update.keys)} keys"
            await self._emit(text, Severity.LOW, accepted=True)
        return why

    async def greet_guardian(self) -> None:
        """A guardian that was away gets the keyring in force; it knows one that it has already."""
        for signed in (self._keys.newest, self._keys.held):
            if signed is not None:
                await self._tell_guardian(Keys(signed=signed))

    async def tell_damage(self) -> None:
        """Say at the start that only root keys count, because the stored keyring is damaged."""
        if self._keys.damaged:
            text = "The stored keyring is damaged: only root keys count until it is delivered again"
            await self._emit(text, Severity.HIGH, accepted=False)

    # ------------------------------------------------------------ what did not go through

    async def run(self) -> None:
        while True:
            self.tick()
            await self.look()
            await self.clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Try again what this agent or the guardian could not take up, and tell while one of them lags."""
        async with self._lock:
            now_s = self.clock.monotonic()
            held = self._keys.held
            if held is None:
                self._own.over()
            elif self._own.due(now_s) and (why := await self._take(held)):
                log.warning("a keyring still waits: %s", why)
            theirs, ours = self._guardian_has(), self._keys.version
            if theirs is not None and theirs >= ours:
                self._guardians.over()
            elif theirs is not None and self._guardians.due(now_s) and self._keys.newest is not None:
                await self._tell_guardian(Keys(signed=self._keys.newest))
            if self._keys.held is not None:
                text = f"a newer one than version {ours} waits; what it takes away counts no more"
                await self._watch(text, now_s)
            elif theirs is not None:  # unknown is neither behind nor level; it is greeted when it comes
                text = f"the guardian has keyring version {theirs}, the agent has {ours}"
                await self._watch("" if theirs == ours else text, now_s)

    async def _watch(self, trouble: str, now_s: float) -> None:
        if not trouble:
            self._trouble_since_s = None
        elif self._trouble_since_s is None:
            self._trouble_since_s = now_s
        if self._trouble_since_s is not None and now_s - self._trouble_since_s < GRACE_S:
            return
        try:
            if self._alarm is None:
                self._alarm = await self._records.get(_ALARM_TOLD, str) or ""
            if trouble != self._alarm:
                await self._tell_alarm(trouble)
                self._alarm = trouble
                await self._records.put(_ALARM_TOLD, trouble)
        except StoreError as error:  # told at a later look
            log.error("%s (not recorded: %s)", trouble or "the keyrings agree again", error)

    async def _tell_alarm(self, trouble: str) -> None:
        """An alarm, or its end."""
        told = event(
            EventKind.ALARM if trouble else EventKind.ALARM_CLEARED,
            ALARM_KEY,
            f"Key rotation is not complete: {trouble}" if trouble else "Guardian and agent have one keyring",
            at_ms=self.clock.utc_ms(),
            severity=Severity.HIGH if trouble else Severity.LOW,
            advice=_ADVICE if trouble else "",
            data={"version": self._keys.version, "guardian": self._guardian_has()},
        )
        await self._records.emit(told)

    async def _emit(self, text: str, severity: Severity, *, accepted: bool) -> None:
        told = event(
            EventKind.SYSTEM,
            "keyring",
            text,
            at_ms=self.clock.utc_ms(),
            severity=severity,
            advice="" if accepted else "Look who sent it, and deliver the newest signed keyring again.",
            data={"version": self._keys.version, "accepted": accepted},
        )
        try:
            await self._records.emit(told)
        except StoreError as error:  # the keys count whether or not the disk takes the word of it
            log.error("%s (not recorded: %s)", text, error)
