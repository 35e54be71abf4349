"""The demo's broker, whichever it is: MQTT 5 on loopback, retained messages as large as ours."""

import shutil
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from firmware_adapters.simulator.demo.broker import broker_command
from firmware_adapters.simulator.demo.layout import Layout, new_layout
from firmware_adapters.simulator.demo.processes import Processes

pytestmark = pytest.mark.slow

LARGEST = b"m" * 1_000_000
HAS_MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin") is not None


def _client(name: str, port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, client_id=name)
    waiter = threading.Event()
    for _ in range(100):
        try:
            client.connect("127.0.0.1", port)
        except OSError:
            waiter.wait(0.1)
        else:
            client.loop_start()
            return client
    raise AssertionError("the broker does not answer")


def _keeps_a_retained_message(layout: Layout) -> bool:
    writer = _client("cloud", layout.broker_port)
    writer.publish("mw/1/demo/dn/model", LARGEST, qos=1, retain=True).wait_for_publish(10)
    seen = threading.Event()
    reader = _client("demo", layout.broker_port)
    reader.on_message = lambda _c, _d, message: seen.set() if message.payload == LARGEST else None
    reader.subscribe("mw/1/demo/dn/#", qos=1)
    arrived = seen.wait(10)
    for client in (writer, reader):
        client.disconnect()
        client.loop_stop()
    return arrived


@pytest.mark.parametrize(
    "choice",
    [
        "iotcore",
        pytest.param(
            "mosquitto", marks=pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto is not installed")
        ),
    ],
)
async def test_it_speaks_mqtt_5_and_keeps_what_is_retained(choice: str, tmp_path: Path) -> None:
    layout = new_layout(tmp_path, cloud_port=None)
    layout.log_folder.mkdir()
    name, command = broker_command(layout, choice=choice)
    assert name == choice
    processes = Processes(layout.log_folder)
    await processes.start("broker", command)
    try:
        assert _keeps_a_retained_message(layout)
    finally:
        await processes.stop()


def test_without_mosquitto_the_pip_broker_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_words: None)
    layout = new_layout(tmp_path, cloud_port=None)
    assert broker_command(layout)[0] == "iotcore"
    with pytest.raises(RuntimeError, match="apt-get install mosquitto"):
        broker_command(layout, choice="mosquitto")


def test_both_listen_on_loopback_only(tmp_path: Path) -> None:
    layout = new_layout(tmp_path, cloud_port=None)
    for choice in ("iotcore", "mosquitto") if HAS_MOSQUITTO else ("iotcore",):
        broker_command(layout, choice=choice)
    for file in (*tmp_path.glob("*.toml"), *tmp_path.glob("*.conf")):
        assert "127.0.0.1" in file.read_text()
        assert "0.0.0.0" not in file.read_text()
