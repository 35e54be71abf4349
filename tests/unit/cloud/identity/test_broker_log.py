"""What the broker's log says of attempts on topics of others: counted, told as an alarm, and emptied."""

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from cloud.identity import broker_log
from cloud.identity.authority import Authority
from cloud.identity.broker_log import (
    ALARM_KEY,
    CALM_S,
    TELL_S,
    BrokerLog,
    Refused,
    Right,
    covers,
    rights_of,
    sort_out,
)
from cloud.kit.changes import Changes
from cloud.tables import AlarmRow, CertificateRow
from support.cloud import NOW_MS, Bench
from support.identity import new_key

DENIED = "1795401903: Denied PUBLISH from south (d0, q1, r0, m5, 'mw/1/north/up/ev', ... (12 bytes))\n"
SUBSCRIBED = "1795401903: south 1 mw/1/north/dn/#\n"
TRAFFIC = (
    "1795401903: Received PUBLISH from north (d0, q1, r0, m1, 'mw/1/north/up/t/rollup', ... (20000 bytes))\n"
    "1795401903: Sending PUBACK to north (m1, rc0)\n"
    "1795401903: Received SUBSCRIBE from north\n"
    "1795401903: \tmw/1/north/dn/# (QoS 1)\n"
    "1795401903: north 1 mw/1/north/dn/#\n"
    "1795401903: No will message specified.\n"
)
"""As mosquitto 2.0.11 writes it."""
RIGHTS = {
    "north": Right(frozenset(("north",)), "dn/#"),
    "south": Right(frozenset(("south",)), "dn/#"),
    "party": Right(frozenset(("north", "east")), "up/res/#"),
    "everywhere": Right(frozenset(("*",)), "up/res/#"),
}


