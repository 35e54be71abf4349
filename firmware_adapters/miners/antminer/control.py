"""What a stock Antminer can be told: modes, reboot, blinking. The adapter adds what it reads.

The firmware has one mode for everything and takes it only as the whole configuration posted back, so a change
is a read and a write that no other change may come between.
"""

import asyncio
from abc import ABC, abstractmethod

from firmware_adapters.miners.antminer import modes
from firmware_adapters.miners.antminer.modes import Mode
from firmware_adapters.miners.antminer.session import Session
from shared.capabilities import Ability
from shared.clock import Clock
from shared.errors import Busy, Unsupported

AFTER_WRITE_S = 120.0
"""So long after a write the configuration is read back on every read."""


def wakes_in(safe_preset: str | None) -> Mode:
    """The mode for a machine whose last one is not known: what the site calls safe, or else the lowest."""
    return Mode.NORMAL if safe_preset == Mode.NORMAL else Mode.LOW_POWER


class Control(ABC):
    """Commands to one machine."""

    def __init__(self, session: Session, clock: Clock, name: str, *, safe_preset: str | None = None) -> None:
        """`safe_preset` as the site file has it: what a start goes to that does not know what was before."""
        self._session = session
        self._clock = clock
        self._name = name
        self._written_s: float | None = None
        self._writing = asyncio.Lock()
        self._wakes_in = wakes_in(safe_preset)
        """What a start goes back to: the last mode that was seen before sleep, which a sleeping machine does
        not tell a guardian that has restarted."""

    @abstractmethod
    async def _check(self, ability: Ability) -> None:
        """Raise `Unsupported` where this machine does not declare `ability`."""
        ...

    def _remember(self, mode: Mode | None) -> None:
        if mode is not None and mode is not Mode.SLEEP:
            self._wakes_in = mode

    def _just_written(self) -> bool:
        return self._written_s is not None and self._clock.monotonic() - self._written_s <= AFTER_WRITE_S

    async def set_preset(self, name: str) -> None:
        """Ask for "normal" or "low-power". Raises `Unsupported` for another word, `Busy` while it sleeps:
        the mode is one setting, so that choosing one would start the machine."""
        await self._check(Ability.PRESET)
        if name not in (Mode.NORMAL, Mode.LOW_POWER):
            raise Unsupported(f"{self._name} has no preset {name!r}; it has normal, low-power")
        async with self._writing:
            before = await self._config()
            if before.mode is Mode.SLEEP:
                raise Busy(f"{self._name} sleeps; choosing a mode would start it")
            await self._set_mode(before, Mode(name))

    async def stop_mining(self) -> None:
        """Ask to sleep; asked of a sleeping machine it asks again."""
        await self._check(Ability.MINING)
        async with self._writing:
            before = await self._config()
            self._remember(before.mode)
            await self._set_mode(before, Mode.SLEEP)

    async def start_mining(self) -> None:
        """Ask to wake, in the mode it was last seen in. Raises `Busy` for a machine that was not told to
        sleep: the same configuration again would only restart it."""
        await self._check(Ability.MINING)
        async with self._writing:
            before = await self._config()
            if before.mode is not Mode.SLEEP:
                raise Busy(f"{self._name} does not sleep")
            await self._set_mode(before, self._wakes_in)

    async def _config(self) -> modes.Config:
        found = modes.config(await self._session.get("get_miner_conf.cgi"))
        if not found.has_mode:
            raise Unsupported(f"{self._name}: this build knows no modes")
        return found

    async def _set_mode(self, before: modes.Config, mode: Mode) -> None:
        self._written_s = self._clock.monotonic()
        await self._session.post("set_miner_conf.cgi", modes.changed(before, mode))

    async def reboot(self) -> None:
        """Ask to restart the control board."""
        await self._check(Ability.REBOOT)
        await self._session.post("reboot.cgi", None)

    async def locate(self, *, on: bool) -> None:
        """Ask to blink, or to stop."""
        await self._check(Ability.LOCATE)
        await self._session.post("blink.cgi", {"blink": on})
