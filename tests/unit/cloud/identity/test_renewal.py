"""Renewals, revocations and third parties, without a broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.identity import repository, service
from cloud.identity.authority import Authority
from cloud.identity.service import RENEWAL_PAUSE_MS, issue_role
from cloud.ingest.decoding import Refused, Renewal, decode
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from edge_agent.agent.identity.pair import Pair, read_certificate
from shared.clock import ManualClock
from shared.errors import SecurityError
from shared.identity import fingerprint, prove
from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import Certificate, CertificateRequest
from support.certified import certified_service
from support.cloud import NOW_MS, Service
from support.identity import new_key, request_for
from support.postgres import Server

SITE = SiteId("north")


class Outbound:
    """Stands for the command link."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Certificate]] = []
        self.is_up = True

    async def send(self, topic: str, payload: bytes, **_: Any) -> None:
        if not self.is_up:
            raise Unavailable("not connected")
        self.sent.append((topic, codec.decode(payload, Certificate)))


class Site:
    """A site with its first certificate, and the cloud."""

    def __init__(self, desk: Service, link: Outbound, pair: Pair) -> None:
        self.desk = desk
        self.link = link
        self.pair = pair
        self.registrar = desk.context.registrar

    async def renew(self, key: Any, *, by: Any = None, name: str = SITE, site: SiteId = SITE) -> Pair:
        """Ask as the agent does; the new pair."""
        pem = request_for(name, key)
        request = CertificateRequest(request_pem=pem, proof=prove(pem, by or self.pair.key))
        message = decode(topics.certificate_request(site), codec.encode(request), now_ms=NOW_MS)
        assert isinstance(message, Renewal)
        await self.registrar.serve(message)
        return Pair(key, read_certificate(self.link.sent[-1][1].certificate_pem))

    async def rules(self) -> str:
        broker = self.registrar.broker
        assert broker is not None
        await broker.apply()
        return (Path(self.desk.context.config.data_dir).parent / "rules" / "acl").read_text()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utc_ms=NOW_MS)


