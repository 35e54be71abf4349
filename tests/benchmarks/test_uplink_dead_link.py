"""How soon a link that swallows everything is noticed (no RST, no FIN), against the keep-alive that is set.

A relay between our transport and a real mosquitto goes silent; nothing is sent meanwhile, which is the hard
case: only the pings can tell. Peer: a bare paho client with the whole keep-alive as its ping interval, which
is what "keep-alive" does if it is handed on as it is. Ours has to stay below 1.5 × keep-alive.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.agent.uplink.mqtt import MqttTransport
from edge_agent.agent.uplink.transport import LinkLost, Message
from edge_agent.config import Uplink
from shared.ids import SiteId
from support import cloud_broker
from support.benchmark import Line, machine, rounded
from support.chaos_link import Relay

TURNS = 3
SITE = SiteId("bench")
WILL = Message(topic="mw/1/bench/up/state", payload=b"gone", retain=True)


@pytest.mark.skipif(cloud_broker.why_not() is not None, reason="mosquitto is not installed")
@pytest.mark.parametrize("keep_alive_s", [5, 10, 20])
async def test_uplink_dead_link(keep_alive_s: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    with cloud_broker.broker(tmp_path) as broker:
        ours = [await our_time(broker.port, keep_alive_s) for _ in range(TURNS)]
        peers = [await paho_time(broker.port, keep_alive_s)]
    value, peer = max(ours), statistics.median(peers)
    assert value < 1.5 * keep_alive_s
    report(
        Line(
            benchmark="uplink dead link",
            value=rounded(value),
            unit="s",
            ratio=rounded(value / peer),
            peer="paho with the same keep-alive",
            peer_value=rounded(peer),
            median_of=1,
            n=keep_alive_s,
            machine=machine(),
            more={"keep_alives": rounded(value / keep_alive_s), "worst_of": TURNS},
        )
    )


async def our_time(port: int, keep_alive_s: int) -> float:
    """From silence to `LinkLost`, s."""
    link = Relay(port)
    await link.start()
    settings = Uplink(broker_host="127.0.0.1", broker_port=link.port, keep_alive_s=keep_alive_s)
    began_s = 0.0
    try:
        async with MqttTransport(settings, SITE).session(will=WILL) as session:
            await session.subscribe("mw/1/bench/dn/#")
            link.silent, began_s = True, time.monotonic()
            async for _ in session.messages():
                raise AssertionError("nothing can arrive")
    except LinkLost:
        return time.monotonic() - began_s
    finally:
        await link.stop()
    raise AssertionError("nobody noticed")


async def paho_time(port: int, keep_alive_s: int) -> float:
    """The same for paho's own loop."""
    link = Relay(port)
    await link.start()
    up, down = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="peer", protocol=mqtt.MQTTv5)

    def connected(*_: object) -> None:
        loop.call_soon_threadsafe(up.set)

    def disconnected(*_: object) -> None:
        loop.call_soon_threadsafe(down.set)

    client.on_connect, client.on_disconnect = connected, disconnected
    client.connect_async("127.0.0.1", link.port, keepalive=keep_alive_s)
    client.loop_start()
    try:
        await up.wait()
        link.silent, began_s = True, time.monotonic()
        await down.wait()
        return time.monotonic() - began_s
    finally:
        await asyncio.to_thread(client.loop_stop)
        await link.stop()
