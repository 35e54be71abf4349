"""Standing and scheduled orders on the disk: they survive kill -9 and a power cut, and act again."""

import logging
from pathlib import Path

import msgspec

from edge_agent.guardian.power.orders import Goal, PowerOrder, PowerState
from edge_agent.guardian.power.schedules import Scheduled, wanted
from edge_agent.guardian.storage import durable
from edge_agent.ipc import StandingState
from shared.commands import StopMining
from shared.errors import StoreError
from shared.ids import DeviceId

log = logging.getLogger(__name__)


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about power orders that must survive."""

    power: PowerState = PowerState()
    schedules: tuple[Scheduled, ...] = ()

    @property
    def held(self) -> frozenset[DeviceId]:
        """Miners that the zones must not restart: power orders or running windows keep them stopped."""
        windows = (entry for entry in self.schedules if entry.state is StandingState.RUNNING)
        stops = (action for entry in windows for action in wanted(entry) if isinstance(action, StopMining))
        return self.power.held | {action.device for action in stops}


EMPTY = Book()


def load(path: Path) -> tuple[Book, str]:
    """The kept book, and why it could not be read ("" where it could).

    A damaged book is put aside and the guardian starts without it: its orders are lost, which is told, but
    what they lowered stays lowered; nothing is raised on a guess.
    """
    try:
        return durable.unseal(path.read_bytes(), Book), ""
    except FileNotFoundError:
        return EMPTY, ""
    except OSError as error:
        return EMPTY, f"cannot be read: {error.strerror}"
    except StoreError as error:
        try:
            path.replace(path.with_name(path.name + ".damaged"))
        except OSError:
            log.exception("%s is damaged and cannot be put aside", path)
        return EMPTY, str(error)


def save(path: Path, book: Book) -> None:
    """Replace the book and wait for the disk. Raises `StoreError`."""
    durable.replace(path, durable.seal(book))


def resumed(state: PowerState, now_ms: int | None) -> PowerState:
    """The state at a start: nothing is believed to be where it was told, and the meter is unknown.

    What is left of an order comes from the time of day where that is known, and is never more than what was
    left when the book was written; without it the whole rest runs again: the safe side of a power order.
    """
    goals = {device: _doubted(goal) for device, goal in state.goals.items()}
    orders = tuple(_resumed(order, now_ms) for order in state.orders)
    return PowerState(orders=orders, goals=goals, restoring_s=state.restoring_s, relaxing=state.relaxing)


def resumed_windows(schedules: tuple[Scheduled, ...], now_ms: int | None) -> tuple[Scheduled, ...]:
    """Windows at a start: what is left of one that runs ends when it was promised to, as orders do."""
    return tuple(
        msgspec.structs.replace(entry, left_s=min(entry.left_s, (entry.schedule.end_ms - now_ms) / 1000.0))
        if entry.state is StandingState.RUNNING and entry.left_s is not None and now_ms is not None
        else entry
        for entry in schedules
    )


def _doubted(goal: Goal) -> Goal:
    return msgspec.structs.replace(goal, age_s=0.0, asked_s=0.0, there=False, vain=False)


def _resumed(order: PowerOrder, now_ms: int | None) -> PowerOrder:
    if not order.active:
        return order
    left_s = order.left_s
    if left_s is not None and order.end_ms is not None and now_ms is not None:
        left_s = min(left_s, (order.end_ms - now_ms) / 1000.0)
    return msgspec.structs.replace(
        order, left_s=left_s, state=StandingState.RUNNING, met_s=0.0, missed_s=0.0, signal_age_s=0.0
    )


def structure(book: Book) -> tuple[object, ...]:
    """What must be written again when it changes; running times alone are not worth a write."""
    power = book.power
    return (
        tuple((o.id, o.state, o.confirmed_s is None, o.late) for o in power.orders),
        {device: (g.order, g.want, g.was, g.release_s is None) for device, g in power.goals.items()},
        tuple((s.id, s.state) for s in book.schedules),
        power.relaxing,
    )
