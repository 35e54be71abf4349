"""The shipped broker files are what the generator writes, and mosquitto takes them.

What the configuration keeps out is in tests/integration/attacks/test_broker.py.
"""

from pathlib import Path

import pytest

from cloud.identity.broker_config import BrokerPlan, mosquitto_conf
from cloud.identity.broker_rules import acl
from support.identity import MOSQUITTO, TlsBroker

BROKER = Path(__file__).resolve().parents[3] / "packaging" / "broker"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]


def test_the_shipped_files_are_the_generated_ones() -> None:
    """Anew: `minewarden cloud broker-config`, or the two calls below."""
    assert (BROKER / "minewarden.conf").read_text() == mosquitto_conf(
        BrokerPlan(log=Path("/run/brokerlog/mosquitto.log"))
    )
    assert (BROKER / "minewarden.acl").read_text() == acl([], {})


def test_mosquitto_takes_the_shipped_files_and_keeps_sites_apart(tmp_path: Path) -> None:
    broker = TlsBroker(tmp_path / "broker")
    for name in ("north", "south", "minewarden-ingest", "minewarden-command"):
        broker.give(name)
    broker.rule([])
    text = (BROKER / "minewarden.conf").read_text()
    for ours, theirs in (
        ("/etc/mosquitto/minewarden/", f"{broker.folder}/"),
        ("/var/lib/minewarden/broker/", f"{broker.rules}/"),
        ("/var/lib/mosquitto/", f"{tmp_path}/"),
        ("/run/brokerlog/", f"{broker.folder}/"),
        ("listener 8883", f"listener {broker.site_port} 127.0.0.1"),
        ("listener 8884", f"listener {broker.cloud_port}"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(text + "user root\n")
    (broker.rules / "acl").write_text((BROKER / "minewarden.acl").read_text() + acl(["north"], {}))
    broker.launch(conf)
    north, south, ingest = (broker.client(name) for name in ("north", "south", "minewarden-ingest"))
    try:
        assert north.connect()
        assert south.connect()
        assert ingest.connect()
        ingest.subscribe("mw/1/+/up/#")
        assert not south.publish("mw/1/south/up/ev", b"no line, no word")
        assert north.publish("mw/1/north/up/ev", b"allowed")
        assert ingest.has(b"allowed")
        assert [body for _, body in ingest.arrived] == [b"allowed"]
    finally:
        for person in (north, south, ingest):
            person.close()
        broker.stop()


def test_the_unit_starts_the_broker_with_our_file_alone_and_the_log_lies_where_it_is_mounted() -> None:
    """Below Debian's main file ours would set `persistence_location` twice, which mosquitto refuses."""
    install = (BROKER.parents[1] / "docs" / "install.md").read_text()
    unit = (BROKER / "mosquitto.service.conf").read_text()
    assert (
        "\nExecStart=\nExecStart=/usr/sbin/mosquitto -c /etc/mosquitto/minewarden/minewarden.conf\n" in unit
    )
    assert "/etc/minewarden/broker/minewarden.conf /etc/mosquitto/minewarden/\n" in install
    assert "\nWhere=/run/brokerlog\n" in (BROKER / "run-brokerlog.mount").read_text()
    for text in (install, (BROKER / "minewarden.conf").read_text(), _tmpfiles()):
        assert "/run/brokerlog/mosquitto.log" in text


def _tmpfiles() -> str:
    return (BROKER / "brokerlog.tmpfiles.conf").read_text()