@pytest.fixture
async def site(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with certified_service(tmp_path, clock=clock) as desk:
        link, key = Outbound(), new_key()
        monkeypatch.setattr(desk.context.registrar, "_link", link)
        body = {"request_pem": request_for(SITE, key), "made_ms": NOW_MS}
        asked = (await desk.client.post("/api/v1/enrolments", json=body)).json()
        word = {"fingerprint": fingerprint(SITE, key.public_key()), "actor": "Ada"}
        await desk.post(f"/enrolments/{asked['id']}/confirm", word, 200)
        pem = (await desk.get(f"/enrolments/{asked['id']}"))["certificate_pem"]
        yield Site(desk, link, Pair(key, read_certificate(pem)))


async def test_the_present_key_vouches_for_the_next_and_both_count_for_a_while(site: Site) -> None:
    key = new_key()
    renewed = await site.renew(key)
    assert site.link.sent[0][0] == topics.certificate(SITE)
    renewed.check(SITE, site.link.sent[0][1].ca_pem, NOW_MS)
    items = (await site.desk.get("/certificates"))["items"]
    assert [(item["how"], item["state"], item["superseded"]) for item in items] == [
        ("renewal", "live", False),
        ("enrolment", "live", True),
    ]


async def test_a_lost_answer_is_given_again_and_a_second_key_must_wait(
    site: Site, clock: ManualClock
) -> None:
    key, other = new_key(), new_key()
    assert (await site.renew(key)).serial == (await site.renew(key)).serial
    with pytest.raises(SecurityError, match="ten minutes"):
        await site.renew(other)
    clock.step_wall(RENEWAL_PAUSE_MS)
    await site.renew(other, by=key)
    assert len((await site.desk.get("/certificates"))["items"]) == 3


async def test_nobody_else_gets_one(site: Site) -> None:
    thief = new_key()
    with pytest.raises(SecurityError, match="vouches"):
        await site.renew(thief, by=thief)
    with pytest.raises(SecurityError, match="came from the site 'north'"):
        await site.renew(thief, name="south")
    with pytest.raises(SecurityError, match="vouches"):
        await site.renew(thief, name="south", site=SiteId("south"))
    assert len((await site.desk.get("/certificates"))["items"]) == 1


async def test_a_revoked_or_expired_key_vouches_for_nothing(site: Site, clock: ManualClock) -> None:
    clock.step_wall(91 * 86_400_000)
    with pytest.raises(SecurityError, match="vouches"):
        await site.renew(new_key())
    clock.step_wall(-91 * 86_400_000)
    await site.desk.post(f"/certificates/{site.pair.serial}/revoke", {"actor": "Ada"}, 202)
    with pytest.raises(SecurityError, match="vouches"):
        await site.renew(new_key())


async def test_a_broker_without_tls_cannot_vouch_for_who_asks(site: Site) -> None:
    site.registrar._trusts_broker = False
    with pytest.raises(SecurityError, match="without TLS"):
        await site.renew(new_key())


async def test_the_queue_answers_counts_and_survives_everything(site: Site) -> None:
    pem = request_for(SITE, new_key())
    good = Renewal(site=SITE, request=CertificateRequest(request_pem=pem, proof=prove(pem, site.pair.key)))
    bad = Renewal(site=SITE, request=CertificateRequest(request_pem="x", proof=b""))
    site.link.is_up = False
    site.registrar.ask(good)
    for _ in range(300):
        site.registrar.ask(bad)
    while site.registrar.refused_renewals < 255:
        await asyncio.sleep(0)
    site.link.is_up = True
    site.registrar.ask(good)
    while not site.link.sent:
        await asyncio.sleep(0)
    assert site.registrar.renewals == 2
    told = await site.desk.get("/identity")
    assert (told["renewals"], told["refused_renewals"]) == (2, 255)


def test_a_request_that_does_not_decode_goes_to_quarantine() -> None:
    found = decode(topics.certificate_request(SITE), b"\x00junk", now_ms=NOW_MS)
    assert isinstance(found, Refused)


async def test_a_revoked_site_has_no_line_and_its_serial_is_on_the_list(site: Site) -> None:
    assert "user north\n" in await site.rules()
    told = await site.desk.post(
        f"/certificates/{site.pair.serial}/revoke", {"actor": "Ada", "reason": "stolen"}, 202
    )
    assert (told["state"], told["revoked_by"], told["cut_ms"]) == ("revoked", "Ada", None)
    await site.desk.post(f"/certificates/{site.pair.serial}/revoke", {"actor": "Ada"}, 409)
    await site.desk.post("/certificates/00ff/revoke", {"actor": "Ada"}, 404)


async def test_a_sites_other_certificates_go_with_the_one_that_is_revoked(
    site: Site, clock: ManualClock
) -> None:
    """A thief may have had the key renewed, and the disk may hold the one before."""
    renewed = await site.renew(new_key())
    await site.desk.post(f"/certificates/{renewed.serial}/revoke", {"actor": "Ada"}, 202)
    items = (await site.desk.get("/certificates"))["items"]
    assert [item["state"] for item in items] == ["revoked", "revoked"]


class Two:
    """A site with two certificates in a PostgreSQL, where a renewal and a person may come at one moment.

    SQLite lets one writer at a time.
    """

    def __init__(self, desk: Service, clock: ManualClock) -> None:
        self.desk, self.clock = desk, clock
        self.database = desk.context.database
        self.keys = [new_key() for _ in range(4)]

    async def renew(self, session: AsyncSession, place: int) -> None:
        """The key of this place, for which the one before it vouches."""
        authority, _ = self.desk.context.registrar.must()
        pem = request_for(SITE, self.keys[place])
        proof = prove(pem, self.keys[place - 1])
        await service.renew(session, SITE, pem, proof, authority, self.clock.utc_ms(), days=90)

    async def enrol(self, key: Any, **more: Any) -> asyncio.Task[Any]:
        """Ask, and confirm it in a task."""
        body = {"request_pem": request_for(SITE, key), "made_ms": self.clock.utc_ms(), **more}
        asked = (await self.desk.client.post("/api/v1/enrolments", json=body)).json()
        word = {"fingerprint": fingerprint(SITE, key.public_key()), "actor": "Ada", **more}
        return asyncio.create_task(self.desk.post(f"/enrolments/{asked['id']}/confirm", word, 200))

    async def states(self) -> list[str]:
        """Newest first."""
        return [item["state"] for item in (await self.desk.get("/certificates"))["items"]]


@pytest.fixture
async def two(tmp_path: Path, postgres_server: Server, clock: ManualClock) -> AsyncIterator[Two]:
    async with certified_service(tmp_path, url=postgres_server.emptied(), clock=clock) as desk:
        site = Two(desk, clock)
        await (await site.enrol(site.keys[0]))
        async with site.database.write() as session:
            await site.renew(session, 1)
        clock.step_wall(RENEWAL_PAUSE_MS)
        yield site


async def test_a_renewal_at_the_same_moment_neither_survives_a_revocation_nor_blocks_it(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = (await two.desk.get("/certificates"))["items"][0]["serial"]
    found, may_go_on = asyncio.Event(), asyncio.Event()
    honest = repository.certificate

    async def slow(*given: Any, **more: Any) -> Any:
        row = await honest(*given, **more)
        found.set()
        await may_go_on.wait()
        return row

    async def renew() -> None:
        async with two.database.write() as session:
            await two.renew(session, 2)

    monkeypatch.setattr(repository, "certificate", slow)
    revoking = asyncio.create_task(two.desk.post(f"/certificates/{newest}/revoke", {"actor": "Ada"}, 202))
    await found.wait()
    renewing = asyncio.create_task(renew())
    while not renewing.done() and not await waits_for_a_lock(two.database):
        await asyncio.sleep(0.01)
    may_go_on.set()
    await revoking
    with contextlib.suppress(SecurityError):
        await renewing
    assert set(await two.states()) == {"revoked"}


async def test_a_renewal_at_the_same_moment_does_not_survive_the_gateways_exchange(two: Two) -> None:
    async with two.database.write() as session:
        await two.renew(session, 2)
        confirming = await two.enrol(two.keys[3], replace=True)
        while not await waits_for_a_lock(two.database):
            await asyncio.sleep(0.01)
    await confirming
    assert sorted(await two.states()) == ["live", "revoked", "revoked", "revoked"]


async def waits_for_a_lock(database: Database) -> bool:
    async with database.read() as session:
        found = await session.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
    return bool(found)


async def test_one_certificate_alone_can_be_revoked(site: Site) -> None:
    await site.renew(new_key())
    body = {"actor": "Ada", "only_this": True}
    await site.desk.post(f"/certificates/{site.pair.serial}/revoke", body, 202)
    items = (await site.desk.get("/certificates"))["items"]
    assert [item["state"] for item in items] == ["live", "revoked"]


async def test_an_expired_site_loses_its_line(site: Site, clock: ManualClock) -> None:
    assert "user north\n" in await site.rules()
    clock.step_wall(91 * 86_400_000)
    assert "user north\n" not in await site.rules()


async def test_a_third_party_may_command_its_sites_only(site: Site) -> None:
    body = {"name": "acme", "sites": ["north"], "request_pem": request_for("anything"), "actor": "Ada"}
    made = await site.desk.post("/certificates", body, 201)
    assert (made["name"], made["role"], made["sites"]) == ("minewarden-control-acme", "control", ["north"])
    rules = (await site.rules()).split("user minewarden-control-acme\n")[1]
    assert "topic write mw/1/north/dn/cmd\ntopic read mw/1/north/up/res/#\n" in rules
    await site.desk.post("/certificates", {**body, "sites": ["#"]}, 422)
    await site.desk.post("/certificates", {**body, "name": "x/y"}, 422)
    await site.desk.post("/certificates", {**body, "name": "all", "sites": ["*"]}, 201)
    assert "topic write mw/1/+/dn/cmd\n" in (await site.rules()).split("user minewarden-control-all\n")[1]


async def test_roles_have_names_that_no_site_can_have(site: Site) -> None:
    authority = site.registrar.authority
    assert isinstance(authority, Authority)
    async with site.desk.context.database.write() as session:
        for role, hosts in (("ingest", []), ("command", []), ("broker", ["broker.example.com", "10.0.0.1"])):
            await issue_role(session, authority, role, new_key().public_key(), NOW_MS, days=365, hosts=hosts)
    items = (await site.desk.get("/certificates"))["items"][:3]
    assert [item["name"] for item in items] == [
        "broker.example.com",
        "minewarden-command",
        "minewarden-ingest",
    ]
