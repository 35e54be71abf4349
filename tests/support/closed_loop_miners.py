"""The miners of the closed loop: plant physics behind the real VNish emulator, read by the real adapter.

Commands always go adapter → session → emulator → plant, so a preset write is its eight requests, a stopped
machine answers 500, and the switcher climbs as it does on the wire. Reads take that way too while a machine
misbehaves, and for one read in `CHECK_EVERY` of the others; the rest are made straight from the plant's
observation, and the harness fails if the two ways ever differ. Nothing here waits: the adapter's coroutines
run to their end in one go (`straight`), without an event loop.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners.emulated import FanView, MinerView
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.simulator.machine import PlantFeed, PlantMiner
from firmware_adapters.simulator.writes import WriteLog
from firmware_adapters.transport.http import HttpReply
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock
from shared.commands import AnyAction, SetPreset, StartMining, StopMining
from shared.errors import DeviceError, DeviceTimeout, Unreachable, Unsupported
from shared.inventory import DeviceEntry
from shared.plant import MinerState as PlantState
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
CHECK_EVERY = 400
PASSWORD = "miners-secret"
NO_TRAPS = Traps()
_STATES = tuple(MinerState(PlantState(number).label) for number in range(len(PlantState)))
_SPANS = ("chip_temp_min_c", "chip_temp_max_c", "board_temp_min_c", "board_temp_max_c")
SEEN_BY_CONTROL = ("power_w", *_SPANS)
"""The readings that the guardian looks at; the fast way makes these and the hashrate, no others."""


T = TypeVar("T")


def straight(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits. Raises `RuntimeError` for one that does."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return] # a coroutine's value has its type
    raise RuntimeError("this coroutine waits for something; the closed loop has nothing to wait for")


class Misfit(AssertionError):
    """The fast way of reading a healthy miner differs from adapter and emulator."""


class Witness(PlantMiner):
    """A plant miner that notes every command which reaches it, and may be deaf to some.

    `allowed` is what the permit in hand lets the machine do; None: nobody commands it, only its own firmware
    may act. `deaf` holds the commands that are accepted and not carried out.
    """

    def __init__(self, feed: PlantFeed, index: int, entry: DeviceEntry, log: WriteLog) -> None:
        super().__init__(feed, index, entry, log)
        self.allowed: AnyAction | None = None
        self.foreign = False
        self.deaf: frozenset[str] = frozenset()
        self.fans_lost = False
        self.unpermitted: list[str] = []
        """Commands that reached the machine although nobody was permitted to give them; shared by all."""
        self.emulator: VnishEmulator | None = None

    def _heard(self, command: str, *, fits: bool) -> bool:
        if not fits and not self.foreign:
            self.unpermitted.append(f"{self._entry.id}: {command}")
        return command not in self.deaf

    def _make(self) -> MinerView:
        view = super()._make()
        if not self.fans_lost:
            return view
        return msgspec.structs.replace(view, cooling="immersion", fans=(FanView(rpm=0.0, ok=False),) * 4)

    def set_preset(self, name: str) -> None:
        emulator = self.emulator
        own = emulator is not None and (emulator.settings.switcher.enabled or emulator.settings._limit_w)
        asked = isinstance(self.allowed, SetPreset) and self.allowed.preset == name
        # Settings that were stored by an earlier permit come in with the next start or restart.
        stored = isinstance(self.allowed, SetPreset | StartMining)
        if self._heard("preset", fits=bool(asked or own or stored)):
            super().set_preset(name)

    def stop(self) -> None:
        if self._heard("stop", fits=isinstance(self.allowed, StopMining)):
            super().stop()

    def start(self) -> None:
        if self._heard("start", fits=isinstance(self.allowed, StartMining)):
            super().start()

    def restart(self) -> None:
        if self._heard("restart", fits=isinstance(self.allowed, SetPreset)):
            super().restart()


class Wire:
    """A transport whose other end is the emulator itself; `broken` is the failure of every request."""

    def __init__(self, emulator: VnishEmulator, witness: Witness) -> None:
        self._emulator = emulator
        self._witness = witness
        self.requests = 0

    async def request(
        self, method: str, path: str, json: object | None = None, headers: dict[str, str] | None = None
    ) -> HttpReply:
        self.requests += 1
        if self._emulator.traps.hang:
            raise DeviceTimeout("hangs")
        if not self._witness.view().reachable:
            raise Unreachable("cut")
        body = b"" if json is None else msgspec.json.encode(json)
        said = self._emulator.answer(method, path, headers or {}, body)
        return HttpReply(said.status, said.body)

    async def close(self) -> None:
        """Nothing to let go of."""


class SoakMiner:
    """One miner: emulator, adapter and witness. `trap(...)` makes it misbehave."""

    def __init__(
        self, fleet: "Fleet", index: int, entry: DeviceEntry, clock: ManualClock, version: str
    ) -> None:
        self.entry = entry
        self.index = index
        self._fleet = fleet
        self.witness = Witness(fleet.feed, index, entry, WriteLog(clock))
        self.emulator = VnishEmulator(self.witness, clock=clock, version=version, password=PASSWORD)
        self.witness.emulator = self.emulator
        self.witness.unpermitted = fleet.unpermitted
        self.wire = Wire(self.emulator, self.witness)
        credential = Credential(user=None, secret=PASSWORD)
        self.adapter = VnishAdapter(
            self.wire, credential, timeout_s=1.0, socket=None, clock=clock, name=str(entry.id)
        )
        self._reads = index  # spreads the checks over the fleet

    def trap(self, **changes: Any) -> None:
        """Change how the machine misbehaves; no arguments: not at all."""
        self.emulator.traps = Traps(**changes)

    @property
    def _plain(self) -> bool:
        return self.emulator.traps == NO_TRAPS and not self.witness.fans_lost

    def read(self) -> Observation:
        """What the adapter would say now. Raises `DeviceError`."""
        self._reads += 1
        if self._plain and not self.emulator.settings.switcher.enabled:
            if not self._fleet.reachable[self.index]:
                raise Unreachable("cut")
            fast = self._fleet.observation(self.index)
            if self._reads % CHECK_EVERY == 0:
                self._compare(fast, straight(self.adapter._read_web()))
            return fast
        return straight(self.adapter._read_web())

    def _compare(self, fast: Observation, real: Observation) -> None:
        same = fast.state is real.state and all(
            fast.readings.get(point, MISSING) == real.readings.get(point, MISSING)
            for point in SEEN_BY_CONTROL
        )
        if not same or (real.preset is not None and real.preset != fast.preset):
            raise Misfit(f"{self.entry.id}: the fast way says {fast}, adapter and emulator say {real}")

    def write(self, action: AnyAction) -> DeviceError | None:
        """Ask once for `action`, as the executor does; the typed failure, or None where it was accepted."""
        self.witness.allowed = action
        try:
            match action:
                case SetPreset(preset=preset):
                    straight(self.adapter.set_preset(preset))
                case StopMining():
                    straight(self.adapter.stop_mining())
                case StartMining():
                    straight(self.adapter.start_mining())
                case _:
                    return Unsupported("a miner has no such ability")
        except DeviceError as error:
            return error
        finally:
            self.witness.allowed = None
            self._fleet.refresh()
        return None

    def by_hand(self, path: str) -> None:
        """Somebody at the machine's own web page (`/mining/start`, `/mining/stop`), past the guardian."""
        if not self.witness.view().reachable:
            return
        self.witness.foreign = True
        try:
            token = self.emulator.logins.unlock(PASSWORD, None)["token"]
            self.emulator.answer("POST", "/api/v1" + path, {"Authorization": f"Bearer {token}"}, b"")
        finally:
            self.witness.foreign = False
            self._fleet.refresh()

    def facts(self) -> DeviceFacts:
        """Identity, ladder and abilities as the adapter tells them. Raises `DeviceError`."""
        return straight(self.adapter.facts())


