"""The interlock loop: a thread of its own that steps the core and feeds the watchdog (S01).

Each turn: look at the board, step the core, hand demands to the event loop, journal what was found, ask for
latches to be brought to the disk. Latch and action start together, and a disk that hangs holds up neither
the demands nor the next turn: a thread of its own waits for it (S21). The watchdog is fed here only, and
only while the event loop answers too, because without it nothing can be stopped.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian import views
from edge_agent.guardian.interlocks import caps, findings
from edge_agent.guardian.interlocks import site as core
from edge_agent.guardian.interlocks.asks import Answer, Granted
from edge_agent.guardian.interlocks.inputs import Commanded, Demand, Finding, ModelClaim, ZoneInput
from edge_agent.guardian.interlocks.site import SiteInput
from edge_agent.guardian.interlocks.state import ZoneState
from edge_agent.guardian.interlocks.zone import status as status_of
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.power import readings
from edge_agent.guardian.requests import CapView
from edge_agent.guardian.storage.latches import Latches
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import CapStatus, ZoneStatus
from shared.clock import Clock
from shared.errors import StoreError
from shared.ids import DeviceId, ZoneId

log = logging.getLogger(__name__)

TURN_S = 0.25
"""Cadence of the interlock loop, s."""
ASLEEP_DT_S = 1.0
"""What a turn counts for after a machine that slept: timers go on where they were."""
LATE_S = 1.0
"""A turn that comes so late is told: delays of the interlocks are only as fine as the turns."""
LOOP_DEAF_S = 10.0
"""An event loop that did not answer for so long counts as hung; the watchdog then starves."""
LATCHES_WITHIN_S = 1.0
"""A write of the latches that takes longer stops all raises until it ends."""
INHIBIT_NEWS_S = 5.0
"""Zone-status events for a changed number of inhibits alone go out at most this often."""


def counted(gap_s: float) -> float:
    """How long a turn counts for, s: a slow machine's turns in full, one that slept (S19) for a second."""
    if gap_s > LOOP_DEAF_S:  # the watchdog ends a process that is merely slow before it gets here
        return ASLEEP_DT_S
    return max(gap_s, 0.0)


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn hands to the event loop."""

    demands: tuple[Demand, ...]
    changed: bool
    tripped: tuple[str, ...] = ()


class Cycle:
    """Owner of the core's state. Everything but `turn` may be called from the event loop."""

    def __init__(
        self,
        site: SiteFile,
        board: Board,
        latches: Latches,
        recorder: Recorder,
        clock: Clock,
        *,
        lease_overdue_s: Callable[[], float],
        model: Callable[[], ModelClaim],
        held: Callable[[], frozenset[DeviceId]] = frozenset,
        facts: readings.FactsOf = lambda _device: None,
    ) -> None:
        self._site = site
        self._miners = views.miners_by_zone(site)
        self._board = board
        self._latches = latches
        self._recorder = recorder
        self._clock = clock
        self._lease_overdue_s = lease_overdue_s
        self._model = model
        self._held = held
        self._facts = facts
        self._lock = threading.Lock()
        self._disk = threading.Lock()
        self._commanded: dict[DeviceId, tuple[Commanded, ...]] = {}
        self._state = core.start(site, latches.load(site, at_ms=clock.utc_ms()))
        self._saved = core.keep(self._state)
        self._told: dict[ZoneId, ZoneStatus] = {}
        self._told_at_s: dict[ZoneId, float] = {}
        self._last_s = clock.monotonic()
        self.statuses = {zone.id: status_of(self._state.zones[zone.id], zone) for zone in site.zones}
        self._hydro = frozenset(zone.id for zone in site.zones if zone.cooling == "hydro")
        self._fed = {cap: frozenset().union(*fed.values()) for cap, fed in self._state.wiring.items()}
        self.caps: dict[str, CapStatus] = {}
        self.cap_views: tuple[CapView, ...] = ()
        self.on_battery: bool | None = None
        self.battery_left_s: float | None = None
        self._pretence: Callable[[SiteInput], SiteInput] | None = None
        self._refused = False
        self._late = False
        self._saving_since_s: float | None = None
        self.times_ms: deque[float] = deque(maxlen=2_000)
        self.heard_s = clock.monotonic()

    # ------------------------------------------------------------ from the event loop

    def commanded(self, device: DeviceId, command: Commanded) -> None:
        """A permit went out; the next turn opens its settling window."""
        with self._lock:
            self._commanded[device] = (*self._commanded.get(device, ()), command)

    def look(self, zone: ZoneId) -> ZoneState:
        """The zone's state as of the last turn."""
        with self._lock:
            return self._state.zones[zone]

    def ask(self, zone: ZoneId, question: Callable[[ZoneState], Answer], *, commit: bool) -> Answer:
        """Put a person's request to the zone; takes effect with `commit`, and at the next turn."""
        with self._lock:
            answer = question(self._state.zones[zone])
            if commit and isinstance(answer, Granted):
                zones = {**self._state.zones, zone: answer.state}
                self._state = msgspec.structs.replace(self._state, zones=zones)
            return answer

    @property
    def turned_s(self) -> float:
        """When the last turn began (s, monotonic)."""
        return self._last_s

    def pretend(self, danger: Callable[[SiteInput], SiteInput] | None) -> None:
        """Lay a danger over the live inputs, for a real proof test; None takes it away (S24)."""
        with self._lock:
            self._pretence = danger

    @property
    def latches_ok(self) -> bool:
        """Whether the disk takes latches, and in good time."""
        since_s = self._saving_since_s
        slow = since_s is not None and self._clock.monotonic() - since_s > LATCHES_WITHIN_S
        return not self._refused and not slow

    # ------------------------------------------------------------ one turn

    def turn(self) -> News:
        """Step the core once and journal what it found. Storage comes after, in `keep`."""
        began_s = self._clock.monotonic()
        dt = counted(began_s - self._last_s)
        self._last_s = began_s
        self._tell_lateness(dt)
        snapshot = self._board.snapshot()
        now_s = self._clock.monotonic()
        with self._lock:
            commanded, self._commanded = self._commanded, {}
            zones = {
                zone.id: views.zone_input(
                    self._site,
                    zone,
                    self._miners[zone.id],
                    snapshot,
                    commanded,
                    now_s=now_s,
                    at_ms=self._clock.utc_ms(),
                    lease_overdue_s=self._lease_overdue_s(),
                    model=self._model(),
                )
                for zone in self._site.zones
            }
            inputs = self._site_input(zones, snapshot, now_s)
            if self._pretence is not None:
                inputs = self._pretence(inputs)
            self._state, outputs, found = core.step(self._state, inputs, self._site, dt)
            self._tell_power(inputs)
        statuses = {zone: entry.status for zone, entry in outputs.zones.items()}
        changed = statuses != self.statuses
        self.statuses = statuses
        for finding in (*found, *self._zone_news(statuses, began_s)):
            self._recorder.record(finding)
        demands = tuple(d for entry in outputs.zones.values() for d in entry.demands)
        self.times_ms.append((self._clock.monotonic() - began_s) * 1000.0)
        fresh = tuple(f.key.removeprefix("trip/") for f in found if f.kind == "tripped")
        return News(demands=demands, changed=changed, tripped=fresh)

    def _site_input(
        self, zones: dict[ZoneId, ZoneInput], snapshot: views.Snapshot, now_s: float
    ) -> SiteInput:
        timing = self._site.timing
        return SiteInput(
            zones=zones,
            caps={
                cap.id: readings.cap_input(
                    cap,
                    self._state.wiring[cap.id],
                    snapshot,
                    self._facts,
                    self._hydro,
                    now_s=now_s,
                    timing=timing,
                )
                for cap in self._site.power_caps
            },
            mains=readings.mains_input(self._site.mains, snapshot, now_s=now_s, timing=timing),
            held=self._held(),
        )

    def _tell_lateness(self, dt: float) -> None:
        late = dt > LATE_S
        if late and not self._late:
            self._recorder.record(findings.late(dt))
        self._late = late

    def _tell_power(self, inputs: SiteInput) -> None:
        """What the arbiter and people see of caps and mains, as of this turn."""
        values = {cap: given.value for cap, given in inputs.caps.items()}
        self.caps = {
            cap.id: caps.status(cap, self._state.caps[cap.id], values[cap.id])
            for cap in self._site.power_caps
        }
        self.cap_views = tuple(
            caps.view(cap, values[cap.id], self._fed[cap.id]) for cap in self._site.power_caps
        )
        self.on_battery = inputs.mains.on_battery
        self.battery_left_s = inputs.mains.runtime_s if self.on_battery else None

    def keep(self) -> None:
        """Bring latches to the disk where they changed; called after the demands are on their way."""
        with self._disk:
            self._keep()

    def _keep(self) -> None:
        with self._lock:
            kept = core.keep(self._state)
        if kept == self._saved and not self._refused:
            return
        self._saving_since_s = self._clock.monotonic()
        try:
            self._latches.save(kept)
        except StoreError as error:
            if not self._refused:
                log.error("latches are not on the disk: %s; nothing is raised until they are", error)  # noqa: TRY400 - the cause is in the text, a trace helps nobody at 3 a.m.
            self._refused = True
            return
        finally:
            self._saving_since_s = None
        self._saved, self._refused = kept, False

    def _zone_news(self, statuses: dict[ZoneId, ZoneStatus], now_s: float) -> list[Finding]:
        news: list[Finding] = []
        for zone, status in statuses.items():
            told = self._told.get(zone)
            if told is not None and _in_short(told) == _in_short(status):
                quiet = now_s - self._told_at_s[zone] < INHIBIT_NEWS_S
                if quiet or len(told.inhibited) == len(status.inhibited):
                    continue
            self._told[zone], self._told_at_s[zone] = status, now_s
            news.append(findings.zone_status(zone, status))
        return news


