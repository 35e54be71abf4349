"""The values of power orders: what runs, what each miner was told, what is seen and what is wanted.

Everything here can be written to the disk as it is: a power cut in the middle of a curtailment changes
nothing. Times are seconds that were counted on the monotonic clock; None stands for "without end".
"""

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.ipc import StandingState
from shared.capabilities import Preset
from shared.commands import ActionOutcome, AnyAction
from shared.ids import CommandId, DeviceId

ACTIVE = (StandingState.RUNNING, StandingState.HOLDING)


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values."""


class PowerOrder(_Value, frozen=True, kw_only=True):
    """One curtailment, or a standing cap (`cap`), and how far it has come."""

    id: CommandId
    actor: str
    target_w: float
    cap: bool = False
    deadline_s: float | None = None
    left_s: float | None = None
    end_ms: int | None = None
    """UTC of the end as promised at the start; only a guardian that starts looks at it."""
    ramp_w_per_min: float | None = None
    signal_s: float | None = None
    signal_age_s: float = 0.0
    state: StandingState = StandingState.RUNNING
    elapsed_s: float = 0.0
    start_w: float | None = None
    met_s: float = 0.0
    missed_s: float = 0.0
    confirmed_s: float | None = None
    confirmed_ms: int | None = None
    late: bool = False
    words: str = ""
    cancelled: bool = False

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


class Goal(_Value, frozen=True, kw_only=True):
    """What one miner was told, and what it ran before. `want` None: stopped."""

    order: CommandId
    want: str | None
    was: str | None
    from_w: float
    expects_w: float
    age_s: float = 0.0
    asked_s: float = 0.0
    """For so long it has been asked without being seen there."""
    there: bool = False
    there_s: float = 0.0
    """For so long it has been seen there."""
    vain: bool = False
    """It did not do what it was told: asked on, but not counted any more."""
    release_s: float | None = None
    """For so long it has been on its way back; None while it is held."""
    back_w: float = 0.0
    """What it will draw once it is back, while it is on its way."""
    up: bool = False
    """A trim told it a step above where it was held."""

    @property
    def leads_to_w(self) -> float:
        """What it will draw once what it was told shows."""
        return self.expects_w if self.release_s is None else self.back_w

    @property
    def holds_stopped(self) -> bool:
        return self.want is None and self.release_s is None


class PowerState(_Value, frozen=True, kw_only=True):
    """All power orders of a site and the miners they lowered."""

    orders: tuple[PowerOrder, ...] = ()
    goals: dict[DeviceId, Goal] = {}
    meter_w: float | None = None
    """The meter's last word (W)."""
    blind_s: float = 0.0
    """For so long the meter has been unknown."""
    restoring_s: float = 0.0
    """Since the last order ended that others do not replace."""
    relaxing: bool = False
    """A lower target went away: miners come back as far as the others let them."""
    released: tuple[tuple[float, float], ...] = ()
    """(age in s, W) of what was given back inside the restart window."""
    steady_w: float | None = None
    """The meter when nothing was in flight last, with everything told since counted as done."""
    low_s: float = 0.0
    """For so long the meter has stood below what the orders ask, with nothing in flight."""
    low_peak_w: float = 0.0
    """The most it read meanwhile."""
    rise_wait_s: float = 0.0
    """Until so long from now a ramp lets nothing more come back."""
    trimmed: bool = False
    """Something was given back since the last lowering."""
    trims_undone: int = 0
    """Lowerings that came after a trim: each makes the next trim wait longer."""

    @property
    def held(self) -> frozenset[DeviceId]:
        """Miners that the zones must not restart."""
        return frozenset(device for device, goal in self.goals.items() if goal.holds_stopped)

    @property
    def idle(self) -> bool:
        return not self.goals and not any(
            order.active or order.state is StandingState.RESTORING for order in self.orders
        )


