"""The benchmarks' site with one trick more: machines that are connected to and never say a word. A process.

    python -P -m support.poll_bench_site SITE_FILE

`Ask(do="hang", names=[...])` makes these machines silent, on HTTP and on their command socket; all else is
`guardian_bench_site`.
"""

import asyncio
import contextlib
import resource
import sys
from pathlib import Path

import msgspec

from edge_agent import config
from firmware_adapters.miners.vnish.emulator import VnishEmulator
from shared.clock import SystemClock
from support.guardian_bench_site import Ask, BenchSite, Told


class SilentSite(BenchSite):
    """A site whose machines can fall silent."""

    def _do(self, ask: Ask) -> Told:
        if ask.do == "hang":
            machines = {self.miners[name] for name in ask.names}
            for emulator in self._doors._web.values():
                if isinstance(emulator, VnishEmulator) and emulator.machine in machines:
                    emulator.traps = msgspec.structs.replace(emulator.traps, hang=True)
                    emulator.handle_socket = _silence  # type: ignore[method-assign] # a fault, injected
            return self._told()
        return super()._do(ask)


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until the other side gives up."""
    with contextlib.suppress(OSError):
        while await reader.read(4096):
            pass
    writer.close()


def main() -> None:
    """Serve the site file that is named on the command line."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(SilentSite(config.load(Path(sys.argv[1])), SystemClock()).serve())


if __name__ == "__main__":
    main()
