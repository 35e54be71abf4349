"""What devices remember, and windows of raw samples, as the API shows them."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

MAX_WINDOW_MS = 86_400_000
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class HistoryPoint(BaseModel):
    """One moment as the device itself recorded it; unknown is null. `mark` is something it noted."""

    at_ms: int
    hashrate_ths: float | None
    power_w: float | None
    chip_temp_max_c: float | None
    board_temp_max_c: float | None
    fan_duty_pct: float | None
    mark: str | None


class HistoryView(BaseModel):
    """A device's own record, oldest first. Not measured by us: `source` is always `firmware`.

    `next_from_ms` continues a cut answer, and is null where nothing was cut.
    """

    device: str
    source: str = "firmware"
    items: list[HistoryPoint]
    next_from_ms: int | None


class RawWindowView(BaseModel):
    """One frame of raw samples without its contents. `to_ms` is the newest sample's time."""

    id: int
    kind: str
    from_ms: int
    to_ms: int
    samples: int
    devices: list[str]
    size: int
    received_ms: int


class RawWindowList(BaseModel):
    items: list[RawWindowView]


class RawSample(BaseModel):
    """One device at one time. A point maps to its value and quality (0 good … 6 missing)."""

    device: str
    at_ms: int
    seq: int
    state: str | None
    preset: str | None
    failure: str | None
    readings: dict[str, tuple[float | None, int]]


class RawWindowContents(BaseModel):
    """A frame as samples, in the order in which they were taken."""

    window: RawWindowView
    samples: list[RawSample]


class RawRequest(BaseModel):
    """Ask a site for raw samples of `[from_ms, to_ms)`; without `devices`, of all."""

    from_ms: int = Field(ge=0, le=2**62)
    to_ms: int = Field(ge=0, le=2**62)
    devices: list[Name] = Field(default=[], max_length=200)
    max_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    actor: str = Field(min_length=1, max_length=63, pattern=r"\S")


class RawRequestView(BaseModel):
    """What was asked. `sent`: whether the broker took it; null where that is not known."""

    id: str
    site: str
    from_ms: int
    to_ms: int
    devices: list[str]
    max_bytes: int
    actor: str
    asked_ms: int
    sent: bool | None


class RawRequestList(BaseModel):
    items: list[RawRequestView]
