"""The agent's state as plain values, for the JSON, the page and tests."""

from typing import Final

import msgspec

from edge_agent.agent.cycle import Cycle
from edge_agent.agent.events import Evidence
from edge_agent.agent.inference.comparison import Shadow
from edge_agent.agent.inference.keeper import Keeper
from edge_agent.agent.inference.model import LoadedModel
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service
from edge_agent.agent.store.rows import StreamTotals
from edge_agent.agent.uplink.uplink import Uplink
from edge_agent.agent.view import SiteView
from edge_agent.ipc import CapStatus, StandingOrder, ZoneStatus
from shared.alarms import Event
from shared.clock import Clock
from shared.ids import ZoneId
from shared.telemetry import DeviceKind

_EVENTS: Final = 20


class GuardianState(msgspec.Struct, frozen=True, kw_only=True):
    """The link to the guardian."""

    connected: bool
    since_ms: int | None
    boot: str | None
    lease_left_s: float | None
    assignment: str | None


class UplinkState(msgspec.Struct, frozen=True, kw_only=True):
    """The link to the broker."""

    connected: bool
    since_ms: int | None
    unknown_publishes: int
    backlog: int
    unacked: int
    why: str = ""
    """Why there is no connection, or what the broker refuses; empty where all is well."""


class OutboxState(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for the cloud. `pending` of a stream counts all epochs, the other numbers this epoch."""

    streams: dict[str, StreamTotals]
    bytes: int


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded model."""

    name: str
    version: int
    sha256: str
    stage: str


class ShadowState(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate's shadow run; agreement None while there was nothing to compare."""

    cycles: int
    agreement: float | None
    alarms: int
    scored: int


class ModelsState(msgspec.Struct, frozen=True, kw_only=True):
    """Models by slot."""

    active: ModelState | None
    candidate: ModelState | None
    shadow: ShadowState
    pinned: str | None = None
    """`name v7` of the version that a person keeps."""
    confirmed: bool | None = None
    """Whether the active model has passed its trial; None where none acts."""
    refused: dict[str, int] = {}
    """Offers refused since the agent started, by where they failed."""
    figures: Evidence = {}
    """Of the active model, as its reports say them."""


class InferenceState(msgspec.Struct, frozen=True, kw_only=True):
    """The scoring cycle: how many, how long the last took, how many miners it scored."""

    cycles: int
    last_ms: float
    miners: int
    policy_cycles: int


class PowerState(msgspec.Struct, frozen=True, kw_only=True):
    """What the guardian last said of power; empty and None while it is away."""

    on_battery: bool | None = None
    battery_left_s: float | None = None
    caps: dict[str, CapStatus] = {}
    orders: tuple[StandingOrder, ...] = ()


class DataAge(msgspec.Struct, frozen=True, kw_only=True):
    """How old the newest good sample of each device kind's stalest and freshest device is, in s."""

    devices: int
    silent: int
    """Devices that never answered since the agent started."""
    oldest_s: float | None
    newest_s: float | None


class ServiceState(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the agent."""

    stalled: bool
    restarts: int
    last_error: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    site: str
    boot: str
    epoch: str
    at_ms: int
    guardian: GuardianState
    uplink: UplinkState
    outbox: OutboxState
    all_epochs: dict[str, int]
    dropped_rows: dict[str, int]
    model: ModelsState
    zones: dict[ZoneId, ZoneStatus]
    power: PowerState
    data_age: dict[DeviceKind, DataAge]
    journal: dict[str, int]
    inference: InferenceState
    quarantine: dict[str, int]
    quarantine_last: str
    events: tuple[Event, ...]
    services: dict[str, ServiceState]


class StatusSource:
    """Reads the parts; changes none."""

    def __init__(
        self,
        clock: Clock,
        boot: str,
        *,
        view: SiteView,
        records: Records,
        keeper: Keeper,
        cycle: Cycle,
        uplink: Uplink,
        services: list[Service],
    ) -> None:
        self._clock = clock
        self._boot = boot
        self._view = view
        self._records = records
        self._keeper = keeper
        self._cycle = cycle
        self._uplink = uplink
        self._services = services

    @property
    def alive(self) -> bool:
        """Whether every part's loop turns."""
        return not any(service.stalled for service in self._services)

    async def read(self) -> Status:
        """The state now; raises `StoreError` where the store cannot be read."""
        store, call = self._records.store, self._records.writer.call
        totals = await call(store.totals)
        epochs = await call(store.all_epochs)
        engine = self._keeper.engine
        return Status(
            site=str(self._view.site.site.id),
            boot=self._boot,
            epoch=store.epoch,
            at_ms=self._clock.utc_ms(),
            guardian=self._guardian(),
            uplink=UplinkState(
                connected=self._uplink.connected,
                since_ms=self._uplink.since_ms,
                unknown_publishes=self._uplink.unknown,
                backlog=self._uplink.lanes.backlog,
                unacked=self._uplink.lanes.unacked,
                why=self._uplink.why,
            ),
            outbox=OutboxState(streams=totals, bytes=store.held_bytes),
            all_epochs={stream: total.recorded_rows for stream, total in epochs.items()},
            dropped_rows={stream: total.dropped_rows for stream, total in epochs.items()},
            model=ModelsState(
                active=_model(engine.active),
                candidate=_model(engine.candidate),
                shadow=_shadow(engine.shadow),
                pinned=f"{pin.name} v{pin.version}" if (pin := self._keeper.memory.pin) is not None else None,
                confirmed=trial.confirmed if (trial := self._keeper.supervision.trial) is not None else None,
                refused=self._keeper.refused,
                figures=self._keeper.supervision.figures(engine.active) if engine.active is not None else {},
            ),
            zones=self._view.zones,
            power=self._power(),
            data_age=self._ages(),
            journal={"cursor": self._view.journal_cursor},
            inference=InferenceState(
                cycles=self._cycle.inferences,
                last_ms=round(self._cycle.last_ms, 2),
                miners=self._cycle.miners,
                policy_cycles=self._cycle.cycles,
            ),
            quarantine=self._view.quarantine,
            quarantine_last=self._view.quarantine_last,
            events=tuple(reversed(self._view.events))[:_EVENTS],
            services={
                service.name: ServiceState(
                    stalled=service.stalled, restarts=service.restarts, last_error=service.last_error
                )
                for service in self._services
            },
        )

    def _guardian(self) -> GuardianState:
        view = self._view
        return GuardianState(
            connected=view.guardian_connected,
            since_ms=view.guardian_since_ms,
            boot=view.hello.boot if view.hello is not None else None,
            lease_left_s=view.status.lease_left_s if view.status is not None else None,
            assignment=view.status.assignment if view.status is not None else None,
        )

    def _power(self) -> PowerState:
        told = self._view.status
        if told is None or not self._view.guardian_connected:
            return PowerState()
        return PowerState(
            on_battery=told.on_battery,
            battery_left_s=told.battery_left_s,
            caps=told.caps,
            orders=told.orders,
        )

    def _ages(self) -> dict[DeviceKind, DataAge]:
        now_ms = self._clock.utc_ms()
        ages: dict[DeviceKind, list[float]] = {}
        devices: dict[DeviceKind, int] = {}
        for device, entry in self._view.devices.items():
            devices[entry.kind] = devices.get(entry.kind, 0) + 1
            if (at_ms := self._view.sample_ms.get(device)) is not None:
                ages.setdefault(entry.kind, []).append(max(now_ms - at_ms, 0) / 1000)
        return {
            kind: DataAge(
                devices=count,
                silent=count - len(ages.get(kind, [])),
                oldest_s=max(ages[kind]) if kind in ages else None,
                newest_s=min(ages[kind]) if kind in ages else None,
            )
            for kind, count in devices.items()
        }


def _model(model: LoadedModel | None) -> ModelState | None:
    if model is None:
        return None
    return ModelState(
        name=model.manifest.name,
        version=model.manifest.version,
        sha256=model.manifest.sha256,
        stage=model.assignment.stage,
    )


def _shadow(shadow: Shadow) -> ShadowState:
    return ShadowState(
        cycles=shadow.cycles, agreement=shadow.agreement, alarms=shadow.alarms, scored=shadow.scored
    )
