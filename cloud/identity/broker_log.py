"""What the broker refused, read from mosquitto's own log: the broker counts it nowhere.

Mosquitto 2.0.11 writes a publish that its ACL denies at debug level only, between a line for each packet of
everybody, and grants any subscription (it delivers nothing on it). So the log goes to a file in a small
memory file system (docs/install.md), and every second this takes what stands there, counts what was tried
on topics of others, hands on what a person would want from a log, and empties the file. The broker never
waits for us: where nobody reads, the file system fills up and lines are lost, the broker's own loss included;
that and its cost are in docs/decisions/0025.
"""

import asyncio
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms import intake
from cloud.identity import repository
from cloud.kit.changes import Changes
from cloud.kit.database import Database
from cloud.sites.intake import ensure
from cloud.tables import AlarmRow, CertificateRow
from shared.clock import Clock
from shared.ids import SiteId
from shared.wire import topics

LOOK_S: Final = 1.0
TELL_S: Final = 60.0
"""Between two events about one name: who tries a thousand times a second fills no table."""
CALM_S: Final = 3600.0
"""So long after the last attempt the alarm is cleared."""
ALARM_KEY: Final = "cloud/foreign-topics"
_AT_ONCE: Final = 1 << 20
"""Bytes: a tenth of a second's work, between which others have their turn."""
_PIECES: Final = 64
"""In one look: as much as the log's memory holds."""
LINES: Final = 100
"""So many of the broker's own lines come into our log each second, whoever floods it."""
_LONGEST_LINE: Final = 1 << 17
"""A topic has 65,535 bytes at most."""
_SHOWN: Final = 200
_OF_A_SITE: Final = topics.all_down(SiteId("")).removeprefix(f"{topics.ROOT}//")
_OF_A_PARTY: Final = "up/res/#"
_WORDS: Final = (
    "used topics that are not its own: {tally.messages} messages and {tally.subscriptions} subscriptions, "
    "the newest on {topic}"
)
_NEWS = re.compile(rb"^(?:\d+: )?+(?!Received |Sending |\t|No will|Will message)(.+)$", re.MULTILINE)
_DENIED = re.compile(r"Denied PUBLISH from (.+?) \(d\d, q\d, r\d, m\d+, '(.*)")
"""Without its end, which mosquitto leaves out where the line gets longer than about 1,000 characters."""
_DENIED_END = re.compile(r"', \.\.\. \(\d+ bytes\)\)$")
_STRANGER = re.compile(
    r"Client <unknown> disconnected(:| due to) [Pp]rotocol error\.|Client connection from \S+ failed: .+"
    r"|Client (.+) disconnected, not authori[sz]ed\."
)
_PACKET = re.compile(r"Client (.+) disconnected due to .+")
_SUBSCRIBED = re.compile(r"(\S+) [012] (.+)")
_log = logging.getLogger(__name__)
_mosquitto = logging.getLogger("mosquitto")

Verb = Literal["publish", "subscribe", "packet", "connect"]


class Refused(msgspec.Struct, frozen=True):
    """Somebody wanted what is not theirs; `name` is the client's id, for a site its certificate's CN.

    `publish` and `subscribe`: on a topic of others. `packet`: malformed, oversize or out of turn. `connect`:
    without a certificate that counts.
    """

    name: str
    verb: Verb
    topic: str = ""


class Tally(msgspec.Struct):
    """What one name tried since it was last told of."""

    messages: int = 0
    subscriptions: int = 0
    topic: str = ""
    """The newest one."""


def covers(allowed: str, asked: str) -> bool:
    """Whether the topic filter `asked` can match nothing that `allowed` does not match."""
    mine, theirs = allowed.split("/"), asked.split("/")
    for number, level in enumerate(mine):
        if level == "#":
            return True
        if number >= len(theirs) or theirs[number] == "#" or level not in ("+", theirs[number]):
            return False
    return len(mine) == len(theirs)


