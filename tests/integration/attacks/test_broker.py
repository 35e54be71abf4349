"""Attacks on a real mosquitto with the generated configuration: each is refused, and what is allowed works.

A publish that the ACL refuses is answered "not authorized" (MQTT 5). A subscription is granted whatever the
ACL says, and nothing is delivered: so what counts is whether a message arrives, judged against one that must.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloud.identity.authority import Authority
from support.identity import MOSQUITTO, Talker, TlsBroker, tls_alert, tls_broker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]
CONTROL = "minewarden-control-acme"
People = Callable[..., Talker]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    with tls_broker(tmp_path_factory.mktemp("broker")) as running:
        running.give(CONTROL)
        running.rule(["north", "south"], {CONTROL: ["north"]})
        running.reload()
        yield running


@pytest.fixture
def person(broker: TlsBroker) -> Iterator[People]:
    with ExitStack() as stack:

        def make(name: str, *, client_id: str | None = None, hears: str | None = None) -> Talker:
            talker = broker.client(name, client_id=client_id)
            stack.callback(talker.close)
            assert talker.connect()
            if hears is not None:
                talker.subscribe(hears)
            return talker

        yield make


@pytest.mark.parametrize(
    ("writer", "topic", "reader", "allowed"),
    [
        ("north", "mw/1/north/up/t/rollup", "minewarden-ingest", True),
        ("north", "mw/1/north/up/csr", "minewarden-ingest", True),
        ("south", "mw/1/north/up/t/rollup", "minewarden-ingest", False),
        ("south", "mw/1/north/up/csr", "minewarden-ingest", False),
        ("south", "mw/1/north/dn/cmd", "north", False),
        ("north", "mw/1/north/dn/cmd", "north", False),
        ("north", "$SYS/broker/uptime", "minewarden-ingest", False),
        ("minewarden-command", "mw/1/north/dn/cmd", "north", True),
        ("minewarden-command", "mw/1/north/dn/cert", "north", True),
        ("minewarden-command", "mw/1/north/dn/ack", "north", False),
        ("minewarden-command", "mw/1/north/up/ev", "minewarden-ingest", False),
        ("minewarden-ingest", "mw/1/north/dn/ack", "north", True),
        ("minewarden-ingest", "mw/1/north/dn/cmd", "north", False),
        ("minewarden-ingest", "mw/1/north/dn/model", "north", False),
        (CONTROL, "mw/1/north/dn/cmd", "north", True),
        (CONTROL, "mw/1/south/dn/cmd", "south", False),
        (CONTROL, "mw/1/north/dn/model", "north", False),
        (CONTROL, "mw/1/north/up/res/c1", "minewarden-ingest", False),
        ("north", "mw/1/north/up/res/c1", CONTROL, True),
        ("south", "mw/1/south/up/res/c1", CONTROL, False),
        ("north", "mw/1/north/up/t/rollup", CONTROL, False),
    ],
)
def test_who_may_say_what_to_whom(
    broker: TlsBroker, person: People, writer: str, topic: str, reader: str, allowed: bool
) -> None:
    probe, marker = f"probe {writer} {topic}".encode(), f"marker {writer} {topic} {reader}".encode()
    listener = person(reader, hears="mw/1/#")
    speaker = person(writer) if writer != reader else listener
    speaker.publish(topic, probe)
    if reader == "minewarden-ingest":
        must = ("north", "mw/1/north/up/ev")
    elif reader == CONTROL:
        must = ("north", "mw/1/north/up/res/marker")
    else:
        must = ("minewarden-command", f"mw/1/{reader}/dn/plan")
    other = speaker if writer == must[0] else person(must[0])
    assert other.publish(must[1], marker)
    assert listener.has(marker), "what is allowed must arrive"
    assert listener.has(probe, within_s=0.0) is allowed


@pytest.mark.parametrize(
    "wanted", ["mw/1/south/dn/#", "mw/1/+/dn/cmd", "mw/1/south/up/#", "#", "$share/g/mw/1/+/dn/#"]
)
def test_a_site_hears_nothing_of_another_site_whatever_it_subscribes_to(
    broker: TlsBroker, person: People, wanted: str
) -> None:
    north, south = person("north", hears=wanted), person("south", hears="mw/1/south/dn/#")
    north.subscribe("mw/1/north/dn/#")
    command = person("minewarden-command")
    word = f"for south, {wanted}".encode()
    assert command.publish("mw/1/south/dn/cmd", word)
    assert south.publish("mw/1/south/up/ev", word)
    assert south.has(word)
    assert command.publish("mw/1/north/dn/cmd", b"for north")
    assert north.has(b"for north")
    assert not north.has(word, within_s=0.0)
    assert f"north 1 {wanted}\n" in broker.log.read_text(), "who listens where stands in the broker's log"


def test_a_retained_command_by_a_site_is_refused_and_kept_for_nobody(person: People) -> None:
    assert not person("south").publish("mw/1/north/dn/cmd", b"forged", retain=True)
    assert not person("north").publish("mw/1/north/dn/cmd", b"forged", retain=True)


def test_the_client_id_of_another_site_does_not_end_its_session(person: People) -> None:
    """The listener takes the client id from the certificate, so south cannot become north by that."""
    north = person("north", hears="mw/1/north/dn/#")
    south = person("south", client_id="north")
    assert south.publish("mw/1/south/up/ev", b"still itself")
    assert not north.gone.wait(0.5)
    assert person("minewarden-command").publish("mw/1/north/dn/cmd", b"still there")
    assert north.has(b"still there")


def _context(broker: TlsBroker, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(broker.folder / "ca.crt"))
    if name is not None:
        context.load_cert_chain(broker.folder / f"{name}.pem")
    return context


async def test_a_site_gets_as_far_as_tls(broker: TlsBroker) -> None:
    """The control for the refusals below."""
    assert await tls_alert(broker.site_port, _context(broker, "north")) is None


@pytest.mark.parametrize("listener", ["site_port", "cloud_port"])
async def test_nobody_gets_in_without_a_certificate(broker: TlsBroker, listener: str) -> None:
    assert await tls_alert(getattr(broker, listener), _context(broker, None)) is not None
    assert not broker.client(None).connect()


async def test_an_expired_certificate_is_refused(broker: TlsBroker) -> None:
    broker.give("late", common_name="north", days=10, ago_days=30)
    assert "EXPIRED" in str(await tls_alert(broker.site_port, _context(broker, "late")))
    assert not broker.client("late").connect()


async def test_a_certificate_from_tomorrow_is_refused(broker: TlsBroker) -> None:
    broker.give("early", common_name="north", ago_days=-2)
    assert await tls_alert(broker.site_port, _context(broker, "early")) is not None
    assert not broker.client("early").connect()


@pytest.mark.parametrize("authority_name", ["Test CA", "Somebody else"])
async def test_a_certificate_of_another_authority_is_refused(broker: TlsBroker, authority_name: str) -> None:
    """Also where that authority calls itself like ours."""
    stranger = Authority.create(authority_name, broker.now_ms)
    broker.give("forged", common_name="north", authority=stranger)
    assert await tls_alert(broker.site_port, _context(broker, "forged")) is not None
    assert not broker.client("forged").connect()


async def test_a_servers_certificate_is_no_login(broker: TlsBroker) -> None:
    """Whoever steals the broker's own key cannot come in as a client with it."""
    assert await tls_alert(broker.site_port, _context(broker, "broker")) is not None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_tls_below_1_2_is_refused(broker: TlsBroker) -> None:
    context = _context(broker, "north")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert await tls_alert(broker.site_port, context) is not None
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await tls_alert(broker.site_port, context) is None, "1.2 is what it must accept"


