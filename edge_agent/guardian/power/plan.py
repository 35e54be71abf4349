"""Which miners to lower or stop to get the metered power down to a target. Pure, greedy, deterministic.

What counts is the hashing that a watt costs: the hashrate given up for as long as the order lasts, and the
minutes lost to restarts (plant.md §1.5, miners.md §5). Each miner's ladder is reduced to its best steps
(the convex hull of watts saved against hashes lost); the cheapest watts of the site are taken first, and the
last ones where they fit best. Lowering is tried alone first: miners stop only where the lowest presets of all
do not reach the target, because a stopped miner cools down, restarts for minutes, and sometimes does not come
back.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from edge_agent.ipc import PlanStep
from shared.capabilities import Preset
from shared.commands import AnyAction, SetPreset, StopMining
from shared.ids import DeviceId

STANDBY_W = 25.0
"""What a stopped miner still draws (plant.md §1.5: about 25 W)."""
LABEL_TRUST = (0.8, 1.25)
"""A ladder's labels are scaled by what the miner really draws on its present step, within these factors."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One miner that a plan may count on: heard, drawing power, and nobody else's business.

    `steps` are the usable presets by rising power; `preset` the one that runs or was already told (a
    command in flight counts as applied, and then `power_w` is what it leads to). `change_s` is how long a
    preset change costs hashing, `restart_s` how long a stop costs it beyond the order's own time.
    """

    device: DeviceId
    power_w: float
    hashrate_ths: float | None = None
    preset: str | None = None
    steps: tuple[Preset, ...] = ()
    change_s: float = 0.0
    restart_s: float = 0.0


class Option(msgspec.Struct, frozen=True):
    """One thing that could be done to one miner: watts saved, and terahashes lost over the order."""

    action: AnyAction
    saves_w: float
    lost_th: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Steps, worst first, and what the meter should read once all of them show."""

    steps: tuple[PlanStep, ...]
    expected_w: float
    reaches_target: bool
    lost_th: float
    takes_s: float


def plan(loads: Iterable[Load], now_w: float, target_w: float, duration_s: float) -> Plan:
    """The steps from `now_w` (the meter, with commands in flight counted) to `target_w`, both in W.

    `duration_s` may be infinite (a standing cap); restart minutes then weigh nothing.
    """
    menu = {load.device: load for load in sorted(loads, key=lambda load: load.device)}
    need_w = now_w - target_w
    if need_w <= 0:
        return Plan(steps=(), expected_w=now_w, reaches_target=True, lost_th=0.0, takes_s=0.0)
    span_s = duration_s if math.isfinite(duration_s) else 86_400.0
    lowering = {device: lowerings(load, span_s) for device, load in menu.items()}
    stops = {device: stop for device, load in menu.items() if (stop := stopping(load, span_s)) is not None}
    chosen = _fewest_stops(stops, lowering, need_w)
    left_w = need_w - sum(option.saves_w for option in chosen.values())
    rest = {device: choices for device, choices in lowering.items() if device not in chosen}
    chosen |= _cover(rest, left_w) if left_w > 0 else {}
    ordered = sorted(chosen.values(), key=lambda option: (-_density(option), option.action.device))
    saved_w = sum(option.saves_w for option in ordered)
    return Plan(
        steps=tuple(PlanStep(action=option.action, saves_w=option.saves_w) for option in ordered),
        expected_w=now_w - saved_w,
        reaches_target=saved_w >= need_w - 1e-6,
        lost_th=sum(option.lost_th for option in ordered),
        takes_s=max((menu[device].change_s for device in chosen), default=0.0),
    )


MAX_LOOKS = 50
"""So often every miner is looked at for a cheaper finish; after that only the one at hand."""

Options = dict[DeviceId, tuple[Option, ...]]
"""Per miner its choices by rising watts saved."""


def lowerings(load: Load, duration_s: float) -> tuple[Option, ...]:
    """Every lower preset of one miner, by rising watts saved."""
    hashrate = load.hashrate_ths if load.hashrate_ths is not None else 0.0
    label_w = next((step.power_w for step in load.steps if step.name == load.preset), None)
    found: list[Option] = []
    if label_w is not None and label_w > 0:
        scale = min(max(load.power_w / label_w, LABEL_TRUST[0]), LABEL_TRUST[1])
        label_ths = next(step.hashrate_ths for step in load.steps if step.name == load.preset)
        for step in load.steps:
            after_w = step.power_w * scale
            if step.power_w >= label_w or after_w >= load.power_w:
                continue
            share = step.hashrate_ths / label_ths if label_ths > 0 else step.power_w / label_w
            after_ths = hashrate * min(share, 1.0)
            # Mining restarts on the way down and on the way back.
            lost = (hashrate - after_ths) * duration_s + 2 * load.change_s * after_ths
            action = SetPreset(device=load.device, preset=step.name)
            found.append(Option(action, load.power_w - after_w, lost))
    return tuple(sorted(found, key=lambda option: option.saves_w))


def stopping(load: Load, duration_s: float) -> Option | None:
    """Stopping one miner, with the minutes that its restart costs; None where it saves nothing."""
    if load.power_w <= STANDBY_W:
        return None
    lost = (load.hashrate_ths or 0.0) * (duration_s + load.restart_s)
    return Option(StopMining(device=load.device), load.power_w - STANDBY_W, lost)