class Right(msgspec.Struct, frozen=True):
    """What one certificate may subscribe to: `rest` below each of its sites (`*`: of all)."""

    sites: frozenset[str]
    rest: str

    def has(self, asked: str) -> bool:
        """Whether this topic filter is inside it; the same work however many sites there are."""
        root = f"{topics.ROOT}/"
        site, _, rest = asked.removeprefix(root).partition("/")
        mine = site in self.sites or "*" in self.sites
        return asked.startswith(root) and mine and covers(self.rest, rest)


def rights_of(live: Iterable[CertificateRow]) -> dict[str, Right]:
    """By name, of whoever comes in by the sites' listener."""
    rights: dict[str, Right] = {}
    for row in live:
        if row.role == "site":
            rights[row.name] = Right(frozenset((row.name,)), _OF_A_SITE)
        elif row.role == "control":
            earlier = rights.get(row.name, Right(frozenset(), _OF_A_PARTY))
            rights[row.name] = Right(earlier.sites | set(row.sites), _OF_A_PARTY)
    return rights


def sort_out(text: bytes, rights: Mapping[str, Right]) -> tuple[list[Refused], list[str]]:
    """(What was refused, lines worth keeping) in whole lines of the log."""
    refused: list[Refused] = []
    kept: list[str] = []
    for found in _NEWS.finditer(text):
        line = found[1].decode(errors="replace")
        if denied := _DENIED.fullmatch(line):
            refused.append(Refused(denied[1], "publish", _DENIED_END.sub("", denied[2])))
            continue
        kept.append(line)
        if _STRANGER.fullmatch(line):
            refused.append(Refused("<unknown>", "connect"))
            continue
        if thrown_out := _PACKET.fullmatch(line):
            refused.append(Refused(thrown_out[1], "packet"))
            continue
        subscribed = _SUBSCRIBED.fullmatch(line)
        if subscribed is None or subscribed[1] not in rights:
            continue
        asked = subscribed[2]
        if asked.startswith("$share/"):
            asked = asked.split("/", 2)[-1]
        if not rights[subscribed[1]].has(asked):
            refused.append(Refused(subscribed[1], "subscribe", asked))
    return refused, kept


