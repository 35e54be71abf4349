"""The closed loop: an adversarial agent, the real core and arbiter, emulated devices and the plant, in steps.

One control step is one turn of the guardian (`CONTROL_S`): time passes, faults begin and end, the plant moves
(every `PLANT_S`), devices are polled, writes in flight go on, the core steps, latches go to the "disk",
demands are applied, and then the adversary has its say. No socket, no process, no event loop: the same seed
gives the same trace to the last bit, which `EpisodeResult.trace` proves.

A run is a sequence of episodes, each with a site, weather, faults and random numbers of its own, so that
(seed, episode, step) finds any moment again.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.actions.proposals import malformed, requests_of
from edge_agent.guardian.agents.lease import Lease
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Answer, Granted
from edge_agent.guardian.interlocks.inputs import Demand, Finding, ModelClaim
from edge_agent.guardian.interlocks.state import Durable, ZoneState
from edge_agent.guardian.polling.backoff import pause_s
from edge_agent.guardian.polling.cadence import urgent_devices
from edge_agent.guardian.polling.poller import BACK_OFF_CAP_S
from edge_agent.guardian.polling.rare import FACTS_EVERY_S, FACTS_RETRY_S
from edge_agent.guardian.requests import Refusal, Request, Source
from edge_agent.guardian.storage import durable
from edge_agent.guardian.storage.latches import placed
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from shared.clock import ManualClock
from shared.commands import AnyAction, Priority, Proposal
from shared.ids import CommandId, DeviceId, ZoneId
from shared.telemetry import DeviceKind
from support.closed_loop_adversary import MODEL, Adversary, World
from support.closed_loop_desk import SyncDesk
from support.closed_loop_devices import make_devices
from support.closed_loop_faults import Director, Stage
from support.closed_loop_monitor import Monitor, Violation
from support.closed_loop_site import PLANT_S, draw_plant, draw_site, gear_of

CONTROL_S = 1.0
"""One control step of the short runs, s: coarser than the guardian's own turns, for more time per step."""
EPISODE_STEPS = 5_000


class MemoryLatches:
    """The file of latches without a disk: sealed and unsealed as the real one, and just as hard to fool."""

    def __init__(self) -> None:
        self._bytes = durable.seal({})

    def load(self, site: SiteFile, *, at_ms: int) -> dict[ZoneId, Durable]:
        """What was kept, placed as the real one places it."""
        return placed(durable.unseal(self._bytes, dict[ZoneId, Durable]), site)

    def save(self, kept: dict[ZoneId, Durable]) -> None:
        """Replace what was kept."""
        self._bytes = durable.seal(kept)


class Findings:
    """The recorder's place: what the turn found."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def record(self, finding: Finding) -> int:
        """Keep it for the monitor."""
        self.found.append(finding)
        return len(self.found)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an episode is made of, beyond its seed."""

    steps: int = EPISODE_STEPS
    control_s: float = CONTROL_S
    fault_every_s: float = 60.0
    faults: tuple[str, ...] = ()
    """Only these; empty: all."""
    strategy: str | None = None
    """Only this; None: one after the other."""


class EpisodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one episode came to."""

    number: int
    steps: int
    violations: tuple[Violation, ...]
    interventions: int
    wishes: int
    faults: dict[str, int]
    counts: dict[str, int]
    hottest_chip_c: float
    trace: str


class Episode:
    """One site's life under attack; `run` plays it."""

    def __init__(self, seed: int, number: int, plan: Plan | None = None) -> None:
        self.number = number
        self.plan = plan or Plan()
        self.rng = random.Random(f"{seed}/{number}")
        self.clock = ManualClock()
        self.site = draw_site(self.rng)
        built = draw_plant(self.site, self.rng)
        self.monitor = Monitor(self.site, self.clock)
        self.devices = make_devices(
            self.site.devices, built, gear_of(self.site, built), self.clock, self.rng, self.monitor.sample
        )
        self.stage = Stage(self.site, built, self.devices, self.clock, self.rng)
        self.director = Director(self.stage, every_s=self.plan.fault_every_s, only=self.plan.faults)
        self.lease = Lease(self.clock, max_s=self.site.timing.lease_max_s)
        self.desk = SyncDesk(self.site, self.devices, lambda: self.lease, self.clock, self.rng, self.monitor)
        self.monitor.attach(self.desk, self.stage)
        self.world = World(
            list(self.devices.miners),
            [entry.id for entry in self.site.devices if entry.kind is DeviceKind.DRIVE],
            [d for d in self.devices.gear if self.devices.entries[d].kind is not DeviceKind.DRIVE],
        )
        self.adversary = Adversary(self.world, self.rng, self.plan.strategy)
        self._urgent = urgent_devices(self.site)
        self._latches: Any = MemoryLatches()
        self._recorder: Any = Findings()
        self._claim = ModelClaim.NONE
        self._trace = hashlib.blake2b(digest_size=16)
        self._told: set[CommandId] = set()
        self._start_process()

    # ---------------------------------------------------------------- the process's life

    def _start_process(self) -> None:
        """As the guardian starts: latches from the disk, nothing heard, no lease."""
        self.lease = Lease(self.clock, max_s=self.site.timing.lease_max_s)
        self.devices.forget()
        self.cycle = Cycle(
            self.site,
            self.devices.board,
            self._latches,
            self._recorder,
            self.clock,
            lease_overdue_s=lambda: self.lease.overdue_s,
            model=lambda: self._claim,
            facts=lambda device: self.devices.facts.get(device),
        )
        self.desk.serve(self.cycle)
        self.desk.forget()
        self.monitor.forget()
        self._claims(ModelClaim.NONE)
        now_s = self.clock.monotonic()
        count = len(self.site.devices)
        self._due = {e.id: now_s + self._period(e.id) * n / count for n, e in enumerate(self.site.devices)}
        self._facts_due = dict.fromkeys(self.devices.entries, now_s)
        self._failures: Counter[DeviceId] = Counter()

    def _claims(self, claim: ModelClaim) -> None:
        self._claim = claim
        self.desk.active_model = MODEL if claim is ModelClaim.ACTIVE else None
        self.desk.changed()

    def _crash(self) -> None:
        """kill -9 between two steps, and the restart."""
        self._start_process()
        self.monitor.restored(self._zones())
        self._note("crash")

    # ---------------------------------------------------------------- steps

    def run(self, each: Callable[["Episode"], None] | None = None) -> EpisodeResult:
        """Play the whole episode; `each` is called after every step."""
        for _ in range(self.plan.steps):
            self.step()
            if each is not None:
                each(self)
        return self.result()

    def step(self) -> None:
        """One control step."""
        monitor, rng = self.monitor, self.rng
        monitor.step_number += 1
        monitor.permits.clear()
        control_s = self.plan.control_s
        self.clock.advance(control_s)
        self.director.tick(control_s)
        if monitor.step_number % round(PLANT_S / control_s) == 0:
            self._move_plant()
        self.desk.journal_ok = not self.stage.disk_full
        self._poll()
        self.desk.tick()
        demands = self._turn()
        self.desk.apply(demands)
        if monitor.step_number % max(round(1.0 / control_s), 1) == 0:  # people and agents act by the second
            self._persons()
            self._adversary()
        monitor.end_of_step()
        for permit in monitor.permits:
            self._note(permit)
        if monitor.step_number % 50 == 0:
            self._note(f"{self.stage.plant.power_w:.9g} {rng.random():.9g}")
        if self.stage.crash_wanted:
            self.stage.crash_wanted = False
            self._crash()

    def _note(self, word: str) -> None:
        self._trace.update(f"{self.monitor.step_number} {word}\n".encode())

    def _move_plant(self) -> None:
        plant = self.stage.plant
        plant.step(PLANT_S)
        self.devices.fleet.refresh()
        for gear in self.devices.gear.values():
            gear.tick()
        self.monitor.plant_stepped(PLANT_S)

    def _period(self, device: DeviceId) -> float:
        entry, timing = self.devices.entries[device], self.site.timing
        return entry.poll_s or (timing.safety_poll_s if device in self._urgent else timing.poll_s)

    def _poll(self) -> None:
        """Every device that is due, at its cadence; one that fails is left alone for longer."""
        now_s = self.clock.monotonic()
        self.devices.deliver()
        for device, due_s in self._due.items():
            if due_s > now_s:
                continue
            sample = self.devices.read(device)
            failures = self._failures[device] = self._failures[device] + 1 if sample.failure else 0
            if not failures and self._facts_due[device] <= now_s:
                self._read_facts(device, now_s)
            period_s = self._period(device)
            cap_s = period_s if device in self._urgent else BACK_OFF_CAP_S
            self._due[device] = now_s + pause_s(period_s, failures, cap_s=cap_s, jitter=self.rng)

    def _read_facts(self, device: DeviceId, now_s: float) -> None:
        before = self.devices.facts.get(device)
        self.devices.read_facts(device)
        facts = self.devices.facts.get(device)
        self._facts_due[device] = now_s + (
            FACTS_RETRY_S if facts is None or facts is before else FACTS_EVERY_S
        )
        if facts is not None:
            self.world.facts[device] = facts

    def _turn(self) -> tuple[Demand, ...]:
        """The interlock loop's turn: the real `Cycle`, whose time, board and disk are those of this loop."""
        self._recorder.found.clear()
        news = self.cycle.turn()
        self.desk.changed()
        found = tuple(self._recorder.found)
        self.monitor.core(self._zones(), self.cycle.statuses, news.demands, found, self.plan.control_s)
        for finding in found:
            if finding.kind is not EventKind.SYSTEM:
                self._note(f"{finding.kind} {finding.key}")
        self.cycle.keep()
        return news.demands

    def _zones(self) -> dict[ZoneId, ZoneState]:
        return {zone.id: self.cycle.look(zone.id) for zone in self.site.zones}

    # ---------------------------------------------------------------- persons

    def _persons(self) -> None:
        """Operators of mixed talent: they reset, safe-stop, take over and hand back."""
        rng = self.rng
        for zone in self.site.zones:
            state, dice = self.cycle.look(zone.id), rng.random()
            if state.trips and dice < 0.02:
                answer = self._ask_zone(zone.id, partial(asks.reset, zone=zone.id, by="ada", reason="looked"))
                if isinstance(answer, Granted):
                    self.monitor.was_reset(zone.id, answer)
            elif dice > 0.9998:
                self._ask_zone(zone.id, partial(asks.safe_stop, zone=zone.id, by="ada", reason="work"))
            elif dice > 0.999:
                self._mode(zone.id, Mode.MANUAL)
            elif dice > 0.97 and (state.mode is Mode.MANUAL or state.safe_why == "stop"):
                self._mode(zone.id, Mode.LOCAL_AUTO)

        if rng.random() < 0.005:
            self._electrician()

    def _electrician(self) -> None:
        """Switches cut outlets on again, on site."""
        pdu = self.devices.gear[DeviceId("pdu-1")]
        for point, value in pdu.points().items():
            if point.startswith("outlet_on.") and value == 0.0:
                pdu.write_point(point, 1.0)

    def _mode(self, zone: ZoneId, mode: Mode) -> None:
        self._ask_zone(zone, partial(asks.set_mode, zone=zone, mode=mode, by="ada", reason="because"))

    def _ask_zone(self, zone: ZoneId, question: Callable[[ZoneState], Answer]) -> Answer:
        """As `persons` does it: put to the zone, brought to the disk, in force from the next turn on."""
        answer = self.cycle.ask(zone, question, commit=True)
        if isinstance(answer, Granted):
            self.monitor.asked(zone, answer.state.mode)
            self.cycle.keep()
            self._note(f"person {zone} {answer.state.mode}")
        return answer

    # ---------------------------------------------------------------- the adversary

    def _adversary(self) -> None:
        turn = self.adversary.turn()
        for ttl_s in turn.leases:
            self.monitor.renewed(ttl_s)
            self.lease.renew(ttl_s)
            self.desk.changed()
        if self.rng.random() < 0.01:
            self._claims(self.rng.choice((ModelClaim.NONE, ModelClaim.SHADOW, *(ModelClaim.ACTIVE,) * 4)))
        for proposal in turn.proposals:
            self.propose(proposal)
        for action in turn.orders:
            self.order(action)

    def propose(self, proposal: Proposal) -> None:
        """As `intake` does it: a repeated id is answered and not carried out again."""
        if proposal.id in self._told:
            return
        self._told.add(proposal.id)
        if malformed(proposal):
            self.monitor.counts["malformed proposals"] += 1
            return
        for request in requests_of(proposal):
            self._ask(request)

    def order(self, action: AnyAction) -> None:
        """One action of a signed order."""
        self._ask(
            Request(
                id=CommandId("order"),
                action=action,
                priority=Priority.ORDER,
                source=Source.ORDER,
                why="order of mallory",
            )
        )

    def _ask(self, request: Request) -> None:
        decision = self.desk.decide(request)
        if not isinstance(decision, Refusal):
            self.desk.launch(decision)

    # ---------------------------------------------------------------- the end

    def result(self) -> EpisodeResult:
        """What it came to so far."""
        monitor = self.monitor
        return EpisodeResult(
            number=self.number,
            steps=monitor.step_number,
            violations=tuple(monitor.violations),
            interventions=monitor.interventions,
            wishes=monitor.wishes,
            faults=dict(sorted(self.director.counts.items())),
            counts=dict(sorted(monitor.counts.items())),
            hottest_chip_c=round(monitor.hottest_chip_c, 1),
            trace=self._trace.hexdigest(),
        )
