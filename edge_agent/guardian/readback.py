"""When a write counts as done: a later read that shows it, and nothing else (S13). Pure."""

from shared.commands import AnyAction, SetPoint, SetPreset, StartMining, StopMining, SwitchOutlet
from shared.inventory import DeviceEntry
from shared.telemetry import MinerState, Sample

STOPPED_SHARE = 0.3
"""A miner that says "stopped" above this share of its nominal power is not believed (miners.md §7)."""
POINT_TOLERANCE = 0.01
"""Share of the written value, and at least 0.5 of its unit: drives round their set-points."""


def confirmed(action: AnyAction, sample: Sample, entry: DeviceEntry) -> bool:
    """Whether this sample, taken after the write, shows that the device does what it was told."""
    if sample.failure is not None:
        return False
    match action:
        case SetPreset(preset=preset):
            return sample.preset == preset
        case StopMining():
            return _is_stopped(sample, entry)
        case StartMining():
            return _is_started(sample)
        case SetPoint(point=point, value=value):
            return at_point(sample.usable(point), value)
        case SwitchOutlet(outlet=outlet, on=on):
            return sample.usable(f"outlet_on.{outlet}") == float(on)


def at_point(now: float | None, value: float) -> bool:
    """Whether a read set-point is the written one within the device's rounding."""
    return now is not None and abs(now - value) <= max(0.5, POINT_TOLERANCE * abs(value))


def _is_stopped(sample: Sample, entry: DeviceEntry) -> bool:
    state = believed(sample, entry.nominal_w)
    return state is not None and not state.draws_power


def believed(sample: Sample, nominal_w: float | None) -> MinerState | None:
    """The state that control goes by: "stopped" above a share of nominal power (W) is UNKNOWN."""
    state = sample.state
    if state is None or state.draws_power or nominal_w is None:
        return state
    power_w = sample.usable("power_w")
    contradicts = power_w is not None and power_w > STOPPED_SHARE * nominal_w
    return MinerState.UNKNOWN if contradicts else state


def _is_started(sample: Sample) -> bool:
    return sample.state is not None and sample.state in (
        MinerState.INITIALIZING,
        MinerState.STARTING,
        MinerState.MINING,
        MinerState.AUTO_TUNING,
    )


def may_resend(action: AnyAction, sample: Sample | None) -> bool:
    """Whether sending again helps: not while the device is visibly on its way."""
    if sample is None or sample.state is None or sample.failure is not None:
        return True
    if isinstance(action, StopMining):
        return sample.state is not MinerState.SHUTTING_DOWN
    return not sample.state.settling


def shown(action: AnyAction, sample: Sample | None) -> str:
    """What the device is at, in the words of this action; for the audit's before and after."""
    if sample is None or sample.failure is not None:
        return "unknown"
    match action:
        case SetPreset():
            return sample.preset or "unknown"
        case StopMining() | StartMining():
            return str(sample.state or "unknown")
        case SetPoint(point=point):
            value = sample.usable(point)
            return "unknown" if value is None else f"{value:g}"
        case SwitchOutlet(outlet=outlet):
            value = sample.usable(f"outlet_on.{outlet}")
            return "unknown" if value is None else ("on" if value else "off")
