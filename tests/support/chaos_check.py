"""The end of a chaos run: what the guardian's samples make, against what the cloud's database holds."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import select

from cloud.kit.database import Database
from cloud.tables import EventRow, LedgerRow
from cloud.timeseries.choose import store_for
from shared.features.rollup import RollupAggregator
from shared.ids import DeviceId, SiteId
from shared.telemetry import RollupRow
from support.chaos_site import Absence, Story

Key = tuple[DeviceId, int]
SHORT_ABSENCE_S = 60.0
"""Nothing may be explained away where the agent was down for less."""
_FAR = 2**62


class Made(msgspec.Struct, kw_only=True):
    """The rows that the samples make, and of which sample numbers each one is made."""

    rows: dict[Key, list[tuple[RollupRow, list[int]]]]
    """One per key, and one more for each time that the site lived through it again and made another row."""
    at_s: dict[int, float]
    """Sample number → site time, s."""

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))


def made(story: Story, *, step_s: int, poll_s: float) -> Made:
    """Every sample again, through the roll-up that agent and training share.

    A jump of the wall clock ends all open steps, so each stretch between jumps has an aggregator of its own.
    Rows of the last steps, which no later sample has ended, are not made yet. A second that is lived twice
    gives two rows; where they are equal (nobody answered, say) they are one.
    """
    rows: dict[Key, list[tuple[RollupRow, list[int]]]] = {}
    seqs: dict[Key, list[int]] = {}
    at_s: dict[int, float] = {}
    jumps = {jump.sweep for jump in story.jumps}
    aggregator, newest_ms = RollupAggregator(step_s), 0

    def close(before_ms: int) -> None:
        for row in aggregator.close_before(before_ms):
            lives = rows.setdefault((row.device, row.at_ms), [])
            numbers = seqs.pop((row.device, row.at_ms))
            if all(row != other for other, _ in lives):
                lives.append((row, numbers))

    for number, sweep in enumerate(story.samples()):
        if number in jumps:
            close(_FAR)
            aggregator = RollupAggregator(step_s)
        for sample in sweep:
            aggregator.add(sample)
            at_s[sample.seq] = number * poll_s
            seqs.setdefault((sample.device, sample.at_ms - sample.at_ms % (step_s * 1000)), []).append(
                sample.seq
            )
        newest_ms = sweep[-1].at_ms
        close(newest_ms)
    return Made(rows=rows, at_s=at_s)


class Stored(msgspec.Struct, kw_only=True):
    """What the cloud has."""

    rows: list[RollupRow]
    apart: list[RollupRow]
    """Those that were lived once more, and differ from the first."""
    events: list[str]
    lost_samples: list[tuple[str, int, int]]
    """(boot, first, last) of the agent's own `samples-lost` events."""
    tombstoned_rows: int
    duplicate_batches: int
    quarantined_batches: int


async def stored(url: str, site: SiteId) -> Stored:
    """Read it from the database itself, through no cache and no API."""
    database = Database(url)
    try:
        async with database.read() as session:
            series = store_for(database)
            rows = [row async for row in series.export(session, site, 0, _FAR)]
            apart = [row async for row in series.apart(session, site, 0, _FAR)]
            events = list(await session.scalars(select(EventRow).where(EventRow.site == site)))
            ledgers = list(await session.scalars(select(LedgerRow).where(LedgerRow.site == site)))
    finally:
        await database.close()
    return Stored(
        rows=rows,
        apart=apart,
        events=[event.id for event in events],
        lost_samples=[
            (str(event.data["boot"]), int(event.data["first_seq"]), int(event.data["last_seq"]))
            for event in events
            if event.key == "samples-lost"
        ],
        tombstoned_rows=sum(row.tombstoned_rows for row in ledgers),
        duplicate_batches=sum(row.duplicate_batches for row in ledgers),
        quarantined_batches=sum(row.quarantined_batches for row in ledgers),
    )


class Verdict(msgspec.Struct, kw_only=True):
    """The report's numbers, and examples of what is wrong."""

    rows_made: int
    rows_committed: int
    rows_apart: int
    """Of these, how many are of a time that was lived before, with other numbers."""
    lost: int
    duplicated: int
    explained_by_tombstone: int
    events_lost: list[str]
    examples: list[str]

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.events_lost)


def compare(made: Made, stored: Stored, events: Sequence[str], absences: Sequence[Absence]) -> Verdict:
    """made − committed − explained = 0, row by row and number by number.

    A row counts as committed only where every number in it is the one that the samples make. Rows of a time
    that was lived twice are all there, one of them among the rows and the others apart. A missing row is
    explained only where the agent told of the lost samples, and was away for `SHORT_ABSENCE_S` or more.
    """
    found: dict[Key, list[RollupRow]] = {}
    for row in (*stored.rows, *stored.apart):
        found.setdefault((row.device, row.at_ms), []).append(row)
    lost_seqs = {seq for _, first, last in stored.lost_samples for seq in range(first, last + 1)}
    committed, lost, explained = 0, 0, 0
    examples: list[str] = []
    for key, lives in made.rows.items():
        have = found.get(key, [])
        for row, seqs in lives:
            if row in have:
                committed += 1
            elif _explained(seqs, made, lost_seqs, absences):
                explained += 1
            else:
                lost += 1
                examples.append(_difference(key, row, have[0] if have else None, seqs))
    twice = sum(max(0, len(found.get(key, [])) - len(lives)) for key, lives in made.rows.items())
    first = {(row.device, row.at_ms) for row in stored.rows}
    twice += len(stored.rows) - len(first)
    strange = [key for key in found if key not in made.rows]
    examples += [f"{device} at {at_ms}: a row that no samples make" for device, at_ms in strange]
    missing = set(events) - set(stored.events)
    return Verdict(
        rows_made=made.count,
        rows_committed=committed,
        rows_apart=len(stored.apart),
        lost=lost,
        duplicated=twice + len(strange) + len(stored.events) - len(set(stored.events)),
        explained_by_tombstone=explained,
        events_lost=sorted(missing),
        examples=examples,
    )


def _explained(seqs: Sequence[int], made: Made, lost_seqs: set[int], absences: Sequence[Absence]) -> bool:
    gone = [seq for seq in seqs if seq in lost_seqs]
    return bool(gone) and all(any(_covers(absence, made.at_s[seq]) for absence in absences) for seq in gone)


def _covers(absence: Absence, at_s: float) -> bool:
    end_s = absence.to_s if absence.to_s is not None else float("inf")
    # What was open when the agent went is lost with the absence, so it begins one roll-up step earlier.
    return end_s - absence.from_s >= SHORT_ABSENCE_S and absence.from_s - SHORT_ABSENCE_S <= at_s <= end_s


def _difference(key: Key, want: RollupRow, have: RollupRow | None, seqs: Sequence[int]) -> str:
    head = f"{key[0]} at {key[1]} (samples {seqs[0]}–{seqs[-1]}): "
    if have is None:
        return head + "not in the database"
    pairs: Mapping[str, tuple[object, object]] = {
        name: (getattr(want, name), getattr(have, name)) for name in want.__struct_fields__
    }
    return head + "; ".join(f"{name}: {a} but {b}" for name, (a, b) in pairs.items() if a != b)
