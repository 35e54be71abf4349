"""Sends one signed command over MQTT with one's own login, and waits for what the site says about it.

For third parties: paho and `shared` are all it needs. It subscribes to `up/res/<id>` before it publishes, so
no word is missed, and believes only words about this very message (its digest).
"""

import queue
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.commands.following import Follow
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.commands import CommandBody, CommandStatus
from shared.errors import ConfigError, MinewardenError, WireError
from shared.wire import codec, topics

CONNECT_S = 10.0


class SendFailed(MinewardenError):
    """The broker was not reached, or refused; the text says whether the command may have left."""

    code = "send-failed"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is and who we are to it; with `ca_file` the connection is TLS."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class Sender:
    """One connection for one command. Use as a context manager."""

    def __init__(self, login: Login, body: CommandBody) -> None:
        """Raises `ConfigError` for certificates that cannot be used."""
        self._login = login
        self._body = body
        self._events: queue.Queue[str] = queue.Queue()
        self._words: queue.Queue[bytes] = queue.Queue()
        client = self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        if login.username is not None:
            client.username_pw_set(login.username, login.password)
        if login.ca_file is not None:
            try:
                client.tls_set(
                    str(login.ca_file),
                    None if login.cert_file is None else str(login.cert_file),
                    None if login.key_file is None else str(login.key_file),
                )
            except (OSError, ValueError) as error:
                raise ConfigError(f"the certificates cannot be used: {error}") from error
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_message = lambda _client, _data, message: self._words.put(bytes(message.payload))

    def __enter__(self) -> "Sender":
        try:
            self._client.connect(self._login.host, self._login.port, keepalive=20)
        except OSError as error:
            where = f"{self._login.host}:{self._login.port}"
            raise SendFailed(f"{where} cannot be reached, nothing was sent: {error}") from error
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, signed: Signed) -> None:
        """Subscribe, publish, and wait for the broker's word; raises `SendFailed`."""
        self._expect("subscribed", "nothing was sent")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho types its Client only
        properties.MessageExpiryInterval = max(1, (self._body.expires_ms - self._body.issued_ms) // 1000)
        topic = topics.command(self._body.site)
        self._client.publish(topic, codec.encode(signed), qos=1, retain=False, properties=properties)
        self._expect("published", "whether the broker has it is not known")

    def follow(self, signed: Signed, clock: Clock, *, wait_s: float) -> Follow:
        """The site's words on this message as they come; see `Follow`."""
        return Follow(lambda left_s: self._word(signed, left_s), clock, wait_s=wait_s)

    def _word(self, signed: Signed, left_s: float) -> CommandStatus | None:
        try:
            status = codec.decode(self._words.get(timeout=left_s), CommandStatus)
        except (queue.Empty, WireError):
            return None
        return status if status.digest in ("", signed.digest) else None

    def _expect(self, wanted: str, otherwise: str) -> None:
        try:
            said = self._events.get(timeout=CONNECT_S)
        except queue.Empty as error:
            raise SendFailed(f"the broker gave no answer in {CONNECT_S:.0f} s; {otherwise}") from error
        if said != wanted:
            raise SendFailed(f"{said}; {otherwise}")

    # ------------------------------------------------ paho's thread

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._events.put(f"the broker refused us: {reason}")
            return
        client.subscribe(topics.result(self._body.site, self._body.id), qos=1)

    def _subscribed(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        bad = [str(reason) for reason in reasons if reason.is_failure]
        self._events.put(f"the broker refused the subscription: {bad[0]}" if bad else "subscribed")

    def _published(
        self, _client: mqtt.Client, _data: object, _mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        self._events.put(f"the broker refused the command: {reason}" if reason.is_failure else "published")
