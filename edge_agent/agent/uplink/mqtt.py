"""The transport over aiomqtt (MQTT 5, TLS where the site file names certificates)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.agent.uplink.transport import Delivery, Link, LinkLost, Message, Refused
from edge_agent.config import Uplink
from shared.errors import ConfigError
from shared.ids import SiteId
from shared.wire.codec import MAX_BODY_BYTES

_PING_SHARE: Final = 0.6
_LOOKS_S: Final = 2.5
"""paho notices a dead peer after two ping intervals, and looks once a second (twice: to ping, to give up)."""
_SESSION_S: Final = 14 * 24 * 3600
"""The broker keeps our subscription for the longest outage we plan for."""
_LARGEST: Final = MAX_BODY_BYTES + 64 * 1024
"""Bytes; a broker does not hand on what is larger, it could not be decoded anyway."""
_INCOMING: Final = 1_000
_INFLIGHT: Final = 20


class MqttTransport:
    """Connections of one site to its broker; client id and default user name are the site id."""

    def __init__(self, settings: Uplink, site: SiteId) -> None:
        """Raises `ConfigError` for a password or certificate file that cannot be read.

        The certificates are read again at each connect: they are renewed while we run. A gateway that is not
        enrolled yet has none; it records and waits for them.
        """
        self._settings = settings
        self._site = site
        self._password = _read_password(settings.password_file)
        if settings.cert_file is None or Path(settings.cert_file).exists():
            _tls(settings)
        self._ping_s = ping_s(settings.keep_alive_s)

    @asynccontextmanager
    async def session(self, *, will: Message) -> AsyncIterator[Link]:
        """See `Transport.session`."""
        try:
            tls = _tls(self._settings)
        except ConfigError as error:
            raise LinkLost(str(error)) from error
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no annotations here
        properties.SessionExpiryInterval = _SESSION_S
        properties.MaximumPacketSize = _LARGEST
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
            _hang_up(client)


def ping_s(keep_alive_s: int) -> int:
    """The ping interval with which a black-holed link is seen before 1.5 × `keep_alive_s` (from 4 s on)."""
    return max(1, int(min(keep_alive_s * _PING_SHARE, (1.5 * keep_alive_s - _LOOKS_S) / 2)))


def _hang_up(client: aiomqtt.Client) -> None:
    """Close a socket that is still open.

    aiomqtt leaves it open where the broker's answer to CONNECT is late. When that answer comes after all,
    nobody would read from the connection, and as ours it would push our next one off the broker.
    """
    paho = client._client  # noqa: SLF001 - aiomqtt has no word for this
    if paho.socket() is not None:
        paho._sock_close()  # noqa: SLF001 - as above


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
        self._refused: str | None = None
        paho = client._client  # noqa: SLF001 - aiomqtt drops the reason code of a PUBACK
        told = paho.on_publish
        assert told is not None  # noqa: S101 - aiomqtt has set it

        def published(*puback: Any) -> None:
            reason = puback[3]
            if reason.is_failure:
                self._refused = str(reason)
            told(*puback)

        paho.on_publish = published

    async def subscribe(self, topic_filter: str) -> None:
        try:
            granted = await self._client.subscribe(topic_filter, qos=1)
        except aiomqtt.MqttError as error:
            raise LinkLost(f"subscribe: {error}") from error
        for code in granted:
            if isinstance(code, ReasonCode) and code.is_failure:
                raise Refused(
                    f"the broker refused the subscription to {topic_filter}: {code}", reason=str(code)
                )

    async def publish(self, message: Message) -> Delivery:
        try:
            await self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        except aiomqtt.MqttCodeError as error:
            raise LinkLost(f"publish: {error}") from error
        except aiomqtt.MqttError:
            return Delivery.UNKNOWN  # timed out: paho holds the message and may still deliver it
        if self._refused is not None:
            # Whose message it was is not known, so all of them count as not sent; nothing was deleted for it.
            raise Refused(
                f"the broker refused a message: {self._refused} ({message.topic} or one before)",
                reason=self._refused,
            )
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
