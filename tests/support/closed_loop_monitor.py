"""What may never happen in the closed loop, checked against the plant's truth and by rules of its own.

A **violation** is attributable to software: with what the sensors delivered, and a machine that obeys, the
guardian could and should have prevented it. The monitor believes nothing that the core says of itself: it
keeps its own record of delivered samples, of proof, lease and starts, and re-derives each rule of the
contracts from them. It counts

* outputs: a permit off the miner's own tuned ladder or outside a clamp (S09); a stop by policy where the site
  forbids it, an outlet for anything but escalation; a raise while the zone is tripped, the miner latched,
  stale, blind or warm, cooling not proven, the lease out, the journal unable (S04 S07 S10 S12 S21), both when
  permitted and when sent; a model without its assignment or mode (S14); more than one rung, or more than one
  change per dwell, by a model or schedule; starts beyond the power per window or too soon (S08); anybody
  below his rank in TRIPPED, MANUAL or SAFE (S17); a command that reached a machine without a permit (S02);
* the core: a good reading at or above trip that latches nothing at that step; a proof that was low or unknown
  for `lost_after_s` and a turn, with miners running, that trips nothing; a tripped zone that does not ask to
  stop what is not seen stopped; a mode change that no table lists; a latch that vanished without a reset, or
  over a crash; a reset while the cause could be seen; a reading that was impossible and believed, or good and
  dropped;
* the plant: a miner that was latched or whole zone tripped, is reachable and obeys, and still runs after
  `PROMPT_S`, or runs again for more than `AGAIN_S`; a stop that was not confirmed and did not cut the outlet;
  a miner above its shed limit that nobody lowers.

**Not attributable**, by definition: rate limits begin anew when the guardian's process does (what the last
process had changed is counted as *noted*, not as a violation); what a sensor that lies inside its range makes
the guardian believe; a machine that refuses, hangs or is cut off (it must be asked, asked again, and cut
where it has an outlet); a machine that starts by itself, for as long as the next look takes; heat between two
looks.
"""

import math
from collections import Counter, deque
from collections.abc import Mapping

import msgspec
import numpy as np

from edge_agent.config import Effect, HighLimits, SiteFile, Zone
from edge_agent.guardian.actions.desk import PRESET_POLLS
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.interlocks.inputs import Demand, DemandKind, Finding
from edge_agent.guardian.interlocks.modes import TABLE, Cause
from edge_agent.guardian.interlocks.state import BOARD, CHIP, ZONE_COOLING, ZoneState
from edge_agent.guardian.requests import Context, Refusal, Source
from edge_agent.ipc import Mode, ZoneStatus
from firmware_adapters.capabilities import Observation
from shared.alarms import EventKind
from shared.clock import ManualClock
from shared.commands import (
    AnyAction,
    Priority,
    SetPoint,
    SetPreset,
    StartMining,
    StopMining,
    SwitchOutlet,
    WriteResult,
)
from shared.ids import DeviceId, ZoneId
from shared.plant import MinerState as PlantState
from shared.telemetry import METRICS, DeviceKind, MinerState, Reading, Sample
from support.closed_loop_adversary import MODEL
from support.closed_loop_desk import SyncDesk, Watcher
from support.closed_loop_faults import Stage

PROMPT_S = 4.0
"""A stop is sent in the step of its trip, and a machine that obeys leaves its mining state at once."""
AGAIN_S = 80.0
"""A machine that mines again by itself: the next look of a backed-off poll (36 s), a stop of before that is
still being confirmed (up to 20 s to its resend), a pause (10 s), the shutdown (4 s), steps of the plant."""
SHED_WITHIN_S = 60.0
TREND_S = 5.0
"""The action limits look at a zone's hottest chip every so often."""
STUCK_S = 600.0
STOPPED_SHARE = 0.3


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule: where and when to find it again."""

    kind: str
    step: int
    subject: str
    detail: str


class Seen(msgspec.Struct, kw_only=True):
    """The monitor's own record of one device."""

    at_s: float = -math.inf
    state: MinerState | None = None
    runs: bool = True
    chip_c: float | None = None
    board_c: float | None = None
    preset: str | None = None
    preset_at_s: float = -math.inf
    stopped_since_s: float | None = None
    warm_since_s: float | None = None
    shed_since_s: float | None = None
    over_since_s: float | None = None
    """Since when its chip is at or above what the action limits allow less cooling at."""
    points: dict[str, float] = {}


class Proof(msgspec.Struct):
    """The monitor's own account of one zone's cooling."""

    low_s: float = 0.0
    good_s: float = 0.0
    proven: bool = False
    value: float | None = None


