"""Who asks: a person by a token of their own where the configuration has such, else whoever they say.

Where `[[people]]` are configured, what takes two persons takes two tokens. Without, a name is taken at its
word: that guards against haste, not against somebody who holds the one token.
"""

import unicodedata
from typing import Annotated

import msgspec
from fastapi import Depends, Request

from cloud.kit.context import Here
from cloud.kit.problems import Forbidden


def same_person(one: str, other: str) -> bool:
    """Whether two names are meant to be the same: case, spaces and signs do not make another person."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    kept = (character for character in unicodedata.normalize("NFKC", name).casefold() if character.isalnum())
    return "".join(kept) or name


_CLAIMED = 170
"""Characters of a claimed name; a site takes 200 in all."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the token of this request."""

    person: str | None
    personal: bool
    """Whether persons have tokens of their own here."""

    def signs_as(self, claimed: str) -> str:
        """The name for the record; raises `Forbidden` where the token is not that person's."""
        name = claimed.strip()
        if not self.personal:
            return name
        if self.person is None:
            raise Forbidden("this takes a person's own token (see [[people]] in the cloud's configuration)")
        if not same_person(self.person, name):
            raise Forbidden(f"this token is {self.person}'s, so {name!r} cannot be signed with it")
        return self.person

    def stops_as(self, claimed: str) -> str:
        """The name for the record of a safe-stop, which no name is wrong enough for to be refused."""
        try:
            return self.signs_as(claimed)
        except Forbidden:
            return self.person or f"{claimed.strip()[:_CLAIMED]} (with the shared token)"


def _caller(request: Request, here: Here) -> Caller:
    person = getattr(request.state, "person", None)
    return Caller(person=person, personal=bool(here.config.people))


Who = Annotated[Caller, Depends(_caller)]
"""Parameter type of endpoints whose author matters."""
