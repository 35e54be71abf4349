"""The transport over aiomqtt (MQTT 5, TLS where the site file names certificates)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.agent.uplink.transport import Delivery, Link, LinkLost, Message
from edge_agent.config import Uplink
from shared.errors import ConfigError
from shared.ids import SiteId

_PING_SHARE: Final = 0.6
"""paho notices a dead peer after two ping intervals, so the interval is this share of `keep_alive_s`: a
black-holed link is seen in 1.2 × keep-alive plus a second or two, below 1.5 × from 10 s on."""
_SESSION_S: Final = 14 * 24 * 3600
"""The broker keeps our subscription for the longest outage we plan for."""
_INCOMING: Final = 1_000
_INFLIGHT: Final = 20


class MqttTransport:
    """Connections of one site to its broker; client id and default user name are the site id."""

    def __init__(self, settings: Uplink, site: SiteId) -> None:
        """Raises `ConfigError` for a password or certificate file that cannot be read.

        The certificates are read again at each connect: they are renewed while we run.
        """
        self._settings = settings
        self._site = site
        self._password = _read_password(settings.password_file)
        _tls(settings)
        self._ping_s = max(1, int(settings.keep_alive_s * _PING_SHARE))

    @asynccontextmanager
    async def session(self, *, will: Message) -> AsyncIterator[Link]:
        """See `Transport.session`."""
        try:
            tls = _tls(self._settings)
        except ConfigError as error:
            raise LinkLost(str(error)) from error
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no annotations here
        properties.SessionExpiryInterval = _SESSION_S
        client = aiomqtt.Client(
            self._settings.broker_host,
            self._settings.broker_port,
            identifier=str(self._site),
            username=self._settings.username or str(self._site),
            password=self._password,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain),
            clean_start=False,
            properties=properties,
            keepalive=self._ping_s,
            timeout=float(self._ping_s),
            tls_context=tls,
            max_queued_incoming_messages=_INCOMING,
            max_inflight_messages=_INFLIGHT,
        )
        client.pending_calls_threshold = _INCOMING  # it would log each window of ours as a warning
        _ask_after(client)  # the connection may end before it is handed out; then aiomqtt makes new futures
        try:
            async with client:
                yield _MqttLink(client)
        except aiomqtt.MqttError as error:
            raise LinkLost(
                f"broker {self._settings.broker_host}:{self._settings.broker_port}: {error}"
            ) from error
        finally:
            _ask_after(client)


def _ask_after(client: aiomqtt.Client) -> None:
    """Look at how the connection ended, or asyncio logs "Future exception was never retrieved".

    aiomqtt keeps the end in two futures of its own and looks at them only while somebody iterates over
    messages; our publisher may notice first, and `LinkLost` has told it already.
    """
    for future in (client._connected, client._disconnected):  # noqa: SLF001 - aiomqtt shows them nowhere else
        future.add_done_callback(_looked_at)


def _looked_at(future: "asyncio.Future[None]") -> None:
    if not future.cancelled():
        future.exception()


class _MqttLink:
    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def subscribe(self, topic_filter: str) -> None:
        try:
            await self._client.subscribe(topic_filter, qos=1)
        except aiomqtt.MqttError as error:
            raise LinkLost(f"subscribe: {error}") from error

    async def publish(self, message: Message) -> Delivery:
        try:
            await self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        except aiomqtt.MqttCodeError as error:
            raise LinkLost(f"publish: {error}") from error
        except aiomqtt.MqttError:
            return Delivery.UNKNOWN  # timed out: paho holds the message and may still deliver it
        return Delivery.CONFIRMED

    async def messages(self) -> AsyncIterator[Message]:
        try:
            async for message in self._client.messages:
                payload = message.payload
                body = payload if isinstance(payload, bytes) else str(payload or "").encode()
                yield Message(topic=str(message.topic), payload=body, retain=message.retain)
        except aiomqtt.MqttError as error:
            raise LinkLost(f"receive: {error}") from error
        raise LinkLost("receive: the connection ended")


def _read_password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the broker password cannot be read: {error}") from error


def _tls(settings: Uplink) -> ssl.SSLContext | None:
    if settings.ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"uplink: the certificates cannot be used: {error}") from error
    return context
