"""Keyrings that the cloud keeps for its sites: which one each gets, what is refused, when it is published."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cloud.identity.keyrings import LOOK_S, KeyringPublisher, keep, newest
from cloud.kit.problems import Unavailable
from shared.artifacts.keyring_update import KeyringUpdate, sign_update
from shared.artifacts.signing import PublicKeyEntry, Role, Signed, SigningKey
from shared.clock import ManualClock
from shared.errors import ConfigError
from shared.ids import SiteId
from shared.wire import codec, topics
from support.cloud import NOW_MS, Bench, born

ROOT = SigningKey.generate("root-1")
NORTH, SOUTH = SiteId("north"), SiteId("south")


def update(version: int, *, issued_ms: int = NOW_MS) -> KeyringUpdate:
    root = PublicKeyEntry(id=ROOT.key_id, role=Role.ROOT, public=ROOT.public_text)
    return KeyringUpdate(version=version, issued_ms=issued_ms, expires_ms=NOW_MS + 1, keys=(root,))


def signed(version: int) -> Signed:
    return sign_update(update(version), ROOT)


async def kept(bench: Bench, version: int, sites: Sequence[str] = (), *, issued_ms: int = NOW_MS) -> None:
    one = update(version, issued_ms=issued_ms)
    async with bench.database.write() as session:
        await keep(session, sign_update(one, ROOT), one, sites, NOW_MS)


async def found(bench: Bench) -> dict[str, int]:
    """Site → version that it is to have."""
    async with bench.database.read() as session:
        return {site: row.version for site, row in (await newest(session)).items()}


async def rows(bench: Bench) -> int:
    ((count,),) = await bench.all("SELECT count(*) FROM keyrings")
    return int(count)


async def test_one_for_all_is_also_for_a_site_that_comes_later(bench: Bench) -> None:
    await kept(bench, 7)
    assert await found(bench) == {}
    await bench.commit(born(site=NORTH))
    assert await found(bench) == {NORTH: 7}


async def test_each_site_gets_the_highest_version_that_is_meant_for_it(bench: Bench) -> None:
    await bench.commit(born(site=NORTH), born(site=SOUTH))
    await kept(bench, 7)
    await kept(bench, 8, [NORTH])
    assert await found(bench) == {NORTH: 8, SOUTH: 7}


async def test_what_no_site_would_get_any_more_is_forgotten(bench: Bench) -> None:
    await bench.commit(born(site=NORTH), born(site=SOUTH))
    for version in (1, 2, 3):
        await kept(bench, version, [NORTH])
    assert await rows(bench) == 1
    await kept(bench, 4, [SOUTH])
    assert await rows(bench) == 2
    await kept(bench, 5)
    assert (await rows(bench), await found(bench)) == (1, {NORTH: 5, SOUTH: 5})


async def test_the_same_one_again_goes_to_more_sites_and_then_to_all(bench: Bench) -> None:
    """Tried at one site first."""
    await bench.commit(born(site=NORTH), born(site=SOUTH))
    await kept(bench, 7, [NORTH])
    await kept(bench, 7, [SOUTH])
    assert await found(bench) == {NORTH: 7, SOUTH: 7}
    await kept(bench, 7)
    await bench.commit(born(site=SiteId("west")))
    assert (await rows(bench), (await found(bench))["west"]) == (1, 7)
    await kept(bench, 7, [NORTH])
    assert (await found(bench))["west"] == 7, "who has it keeps it"


@pytest.mark.parametrize("version", [6, 7])
async def test_what_a_site_would_refuse_is_refused_here(bench: Bench, version: int) -> None:
    await bench.commit(born(site=NORTH), born(site=SOUTH))
    await kept(bench, 7, [NORTH])
    for sites in ([NORTH], []):
        with pytest.raises(ConfigError, match="not above version 7, which is kept for north"):
            await kept(bench, version, sites, issued_ms=NOW_MS + 1)
    await kept(bench, version, [SOUTH], issued_ms=NOW_MS + 1)
    assert await found(bench) == {NORTH: 7, SOUTH: version}


class Broker:
    """Stands for the command link."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.is_up = True
        self.generation = 1
        self.answers = True

    async def send(self, topic: str, payload: bytes, *, retain: bool = False, **_: Any) -> None:
        if not self.answers:
            raise Unavailable("no answer")
        self.sent.append((topic, payload, retain))


def message(site: SiteId, version: int) -> tuple[str, bytes, bool]:
    return topics.keyring(site), codec.encode(signed(version)), True


def publisher(bench: Bench, broker: Broker) -> KeyringPublisher:
    return KeyringPublisher(broker, bench.database, bench.clock)  # type: ignore[arg-type]  # the fake sends


async def test_it_is_published_once_for_each_connection_and_to_each_new_site(bench: Bench) -> None:
    await bench.commit(born(site=NORTH))
    await kept(bench, 7)
    broker = Broker()
    desk = publisher(bench, broker)
    for _ in range(2):
        await desk.look()
    assert broker.sent == [message(NORTH, 7)]
    await bench.commit(born(site=SOUTH))
    await desk.look()
    assert broker.sent[1:] == [message(SOUTH, 7)]
    broker.is_up = False
    await desk.look()
    broker.is_up, broker.generation = True, 2
    await desk.look()
    assert broker.sent[2:] == [message(NORTH, 7), message(SOUTH, 7)], "the broker may have lost its memory"
    await kept(bench, 8, [SOUTH])
    await desk.look()
    assert broker.sent[4:] == [message(SOUTH, 8)], "what another process stored goes out too"


async def test_a_broker_that_gives_no_answer_is_asked_again(bench: Bench) -> None:
    await bench.commit(born(site=NORTH))
    await kept(bench, 7)
    broker, clock = Broker(), ManualClock(utc_ms=NOW_MS)
    broker.answers = False
    desk = KeyringPublisher(broker, bench.database, clock)  # type: ignore[arg-type]  # the fake sends
    with pytest.raises(Unavailable):
        await desk.look()
    task = asyncio.create_task(desk.run())
    broker.answers = True
    async with asyncio.timeout(30):
        while not broker.sent:
            clock.advance(LOOK_S)
            await asyncio.sleep(0.002)
    task.cancel()
    assert broker.sent == [message(NORTH, 7)]
