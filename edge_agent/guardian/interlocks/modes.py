"""The mode machine of a zone (S15): the listed transitions of the contracts, and no others."""

from enum import StrEnum
from types import MappingProxyType

from edge_agent.ipc import Mode


class Cause(StrEnum):
    """Why a mode may change."""

    TRIP = "trip"
    RESET = "reset, cause gone"
    OPERATOR_MANUAL = "local operator takes over"
    OPERATOR_AUTO = "local operator hands back"
    SAFE_STOP = "safe-stop"
    BAD_CONFIG = "bad config"
    LEASE_LOST = "lease T2"
    STABLE = "stable and cooling proven"
    ASSIGNED = "verified assignment"
    WITHDRAWN = "assignment withdrawn"
    ACTIVATED = "stage active and swapped"
    DEMOTED = "demoted to shadow"
    MODEL_INVALID = "model invalid"
    INPUTS_STALE = "inputs stale"
    NO_CONFIDENCE = "no confidence"


_ML = {
    Cause.OPERATOR_MANUAL: Mode.MANUAL,
    Cause.SAFE_STOP: Mode.SAFE,
    Cause.LEASE_LOST: Mode.SAFE,
    Cause.TRIP: Mode.TRIPPED,
}

TABLE: MappingProxyType[Mode, MappingProxyType[Cause, Mode]] = MappingProxyType(
    {
        Mode.MANUAL: MappingProxyType(
            {
                Cause.OPERATOR_AUTO: Mode.LOCAL_AUTO,
                Cause.SAFE_STOP: Mode.SAFE,
                Cause.BAD_CONFIG: Mode.SAFE,
                Cause.TRIP: Mode.TRIPPED,
            }
        ),
        Mode.LOCAL_AUTO: MappingProxyType({**_ML, Cause.ASSIGNED: Mode.ML_SHADOW}),
        Mode.ML_SHADOW: MappingProxyType(
            {
                **_ML,
                Cause.WITHDRAWN: Mode.LOCAL_AUTO,
                Cause.MODEL_INVALID: Mode.LOCAL_AUTO,
                Cause.ACTIVATED: Mode.ML_ACTIVE,
            }
        ),
        Mode.ML_ACTIVE: MappingProxyType(
            {
                **_ML,
                Cause.MODEL_INVALID: Mode.LOCAL_AUTO,
                Cause.INPUTS_STALE: Mode.LOCAL_AUTO,
                Cause.NO_CONFIDENCE: Mode.LOCAL_AUTO,
                Cause.DEMOTED: Mode.ML_SHADOW,
            }
        ),
        Mode.SAFE: MappingProxyType(
            {
                Cause.OPERATOR_MANUAL: Mode.MANUAL,
                Cause.STABLE: Mode.LOCAL_AUTO,
                Cause.TRIP: Mode.TRIPPED,
            }
        ),
        Mode.TRIPPED: MappingProxyType({Cause.RESET: Mode.SAFE}),
    }
)


def next_mode(mode: Mode, cause: Cause) -> Mode | None:
    """The mode after `cause`, or None where the table lists no such transition."""
    return TABLE[mode].get(cause)
