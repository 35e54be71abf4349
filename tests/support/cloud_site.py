"""A site as the cloud sees it: an outbox that only the cloud's own ack empties, over a real broker."""

import threading
from collections.abc import Callable

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import Ack
from shared.wire.intervals import IntervalSet
from support.cloud import SITE, birth, state


class FakeSite:
    """Publishes numbered batches and forgets each when an ack covers it, as the agent does."""

    def __init__(self, port: int, site: SiteId = SITE) -> None:
        self.site = site
        self.pending: dict[int, bytes] = {}
        self.heard: list[tuple[str, bytes, bool]] = []
        self.acks = 0
        self._changed = threading.Condition()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"site-{site}", protocol=mqtt.MQTTv5
        )
        self._client.max_inflight_messages_set(20)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_message = self._message
        self._client.connect_async("127.0.0.1", port, clean_start=True)

    def __enter__(self) -> "FakeSite":
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(topics.all_down(self.site), qos=1)
        client.publish(topics.birth(self.site), birth(site=self.site), qos=1, retain=True)
        client.publish(topics.state(self.site), state(), qos=1, retain=True)
        with self._changed:
            self._changed.notify_all()

    def _message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        with self._changed:
            self.heard.append((message.topic, payload, message.retain))
            if message.topic == topics.ack(self.site):
                self._take(codec.decode(payload, Ack))
            self._changed.notify_all()

    def _take(self, ack: Ack) -> None:
        self.acks += 1
        covered = IntervalSet(([(1, ack.upto)] if ack.upto else []) + list(ack.ranges))
        for seq in [seq for seq in self.pending if seq in covered]:
            del self.pending[seq]

    def is_connected(self) -> bool:
        return bool(self._client.is_connected())

    def add(self, seq: int, payload: bytes) -> None:
        """Put a batch into the outbox."""
        with self._changed:
            self.pending[seq] = payload

    def send_pending(self, topic: str | None = None) -> None:
        """Publish all that no ack has covered yet, newest first, as after an outage."""
        with self._changed:
            batches = sorted(self.pending.items(), reverse=True)
        if self._client.is_connected():
            for _, payload in batches:
                self.publish(topic or topics.telemetry(self.site), payload)

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)

    def wait(self, what: Callable[[], bool], seconds: float) -> bool:
        """Wait until something that was heard makes `what` true."""
        with self._changed:
            return self._changed.wait_for(what, seconds)

    def deliver_all(self, seconds: float = 60.0) -> None:
        """Send again and again until everything is acked."""
        for _ in range(int(seconds)):
            self.send_pending()
            if self.wait(lambda: not self.pending, 1.0):
                return
        raise AssertionError(f"{len(self.pending)} batches were never acked")
