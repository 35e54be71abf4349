"""What a host is, by evidence: findings go in, one answer per firmware that may be meant comes out.

Pure. Who asks the questions is `discovery.ask`; each firmware's own `identify.py` says what it recognises in
the answers, with a weight per clue. Clues add up as independent witnesses do: confidence is one minus the
product of their doubts, never above `CERTAIN`, because nothing read over a network is proof.
"""

from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from typing import Protocol, cast

import msgspec

from firmware_adapters.capabilities import WRITES
from shared.capabilities import Capability, DeviceFacts
from shared.errors import ConfigError
from shared.inventory import AcceptedFirmware, DeviceEntry, tells_whole_version

CERTAIN = 0.99
LIKELY = 0.5
"""Below this an answer is a guess: shown, never used without the user's word."""
UNTIL_TOLD = "read-only until it does, every control is refused"
_LONGEST_WORD = 120

Body = Mapping[str, object]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to a GET without a login. Header names are lower case; `body` is at most its first 64 kB."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text, whatever it holds."""
        return self.body.decode("utf-8", "replace")

    @property
    def realm(self) -> str:
        """Who asks for a login (`www-authenticate`), or nothing."""
        return self.headers.get("www-authenticate", "")

    def object(self) -> Body | None:
        """The JSON object in a good reply, or None."""
        if self.status != 200:
            return None
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a host said to questions that change nothing and log in nowhere.

    `pages` by path, `commands` by cgminer command (refusals included), `frames` by command of Whatsminer's
    length-prefixed socket. `silent` says, per question, why there is no answer.
    """

    pages: Mapping[str, Page] = {}
    commands: Mapping[str, Body] = {}
    frames: Mapping[str, Body] = {}
    silent: Mapping[str, str] = {}

    def json(self, path: str) -> Body | None:
        """The JSON object of a page, or None."""
        page = self.pages.get(path)
        return None if page is None else page.object()

    def section(self, command: str, name: str, key: str | None = None) -> Body | None:
        """The first object of a reply's list (`VERSION` of `version`), the first that has `key`, or None."""
        items = self.commands.get(command, {}).get(name)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict) and (key is None or key in item):
                return item
        return None

    @property
    def machine_type(self) -> str:
        """What the cgminer socket calls the machine (`Type` of `version` or of `stats`), or nothing."""
        for command, name in (("version", "VERSION"), ("stats", "STATS")):
            said = word(self.section(command, name, "Type"), "Type")
            if said:
                return said
        return ""

    @property
    def empty(self) -> bool:
        """Nothing was answered at all."""
        return not (self.pages or self.commands or self.frames)


class Clue(msgspec.Struct, frozen=True):
    """One piece of evidence: how far it goes by itself (0..1), and the sentence for a person."""

    weight: float
    words: str


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """What one firmware's recogniser makes of the findings. Empty text is unknown."""

    clues: tuple[Clue, ...]
    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    algorithm: str = ""