class Monitor(Watcher):
    """Watches one episode; `violations` is what it is for."""

    def __init__(self, site: SiteFile, clock: ManualClock) -> None:
        self.site = site
        self.clock = clock
        self.step_number = 0
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()
        self.permits: list[str] = []
        self._zones: dict[ZoneId, Zone] = {zone.id: zone for zone in site.zones}
        self._entries = {entry.id: entry for entry in site.devices}
        self._actuators = {
            (actuator.device, actuator.point): actuator
            for zone in site.zones
            for actuator in zone.cooling_actuators
        }
        self._moved: dict[DeviceId, dict[str, tuple[float, float]]] = {}
        self.trips: dict[str, tuple[ZoneId, DeviceId | None, str]] = {}
        self._modes: dict[ZoneId, Mode] = {}
        self._cut: dict[tuple[DeviceId, int | None], DeviceId] = {}
        self._starts: deque[tuple[float, float]] = deque()
        self._preset_at: dict[DeviceId, float] = {}
        self._touched_s: dict[DeviceId, float] = {}
        self._prompt: dict[DeviceId, float] = {}
        self._lease_until_s = clock.monotonic()
        self.hottest_chip_c = 0.0
        self.forget()

    def attach(self, desk: SyncDesk, stage: Stage) -> None:
        """Who is watched."""
        self.desk = desk
        self.stage = stage
        fleet = stage.plant.fleet
        self._running_s = np.zeros(fleet.n)
        self._order = list(stage.devices.miners)
        self._number = {device: stage.devices.miners[device].index for device in self._order}

    def forget(self) -> None:
        """The guardian starts anew: what it saw before counts no more; its latches do."""
        self.seen: dict[DeviceId, Seen] = {}
        self.proofs = {zone: Proof() for zone in self._zones}
        self._hot: set[DeviceId] = set()
        self._active_s: dict[tuple[str, str], float] = {}
        self._lease_until_s = self.clock.monotonic()
        self._modes = {}
        self._asked: dict[ZoneId, Mode] = {}
        self._known_preset_at: dict[DeviceId, float] = {}

    def violated(self, kind: str, subject: object, detail: str) -> None:
        """Count a violation."""
        self.counts["violation " + kind] += 1
        self.violations.append(
            Violation(kind=kind, step=self.step_number, subject=str(subject), detail=detail)
        )

    # ---------------------------------------------------------------- samples

    def sample(self, sample: Sample, raw: Observation | None) -> None:
        """A sample reached the guardian's board; `raw` is what it was before it was judged."""
        if sample.failure is not None or raw is None:
            return
        self._judge(sample, raw)
        seen = self.seen.setdefault(sample.device, Seen())
        seen.at_s = sample.at_s
        entry = self._entries[sample.device]
        if entry.kind is not DeviceKind.MINER:
            seen.points = {n: r.value for n, r in sample.readings.items() if r.usable is not None}
            return
        seen.state = sample.state
        power_w = sample.usable("power_w")
        draws = sample.state is None or sample.state.draws_power
        seen.runs = draws or (power_w is not None and power_w > STOPPED_SHARE * (entry.nominal_w or 0.0))
        if seen.runs:
            seen.stopped_since_s = None
        elif seen.stopped_since_s is None:
            seen.stopped_since_s = sample.at_s
        if sample.preset is not None:
            seen.preset, seen.preset_at_s = sample.preset, sample.at_s
        seen.chip_c, seen.board_c = sample.usable("chip_temp_max_c"), sample.usable("board_temp_max_c")
        limits = self._zones[entry.zone].limits
        self._temperature(seen, sample, limits.chip_temp_c, limits.board_temp_c)

    def _temperature(self, seen: Seen, sample: Sample, chip: HighLimits, board: HighLimits) -> None:
        def above(name: str) -> bool:
            pairs = ((seen.chip_c, getattr(chip, name)), (seen.board_c, getattr(board, name)))
            return any(value is not None and value >= limit for value, limit in pairs)

        if above("trip"):
            self._hot.add(sample.device)
        else:
            self._hot.discard(sample.device)
        hot = seen.chip_c is not None and seen.chip_c >= self.desk.limits.cooling.max_chip_c
        seen.over_since_s = (seen.over_since_s or sample.at_s) if hot else None
        seen.warm_since_s = (seen.warm_since_s or sample.at_s) if above("warn") else None
        seen.shed_since_s = (seen.shed_since_s or sample.at_s) if above("shed") and seen.runs else None

    def _judge(self, sample: Sample, raw: Observation) -> None:
        """No impossible value is believed, and no good one is dropped unless it stood still for long."""
        moved = self._moved.setdefault(sample.device, {})
        judged = sample.readings
        for point, before in raw.readings.items():
            value = before.value
            if value is not None and (point not in moved or moved[point][0] != value):
                moved[point] = (value, sample.at_s)
            after = judged.get(point)
            usable = after is not None and after.value is not None and after.quality.usable
            if usable is (possible := _possible(point, before, raw)):
                continue
            if usable:
                self.violated("bad-value-believed", sample.device, f"{point} = {value!r}")
            elif sample.at_s - moved[point][1] < STUCK_S and possible:
                text = f"{point} = {value!r}, new for {sample.at_s - moved[point][1]:g} s"
                self.violated("good-value-dropped", sample.device, text)

    # ---------------------------------------------------------------- the agent

    def renewed(self, ttl_s: float) -> None:
        """A lease frame arrived."""
        if math.isfinite(ttl_s) or ttl_s == math.inf:
            if not ttl_s > 0 or math.isinf(ttl_s):
                return
            self._lease_until_s = self.clock.monotonic() + min(ttl_s, self.site.timing.lease_max_s)

    # ---------------------------------------------------------------- the core

    def core(
        self,
        state: Mapping[ZoneId, ZoneState],
        statuses: Mapping[ZoneId, ZoneStatus],
        demands: tuple[Demand, ...],
        found: tuple[Finding, ...],
        dt: float,
    ) -> None:
        """The core made a step."""
        now_s = self.clock.monotonic()
        for finding in found:
            if finding.kind is EventKind.TRIPPED and finding.zone is not None:
                name = finding.key.removeprefix("trip/")
                interlock = str(finding.data["interlock"])
                self.trips[name] = (finding.zone, finding.device, interlock)
                self.counts["trip " + interlock] += 1
                self._expect_stops(finding.zone, finding.device, now_s)
        self._latches(state)
        for zone_id, zone in self._zones.items():
            self._cooling(zone, dt, tripped=bool(state[zone_id].zone_trips))
            mine = [demand for demand in demands if self._entries[demand.device].zone == zone_id]
            self._zone(zone, statuses[zone_id], mine, state[zone_id])
            self._contacts(zone, dt, tripped=bool(state[zone_id].zone_trips))
            self._probes(zone, dt, tripped=bool(state[zone_id].zone_trips))
        self._missed_trips(state, now_s)

    def _latches(self, state: Mapping[ZoneId, ZoneState]) -> None:
        held = {trip.id for zone in state.values() for trip in zone.trips}
        for name in [name for name in self.trips if name not in held]:
            self.violated("latch-lost", name, "gone without a reset")
            del self.trips[name]
        for name in held - self.trips.keys():
            self.violated("latch-unknown", name, "was never announced")

    def restored(self, state: Mapping[ZoneId, ZoneState]) -> None:
        """The guardian came back: exactly what was latched must be latched."""
        self._latches(state)

    def _expect_stops(self, zone: ZoneId, device: DeviceId | None, now_s: float) -> None:
        for miner, entry in self._entries.items():
            if entry.kind is not DeviceKind.MINER or miner not in ({device} if device else {miner}):
                continue
            if entry.zone == zone and self.desk.waits_for(miner, DemandKind.STOP) <= 0:
                self._prompt.setdefault(miner, now_s + PROMPT_S)

    def _cooling(self, zone: Zone, dt: float, *, tripped: bool) -> None:
        proof, rule = self.proofs[zone.id], zone.cooling_proof
        now_s = self.clock.monotonic()
        proof.value = value = self._fresh(DeviceId(rule.device), rule.point)
        if value is None or value < rule.lost_below:
            proof.low_s, proof.good_s, proof.proven = proof.low_s + dt, 0.0, False
        else:
            proof.low_s = 0.0
            proof.good_s = proof.good_s + dt if value >= rule.proven_above else 0.0
            proof.proven = proof.proven or proof.good_s >= rule.proven_for_s
        if proof.low_s >= rule.lost_after_s + dt and not tripped and self._known_running(zone.id, now_s):
            self.violated("cooling-lost-not-tripped", zone.id, f"{value} for {proof.low_s:g} s")

    def _known_running(self, zone: ZoneId, now_s: float) -> bool:
        stale_s = self.site.timing.stale_after_s
        return any(
            seen.runs and now_s - seen.at_s <= stale_s and self._entries[device].zone == zone
            for device, seen in self.seen.items()
            if self._entries[device].kind is DeviceKind.MINER
        )

    def _contacts(self, zone: Zone, dt: float, *, tripped: bool) -> None:
        """An input that is read as active for its delay and a turn trips the zone, whatever runs there."""
        for contact in zone.contacts:
            if contact.effect is not Effect.TRIP:
                continue
            key = (zone.id, contact.name)
            active = self._fresh(DeviceId(contact.device), contact.point) == 1.0
            self._active_s[key] = self._active_s.get(key, 0.0) + dt if active else 0.0
            if self._active_s[key] > contact.on_delay_s + dt and not tripped:
                self.violated("contact-missed", zone.id, f"{contact.name} for {self._active_s[key]:g} s")

    def _probes(self, zone: Zone, dt: float, *, tripped: bool) -> None:
        """Where every probe of a quantity stands beyond its trip limit, the zone trips while it is loaded."""
        for role in dict.fromkeys(sensor.role for sensor in zone.sensors):
            limits = getattr(zone.limits, str(role))
            values = [self._fresh(DeviceId(s.device), s.point) for s in zone.sensors if s.role is role]
            sign = 1.0 if isinstance(limits, HighLimits) else -1.0
            beyond = all(value is not None and sign * (value - limits.trip) >= 0 for value in values)
            key = (zone.id, str(role))
            self._active_s[key] = self._active_s.get(key, 0.0) + dt if beyond else 0.0
            loaded = self._known_running(zone.id, self.clock.monotonic())
            if self._active_s[key] > limits.on_delay_s + 2 * dt and loaded and not tripped:
                self.violated("probe-missed", zone.id, f"{role} {values}, trip limit {limits.trip:g}")

    def _fresh(self, device: DeviceId, point: str) -> float | None:
        seen = self.seen.get(device)
        if seen is None or self.clock.monotonic() - seen.at_s > self.site.timing.stale_after_s:
            return None
        return seen.points.get(point)

    def _zone(self, zone: Zone, status: ZoneStatus, demands: list[Demand], now: ZoneState) -> None:
        before = self._asked.pop(zone.id, self._modes.get(zone.id))
        if before is not None and before is not status.mode and not _reachable(before, status.mode):
            self.violated("mode-unlisted", zone.id, f"{before} → {status.mode}")
        self._modes[zone.id] = status.mode
        tripped = bool(now.zone_trips)
        if tripped is not (status.mode is Mode.TRIPPED):
            self.violated("mode-wrong", zone.id, f"trips {tripped}, mode {status.mode}")
        starts = [d.device for d in demands if d.kind is DemandKind.START]
        if starts and (tripped or not self.proofs[zone.id].proven or status.mode is Mode.MANUAL):
            self.violated("start-demanded", zone.id, f"{len(starts)} starts in {status.mode}")
        if not tripped:
            return
        asked = {d.device for d in demands if d.kind is DemandKind.STOP}
        for device in self._order:
            seen = self.seen.get(device)
            if self._entries[device].zone != zone.id or device in asked:
                continue
            if seen is None or seen.runs:
                self.violated("stop-not-asked", device, "zone tripped, not seen stopped")

    def _missed_trips(self, state: Mapping[ZoneId, ZoneState], now_s: float) -> None:
        for device in sorted(self._hot):
            seen, entry = self.seen[device], self._entries[device]
            if now_s - seen.at_s > self.site.timing.stale_after_s:
                continue
            if device not in state[entry.zone].latched:
                text = f"chip {seen.chip_c}, board {seen.board_c}, {now_s - seen.at_s:g} s old"
                self.violated("trip-missed", device, text)

    def asked(self, zone: ZoneId, mode: Mode) -> None:
        """A person's request changed a zone between two turns; it counts from the next turn on."""
        self._asked[zone] = mode

    def was_reset(self, zone: ZoneId, granted: Granted) -> None:
        """A person's reset was granted."""
        for trip in granted.cleared:
            self.trips.pop(trip.id, None)
            if trip.interlock == ZONE_COOLING and not (
                (self.proofs[zone].value or 0.0) >= self._zones[zone].cooling_proof.lost_below
            ):
                self.violated("reset-with-cause", zone, f"cooling is {self.proofs[zone].value}")
            if trip.interlock in (CHIP, BOARD) and trip.device is not None:
                self._reset_miner(trip.device, trip.interlock)

    def _reset_miner(self, device: DeviceId, interlock: str) -> None:
        seen, limits = self.seen.get(device), self._zones[self._entries[device].zone].limits
        if seen is None or self.clock.monotonic() - seen.at_s > self.site.timing.stale_after_s:
            self.violated("reset-with-cause", device, f"{interlock}: nothing was heard of it")
            return
        value_c = seen.chip_c if interlock == CHIP else seen.board_c
        warn_c = limits.chip_temp_c.warn if interlock == CHIP else limits.board_temp_c.warn
        if value_c is not None and value_c >= warn_c:
            self.violated("reset-with-cause", device, f"{interlock}: {value_c:g} °C")

    # ---------------------------------------------------------------- permits

    def permitted(self, permit: Permit, context: Context) -> None:
        """See `Watcher`."""
        request, action, now_s = permit.request, permit.action, self.clock.monotonic()
        self.permits.append(f"{request.source}:{action!r}")
        self.counts[f"permit {request.source}"] += 1
        if permit.narrowed:
            self.counts["narrowed"] += 1
        entry = self._entries[action.device]
        self._clamps(permit, entry.zone)
        self._rank(permit, entry.zone)
        if request.source is Source.POLICY:
            self._policy(permit, entry.zone)
        raises = self._raises(action, entry.zone) and not self._to_the_safe_step(permit)
        if raises:
            self._no_raise(permit, entry.zone, "permitted")
        if isinstance(action, SetPreset):
            if raises or request.priority <= Priority.ML:
                self._dwell(permit, now_s)
            self._preset_at[action.device] = self._known_preset_at[action.device] = now_s
        if isinstance(action, StartMining):
            self._start(permit, now_s)
        self._touched_s[action.device] = now_s + permit.settle_s

    def sending(self, permit: Permit, context: Context) -> None:
        """See `Watcher`. A raise that waited for the disk is judged again as it goes out."""
        self.counts["writes"] += 1
        zone_id = self._entries[permit.action.device].zone
        if self._raises(permit.action, zone_id, sent=True) and not self._to_the_safe_step(permit):
            self._no_raise(permit, zone_id, "sent")

    def _clamps(self, permit: Permit, zone_id: ZoneId) -> None:
        action = permit.action
        match action:
            case SetPreset():
                self._ladder(action)
            case SetPoint(point=point, value=value):
                clamp = self._actuators.get((str(action.device), point))
                off = clamp is not None and permit.request.source is Source.INTERLOCK and value == clamp.off
                if not math.isfinite(value) or (
                    clamp is not None and not clamp.low <= value <= clamp.high and not off
                ):
                    self.violated("clamp", action.device, f"{point} = {value!r} by {permit.request.source}")
                if point != "speed_setpoint_pct" or self._entries[action.device].kind is not DeviceKind.DRIVE:
                    self.violated("point-unknown", action.device, f"{point} = {value!r}")
            case SwitchOutlet(on=on):
                if on or permit.request.source is not Source.ESCALATION:
                    self.violated("outlet", action.device, f"{action!r} by {permit.request.source}")

    def _ladder(self, action: SetPreset) -> None:
        rungs = self._rungs(action.device)
        if action.preset not in rungs:
            self.violated("off-ladder", action.device, f"{action.preset} is none of {rungs}")

    def _rungs(self, device: DeviceId) -> list[str]:
        """The rungs that this machine may run, by the plant's truth, by rising power."""
        fleet, index = self.stage.plant.fleet, self._number[device]
        model = fleet.models[index]
        return [
            rung.name
            for number, rung in enumerate(model.presets)
            if fleet.tuned[index, number] and not rung.modded_psu
        ]

    def _watts(self, device: DeviceId, preset: str | None) -> float | None:
        if device not in self._number:
            return None
        model = self.stage.plant.fleet.models[self._number[device]]
        return next((rung.power_w for rung in model.presets if rung.name == preset), None)

    def _believed_preset(self, device: DeviceId) -> str | None:
        seen = self.seen.get(device)
        keeps_s = max(PRESET_POLLS * self.site.timing.poll_s, self.site.timing.lost_after_s)
        if seen is None or self.clock.monotonic() - seen.preset_at_s > keeps_s:
            return None
        return seen.preset

    def _raises(self, action: AnyAction, zone_id: ZoneId, *, sent: bool = False) -> bool:
        """Whether the action moves towards more heat or less cooling, by what was delivered."""
        match action:
            case StartMining():
                return True
            case SetPreset(preset=preset):
                now_w, wanted_w = self._watts(action.device, self._believed_preset(action.device)), None
                wanted_w = self._watts(action.device, preset)
                if now_w is None or wanted_w is None:
                    return not sent or wanted_w is None
                return wanted_w > now_w
            case SetPoint(point=point, value=value):
                return self._less_cooling(action.device, point, value)
            case SwitchOutlet(on=on):
                return on
        return False

    def _to_the_safe_step(self, permit: Permit) -> bool:
        """The baseline's safe preset, where the running step is not known: S10 asks for it, blind or not."""
        action, entry = permit.action, self._entries[permit.action.device]
        baseline = permit.request.source is Source.BASELINE and isinstance(action, SetPreset)
        return (
            baseline
            and action.preset == entry.safe_preset
            and (self._watts(entry.id, self._believed_preset(entry.id)) is None)
        )

    def _less_cooling(self, device: DeviceId, point: str, value: float) -> bool:
        actuator = self._actuators.get((str(device), point))
        if actuator is None:
            return True
        now = self.seen[device].points.get(point) if device in self.seen else None
        return value != actuator.fail_safe and (now is None or value < now)

    def _no_raise(self, permit: Permit, zone_id: ZoneId, when: str) -> None:
        request, action, now_s = permit.request, permit.action, self.clock.monotonic()
        if request.source is Source.INTERLOCK:
            return  # a rung of unknown height, downwards: checked as a shed
        timing, seen = self.site.timing, self.seen.get(action.device, Seen())
        tripped = {device for _, device, _ in self.trips.values()}
        against = []
        if any(z == zone_id and device is None for z, device, _ in self.trips.values()):
            against.append("zone-tripped")
        if action.device in tripped:
            against.append("latched")
        if now_s - seen.at_s > timing.stale_after_s:
            against.append("stale")
        if not self.proofs[zone_id].proven:
            against.append("cooling-unproven")
        if self.stage.disk_full:
            against.append("journal")
        overdue_s = now_s - self._lease_until_s
        if (
            overdue_s >= timing.lease_hold_s
            and request.source is not Source.RESTART
            and request.priority < Priority.MANUAL
        ):
            against.append("lease-out")
        if self._entries[action.device].kind is DeviceKind.MINER:
            against += self._warm_or_blind(seen, zone_id, now_s)
        for why in against:
            self.violated(f"raise-{why}", action.device, f"{action!r} by {request.source} {when}")

    def _warm_or_blind(self, seen: Seen, zone_id: ZoneId, now_s: float) -> list[str]:
        found = []
        delay_s = self._zones[zone_id].limits.chip_temp_c.on_delay_s
        warm_s = now_s - seen.warm_since_s if seen.warm_since_s is not None else -1.0
        if warm_s > delay_s + self.site.timing.poll_s:
            found.append("warm")
        if seen.runs and seen.chip_c is None and seen.board_c is None:
            found.append("blind")
        return found

    def _rank(self, permit: Permit, zone_id: ZoneId) -> None:
        mode, request = self._modes.get(zone_id), permit.request
        tripped = any(z == zone_id and device is None for z, device, _ in self.trips.values())
        least = {Mode.MANUAL: Priority.MANUAL}.get(mode) if mode is not None else None
        if tripped:
            least = Priority.TRIP
        if least is not None and request.priority < least:
            harmless = request.priority in (Priority.ORDER, Priority.SAFE) and not self._raises(
                permit.action, zone_id
            )
            if not (tripped and harmless):
                self.violated("rank", permit.action.device, f"{request.source} acts in {mode}")
        if mode is Mode.SAFE and request.priority <= Priority.ML:
            self.violated("rank", permit.action.device, f"{request.source} acts in {mode}")

    def _policy(self, permit: Permit, zone_id: ZoneId) -> None:
        request, action = permit.request, permit.action
        if isinstance(action, StopMining | SwitchOutlet) and not self.site.site.ml_may_stop:
            self.violated("policy-stop", action.device, repr(action))
        if request.confidence is not None and not 0.0 <= request.confidence <= 1.0:
            self.violated("confidence", action.device, repr(request.confidence))
        if not request.ttl_left_s > 0:
            self.violated("not-fresh", action.device, repr(request.ttl_left_s))
        if request.model is not None:
            if request.model != MODEL or self.desk.active_model != MODEL:
                self.violated("wrong-model", action.device, repr(request.model))
            if self._modes.get(zone_id) is not Mode.ML_ACTIVE:
                self.violated("model-out-of-mode", action.device, str(self._modes.get(zone_id)))
            if self._raises(action, zone_id) and not self.site.site.ml_may_raise:
                self.violated("model-raises", action.device, repr(action))
        if isinstance(action, SetPoint):
            self._policy_cools(action, zone_id)
        if isinstance(action, SetPreset):
            rungs = self._rungs(action.device)
            now = self._believed_preset(action.device)
            known = now is not None and now in rungs and action.preset in rungs
            if known and abs(rungs.index(now) - rungs.index(action.preset)) > 1:
                self.violated("two-rungs", action.device, f"{now} → {action.preset}")

    def _policy_cools(self, action: SetPoint, zone_id: ZoneId) -> None:
        """A policy's set-point: at most its share of the range per change, and not less for hot chips."""
        limits, actuator = self.desk.limits.cooling, self._actuators.get((str(action.device), action.point))
        now = self.seen[action.device].points.get(action.point) if action.device in self.seen else None
        if actuator is None or now is None:
            self.violated("cooling-step", action.device, f"{action!r} from {now}")
            return
        largest = limits.step_share * (actuator.high - actuator.low)
        if abs(action.value - now) > largest + 1e-6 and actuator.low <= now <= actuator.high:
            self.violated("cooling-step", action.device, f"{now:g} → {action.value:g}, at most {largest:g}")
        since_s = [
            self.clock.monotonic() - seen.over_since_s
            for device, seen in self.seen.items()
            if seen.over_since_s is not None
            and self._entries[device].zone == zone_id
            and self.clock.monotonic() - seen.at_s <= self.site.timing.stale_after_s - TREND_S
        ]
        if max(since_s, default=0.0) > TREND_S and self._less_cooling(*_of(action)):
            self.violated("less-cooling-when-hot", action.device, f"{now:g} → {action.value:g}")

    def _dwell(self, permit: Permit, now_s: float) -> None:
        before_s = self._preset_at.get(permit.action.device)
        if before_s is not None and now_s - before_s < self.site.timing.preset_dwell_s:
            if permit.action.device not in self._known_preset_at:
                self.counts["noted: dwell forgotten by a restart"] += 1
                return
            text = f"{now_s - before_s:g} s after the last change, by {permit.request.source}"
            self.violated("dwell", permit.action.device, text)

    def _start(self, permit: Permit, now_s: float) -> None:
        timing, device = self.site.timing, permit.action.device
        seen = self.seen.get(device, Seen())
        if seen.stopped_since_s is None or now_s - seen.stopped_since_s < timing.restart_after_stop_s:
            self.violated("start-too-soon", device, f"stopped since {seen.stopped_since_s}, now {now_s}")
        while self._starts and now_s - self._starts[0][0] >= timing.restart_window_s:
            self._starts.popleft()
        self._starts.append((now_s, self._entries[device].nominal_w or 0.0))
        budget_w = timing.restart_power_pct / 100.0 * sum(e.nominal_w or 0.0 for e in self.site.miners)
        total_w = sum(watts for _, watts in self._starts)
        if len(self._starts) > 1 and total_w > budget_w:
            self.violated("restart-power", device, f"{total_w:.0f} W in a window of {budget_w:.0f} W")

    def refused(self, refusal: Refusal) -> None:
        """See `Watcher`."""
        self.counts[f"refused {refusal.request.source}"] += 1
        if not refusal.violations:
            self.violated(
                "refused-without-a-word", refusal.request.action.device, repr(refusal.request.action)
            )

    def ended(self, permit: Permit, result: WriteResult) -> None:
        """See `Watcher`."""
        self.counts[f"write {result}"] += 1
        if permit.request.source is Source.ESCALATION:
            self.counts["outlet cut"] += result is WriteResult.APPLIED

    def unconfirmed_stop(self, permit: Permit, *, cut: bool) -> None:
        """See `Watcher`."""
        self.counts["stop unconfirmed"] += 1
        entry = self._entries[permit.action.device]
        pdu_seen = self.seen.get(entry.pdu or DeviceId(""))
        if cut and entry.pdu is not None and pdu_seen is not None and entry.pdu in self.stage.devices.facts:
            self._cut[entry.pdu, entry.outlet] = entry.id

    # ---------------------------------------------------------------- the plant

    def end_of_step(self) -> None:
        """Everything of this step has happened."""
        if self.stage.devices.fleet.unpermitted:
            for command in self.stage.devices.fleet.unpermitted:
                self.violated("write-without-permit", command.split(":")[0], command)
            self.stage.devices.fleet.unpermitted.clear()
        for (pdu, outlet), miner in self._cut.items():
            wanted = f"escalation:{SwitchOutlet(device=pdu, outlet=outlet, on=False)!r}"
            if wanted not in self.permits:
                self.violated("not-escalated", miner, f"outlet {outlet} of {pdu} was not cut")
        self._cut = {}
        self._prompt_stops()
        self._sheds()

    def _obeys(self, device: DeviceId) -> bool:
        return (
            self.stage.hindered[device] <= 0
            and self.stage.devices.fleet.reachable[self._number[device]]
            and device not in self.stage.devices.silent
        )

    def _draws(self, device: DeviceId) -> bool:
        fleet, index = self.stage.plant.fleet, self._number[device]
        return bool(fleet.phases.state[index] < PlantState.SHUTTING_DOWN and fleet.energised[index])

    def _must_rest(self, device: DeviceId) -> bool:
        zone = self._entries[device].zone
        return any(z == zone and d in (None, device) for z, d, _ in self.trips.values())

    def _prompt_stops(self) -> None:
        now_s = self.clock.monotonic()
        for device, until_s in list(self._prompt.items()):
            if not (self._must_rest(device) and self._obeys(device)) or not self._draws(device):
                del self._prompt[device]
            elif now_s >= until_s:
                del self._prompt[device]
                self.violated("stop-late", device, f"still runs {PROMPT_S:g} s after its trip")

    def _sheds(self) -> None:
        now_s, timing = self.clock.monotonic(), self.site.timing
        for device, seen in self.seen.items():
            if seen.shed_since_s is None or now_s - seen.at_s > timing.stale_after_s:
                continue
            limits = self._zones[self._entries[device].zone].limits
            delay_s = max(limits.chip_temp_c.on_delay_s, limits.board_temp_c.on_delay_s)
            since_s = max(seen.shed_since_s, self._touched_s.get(device, -math.inf))
            if now_s - since_s > delay_s + SHED_WITHIN_S and not self._must_rest(device):
                self.violated("shed-missed", device, f"chip {seen.chip_c} for {now_s - since_s:g} s")
                seen.shed_since_s = None

    def plant_stepped(self, dt: float) -> None:
        """Look at the truth after the physics moved on."""
        fleet = self.stage.plant.fleet
        hashing = fleet.board_power_w.sum(axis=1) > 0
        if hashing.any():
            self.hottest_chip_c = max(self.hottest_chip_c, float(fleet.chip_c[hashing].max()))
        if not self.trips:
            self._running_s[:] = 0.0
            return
        draws = (fleet.phases.state < PlantState.SHUTTING_DOWN) & fleet.energised
        for device in self._order:
            index = self._number[device]
            if draws[index] and self._must_rest(device) and self._obeys(device):
                self._running_s[index] += dt
                if self._running_s[index] > AGAIN_S:
                    self.violated("runs-while-tripped", device, f"for {self._running_s[index]:g} s")
                    self._running_s[index] = 0.0
            else:
                self._running_s[index] = 0.0

    @property
    def interventions(self) -> int:
        """Wishes that were refused or narrowed, and what the guardian did of its own accord."""
        kept = ("refused policy", "refused order", "narrowed", "permit interlock", "permit baseline")
        kept += ("permit escalation",)
        return sum(self.counts[name] for name in kept)

    @property
    def wishes(self) -> int:
        """What the adversary asked for."""
        return sum(
            self.counts[f"{word} {who}"] for word in ("refused", "permit") for who in ("policy", "order")
        )


