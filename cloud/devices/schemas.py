"""Devices and their numbers as the API shows them."""

from pydantic import BaseModel

from cloud.timeseries.store import Tier


class Anomaly(BaseModel):
    """The newest score of the device by the site's model."""

    score: float
    threshold: float
    at_ms: int
    model: str
    version: int
    top_feature: str | None


class DeviceView(BaseModel):
    """One device with its newest roll-up row. `latest` has all columns; unknown is null.

    `fresh` is false when the row is too old to say anything about now; `data_age_s` is always shown.
    """

    id: str
    site: str
    kind: str
    adapter: str | None
    zone: str | None
    rack: str | None
    slot: int | None
    model: str | None
    algorithm: str | None
    host: str | None
    nominal_w: float | None
    data_age_s: float | None
    fresh: bool
    at_ms: int | None
    state: str | None
    preset: str | None
    quality: int | None
    samples: int | None
    failed: int | None
    inhibited: str | None
    latest: dict[str, float | None]
    anomaly: Anomaly | None


class DeviceList(BaseModel):
    items: list[DeviceView]


class TelemetryView(BaseModel):
    """Numbers by column: `values[i][j]` is `columns[i]` at `at_ms[j]`.

    `tier` says whether these are rows at the site's own step or one per hour, in which a mean is weighted by
    samples, an increment is the hour's sum and `last` the newest known. `next_from_ms` continues a cut answer
    of the same tier, and is null where nothing was cut.
    """

    device: str
    tier: Tier
    step_s: int | None
    columns: list[str]
    at_ms: list[int]
    values: list[list[float | None]]
    next_from_ms: int | None
