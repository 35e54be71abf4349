"""Where everything of one demo lives: files in a work folder, services on loopback addresses and ports."""

import socket
from dataclasses import dataclass
from pathlib import Path

MINERS_PER_RACK = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Files and ports of one demo run. `miner_net` is the 127.x prefix that this run's devices use."""

    folder: Path
    miner_net: int
    miner_port: int
    modbus_port: int
    snmp_port: int
    fault_port: int
    broker_port: int
    wan_port: int
    """The demo's own TCP proxy in front of the broker: the site's WAN."""
    cloud_port: int
    status_port: int

    @property
    def site_file(self) -> Path:
        return self.folder / "site.toml"

    @property
    def cloud_file(self) -> Path:
        return self.folder / "cloud.toml"

    @property
    def log_folder(self) -> Path:
        return self.folder / "logs"

    @property
    def key_folder(self) -> Path:
        return self.folder / "keys"

    @property
    def token_file(self) -> Path:
        return self.folder / "cloud" / "token"

    @property
    def cloud_url(self) -> str:
        return f"http://127.0.0.1:{self.cloud_port}"

    @property
    def agent_url(self) -> str:
        return f"http://127.0.0.1:{self.status_port}"

    @property
    def fault_url(self) -> str:
        return f"http://127.0.0.1:{self.fault_port}"


def new_layout(folder: Path, *, cloud_port: int | None) -> Layout:
    """Choose free loopback ports; `cloud_port` is kept when given, so that a bookmark stays good."""
    free = _free_ports(9)
    return Layout(
        folder=folder,
        miner_net=21 + free[0] % 200,
        miner_port=free[0],
        modbus_port=free[1],
        snmp_port=free[2],
        fault_port=free[3],
        broker_port=free[4],
        wan_port=free[5],
        cloud_port=cloud_port if cloud_port is not None else free[6],
        status_port=free[7],
    )


def _free_ports(count: int) -> list[int]:
    """Ports that are free on every loopback address now (and, each plus one, for the 4028 twin)."""
    found: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(found) < count:
            first = socket.socket()
            first.bind(("127.0.0.1", 0))
            held.append(first)
            port = int(first.getsockname()[1])
            if port < 65000 and all(abs(port - other) > 1 for other in found):
                found.append(port)
    finally:
        for sock in held:
            sock.close()
    return found
