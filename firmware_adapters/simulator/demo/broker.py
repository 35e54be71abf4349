"""The demo's broker: mosquitto where it is installed, else iotcore from PyPI. Loopback only."""

import shutil
import sys
from pathlib import Path

from firmware_adapters.simulator.demo.layout import Layout

_MOSQUITTO = """\
# The demo's broker: loopback only, so anonymous. Production: packaging/broker/.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 10000
message_size_limit 4500000
log_type warning
log_type error
"""

_IOTCORE = """\
id = 0
[router]
id = 0
max_connections = 64
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 4500000
max_inflight_count = 500
dynamic_filters = true
"""


def broker_command(layout: Layout, *, choice: str = "auto") -> tuple[str, tuple[str, ...]]:
    """Write the broker's configuration; returns its name and command. `choice`: auto, mosquitto, iotcore."""
    path = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin")
    if choice in ("auto", "mosquitto") and path:
        return "mosquitto", (path, "-c", str(_write(layout, "mosquitto.conf", _MOSQUITTO)))
    if choice == "mosquitto":
        raise RuntimeError(
            "mosquitto is not installed: 'apt-get install mosquitto', or choose --broker iotcore"
        )
    config = str(_write(layout, "iotcore.toml", _IOTCORE))
    command = (sys.executable, "-P", "-m", "iotcore", "--config", config, "--log-level", "CRITICAL")
    return "iotcore", command


def _write(layout: Layout, name: str, text: str) -> Path:
    path = layout.folder / name
    path.write_text(text.format(port=layout.broker_port))
    return path