def _of(action: SetPoint) -> tuple[DeviceId, str, float]:
    return action.device, action.point, action.value


def _possible(point: str, reading: Reading, raw: Observation) -> bool:
    """Whether a value can be true: known, finite, in the range of its metric, and no half of a 0/0 pair."""
    value = reading.value
    if value is None or not reading.quality.usable:
        return False
    if point not in _RANGES:
        metric = METRICS.get(point.split(".", 1)[0])
        _RANGES[point] = (metric.low, metric.high) if metric is not None else (1.0, 0.0)
    low, high = _RANGES[point]
    if not low <= value <= high:  # also true of NaN
        return False
    if value == 0.0 and point in _PAIRED:
        other = raw.readings.get(_PAIRED[point])
        return other is not None and other.usable is not None and other.usable != 0.0
    return True


_RANGES: dict[str, tuple[float, float]] = {}
_PAIRED = {
    "chip_temp_max_c": "chip_temp_min_c",
    "chip_temp_min_c": "chip_temp_max_c",
    "board_temp_max_c": "board_temp_min_c",
    "board_temp_min_c": "board_temp_max_c",
}


_BY_PERSONS = (Cause.RESET, Cause.OPERATOR_MANUAL, Cause.OPERATOR_AUTO, Cause.SAFE_STOP)


def _reachable(before: Mode, after: Mode) -> bool:
    """Whether one turn can lead there without a person; a turn may take several listed transitions."""
    reached, edge = {before}, {before}
    while edge and after not in reached:
        steps = [TABLE[mode].items() for mode in edge]
        edge = {mode for step in steps for cause, mode in step if cause not in _BY_PERSONS} - reached
        reached |= edge
    return after in reached
