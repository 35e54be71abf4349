"""A real mosquitto on loopback for integration tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.ports import free_port


@asynccontextmanager
async def mosquitto(folder: Path, *, acl: str | None = None) -> AsyncIterator[int]:
    """A broker that keeps nothing on disk, with these rights where there are any; yields its port."""
    port = free_port()
    config = folder / "mosquitto.conf"
    text = f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
    if acl is not None:
        (folder / "acl").write_text(acl)
        text += f"acl_file {folder / 'acl'}\nuser root\n"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _listening(port)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
