"""What a third party's key may order: its limits from the keyring against one order. Pure.

Deny by default: an order, an action, a zone or a device that the key does not name is refused. A third party
takes back and renews its own orders only, and what touches the whole site needs a key without zones and
devices.
"""

from collections.abc import Callable, Iterable, Mapping

from shared.artifacts.signing import PublicKeyEntry
from shared.commands import (
    AnyAction,
    AnyOrder,
    CancelOrder,
    DoActions,
    PreviewOrder,
    RenewOrder,
    ResetTripOrder,
    SafeStopOrder,
    Schedule,
    StandingCap,
    tag_of,
)
from shared.ids import CommandId, DeviceId, ZoneId

OwnerOf = Callable[[CommandId], str | None]
"""Which control key a standing order belongs to; None where it is another's."""


def beyond(
    key: PublicKeyEntry, order: AnyOrder, *, zone_of: Mapping[DeviceId, ZoneId], owner_of: OwnerOf
) -> str | None:
    """Why this key may not order this, as a sentence; None where it may."""
    if isinstance(order, PreviewOrder):
        return beyond(key, order.of, zone_of=zone_of, owner_of=owner_of)
    if isinstance(order, DoActions):
        return _actions(key, order.actions, zone_of)
    return _may_not(key, order) or _order(key, order, zone_of, owner_of)


def _may_not(key: PublicKeyEntry, order: AnyOrder | AnyAction) -> str | None:
    if tag_of(order) in key.may and not isinstance(order, ResetTripOrder):
        return None
    allowed = ", ".join(key.may) or "nothing"
    return f"key {key.id!r} may not order {tag_of(order)!r}; its keyring entry allows {allowed}"


def _order(
    key: PublicKeyEntry, order: AnyOrder, zone_of: Mapping[DeviceId, ZoneId], owner_of: OwnerOf
) -> str | None:
    match order:
        case CancelOrder(target=target) | RenewOrder(target=target):
            own = owner_of(target) == key.id
            return None if own else f"order {target!r} is not one of key {key.id!r}"
        case Schedule(what=what, revert=revert):
            inside = beyond(key, what, zone_of=zone_of, owner_of=owner_of)
            return inside or _actions(key, revert, zone_of)
        case SafeStopOrder(zone=zone) if zone is not None and zone in key.zones:
            return None
        case StandingCap(cap_w=None):
            return "a third party takes its own cap back with 'cancel'; null would take away everybody's"
    if not (key.zones or key.devices):
        return None
    return f"key {key.id!r} reaches {', '.join((*key.zones, *key.devices))} only, and this touches more"


def _actions(
    key: PublicKeyEntry, actions: Iterable[AnyAction], zone_of: Mapping[DeviceId, ZoneId]
) -> str | None:
    for action in actions:
        if "actions" not in key.may and (why := _may_not(key, action)):
            return why
        if not (key.zones or key.devices):
            continue
        if action.device not in key.devices and zone_of.get(action.device) not in key.zones:
            return f"key {key.id!r} does not reach device {action.device!r}"
    return None
