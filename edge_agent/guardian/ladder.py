"""A miner's ladder of presets, as the unit itself lists it; ladders differ from unit to unit."""

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


def lower(device: DeviceId, facts: DeviceFacts | None, running: str | None, *, hydro: bool) -> AnyAction:
    """One step down, or a stop at the bottom and wherever the running step is not known."""
    if facts is None:
        return StopMining(device=device)
    now_w = power_of(facts, running)
    if now_w is None:
        return StopMining(device=device)
    below = [preset for preset in usable(facts, hydro=hydro) if preset.power_w < now_w]
    return SetPreset(device=device, preset=below[-1].name) if below else StopMining(device=device)
