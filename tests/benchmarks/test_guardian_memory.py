"""Resident memory of the real guardian at 1,000 miners, an agent connected, its ring as full as it gets.

The peer is the interpreter with the same modules imported: what is above it is the site.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.benchmark import Line, Turns, rounded
from support.guardian_bench import POLL_S, large_site, running_guardian, running_site

SIZES = (100, 300, 1_000)
PER_ZONE = 50
RING_S = 300.0
"""How long the ring keeps samples: memory grows until then."""
LOOKS = 5

_IMPORTS = """
import edge_agent.guardian.cli, firmware_adapters.miners.vnish.adapter, firmware_adapters.site.modbus
words = open("/proc/self/smaps_rollup").read().split()
print(int(words[words.index("Rss:") + 1]) * 1.024e-3)
"""


def _imports_mb() -> float:
    """Resident memory of a process that only imported, MB."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.parametrize("miners", SIZES)
async def test_guardian_memory(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    path = large_site(tmp_path, miners, zones=miners // PER_ZONE)
    async with running_site(path) as site, running_guardian(site) as guardian:
        await guardian.agent.sweeps(round(RING_S / POLL_S) + 1)
        seen = []
        for _ in range(LOOKS):
            seen.append(guardian.memory_mb())
            await guardian.agent.sweeps(1)
        assert not guardian.agent.failures
    imports = tuple(_imports_mb() for _ in range(LOOKS))
    line = Turns(ours=tuple(look["rss"] for look in seen), peers=imports).line(
        "guardian memory",
        unit="MB",
        peer="the interpreter with the same modules imported",
        n=miners,
        more={
            "own_mb": rounded(statistics.median(look["own"] for look in seen)),
            "high_water_mb": rounded(max(look["high"] for look in seen)),
            "target_mb": 80.0,
        },
    )
    report(line)
