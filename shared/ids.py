"""Names of things, as distinct types, so that a zone is never passed where a device is meant.

All are short ASCII words that are safe in a file name, an MQTT topic level and a URL path segment.
"""

import re
from typing import NewType

from shared.errors import ConfigError

SiteId = NewType("SiteId", str)
"""One mining location. Also the MQTT user name and the certificate's CN."""
ZoneId = NewType("ZoneId", str)
"""A container, room or aisle that shares air or water."""
DeviceId = NewType("DeviceId", str)
"""Anything polled: miner, meter, PDU, drive, HVAC unit, sensor."""
CommandId = NewType("CommandId", str)
"""A UUID in text form, made by whoever issues the command; repeated ids return the stored result."""

_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def checked_id(text: str, what: str) -> str:
    """Return `text` if it is a valid name, else raise `ConfigError` saying what a valid one looks like."""
    if not _WORD.fullmatch(text):
        raise ConfigError(
            f"{what} {text!r} is not a valid name: use 1 to 63 lower-case letters, digits, '.', '_' or '-', "
            "starting with a letter or a digit"
        )
    return text
