"""Actions of a schedule: whether they are seen done, and what brings back what ran before. Pure."""

from collections.abc import Iterable, Mapping

from edge_agent.guardian import readback
from edge_agent.guardian.polling.board import Last
from shared.commands import AnyAction, SetPoint, SetPreset, StartMining, StopMining, SwitchOutlet
from shared.ids import DeviceId
from shared.inventory import DeviceEntry


def is_done(action: AnyAction, last: Last, entry: DeviceEntry) -> bool:
    """Whether the device was last seen to do this; presets are told at a slower cadence than the rest."""
    if isinstance(action, SetPreset):
        return last.preset == action.preset
    return last.good is not None and readback.confirmed(action, last.good, entry)


def reverse(actions: Iterable[AnyAction], last_of: Mapping[DeviceId, Last]) -> tuple[AnyAction, ...]:
    """What takes these actions back, by what was seen before them; nothing for what was not known."""
    found = [back for action in actions if (back := _back(action, last_of[action.device])) is not None]
    return tuple(found)


def _back(action: AnyAction, last: Last) -> AnyAction | None:
    device, drew = action.device, last.state is not None and last.state.draws_power
    match action:
        case SetPreset():
            return None if last.preset is None else SetPreset(device=device, preset=last.preset)
        case StopMining():
            return StartMining(device=device) if drew else None
        case StartMining():
            return None if drew or last.state is None else StopMining(device=device)
        case SetPoint(point=point):
            value = None if last.good is None else last.good.usable(point)
            return None if value is None else SetPoint(device=device, point=point, value=value)
        case SwitchOutlet():
            return None  # outlets are a person's business