class Identification(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `confidence` 0..1; `seen_before` False: our table does not know this version, so it is read
    only unless the site accepts it (`Trust`); None: the version is not told."""

    adapter: str
    confidence: float
    evidence: tuple[str, ...]
    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    algorithm: str = ""
    seen_before: bool | None = None


class Recogniser(Protocol):
    """What each firmware's `identify.py` has."""

    PORT: int
    """Where a real machine answers first."""

    def recognise(self, seen: Findings) -> Guess | None:
        """What this firmware makes of the findings; None where nothing speaks for it."""
        ...

    def seen_before(self, firmware: str) -> bool:
        """Whether this version is one of those that adapter and reference were written for."""
        ...


RECOGNISERS: dict[str, str] = {
    "vnish": "firmware_adapters.miners.vnish.identify",
    "antminer": "firmware_adapters.miners.antminer.identify",
    "luxos": "firmware_adapters.miners.luxos.identify",
    "braiins": "firmware_adapters.miners.braiins.identify",
    "whatsminer": "firmware_adapters.miners.whatsminer.identify",
    "whatsminer-v3": "firmware_adapters.miners.whatsminer_v3.identify",
    "avalon": "firmware_adapters.miners.avalon.identify",
    "axeos": "firmware_adapters.miners.axeos.identify",
}
"""Adapter name → module of its recogniser."""


def recogniser(adapter: str) -> Recogniser:
    """The recogniser of a firmware. Raises `ConfigError` for an adapter that has none."""
    module = RECOGNISERS.get(adapter)
    if module is None:
        raise ConfigError(f"no miner firmware named {adapter!r}; known are {', '.join(sorted(RECOGNISERS))}")
    return cast(Recogniser, import_module(module))


def identify(seen: Findings) -> tuple[Identification, ...]:
    """Every firmware that something speaks for, the most likely first; never raises for what a host said."""
    found = [one for adapter in RECOGNISERS if (one := _by(adapter, seen)) is not None]
    return tuple(sorted(found, key=lambda one: -one.confidence))


def _by(adapter: str, seen: Findings) -> Identification | None:
    guess = recogniser(adapter).recognise(seen)
    if guess is None or not guess.clues:
        return None
    doubt = reduce(lambda left, clue: left * (1.0 - clue.weight), guess.clues, 1.0)
    return Identification(
        adapter=adapter,
        confidence=min(CERTAIN, round(1.0 - doubt, 3)),
        evidence=tuple(clue.words for clue in guess.clues),
        model=guess.model,
        firmware=guess.firmware,
        mac=clean_mac(guess.mac),
        serial=guess.serial,
        algorithm=guess.algorithm,
        seen_before=version_seen(adapter, guess.firmware),
    )


def version_seen(adapter: str, firmware: str) -> bool | None:
    """Whether this firmware version is known; None where it is not told or nobody can say."""
    if not _tells_version(firmware) or adapter not in RECOGNISERS:
        return None
    return recogniser(adapter).seen_before(firmware)


def _tells_version(firmware: str) -> bool:
    """Adapters that put a maker's name in front write "AxeOS ?" for a machine that tells no version."""
    return bool(firmware) and not firmware.endswith("?")


def without_writes(capabilities: tuple[Capability, ...]) -> tuple[Capability, ...]:
    """Only what reads."""
    return tuple(one for one in capabilities if one.ability not in WRITES)


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Which firmware versions of an adapter's machines may be commanded: the one rule, for whoever asks.

    Those of our table, and those that the site accepts on a person's word, by the exact text of
    `DeviceFacts.firmware`. One that is not told, in name or version, is never commanded: nobody can say what
    the word was given for. Site equipment has no firmware of ours and keeps what its profile declares.
    """

    adapter: str
    accepted: tuple[AcceptedFirmware, ...] = ()

    @classmethod
    def of(cls, entry: DeviceEntry) -> "Trust":
        """The trust that the site puts into one device's firmware."""
        return cls(adapter=entry.adapter, accepted=entry.firmware_accepted or ())

    def allows(self, firmware: str) -> bool:
        """Whether a machine that tells this version may be commanded."""
        if self.adapter not in RECOGNISERS or version_seen(self.adapter, firmware):
            return True
        return self.word_for(firmware) is not None

    def word_for(self, firmware: str) -> AcceptedFirmware | None:
        """The person's word for a version that our table does not know; None where there is none."""
        if not tells_whole_version(firmware) or version_seen(self.adapter, firmware):
            return None
        return next(
            (one for one in self.accepted if (one.adapter, one.firmware) == (self.adapter, firmware)), None
        )

    def judged(self, facts: DeviceFacts) -> DeviceFacts:
        """The facts of a machine, with every ability that changes something taken away where its version is
        not allowed: reading is safe to try, control is not."""
        if self.allows(facts.firmware):
            return facts
        return msgspec.structs.replace(facts, capabilities=without_writes(facts.capabilities))

    def warnings(self, firmware: str) -> tuple[str, ...]:
        """What a person has to be told of this version: that control is taken away, or on whose word not."""
        word = self.word_for(firmware)
        if word is not None:
            return (f"firmware version {firmware!r} is not in our table: {word.words}",)
        return () if self.allows(firmware) else (read_only_warning(firmware),)


def unjudged_warnings(adapter: str, firmware: str) -> tuple[str, ...]:
    """What a person has to be told of a machine that did not say what it can do, so that nobody may judge it.

    `firmware` is the version that it told without a login, or nothing.
    """
    if adapter not in RECOGNISERS:
        return ()
    if not version_seen(adapter, firmware):
        return (read_only_warning(firmware),)
    return (
        f"firmware version {firmware!r} is known, but the machine did not tell what it can do: {UNTIL_TOLD}",
    )


def read_only_warning(firmware: str) -> str:
    """The sentence for a version that was never seen, or is not told."""
    if not _tells_version(firmware):
        return f"did not tell its firmware version: {UNTIL_TOLD}"
    return f"firmware version {firmware!r} has never been seen: read-only, every control is refused"


def word(parent: Body | None, key: str) -> str:
    """Text (or a whole number) under `key`, trimmed and printable; nothing where there is none."""
    value = parent.get(key) if parent is not None else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return ""
    clean = "".join(char for char in value if char.isprintable()).strip()[:_LONGEST_WORD]
    return "" if clean == "N/A" else clean


def inside(parent: Body | None, *keys: str) -> Body | None:
    """The object at the end of a path of keys, or None."""
    for key in keys:
        value = parent.get(key) if parent is not None else None
        parent = value if isinstance(value, dict) else None
    return parent


def clean_mac(text: str) -> str:
    """`AABBCCDDEEFF`, `aa-bb-…` and `AA:BB:…` as `aa:bb:cc:dd:ee:ff`; nothing for what is no address."""
    digits = "".join(char for char in text.lower() if char in "0123456789abcdef")
    others = set(text.lower()) - set("0123456789abcdef:-. ")
    if len(digits) != 12 or others or digits in ("0" * 12, "f" * 12):
        return ""
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
