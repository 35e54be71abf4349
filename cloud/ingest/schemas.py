"""One message of the quarantine as the API shows it."""

from pydantic import BaseModel


class QuarantinedMessage(BaseModel):
    """A message that could not be used. `head` is the start of its bytes, as hex."""

    id: int
    at_ms: int
    last_ms: int
    topic: str
    reason: str
    size: int
    count: int
    owed: bool
    whole: bool
    """Whether all of its bytes were kept; only then can it be replayed."""
    head: str


class Replayed(BaseModel):
    """What became of it; it is no longer in the quarantine."""

    id: int
    rows: int
    new_rows: int
    duplicate: bool
