"""An agent that wants the worst: it proposes, orders, floods, replays, and plays with the lease; seeded.

It speaks the agent's language (proposals, leases, assignments, orders) and nothing else; what a signature or
a frame would stop before the arbiter is tested elsewhere, so here every order counts as signed.
"""

import math
import random
from collections import deque

import msgspec

from shared.capabilities import DeviceFacts
from shared.commands import (
    AnyAction,
    ModelRef,
    Proposal,
    SetPoint,
    SetPreset,
    StartMining,
    StopMining,
    SwitchOutlet,
)
from shared.ids import CommandId, DeviceId

MODEL = ModelRef(name="optimiser", version=7, sha256="ab" * 32)
WRONG_MODELS = (
    ModelRef(name="optimiser", version=7, sha256="cd" * 32),
    ModelRef(name="optimiser", version=6, sha256="ab" * 32),
    ModelRef(name="another", version=7, sha256="ab" * 32),
    ModelRef(name="", version=-1, sha256=""),
)
STRATEGIES = (
    "random",
    "saturate",
    "not-a-number",
    "oscillate",
    "replay",
    "flood",
    "wrong-model",
    "wrong-point",
    "start-stop-storm",
    "lease-never",
    "lease-for-ever",
    "lease-jitter",
    "forged-confidence",
    "stale",
    "starve-cooling",
    "orders",
    "silent",
)
STRATEGY_STEPS = (60, 600)
_BAD_NUMBERS = (math.nan, math.inf, -math.inf, 1e308, -1e308, -1.0, 101.0, 0.0, 1e-320)


class Turn(msgspec.Struct, kw_only=True):
    """What the adversary does in one step."""

    proposals: list[Proposal] = []
    orders: list[AnyAction] = []
    leases: list[float] = []


class World:
    """What an agent knows of the site: its devices and ladders, from the inventory."""

    def __init__(self, miners: list[DeviceId], drives: list[DeviceId], others: list[DeviceId]) -> None:
        self.miners = miners
        self.drives = drives
        self.others = others
        self.facts: dict[DeviceId, DeviceFacts] = {}

    def presets(self, device: DeviceId) -> list[str]:
        facts = self.facts.get(device)
        return [preset.name for preset in facts.presets] if facts is not None and facts.presets else ["2500"]


