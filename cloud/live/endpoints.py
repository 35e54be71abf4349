"""`/live`: server-sent events, a snapshot first and then what changes."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, ServerSentEvent

from cloud.kit.context import Here
from cloud.live.hub import Update

router = APIRouter(prefix="/api/v1", tags=["live"])
HEARTBEAT_S = 10.0


@router.get("/live", response_class=EventSourceResponse)
async def live(here: Here) -> AsyncIterator[ServerSentEvent]:
    """`snapshot`, then `site`, `devices`, `alarm`, `event`, `model`, `rollout` and `command` as they change.

    A client that resumes (`Last-Event-ID`) gets a new snapshot, so it never has to repair anything.
    """
    number = 0
    with here.hub.viewer() as viewer:
        yield _event(await here.live.snapshot(), number)
        while True:
            try:
                update = await asyncio.wait_for(viewer.queue.get(), HEARTBEAT_S)
            except TimeoutError:
                yield ServerSentEvent(comment="heartbeat")
                continue
            if update is None:
                return
            number += 1
            if viewer.behind:
                viewer.behind = False
                update = await here.live.snapshot()
            yield _event(update, number)


def _event(update: Update, number: int) -> ServerSentEvent:
    return ServerSentEvent(event=update.event, raw_data=update.data, id=str(number))
