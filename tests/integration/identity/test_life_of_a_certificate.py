"""A certificate from the first request to its revocation: real commands, real cloud, real mosquitto."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from edge_agent import config
from edge_agent.agent.app import Agent
from edge_agent.agent.identity.files import CA, IdentityFiles
from edge_agent.agent.identity.pair import key_pem, when
from edge_agent.agent.identity.trial import Trial, try_pair
from edge_agent.agent.uplink.mqtt import MqttTransport
from edge_agent.agent.uplink.transport import Delivery, Link, LinkLost, Message
from edge_agent.config import SiteFile, Uplink
from shared.clock import SystemClock
from shared.identity import prove
from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import CertificateRequest, SiteState
from support.agent import KEYS, SITE, FakeGuardian, site_text
from support.fleet import Asking, Fleet, fleet, printed_fingerprint
from support.identity import MOSQUITTO, new_key, request_for, tls_alert

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), site_days=1) as running:
        yield running


class Gateway:
    """A gateway's files: its site file, and where its identity goes."""

    def __init__(self, ours: Fleet, folder: Path, site: str) -> None:
        self.site = SiteId(site)
        self.ours = ours
        self.folder = folder
        folder.mkdir(exist_ok=True)
        text = site_text().replace(f'id = "{SITE}"', f'id = "{site}"')
        text = text.replace(
            'broker_host = "127.0.0.1"\nbroker_port = 1\n',
            f'broker_host = "localhost"\nbroker_port = {ours.broker.site_port}\n'
            'ca_file = "agent/identity/ca.pem"\ncert_file = "agent/identity/site.pem"\n',
        )
        self.site_file = folder / "site.toml"
        self.site_file.write_text(text)
        (folder / "keyring.toml").write_text(KEYS.text)
        (folder / "agent").mkdir(exist_ok=True)
        self.files = IdentityFiles(folder / "agent")

    @property
    def config(self) -> SiteFile:
        return config.load(self.site_file)

    @property
    def uplink(self) -> Uplink:
        return self.config.uplink

    def enroll(self, *words: str) -> Asking:
        return self.ours.enroll(self.site_file, "--cloud", self.ours.url, "--poll", "0.2", *words)

    def enrolled(self) -> "Gateway":
        """With a certificate, the way a person gets one."""
        asking = self.enroll()
        self.ours.must("enrolments", "confirm", self.site, asking.fingerprint())
        code, out, complaints = asking.end()
        assert code == 0, complaints
        assert "the agent uses it from its next connection on" in out
        return self

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Link]:
        will = Message(topic=topics.state(self.site), payload=b"", retain=True)
        async with MqttTransport(self.uplink, self.site).session(will=will) as link:
            await link.subscribe(topics.all_down(self.site))
            yield link


