"""The writer thread: one call after the other, and none is forgotten."""

import asyncio
import threading

from edge_agent.agent.store.writer import Writer


async def test_what_was_handed_to_the_writer_is_done_though_the_caller_goes() -> None:
    """A stop between "handed in" and "begun" would lose a step that nobody holds any more."""
    writer, gate, done = Writer(), threading.Event(), threading.Event()
    busy = asyncio.create_task(writer.call(gate.wait))
    waiting = asyncio.create_task(writer.call(done.set))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.set()
    await busy
    writer.close()
    assert done.is_set()