class BrokerLog:
    """One broker's log file. `run` does the work; the counts are since the start of this process."""

    def __init__(
        self, path: Path, database: Database, clock: Clock, *, on_changes: Callable[[Changes], None]
    ) -> None:
        self._path = path
        self._database = database
        self._clock = clock
        self._on_changes = on_changes
        self._counts: Counter[Verb] = Counter()
        self._untold: dict[str, Tally] = {}
        self._told_s: dict[str, float] = {}
        self._at = 0
        self._rest = b""
        self._next_calm_s = clock.monotonic()
        self.trouble: str | None = None
        """Why the log cannot be read now."""

    @property
    def counts(self) -> dict[str, int] | None:
        """How often each `Verb` was refused; None: not known."""
        if self.trouble is not None:
            return None
        return {verb: self._counts[verb] for verb in get_args(Verb)}

    async def run(self) -> None:
        """Look every second for ever; ends only by cancellation."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Take what the broker has written since the last look; what fails is said in `trouble`."""
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - supervisor: a file or database that is away comes back
            self._complain(error)
        else:
            if self.trouble is not None:
                _log.warning("what the broker refuses is counted again")
            self.trouble = None

    async def _look(self) -> None:
        # Rights first: what is taken from the file is nowhere else any more.
        if self._path.stat().st_size:
            async with self._database.read() as session:
                rights = rights_of(await repository.live(session, self._clock.utc_ms()))
            lines: list[str] = []
            left_out = 0
            for _ in range(_PIECES):
                text, more = await asyncio.to_thread(self._take)
                refused, kept = await asyncio.to_thread(sort_out, text, rights)
                for one in refused:
                    self._count(one)
                left_out += max(0, len(lines) + len(kept) - LINES)
                lines += kept[: LINES - len(lines)]
                if not more:
                    break
            _hand_on(lines, left_out)
        await self._tell()

    def _take(self) -> tuple[bytes, bool]:
        """The next whole lines, and whether there is more.

        A file that was read to its end is emptied; half a line stays with us.
        """
        with self._path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) < self._at:
                self._at = 0  # somebody else has emptied it
            file.seek(self._at)
            news = file.read(_AT_ONCE)
            self._at += len(news)
            more = len(news) == _AT_ONCE
            if not more:
                # What the broker appends between that read and this line is lost: microseconds in a second.
                os.ftruncate(file.fileno(), 0)
                self._at = 0
        text = self._rest + news
        end = text.rfind(b"\n") + 1
        self._rest = text[end:][-_LONGEST_LINE:]
        return text[:end], more

    def _count(self, one: Refused) -> None:
        self._counts[one.verb] += 1
        if one.verb not in ("publish", "subscribe"):
            return  # the broker's own line says who and why, and stands in our log
        if one.topic.startswith(f"{topics.ROOT}/{one.name}/up/"):
            return  # its own, refused because its certificate was just revoked: nobody is surprised
        tally = self._untold.setdefault(one.name, Tally())
        if one.verb == "publish":
            tally.messages += 1
        else:
            tally.subscriptions += 1
        tally.topic = one.topic[:_SHOWN]

    async def _tell(self) -> None:
        now_s, now_ms = self._clock.monotonic(), self._clock.utc_ms()
        due = {
            name: tally
            for name, tally in self._untold.items()
            if now_s - self._told_s.get(name, now_s - TELL_S) >= TELL_S
        }
        changes = Changes()
        if due:
            async with self._database.write() as session:
                await _alarm(session, due, now_ms, changes)
            for name, tally in due.items():
                _log.warning("%s: %s", ascii(name), _WORDS.format(tally=tally, topic=ascii(tally.topic)))
                self._told_s[name] = now_s
                del self._untold[name]
        if now_s >= self._next_calm_s:
            async with self._database.write() as session:
                await _calm(session, now_ms, changes)
            self._next_calm_s = now_s + TELL_S
        if changes:
            self._on_changes(changes)

    def _complain(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if self.trouble is None:
            _log.error("what the broker refuses is not counted now: %s", text)
        self.trouble = text


def _hand_on(lines: Sequence[str], left_out: int) -> None:
    """The broker's lines into our log."""
    for line in lines:
        level = logging.WARNING if line.startswith(("Error", "Warning")) else logging.INFO
        _mosquitto.log(level, "%s", line[:_SHOWN])
    if left_out:
        _mosquitto.warning("and %d lines more within this second, which are left out", left_out)


async def _alarm(session: AsyncSession, due: Mapping[str, Tally], now_ms: int, changes: Changes) -> None:
    """An alarm at each site whose certificate was used so; third parties stand in the log only."""
    sites = await repository.sites_among(session, due)
    await ensure(session, [SiteId(name) for name in sites])
    for name in sorted(sites):
        tally = due[name]
        await intake.own_alarm(
            session,
            name,
            ALARM_KEY,
            now_ms,
            changes,
            title="This site's certificate was used on topics that are not its own; the broker refused it",
            advice="Either the gateway was set up with another site's name (compare the site id in its "
            "configuration with its certificate), or somebody else has its key: then revoke it (minewarden "
            f"cloud revoke {name}) and enrol the gateway anew.",
            data=msgspec.structs.asdict(tally),
        )


async def _calm(session: AsyncSession, now_ms: int, changes: Changes) -> None:
    """Clear the alarms about what has not been tried for an hour, also those of an earlier process."""
    standing = await session.scalars(
        select(AlarmRow).where(AlarmRow.key == ALARM_KEY, AlarmRow.cleared_ms.is_(None))
    )
    for row in list(standing):
        if now_ms - row.last_ms >= CALM_S * 1000:
            title = "This site's certificate keeps to its own topics again"
            await intake.own_alarm(session, row.site, ALARM_KEY, now_ms, changes, title=title, cleared=True)
