"""Requests and processor time per miner-poll: ours, `pyasic` and `pyasic-rs`, on the same emulated machines.

Each client is a process of its own and so are the machines; all take turns in one run. Both peers ask port 80
and know no other, so the machines stand there on loopback addresses: that needs the right to bind it (root,
or `sysctl net.ipv4.ip_unprivileged_port_start=80`); without it, and without the peers, it skips and says why.
"""

import socket
import statistics
import subprocess
from collections.abc import Callable

import pytest

from support.benchmark import Line, Turns, rounded
from support.poll_bench import Client, Seen, our, peer, polled, running_fleet

MINERS = 200
PORT = 80
ROUNDS = 3
SATURATED_S = 8.0
PACED_S = 20.0
PEERS = (("pyasic", "0.79.0", "poll_bench_pyasic"), ("pyasic-rs", "0.8.6", "poll_bench_pyasic_rs"))
OURS = ("adapter", "guardian", "adapter-aiohttp", "aiohttp")


def _may_bind() -> str | None:
    """Why port 80 and 4028 cannot be had, else None."""
    for port in (PORT, 4028):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("0.0.0.0", port))
            except OSError as error:
                return f"port {port}: {error}"
    return None


def _peers() -> list[Client]:
    found = []
    for distribution, version, module in PEERS:
        try:
            found.append(peer(distribution, version, module))
        except subprocess.CalledProcessError as error:
            print(f"{distribution} {version} cannot be installed: {error.stderr[-500:]}")
    return found


def _report(report: Callable[[Line], None], mode: str, name: str, seen: dict[str, list[Seen]]) -> None:
    """Ours beside each other client."""
    mine = seen[name]
    for other, theirs in seen.items():
        if other == name:
            continue
        turns = Turns(
            ours=tuple(one.polled.cpu_ms for one in mine), peers=tuple(one.polled.cpu_ms for one in theirs)
        )
        more: dict[str, str | int | float] = {
            "requests": rounded(statistics.median(one.requests for one in mine)),
            "peer_requests": rounded(statistics.median(one.requests for one in theirs)),
            "p50_ms": rounded(statistics.median(one.polled.p50_ms for one in mine)),
            "peer_p50_ms": rounded(statistics.median(one.polled.p50_ms for one in theirs)),
            "polls": sum(one.polled.polls for one in mine),
            "peer_polls": sum(one.polled.polls for one in theirs),
            "peer_failed": sum(one.polled.failed for one in theirs),
            "rss_mb": rounded(max(one.polled.rss_mb for one in mine)),
            "peer_rss_mb": rounded(max(one.polled.rss_mb for one in theirs)),
        }
        report(
            turns.line(f"miner-poll {mode}, {name} / {other}", unit="ms CPU", peer=other, n=MINERS, more=more)
        )


@pytest.mark.parametrize(("mode", "seconds"), [("saturated", SATURATED_S), ("paced", PACED_S)])
async def test_poll_peers(mode: str, seconds: float, report: Callable[[Line], None]) -> None:
    taken = _may_bind()
    if taken is not None:
        pytest.skip(f"the peers know port 80 only, and it cannot be had: {taken}")
    peers = _peers()
    if not peers:
        pytest.skip("neither peer can be installed, see above")
    clients = [*(our(name) for name in OURS), *peers]
    seen: dict[str, list[Seen]] = {client.name: [] for client in clients}
    async with running_fleet(MINERS, PORT) as fleet:
        for _ in range(ROUNDS):
            for client in clients:
                seen[client.name].append(await polled(fleet, client, mode, seconds))
    for client in clients:
        for one in seen[client.name]:
            assert one.polled.polls >= MINERS, f"{client.name} did not get round"
            if client.ours:
                assert one.polled.failed == 0, one.polled.why
    _report(report, mode, "adapter", seen)
    _report(report, mode, "guardian", {name: seen[name] for name in ("guardian", *(p.name for p in peers))})