def test_a_person_with_the_right_fingerprint_makes_the_certificate(ours: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(ours, tmp_path, "enrolling")
    asking = gateway.enroll()
    fingerprint = asking.fingerprint()
    assert fingerprint not in ours.must("enrolments", "list"), "nobody may confirm by copying from the cloud"
    code, _, complaint = ours.cloud("enrolments", "confirm", "enrolling", "0000-0000-0000-0000")
    assert (code, "not the fingerprint" in complaint) == (1, True)
    assert gateway.files.pair() is None
    ours.must("enrolments", "confirm", "enrolling", fingerprint.lower().replace("-", " "))
    ended, out, _ = asking.end()
    assert ended == 0
    pair = gateway.files.pair()
    assert pair is not None
    assert (pair.name, pair.serial in out) == ("enrolling", True)
    assert gateway.files.pair_file.stat().st_mode & 0o777 == 0o600
    assert pair.serial in ours.must("certificates", "--name", "enrolling")


def test_an_enrolled_gateway_is_told_so_and_an_exchange_needs_both_sides(ours: Fleet, tmp_path: Path) -> None:
    first = Gateway(ours, tmp_path / "first", "exchanged").enrolled()
    code, _, complaint = first.enroll().end()
    assert (code, "enrolled already" in complaint) == (1, True)
    second = Gateway(ours, tmp_path / "second", "exchanged")
    code, _, complaint = second.enroll().end()
    assert (code, "HAS a valid certificate" in complaint) == (1, True)
    asking = second.enroll("--replace")
    fingerprint = asking.fingerprint()
    code, _, complaint = ours.cloud("enrolments", "confirm", "exchanged", fingerprint)
    assert (code, "would revoke it" in complaint) == (1, True)
    ours.must("enrolments", "confirm", "exchanged", fingerprint, "--replace")
    assert asking.end()[0] == 0
    old, new = first.files.pair(), second.files.pair()
    assert old is not None
    assert new is not None
    states = {item["serial"]: item["state"] for item in ours.get("/certificates?name=exchanged")["items"]}
    assert states == {old.serial: "revoked", new.serial: "live"}


async def until_refused(ours: Fleet, before: dict[str, int], **more: int) -> None:
    """Until the cloud counts exactly so much more than `before`."""
    wanted = {verb: count + more.get(verb, 0) for verb, count in before.items()}
    async with asyncio.timeout(30):
        while ours.health()["refused_mqtt"] != wanted:
            await asyncio.sleep(0.1)


async def test_strangers_and_malformed_packets_are_counted(ours: Fleet, tmp_path: Path) -> None:
    clumsy = Gateway(ours, tmp_path, "clumsy").enrolled()
    before = ours.health()["refused_mqtt"]
    here = ("localhost", ours.broker.site_port)
    nobody = ssl.create_default_context(cafile=str(ours.keys / "ca.crt"))
    assert await tls_alert(ours.broker.site_port, nobody) is not None
    nobody.load_cert_chain(clumsy.files.pair_file)
    _, writer = await asyncio.open_connection(*here, ssl=nobody)
    writer.write(b"\xff" * 6)
    await until_refused(ours, before, connect=2)
    writer.transport.abort()
    _, writer = await asyncio.open_connection(*here, ssl=nobody)
    hello = b"\x00\x04MQTT\x05\x02\x00\x14\x00\x00\x06clumsy"
    writer.write(bytes([0x10, len(hello)]) + hello)
    writer.write(b"\x32\x05\x00\xffabc")  # a PUBLISH whose topic is longer than itself
    await until_refused(ours, before, connect=2, packet=1)
    writer.transport.abort()


async def test_a_sites_certificate_on_another_sites_topics_is_refused_counted_and_an_alarm(
    ours: Fleet, tmp_path: Path
) -> None:
    """The broker refuses, its log is the only witness, and whoever looks at the cloud sees it."""
    curious, other = (Gateway(ours, tmp_path / name, name).enrolled() for name in ("curious", "other"))
    before = ours.health()["refused_mqtt"]
    for attempt in range(3):
        async with curious.session() as link:
            await link.publish(Message(topic=topics.events(curious.site), payload=b"its own"))
            elsewhere = topics.telemetry(other.site, "x" * 1500) if attempt else topics.events(other.site)
            with pytest.raises(LinkLost, match="refused a message: Not authorized"):
                await link.publish(Message(topic=elsewhere, payload=b"not its own"))
    async with curious.session() as link:
        await link.subscribe(topics.all_down(other.site))
    await until_refused(ours, before, publish=3, subscribe=1)
    async with asyncio.timeout(30):
        while not (alarms := ours.get("/alarms?site=curious&open=true")["items"]):
            await asyncio.sleep(0.1)  # told after it was counted
    (alarm,) = alarms
    assert alarm["key"] == "cloud/foreign-topics"
    assert "minewarden cloud revoke curious" in alarm["advice"]
    assert ours.get("/alarms?site=other&open=true")["items"] == []
    assert ours.broker.log.stat().st_size < 10_000, "and the log is taken away as it is read"
    told = ours.log.read_text()
    assert " INFO mosquitto: New client connected from 127.0.0.1" in told, "what a person wants of it is ours"
    assert "as curious (" in told


def test_a_refused_gateway_hears_why(ours: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(ours, tmp_path, "stranger")
    asking = gateway.enroll()
    asking.fingerprint()
    ours.must("enrolments", "refuse", "stranger", "--reason", "nobody is building a site there")
    code, _, complaint = asking.end()
    assert (code, "nobody is building a site there" in complaint) == (1, True)


def test_a_carried_request_comes_back_as_a_certificate(ours: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(ours, tmp_path, "far-away")
    request, answer = tmp_path / "request.json", tmp_path / "answer.json"
    code, out, complaint = ours.enroll(gateway.site_file, "--offline", str(request)).end()
    assert code == 0, complaint
    ours.must("enrolments", "add", str(request))
    ours.must("enrolments", "confirm", "far-away", printed_fingerprint(out))
    ours.must("enrolments", "certificate", "far-away", "--out", str(answer))
    assert ours.enroll(gateway.site_file, "--accept", str(answer)).end()[0] == 0
    pair = gateway.files.pair()
    assert pair is not None
    assert pair.name == "far-away"


async def test_an_admitted_third_party_commands_its_sites_until_it_is_revoked(
    ours: Fleet, tmp_path: Path
) -> None:
    """It brings its own request; the broker learns of it by itself. Its commands still need a signature."""
    own = await asyncio.to_thread(Gateway(ours, tmp_path / "own", "served").enrolled)
    key, request, certificate = new_key(), tmp_path / "acme.csr", tmp_path / "acme.crt"
    request.write_text(request_for("acme", key))
    admit = ("admit", "acme", "--request", str(request), "--site", "served", "--out", str(certificate))
    await asyncio.to_thread(ours.must, *admit)
    both = tmp_path / "acme.pem"
    both.write_bytes(certificate.read_bytes() + key_pem(key))
    settings = msgspec.structs.replace(own.uplink, cert_file=str(both))
    acme = MqttTransport(settings, SiteId("minewarden-control-acme"))
    will = Message(topic="mw/1/served/dn/cmd", payload=b"", retain=False)
    async with own.session() as site, acme.session(will=will) as party:
        arriving = aiter(site.messages())
        heard = asyncio.ensure_future(anext(arriving))
        async with asyncio.timeout(20):
            while not heard.done():  # the broker has the new rules within a moment
                await party.publish(Message(topic=topics.command(own.site), payload=b"signed elsewhere"))
                await asyncio.wait({heard}, timeout=0.2)
        assert (await heard).payload == b"signed elsewhere"
    out = await asyncio.to_thread(ours.must, "revoke", "minewarden-control-acme")
    assert "its connection is ended" in out
    with pytest.raises(LinkLost):
        await acme.session(will=will).__aenter__()


async def _talk_until_cut(gateway: Gateway, started: asyncio.Event) -> None:
    """Publish for as long as there is a connection; raises `LinkLost` at its end."""
    async with gateway.session() as link:
        state = codec.encode(SiteState(online=True, boot="b", at_ms=SystemClock().utc_ms()))
        await link.publish(Message(topic=topics.state(gateway.site), payload=state, retain=True))
        await _until(lambda: str(gateway.site) in str(gateway.ours.get("/sites")))
        started.set()
        while True:
            await link.publish(Message(topic=topics.events(gateway.site), payload=b"x"))
            await asyncio.sleep(0.05)


async def test_an_enrolled_site_speaks_and_a_revoked_one_is_cut_within_a_minute(
    ours: Fleet, tmp_path: Path
) -> None:
    """From the person's command to the last refusal. What a live session still gets after the reload alone is
    in test_broker_reload.py."""
    gateway = await asyncio.to_thread(Gateway(ours, tmp_path, "revoked").enrolled)
    clock, talks = SystemClock(), asyncio.Event()
    talking = asyncio.create_task(_talk_until_cut(gateway, talks))
    async with asyncio.timeout(30):
        await talks.wait()
    start_s = clock.monotonic()
    out = await asyncio.to_thread(ours.must, "revoke", "revoked", "--reason", "stolen")
    assert "its connection is ended" in out
    with pytest.raises(LinkLost):
        await asyncio.wait_for(talking, 60)
    cut_s = clock.monotonic() - start_s
    with pytest.raises(LinkLost):
        await gateway.session().__aenter__()
    assert clock.monotonic() - start_s < 60.0
    print(f"\nrevoked: the live session ended {cut_s:.2f} s after the command began")
    (item,) = ours.get("/certificates?name=revoked")["items"]
    assert (item["state"], item["reason"], item["cut_ms"] is not None) == ("revoked", "stolen", True)
    word, sentence = await try_pair(gateway.uplink, gateway.files.pair_file)
    assert (word, "REVOKED" in sentence) == (Trial.REFUSED, True)


class Ahead(SystemClock):
    """The machine's clock, some hours later: a day-long certificate is near its end."""

    def utc_ms(self) -> int:
        return super().utc_ms() + 17 * 3_600_000


async def test_a_running_agent_renews_its_certificate_by_itself(ours: Fleet, tmp_path: Path) -> None:
    gateway = await asyncio.to_thread(Gateway(ours, tmp_path, "renewing").enrolled)
    old, authority = gateway.files.pair(), gateway.files.text(CA)
    assert old is not None
    site = gateway.config
    guardian = FakeGuardian(Path(site.paths.guardian_socket), site.devices)
    await guardian.start()
    agent = Agent(site, clock=Ahead(), transport=MqttTransport(site.uplink, site.site.id), keyring=KEYS.ring)
    await agent.open()
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop))
    try:
        # The first check came before there was a connection; the next is a minute away.
        await _until(lambda: agent.uplink.connected)
        assert agent.rotation is not None
        await agent.rotation.step()
        await _until(lambda: _serial(gateway) != old.serial)
        assert agent.uplink.connected, "the trial left the live connection alone"
    finally:
        stop.set()
        await running
        await guardian.stop()
    new = gateway.files.pair()
    assert new is not None
    assert new.key.private_numbers() != old.key.private_numbers()
    assert gateway.files.text(CA) == authority
    assert sorted(path.name for path in gateway.files.folder.iterdir()) == ["ca.pem", "site.pem"]
    async with gateway.session() as link:
        assert (
            await link.publish(Message(topic=topics.events(gateway.site), payload=b"x")) is Delivery.CONFIRMED
        )
    items = {item["serial"]: item for item in ours.get("/certificates?name=renewing")["items"]}
    assert (items[new.serial]["how"], items[old.serial]["superseded"]) == ("renewal", True)
    assert when(new.span.end_ms) >= when(old.span.end_ms)


async def test_a_request_for_another_site_or_without_the_present_keys_word_is_refused(
    ours: Fleet, tmp_path: Path
) -> None:
    """What a broker in foreign hands could try: its own key in a site's name."""
    gateway = await asyncio.to_thread(Gateway(ours, tmp_path, "robbed").enrolled)
    refused = ours.get("/identity")["refused_renewals"]
    thief, own = new_key(), gateway.files.pair()
    assert own is not None
    theirs, other = request_for("robbed", thief), request_for("someone-else", own.key)
    forged = [
        CertificateRequest(request_pem=theirs, proof=prove(theirs, thief)),
        CertificateRequest(request_pem=theirs, proof=b""),
        CertificateRequest(request_pem=other, proof=prove(other, own.key)),
        CertificateRequest(request_pem="nonsense", proof=b"x"),
    ]
    async with gateway.session() as link:
        for request in forged:
            await link.publish(
                Message(topic=topics.certificate_request(gateway.site), payload=codec.encode(request))
            )
        await _until(lambda: ours.get("/identity")["refused_renewals"] == refused + len(forged))
    assert len(ours.get("/certificates?name=robbed")["items"]) == 1
    assert ours.get("/certificates?name=someone-else")["items"] == []


def _serial(gateway: Gateway) -> str:
    pair = gateway.files.pair()
    return "" if pair is None else pair.serial


async def _until(what: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(what):
            await asyncio.sleep(0.05)
