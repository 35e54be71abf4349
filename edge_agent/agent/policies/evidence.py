"""From a model's strongest feature to a sentence and an advice for a person at 3 a.m."""

from types import MappingProxyType
from typing import Final

import msgspec

from edge_agent.agent.inference.model import Score


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What looks wrong, and what to do next."""

    what: str
    advice: str


class _Words(msgspec.Struct, frozen=True):
    subject: str
    about: str
    advice: str


_FAN: Final = "Look at this miner's fans: one may be worn, blocked or unplugged. Have a spare fan ready."
_COOL: Final = (
    "Check air flow and dust at this miner, then its heat sinks and the inlet temperature around it."
)
_BOARD: Final = "Read the miner's log for chip errors; a hash board may be dying. Plan its exchange."
_POWER: Final = "Check the supply voltage and the power supply unit of this miner."
_POOL: Final = "Check the pool connection and the miner's network link."

_WORDS: Final = MappingProxyType(
    {
        "hash_ratio": _Words("hashrate", "for its preset", _BOARD),
        "hash_dip": _Words("depth of hashrate dips", "for this site", _BOARD),
        "hash_noise": _Words("unrest of the hashrate", "for this site", _BOARD),
        "power_ratio": _Words("power", "for its preset", _POWER),
        "power_noise": _Words("unrest of the power", "for this site", _POWER),
        "efficiency_ratio": _Words("energy per hash", "for its preset", _POWER),
        "chip_hot_c": _Words("chip temperature", "for its preset", _COOL),
        "chip_rise_c": _Words("rise of the chip temperature", "for this site", _COOL),
        "chip_over_board_c": _Words("chip above board temperature", "for its power", _COOL),
        "fan_effort": _Words("fan duty", "for its temperature", _COOL),
        "fan_response": _Words("fan speed", "for its duty", _FAN),
        "fan_weakest": _Words("speed of the slowest fan", "for its duty", _FAN),
        "fan_min_ratio": _Words("speed of the slowest fan", "against the others", _FAN),
        "fan_spread": _Words("difference between the fans", "for one machine", _FAN),
        "hw_error_root": _Words("count of hardware errors", "for this site", _BOARD),
        "reject_ratio": _Words("share of rejected work", "for this site", _POOL),
        "missing": _Words("share of missing readings", "for this site", _POOL),
    }
)


def explain(score: Score) -> Finding:
    """Words for a score's top feature; an unknown feature keeps its own name."""
    words = _WORDS.get(score.top_feature)
    if words is None:
        name = score.top_feature.replace("_", " ") or "the whole pattern"
        return Finding(what=f"{name} unusual", advice="Look at this miner's history in the dashboard.")
    side = "unusual" if not score.against_peers else "low" if score.against_peers < 0 else "high"
    return Finding(what=f"{words.subject} {side} {words.about}", advice=words.advice)