class Fleet:
    """All miners of the plant, and their observation once per plant step as plain lists."""

    def __init__(self, feed: PlantFeed) -> None:
        self.feed = feed
        self.unpermitted: list[str] = []
        models = feed.plant.fleet.models
        self._presets = [[rung.name for rung in model.presets] for model in models]
        self._algorithms = [Algorithm(model.algorithm) for model in models]
        self._metered = feed.plant.fleet.metered.tolist()
        self.refresh()

    def refresh(self) -> None:
        """Take a new observation: after a plant step, and after a command (state changes at once)."""
        self.feed.refresh()
        seen = self.feed.seen
        known = seen.board_present & (seen.state != PlantState.FAILURE)[:, None]
        self.reachable: list[bool] = seen.reachable.tolist()
        self._state: list[int] = seen.state.tolist()
        self._preset: list[int] = seen.preset.tolist()
        self._power: list[int] = seen.power_w.tolist()
        self._spans: list[list[int | None]] = []
        for low, high in ((seen.chip_in_c, seen.chip_out_c), (seen.pcb_in_c, seen.pcb_out_c)):
            self._spans += spans(low, high, known)

    def observation(self, index: int) -> Observation:
        """What the adapter says of a machine that does not misbehave."""
        power = Quality.GOOD if self._metered[index] else Quality.ESTIMATED
        readings = {"power_w": Reading(float(self._power[index]), power)}
        for name, values in zip(_SPANS, self._spans, strict=True):
            value = values[index]
            quality = Quality.ESTIMATED if name[0] == "c" else Quality.GOOD
            readings[name] = MISSING if value is None else Reading(float(value), quality)
        return Observation(
            readings=readings,
            state=_STATES[self._state[index]],
            preset=self._presets[index][self._preset[index]],
            algorithm=self._algorithms[index],
        )


def spans(low: Ints, high: Ints, known: Bools) -> tuple[list[int | None], list[int | None]]:
    """Coolest and hottest per machine, as the adapter merges boards; all arrays (n, boards), °C.

    A pair whose low end is above its high end (rounded noise of a cold board) is no data there, nor is 0/0,
    and the machine's own span counts with its high end only where some board has a sound pair.
    """
    whole_low, whole_high = np.where(known, low, 999).min(axis=1), np.where(known, high, -999).max(axis=1)
    sound = known & (low <= high) & ((low != 0) | (high != 0))
    whole = (whole_low <= whole_high) & ((whole_low != 0) | (whole_high != 0))
    some = sound.any(axis=1)
    boards_low, boards_high = np.where(sound, low, 999).min(axis=1), np.where(sound, high, -999).max(axis=1)
    lows = np.where(some, boards_low, whole_low)
    highs = np.maximum(np.where(some, boards_high, -999), np.where(whole, whole_high, -999))
    told = (some | whole).tolist()
    return (
        [value if known_one else None for value, known_one in zip(lows.tolist(), told, strict=True)],
        [value if known_one else None for value, known_one in zip(highs.tolist(), told, strict=True)],
    )
