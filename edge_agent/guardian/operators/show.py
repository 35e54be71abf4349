"""What the guardian knows of one device, for a person who may not ask it: the guardian alone talks to it."""

from collections.abc import Mapping

import msgspec

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink
from edge_agent.ipc import MAX_FRAME_BYTES, Refused
from firmware_adapters.discovery.recording import is_frames, redact
from firmware_adapters.transport.tape import FailureRing
from shared.exchanges import KeptFailure
from shared.ids import DeviceId
from shared.shown import DeviceShown, ShowDevice

_MOST_RAW_BYTES = MAX_FRAME_BYTES // 2
"""Of raw replies in one answer; the newest of them are shown."""
_MOST_NAMED = 10
"""Of the devices behind one address, in a refusal."""


def show(
    links: Mapping[DeviceId, DeviceLink], board: Board, kept: FailureRing, asked: ShowDevice
) -> DeviceShown | Refused:
    """The answer to one request; refused where no device of this site is meant, or more than one."""
    meant = [one for one in links.values() if _is_meant(one, asked)]
    if not meant:
        name = asked.device or asked.host
        return Refused(why=f"no device {name!r} on this site")
    if len(meant) > 1:
        ids = ", ".join(one.device for one in meant[:_MOST_NAMED])
        more = f" and {len(meant) - _MOST_NAMED} more" if len(meant) > _MOST_NAMED else ""
        return Refused(why=f"{asked.host} is the address of several devices; name one of them: {ids}{more}")
    link = meant[0]
    last = board.last(link.device)
    details = link.details
    return DeviceShown(
        entry=link.entry,
        facts=link.facts,
        sample=link.last_good,
        failing=last.failure,
        boards=details.boards,
        pools=details.pools,
        faults=details.faults,
        kept=_without_secrets(kept.of(link.device)),
    )


def _is_meant(link: DeviceLink, asked: ShowDevice) -> bool:
    if asked.device is not None:
        return link.device == asked.device
    return link.entry.host == asked.host and asked.port in (0, link.entry.port)


def _without_secrets(failure: KeptFailure | None) -> KeptFailure | None:
    if failure is None:
        return None
    left = _MOST_RAW_BYTES
    shown = []
    for exchange in reversed(failure.exchanges):
        left -= len(exchange.reply)
        if left < 0:
            break
        clean = exchange.reply if is_frames(failure.adapter) else redact(exchange.reply)
        shown.append(msgspec.structs.replace(exchange, reply=clean))
    return msgspec.structs.replace(failure, exchanges=tuple(reversed(shown)))
