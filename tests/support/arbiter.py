"""The arbiter's world for its tests: a situation changed word by word, and what becomes of a wish in it."""

from typing import Self

import msgspec

from edge_agent.config import CoolingActuator, SiteFile
from edge_agent.guardian import action_limits, arbiter
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.requests import Context, DeviceView, Memory, Refusal, Request, Source, ZoneView
from edge_agent.ipc import Mode
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.commands import AnyAction, ModelRef, Priority, SetPreset, StartMining, StopMining
from shared.ids import CommandId, DeviceId, ZoneId
from shared.telemetry import MinerState
from support.guardian import LADDER, MINER_ABILITIES, PDU, WALL

MODEL = ModelRef(name="anomaly", version=7, sha256="aa")
M1, M2 = DeviceId("m-1"), DeviceId("m-2")
ZONE = ZoneId("hall-1")
FACTS = DeviceFacts(model="s19", presets=LADDER, capabilities=MINER_ABILITIES)
WALL_FACTS = DeviceFacts(
    model="fc102",
    capabilities=(
        Capability(ability=Ability.SETPOINT, points=("speed_setpoint_pct",), low=10.0, high=100.0),
    ),
)
FAN = CoolingActuator(device=WALL, point="speed_setpoint_pct", fail_safe=100.0, low=0.0, high=100.0, off=0.0)
PDU_FACTS = DeviceFacts(model="pdu", capabilities=(Capability(ability=Ability.OUTLETS),))


class World:
    """A situation, changed word by word."""

    def __init__(self, site: SiteFile) -> None:
        self.site = site
        entries = {entry.id: entry for entry in site.devices}
        facts = {WALL: WALL_FACTS, PDU: PDU_FACTS}
        self.devices = {
            device: DeviceView(
                entry=entry,
                facts=facts.get(device, FACTS),
                age_s=1.0,
                state=MinerState.MINING,
                preset="2500",
                points={"speed_setpoint_pct": 60.0},
            )
            for device, entry in entries.items()
        }
        self.zone = ZoneView(
            mode=Mode.LOCAL_AUTO,
            cooling_proven=True,
            tripped=False,
            cooling={(WALL, "speed_setpoint_pct"): FAN},
            chip_c=70.0,
            swing_k=1.0,
        )
        self.context = Context(
            now_s=1000.0,
            timing=site.timing,
            ml_may_raise=True,
            ml_may_stop=False,
            limits=action_limits.load("seeds"),
            site_nominal_w=12_000.0,
            devices=self.devices,
            zones={ZONE: self.zone},
            memory=Memory(),
            lease_overdue_s=0.0,
            active_model=MODEL,
            journal_ok=True,
        )

    def now(self, **fields: object) -> Self:
        self.context = msgspec.structs.replace(self.context, **fields)
        return self

    def hall(self, mode: Mode | None = None, **fields: object) -> Self:
        self.zone = msgspec.structs.replace(self.zone, mode=mode or self.zone.mode, **fields)
        return self.now(zones={ZONE: self.zone})

    def seen(self, device: DeviceId, **fields: object) -> Self:
        self.devices[device] = msgspec.structs.replace(self.devices[device], **fields)
        return self

    def stopped(self, device: DeviceId, seconds: float = 60.0) -> Self:
        return self.seen(device, state=MinerState.STOPPED, stopped_for_s=seconds)

    def ask(
        self,
        action: AnyAction,
        *,
        by: Priority = Priority.ORDER,
        source: Source | None = None,
        command: str = "r-1",
        **fields: object,
    ) -> Permit | Refusal:
        sources = {Priority.ML: Source.POLICY, Priority.SCHEDULE: Source.POLICY, Priority.ORDER: Source.ORDER}
        request = Request(
            id=CommandId(command),
            action=action,
            priority=by,
            source=source or sources.get(by, Source.INTERLOCK),
            why="test",
            **{"model": MODEL if by is Priority.ML else None, **fields},  # type: ignore[arg-type] # fields vary by test
        )
        return arbiter.decide(request, self.context)

    def sent(self, made: Permit) -> Self:
        """The permit went out: the memory is what the arbiter makes of it."""
        return self.now(memory=arbiter.note(self.context.memory, made, self.context))

    def permit(self, action: AnyAction, **how: object) -> Permit:
        decision = self.ask(action, **how)  # type: ignore[arg-type] # passed on
        assert isinstance(decision, Permit), decision
        return decision

    def why_not(self, action: AnyAction, **how: object) -> str:
        decision = self.ask(action, **how)  # type: ignore[arg-type] # passed on
        assert isinstance(decision, Refusal), decision
        return "; ".join(decision.violations)


def preset(name: str, device: DeviceId = M1) -> SetPreset:
    return SetPreset(device=device, preset=name)


STOP, START = StopMining(device=M1), StartMining(device=M1)
