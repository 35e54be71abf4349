"""`pyasic-rs`, polled as its users do: its whole record of a machine. Runs in an environment of its own."""

import sys

from pyasic_rs import MinerFactory

from support.poll_bench_client import Poll, main


async def opened(address: str, _port: int) -> Poll:
    """Identify the machine; the port is always 80."""
    miner = await MinerFactory().get_miner(address)
    assert miner is not None, f"pyasic-rs does not know {address}"

    async def poll() -> float:
        data = await miner.get_data()
        return float(data.hashrate.value)

    return poll


if __name__ == "__main__":
    main(opened, sys.argv[1:])
