"""What a roll-out ring by ring is: its plan, where it stands, and what each site shows of it.

Plain data for `decide`; SQL and people are elsewhere. Times are UTC milliseconds by the cloud's clock:
a soak time never rests on what a site believes the time to be.
"""

from enum import StrEnum

import msgspec

from shared.artifacts.manifest import Stage

PATH = (Stage.SHADOW, Stage.ACTIVE)
SHARES = (0.1, 0.3, 0.5, 1.0)
"""Of the eligible sites, added up ring by ring (edge.md §6: canary by ring)."""


class CampaignState(StrEnum):
    """What may still happen to a campaign. `proposed` waits for a second person before anything is sent."""

    PROPOSED = "proposed"
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    DONE = "done"


OPEN = (CampaignState.PROPOSED, CampaignState.RUNNING, CampaignState.PAUSED)


class Criteria(msgspec.Struct, frozen=True, kw_only=True):
    """What the reports of a site must hold, each of them, for as long as the stage soaks.

    Rates and shares are fractions of 1. A number that no report carries is unknown, and unknown never
    holds. `None` for `min_agreement` means that agreement is not asked for.
    """

    min_agreement: float | None = 0.95
    """With the model that acts now; asked only in the shadow, and only where one acts."""
    max_alarm_rate: float = 0.05
    """Share of scored miners that the version calls ill."""
    max_latency_p99_ms: float = 500.0
    """Of one scoring cycle."""
    max_intervention_rise: float = 0.02
    """How much more often the guardian may step in than before; where that is unknown, than never."""
    max_error_rate: float = 0.05
    """Failed ones among the proposals that the guardian answered, or in cycles where that is not said."""
    min_cycles: int = 20
    """A site that has scored for fewer cycles than this is too young to be judged."""
    min_reporting: float = 0.9
    """Share of the ring's sites that must be good before the next step; at least one."""
    max_bad_share: float = 0.1
    """More bad sites than this in any open ring halt the campaign; one is always allowed to be none."""
    silent_after_s: float = 3600.0
    """A site whose last numbers are older says nothing."""
    offline_after_s: float = 1800.0
    """A site that nothing was heard of for so long holds the campaign."""
    stuck_after_s: float = 21_600.0
    """So does one that has not reached its stage in this time."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign goes, fixed when it is made."""

    stages: tuple[Stage, ...] = PATH
    soak_s: tuple[float, ...]
    """Per ring: how long its sites stay on each stage."""
    criteria: Criteria = Criteria()


class Position(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Where a campaign stands: the highest open ring, and which stage of the path it is on."""

    ring: int
    step: int


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign as the decision sees it."""

    state: CampaignState
    position: Position
    rings: tuple[int, ...]
    """How many sites each ring has; no ring is empty."""
    plan: Plan
    expires_ms: int
    why: str = ""

    @property
    def stage(self) -> Stage:
        """The stage that the highest open ring is on."""
        return self.plan.stages[self.position.step]

    @property
    def next(self) -> Position | None:
        """One step on; None where the last ring is on the last stage."""
        at = self.position
        if at.step + 1 < len(self.plan.stages):
            return Position(ring=at.ring, step=at.step + 1)
        if at.ring + 1 < len(self.rings):
            return Position(ring=at.ring + 1, step=0)
        return None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of reports; None is unknown."""

    agreement: float | None = None
    alarm_rate: float | None = None
    latency_p99_ms: float | None = None
    intervention_rate: float | None = None
    error_rate: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one site of an open ring, since it was assigned its present stage."""

    site: str
    ring: int
    stage: Stage
    assigned_ms: int
    taken: bool = False
    """Something else was assigned here by hand."""
    reached_ms: int | None = None
    """When the first word that it is on the stage came in."""
    heard_ms: int | None = None
    """When the newest numbers came in."""
    cycles: float = 0
    worst: Numbers = Numbers()
    """The worst of each number over all reports that are old enough, so that their order does not matter."""
    said: str = ""
    """The furthest word of the site."""
    failed: str = ""
    """Why it counts as bad already: it rolled back, refused, or broke a criterion earlier."""
    seen_ms: int | None = None
    """When anything was last heard of the site."""
    has_baseline: bool = False
    baseline_intervention: float | None = None