class MinerSeen(_Value, frozen=True, kw_only=True):
    """One miner as power orders see it; None is unknown."""

    device: DeviceId
    heard: bool
    draws: bool
    settling: bool = False
    power_w: float | None = None
    hashrate_ths: float | None = None
    preset: str | None = None
    steps: tuple[Preset, ...] = ()
    nominal_w: float = 0.0
    taken: str | None = None
    """Whose business it is where not ours: a latch, a tripped or stopped zone, a person on site."""
    cooled: bool = False
    """Cooling of its zone is proven."""
    warming: bool = False
    """The inlet of its zone rises too fast for more load, or is not known to stand."""

    @property
    def likely_w(self) -> float:
        """What it draws: by its own word, else by the label of its preset, else its nominal power."""
        if not self.draws:
            return 0.0
        if self.power_w is not None:
            return self.power_w
        label = self.label_w(self.preset)
        return label if label is not None else self.nominal_w

    def full_w(self, goal: Goal) -> float:
        """What it will draw once it runs again what it ran before its goal (W); a start counts in full."""
        label_w = None if goal.want is None else self.label_w(goal.was)
        return label_w if label_w is not None else self.nominal_w

    def draws_at_w(self, preset: str | None) -> float:
        """What it will draw on another step: its label, scaled up where it draws more than labelled now."""
        label_w, now_w = self.label_w(preset), self.label_w(self.preset)
        if label_w is None:
            return self.nominal_w
        return label_w * max(self.likely_w / now_w, 1.0) if now_w else label_w

    def label_w(self, preset: str | None) -> float | None:
        return next((step.power_w for step in self.steps if step.name == preset), None)


class PowerInput(_Value, frozen=True, kw_only=True):
    """The site at one step. `meter_w` is None where any point of the meter is unknown."""

    meter_w: float | None
    miners: dict[DeviceId, MinerSeen]


class Rules(_Value, frozen=True, kw_only=True):
    """The site file's numbers for power orders, in s, W and %."""

    within_pct: float
    within_w: float
    confirm_for_s: float
    jitter_s: float
    window_s: float
    window_w: float
    """What may come back inside one restart window."""
    change_s: float
    restart_s: float
    lag_s: float
    """How much later than the miner itself the meter may show a change."""
    obey_s: float
    """A miner that is not where it was told after this long is replaced by others."""

    def tolerance_w(self, target_w: float) -> float:
        return max(self.within_pct / 100.0 * target_w, self.within_w)


class Report(_Value, frozen=True, kw_only=True):
    """A word on an order for whoever sent it."""

    id: CommandId
    outcome: ActionOutcome
    detail: str


class Wish(_Value, frozen=True, kw_only=True):
    """One action wanted now, again at each step until it is seen done."""

    order: CommandId
    action: AnyAction
    back: bool = False
    """It gives power back, so it is a raise."""


class PowerOutput(_Value, frozen=True, kw_only=True):
    """What one step wants and knows."""

    wishes: tuple[Wish, ...] = ()
    bring_back: tuple[DeviceId, ...] = ()
    """Stopped miners that the zones restart from now on, at their own pace."""
    found: tuple[Finding, ...] = ()
    reports: tuple[Report, ...] = ()


def rules_of(site: SiteFile) -> Rules | None:
    """The numbers of this site, or None where its file has no [curtailment]: power orders are refused."""
    table, timing = site.curtailment, site.timing
    if table is None:
        return None
    nominal_w = sum(entry.nominal_w or 0.0 for entry in site.miners)
    return Rules(
        within_pct=table.within_pct,
        within_w=table.within_w,
        confirm_for_s=table.confirm_for_s,
        jitter_s=table.restore_jitter_s,
        window_s=timing.restart_window_s,
        window_w=timing.restart_power_pct / 100.0 * nominal_w,
        change_s=timing.settle_s,
        restart_s=timing.settle_s + timing.restart_after_stop_s,
        lag_s=2 * timing.safety_poll_s + 1.0,
        obey_s=timing.write_confirm_s + timing.settle_s,
    )
