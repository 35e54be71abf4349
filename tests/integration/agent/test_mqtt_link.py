"""The transport over a real mosquitto: persistence of the session, the will, and a link that goes silent."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest

from edge_agent.agent.app import Agent
from edge_agent.agent.uplink.mqtt import MqttTransport
from edge_agent.agent.uplink.transport import Delivery, LinkLost, Message
from edge_agent.config import Uplink
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.ids import SiteId
from support.agent import KEYS
from support.agent_world import world
from support.broker import mosquitto
from support.chaos_link import Relay
from support.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
SITE = SiteId("testsite")
WILL = Message(topic="mw/1/testsite/up/state", payload=b"gone", retain=True)


def settings(port: int, *, keep_alive_s: int = 10) -> Uplink:
    return Uplink(broker_host="127.0.0.1", broker_port=port, keep_alive_s=keep_alive_s)


@asynccontextmanager
async def through_a_relay(folder: Path) -> AsyncIterator[tuple[Relay, MqttTransport, int]]:
    async with mosquitto(folder) as port:
        relay = Relay(port)
        await relay.start()
        transport = MqttTransport(settings(relay.port), SITE)
        try:
            yield relay, transport, port
        finally:
            await relay.stop()


@pytest.mark.alone
async def test_f04_a_silent_link_is_noticed_before_one_and_a_half_keep_alives(tmp_path: Path) -> None:
    """With nothing to send: only the pings can tell (measured: 12 to 13 s for 10 s)."""
    clock = SystemClock()
    started = 0.0
    noticed = False
    async with through_a_relay(tmp_path) as (relay, transport, _):
        try:
            async with transport.session(will=WILL) as link:
                await link.subscribe("mw/1/testsite/dn/#")
                relay.silent = True
                started = clock.monotonic()
                async for _message in link.messages():
                    pytest.fail("nothing can arrive here")
        except LinkLost:
            noticed = True
    assert noticed
    assert clock.monotonic() - started < 1.5 * 10


async def test_f04_a_publish_into_a_silent_link_is_unknown_and_not_an_error(tmp_path: Path) -> None:
    async with through_a_relay(tmp_path) as (relay, transport, _):
        with contextlib.suppress(LinkLost):
            async with transport.session(will=WILL) as link:
                assert await link.publish(Message(topic="a", payload=b"1")) is Delivery.CONFIRMED
                relay.silent = True
                assert await link.publish(Message(topic="a", payload=b"2")) is Delivery.UNKNOWN


async def test_a_message_that_the_broker_refuses_is_not_confirmed_and_ends_the_link(tmp_path: Path) -> None:
    """A PUBACK may say "not authorized" (MQTT 5): a command's answer is kept and told again then."""
    async with mosquitto(tmp_path, acl="user testsite\ntopic write mw/1/testsite/up/#\n") as port:
        refusal = "refused a message: Not authorized"
        async with MqttTransport(settings(port), SITE).session(will=WILL) as link:
            own = Message(topic="mw/1/testsite/up/ev", payload=b"1")
            assert await link.publish(own) is Delivery.CONFIRMED
            with pytest.raises(LinkLost, match=refusal):
                await link.publish(Message(topic="mw/1/elsewhere/up/ev", payload=b"2"))
            with pytest.raises(LinkLost, match=refusal):
                await link.publish(own)


async def test_a_gateway_whose_telemetry_is_refused_calls_less_and_less_often_and_says_why_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Birth and state may pass, telemetry may not: each connect succeeds, and none of them is a recovery."""
    attempts: list[int] = []

    def noted(attempt: int, *, first_s: float, cap_s: float) -> float:
        attempts.append(attempt)
        return 0.01

    monkeypatch.setattr("edge_agent.agent.uplink.uplink.full_jitter", noted)
    caplog.set_level("INFO", logger="minewarden.agent")
    acl = "pattern write mw/1/%c/up/birth\npattern write mw/1/%c/up/state\npattern read mw/1/%c/dn/#\n"
    async with mosquitto(tmp_path, acl=acl) as port, world(tmp_path) as w:
        site = msgspec.structs.replace(w.site, uplink=settings(port))
        transport = MqttTransport(site.uplink, site.site.id)
        agent = Agent(site, clock=SystemClock(), transport=transport, keyring=KEYS.ring)
        await agent.open()
        stop = asyncio.Event()
        running = asyncio.create_task(agent.run(stop))
        try:
            async with asyncio.timeout(60):
                while not agent.records.store.waiting():
                    await w.poll(4)
                    await asyncio.sleep(0.05)
                while len(attempts) < 6:
                    await asyncio.sleep(0.05)
            state = (await agent.source.read()).uplink
            waiting = agent.records.store.waiting()
        finally:
            stop.set()
            await running
    assert attempts[:6] == [1, 2, 3, 4, 5, 6]
    assert "refused a message: Not authorized" in state.why
    assert sum("refused by the broker" in message for message in caplog.messages) == 1
    assert "broker is back" not in caplog.messages
    assert waiting, "nothing was deleted"


async def test_the_session_outlives_the_connection_and_a_second_client_sees_the_will(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as port:
        site = MqttTransport(settings(port), SITE)
        cloud = MqttTransport(settings(port), SiteId("cloud"))
        async with site.session(will=WILL) as link:
            await link.subscribe("mw/1/testsite/dn/#")
        async with cloud.session(will=msgspec.structs.replace(WILL, topic="cloud/state")) as other:
            await other.publish(Message(topic="mw/1/testsite/dn/ack", payload=b"while you were away"))
            async with site.session(will=WILL) as link:
                async with asyncio.timeout(5):
                    message = await anext(aiter(link.messages()))
                assert message.payload == b"while you were away"
                assert not message.retain


async def test_nobody_listening_is_a_lost_link() -> None:
    transport = MqttTransport(settings(free_port()), SITE)
    with pytest.raises(LinkLost):
        await transport.session(will=WILL).__aenter__()


def test_files_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    base = settings(1)
    for changes in ({"password_file": str(tmp_path / "none")}, {"ca_file": str(tmp_path / "none")}):
        with pytest.raises(ConfigError):
            MqttTransport(msgspec.structs.replace(base, **changes), SITE)
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(ConfigError):
        MqttTransport(msgspec.structs.replace(base, ca_file=str(tmp_path / "ca.pem")), SITE)


async def test_a_broker_that_goes_away_leaves_no_noise_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`LinkLost` tells the loss; asyncio must not add "Future exception was never retrieved" to the log."""
    clients: list[aiomqtt.Client] = []

    class Kept(aiomqtt.Client):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            clients.append(self)

    monkeypatch.setattr(aiomqtt, "Client", Kept)
    async with mosquitto(tmp_path) as port:
        relay = Relay(port)
        await relay.start()
        transport = MqttTransport(settings(relay.port), SITE)
        async with asyncio.timeout(10), transport.session(will=WILL):
            ended = clients[0]._disconnected  # the future that asyncio would complain about
            await relay.stop()
            while not ended.done():  # nobody receives and nobody sends, so nobody asks the client
                await asyncio.sleep(0)
    await asyncio.sleep(0)
    noisy = getattr(ended, "_log_traceback")  # noqa: B009 - asyncio's own flag, which no stub knows
    assert isinstance(ended.exception(), aiomqtt.MqttError)
    assert not noisy
