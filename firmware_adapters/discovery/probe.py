"""Looking at one host: what it may be, by evidence; then what it tells through its adapter."""

import msgspec

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.ask import Asker, ways_to
from firmware_adapters.discovery.examine import Examined, Examiner, entry_for
from firmware_adapters.discovery.logins import Logins
from firmware_adapters.discovery.report import Probed, chosen
from firmware_adapters.identify import LIKELY, Identification, identify, recogniser
from firmware_adapters.registry import ADAPTERS
from shared.clock import Clock

STANDARD_PORTS = (80, 4028, 4433)
"""Of a real machine; where the user names another port, the machine is emulated and has only that one."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How to look."""

    credential: Credential | None = None
    adapter: str | None = None
    """Named by the user; None has the host identified."""
    timeout_s: float = 3.0
    sample: bool = True
    again_after_s: float | None = None
    chips: bool = False
    logs: bool = False


async def probe(
    asker: Asker, host: str, port: int | None, look: Look, clock: Clock, logins: Logins | None = None
) -> Probed:
    """Identify `host` and read it through the likeliest adapter, or through the one that the user named.

    Changes nothing on the device. `logins` is for one machine of many: it says whether this one gets the
    password of `look`. Raises `ConfigError` for an adapter that is not known.
    """
    ways = ways_to(port)
    if look.adapter is not None:
        recogniser(look.adapter)
    seen = await asker.ask(host, ways)
    found = Probed(
        host=host,
        port=port if port is not None else 80,
        identified=identify(seen),
        named=look.adapter,
        answered=not seen.empty,
        silent=seen.silent,
    )
    best = chosen(found)
    if best is None or (look.adapter is None and best.confidence < LIKELY) or best.adapter not in ADAPTERS:
        return found
    at = adapter_port(best.adapter, port)

    async def examined_with(credential: Credential | None) -> Examined:
        with_it = msgspec.structs.replace(look, credential=credential)
        return await _examined(best, host, at, with_it, clock)

    examined = await (logins or Logins(look.credential)).look(best.adapter, examined_with)
    return msgspec.structs.replace(found, port=at, examined=examined)


async def _examined(best: Identification, host: str, port: int, look: Look, clock: Clock) -> Examined:
    examiner = Examiner(
        entry_for(best.adapter, host, port),
        look.credential,
        timeout_s=look.timeout_s,
        clock=clock,
        told_firmware=best.firmware,
    )
    return await examiner.examine(
        sample=look.sample, again_after_s=look.again_after_s, chips=look.chips, logs=look.logs
    )


def adapter_port(adapter: str, asked: int | None) -> int:
    """Where the adapter goes: to the port that the user named, unless that is one of a real machine's."""
    return recogniser(adapter).PORT if asked is None or asked in STANDARD_PORTS else asked
