"""The shipped mosquitto configuration on a real broker: sites are isolated, cloud roles are narrow."""

import contextlib
import datetime
import itertools
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

BROKER = Path(__file__).resolve().parents[3] / "packaging" / "broker"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]

_NUMBERS = itertools.count()
PEOPLE = ("north", "south", "minewarden-ingest", "minewarden-command")


@dataclass(frozen=True, kw_only=True)
class Rig:
    folder: Path
    port: int

    def client(self, name: str | None) -> paho.Client:
        unique = f"{name}-{next(_NUMBERS)}"
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, client_id=unique)
        pair = (self.folder / f"{name}.crt", self.folder / f"{name}.key") if name else (None, None)
        client.tls_set(str(self.folder / "ca.crt"), *(str(path) if path else None for path in pair))
        return client


def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _certificate("Minewarden test CA", key, None, key, authority=True)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("broker")
    folder.chmod(0o755)
    ca_key, ca = _authority()
    (folder / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name in ("broker", *PEOPLE):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("localhost" if name == "broker" else name, key, ca, ca_key)
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    shutil.copy(BROKER / "minewarden.acl", folder / "minewarden.acl")
    text = (BROKER / "minewarden.conf").read_text()
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1").replace(
        "persistence true", "persistence false"
    )
    text = text.replace("/etc/mosquitto/minewarden/", f"{folder}/")
    text = text.replace("/etc/mosquitto/minewarden.acl", f"{folder}/minewarden.acl")
    (folder / "mosquitto.conf").write_text(text + "\nuser root\n")
    assert MOSQUITTO is not None
    with subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")]) as process:
        try:
            _wait_for(port, process)
            yield Rig(folder=folder, port=port)
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    waiter = threading.Event()
    for _ in range(100):
        assert process.poll() is None, "mosquitto refused the shipped configuration"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        waiter.wait(0.05)
    raise AssertionError("mosquitto does not listen")


def _allowed(rig: Rig, writer: str, topic: str, reader: str) -> bool:
    """Whether what `writer` publishes on `topic` reaches `reader`, judged against a message that must."""
    seen: list[str] = []
    ready, marker = threading.Event(), threading.Event()
    inbox = f"mw/1/{reader}/dn/ack" if not reader.startswith("minewarden") else "mw/1/north/up/ev"
    other = "minewarden-ingest" if not reader.startswith("minewarden") else "north"

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.payload == b"marker":
            marker.set()
        else:
            seen.append(message.topic)

    receiver, sender, control = rig.client(reader), rig.client(writer), rig.client(other)
    receiver.on_message = on_message
    receiver.on_subscribe = lambda *_: ready.set()
    clients = (receiver, control) if writer == other else (receiver, sender, control)
    sender = control if writer == other else sender
    for client in clients:
        client.connect("localhost", rig.port)
        client.loop_start()
    try:
        receiver.subscribe("mw/1/#", qos=1)
        assert ready.wait(5)
        sender.publish(topic, b"probe", qos=1).wait_for_publish(5)
        control.publish(inbox, b"marker", qos=1).wait_for_publish(5)
        assert marker.wait(5), "the control message must arrive"
        return topic in seen
    finally:
        for client in clients:
            client.disconnect()
            client.loop_stop()


@pytest.mark.parametrize(
    ("writer", "topic", "reader", "allowed"),
    [
        ("north", "mw/1/north/up/t/rollup", "minewarden-ingest", True),
        ("south", "mw/1/north/up/t/rollup", "minewarden-ingest", False),
        ("minewarden-command", "mw/1/north/dn/cmd", "north", True),
        ("minewarden-command", "mw/1/north/dn/cmd", "south", False),
        ("minewarden-ingest", "mw/1/north/dn/cmd", "north", False),
        ("minewarden-ingest", "mw/1/north/dn/ack", "north", True),
        ("north", "mw/1/north/dn/cmd", "north", False),
    ],
)
def test_who_may_say_what_to_whom(rig: Rig, writer: str, topic: str, reader: str, allowed: bool) -> None:
    assert _allowed(rig, writer, topic, reader) is allowed


def test_nobody_connects_without_a_certificate(rig: Rig) -> None:
    client, refused = rig.client(None), threading.Event()
    welcomed: list[object] = []
    client.on_connect = lambda *words: welcomed.append(words)
    client.on_disconnect = lambda *_: refused.set()
    client.on_connect_fail = lambda *_: refused.set()
    with contextlib.suppress(OSError):  # TLS 1.2 refuses here already, 1.3 only at the first read
        client.connect("localhost", rig.port)
        client.loop_start()
        assert refused.wait(5)
        client.loop_stop()
    assert not welcomed
