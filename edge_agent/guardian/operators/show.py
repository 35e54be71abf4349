"""What the guardian knows of one device, for a person who may not ask it: the guardian alone talks to it."""

from collections.abc import Mapping

import msgspec

from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.ipc import MAX_FRAME_BYTES, Refused
from firmware_adapters.discovery.log_text import pool_users, without_secrets
from firmware_adapters.discovery.recording import is_frames, redact
from shared.details import LogTail, Pool
from shared.exchanges import KeptFailure
from shared.ids import DeviceId
from shared.shown import DeviceShown, ShowDevice

_MOST_RAW_BYTES = MAX_FRAME_BYTES // 2
"""Of raw replies in one answer; the newest of them are shown."""
_MOST_NAMED = 10
"""Of the devices behind one address, in a refusal."""


def show(links: Mapping[DeviceId, DeviceLink], samples: Samples, asked: ShowDevice) -> DeviceShown | Refused:
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
    last = samples.board.last(link.device)
    details, chips = link.details, link.chips
    return DeviceShown(
        entry=link.entry,
        facts=link.facts,
        sample=link.last_good,
        failing=last.failure,
        boards=details.boards,
        pools=details.pools,
        faults=details.faults,
        kept=_without_secrets(samples.kept.of(link.device)),
        chips=chips.chips if chips is not None else None,
        chips_at_ms=chips.at_ms if chips is not None else None,
        log=_log(samples.logs.of(link.device), details.pools or ()),
    )


def _is_meant(link: DeviceLink, asked: ShowDevice) -> bool:
    if asked.device is not None:
        return link.device == asked.device
    return link.entry.host == asked.host and asked.port in (0, link.entry.port)


def _log(kept: LogTail | None, pools: tuple[Pool, ...]) -> LogTail | None:
    """The log without passwords, and without the users of the pools that are known by now."""
    if kept is None:
        return None
    users = pool_users(pools)
    clean = {name: without_secrets(getattr(kept, name), users) for name in ("text", "why")}
    return msgspec.structs.replace(kept, **clean)


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