def _in_short(status: ZoneStatus) -> tuple[object, ...]:
    """What of a zone's status people are told at once."""
    return (
        status.mode,
        status.cooling_proven,
        tuple(trip.id for trip in status.trips),
        status.restarting,
    )


class InterlockThread:
    """Runs turns at `TURN_S` until stopped."""

    def __init__(
        self,
        cycle: Cycle,
        clock: Clock,
        *,
        hand_over: Callable[[News], None],
        feed_watchdog: Callable[[], None],
    ) -> None:
        self._cycle = cycle
        self._clock = clock
        self._hand_over = hand_over
        self._feed_watchdog = feed_watchdog
        self._stop = threading.Event()
        self._keep = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interlocks", daemon=True)
        self._keeper = threading.Thread(target=self._keep_latches, name="latches", daemon=True)

    def start(self) -> None:
        self._keeper.start()
        self._thread.start()

    def stop(self) -> None:
        """End both threads; what the last turn latched is brought to the disk first."""
        self._stop.set()
        for thread in (self._thread, self._keeper):
            self._keep.set()
            if thread.is_alive():
                thread.join(timeout=5.0)
        if not self._keeper.is_alive():  # it may have ended before the last turn
            self._cycle.keep()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and self._keeper.is_alive()

    def _run(self) -> None:
        due_s = self._clock.monotonic()
        while not self._stop.is_set():
            self.once()
            due_s = max(due_s + TURN_S, self._clock.monotonic() - TURN_S)
            self._stop.wait(max(due_s - self._clock.monotonic(), 0.0))

    def _keep_latches(self) -> None:
        while not self._stop.is_set():
            self._keep.wait()
            self._keep.clear()
            self._cycle.keep()

    def once(self) -> None:
        """One turn: demands first, then word to whoever waits for the disk, then the watchdog."""
        news = self._cycle.turn()
        self._hand_over(news)
        self._keep.set()
        if self._clock.monotonic() - self._cycle.heard_s < LOOP_DEAF_S:
            self._feed_watchdog()
