"""One miner inside a zone's step: settling window, sight, heat; and why nothing may be raised there."""

import msgspec

from edge_agent.config import HighLimits, Timing, ZoneLimits
from edge_agent.guardian.interlocks import findings, levels, stale
from edge_agent.guardian.interlocks.inputs import Finding, MinerInput
from edge_agent.guardian.interlocks.levels import Level, Standing
from edge_agent.guardian.interlocks.stale import Sight, Watch
from edge_agent.guardian.interlocks.state import BOARD, CHIP, MinerTrack
from edge_agent.guardian.requests import SETTLING
from shared.ids import ZoneId
from shared.telemetry import MinerState

CALM = MinerTrack(watch=Watch(Sight.FRESH), heard=True)
"""The state of a miner about which there is nothing to remember."""

FORGET_TRIP_S = 600.0
"""A miner's own trip counts towards "several miners" for this long."""


def step(track: MinerTrack, miner: MinerInput, limits: ZoneLimits, timing: Timing, dt: float) -> MinerTrack:
    """The miner's state after `dt` seconds. A sample older than `stale_after_s` tells no temperature."""
    known = miner.age_s <= timing.stale_after_s
    chip_c, board_c = values(miner, timing)
    if known and track is CALM and _is_calm(miner, limits):
        return track  # nine miners in ten, nearly always: nothing to remember
    stopped = not miner.draws_power if known else track.stopped
    if any(command.start for command in miner.commanded):
        stopped = False  # a start is on its way; what was seen before it proves nothing any more
    settle_s = _settling(track, miner, limits, timing, dt)
    blind = known and not stopped and chip_c is None and board_c is None
    watch = stale.step(
        track.watch, age_s=miner.age_s, blind=blind, settling=settle_s > 0, timing=timing, dt=dt
    )
    resting = known and stopped
    chip = _heat(track.chip, chip_c, limits.chip_temp_c, resting=resting, dt=dt)
    board = _heat(track.board, board_c, limits.board_temp_c, resting=resting, dt=dt)
    over_trip_s = track.over_trip_s
    if max(chip.level, board.level) is Level.TRIP and max(track.chip.level, track.board.level) < Level.TRIP:
        over_trip_s = 0.0
    elif over_trip_s >= 0:
        over_trip_s = over_trip_s + dt if over_trip_s < FORGET_TRIP_S else -1.0
    shed_wait_s = max(track.shed_wait_s - dt, 0.0)
    starts = 0 if known and miner.draws_power else track.starts
    shed_stop_s = max(track.shed_stop_s - dt, 0.0)
    left = track.left and not (track.stopped and not stopped)
    for command in miner.commanded:
        left = left and not command.start
        if command.shed_stop:
            shed_stop_s = timing.stop_confirm_s + timing.lost_after_s
        starts += command.start
        shed_wait_s = max(shed_wait_s, command.settle_s)
    after = MinerTrack(
        watch=watch,
        chip=chip,
        board=board,
        settle_left_s=settle_s,
        firmware_settling=known and miner.state is not None and miner.state.settling,
        shed_wait_s=shed_wait_s,
        heard=track.heard or known,
        stopped=stopped,
        over_trip_s=over_trip_s,
        starts=starts,
        shed_stop_s=shed_stop_s,
        left=left,
    )
    return CALM if after == CALM else after


def _is_calm(miner: MinerInput, limits: ZoneLimits) -> bool:
    """Mining, told not to change, and every temperature known and below its warning."""
    return (
        miner.state in (MinerState.MINING, MinerState.AUTO_TUNING)
        and not miner.commanded
        and miner.chip_c is not None
        and miner.board_c is not None
        and miner.chip_c < limits.chip_temp_c.warn
        and miner.board_c < limits.board_temp_c.warn
    )


def values(miner: MinerInput, timing: Timing) -> tuple[float | None, float | None]:
    """Chip and board temperature in °C that control may look at now."""
    if miner.age_s > timing.stale_after_s:
        return None, None
    return miner.chip_c, miner.board_c


