"""The guardian as a process: puts its parts together, runs them, and lets go of them in order."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_agent.config import FansAfterTrip, SiteFile
from edge_agent.guardian import clock_sync, collector, told
from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.actions.executor import Executor
from edge_agent.guardian.actions.intake import Intake
from edge_agent.guardian.actions.orders import Orders
from edge_agent.guardian.actions.outcomes import Outcomes
from edge_agent.guardian.actions.previews import Previews
from edge_agent.guardian.actions.safe_steps import SafeSteps
from edge_agent.guardian.actions.watchdogs import Watchdogs
from edge_agent.guardian.agents.assignments import Assignments
from edge_agent.guardian.agents.lease import Lease
from edge_agent.guardian.agents.peers import AgentUids, Peer
from edge_agent.guardian.agents.server import AgentServer
from edge_agent.guardian.clock_sync import ClockSync
from edge_agent.guardian.cycle import LOOP_DEAF_S, Cycle, InterlockThread, News
from edge_agent.guardian.interlocks import demands
from edge_agent.guardian.interlocks.state import Trip
from edge_agent.guardian.notify import notify
from edge_agent.guardian.operators.desk import OperatorDesk
from edge_agent.guardian.operators.persons import Persons
from edge_agent.guardian.operators.proving import Proving
from edge_agent.guardian.operators.server import OperatorServer
from edge_agent.guardian.operators.show import show
from edge_agent.guardian.points import check_points, profiles_of
from edge_agent.guardian.polling import open_files
from edge_agent.guardian.polling.backfill import Histories
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.cadence import groups, kept_days, periods_s, urgent_devices
from edge_agent.guardian.polling.last_heard import LastHeard
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.pace import warm_of
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import Turns
from edge_agent.guardian.power.front import PowerFront
from edge_agent.guardian.power.runner import PowerOrders
from edge_agent.guardian.power.seen import Looker
from edge_agent.guardian.power.writer import Writer
from edge_agent.guardian.startup import OnlyOne, credentials_of
from edge_agent.guardian.storage import durable, last_good
from edge_agent.guardian.storage.capture import Captures
from edge_agent.guardian.storage.journal import Journal
from edge_agent.guardian.storage.latches import Latches
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import (
    Assign,
    Cleared,
    FromAgent,
    FromGuardian,
    Health,
    Inventory,
    JournalPage,
    Keys,
    Mode,
    Order,
    PlanRequest,
    Propose,
    SafeStop,
    Status,
    Tripped,
    Unassign,
)
from edge_agent.ipc import Lease as LeaseFrame
from firmware_adapters.capabilities import Credential, Telemetry
from firmware_adapters.registry import open_device
from shared.alarms import EventKind
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Signed
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError, SecurityError, StoreError
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry, accepting

log = logging.getLogger(__name__)

STATUS_EVERY_S = 2.0
HEALTH_EVERY_S = 10.0
CHANGES_EVERY_S = 6.0
"""Facts of a site that starts come one by one; they are told together."""
INVENTORY_DEVICES_PER_FRAME = 100
"""About 3.5 kB each with fifteen presets and all abilities of a VNish machine: a third of a frame's 1 MiB."""

Opener = Callable[[DeviceEntry, Credential | None, float], Telemetry]


def default_opener(entry: DeviceEntry, credential: Credential | None, timeout_s: float) -> Telemetry:
    """The adapter that the site file names."""
    return open_device(entry, credential, timeout_s=timeout_s)


