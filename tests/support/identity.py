"""Builders for certificates: an authority, requests, pairs, and a broker with the generated configuration."""

import asyncio
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.identity.authority import Authority, Issued
from cloud.identity.broker import ACL, CRL
from cloud.identity.broker_config import BrokerPlan, mosquitto_conf
from cloud.identity.broker_rules import acl
from edge_agent.agent.identity.pair import Pair, key_pem, make_request, read_certificate
from shared.clock import SystemClock
from shared.ids import SiteId
from support.ports import free_port

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
DAY_MS = 86_400_000


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request_for(site: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """A certificate request with this CN."""
    return make_request(SiteId(site), key or new_key())


def pair_for(authority: Authority, name: str, now_ms: int, *, days: int = 90) -> Pair:
    """A key with a certificate for this CN."""
    key = new_key()
    made = authority.issue(name, key.public_key(), now_ms, days=days)
    return Pair(key, read_certificate(made.pem))


class TlsBroker:
    """A real mosquitto with the configuration that we generate, and people with certificates."""

    def __init__(
        self, folder: Path, *, authority: Authority | None = None, rules: Path | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.now_ms = SystemClock().utc_ms()
        self.authority = authority or Authority.create("Test CA", self.now_ms - 400 * DAY_MS)
        self.rules = rules or folder / "rules"
        self.rules.mkdir(exist_ok=True)
        self.site_port, self.cloud_port = free_port(), free_port()
        self.pid_file = folder / "mosquitto.pid"
        self.log = self.complaints = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._revoked: dict[str, int] = {}
        self.serials: dict[str, str] = {}
        (folder / "ca.crt").write_text(self.authority.pem)
        self.give("broker", hosts=("localhost", "127.0.0.1"))

    def give(
        self,
        name: str,
        *,
        common_name: str | None = None,
        days: int = 90,
        ago_days: int = 0,
        hosts: tuple[str, ...] = (),
        authority: Authority | None = None,
    ) -> Path:
        """Make `<name>.crt` and `<name>.key`, and one file with both; returns that one."""
        key = new_key()
        made: Issued = (authority or self.authority).issue(
            common_name or name, key.public_key(), self.now_ms - ago_days * DAY_MS, days=days, hosts=hosts
        )
        self.serials[name] = made.serial
        (self.folder / f"{name}.crt").write_text(made.pem)
        (self.folder / f"{name}.key").write_bytes(key_pem(key))
        both = self.folder / f"{name}.pem"
        both.write_bytes(made.pem.encode() + key_pem(key))
        return both

    def rule(self, sites: Iterable[str], third: dict[str, list[str]] | None = None) -> None:
        """Write ACL and revocation list as the cloud does."""
        (self.rules / CRL).write_text(self.authority.revocations(self._revoked.items(), self.now_ms))
        (self.rules / ACL).write_text(acl(sites, third or {}))

    def revoke(self, name: str) -> None:
        self._revoked[self.serials[name]] = self.now_ms

    def start(self, *, log: Path | None = None) -> None:
        """With a `log` of its own it logs there as well."""
        plan = BrokerPlan(
            keys=self.folder,
            rules=self.rules,
            site_port=self.site_port,
            site_address="127.0.0.1",
            cloud_port=self.cloud_port,
            persistence=None,
            pid_file=self.pid_file,
            log=log,
        )
        conf = self.folder / "minewarden.conf"
        conf.write_text(
            mosquitto_conf(plan) + ("user root\n" if log is None else "user root\nlog_dest stderr\n")
        )
        self.launch(conf)

    def launch(self, conf: Path) -> None:
        """Start mosquitto with this file and wait until it runs."""
        assert MOSQUITTO is not None
        self.log.touch()
        with self.complaints.open("wb") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(conf)], stdout=log, stderr=log)
        self._until(" running\n")

    def _until(self, words: str, count: int = 1) -> None:
        """Wait for these words in the log; a broker that has not said "running" dies of a SIGHUP."""
        waiter = threading.Event()
        for _ in range(500):
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()
            if self.log.read_text().count(words) >= count:
                return
            waiter.wait(0.02)
        raise AssertionError(f"mosquitto never said {words!r}: {self.log.read_text()[-2000:]}")

    def reload(self) -> None:
        assert self._process is not None
        before = self.log.read_text().count("Reloading config")
        self._process.send_signal(signal.SIGHUP)
        self._until("Reloading config", before + 1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def client(self, name: str | None, *, client_id: str | None = None) -> "Talker":
        """Somebody with `<name>`'s certificate; nobody's where it is None."""
        return Talker(self, name, client_id or name or "nobody")


@contextmanager
def tls_broker(folder: Path, sites: Iterable[str] = ("north", "south")) -> Iterator[TlsBroker]:
    """A running broker; the cloud's roles and these sites have certificates and lines in the ACL."""
    broker = TlsBroker(folder)
    for name in ("minewarden-ingest", "minewarden-command", *sites):
        broker.give(name)
    broker.rule(sites)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Talker:
    """A paho client that remembers what happened to it. Roles use the cloud's listener, others the sites'."""

    def __init__(self, broker: TlsBroker, name: str | None, client_id: str) -> None:
        self.arrived: list[tuple[str, bytes]] = []
        self.heard = threading.Condition()
        self.welcomed = threading.Event()
        self.gone = threading.Event()
        self._broker = broker
        self.port = (
            broker.cloud_port
            if (name or "").startswith("minewarden-") and "control" not in (name or "")
            else broker.site_port
        )
        client = self.client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, client_id=client_id, reconnect_on_failure=False
        )
        folder = broker.folder
        pair = (str(folder / f"{name}.crt"), str(folder / f"{name}.key")) if name else (None, None)
        client.tls_set(str(folder / "ca.crt"), *pair)
        client.on_connect = self._connected
        client.on_disconnect = lambda *_: self.gone.set()
        client.on_message = self._message

    def _connected(self, *told: Any) -> None:
        if not told[3].is_failure:
            self.welcomed.set()

    def _message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self.heard:
            self.arrived.append((message.topic, message.payload))
            self.heard.notify_all()

    def connect(self, *, clean: bool = True) -> bool:
        """Whether the broker let it in."""
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        try:
            self.client.connect("localhost", self.port, clean_start=clean, properties=properties)
        except OSError:
            return False
        self.client.loop_start()
        waiter = threading.Event()
        for _ in range(500):
            if self.welcomed.is_set() or self.gone.is_set():
                break
            waiter.wait(0.01)
        if not self.welcomed.is_set():
            self.close()
        return self.welcomed.is_set()

    def subscribe(self, topic: str) -> None:
        done = threading.Event()
        self.client.on_subscribe = lambda *_: done.set()
        self.client.subscribe(topic, qos=1)
        assert done.wait(5), "no SUBACK"

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Whether the broker took it (MQTT 5 says so in the PUBACK)."""
        words: list[Any] = []
        done = threading.Event()

        def published(*told: Any) -> None:
            words.append(told[3])
            done.set()

        self.client.on_publish = published
        self.client.publish(topic, payload, qos=1, retain=retain)
        if not done.wait(5):
            return False
        return not words[0].is_failure

    def has(self, payload: bytes, *, within_s: float = 5.0) -> bool:
        """Whether a message with this payload has arrived, or arrives in time."""
        with self.heard:
            return self.heard.wait_for(lambda: any(body == payload for _, body in self.arrived), within_s)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        # paho leaves its wake-up sockets to the garbage collector, which may warn before it closes them.
        self.client._reset_sockets()


async def tls_alert(port: int, context: ssl.SSLContext) -> str | None:
    """What TLS says to this client: the alert's name, or None where it stays up for a moment."""
    try:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    except (ssl.SSLError, ConnectionError) as error:
        return str(getattr(error, "reason", None) or error)
    try:
        async with asyncio.timeout(1.0):
            answer = await reader.read(1)
    except TimeoutError:
        return None
    except (ssl.SSLError, ConnectionError) as error:
        return str(getattr(error, "reason", None) or error)
    else:
        return f"closed after {answer!r}"
    finally:
        writer.transport.abort()
