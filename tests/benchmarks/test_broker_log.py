"""What it costs the broker to log at debug level, and the cloud to read that (decision 0025).

A site publishes batches of 20 kB with QoS 1, a subscriber takes them, both over loopback without TLS. The
value is the broker's own CPU time per message with its log in memory, as the generated configuration has it
with `identity.broker_log`; the peer is the same broker without debug lines. `reader_us` is what sorting the
log out costs the cloud per message.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.identity.broker_log import Right, sort_out
from support import cloud_broker
from support.benchmark import Line, Turns
from support.ports import free_port

MESSAGES = 5_000
BODY = b"x" * 20_000
TURNS = 5
MEMORY = Path("/dev/shm")
"""A memory file system, as in production."""
RIGHTS = {"north": Right(frozenset(("north",)), "dn/#")}


@pytest.mark.skipif(cloud_broker.why_not() is not None, reason="mosquitto is not installed")
def test_broker_log(tmp_path: Path, report: Callable[[Line], None]) -> None:
    log = (MEMORY if MEMORY.is_dir() else tmp_path) / f"minewarden-bench-{os.getpid()}.log"
    ours: list[float] = []
    peers: list[float] = []
    try:
        for turn in range(TURNS):
            for with_log in ((True, False), (False, True))[turn % 2]:
                if with_log:
                    log.unlink(missing_ok=True)
                (ours if with_log else peers).append(broker_us(tmp_path, log if with_log else None))
        text = log.read_bytes()
        began = time.process_time()
        refused, _ = sort_out(text, RIGHTS)
        reader_us = (time.process_time() - began) / MESSAGES * 1e6
    finally:
        log.unlink(missing_ok=True)
    assert [one.topic for one in refused] == ["mw/1/south/up/ev"]
    report(
        Turns(ours=tuple(ours), peers=tuple(peers)).line(
            "broker log",
            unit="us of CPU per message",
            peer="the same broker without debug lines",
            n=MESSAGES,
            more={"reader_us": round(reader_us, 2), "log_bytes_per_message": round(len(text) / MESSAGES)},
        )
    )


def broker_us(folder: Path, log: Path | None) -> float:
    """The broker's CPU time (user and system) per message, µs."""
    port = free_port()
    acl, conf = folder / "acl", folder / "mosquitto.conf"
    acl.write_text("topic write mw/1/north/up/#\ntopic read mw/1/north/up/#\n")
    places = "log_dest none\n" if log is None else f"log_dest file {log}\nlog_type debug\n"
    conf.write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nacl_file {acl}\n{places}"
        "log_type error\nlog_type warning\nlog_type notice\nlog_type information\nlog_type subscribe\n"
    )
    assert cloud_broker.PROGRAM is not None
    with subprocess.Popen([cloud_broker.PROGRAM, "-c", str(conf)], stderr=subprocess.DEVNULL) as broker:
        try:
            return _send(broker.pid, port)
        finally:
            broker.terminate()


def _send(pid: int, port: int) -> float:
    came, done = [0], threading.Event()

    def on_message(*_: object) -> None:
        came[0] += 1
        if came[0] == MESSAGES:
            done.set()

    taker, site = _client("taker", port), _client("north", port)
    taker.on_message = on_message
    subscribed = threading.Event()
    taker.on_subscribe = lambda *_: subscribed.set()
    taker.subscribe("mw/1/+/up/#", 1)
    assert subscribed.wait(10)
    before = _cpu_s(pid)
    for number in range(MESSAGES):
        site.publish("mw/1/north/up/t/rollup", BODY, qos=1)
        while number - came[0] > 200:
            time.sleep(0.001)
    assert done.wait(60)
    spent = _cpu_s(pid) - before
    site.publish("mw/1/south/up/ev", b"not its own", qos=1).wait_for_publish(10)
    for client in (taker, site):
        client.disconnect()
        client.loop_stop()
    return spent / MESSAGES * 1e6


def _client(name: str, port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
    for _ in range(200):
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            time.sleep(0.05)
    client.loop_start()
    return client


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