def test_a_message_over_the_limit_is_not_taken(broker: TlsBroker, person: People) -> None:
    north, ingest = person("north"), person("minewarden-ingest", hears="mw/1/+/up/#")
    north.client.publish("mw/1/north/up/t/rollup", b"x" * 4_600_000, qos=1)
    assert north.gone.wait(10)
    assert person("south").publish("mw/1/south/up/ev", b"after the large one")
    assert ingest.has(b"after the large one")
    assert all(len(body) < 4_600_000 for _, body in ingest.arrived)
    assert "Client north disconnected due to oversize packet" in broker.log.read_text(), "and who sent it"


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """Where the cloud does not empty it, its memory fills up; the broker has to go on."""
    broker = TlsBroker(tmp_path / "broker")
    for name in ("north", "minewarden-ingest"):
        broker.give(name)
    broker.rule(["north"])
    broker.start(log=Path("/dev/full"))
    north, ingest = broker.client("north"), broker.client("minewarden-ingest")
    try:
        assert ingest.connect()
        assert north.connect()
        ingest.subscribe("mw/1/+/up/#")
        assert north.publish("mw/1/north/up/ev", b"goes on")
        assert ingest.has(b"goes on")
        assert not north.publish("mw/1/south/up/ev", b"and still refuses")
    finally:
        north.close()
        ingest.close()
        broker.stop()


def test_the_broker_names_no_anonymous_listener(broker: TlsBroker, tmp_path: Path) -> None:
    text = (broker.folder / "minewarden.conf").read_text()
    assert text.count("\nlistener ") == text.count("\nrequire_certificate true") == 2
    assert "allow_anonymous true" not in text