class Guardian:
    """One site's guardian. `run` returns after `stop`, or raises what ended it."""

    def __init__(
        self,
        site: SiteFile,
        *,
        config_sha256: str,
        bad_config: str | None = None,
        clock: Clock | None = None,
        opener: Opener = default_opener,
        synchronised: ClockSync | None = None,
    ) -> None:
        self.site = site
        self.clock: Clock = clock or SystemClock()
        self.boot = secrets.token_hex(8)
        self._config_sha256 = config_sha256
        self._bad_config = bad_config
        profiles = profiles_of(site)
        check_points(site, profiles)
        self._kept_days = kept_days(profiles)
        state = Path(site.paths.guardian_state)
        durable.private_folder(state)
        keyring = self.keys = TrustedKeys(Path(site.paths.keyring), state / "keyring.bin", site.site.id)
        credentials = credentials_of(site, state)
        self._lock = OnlyOne(state / "guardian.lock")
        if synchronised is None:
            simulated = site.site.simulated
            synchronised = (
                clock_sync.simulated_site_needs_no_sync
                if simulated
                else clock_sync.system_clock_is_synchronised
            )
        self.journal = Journal(state / "journal", self.clock, self.boot)
        self.recorder = Recorder(self.journal, self.clock)
        self.lease = Lease(self.clock, max_s=site.timing.lease_max_s)
        self.assignments = Assignments(state / "assignments.json", keyring, site.site.id, self.clock)
        orders = Orders(
            state / "orders.json",
            keyring,
            site.site.id,
            self.clock,
            synchronised,
            zone_of={entry.id: entry.zone for entry in site.devices},
        )
        self.board, self.ring = Board({entry.id: entry.nominal_w for entry in site.miners}), Ring()
        self.samples = Samples(self.boot, self.board, self.ring)
        timeout_s = site.timing.request_timeout_s
        urgent, turns = urgent_devices(site), Turns()
        self.links = {
            entry.id: DeviceLink(
                entry,
                opener(entry, credentials.get(entry.credential or ""), timeout_s),
                self.samples,
                self.clock,
                timeout_s=timeout_s,
                turns=None if entry.id in urgent else turns,
            )
            for entry in (accepting(entry, site.firmware_accepted) for entry in site.devices)
        }
        self.cycle = Cycle(
            site,
            self.board,
            Latches(state / "latches.json"),
            self.recorder,
            self.clock,
            lease_overdue_s=lambda: self.lease.overdue_s,
            model=lambda: self.assignments.claim,
            held=lambda: self.power.held,
            facts=lambda device: self.links[device].facts,
        )
        executor = Executor(self.links, self.clock, timeout_s=timeout_s)
        self.desk = Desk(
            site,
            self.links,
            self.board,
            self.cycle,
            executor,
            self.recorder,
            self.lease,
            self.assignments,
            self.clock,
            boot=self.boot,
        )
        self.persons = Persons(site, self.cycle, self.recorder, on_cleared=self._cleared)
        self.intake = Intake(
            site,
            self.desk,
            self.cycle,
            orders,
            self.persons,
            self.recorder,
            Outcomes(
                site,
                self.desk,
                self.cycle,
                self.board,
                self.ring,
                self.recorder,
                self.clock,
                publish=self._publish,
            ),
            self.clock,
            publish=self._publish,
        )
        self.power = PowerOrders(
            site,
            self.cycle,
            self.board,
            Looker(site, self.board, self.cycle, self.links, self.clock),
            Writer(self.desk, self.clock),
            self.recorder,
            self.clock,
            state / "power-orders.json",
            synchronised=synchronised,
            background=self.desk.background,
            conclude=self.intake.conclude,
        )
        front = self.power_front = PowerFront(self.power)
        self.intake.power_order, self.intake.preview = (
            front.carry_out,
            Previews(self.desk, plan=front.preview, standing=front.standing).of,
        )
        self.desk.ordered = self.power.taken
        self.desk.caps = lambda: (*self.cycle.cap_views, *self.power.order_caps)
        self.captures = Captures(
            state / "captures",
            self.ring,
            {entry.id: (entry.zone, entry.kind) for entry in site.devices},
            self.clock,
            background=self.desk.background,
        )
        uids = AgentUids()
        self.server = AgentServer(
            Path(site.paths.guardian_socket),
            site.site.id,
            self.boot,
            config_sha256,
            self.ring,
            self,
            uids,
            self.clock,
        )
        self.proving = Proving(site, self.cycle, self.recorder, self.clock)
        operators = OperatorDesk(
            self.persons,
            self.proving,
            self.journal,
            state / "captures",
            status=self.status,
            preview=self.power_front.preview,
            cancel=self.power_front.cancel,
            show=lambda asked: show(self.links, self.samples, asked),
        )
        self.operator = OperatorServer(Path(site.paths.operator_socket), operators.answer, uids)
        self.histories = Histories(self.boot, self._publish)
        self._poller = Poller(
            self.links,
            self.clock,
            periods_s=periods_s(site, profiles),
            urgent=urgent,
            on_facts=self._facts,
            warm=warm_of(site),
            groups=groups(site),
            on_history=self.histories.take,
            last_heard=LastHeard(
                state / "last-heard.json",
                self.clock,
                synchronised=synchronised,
                room=lambda: self.journal.ok,
            ),
        )
        self.watchdogs = Watchdogs(
            self.links,
            self.board,
            self.recorder,
            self.clock,
            site.timing,
            turning=lambda: self.clock.monotonic() - self.cycle.turned_s < LOOP_DEAF_S,
            standing=self._standing,
        )
        self._safe_steps = SafeSteps(site, self.recorder)
        self._changed: set[DeviceId] = set()
        """Devices whose facts are news to the agents."""
        self._stopping, self._assigning = asyncio.Event(), asyncio.Lock()
        self._default_passwords: set[DeviceId] = set()

    # ------------------------------------------------------------ running

    async def run(self) -> None:
        """Run until `stop` is called. A part that ends by itself ends the process: systemd restarts it."""
        loop = asyncio.get_running_loop()
        self.samples.on_news = self.server.news
        self.recorder.start(loop)
        self._began()
        await self.server.start()
        await self.operator.start()
        thread = InterlockThread(
            self.cycle,
            self.clock,
            hand_over=lambda news: self._from_thread(loop, news),
            feed_watchdog=_feed_watchdog,
        )
        thread.start()
        notify("READY=1")
        log.info("guardian of %s runs, boot %s", self.site.site.id, self.boot)
        parts = [
            asyncio.ensure_future(self._poller.run()),
            asyncio.ensure_future(self._tell()),
            asyncio.ensure_future(self._watch(thread)),
            asyncio.ensure_future(self.proving.keep()),
            asyncio.ensure_future(self.watchdogs.run()),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            notify("STOPPING=1")
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            await self._close(thread)

    def stop(self) -> None:
        """Ask `run` to end. Miners keep what they were told; nothing is stopped by our leaving."""
        self._stopping.set()

    async def _close(self, thread: InterlockThread) -> None:
        await self.desk.close()
        await self.server.close()
        await self.operator.close()
        await asyncio.to_thread(thread.stop)
        await asyncio.gather(*(link.close() for link in self.links.values()), return_exceptions=True)
        await asyncio.to_thread(self.recorder.stop)
        self._lock.close()

    def _began(self) -> None:
        self.recorder.record(told.started(self.site.site.id, self.boot, len(self.site.devices)))
        for line in self.site.firmware_accepted:
            log.warning("%s firmware %r may be commanded, %s", line.adapter, line.firmware, line.words)
        if self._bad_config is not None:
            self._tell_bad_config("runs on the last good copy of its site file", self._bad_config)
            self.persons.distrust()
        if self.journal.repaired:
            self.recorder.record(told.journal_damaged(self.journal.repaired))
        if self.keys.damaged:
            self.recorder.record(told.keyring_damaged())

    def _tell_bad_config(self, what: str, why: str) -> None:
        log.error("guardian %s: %s", what, why)
        self.recorder.record(told.bad_site_file(what, why))

    def look_at(self, path: Path) -> None:
        """The site file may have changed: a good one ends this process, a bad one is told and kept out."""
        try:
            loaded = last_good.load(path, None)
        except ConfigError as error:
            self._tell_bad_config("keeps its present site file, the new one cannot be used", str(error))
            return
        if loaded.sha256 == self._config_sha256:
            log.info("the site file has not changed")
            return
        log.info("the site file has changed: ending, to be started on it")
        self.stop()

    # ------------------------------------------------------------ from the interlock thread

    def _from_thread(self, loop: asyncio.AbstractEventLoop, news: News) -> None:
        if not loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop closed in between: we are stopping
                loop.call_soon_threadsafe(self._news, news)

    def _news(self, news: News) -> None:
        if not self._stopping.is_set():
            self._act_on(news)
        # Last, because an event loop that breaks on what it is handed must not keep the watchdog fed.
        self.cycle.heard_s = self.clock.monotonic()

    def _act_on(self, news: News) -> None:
        self.desk.apply(news.demands)
        self.power.tick()
        for zone, status in self.cycle.statuses.items():
            for trip in status.trips:
                if trip.id in news.tripped:
                    log.error("zone %s: %s", zone, trip.first_out)
                    self.captures.tripped(trip)
                    self.server.broadcast(Tripped(trip=trip))
        if news.changed:
            self.server.broadcast(self.status())

    def _standing(self) -> frozenset[DeviceId]:
        """Cooling that must stand still now (smoke): its own time-out must not start it again."""
        off = (
            zone
            for zone in self.site.zones
            if (state := self.cycle.look(zone.id)).mode is Mode.TRIPPED
            and demands.fans_after(state, zone) is FansAfterTrip.OFF
        )
        return frozenset(DeviceId(actuator.device) for zone in off for actuator in zone.cooling_actuators)

    async def _watch(self, thread: InterlockThread) -> None:
        while thread.alive:
            await self.clock.sleep(1.0)
        raise RuntimeError("the interlock thread ended; the guardian must not go on without it")

    # ------------------------------------------------------------ to and from agents

    def _publish(self, message: FromGuardian) -> None:
        self.server.broadcast(message)

    def _cleared(self, zone: ZoneId, trip: Trip, by: str, reason: str) -> None:
        info = msgspec.structs.replace(trip, cause_present=False).info(zone)
        self.server.broadcast(Cleared(trip=info, by=by, reason=reason))

    async def _tell(self) -> None:
        ticks = 0
        while True:
            await self.clock.sleep(STATUS_EVERY_S)
            ticks += 1
            self.server.broadcast(self.status())
            if ticks % round(HEALTH_EVERY_S / STATUS_EVERY_S) == 0:
                self.server.broadcast(self.health())
            if ticks % round(CHANGES_EVERY_S / STATUS_EVERY_S) == 0 and self._changed:
                changed, self._changed = self._changed, set()
                devices = tuple(entry for entry in self.site.devices if entry.id in changed)
                for frame in self._frames(devices, change=True):
                    self.server.broadcast(frame)

    def status(self) -> Status:
        """Zones, lease, journal head and model, now."""
        return Status(
            zones=dict(self.cycle.statuses),
            lease_left_s=self.lease.left_s,
            journal_head=self.journal.durable_head,
            assignment=self.assignments.words,
            orders=self.power_front.standing(),
            caps=dict(self.cycle.caps),
            on_battery=self.cycle.on_battery,
            battery_left_s=self.cycle.battery_left_s,
            refused=self._refused(),
            keyring=self.keys.version,
        )

    def _refused(self) -> dict[str, int]:
        """What was refused since the start, by kind; kinds that never happened are left out."""
        counts = Counter(self.intake.refused) + self.operator.refused
        counts["agent frames"] = self.server.refused_frames
        return {kind: count for kind, count in counts.items() if count}

    def health(self) -> Health:
        """The guardian's own health."""
        times = list(self.cycle.times_ms) or [0.0]
        return Health(
            cycle_ms_p50=statistics.median(times),
            cycle_ms_max=max(times),
            polls=self.samples.polls,
            poll_failures=dict(self.samples.failures),
            journal_ok=self.journal.ok,
        )

    def inventory(self) -> list[Inventory]:
        """What stands on the site; large sites take several frames, each with its own devices."""
        return self._frames(self.site.devices, change=False)

    def _frames(self, devices: tuple[DeviceEntry, ...], *, change: bool) -> list[Inventory]:
        parts = max(-(-len(devices) // INVENTORY_DEVICES_PER_FRAME), 1)
        frames = []
        for part in range(parts):
            some = devices[part::parts]
            facts = {d.id: known for d in some if (known := self.links[d.id].facts) is not None}
            keep = {d.id: self._kept_days[d.id] for d in some if d.id in self._kept_days}
            frames.append(
                Inventory(devices=some, facts=facts, part=part, parts=parts, change=change, keep_days=keep)
            )
        return frames

    def greet(self) -> list[FromGuardian]:
        return [*self.inventory(), self.status(), *self.histories.frames]

    def journal_page(self, cursor: int) -> FromGuardian:
        return JournalPage(entries=self.journal.page(cursor), head=self.journal.durable_head)

    def handle(self, message: FromAgent, peer: Peer) -> None:
        """One message of an agent; nothing here waits."""
        match message:
            case LeaseFrame(ttl_s=ttl_s):
                self.lease.renew(ttl_s)
            case Propose(proposal=proposal):
                self.intake.propose(proposal)
            case Order(signed=signed):
                self.intake.order(signed)
            case Assign():
                self.desk.background(self._assign(message))
            case Unassign(reason=reason):
                self._model_event(f"{self.assignments.drop()}: {reason}", EventKind.MODEL)
                self.desk.background(self._drop_in_turn())
            case Keys(signed=signed):
                self.desk.background(self._take_keys(signed))
            case PlanRequest():
                self.server.broadcast(self.power_front.preview(message))
            case SafeStop(zone=zone, reason=reason):
                self.persons.safe_stop(zone, by=f"agent ({peer.name})", reason=reason)

    async def _drop_in_turn(self) -> None:
        """Mistrust counts at once, and against assignments that were on their way to the disk as well."""
        async with self._assigning:
            self.assignments.drop()

    async def _assign(self, message: Assign) -> None:
        async with self._assigning:  # one after the other, in the order they were told
            await self._accept(message)

    async def _accept(self, message: Assign) -> None:
        before = self.assignments.words
        try:
            text = await asyncio.to_thread(self.assignments.accept, message.signed, swapped=message.swapped)
        except SecurityError as error:
            self._model_event(f"model assignment refused: {error}", EventKind.REFUSED)
            return
        if self.assignments.words != before:
            self._model_event(text, EventKind.MODEL)
            self.server.broadcast(self.status())

    async def _take_keys(self, signed: Signed) -> None:
        """Keys that were removed stop counting now, and so do models that only they vouched for.

        That holds for an update that cannot be taken up yet as well (`TrustedKeys.held`); the agent sees in
        `Status.keyring` what is missing here and hands it in again.
        """
        async with self._assigning:
            before = self.keys.changes
            try:
                update = await asyncio.to_thread(self.keys.take, signed, now_ms=self.clock.utc_ms())
            except (SecurityError, StoreError) as error:
                self.recorder.record(told.keyring(f"keyring update refused: {error}", EventKind.REFUSED))
            else:
                if update is not None:
                    text = f"keyring version {update.version} counts now, with {len(update.keys)} keys"
                    self.recorder.record(told.keyring(text, EventKind.SYSTEM))
            if self.keys.changes == before:
                return
            if why := self.assignments.recheck():
                self._model_event(why, EventKind.REFUSED)
            self.server.broadcast(self.status())

    def _model_event(self, text: str, kind: EventKind) -> None:
        self.recorder.record(told.model(text, kind))

    # ------------------------------------------------------------ from the poller

    def _facts(self, device: DeviceId) -> None:
        self._changed.add(device)
        link = self.links[device]
        self._safe_steps.note(link.entry, link.facts)
        has_default = link.facts is not None and link.facts.default_password
        if has_default == (device in self._default_passwords):
            return
        (self._default_passwords.add if has_default else self._default_passwords.discard)(device)
        self.recorder.record(told.default_password(link.entry, stands=has_default))


def _feed_watchdog() -> None:
    notify("WATCHDOG=1")


async def run(path: Path, *, folder: Path | None = None, opener: Opener = default_opener) -> None:
    """Load the site file and run its guardian until SIGTERM or SIGINT. Raises `ConfigError`.

    With `folder` (systemd's STATE_DIRECTORY) a bad file gives way to the last good copy kept there. SIGHUP
    reads the file anew: a good one that differs ends this process, and systemd starts it on the new file;
    a bad one changes nothing but an alarm. Limits therefore never change while the guardian runs (S06).
    """
    loaded = last_good.load(path, folder)
    too_few = open_files.too_few(open_files.raise_limit(), len(loaded.site.devices))
    if too_few is not None:
        log.warning("%s", too_few)
    guardian = Guardian(loaded.site, config_sha256=loaded.sha256, bad_config=loaded.bad, opener=opener)
    if folder is not None and loaded.bad is None:
        last_good.keep(path, folder)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, guardian.stop)
    loop.add_signal_handler(signal.SIGHUP, guardian.look_at, path)
    os.umask(0o077)
    sparing = asyncio.ensure_future(collector.spare(guardian.clock))
    try:
        await guardian.run()
    finally:
        sparing.cancel()
