"""An agent that starts before its gateway is enrolled runs, and connects once there is a certificate."""

from pathlib import Path

import pytest

from cloud.identity.authority import Authority
from edge_agent.agent.identity.files import IdentityFiles
from edge_agent.agent.uplink.mqtt import MqttTransport
from edge_agent.agent.uplink.transport import LinkLost, Message
from edge_agent.config import Uplink
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.ids import SiteId
from support.identity import DAY_MS, pair_for
from support.ports import free_port

SITE = SiteId("north")
WILL = Message(topic="mw/1/north/up/state", payload=b"")


async def test_it_waits_for_its_certificate_instead_of_refusing_to_start(tmp_path: Path) -> None:
    files = IdentityFiles(tmp_path)
    uplink = Uplink(
        broker_host="localhost",
        broker_port=free_port(),
        ca_file=str(files.ca_file),
        cert_file=str(files.pair_file),
    )
    transport = MqttTransport(uplink, SITE)
    with pytest.raises(LinkLost, match="certificates cannot be used"):
        await transport.session(will=WILL).__aenter__()
    now_ms = SystemClock().utc_ms()
    authority = Authority.create("Test CA", now_ms - DAY_MS)
    files.adopt(pair_for(authority, SITE, now_ms), authority.pem)
    with pytest.raises(LinkLost, match="broker localhost"):  # it got as far as looking for the broker
        await transport.session(will=WILL).__aenter__()


def test_a_damaged_certificate_still_stops_the_start(tmp_path: Path) -> None:
    files = IdentityFiles(tmp_path)
    files.write("site.pem", b"damaged")
    files.write("ca.pem", b"damaged")
    uplink = Uplink(
        broker_host="localhost", broker_port=1, ca_file=str(files.ca_file), cert_file=str(files.pair_file)
    )
    with pytest.raises(ConfigError):
        MqttTransport(uplink, SITE)