@pytest.mark.parametrize(
    ("allowed", "asked", "inside"),
    [
        ("mw/1/n/dn/#", "mw/1/n/dn/#", True),
        ("mw/1/n/dn/#", "mw/1/n/dn/cmd", True),
        ("mw/1/n/dn/#", "mw/1/n/dn/+/x", True),
        ("mw/1/n/dn/#", "mw/1/n/dn", True),
        ("mw/1/n/dn/#", "mw/1/+/dn/cmd", False),
        ("mw/1/n/dn/#", "mw/1/n/#", False),
        ("mw/1/n/dn/#", "#", False),
        ("mw/1/n/dn/#", "mw/1/nn/dn/cmd", False),
        ("mw/1/+/up/res/#", "mw/1/n/up/res/c1", True),
        ("mw/1/+/up/res/#", "mw/1/+/up/res/#", True),
        ("mw/1/+/up/res/#", "mw/1/#", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_a_filter_covers_another_where_nothing_can_match_that_it_does_not(
    allowed: str, asked: str, inside: bool
) -> None:
    assert covers(allowed, asked) is inside


def test_what_everybody_sends_is_dropped_and_what_is_denied_is_found() -> None:
    text = TRAFFIC + DENIED + "1795401903: Sending PUBACK to south (m5, rc135)\n" + SUBSCRIBED
    refused, kept = sort_out(text.encode(), RIGHTS)
    assert refused == [
        Refused("south", "publish", "mw/1/north/up/ev"),
        Refused("south", "subscribe", "mw/1/north/dn/#"),
    ]
    assert kept == ["north 1 mw/1/north/dn/#", "south 1 mw/1/north/dn/#"]


def test_what_a_person_wants_from_a_log_is_kept() -> None:
    lines = [
        "New client connected from 10.0.0.7:51234 as north (p5, c0, k20, u'north').",
        "Client south has exceeded timeout, disconnecting.",
        "Error: Unable to open certificate file.",
    ]
    _, kept = sort_out("".join(f"1795401903: {line}\n" for line in lines).encode(), RIGHTS)
    assert kept == lines


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("Client <unknown> disconnected: Protocol error.", Refused("<unknown>", "connect")),
        ("Client <unknown> disconnected due to protocol error.", Refused("<unknown>", "connect")),
        (
            "Client connection from 10.0.0.7 failed: error:0A000086:SSL routines::certificate verify failed.",
            Refused("<unknown>", "connect"),
        ),
        ("Client north disconnected due to malformed packet.", Refused("north", "packet")),
        ("Client north disconnected due to oversize packet.", Refused("north", "packet")),
    ],
)
def test_who_is_thrown_out_is_counted_and_its_line_is_kept(line: str, refused: Refused) -> None:
    assert sort_out(f"1795404199: {line}\n".encode(), RIGHTS) == ([refused], [line])


@pytest.mark.parametrize("asked", ["$share/g/mw/1/+/dn/#", "#", "mw/1/south/up/#"])
def test_a_wider_subscription_counts_also_as_a_shared_one(asked: str) -> None:
    (refused,), _ = sort_out(f"1: south 2 {asked}\n".encode(), RIGHTS)
    assert (refused.name, refused.verb) == ("south", "subscribe")


def test_the_clouds_own_roles_subscribe_as_they_like_and_a_third_party_to_results_of_its_sites() -> None:
    text = b"1: minewarden-cloud-ingest 1 $share/ingest/mw/1/+/up/#\n1: party 1 mw/1/north/up/res/#\n"
    assert sort_out(text, RIGHTS)[0] == []
    assert sort_out(b"1: everywhere 1 mw/1/+/up/res/#\n1: party 1 mw/1/east/up/res/c1\n", RIGHTS)[0] == []
    for asked in ("mw/1/south/up/res/#", "mw/1/+/up/res/#", "mw/1/north/up/#", "mw/1/north", "up/res/#"):
        assert len(sort_out(f"1: party 1 {asked}\n".encode(), RIGHTS)[0]) == 1, asked


def test_a_publish_on_a_topic_too_long_for_its_line_is_found() -> None:
    """Mosquitto 2.0.11 ends a line after about 1,000 characters."""
    line = "1795401903: Denied PUBLISH from south (d0, q1, r0, m5, 'mw/1/north/up/t/" + "a" * 900
    (refused,), _ = sort_out(line.encode() + b"\n", RIGHTS)
    assert (refused.name, refused.verb) == ("south", "publish")
    assert refused.topic.startswith("mw/1/north/up/t/aaa")


def test_what_a_certificate_may_is_told_by_its_rows() -> None:
    rows = [
        CertificateRow(name="north", role="site", sites=[]),
        CertificateRow(name="acme", role="control", sites=["north"]),
        CertificateRow(name="acme", role="control", sites=["east"]),
        CertificateRow(name="minewarden-ingest", role="ingest", sites=[]),
    ]
    assert rights_of(rows) == {
        "north": Right(frozenset(("north",)), "dn/#"),
        "acme": Right(frozenset(("north", "east")), "up/res/#"),
    }


def certificate(authority: Authority, site: str) -> CertificateRow:
    made = authority.issue(site, new_key().public_key(), NOW_MS, days=90)
    return CertificateRow(
        serial=made.serial,
        name=site,
        role="site",
        sites=[],
        fingerprint="",
        pem=made.pem,
        how="test",
        actor="test",
        not_before_ms=made.not_before_ms,
        not_after_ms=made.not_after_ms,
        issued_ms=NOW_MS,
        reason="",
    )


class World:
    """A log file, and two sites and a third party with certificates."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.bench = bench
        self.changes: list[Changes] = []
        self.path = folder / "mosquitto.log"
        self.path.touch()
        self.log = BrokerLog(self.path, bench.database, bench.clock, on_changes=self.changes.append)

    async def with_certificates(self) -> "World":
        authority = Authority.create("Test CA", NOW_MS)
        async with self.bench.database.write() as session:
            for name in ("north", "south"):
                session.add(certificate(authority, name))
        return self

    def writes(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    async def alarms(self) -> list[tuple[str, bool, int]]:
        """(site, whether it stands, how often it was told)"""
        found = await self.bench.all(
            f"SELECT site, cleared_ms IS NULL, count FROM alarms WHERE key = '{ALARM_KEY}' ORDER BY row"
        )
        return [(site, bool(stands), count) for site, stands, count in found]


def counts(world: World) -> tuple[int, int]:
    """Refused (publishes, subscriptions)."""
    found = world.log.counts
    assert found is not None
    return found["publish"], found["subscribe"]


@pytest.fixture
async def world(tmp_path: Path, bench: Bench) -> World:
    return await World(tmp_path, bench).with_certificates()


async def test_an_attempt_is_counted_and_an_alarm_of_the_site_whose_certificate_it_was(world: World) -> None:
    world.writes(TRAFFIC + DENIED + SUBSCRIBED + DENIED)
    await world.log.look()
    assert counts(world) == (2, 1)
    assert await world.alarms() == [("south", True, 1)]
    async with world.bench.database.read() as session:
        alarm = await session.scalar(select(AlarmRow))
    assert alarm is not None
    assert alarm.data == {"messages": 2, "subscriptions": 1, "topic": "mw/1/north/up/ev"}
    assert "minewarden cloud revoke south" in alarm.advice
    assert world.changes[0].alarms, "and shown at once"
    assert world.path.read_text() == "", "and the file does not grow"


async def test_a_flood_is_counted_whole_and_told_once_a_minute(world: World) -> None:
    for _ in range(5):
        world.writes(DENIED * 1000)
        await world.log.look()
    assert counts(world) == (5000, 0)
    assert await world.alarms() == [("south", True, 1)]
    world.bench.clock.advance(TELL_S)
    await world.log.look()
    assert await world.alarms() == [("south", True, 2)], "the rest of the flood, once its minute is over"
    world.bench.clock.advance(TELL_S)
    await world.log.look()
    assert await world.alarms() == [("south", True, 2)], "nothing new, nothing told"


async def test_the_alarm_ends_an_hour_after_the_last_attempt_also_after_a_restart(world: World) -> None:
    world.writes(DENIED)
    await world.log.look()
    world.bench.clock.advance(CALM_S - 1)
    await world.log.look()
    assert await world.alarms() == [("south", True, 1)]
    again = BrokerLog(world.path, world.bench.database, world.bench.clock, on_changes=world.changes.append)
    world.bench.clock.advance(1)
    await again.look()
    assert await world.alarms() == [("south", False, 1)]


async def test_a_site_that_was_just_revoked_is_counted_and_no_alarm(world: World) -> None:
    """Until its session is ended it speaks on its own topics, which the broker refuses already."""
    world.writes(DENIED.replace("from south", "from north"))
    await world.log.look()
    assert counts(world) == (1, 0)
    assert await world.alarms() == []


async def test_a_site_that_writes_its_own_orders_is_an_alarm(world: World) -> None:
    world.writes(DENIED.replace("mw/1/north/up/ev", "mw/1/south/dn/cmd"))
    await world.log.look()
    assert await world.alarms() == [("south", True, 1)]


async def test_a_name_without_a_site_is_counted_and_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.writes(DENIED.replace("from south", "from minewarden-control-acme"))
    await world.log.look()
    assert counts(world) == (1, 0)
    assert await world.alarms() == []
    assert "'minewarden-control-acme': used topics that are not its own: 1 messages" in caplog.text


async def test_a_file_that_somebody_else_emptied_is_read_from_its_start(world: World) -> None:
    world.writes(DENIED)
    await world.log.look()
    world.writes("1795401903: Denied PUB")
    await world.log.look()
    world.path.write_text("")
    world.writes(DENIED.removeprefix("1795401903: Denied PUB"))
    await world.log.look()
    assert counts(world) == (2, 0)


async def test_a_long_file_is_taken_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_log, "_AT_ONCE", 1000)
    monkeypatch.setattr(broker_log, "_PIECES", 1)
    world.writes((TRAFFIC + DENIED) * 20)
    size = world.path.stat().st_size
    await world.log.look()
    assert world.path.stat().st_size == size, "what was not read yet stays"
    for _ in range(size // 1000):
        await world.log.look()
    assert counts(world) == (20, 0)
    assert world.path.stat().st_size == 0


async def test_what_was_refused_while_the_database_was_away_is_counted_when_it_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.writes(DENIED)
    with monkeypatch.context() as away:
        away.setattr(world.bench.database, "read", lambda: contextlib.nullcontext(1 / 0))
        await world.log.look()
    assert world.log.counts is None
    await world.log.look()
    assert counts(world) == (1, 0)


async def test_a_flood_of_the_brokers_lines_does_not_fill_our_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.writes("".join(f"1795401903: north 1 mw/1/north/dn/{number}\n" for number in range(5_000)))
    await world.log.look()
    kept = [record for record in caplog.records if record.name == "mosquitto"]
    assert len(kept) == broker_log.LINES + 1
    assert kept[-1].getMessage() == "and 4900 lines more within this second, which are left out"


async def test_without_the_file_the_count_is_unknown_until_it_is_there(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.path.unlink()
    await world.log.look()
    await world.log.look()
    assert world.log.counts is None
    assert caplog.text.count("what the broker refuses is not counted now: FileNotFoundError") == 1
    world.writes(DENIED)
    await world.log.look()
    assert counts(world) == (1, 0)


def pieces(text: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield text[start:end]


@given(cuts=st.lists(st.integers(min_value=0)), noise=st.binary(max_size=200))
def test_however_the_broker_writes_it_the_same_is_found(
    cuts: list[int], noise: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "mosquitto.log"
    path.touch()
    log = BrokerLog.__new__(BrokerLog)
    log._path, log._at, log._rest = path, 0, b""
    text = (TRAFFIC + DENIED).encode() + noise.replace(b"\n", b" ") + b"\n" + SUBSCRIBED.encode()
    found: list[Refused] = []
    for piece in pieces(text, cuts):
        with path.open("ab") as file:
            file.write(piece)
        found += sort_out(log._take()[0], RIGHTS)[0]
    expected = sort_out(text, RIGHTS)[0]
    assert found == expected
    assert {Refused("south", "publish", "mw/1/north/up/ev"), *expected} == set(expected)
