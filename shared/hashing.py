"""Whether a miner hashes: what its state says, what its hashrate says and what its power says, put together.

No single one is believed. Saying "mining" of a machine that is gone, or counting a hashrate left over from
before, is a recorded trap (miners.md §3.4), so two of the three must agree and none may disagree; everything
else is unknown, which is a legal answer and not a no.
"""

from shared.telemetry import MinerState
from shared.units import joule_per_terahash

LEAST_J_PER_TH = 1.0
"""No machine hashes for less: the best chips on sale need some 10 J/TH. Power below that speaks against."""
IDLE_SHARE = 0.03
"""A stopped S21 Pro draws about 22 W of 2800 (below 1 %), its fans and boards at start 146 W (5 %)."""
WORKING_SHARE = 0.10
"""The lowest throttle in the field is 20 %."""

_YES = (MinerState.MINING, MinerState.AUTO_TUNING)
_NO = (MinerState.STOPPED, MinerState.FAILURE)


def is_hashing(
    state: MinerState | None,
    hashrate_ths: float | None,
    power_w: float | None,
    *,
    nominal_w: float | None = None,
) -> bool | None:
    """True or False where at least two of state, hashrate (TH/s) and power (W) say so and none disagrees.

    None is unknown: too little is known, or what is known contradicts itself. Starting and stopping states
    say neither. `nominal_w` is the machine's rating in W; without it power is judged by J/TH only.
    """
    said = [_by_state(state), _by_hashrate(hashrate_ths), _by_power(power_w, hashrate_ths, nominal_w)]
    for answer in (True, False):
        if said.count(answer) >= 2 and (not answer) not in said:
            return answer
    return None


def _by_state(state: MinerState | None) -> bool | None:
    if state in _YES:
        return True
    return False if state in _NO else None


def _by_hashrate(hashrate_ths: float | None) -> bool | None:
    return None if hashrate_ths is None else hashrate_ths > 0


def _by_power(power_w: float | None, hashrate_ths: float | None, nominal_w: float | None) -> bool | None:
    if power_w is None:
        return None
    if nominal_w is not None and nominal_w > 0:
        share = power_w / nominal_w
        if share < IDLE_SHARE:
            return False
        return True if share >= WORKING_SHARE else None
    per_terahash = joule_per_terahash(power_w, hashrate_ths) if hashrate_ths is not None else None
    return None if per_terahash is None else per_terahash >= LEAST_J_PER_TH