def _settling(track: MinerTrack, miner: MinerInput, limits: ZoneLimits, timing: Timing, dt: float) -> float:
    """Seconds left of the settling window: opened by a command or by a firmware that restarts itself.

    Bounded, so a miner that initializes for ever becomes blind; and over at once on hot evidence.
    """
    chip_c, board_c = values(miner, timing)
    if (chip_c is not None and chip_c >= limits.chip_temp_c.warn) or (
        board_c is not None and board_c >= limits.board_temp_c.warn
    ):
        return 0.0
    left_s = max(track.settle_left_s - dt, 0.0)
    for command in miner.commanded:
        left_s = max(left_s, command.settle_s)
    known = miner.age_s <= timing.stale_after_s
    if known and miner.state is not None and miner.state.settling and not track.firmware_settling:
        left_s = max(left_s, timing.settle_s)
    return left_s


def _heat(heat: Standing, value_c: float | None, limits: HighLimits, *, resting: bool, dt: float) -> Standing:
    """A board that is seen stopped and tells no temperature makes no heat: it counts as at `release`."""
    if resting and value_c is None:
        value_c = limits.release
    return levels.step(heat, value_c, limits, dt)


def is_hot(track: MinerTrack) -> bool:
    """Whether it stands at shed or above. The last level of a miner that is lost says nothing of it any more;
    its own latch stays until it is heard."""
    lost = track.watch.sight is Sight.LOST
    return max(track.chip.level, track.board.level) >= Level.SHED and not lost


def inhibit(track: MinerTrack, *, latched: bool) -> str | None:
    """Why nothing may be raised on this miner, or None. Words only: numbers would change each step.

    Settling comes last: a permit's own window is not to hide what else stands against a raise.
    """
    sight = track.watch.sight
    reasons = (
        ("latched trip", latched),
        ("no usable temperature", sight is Sight.BLIND),
        (f"no data ({sight})", sight.unknown),
        (f"chip temperature ({track.chip.level.word})", track.chip.level > Level.NORMAL),
        (f"board temperature ({track.board.level.word})", track.board.level > Level.NORMAL),
        (SETTLING, sight is Sight.SETTLING),
    )
    return next((why for why, holds in reasons if holds), None)


def excess(miner: MinerInput, limits: ZoneLimits, track: MinerTrack, timing: Timing) -> float | None:
    """How far above `shed` in °C, where one more step down is wanted now; None where it is not."""
    if track.shed_wait_s > 0 or track.stopped:
        return None
    chip_c, board_c = values(miner, timing)
    over = [
        value - limit.shed
        for heat, value, limit in (
            (track.chip, chip_c, limits.chip_temp_c),
            (track.board, board_c, limits.board_temp_c),
        )
        if value is not None and levels.sheds(heat, value, limit)
    ]
    return max(over) if over else None


def told(
    zone: ZoneId, miner: MinerInput, before: MinerTrack, after: MinerTrack, limits: ZoneLimits
) -> list[Finding]:
    """Findings about what changed on this miner."""
    if before is after:
        return []
    found: list[Finding] = []
    heats = (
        (CHIP, before.chip.level, after.chip.level, miner.chip_c, limits.chip_temp_c),
        (BOARD, before.board.level, after.board.level, miner.board_c, limits.board_temp_c),
    )
    for interlock, was, now, value_c, limit in heats:
        if was is not now and (now > was or now is Level.NORMAL):
            reached = {Level.NORMAL: limit.release, Level.WARN: limit.warn}.get(now, limit.shed)
            finding = findings.heat(zone, miner.device, interlock, now, value_c, reached)
            found += [finding] if finding else []
    if after.watch.alarmed and not before.watch.alarmed:
        found.append(findings.unseen(zone, miner.device, after.watch.sight))
    if before.watch.alarmed and not after.watch.alarmed:
        found.append(findings.seen(zone, miner.device))
    return found


def doubted(track: MinerTrack) -> MinerTrack:
    """The track of a miner whose start may still be under way: not known to be stopped."""
    return msgspec.structs.replace(track, stopped=False, starts=0) if track.starts else track


def reset(track: MinerTrack) -> MinerTrack:
    """The track after its latch was reset: its own trip no longer counts towards "several miners"."""
    return msgspec.structs.replace(track, over_trip_s=-1.0, starts=0)