def _fewest_stops(stops: dict[DeviceId, Option], lowering: Options, need_w: float) -> dict[DeviceId, Option]:
    """The worst miners to stop: as many as it takes for the lowest presets of the others to do the rest."""
    reach_w = sum(choices[-1].saves_w for choices in lowering.values() if choices)
    chosen: dict[DeviceId, Option] = {}
    for device in sorted(stops, key=lambda device: (-_density(stops[device]), device)):
        if reach_w >= need_w:
            break
        chosen[device] = stops[device]
        reach_w += stops[device].saves_w - (lowering[device][-1].saves_w if lowering[device] else 0.0)
    return chosen


def _hull(options: Sequence[Option]) -> tuple[Option, ...]:
    """Those choices that are best at some price per hash, in order of watts; the deepest always stays."""
    kept: list[Option] = []
    for option in options:
        while kept and (kept[-1].lost_th >= option.lost_th or _bends(kept, option)):
            kept.pop()
        kept.append(option)
    return tuple(kept)


def _bends(kept: list[Option], option: Option) -> bool:
    """Whether the last kept choice lies above the line to `option`: never worth taking."""
    before = kept[-2] if len(kept) > 1 else None
    before_w, before_th = (before.saves_w, before.lost_th) if before else (0.0, 0.0)
    last = kept[-1]
    one = (last.lost_th - before_th) * (option.saves_w - last.saves_w)
    other = (option.lost_th - last.lost_th) * (last.saves_w - before_w)
    return one >= other


def _density(option: Option) -> float:
    return option.saves_w / option.lost_th if option.lost_th > 0 else math.inf


# ---------------------------------------------------------------- covering the need


def _cover(options: Options, need_w: float) -> dict[DeviceId, Option]:
    """Choices that save `need_w` at little cost; all of them where nothing else is enough.

    Increments are taken by rising price. One that would finish the job is noted as a finish and left out, so
    that smaller ones have their turn: the classical greedy for covering. The cheapest finish wins.
    Against brute force on random fleets of up to four miners, 52,516 plans that only lower lost 1.003 times
    the best on average and 1.08 times at the 99th percentile; at worst it was 3.6 times.
    """
    deepest = {device: choices[-1] for device, choices in options.items() if choices}
    if sum(option.saves_w for option in deepest.values()) <= need_w:
        return deepest
    chosen: dict[DeviceId, Option] = {}
    saved_w = lost_th = 0.0
    best: tuple[float, dict[DeviceId, Option]] | None = None
    looked, stuck = 0, set[DeviceId]()
    for _, device, option in _increments({d: _hull(choices) for d, choices in options.items()}):
        if device in stuck:
            continue
        before = chosen.get(device)
        more_w = option.saves_w - (before.saves_w if before else 0.0)
        if saved_w + more_w < need_w:
            lost_th += option.lost_th - (before.lost_th if before else 0.0)
            saved_w += more_w
            chosen[device] = option
            continue
        stuck.add(device)
        looked += 1
        wide = options if looked <= MAX_LOOKS else {device: options[device]}
        best = _better(best, _finish(wide, chosen, need_w - saved_w), chosen, lost_th)
    best = _better(best, _finish(options, chosen, need_w - saved_w), chosen, lost_th)
    if best is None:
        return deepest
    return _pruned(options, best[1], sum(option.saves_w for option in best[1].values()) - need_w)


def _better(
    best: tuple[float, dict[DeviceId, Option]] | None,
    finish: tuple[float, DeviceId, Option] | None,
    chosen: dict[DeviceId, Option],
    lost_th: float,
) -> tuple[float, dict[DeviceId, Option]] | None:
    """The cheaper of the best plan so far and what was chosen with this finish."""
    if finish is None or (best is not None and best[0] <= lost_th + finish[0]):
        return best
    return lost_th + finish[0], {**chosen, finish[1]: finish[2]}


def _increments(options: Options) -> list[tuple[float, DeviceId, Option]]:
    """Every step deeper of every miner, by hashes per watt; the hull keeps a miner's own in order."""
    found: list[tuple[float, DeviceId, Option]] = []
    for device, choices in options.items():
        if choices:
            found.append((choices[0].lost_th / choices[0].saves_w, device, choices[0]))
        for above, below in pairwise(choices):
            price = (below.lost_th - above.lost_th) / (below.saves_w - above.saves_w)
            found.append((price, device, below))
    return sorted(found, key=lambda entry: (entry[0], entry[1], entry[2].saves_w))


def _finish(
    options: Options, chosen: dict[DeviceId, Option], left_w: float
) -> tuple[float, DeviceId, Option] | None:
    """The cheapest single change that saves the rest: (hashes more, miner, choice)."""
    best: tuple[float, DeviceId, Option] | None = None
    for device, choices in options.items():
        before = chosen.get(device)
        before_w, before_th = (before.saves_w, before.lost_th) if before else (0.0, 0.0)
        for option in choices:
            more = option.lost_th - before_th
            if option.saves_w - before_w >= left_w and (best is None or more < best[0]):
                best = (more, device, option)
    return best


def _pruned(options: Options, chosen: dict[DeviceId, Option], spare_w: float) -> dict[DeviceId, Option]:
    """Without what turned out not to be needed, the dearest first: left out, or less deep."""
    kept = dict(chosen)
    for device, option in sorted(chosen.items(), key=lambda entry: (-entry[1].lost_th, entry[0])):
        if option.saves_w <= spare_w:
            del kept[device]
            spare_w -= option.saves_w
            continue
        enough = [other for other in options[device] if option.saves_w - other.saves_w <= spare_w]
        kept[device] = min(enough, key=lambda other: (other.lost_th, other.saves_w))
        spare_w -= option.saves_w - kept[device].saves_w
    return kept
