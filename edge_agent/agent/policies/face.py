"""What a policy is given and what it may give back.

A policy is a function of the context and of its own small memory. It reads no clock, opens no socket and
cannot act: its proposals go to the guardian's arbiter, its events to people.
"""

from typing import Protocol

import msgspec

from edge_agent.agent.inference.model import Score
from edge_agent.ipc import Mode
from shared.alarms import Event
from shared.capabilities import Preset
from shared.commands import ModelRef, Proposal
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState


class MinerView(msgspec.Struct, frozen=True, kw_only=True):
    """One miner as far as it is known. None is unknown."""

    device: DeviceId
    zone: ZoneId
    mode: Mode | None = None
    state: MinerState | None = None
    preset: str | None = None
    ladder: tuple[Preset, ...] = ()
    score: Score | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One policy cycle. `scored` is False when no new roll-ups came since the last cycle."""

    now_s: float
    now_ms: int
    scored: bool
    miners: tuple[MinerView, ...]
    model: ModelRef | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy would like, and what a person should know."""

    proposals: tuple[Proposal, ...] = ()
    events: tuple[Event, ...] = ()


class Policy(Protocol):
    """One concern. `remember` and `recall` carry over a restart what people were already told."""

    name: str

    def decide(self, context: Context) -> Decision: ...

    def remember(self) -> bytes: ...

    def recall(self, memory: bytes) -> None: ...
