"""Sites as the API shows them. Unknown is null, never 0."""

from pydantic import BaseModel


class AlgorithmTotals(BaseModel):
    """Totals of one proof-of-work family; families are never added up."""

    hashrate_ths: float | None
    power_w: float | None
    j_per_th: float | None
    miners: int
    hashing: int


class ZoneView(BaseModel):
    """A zone as its guardian last described it."""

    id: str
    mode: str | None
    cooling_proven: bool | None
    tripped: bool | None
    first_out: str | None
    inhibited: int | None
    restarting: bool | None
    at_ms: int | None


class RunningModel(BaseModel):
    """The model that the site last said it runs."""

    name: str
    version: int
    stage: str
    algorithm: str | None


class SiteSummary(BaseModel):
    """One site at a glance.

    Power and hashrate count only devices with fresh data; `data_age_s` is the age of the newest row's
    end. `power_w` is the sum of the site's meters and null unless all of them are fresh.
    """

    id: str
    name: str
    online: bool
    last_seen_ms: int | None
    data_age_s: float | None
    step_s: int | None
    simulated: bool
    power_w: float | None
    miners_power_w: float | None
    algorithms: dict[str, AlgorithmTotals]
    miners_total: int
    miners_hashing: int
    miners_fresh: int
    open_alarms: int
    urgent_alarms: int
    zones: list[ZoneView]
    model: RunningModel | None


class SiteList(BaseModel):
    items: list[SiteSummary]


class StreamView(BaseModel):
    """What has been committed of one stream: batch numbers 1..`upto`, and `ranges` above it."""

    epoch: str
    stream: str
    batches: int
    upto: int
    ranges: list[tuple[int, int]]
    rows: int
    duplicate_batches: int
    tombstoned_rows: int
    quarantined_batches: int
    gaps: list[tuple[int, int]]


class LedgerView(BaseModel):
    streams: list[StreamView]
    rows_in_store: int
    """Roll-up rows of the site in the time-series store."""
    rows_apart: int
    """Rows that differ from the stored ones of the same device and time, and are kept beside them: the site's
    clock was set back, and it lived that time twice."""


class RowApart(BaseModel):
    """A roll-up row that differs from the stored one of its device and time. `values` has all columns.

    `received_ms` is when it first came, by the cloud's clock.
    """

    device: str
    at_ms: int
    received_ms: int | None
    step_s: int
    samples: int
    failed: int
    quality: int
    state: str | None
    preset: str | None
    values: dict[str, float | None]


class RowApartList(BaseModel):
    """By device, then time, then content."""

    items: list[RowApart]
    next_cursor: str | None


class QuarantineView(BaseModel):
    """A message that could not be used."""

    id: int
    at_ms: int
    last_ms: int
    topic: str
    reason: str
    size: int
    count: int


class QuarantineList(BaseModel):
    items: list[QuarantineView]
