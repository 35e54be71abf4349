"""A miner's ladder of presets, as the unit itself lists it; ladders differ from unit to unit."""

import math

from shared.capabilities import DeviceFacts, Preset
from shared.commands import AnyAction, SetPreset, StopMining
from shared.ids import DeviceId


def usable(facts: DeviceFacts, *, hydro: bool) -> tuple[Preset, ...]:
    """The steps that this unit may run, by rising power (W): tuned, and cooled the way the zone is."""
    fit = [
        preset
        for preset in facts.presets
        if preset.tuned and not preset.needs_modded_psu and (hydro or not preset.needs_liquid)
    ]
    return tuple(sorted(fit, key=lambda preset: (preset.power_w, preset.name)))


def index_of(steps: tuple[Preset, ...], name: str | None) -> int | None:
    """Where `name` stands among the usable steps, or None."""
    return next((i for i, preset in enumerate(steps) if preset.name == name), None)


def named(facts: DeviceFacts, name: str | None) -> Preset | None:
    """The listed step of that name, usable or not; None where it is not listed."""
    return next((preset for preset in facts.presets if preset.name == name), None)


def share_of(facts: DeviceFacts, name: str | None, nominal_w: float | None) -> float | None:
    """Hashrate of a step as a share of nominal: that of the step whose power is nearest to `nominal_w` (W).

    None where the step is not listed, or no nominal hashrate can be told.
    """
    step = named(facts, name)
    if step is None or nominal_w is None:
        return None
    nominal = min(facts.presets, key=lambda preset: (abs(preset.power_w - nominal_w), preset.name))
    return step.hashrate_ths / nominal.hashrate_ths if nominal.hashrate_ths > 0 else None


def power_of(facts: DeviceFacts, name: str | None) -> float | None:
    """Rated power (W) of any listed step, usable or not; None where it is not listed."""
    step = named(facts, name)
    return None if step is None else step.power_w


def safe(facts: DeviceFacts, wanted: str, *, hydro: bool) -> str | None:
    """The step that a site file's `safe_preset` means on this unit; None where the unit has no usable step.

    Ladders differ from unit to unit and change with firmware (miners.md §1.7). Where the unit may not run
    the named step, it is the highest usable one not above it, by its rated power or by its name as a number
    of watts; where neither tells anything, or nothing is so low, the lowest.
    """
    steps = usable(facts, hydro=hydro)
    if index_of(steps, wanted) is not None:
        return wanted
    rated_w = power_of(facts, wanted)
    limit_w = _as_watts(wanted) if rated_w is None else rated_w
    fit = [preset.name for preset in steps if preset.power_w <= limit_w]
    return fit[-1] if fit else next((preset.name for preset in steps), None)


def _as_watts(name: str) -> float:
    """A name that is a number, in W; -inf where it is none."""
    try:
        watts = float(name)
    except ValueError:
        return -math.inf
    return watts if math.isfinite(watts) else -math.inf


def lower(device: DeviceId, facts: DeviceFacts | None, running: str | None, *, hydro: bool) -> AnyAction:
    """One step down, or a stop at the bottom and wherever the running step is not known."""
    if facts is None:
        return StopMining(device=device)
    now_w = power_of(facts, running)
    if now_w is None:
        return StopMining(device=device)
    below = [preset for preset in usable(facts, hydro=hydro) if preset.power_w < now_w]
    return SetPreset(device=device, preset=below[-1].name) if below else StopMining(device=device)
