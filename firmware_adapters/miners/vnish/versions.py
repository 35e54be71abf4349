"""Which VNish this is: name and number of a firmware, and whether we have ever seen its like. Pure.

Some versions of 1.2 and 1.3 are known from documents and recordings (`miners/known.toml`); whatever else
answers is read as well as it can be, and commanded only where the site accepts it (`identify.Trust`).
"""

import re

import msgspec

from firmware_adapters.miners import known

_NUMBER = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", re.ASCII | re.IGNORECASE)


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """A firmware as `/info` names it; `number` is empty where it tells none ("1.2.0-beta10" is 1.2.0)."""

    name: str = ""
    version: str = ""
    number: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """For people and for `DeviceFacts.firmware`: "Vnish 1.3.4"."""
        return f"{self.name or '?'} {self.version or '?'}"

    @property
    def known(self) -> bool:
        """Whether it is one of those in our table."""
        return "vnish" in self.name.lower() and known.covers("vnish", self.number, number_of)

    @property
    def first(self) -> bool:
        """1.2.0 and its betas."""
        return self.number == (1, 2, 0)

    @property
    def trial(self) -> bool:
        """A beta or release candidate ("1.2.0-rc5")."""
        return bool(self.number) and "-" in self.version

    def since(self, *number: int) -> bool:
        """Whether it is that version or a later one; False where it tells none."""
        return bool(self.number) and self.number >= number


def firmware(name: str | None, version: str | None) -> Firmware:
    """A firmware by its name and version as text; a beta counts as what it will be."""
    return Firmware(name=name or "", version=version or "", number=number_of(version or ""))


def number_of(version: str) -> tuple[int, ...]:
    """The version in three numbers; empty where it is none."""
    match = _NUMBER.match(version)
    return tuple(int(part or 0) for part in match.groups()) if match is not None else ()