class Adversary:
    """One strategy at a time, for a random while; `turn` is called once per control step."""

    def __init__(self, world: World, rng: random.Random, strategy: str | None = None) -> None:
        self._world = world
        self._rng = rng
        self._only = strategy
        self._left = 0
        self._numbers = 0
        self._sent: deque[Proposal] = deque(maxlen=500)
        self._up = False
        self.strategy = strategy or "random"

    def turn(self) -> Turn:
        """What it does now."""
        if self._left <= 0:
            self._left = self._rng.randint(*STRATEGY_STEPS)
            self.strategy = self._only or self._rng.choice(STRATEGIES)
        self._left -= 1
        turn = Turn(proposals=self._proposals(), leases=self._leases())
        orders = 0.5 if self.strategy == "orders" else 0.02
        if self._rng.random() < orders:
            turn.orders = [self._any_action() for _ in range(self._rng.choice((1, 1, 3, 48)))]
        self._sent.extend(turn.proposals[:20])
        return turn

    # ---------------------------------------------------------------- lease

    def _leases(self) -> list[float]:
        rng = self._rng
        if self.strategy in ("lease-never", "silent"):
            return []
        if self.strategy == "lease-for-ever":
            return [rng.choice((1e12, math.inf, 60.0))]
        if self.strategy == "lease-jitter":
            return [rng.choice((0.5, 5.0, 29.0, 31.0, math.nan, -5.0, 0.0))] if rng.random() < 0.03 else []
        return [30.0] if rng.random() < 0.2 else []

    # ---------------------------------------------------------------- proposals

    def _proposals(self) -> list[Proposal]:
        rng, kind = self._rng, self.strategy
        if kind in ("silent", "orders"):
            return []
        if kind == "flood":
            return self._flood()
        if kind == "replay" and self._sent:
            return [self._again(rng.choice(self._sent)) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.35:
            return []
        return [self._one(kind) for _ in range(rng.choice((1, 1, 1, 2, 4)))]

    def _flood(self) -> list[Proposal]:
        """Hundreds in one step, but not in each: the run has other things to test as well."""
        if self._rng.random() < 0.97:
            return []
        return [self._one(self._rng.choice(("random", "saturate"))) for _ in range(300)]

    def _again(self, old: Proposal) -> Proposal:
        """The same words with the same id, or with a new one."""
        return old if self._rng.random() < 0.3 else msgspec.structs.replace(old, id=self._id())

    def _one(self, kind: str) -> Proposal:
        rng = self._rng
        good = Proposal(
            id=self._id(),
            policy=f"evil {kind}",
            actions=self._group(kind),
            reason="because",
            ttl_s=rng.choice((1.0, 30.0, 600.0)),
            model=MODEL if rng.random() < 0.6 else None,
            confidence=0.9,
        )
        match kind:
            case "wrong-model":
                return msgspec.structs.replace(good, model=rng.choice(WRONG_MODELS))
            case "forged-confidence":
                forged = rng.choice((math.nan, math.inf, -0.1, 1.01, 1e308))
                return msgspec.structs.replace(good, confidence=forged, model=MODEL)
            case "stale":
                return msgspec.structs.replace(good, ttl_s=rng.choice((0.0, -1.0, math.nan, math.inf, 1e9)))
        return good

    def _id(self) -> CommandId:
        self._numbers += 1
        return CommandId(f"p-{self._numbers}")

    def _group(self, kind: str) -> tuple[AnyAction, ...]:
        """Mostly one action; now and then a group, with the same device twice where chance wants it."""
        size = 1 if self._rng.random() < 0.9 else self._rng.randint(2, 6)
        return tuple(self._action(kind) for _ in range(size))

    def _action(self, kind: str) -> AnyAction:
        rng, world = self._rng, self._world
        miner = rng.choice(world.miners)
        presets = world.presets(miner)
        match kind:
            case "saturate":
                top = (
                    presets[-1]
                    if rng.random() < 0.5
                    else presets[min(len(presets) - 1, len(presets) * 2 // 3)]
                )
                return SetPreset(device=miner, preset=top)
            case "not-a-number":
                return SetPoint(
                    device=rng.choice(world.drives),
                    point="speed_setpoint_pct",
                    value=rng.choice(_BAD_NUMBERS),
                )
            case "oscillate":
                self._up = not self._up
                return SetPreset(device=miner, preset=presets[-1] if self._up else presets[0])
            case "wrong-point":
                return self._wrong()
            case "start-stop-storm":
                return StartMining(device=miner) if rng.random() < 0.5 else StopMining(device=miner)
            case "starve-cooling":
                value = rng.choice((0.0, 5.0, 19.0, 30.0, 31.0))
                return SetPoint(device=rng.choice(world.drives), point="speed_setpoint_pct", value=value)
        return self._any_action()

    def _wrong(self) -> AnyAction:
        rng, world = self._rng, self._world
        return rng.choice(
            (
                SetPoint(device=rng.choice(world.miners), point="speed_setpoint_pct", value=10.0),
                SetPoint(device=rng.choice(world.drives), point="speed_pct", value=10.0),
                SetPoint(device=rng.choice(world.drives), point="setpoint_c", value=300.0),
                SetPoint(device=rng.choice(world.drives), point="", value=0.0),
                SetPreset(device=rng.choice(world.drives), preset="2500"),
                SetPreset(device=rng.choice(world.miners), preset="9999"),
                SetPreset(device=rng.choice(world.miners), preset="disabled"),
                SetPreset(device=DeviceId("ghost"), preset="2500"),
                StopMining(device=rng.choice(world.others)),
                StartMining(device=DeviceId("")),
                SwitchOutlet(device=rng.choice(world.others), outlet=rng.choice((1, 3, 99, -1)), on=True),
            )
        )

    def _any_action(self) -> AnyAction:
        rng, world = self._rng, self._world
        miner = rng.choice(world.miners)
        dice = rng.random()
        if dice < 0.6:
            return SetPreset(device=miner, preset=rng.choice(world.presets(miner)))
        if dice < 0.72:
            return StartMining(device=miner)
        if dice < 0.80:
            return StopMining(device=miner)
        if dice < 0.92:
            value = rng.choice((0.0, 20.0, 30.0, 45.0, 80.0, 100.0, rng.uniform(0.0, 100.0)))
            return SetPoint(device=rng.choice(world.drives), point="speed_setpoint_pct", value=value)
        if dice < 0.96:
            return SwitchOutlet(
                device=rng.choice(world.others), outlet=rng.randint(1, 9), on=rng.random() < 0.7
            )
        return self._wrong()
