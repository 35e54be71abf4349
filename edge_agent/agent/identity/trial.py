"""Whether the broker takes a new pair, found out without disturbing the connection that is up.

A whole MQTT connect would do, but the broker knows one session per site and would end the live one. So the
trial goes as far as TLS with the new certificate, and then asks for a protocol version that does not exist:
a broker that accepted the certificate answers that question (or hangs up), one that did not ends the TLS
session with an alert. With TLS 1.3 the alert comes only after the handshake, which is why something is asked.
"""

import asyncio
import ssl
from enum import StrEnum
from pathlib import Path
from typing import Final

from edge_agent.config import Uplink

_TIMEOUT_S: Final = 15.0
_ALERT_S: Final = 3.0
"""Wait for an alert before anything is said: what a broker that hangs up has not read turns its alert into a
reset, and a reset could be anything."""
_CONNECT: Final = bytes([0x10, 13, 0, 4, *b"MQTT", 0x7F, 0x02, 0, 10, 0, 0, 0])
"""A CONNECT of protocol level 127, without a client id."""


class Trial(StrEnum):
    """What is known after a trial."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The broker could not be reached, or said nothing."""


async def try_pair(settings: Uplink, pair_file: Path) -> tuple[Trial, str]:
    """Show the broker of `settings` the pair in this file; what came of it, and a sentence."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(pair_file)
    except (OSError, ssl.SSLError) as error:
        return Trial.REFUSED, f"the new pair cannot be loaded: {error}"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await _ask(settings, context)
    except ssl.SSLError as error:
        return Trial.REFUSED, f"the broker refuses the new certificate: {error.reason or error}"
    except (OSError, TimeoutError) as error:
        return Trial.UNKNOWN, f"the broker could not be asked: {error or 'no answer in time'}"


async def _ask(settings: Uplink, context: ssl.SSLContext) -> tuple[Trial, str]:
    reader, writer = await asyncio.open_connection(settings.broker_host, settings.broker_port, ssl=context)
    try:
        try:
            async with asyncio.timeout(_ALERT_S):
                await reader.read(4)
        except TimeoutError:
            writer.write(_CONNECT)
            answer = await reader.read(4)
        else:
            return Trial.UNKNOWN, "the broker hung up before it was asked anything"
    finally:
        writer.transport.abort()
    if answer and answer[0] >> 4 != 2:
        return Trial.UNKNOWN, "what answered is not an MQTT broker"
    return Trial.TAKEN, "the broker takes the new certificate"
