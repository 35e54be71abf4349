"""Whole gateways for roll-outs: guardian, agent and emulated machines as processes, on the cloud's broker."""

import asyncio
import contextlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.artifacts.signing import Keyring, PublicKeyEntry
from support import rollout_agent
from support.processes import ProcessSite
from support.processes_site import dump_toml

MINERS = 2
SCORE_EVERY_S = 1.0
SHADOW_CYCLES = 3


class Gateway(ProcessSite):
    """One site by this name that trusts these keys."""

    def __init__(
        self, folder: Path, name: str, *, broker_port: int, trusted: tuple[PublicKeyEntry, ...]
    ) -> None:
        folder.mkdir()
        super().__init__(folder, miners=MINERS)
        self.name = name
        raw = tomllib.loads(self.path.read_text())
        raw["site"]["id"] = name
        raw["uplink"]["broker_port"] = broker_port
        raw["agent"] |= {"score_every_s": SCORE_EVERY_S, "shadow_cycles": SHADOW_CYCLES}
        self.path.write_text(dump_toml(raw))
        (folder / "keyring.toml").write_text(Keyring.dump(trusted))

    def start_agent(self) -> None:
        self.agent = self._run([rollout_agent.__file__, "run"])

    def model_list(self) -> str:
        """What `minewarden agent model list` prints on this gateway."""
        command = [
            sys.executable,
            "-P",
            "-m",
            "shared.cli",
            "agent",
            "model",
            "list",
            "--site",
            str(self.path),
        ]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environment, check=True
        ).stdout


@contextlib.contextmanager
def gateways(
    folder: Path, names: Sequence[str], *, broker_port: int, trusted: tuple[PublicKeyEntry, ...]
) -> Iterator[dict[str, Gateway]]:
    """These sites, running; ended with the block."""
    found = {name: Gateway(folder / name, name, broker_port=broker_port, trusted=trusted) for name in names}

    async def start() -> None:
        await asyncio.gather(*(gateway.start(agent=True) for gateway in found.values()))

    try:
        asyncio.run(start())
        yield found
    finally:
        for gateway in found.values():
            gateway.close()
