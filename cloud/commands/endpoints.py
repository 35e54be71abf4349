"""`/commands`: orders to sites, signed here and decided on there."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from cloud.commands import repository, service
from cloud.commands.schemas import CommandList, CommandRequest, CommandView
from cloud.kit.context import Here
from cloud.kit.problems import NotFound, Unauthorized, Unavailable, responses
from shared.artifacts.signing import Signed
from shared.ids import SiteId
from shared.wire import codec, topics

router = APIRouter(prefix="/api/v1", tags=["commands"])


@router.post("/commands", status_code=202, responses=responses(NotFound, Unauthorized, Unavailable))
async def send_command(here: Here, body: CommandRequest) -> CommandView:
    """Sign a command and send it; 202 means sent, what becomes of it shows in its state.

    Where the broker is not connected nothing is signed. Where it does not answer in time the command may
    still go out until it expires, and its detail says so.
    """
    if not here.command_link.is_up:
        raise Unavailable("the MQTT broker is not connected; nothing was sent")
    async with here.database.write() as session:
        row = await service.make(session, body, here.keys, here.clock.utc_ms())
    signed = msgspec.msgpack.decode(row.signed, type=Signed)
    try:
        await here.command_link.send(
            topics.command(SiteId(row.site)), codec.encode(signed), expiry_s=body.expires_s
        )
        detail = "the broker has it"
    except Unavailable as error:
        detail = f"sending is unconfirmed: {error}"
    async with here.database.write() as session:
        await service.note_sending(session, row.id, detail)
        return await service.view(session, row.id)


@router.get("/commands", responses=responses())
async def list_commands(
    here: Here, site: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> CommandList:
    """Commands with everything that became of them, newest first."""
    async with here.database.read() as session:
        return CommandList(items=await service.views(session, await repository.newest(session, site, limit)))


@router.get("/commands/{command}", responses=responses(NotFound))
async def get_command(here: Here, command: str) -> CommandView:
    """One command with everything that became of it."""
    async with here.database.read() as session:
        return await service.view(session, command)
