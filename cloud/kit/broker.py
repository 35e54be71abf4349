"""One MQTT 5 connection of the cloud: a paho client in its own thread, seen from the event loop.

The cloud has two: ingest (writes `dn/ack` only) and command (writes `dn/cmd`, `dn/model`, `dn/blob`), so
that the broker's ACL can tell them apart.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.config import BrokerSettings, read_secret
from cloud.kit.problems import Unavailable
from shared.errors import ConfigError

SESSION_EXPIRY_S = 7 * 86_400
"""How long the broker keeps what ingest has not yet acknowledged while the cloud is down."""
PUBACK_TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who a client is to the broker: by name and password, by certificate, or (on loopback) nobody."""

    role: str
    username: str | None = None
    password: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


def ingest_login(settings: BrokerSettings) -> Login:
    """The login that may read `up/#` and write `dn/ack`; raises `ConfigError`."""
    return Login(
        role="ingest",
        username=settings.username,
        password=_password(settings.password_file, "password_file"),
        cert_file=settings.cert_file,
        key_file=settings.key_file,
    )


def command_login(settings: BrokerSettings) -> Login:
    """The login that may write commands and assignments; ingest's, part by part, where it has none."""
    login = msgspec.structs.replace(ingest_login(settings), role="command")
    if settings.command_username is not None:
        password = _password(settings.command_password_file, "command_password_file")
        login = msgspec.structs.replace(login, username=settings.command_username, password=password)
    if settings.command_cert_file is not None:
        login = msgspec.structs.replace(
            login, cert_file=settings.command_cert_file, key_file=settings.command_key_file
        )
    return login


def _password(file: str | None, key: str) -> str | None:
    return None if file is None else read_secret(Path(file), f"broker.{key}")


class Link:
    """A connection that keeps itself up; every method is called from the event loop's thread.

    `keep_session` and `window` make it a durable consumer: the broker holds back after `window` messages
    that were not acknowledged, which is the whole of our back-pressure.
    """

    def __init__(
        self, settings: BrokerSettings, login: Login, *, keep_session: bool = False, window: int | None = None
    ) -> None:
        self._settings = settings
        self._role = login.role
        self._keep_session = keep_session
        self._window = window
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: dict[int, asyncio.Future[ReasonCode]] = {}
        self.on_up: Callable[[], None] = lambda: None
        """Called in the event loop after each connect."""
        self.on_message: Callable[[mqtt.MQTTMessage, int], None] = lambda _message, _generation: None
        """Called in paho's thread, with the number of the connection that brought the message."""
        self.generation = 0
        """Number of the present connection: packet ids of an earlier one must never be acknowledged."""
        self._topics: tuple[str, ...] = ()
        self._dropped: tuple[str, ...] = ()
        self._stopping = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{settings.client_id}-{login.role}",
            protocol=mqtt.MQTTv5,
            manual_ack=True,
        )
        if login.username is not None:
            self._client.username_pw_set(login.username, login.password)
        if settings.ca_file is not None:
            try:
                self._client.tls_set(settings.ca_file, login.cert_file, login.key_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"broker.ca_file, cert_file or key_file cannot be used: {error}") from error
        self._client.reconnect_delay_set(min_delay=1, max_delay=15)
        self._client.max_inflight_messages_set(100)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_publish = self._published
        self._client.on_message = self._arrived

    @property
    def is_up(self) -> bool:
        return bool(self._client.is_connected())

    def start(self, *topics: str, drop: Sequence[str] = ()) -> None:
        """Connect in the background, and again after every loss; subscribe to `topics` with QoS 1.

        `drop` names subscriptions that a kept session may hold from an earlier start and must not keep.
        """
        self._loop = asyncio.get_running_loop()
        self._topics = topics
        self._dropped = tuple(drop)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types its Client only
        if self._keep_session:
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
        if self._window is not None:
            properties.ReceiveMaximum = self._window
        self._client.connect_async(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keep_alive_s,
            clean_start=not self._keep_session,
            properties=properties,
        )
        self._client.loop_start()

    async def stop(self) -> None:
        """Disconnect and end the thread."""
        self._stopping = True
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        self._loop = None

    def acknowledge(self, mid: int, qos: int, generation: int) -> None:
        """Let the broker forget a message; does nothing if the connection has changed since.

        After a reconnect the broker sends it again, and packet ids of a lost session start anew: an old
        id could name a message that is not committed.
        """
        if qos and generation == self.generation and self.is_up:
            self._client.ack(mid, qos)

    def post(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 without waiting; dropped where there is no connection."""
        if self.is_up:
            self._client.publish(topic, payload, qos=1)

    async def send(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Publish with QoS 1 and wait for the broker's word; raises `Unavailable`.

        After a time-out the message may still go out: an outcome that is unknown, not a failure.
        """
        if not self.is_up or self._loop is None:
            raise Unavailable(f"the MQTT broker is not connected ({self._role})")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # as above
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        word: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._pending[info.mid] = word
        try:
            reason = await asyncio.wait_for(word, PUBACK_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable(f"the broker gave no answer in {PUBACK_TIMEOUT_S:.0f} s") from error
        finally:
            self._pending.pop(info.mid, None)
        if reason.is_failure:
            raise Unavailable(f"the broker refused {topic}: {reason}")

    # ------------------------------------------------ paho's thread

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, *arguments)

    def _connected(
        self, client: mqtt.Client, _data: object, flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            _log.error("broker refused the %s client: %s", self._role, reason)
            return
        _log.info("%s client is connected to the broker", self._role)
        self.generation += 1
        if self._dropped and getattr(flags, "session_present", False):
            client.unsubscribe(list(self._dropped))
        for topic in self._topics:
            client.subscribe(topic, qos=1)
        self._call(self._tell_up)

    def _tell_up(self) -> None:
        self.on_up()

    def _disconnected(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if not self._stopping:
            _log.warning("%s client lost the broker: %s", self._role, reason)

    def _published(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        self._call(self._resolve, mid, reason)

    def _resolve(self, mid: int, reason: ReasonCode) -> None:
        word = self._pending.get(mid)
        if word is not None and not word.done():
            word.set_result(reason)

    def _arrived(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.on_message(message, self.generation)
