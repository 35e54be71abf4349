"""What a training run says at its end: `result.json`. Read it with `msgspec.json.decode(data, type=Result)`.

No numpy and no model library here, so the service that starts a run can import it.
"""

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the gate, and how the candidate did."""

    rule: str
    ok: bool
    detail: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One algorithm's outcome. `model` and `manifest` are names in the output folder, None if not built."""

    algorithm: str
    accepted: bool
    detail: str
    metrics: dict[str, float] = {}
    gate: tuple[Rule, ...] = ()
    model: str | None = None
    manifest: str | None = None


class DataFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The data set: how much, from when to when (start of the first step, end of the last), which hash."""

    rows: int
    devices: int
    from_ms: int
    to_ms: int
    sha256: str
    split: str
    windows: dict[str, int]
    """Per part, and `incidents`: left out because the whole site was in trouble."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`chosen` is the algorithm to publish, None when no candidate passed; `detail` says why."""

    chosen: str | None
    detail: str
    candidates: tuple[Candidate, ...]
    data: DataFacts | None
